package mercadopago

import (
	"bufio"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// TestOneCaptureIsOneRequest checks that net/http does not repeat a charge. By default
// it repeats a request with an idempotency key if a kept connection breaks before the
// answer. The server answers the first request of its first connection, and closes it
// after it has read the second one.
func TestOneCaptureIsOneRequest(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(conn *net.TCPConn){
		"closed": func(conn *net.TCPConn) { _ = conn.Close() },
		"reset":  func(conn *net.TCPConn) { _ = conn.SetLinger(0); _ = conn.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var posts, conns atomic.Int32
			address := breakingServer(t, &conns, &posts, end)
			c := newClient(t, Config{URL: "http://" + address, MaxConnections: 1})
			r := sampleRequest(t)
			check(t, c.Capture(t.Context(), r), want{meaning: Captured, cause: CauseApproved, replayed: true})
			a := c.Capture(t.Context(), r)
			if posts.Load() != 2 || conns.Load() != 1 {
				t.Errorf("two captures made %d requests on %d connections, want 2 on 1", posts.Load(), conns.Load())
			}
			check(t, a, want{meaning: Retry, cause: CauseNoAnswer})
			if !a.Sent || !a.EffectUnknown() {
				t.Errorf("got sent %t, effect unknown %t", a.Sent, a.EffectUnknown())
			}
			check(t, c.Capture(t.Context(), r), want{meaning: Captured, cause: CauseApproved, replayed: true})
		})
	}
}

// breakingServer answers each request except the second one of its first
// connection.
func breakingServer(t *testing.T, conns, posts *atomic.Int32, end func(*net.TCPConn)) string {
	t.Helper()
	body := testdata(t, "approved")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			n := conns.Add(1)
			reader := bufio.NewReader(conn)
			for i := 1; ; i++ {
				req, err := http.ReadRequest(reader)
				if err != nil {
					break
				}
				_, _ = io.Copy(io.Discard, req.Body)
				posts.Add(1)
				if n == 1 && i == 2 {
					break
				}
				resp := http.Response{
					StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Request: req,
					ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body)),
				}
				_ = resp.Write(conn)
			}
			end(conn.(*net.TCPConn))
		}
	}()
	return l.Addr().String()
}

// TestOneCaptureIsOneRequestHTTP2 checks the same over HTTP/2: the server ends the
// stream, or the connection, after it has read the request.
func TestOneCaptureIsOneRequestHTTP2(t *testing.T) {
	t.Parallel()
	body := testdata(t, "approved")
	var posts atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		if posts.Add(1) == 2 {
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, body)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	trust := s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	c := newClient(t, Config{URL: s.URL, TLS: fixed(&tls.Config{RootCAs: trust})})
	r := sampleRequest(t)
	check(t, c.Capture(t.Context(), r), want{meaning: Captured, cause: CauseApproved, replayed: true})
	check(t, c.Capture(t.Context(), r), want{meaning: Retry, cause: CauseNoAnswer})
	if posts.Load() != 2 {
		t.Errorf("two captures made %d requests", posts.Load())
	}
}

func quiet(t *testing.T) *log.Logger {
	t.Helper()
	return log.New(io.Discard, "", 0)
}
