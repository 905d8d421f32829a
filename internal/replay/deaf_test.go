//go:build synctests

package replay

import (
	"context"
	"net"
	"sync"
)

// deafness is a network on which, while it is set, nothing comes back.
type deafness struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	mu   sync.Mutex
	on   bool
	wait chan struct{} // closed when it is over
}

func (d *deafness) set(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.on = on; on {
		d.wait = make(chan struct{})
	} else {
		close(d.wait)
	}
}

func (d *deafness) open(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &deafConn{Conn: conn, of: d, closed: make(chan struct{})}, nil
}

type deafConn struct {
	net.Conn
	of     *deafness
	once   sync.Once
	closed chan struct{}
}

// Read reads, and keeps what it read back while nothing comes back.
func (c *deafConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.of.mu.Lock()
	on, wait := c.of.on, c.of.wait
	c.of.mu.Unlock()
	if on {
		select {
		case <-wait:
		case <-c.closed:
			return 0, net.ErrClosed
		}
	}
	return n, err
}

func (c *deafConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
