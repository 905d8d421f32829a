//go:build synctests

package prove

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

// errCut is what a process hears of a connection that was cut.
var errCut = errors.New("the network is cut")

// errRefused is what it hears of a dial: what the library does next depends on
// its being one, and at an error that it does not know it does not pause.
var errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}

// side is one of the two networks that a process speaks on.
type side int

const (
	sideKafka side = iota
	sideAPI
)

// process is one life of an instance: what it says and hears goes through it,
// so it can be cut off at any step, for ever or for a time.
type process struct {
	h        *history
	name     string // such as "a2": the second process in slot a
	instance string // INSTANCE_ID
	cancel   context.CancelFunc
	killed   chan struct{} // closed when it is cut off for ever
	ended    chan struct{} // closed when Run has returned
	gone     bool          // it has ended, and so have its connections
	err      error         // of Run; read after ended

	mu      sync.Mutex
	dead    bool
	stopped bool // told to stop
	touched bool // a fault, a pause or a kill has concerned it
	asleep  bool // it cannot speak until it is woken
	gate    chan struct{}
	refused [2]bool // dials of a side fail
	conns   [2][]cuttable
	counts  map[step]int    // requests by what they are
	members map[string]bool // its member ids, one after the other
	syncing bool            // its SyncGroup was not answered yet
	under   map[string]int  // POSTs under way, by order and by event
	orders  []*order        // armed
}

// cuttable is a connection of either side.
type cuttable interface{ cut() }

// request counts a request and gives the order that hits it, or nil.
func (p *process) request(s step) (n int, o *order) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts[s]++
	n = p.counts[s]
	for _, o := range p.orders {
		if o.step == s && n >= o.from && n < o.from+o.times {
			p.touched, o.hit = true, true
			return n, o
		}
	}
	return n, nil
}

// arm gives a process its orders; their requests are counted from now on.
func (p *process) arm(orders []order) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.orders = nil
	for _, o := range orders {
		o.from = p.counts[o.step] + o.nth
		p.orders = append(p.orders, &o)
	}
}

// pending gives the orders to die whose step has not come.
func (p *process) pending() []order {
	p.mu.Lock()
	defer p.mu.Unlock()
	var orders []order
	for _, o := range p.orders {
		if o.kill && !o.hit {
			orders = append(orders, *o)
		}
	}
	return orders
}

// carryOut does what an order says once its moment has come: the connection is
// lost, or the process dies.
func (p *process) carryOut(o *order, c cuttable) {
	if !o.kill {
		p.h.hit()
		c.cut()
		return
	}
	if o.after > 0 {
		time.AfterFunc(o.after, p.kill)
		return
	}
	p.kill()
}

// kill cuts the process off for ever: nothing that it says is heard any more.
func (p *process) kill() {
	p.mu.Lock()
	if p.dead {
		p.mu.Unlock()
		return
	}
	p.dead, p.touched = true, true
	conns := slices.Concat(p.conns[sideKafka], p.conns[sideAPI])
	p.conns = [2][]cuttable{}
	if p.gate != nil {
		close(p.gate)
		p.gate = nil
	}
	close(p.killed)
	p.mu.Unlock()
	for _, c := range conns {
		c.cut()
	}
	p.h.died(p)
	p.cancel()
}

// goes ends the connections of a process that has ended: what it may have left
// running says nothing any more, as no process does that is no more.
func (p *process) goes() {
	p.mu.Lock()
	p.gone = true
	conns := slices.Concat(p.conns[sideKafka], p.conns[sideAPI])
	p.conns = [2][]cuttable{}
	if p.gate != nil {
		close(p.gate)
		p.gate = nil
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
	// held: what it says arrives when the outage is over; else its connections
	// are closed and new ones refused. A held outage takes both sides.
	held bool
}

// suffer is an outage: the process goes on when it is over.
func (p *process) suffer(o outage) {
	p.mu.Lock()
	if p.dead {
		p.mu.Unlock()
		return
	}
	p.touched = true
	var conns []cuttable
	if o.held && p.gate == nil {
		p.gate = make(chan struct{})
	} else if !o.held {
		for _, s := range o.sides {
			p.refused[s] = true
			conns = append(conns, p.conns[s]...)
			p.conns[s] = nil
		}
	}
	p.mu.Unlock()
	p.h.note(p, "outage begins")
	for _, c := range conns {
		c.cut()
	}
	time.Sleep(o.lasts)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused = [2]bool{}
	if p.gate != nil && !p.asleep {
		close(p.gate)
		p.gate = nil
	}
	p.h.note(p, "outage ends")
}

// sleep holds all that the process says and hears, until it wakes.
func (p *process) sleep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.touched = true; !p.dead && p.gate == nil {
		p.gate = make(chan struct{})
	}
	p.asleep = true
}

func (p *process) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asleep = false
	if p.gate != nil {
		close(p.gate)
		p.gate = nil
	}
}

// pass waits while the process is held, and reports whether it may speak then.
func (p *process) pass(closed <-chan struct{}) bool {
	p.mu.Lock()
	gate, dead := p.gate, p.dead
	p.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-closed:
			return false
		}
		p.mu.Lock()
		dead = p.dead
		p.mu.Unlock()
	}
	return !dead
}

// refusal is how long a refusal takes: there are errors of a dial after which
// the library does not pause, and time would stand still.
const refusal = 100 * time.Millisecond

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// dial opens a connection of a side with open, and makes it one that can be
// cut.
func (p *process) dial(ctx context.Context, s side, open func() (net.Conn, error), wrap func(net.Conn) cuttable) (net.Conn, error) {
	p.mu.Lock()
	dead, off := p.dead || p.gone, p.refused[s]
	p.mu.Unlock()
	switch {
	case dead:
		pause(ctx, refusal)
		return nil, errCut // which it does not try again
	case off:
		pause(ctx, refusal)
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

// forget drops a connection that has ended.
func (p *process) forget(s side, c cuttable) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.conns[s], c); i >= 0 {
		p.conns[s] = slices.Delete(p.conns[s], i, i+1)
	}
}

// line is what both kinds of connection have in common.
type line struct {
	net.Conn
	p      *process
	closed chan struct{}
	once   sync.Once
}

func newLine(p *process, inner net.Conn) line {
	return line{Conn: inner, p: p, closed: make(chan struct{})}
}

func (l *line) cut() {
	l.once.Do(func() {
		close(l.closed)
		_ = l.Close()
	})
}

// giveUp ends the line for the process; what it has just said arrives later.
func (l *line) giveUp(said []byte, after time.Duration) {
	l.once.Do(func() { close(l.closed) })
	_ = l.SetDeadline(time.Unix(0, 0)) // ends the waits of the process
	l.p.h.background.Go(func() {
		time.Sleep(after)
		_ = l.SetDeadline(time.Time{})
		go l.drain() // the other end may have answers that it waits to get rid of
		_, _ = l.Write(said)
	})
}

// drain hears what nobody else does any more, until the other end has had
// enough.
func (l *line) drain() {
	_ = l.SetReadDeadline(time.Now().Add(2 * time.Minute))
	_, _ = io.Copy(io.Discard, l.Conn)
	_ = l.Close()
}
