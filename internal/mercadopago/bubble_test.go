package mercadopago

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a network without a machine's network in it, for bubbles.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	conn, ok := <-p
	if !ok {
		return nil, errors.New("closed")
	}
	return conn, nil
}

// Close ends Accept; the server calls it once.
func (p pipes) Close() error {
	close(p)
	return nil
}

func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p <- there:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestInVirtualTime: the client works in a bubble, where the service's tests
// run it, and its timeout is one of the whole try.
func TestInVirtualTime(t *testing.T) {
	t.Parallel()
	body := testdata(t, "approved")
	synctest.Test(t, func(t *testing.T) {
		network := make(pipes)
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
