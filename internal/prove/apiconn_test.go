//go:build synctests

package prove

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
	"time"
)

// dialAPI opens a connection to the simulator for the process.
func (p *process) dialAPI(ctx context.Context, _, _ string) (net.Conn, error) {
	return p.dial(ctx, sideAPI, func() (net.Conn, error) { return p.h.api.dial(ctx, p) },
		func(inner net.Conn) cuttable { return &apiConn{line: newLine(p, inner)} })
}

// apiConn is an HTTP/1.1 connection: one request at a time. Its head and its
// body are written apart; what is a step is the whole.
type apiConn struct {
	line
	said []byte // of a request that is not whole yet; of the writer

	mu    sync.Mutex
	order *order // of the request under way
	entry *entry
	under []string // what it is for, while it is under way
}

func (c *apiConn) Write(b []byte) (int, error) {
	c.said = append(c.said, b...)
	if !whole(c.said) {
		return len(b), nil
	}
	request := c.said
	c.said = nil
	return len(b), c.ask(request)
}

// whole reports whether a request has all of its body.
func whole(request []byte) bool {
	head, body, ok := bytes.Cut(request, []byte("\r\n\r\n"))
	if !ok {
		return false
	}
	length, _ := strconv.Atoi(headerIn(append(head, '\r', '\n'), "Content-Length: ")) // none: 0
	return len(body) >= length
}

// ask sends one whole request, or does with it what an order says.
func (c *apiConn) ask(request []byte) error {
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
	n, o := c.p.request(s)
	e := c.p.h.trace.call(c.p, s, n, headerIn(request, "X-Idempotency-Key: "), ends, o)
	if s == stepPOST {
		c.enter(request)
	}
	if o != nil {
		switch o.how {
		case notApplied:
			c.p.carryOut(o, c)
			return errCut
		case late:
			defer c.p.carryOut(o, c)
			c.leave()
			c.giveUp(request, o.after)
			return errCut
		case inFlight:
			if _, err := c.Conn.Write(request); err != nil {
				c.leave() // it was cut by an earlier order
				return err
			}
			c.p.carryOut(o, c)
			return errCut
		case swallowed, answered:
		}
	}
	c.mu.Lock()
	c.order, c.entry = o, e
	c.mu.Unlock()
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

// enter notes that a POST is under way, and looks for another one of the same
// process for the same order or event. It is over when it is answered or when
// the process has hung up, which is sooner than the API knows of it.
func (c *apiConn) enter(request []byte) {
	_, rest, _ := bytes.Cut(request, []byte(`"external_reference":"`))
	reference, _, _ := bytes.Cut(rest, []byte(`"`))
	under := []string{"order " + string(reference), "event " + headerIn(request, "X-Idempotency-Key: ")}
	c.mu.Lock()
	c.under = under
	c.mu.Unlock()
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	for _, what := range under {
		c.p.under[what]++
		if c.p.under[what] > 1 {
			c.p.h.overlap(what + " by " + c.p.name)
		}
	}
}

func (c *apiConn) leave() {
	c.mu.Lock()
	under := c.under
	c.under = nil
	c.mu.Unlock()
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	for _, what := range under {
		c.p.under[what]--
	}
}

func (c *apiConn) cut() {
	c.leave()
	c.line.cut()
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
	c.mu.Lock()
	o, e := c.order, c.entry
	c.order, c.entry = nil, nil
	c.mu.Unlock()
	c.leave()
	if e != nil {
		c.p.h.trace.answer(e, b[:min(n, 12)], o != nil && o.how == swallowed)
	}
	if o != nil {
		if o.how == answered && !o.kill {
			c.p.h.hit()
			time.AfterFunc(o.after, c.cut)
		} else {
			c.p.carryOut(o, c)
		}
		if o.how == swallowed {
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

// api serves the simulator and keeps a record of each POST before it.
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

// tagged is a connection whose process is known to the server.
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

// Accept, Close and Addr make it a listener.
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
		panic(http.ErrAbortHandler) // half a request is none
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
