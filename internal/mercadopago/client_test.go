package mercadopago

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/secret"
)

func newClient(t testing.TB, cfg Config) *Client {
	t.Helper()
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	if cfg.MaxConnections == 0 {
		cfg.MaxConnections = 4
	}
	c, err := New(cfg, func() secret.Text { return secret.New(accessToken) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func TestCaptureSendsThePagesRequest(t *testing.T) {
	t.Parallel()
	r := sampleRequest(t)
	r.SessionID = "device-1"
	body := testdata(t, "approved")
	s := serve(t, func(w http.ResponseWriter, req *http.Request) {
		got, _ := io.ReadAll(req.Body)
		if req.Method != http.MethodPost || req.URL.RequestURI() != "/base/v1/advanced_payments" || string(got) != string(r.Body) {
			t.Errorf("got %s %s %s", req.Method, req.URL, got)
		}
		for name, want := range map[string]string{
			"Authorization": "Bearer " + accessToken, "Content-Type": "application/json", "Accept": "application/json",
			"X-Idempotency-Key": r.Key, "X-Meli-Session-Id": "device-1", "User-Agent": "payment-capture/1",
			"Content-Length": fmt.Sprint(len(r.Body)),
		} {
			if req.Header.Get(name) != want {
				t.Errorf("header %s: got %q, want %q", name, req.Header.Get(name), want)
			}
		}
		w.Header().Set("X-Request-Id", "req-1 "+payerToken)
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, body)
	})
	c := newClient(t, Config{URL: s.URL + "/base/", UserAgent: "payment-capture/1"})
	a := c.Capture(t.Context(), r)
	check(t, a, want{meaning: Captured, cause: CauseApproved})
	if a.HTTPStatus != 201 || !a.Sent || a.RequestID != "req-1 [redacted]" {
		t.Errorf("got HTTP %d, sent %t, request id %q", a.HTTPStatus, a.Sent, a.RequestID)
	}
}

func TestGetReadsThePayment(t *testing.T) {
	t.Parallel()
	r := sampleRequest(t)
	body := testdata(t, "approved")
	s := serve(t, func(w http.ResponseWriter, req *http.Request) {
		if req.Method != http.MethodGet || !strings.HasPrefix(req.URL.RequestURI(), "/v1/advanced_payments/1045872") ||
			req.Header.Get("Authorization") != "Bearer "+accessToken || req.Header.Get("X-Idempotency-Key") != "" {
			t.Errorf("got %s %s %v", req.Method, req.URL, req.Header)
		}
		_, _ = io.WriteString(w, body)
	})
	c := newClient(t, Config{URL: s.URL})
	check(t, c.Get(t.Context(), r, "10458724"), want{meaning: Captured, cause: CauseApproved})
	// Of another payment, even one with our reference and amount, nothing is trusted.
	check(t, c.Get(t.Context(), r, "10458725"), want{meaning: Park, cause: CauseContradiction, park: event.ParkContradictory})
	for _, id := range []string{"", "..", "1/refunds", "1?x", "1\n"} {
		if a := c.Get(t.Context(), r, id); a.Meaning != Park || a.Sent {
			t.Errorf("id %q: got %s, sent %t", id, a.Meaning, a.Sent)
		}
	}
}

func TestAnswersOverTheWire(t *testing.T) {
	t.Parallel()
	r := sampleRequest(t)
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		want    want
		after   time.Duration
	}{
		"rate limit": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(w, "local_rate_limited")
		}, want{meaning: Wait, cause: CauseRateLimit}, 7 * time.Second},
		"redirect": {func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path != path {
				t.Error("a redirect was followed with a charge")
			}
			http.Redirect(w, req, "/elsewhere", http.StatusTemporaryRedirect)
		}, want{meaning: Halt, cause: CauseAddress}, 0},
		"redirect to nowhere": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://[::1")
			w.WriteHeader(http.StatusFound)
		}, want{meaning: Halt, cause: CauseAddress}, 0},
		"too large": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"status":"approved","x":"`+strings.Repeat("x", 2*maxBody)+`"}`)
		}, want{meaning: Retry, cause: CauseUnreadable}, 0},
		"no length, then cut": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"id":1,"sta`)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, want{meaning: Retry, cause: CauseNoAnswer}, 0},
		"shorter than its length": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "500")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"cause":[{"code":401003}]}`)
			panic(http.ErrAbortHandler)
		}, want{meaning: Retry, cause: CauseNoAnswer}, 0},
		"reset without an answer": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}, want{meaning: Retry, cause: CauseNoAnswer}, 0},
		"no HTTP": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(conn, payerToken+"\r\n\r\n")
			_ = conn.Close()
		}, want{meaning: Retry, cause: CauseNoAnswer}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(w http.ResponseWriter, req *http.Request) {
				_, _ = io.Copy(io.Discard, req.Body)
				tt.handler(w, req)
			})
			a := newClient(t, Config{URL: s.URL}).Capture(t.Context(), r)
			check(t, a, tt.want)
			if !a.Sent || a.RetryAfter != tt.after {
				t.Errorf("got sent %t, retry after %s, want %s", a.Sent, a.RetryAfter, tt.after)
			}
			if a.Cause == CauseNoAnswer && !a.EffectUnknown() {
				t.Error("the effect of a try without a whole answer is unknown")
			}
		})
	}
}

func TestUnfitRequestIsNotSent(t *testing.T) {
	t.Parallel()
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request came") })
	c := newClient(t, Config{URL: s.URL})
	for name, change := range map[string]func(r *Request){
		"no key":          func(r *Request) { r.Key = "" },
		"line in key":     func(r *Request) { r.Key = "a\nb" },
		"line in session": func(r *Request) { r.SessionID = "a\nb" },
		"no body":         func(r *Request) { r.Body = nil },
		"no amount":       func(r *Request) { r.Amount = Request{}.Amount },
	} {
		r := sampleRequest(t)
		change(&r)
		a := c.Capture(t.Context(), r)
		if a.Meaning != Park || a.ParkReason != event.ParkInvalidEvent || a.Sent || a.EffectUnknown() {
			t.Errorf("%s: got %s (%s), sent %t", name, a.Meaning, a.ParkReason, a.Sent)
		}
	}
	for name, token := range map[string]string{"empty": "", "line break": accessToken + "\n", "not ASCII": accessToken + "é"} {
		c, err := New(Config{URL: s.URL, Timeout: time.Second, MaxConnections: 1}, func() secret.Text { return secret.New(token) })
		if err != nil {
			t.Fatal(err)
		}
		a := c.Capture(t.Context(), sampleRequest(t))
		check(t, a, want{meaning: Halt, cause: CauseCredential})
		if a.Sent || a.EffectUnknown() {
			t.Errorf("%s: got sent %t", name, a.Sent)
		}
	}
}

// TestTokenIsReadBeforeEachCall checks that a new token needs no restart.
func TestTokenIsReadBeforeEachCall(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var got []string
	s := serve(t, func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, req.Header.Get("Authorization"))
		w.WriteHeader(http.StatusUnauthorized)
	})
	var n atomic.Int32
	c, err := New(Config{URL: s.URL, Timeout: time.Second, MaxConnections: 1}, func() secret.Text {
		return secret.New(fmt.Sprintf("token-%d", n.Add(1)))
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for range 2 {
		check(t, c.Capture(t.Context(), sampleRequest(t)), want{meaning: Halt, cause: CauseCredential})
	}
	mu.Lock()
	defer mu.Unlock()
	if len(got) != 2 || got[0] != "Bearer token-1" || got[1] != "Bearer token-2" {
		t.Errorf("got %q", got)
	}
}
