package mercadopago

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/secret"
)

// TestTimeouts covers answers that never come, or never end.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(w http.ResponseWriter){
		"no answer": func(http.ResponseWriter) {},
		"slow body": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"id":1,`)
			_ = http.NewResponseController(w).Flush()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(w http.ResponseWriter, req *http.Request) {
				_, _ = io.Copy(io.Discard, req.Body)
				begin(w)
				<-req.Context().Done()
			})
			c := newClient(t, Config{URL: s.URL, Timeout: 50 * time.Millisecond})
			a := c.Capture(t.Context(), sampleRequest(t))
			check(t, a, want{meaning: Retry, cause: CauseNoAnswer, park: event.ParkUndecided})
			if !a.Sent || !a.EffectUnknown() || !strings.Contains(a.Detail, "timeout after 50ms") {
				t.Errorf("got sent %t, effect unknown %t, %q", a.Sent, a.EffectUnknown(), a.Detail)
			}
		})
	}
}

func TestCancelledByTheCaller(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := serve(t, func(_ http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		cancel()
		<-req.Context().Done()
	})
	c := newClient(t, Config{URL: s.URL})
	a := c.Capture(ctx, sampleRequest(t))
	check(t, a, want{meaning: Retry, cause: CauseNoAnswer})
	if !a.Sent {
		t.Error("it was sent before it was cancelled")
	}
	again := c.Capture(ctx, sampleRequest(t))
	check(t, again, want{meaning: Retry, cause: CauseNotSent})
	if again.Sent || again.EffectUnknown() {
		t.Error("it was cancelled before it was sent")
	}
}

// TestNotSent covers failures that precede the request for certain.
func TestNotSent(t *testing.T) {
	t.Parallel()
	closed := serve(t, func(http.ResponseWriter, *http.Request) {})
	closed.Close()
	plain := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request came without TLS") })
	untrusted := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a request came to a server that is not trusted")
	}))
	untrusted.Config.ErrorLog = quiet(t)
	untrusted.StartTLS()
	t.Cleanup(untrusted.Close)
	for name, cfg := range map[string]Config{
		"refused":     {URL: closed.URL},
		"no TLS":      {URL: strings.Replace(plain.URL, "http:", "https:", 1)},
		"not trusted": {URL: untrusted.URL},
		"dial times out": {
			URL: "http://api.invalid", Timeout: 20 * time.Millisecond,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newClient(t, cfg).Capture(t.Context(), sampleRequest(t))
			check(t, a, want{meaning: Retry, cause: CauseNotSent, park: event.ParkUndecided})
			if a.Sent || a.EffectUnknown() || a.HTTPStatus != 0 {
				t.Errorf("got sent %t, effect unknown %t, HTTP %d", a.Sent, a.EffectUnknown(), a.HTTPStatus)
			}
		})
	}
}

func TestHTTP2(t *testing.T) {
	t.Parallel()
	body := testdata(t, "approved")
	var protocols atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		protocols.Store(int32(req.ProtoMajor))
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, body)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	trust := s.Client().Transport.(*http.Transport).TLSClientConfig
	c := newClient(t, Config{URL: s.URL, MaxConnections: 2, TLS: fixed(&tls.Config{RootCAs: trust.RootCAs, MinVersion: tls.VersionTLS10})})
	if got := c.transport.Load().TLSClientConfig.MinVersion; got != tls.VersionTLS12 {
		t.Errorf("got least TLS version %x, want 1.2", got)
	}
	r := sampleRequest(t)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if a := c.Capture(t.Context(), r); a.Meaning != Captured {
				t.Errorf("got %s: %s", a.Meaning, a.Detail)
			}
		})
	}
	wg.Wait()
	if protocols.Load() != 2 {
		t.Errorf("got HTTP/%d, want 2", protocols.Load())
	}
}

// TestConnectionsAreReused runs in virtual time: net/http closes a connection if the
// request's write is not confirmed 50 ms after the answer was read, which can happen
// on a busy machine.
func TestConnectionsAreReused(t *testing.T) {
	t.Parallel()
	body := testdata(t, "approved")
	synctest.Test(t, func(t *testing.T) {
		var opened atomic.Int32
		network := newPipes()
		server := &http.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, body)
			}),
			ConnState: func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					opened.Add(1)
				}
			},
		}
		go func() { _ = server.Serve(network) }()
		c := newClient(t, Config{URL: "http://api.example", MaxConnections: 3, DialContext: network.dial})
		r := sampleRequest(t)
		var wg sync.WaitGroup
		for range 30 {
			wg.Go(func() {
				check(t, c.Capture(t.Context(), r), want{meaning: Captured, cause: CauseApproved, replayed: true})
			})
		}
		wg.Wait()
		if n := opened.Load(); n > 3 {
			t.Errorf("got %d connections, want at most 3", n)
		}
		c.Close()
		_ = server.Close()
	})
}

func TestNewNamesTheWrongField(t *testing.T) {
	t.Parallel()
	good := Config{URL: "https://api.mercadopago.com", Timeout: time.Second, MaxConnections: 1}
	token := func() secret.Text { return secret.New("x") }
	for field, change := range map[string]func(c *Config){
		"URL":            func(c *Config) { c.URL = "api.mercadopago.com" },
		"URL ":           func(c *Config) { c.URL = "https://user:password@api.mercadopago.com" },
		"URL must":       func(c *Config) { c.URL = "https://api.mercadopago.com?x=password" },
		"URL must be":    func(c *Config) { c.URL = "https://user:password@[::1" },
		"Timeout":        func(c *Config) { c.Timeout = 0 },
		"MaxConnections": func(c *Config) { c.MaxConnections = 0 },
		"UserAgent":      func(c *Config) { c.UserAgent = "a\nb" },
	} {
		cfg := good
		change(&cfg)
		_, err := New(cfg, token)
		if err == nil || !strings.Contains(err.Error(), strings.TrimSpace(field)) || strings.Contains(err.Error(), "password") {
			t.Errorf("%s: got %v", field, err)
		}
	}
	if _, err := New(good, nil); err == nil {
		t.Error("no token: got no error")
	}
	if _, err := New(good, token); err != nil {
		t.Errorf("a good configuration: %v", err)
	}
}
