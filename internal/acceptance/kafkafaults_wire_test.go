//go:build synctests || integration

package acceptance

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"time"

	"payment-capture/internal/app"
	"payment-capture/internal/config"
	"payment-capture/internal/kafkatest"
)

// wire forwards an instance's requests to the brokers and injects faults.
type wire struct {
	dial app.DialFunc

	mu     sync.Mutex
	on     func(key int16) effect
	silent bool
	conns  map[*wiredConn]struct{}
}

// effect is what happens to a request.
type effect int

const (
	passed     effect = iota + 1
	unsent            // the request is lost, and the connection is closed
	unanswered        // the answer is lost, and the connection is closed
)

var errWire = errors.New("the wire broke")

// startOver starts an instance that reaches the brokers over the wire.
func (w *world) startOver(wire *wire, changes ...func(*config.Config)) *instance {
	w.t.Helper()
	direct := w.broker
	wire.dial = direct.Dial
	if wire.dial == nil {
		wire.dial = (&net.Dialer{}).DialContext
	}
	w.broker = &kafkatest.Broker{Addresses: direct.Addresses, Dial: wire.open, Fake: direct.Fake, Network: direct.Network}
	defer func() { w.broker = direct }()
	return w.start("a", changes...)
}

// at calls f for every request from now on, with its API key; f may block.
func (w *wire) at(f func(key int16) effect) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on = f
}

// silence drops everything that is sent in both directions without closing connections.
func (w *wire) silence() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silent = true
}

// restore ends a silence. It closes connections that have lost data.
func (w *wire) restore() {
	w.mu.Lock()
	w.silent = false
	var torn []*wiredConn
	for c := range w.conns {
		if c.torn {
			torn = append(torn, c)
		}
	}
	w.mu.Unlock()
	for _, c := range torn {
		_ = c.Close()
	}
}

func (w *wire) open(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	silent := w.silent
	w.mu.Unlock()
	if silent {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(10 * time.Second):
			return nil, &net.OpError{Op: "dial", Net: network, Err: errWire}
		}
	}
	inner, err := w.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &wiredConn{Conn: inner, wire: w}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conns == nil {
		w.conns = make(map[*wiredConn]struct{})
	}
	w.conns[c] = struct{}{}
	return c, nil
}

type wiredConn struct {
	net.Conn
	wire *wire
	deaf bool // the next answer is lost
	torn bool // data was lost in a silence
}

// Write gets one whole request per call, because the library writes each at once.
func (c *wiredConn) Write(b []byte) (int, error) {
	c.wire.mu.Lock()
	on := c.wire.on
	c.wire.mu.Unlock()
	f := passed
	if on != nil && len(b) >= 6 {
		f = on(int16(binary.BigEndian.Uint16(b[4:])))
	}
	c.wire.mu.Lock()
	lost := c.wire.silent || c.torn
	c.torn = lost
	c.deaf = c.deaf || f == unanswered
	c.wire.mu.Unlock()
	switch {
	case lost:
		return len(b), nil
	case f == unsent:
		_ = c.Close()
		return 0, errWire
	}
	return c.Conn.Write(b)
}

func (c *wiredConn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		c.wire.mu.Lock()
		c.torn = c.torn || (c.wire.silent && n > 0)
		deaf, torn := c.deaf, c.torn
		c.wire.mu.Unlock()
		switch {
		case deaf:
			_ = c.Close()
			return 0, errWire
		case err != nil || !torn:
			return n, err
		}
	}
}

func (c *wiredConn) Close() error {
	c.wire.mu.Lock()
	delete(c.wire.conns, c)
	c.wire.mu.Unlock()
	return c.Conn.Close()
}
