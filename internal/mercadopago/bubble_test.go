package mercadopago

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a network of two ends: a listener and its dialer.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func newPipes() pipes { return pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

// Close ends Accept; the server calls it once.
func (p pipes) Close() error {
	close(p.closed)
	return nil
}

func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// dial also ends when the listener closes, because the transport may dial a
// spare connection in the background.
func (p pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestInVirtualTime checks that the client works in a bubble, as the service's
// tests run it, and that its timeout covers the whole call.
func TestInVirtualTime(t *testing.T) {
	t.Parallel()
	body := testdata(t, "approved")
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			_, _ = io.Copy(io.Discard, req.Body)
			takes, _ := time.ParseDuration(req.Header.Get("X-Idempotency-Key"))
			select {
			case <-time.After(takes):
			case <-req.Context().Done():
			}
			_, _ = io.WriteString(w, body)
		})}
		go func() { _ = server.Serve(network) }()
		c := newClient(t, Config{URL: "http://api.example", Timeout: 30 * time.Second, DialContext: network.dial})
		r := sampleRequest(t)
		for _, tt := range []struct {
			key  string
			want want
			took time.Duration
		}{
			{"0s", want{meaning: Captured, cause: CauseApproved, replayed: true}, 0},
			{"29s", want{meaning: Captured, cause: CauseApproved, replayed: true}, 29 * time.Second},
			{"31s", want{meaning: Retry, cause: CauseNoAnswer}, 30 * time.Second},
		} {
			r.Key = tt.key
			start := time.Now()
			check(t, c.Capture(t.Context(), r), tt.want)
			if took := time.Since(start); took != tt.took {
				t.Errorf("%s: took %s, want %s", tt.key, took, tt.took)
			}
		}
		c.Close()
		_ = server.Close()
	})
}
