//go:build synctests

package prove

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// dialKafka opens a connection to a broker for the process.
func (p *process) dialKafka(ctx context.Context, network, address string) (net.Conn, error) {
	return p.dial(ctx, sideKafka, func() (net.Conn, error) { return p.h.network.DialContext(ctx, network, address) },
		func(inner net.Conn) cuttable { return &kafkaConn{line: newLine(p, inner)} })
}

// kafkaConn takes the stream apart into requests ([int32 size][int16 key]
// [int16 version][int32 correlation id]…) and answers ([int32 size][int32
// correlation id]…), so that each can be a step.
type kafkaConn struct {
	line
	out []byte // said, not a whole request yet; of the writer

	mu    sync.Mutex
	asked []question // not answered yet, in order: a broker answers in order
	group int        // of them, those that wait for the group

	in []byte // an answer, partly handed out; of the reader
}

// question is a request that an answer is awaited for.
type question struct {
	correlation uint32
	group       bool // JoinGroup or SyncGroup
	order       *order
	entry       *entry // in the trace; nil where it is not traced
}

const frameHeader = 4 + 2 + 2 + 4

func (c *kafkaConn) Write(b []byte) (int, error) {
	data := b
	if len(c.out) > 0 {
		data = append(c.out, b...)
		c.out = nil
	}
	for len(data) > 0 {
		if len(data) < frameHeader {
			break
		}
		size := 4 + int(binary.BigEndian.Uint32(data))
		if len(data) < size {
			break
		}
		if err := c.ask(data[:size]); err != nil {
			return 0, err
		}
		data = data[size:]
	}
	if len(data) > 0 {
		c.out = append([]byte(nil), data...)
	}
	return len(b), nil
}

// ask sends one whole request, or does with it what an order says.
func (c *kafkaConn) ask(frame []byte) error {
	if !c.p.pass(c.closed) {
		c.cut()
		return errCut
	}
	key := int16(binary.BigEndian.Uint16(frame[4:]))
	q := question{
		correlation: binary.BigEndian.Uint32(frame[8:]),
		group:       kmsg.Key(key) == kmsg.JoinGroup || kmsg.Key(key) == kmsg.SyncGroup,
	}
	if traced(key) {
		var n int
		s := step(key)
		n, q.order = c.p.request(s)
		q.entry = c.p.h.trace.request(c.p, s, n, int16(binary.BigEndian.Uint16(frame[6:])), q.order)
	}
	if o := q.order; o != nil {
		switch o.how {
		case notApplied:
			c.p.carryOut(o, c)
			return errCut
		case late:
			defer c.p.carryOut(o, c)
			c.giveUp(append([]byte(nil), frame...), o.after)
			return errCut
		case inFlight:
			c.await(q)
			if _, err := c.Conn.Write(frame); err != nil {
				return err
			}
			c.p.carryOut(o, c)
			return errCut
		case swallowed, answered:
		}
	}
	c.await(q)
	_, err := c.Conn.Write(frame)
	return err
}

func (c *kafkaConn) await(q question) {
	if q.group {
		c.p.joins(q.entry.step == step(kmsg.SyncGroup))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, q)
	if q.group {
		c.group++
	}
}

// cut loses the connection. A broker does not see that of a member that waits
// for its group; the fake one would then never expel it, for it begins to wait
// for heartbeats when it has answered. So such an answer is still taken.
func (c *kafkaConn) cut() {
	c.mu.Lock()
	waits := c.group > 0
	c.mu.Unlock()
	if !waits {
		c.line.cut()
		return
	}
	c.once.Do(func() {
		close(c.closed)
		_ = c.SetReadDeadline(time.Unix(0, 0)) // ends the reader's wait
		go c.drain()
	})
}

func (c *kafkaConn) Read(b []byte) (int, error) {
	if len(c.in) == 0 {
		if err := c.hear(); err != nil {
			return 0, err
		}
	}
	n := copy(b, c.in)
	c.in = c.in[n:]
	return n, nil
}

// hear reads one whole answer.
func (c *kafkaConn) hear() error {
	var size [4]byte
	if _, err := io.ReadFull(c.Conn, size[:]); err != nil {
		return err
	}
	frame := make([]byte, 4+binary.BigEndian.Uint32(size[:]))
	copy(frame, size[:])
	if _, err := io.ReadFull(c.Conn, frame[4:]); err != nil {
		return err
	}
	if !c.p.pass(c.closed) {
		c.cut()
		return errCut
	}
	select {
	case <-c.closed:
		return errCut
	default:
	}
	c.mu.Lock()
	var q question
	for i, asked := range c.asked {
		if asked.correlation == binary.BigEndian.Uint32(frame[4:]) {
			q = asked
			c.asked = append(c.asked[:i], c.asked[i+1:]...)
			if q.group {
				c.group--
			}
			break
		}
	}
	c.mu.Unlock()
	if q.group {
		c.p.joins(false)
		if q.entry.step == step(kmsg.JoinGroup) {
			c.p.learn(q.entry.version, frame[8:])
		}
	}
	if q.entry != nil {
		c.p.h.trace.answer(q.entry, frame[8:], q.order != nil && q.order.how == swallowed)
	}
	if o := q.order; o != nil {
		if o.how == answered && !o.kill {
			// The answer is heard, and the connection lost after it.
			c.p.h.hit()
			time.AfterFunc(o.after, c.cut)
		} else {
			c.p.carryOut(o, c)
		}
		if o.how == swallowed {
			c.cut()
			return errCut
		}
	}
	c.in = frame
	return nil
}

func (c *kafkaConn) Close() error {
	c.cut()
	c.p.forget(sideKafka, c)
	return nil
}

// traced says which requests are steps: all but the polling ones and those
// that only read what the cluster is like.
func traced(key int16) bool {
	switch kmsg.Key(key) {
	case kmsg.Produce, kmsg.OffsetCommit, kmsg.OffsetFetch, kmsg.JoinGroup, kmsg.Heartbeat, kmsg.LeaveGroup, kmsg.SyncGroup,
		kmsg.InitProducerID, kmsg.AddOffsetsToTxn, kmsg.EndTxn, kmsg.TxnOffsetCommit:
		return true
	}
	return false
}
