package mercadopago

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Config configures a Client.
type Config struct {
	URL            string        // such as https://api.mercadopago.com; paths are added to it
	Timeout        time.Duration // per call, from the dial to the last byte of the answer
	MaxConnections int           // open at once, and kept idle at most
	// DialContext makes the connections. nil: a net.Dialer, through the proxy of the
	// environment. With a DialContext no proxy is used, because it may connect to
	// another address.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	// TLS returns the TLS configuration of new connections, before each call. When it
	// returns another one, later calls use new connections. nil: the defaults. The
	// version is at least 1.2 in any case.
	TLS       func() *tls.Config
	UserAgent string // "": Go's
	// Answered is called after each request: nil, or why the API did not answer; nil:
	// nothing is called.
	Answered func(err error)
}

const (
	// connectTimeout bounds dial and TLS handshake each. A call that fails there has
	// not charged for certain, so it may fail soon.
	connectTimeout = 10 * time.Second
	// idleTimeout is below the usual 60 s of servers and load balancers, so that
	// requests seldom use a connection that they just closed.
	idleTimeout = 30 * time.Second
	// pingAfter and pingTimeout detect an HTTP/2 connection whose peer is gone;
	// without them each call would wait on it until its own timeout.
	pingAfter   = 15 * time.Second
	pingTimeout = 10 * time.Second
)

// check returns the URL without a trailing slash. The error names the field that
// is wrong.
func (cfg Config) check() (string, error) {
	u, err := url.Parse(cfg.URL)
	switch {
	// url.Parse's error quotes the text, which may have a password in it.
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return "", errors.New("field URL must be an address such as https://api.mercadopago.com")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", errors.New("field URL must have no user, query or fragment in it")
	case cfg.Timeout <= 0:
		return "", errors.New("field Timeout must be over zero")
	case cfg.MaxConnections <= 0:
		return "", errors.New("field MaxConnections must be over zero")
	case strings.ContainsFunc(cfg.UserAgent, func(r rune) bool { return r < 0x20 || r > 0x7e }):
		return "", errors.New("field UserAgent must be printable ASCII")
	}
	if cfg.DialContext == nil {
		// Checked here, because the error of each call would quote the proxy's password.
		if _, err := http.ProxyFromEnvironment(&http.Request{URL: u}); err != nil {
			return "", errors.New("field URL has no usable proxy: HTTPS_PROXY or HTTP_PROXY is not an address")
		}
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// errProxyCredential reports that the proxy answered 407 instead of connecting to
// the API.
var errProxyCredential = errors.New("the proxy requires a credential (HTTP 407)")

// pool is a pool of connections with the TLS configuration that it was made with.
type pool struct {
	*http.Transport

	tls *tls.Config
}

// tlsConfig returns the TLS configuration of new connections, or nil for the defaults.
func (cfg Config) tlsConfig() *tls.Config {
	if cfg.TLS == nil {
		return nil
	}
	return cfg.TLS()
}

// pool makes a connection pool.
func (cfg Config) pool(conf *tls.Config) *pool {
	t := &http.Transport{
		DialContext:         cfg.DialContext,
		TLSHandshakeTimeout: connectTimeout,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		MaxIdleConns:        cfg.MaxConnections,
		MaxIdleConnsPerHost: cfg.MaxConnections,
		MaxConnsPerHost:     cfg.MaxConnections,
		IdleConnTimeout:     idleTimeout,
		// Go offers HTTP/2 by itself only with its own dialer and TLS configuration.
		ForceAttemptHTTP2: true,
		HTTP2:             &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		// Without this, net/http reports the proxy's 407 to CONNECT as a text only.
		OnProxyConnectResponse: func(_ context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
			if answer.StatusCode == http.StatusProxyAuthRequired {
				return errProxyCredential
			}
			return nil
		},
	}
	if conf != nil {
		t.TLSClientConfig = conf.Clone()
		t.TLSClientConfig.MinVersion = max(conf.MinVersion, tls.VersionTLS12)
	}
	if t.DialContext == nil {
		t.Proxy = http.ProxyFromEnvironment
		t.DialContext = (&net.Dialer{Timeout: connectTimeout}).DialContext
	}
	return &pool{t, conf}
}
