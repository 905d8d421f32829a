package mercadopago

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"payment-capture/internal/tlsfiles"
)

// fixed returns a TLS configuration that never changes.
func fixed(conf *tls.Config) func() *tls.Config { return func() *tls.Config { return conf } }

// serveTLS serves an approved payment by TLS, and returns its certificate too. The
// certificate is valid for example.com and 127.0.0.1.
func serveTLS(t *testing.T, conf *tls.Config) (*httptest.Server, []byte) {
	t.Helper()
	body := testdata(t, "approved")
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, body)
	}))
	s.Config.ErrorLog = quiet(t)
	s.TLS = conf
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// otherAuthority returns an authority that signed nothing.
func otherAuthority(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// TestAuthorityFile checks that calls trust the authorities that the file has at present,
// and that a file that cannot be read changes nothing but warns.
func TestAuthorityFile(t *testing.T) {
	t.Parallel()
	s, own := serveTLS(t, &tls.Config{})
	other := otherAuthority(t)
	path := filepath.Join(t.TempDir(), "ca.pem")
	age := 24 * time.Hour
	put := func(text []byte) { // each time with another time, in the past: not being written
		t.Helper()
		age -= time.Minute
		at := time.Now().Add(-age)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	put(own)
	var log bytes.Buffer
	files, err := tlsfiles.New(tlsfiles.Files{CA: path}, slog.New(slog.NewJSONHandler(&log, nil)), "MERCADOPAGO_CA_FILE")
	if err != nil {
		t.Fatal(err)
	}
	files.Every = time.Nanosecond
	c := newClient(t, Config{URL: s.URL, TLS: files.Current})
	r := sampleRequest(t)
	for _, step := range []struct {
		when    string
		text    []byte
		trusted bool
	}{
		{"the server's authority", own, true},
		{"empty", nil, true},
		{"half a certificate", own[:len(own)/2], true},
		{"another authority", other, false}, // although the connection is still open
		{"half a certificate, after another authority", own[:len(own)/2], false},
		{"both", append(append([]byte(nil), other...), own...), true},
	} {
		put(step.text)
		a := c.Capture(t.Context(), r)
		if trusted := a.Meaning == Captured; trusted != step.trusted {
			t.Errorf("%s: got %s: %s", step.when, a.Meaning, a.Detail)
		}
		if !step.trusted && (a.Sent || !strings.Contains(a.Detail, "unknown authority")) {
			t.Errorf("%s: got sent %t: %s", step.when, a.Sent, a.Detail)
		}
	}
	if n := strings.Count(log.String(), `"variable":"MERCADOPAGO_CA_FILE"`); n != 4 { // twice unreadable, twice readable again
		t.Errorf("got %d lines about the file, want 4: %s", n, log.String())
	}
}

// TestOldTLSVersions checks that a server that only has TLS 1.1 gets no request.
func TestOldTLSVersions(t *testing.T) {
	t.Parallel()
	for version, want := range map[uint16]Meaning{tls.VersionTLS11: Retry, tls.VersionTLS12: Captured, tls.VersionTLS13: Captured} {
		s, own := serveTLS(t, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: version})
		trust := x509.NewCertPool()
		trust.AppendCertsFromPEM(own)
		c := newClient(t, Config{URL: s.URL, TLS: fixed(&tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS10})})
		a := c.Capture(t.Context(), sampleRequest(t))
		if a.Meaning != want || a.Sent == (want == Retry) {
			t.Errorf("%s: got %s, sent %t: %s", tls.VersionName(version), a.Meaning, a.Sent, a.Detail)
		}
	}
}

// proxiedEnv has the authority's file for the test process of TestProxyVariables.
const proxiedEnv = "TEST_PROXIED_CA_FILE"

// TestProxyVariables checks that calls go through the proxy of HTTPS_PROXY, except to
// hosts of NO_PROXY, and that the authority of the file is trusted behind the proxy. It
// runs in a process of its own, because net/http reads the variables once.
func TestProxyVariables(t *testing.T) {
	if path := os.Getenv(proxiedEnv); path != "" {
		callProxied(t, path)
		return
	}
	t.Parallel()
	s, own := serveTLS(t, &tls.Config{})
	var connects atomic.Int32
	proxy := serve(t, func(w http.ResponseWriter, req *http.Request) {
		user, password, _ := (&http.Request{Header: http.Header{"Authorization": req.Header["Proxy-Authorization"]}}).BasicAuth()
		if req.Method != http.MethodConnect || req.Host != "example.com:443" || user != "us" || password != "planted" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		connects.Add(1)
		tunnel(req.Context(), t, w, s.Listener.Addr().String())
	})
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, own, 0o600); err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProxyVariables$", "-test.v")
	child.Env = append(os.Environ(), proxiedEnv+"="+path, "NO_PROXY=.direct.example,10.0.0.0/8",
		"HTTPS_PROXY="+strings.Replace(proxy.URL, "http://", "http://us:planted@", 1))
	out, err := child.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestProxyVariables") || connects.Load() != 1 {
		t.Errorf("got %v and %d connections of the proxy, want 1:\n%s", err, connects.Load(), out)
	}
	if strings.Contains(string(out), "planted") {
		t.Errorf("the output has the proxy's password:\n%s", out)
	}
}

// callProxied makes calls with the variables of TestProxyVariables.
func callProxied(t *testing.T, path string) {
	t.Helper()
	files, err := tlsfiles.New(tlsfiles.Files{CA: path}, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, Config{URL: "https://example.com", TLS: files.Current})
	if a := c.Capture(t.Context(), sampleRequest(t)); a.Meaning != Captured {
		t.Errorf("got %s: %s", a.Meaning, a.Detail)
	}
	refused := newClient(t, Config{URL: "https://other.example", TLS: files.Current})
	if a := refused.Capture(t.Context(), sampleRequest(t)); a.Meaning != Retry || a.Sent || !strings.Contains(a.Detail, "Forbidden") {
		t.Errorf("refused by the proxy: got %s, sent %t: %s", a.Meaning, a.Sent, a.Detail)
	}
	for address, proxied := range map[string]bool{
		"https://example.com": true, "https://api.direct.example": false, "https://10.1.2.3": false,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.transport.Load().Proxy(req); err != nil || (got != nil) != proxied {
			t.Errorf("%s: through a proxy: %t, %v", address, got != nil, err)
		}
	}
}

// tunnel connects the client of a CONNECT request with an address.
func tunnel(ctx context.Context, t *testing.T, w http.ResponseWriter, address string) {
	t.Helper()
	server, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		t.Error(err)
		return
	}
	client, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	_, _ = io.Copy(client, server)
	_ = client.Close()
}
