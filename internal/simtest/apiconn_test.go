//go:build synctests

package simtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// dialAPI opens a connection to the simulator for the process.
func (p *process) dialAPI(ctx context.Context, _, _ string) (net.Conn, error) {
	return p.dial(ctx, sideAPI, func() (net.Conn, error) { return p.h.api.dial(ctx, p) },
		func(inner net.Conn) cuttable { return &apiConn{connection: newConnection(p, inner)} })
}

// apiConn is an HTTP/1.1 connection: one request at a time. The client writes head and
// body separately; the step is the whole request.
type apiConn struct {
	connection
	partial []byte // the beginning of a request; used by the writer only

	mu    sync.Mutex
	fault *fault // of the request in flight
	entry *entry
	mute  atomic.Bool // no answer reaches the process any more
	names []string    // the order and the event of a POST in flight
}

func (c *apiConn) Write(b []byte) (int, error) {
	c.partial = append(c.partial, b...)
	if !whole(c.partial) {
		return len(b), nil
	}
	request := c.partial
	c.partial = nil
	return len(b), c.send(request)
}

// whole reports whether a request has its whole body.
func whole(request []byte) bool {
	head, body, ok := bytes.Cut(request, []byte("\r\n\r\n"))
	if !ok {
		return false
	}
	length, _ := strconv.Atoi(headerIn(append(head, '\r', '\n'), "Content-Length: ")) // none: 0
	return len(body) >= length
}

// send sends one whole request, unless a fault hits it.
func (c *apiConn) send(request []byte) error {
	if !c.p.pass(c.closed) {
		c.cut()
		return errCut
	}
	s := stepGET
	if bytes.HasPrefix(request, []byte("POST ")) {
		s = stepPOST
	}
	var ends []int64
	if s == stepPOST {
		ends = c.p.h.ledgerEnds()
	}
	n, f := c.p.request(s)
	e := c.p.h.trace.call(c.p, s, n, headerIn(request, "X-Idempotency-Key: "), ends, f)
	if s == stepPOST {
		c.enter(request)
	}
	if f != nil {
		switch f.effect {
		case notApplied:
			c.p.inject(f, c)
			return errCut
		case late:
			defer c.p.inject(f, c)
			c.leave()
			c.deliverLate(request, f.after)
			return errCut
		case inFlight:
			if _, err := c.Conn.Write(request); err != nil {
				c.leave() // an earlier fault has closed the connection
				return err
			}
			c.p.inject(f, c)
			return errCut
		case swallowed, answered:
		}
	}
	c.mu.Lock()
	c.fault, c.entry = f, e
	c.mu.Unlock()
	if m := c.p.muted(); m != nil && m.what == silentAPI {
		c.mute.Store(true)
		if !m.arrives {
			return nil
		}
	}
	_, err := c.Conn.Write(request)
	if err != nil {
		c.leave()
	}
	return err
}

func headerIn(request []byte, name string) string {
	_, rest, ok := bytes.Cut(request, []byte(name))
	if !ok {
		return ""
	}
	value, _, _ := bytes.Cut(rest, []byte("\r\n"))
	return string(value)
}

// enter records a POST in flight, and reports another one of the same process for the
// same order or event. The POST is over when it is answered or when the process has
// closed the connection, which the API may learn later.
func (c *apiConn) enter(request []byte) {
	_, rest, _ := bytes.Cut(request, []byte(`"external_reference":"`))
	reference, _, _ := bytes.Cut(rest, []byte(`"`))
	names := []string{"order " + string(reference), "event " + headerIn(request, "X-Idempotency-Key: ")}
	c.mu.Lock()
	c.names = names
	c.mu.Unlock()
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	for _, name := range names {
		c.p.inFlight[name]++
		if c.p.inFlight[name] > 1 {
			c.p.h.overlap(name + " by " + c.p.name)
		}
	}
}

func (c *apiConn) leave() {
	c.mu.Lock()
	names := c.names
	c.names = nil
	c.mu.Unlock()
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	for _, name := range names {
		c.p.inFlight[name]--
	}
}

func (c *apiConn) cut() {
	c.leave()
	c.connection.cut()
}

func (c *apiConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n == 0 {
		return n, err
	}
	if !c.p.pass(c.closed) {
		c.cut()
		return 0, errCut
	}
	if c.mute.Load() {
		return c.Read(b)
	}
	c.mu.Lock()
	f, e := c.fault, c.entry
	c.fault, c.entry = nil, nil
	c.mu.Unlock()
	c.leave()
	if e != nil {
		c.p.h.trace.answer(e, b[:min(n, 12)], f != nil && f.effect == swallowed)
	}
	if f != nil {
		if f.effect == answered && !f.kill {
			c.p.h.countLoss()
			time.AfterFunc(f.after, c.cut)
		} else {
			c.p.inject(f, c)
		}
		if f.effect == swallowed {
			c.cut()
			return 0, errCut
		}
	}
	return n, err
}

func (c *apiConn) Close() error {
	c.cut()
	c.p.forget(sideAPI, c)
	return nil
}

// api serves the simulator and records each POST before it does.
type api struct {
	handler http.Handler
	conns   chan net.Conn
	closed  chan struct{}

	mu    sync.Mutex
	posts []post
}

// post is a capture call as it arrived at the API.
type post struct {
	at   time.Time
	p    *process
	key  string
	body [sha256.Size]byte
}

func newAPI(handler http.Handler) *api {
	return &api{handler: handler, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// tagged is a connection with its process.
type tagged struct {
	net.Conn
	p *process
}

type processKey struct{}

func (a *api) dial(ctx context.Context, p *process) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case a.conns <- tagged{server, p}:
		return client, nil
	case <-a.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept, Close and Addr implement net.Listener.
func (a *api) Accept() (net.Conn, error) {
	select {
	case c := <-a.conns:
		return c, nil
	case <-a.closed:
		return nil, net.ErrClosed
	}
}

func (a *api) Close() error {
	select {
	case <-a.closed:
	default:
		close(a.closed)
	}
	return nil
}

func (*api) Addr() net.Addr { return &net.UnixAddr{Name: "api", Net: "pipe"} }

// serve serves until the function that it returns is called.
func (a *api) serve() (stop func()) {
	server := &http.Server{
		Handler: a, ReadHeaderTimeout: time.Minute,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, processKey{}, c.(tagged).p)
		},
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(a); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			panic(err)
		}
	}()
	return func() {
		_ = server.Close()
		<-ended
	}
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p, _ := r.Context().Value(processKey{}).(*process)
	if r.Method != http.MethodPost {
		a.handler.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // an incomplete request has no effect
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	a.record(p, r.Header.Get("X-Idempotency-Key"), body)
	a.handler.ServeHTTP(w, r)
}

func (a *api) record(p *process, key string, body []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.posts = append(a.posts, post{at: time.Now(), p: p, key: key, body: sha256.Sum256(body)})
}
