package mercadopago

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// canned is an API without a network or a process: a connection that answers
// each request that is written to it in full with the same bytes.
type canned struct {
	net.Conn // a pipe, for all but the bytes

	answer  []byte
	request []byte      // the part of the request that was written so far
	due     chan []byte // the answers to read
	rest    []byte
	writes  chan<- int // nil, or receives how many writes each request took
	written int
}

// cannedClient returns a client of an API that answers every charge with 201 and
// the body.
func cannedClient(tb testing.TB, body string, writes chan<- int) *Client {
	tb.Helper()
	answer := fmt.Appendf(nil, "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nX-Request-Id: "+
		"6f1c9c0a-41a4-4f0e-9d5c-2b8f6f0f6c11\r\n"+
		"Date: Mon, 23 Nov 2026 10:00:00 GMT\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	return newClient(tb, Config{URL: "http://api.example", DialContext: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		return &canned{Conn: here, answer: answer, due: make(chan []byte, 1), writes: writes}, there.Close()
	}})
}

func (c *canned) Write(p []byte) (int, error) {
	c.request = append(c.request, p...)
	c.written++
	head, body, whole := bytes.Cut(c.request, []byte("\r\n\r\n"))
	if !whole {
		return len(p), nil
	}
	_, length, _ := bytes.Cut(head, []byte("Content-Length: "))
	length, _, _ = bytes.Cut(length, []byte("\r\n"))
	if want, err := strconv.Atoi(string(length)); err != nil || len(body) < want {
		return len(p), err
	}
	if c.writes != nil {
		c.writes <- c.written
	}
	c.request, c.written = c.request[:0], 0
	c.due <- c.answer
	return len(p), nil
}

func (c *canned) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		var open bool
		if c.rest, open = <-c.due; !open {
			return 0, io.EOF
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *canned) Close() error {
	close(c.due)
	return c.Conn.Close()
}

func (*canned) SetDeadline(time.Time) error { return nil }

// maxAllocs bounds the allocations of one charge that is captured, from the request
// to its meaning. It takes 95, of which net/http needs about 60.
const maxAllocs = 98

func TestAllocationsOfACapture(t *testing.T) { //nolint:paralleltest // AllocsPerRun counts those of the whole process
	c := cannedClient(t, testdata(t, "approved"), nil)
	r := sampleRequest(t)
	n := testing.AllocsPerRun(500, func() {
		if a := c.Capture(t.Context(), r); a.Meaning != Captured {
			t.Fatal(a.Detail)
		}
	})
	if raceDetector {
		t.Logf("%v allocations with the race detector's", n)
		return
	}
	if n > maxAllocs {
		t.Errorf("a charge allocates %v times, more than %d", n, maxAllocs)
	}
}

// TestARequestIsOneWrite checks that a request is one write: a head that is written
// before its body costs one more system call, and often one more packet.
func TestARequestIsOneWrite(t *testing.T) {
	t.Parallel()
	writes := make(chan int, 1)
	c := cannedClient(t, testdata(t, "approved"), writes)
	for range 3 {
		check(t, c.Capture(t.Context(), sampleRequest(t)), want{meaning: Captured, cause: CauseApproved})
		if n := <-writes; n != 1 {
			t.Errorf("a request took %d writes", n)
		}
	}
}

// BenchmarkCapture measures one captured charge, from the request to its meaning,
// without the network.
func BenchmarkCapture(b *testing.B) {
	c := cannedClient(b, testdata(b, "approved"), nil)
	r := sampleRequest(b)
	b.ReportAllocs()
	for b.Loop() {
		if a := c.Capture(b.Context(), r); a.Meaning != Captured {
			b.Fatal(a.Detail)
		}
	}
}

// BenchmarkRoundTrip measures net/http's part of BenchmarkCapture: the same request
// and answer.
func BenchmarkRoundTrip(b *testing.B) {
	c := cannedClient(b, testdata(b, "approved"), nil)
	r := sampleRequest(b)
	b.ReportAllocs()
	for b.Loop() {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, c.base+path, bytes.NewReader(r.Body))
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := c.transport.Load().RoundTrip(req)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
}

// BenchmarkNewRequest measures the work for an event before its first call.
func BenchmarkNewRequest(b *testing.B) {
	e := sampleEvent(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewRequest(e); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecide measures the classification of an answer that was read.
func BenchmarkDecide(b *testing.B) {
	for _, name := range []string{"approved", "rejected_card", "error_in_progress"} {
		b.Run(name, func(b *testing.B) {
			r, raw := sampleRequest(b), []byte(testdata(b, name))
			scrub := newScrubber(accessToken, r.payerToken())
			status := http.StatusCreated
			if strings.HasPrefix(name, "error") {
				status = http.StatusConflict
			}
			b.ReportAllocs()
			for b.Loop() {
				decide(exchange{status: status, raw: raw, body: parseBody(raw), request: r, scrub: scrub})
			}
		})
	}
}
