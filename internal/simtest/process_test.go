//go:build synctests

package simtest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// errCut is the error of a connection that was cut.
var errCut = errors.New("the network is cut")

// errRefused is the error of a refused dial. It must be this one because the library
// retries without a pause after an error that it does not know.
var errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}

// side is one of the two networks that a process uses.
type side int

const (
	sideKafka side = iota
	sideAPI
)

// process is one process of the service. All its connections go through it, so that
// it can be cut off at any step, for ever or for a time.
type process struct {
	h        *harness
	name     string // such as "a2": the second process in slot a
	instance string // INSTANCE_ID
	slot     int    // the number of its slot
	cancel   context.CancelFunc
	killed   chan struct{} // closed when the process is cut off for ever
	ended    chan struct{} // closed when Run has returned
	err      error         // of Run; read after ended

	mu        sync.Mutex // guards the fields below
	dead      bool
	lag       time.Duration // of what it reads from the ledger
	gone      bool          // the process has ended, and its connections are closed
	disturbed bool          // a fault, an outage or a kill has concerned it
	suspended bool          // no request or answer passes until it is resumed
	blocked   chan struct{} // closed when requests and answers pass again; nil: they do
	refused   [2]bool       // dials of a side fail
	conns     [2][]cuttable
	counts    map[step]int    // of requests, by kind
	members   map[string]bool // the member ids that it has had
	syncing   bool            // its SyncGroup request is unanswered
	inFlight  map[string]int  // POSTs, by order and by event
	armed     []*fault
}

// cuttable is a connection of either side.
type cuttable interface{ cut() }

// request counts a request and returns its number, and the fault that hits it or nil.
func (p *process) request(s step) (n int, f *fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts[s]++
	n = p.counts[s]
	for _, f := range p.armed {
		if f.step == s && n >= f.from && n < f.from+f.times {
			p.disturbed, f.hit = true, true
			return n, f
		}
	}
	return n, nil
}

// arm sets the faults of the process; their requests are counted from now on.
func (p *process) arm(faults []fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = nil
	for _, f := range faults {
		f.from = p.counts[f.step] + f.nth
		p.armed = append(p.armed, &f)
	}
}

// setLag delays what the process reads from the ledger from now on.
func (p *process) setLag(lag time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lag = lag
}

func (p *process) lags() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lag
}

// pending returns the kills that no request has met.
func (p *process) pending() []fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	var faults []fault
	for _, f := range p.armed {
		if f.kill && !f.hit {
			faults = append(faults, *f)
		}
	}
	return faults
}

// inject closes the connection, or kills the process, as the fault says.
func (p *process) inject(f *fault, c cuttable) {
	if !f.kill {
		p.h.countLoss()
		c.cut()
		return
	}
	if f.after > 0 {
		time.AfterFunc(f.after, p.kill)
		return
	}
	p.kill()
}

// kill cuts the process off for ever, so that no later request arrives.
func (p *process) kill() {
	p.mu.Lock()
	if p.dead {
		p.mu.Unlock()
		return
	}
	p.dead, p.disturbed = true, true
	conns := slices.Concat(p.conns[sideKafka], p.conns[sideAPI])
	p.conns = [2][]cuttable{}
	if p.blocked != nil {
		close(p.blocked)
		p.blocked = nil
	}
	close(p.killed)
	p.mu.Unlock()
	for _, c := range conns {
		c.cut()
	}
	p.h.countKill(p)
	p.cancel()
}

// closeConnections closes the connections of a process that has ended, so that
// goroutines that it left running send nothing, as in a real process.
func (p *process) closeConnections() {
	p.mu.Lock()
	p.gone = true
	conns := slices.Concat(p.conns[sideKafka], p.conns[sideAPI])
	p.conns = [2][]cuttable{}
	if p.blocked != nil {
		close(p.blocked)
		p.blocked = nil
	}
	p.mu.Unlock()
	for _, c := range conns {
		c.cut()
	}
}

// outage is a time in which a process is cut off.
type outage struct {
	at, lasts time.Duration
	sides     []side
	// held: requests arrive when the outage is over; else connections are closed
	// and new ones refused. A held outage concerns both sides.
	held bool
}

// cutOff cuts the process off for the time of an outage.
func (p *process) cutOff(o outage) {
	p.mu.Lock()
	if p.dead {
		p.mu.Unlock()
		return
	}
	p.disturbed = true
	var conns []cuttable
	if o.held && p.blocked == nil {
		p.blocked = make(chan struct{})
	} else if !o.held {
		for _, s := range o.sides {
			p.refused[s] = true
			conns = append(conns, p.conns[s]...)
			p.conns[s] = nil
		}
	}
	p.mu.Unlock()
	p.h.annotate(p, "outage begins")
	for _, c := range conns {
		c.cut()
	}
	time.Sleep(o.lasts)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused = [2]bool{}
	if p.blocked != nil && !p.suspended {
		close(p.blocked)
		p.blocked = nil
	}
	p.h.annotate(p, "outage ends")
}

// suspend holds all requests and answers back until the process is resumed.
func (p *process) suspend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.disturbed = true; !p.dead && p.blocked == nil {
		p.blocked = make(chan struct{})
	}
	p.suspended = true
}

func (p *process) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.suspended = false
	if p.blocked != nil {
		close(p.blocked)
		p.blocked = nil
	}
}

// pass waits while the process is suspended or held, and reports whether its requests
// and answers may pass then.
func (p *process) pass(closed <-chan struct{}) bool {
	p.mu.Lock()
	blocked, dead := p.blocked, p.dead
	p.mu.Unlock()
	if blocked != nil {
		select {
		case <-blocked:
		case <-closed:
			return false
		}
		p.mu.Lock()
		dead = p.dead
		p.mu.Unlock()
	}
	return !dead
}

// refusalTime is how long a refused dial takes. The library does not pause after some
// errors of a dial, and virtual time would not pass.
const refusalTime = 100 * time.Millisecond

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// dial opens a connection of a side with open, and wraps it so that it can be cut.
func (p *process) dial(ctx context.Context, s side, open func() (net.Conn, error), wrap func(net.Conn) cuttable) (net.Conn, error) {
	p.mu.Lock()
	dead, off := p.dead || p.gone, p.refused[s]
	p.mu.Unlock()
	switch {
	case dead:
		pause(ctx, refusalTime)
		return nil, errCut // which the library does not retry
	case off:
		pause(ctx, refusalTime)
		return nil, errRefused
	}
	inner, err := open()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead || p.gone || p.refused[s] {
		_ = inner.Close()
		return nil, errRefused
	}
	c := wrap(inner)
	p.conns[s] = append(p.conns[s], c)
	return c.(net.Conn), nil
}

// forget removes a closed connection.
func (p *process) forget(s side, c cuttable) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.conns[s], c); i >= 0 {
		p.conns[s] = slices.Delete(p.conns[s], i, i+1)
	}
}

// connection is the common part of both kinds of connections.
type connection struct {
	net.Conn
	p      *process
	closed chan struct{}
	once   sync.Once
}

func newConnection(p *process, inner net.Conn) connection {
	return connection{Conn: inner, p: p, closed: make(chan struct{})}
}

func (l *connection) cut() {
	l.once.Do(func() {
		close(l.closed)
		_ = l.Close()
	})
}

// deliverLate closes the connection for the process and writes its last request later.
func (l *connection) deliverLate(request []byte, after time.Duration) {
	l.once.Do(func() { close(l.closed) })
	_ = l.SetDeadline(time.Unix(0, 0)) // ends pending reads and writes of the process
	l.p.h.background.Go(func() {
		time.Sleep(after)
		_ = l.SetDeadline(time.Time{})
		go l.drain() // the other end may be blocked writing answers
		_, _ = l.Write(request)
	})
}

// drain discards what the other end writes, and closes the connection after it.
func (l *connection) drain() {
	_ = l.SetReadDeadline(time.Now().Add(2 * time.Minute))
	_, _ = io.Copy(io.Discard, l.Conn)
	_ = l.Close()
}
