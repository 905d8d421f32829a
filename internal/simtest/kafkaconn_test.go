//go:build synctests

package simtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// dialKafka opens a connection to a broker for the process.
func (p *process) dialKafka(ctx context.Context, network, address string) (net.Conn, error) {
	return p.dial(ctx, sideKafka, func() (net.Conn, error) { return p.h.network.DialContext(ctx, network, address) },
		func(inner net.Conn) cuttable {
			return &kafkaConn{connection: newConnection(p, inner), lagging: strings.HasSuffix(address, ":9092"), port: portOf(address)}
		})
}

// kafkaConn splits the stream into requests ([int32 size][int16 key][int16 version]
// [int32 correlation id]…) and answers ([int32 size][int32 correlation id]…), so that
// a fault can hit each of them.
type kafkaConn struct {
	connection
	partial []byte // the beginning of a request; used by the writer only
	port    string // of the broker
	mute    bool   // nothing is answered any more; used by the writer only

	mu      sync.Mutex
	awaited []awaited // requests without an answer, in order, because a broker answers in order
	group   int       // how many of them wait for the group

	lagging bool        // the lag of its process concerns it: other partitions are read in time
	ledger  atomic.Bool // it fetches the ledger

	in []byte // the unread rest of an answer; used by the reader only
}

// awaited is a request without an answer yet.
type awaited struct {
	correlation uint32
	group       bool // JoinGroup or SyncGroup
	fault       *fault
	muted       bool   // the answer never reaches the process
	entry       *entry // in the trace; nil if the request is not traced
}

const frameHeader = 4 + 2 + 2 + 4

func (c *kafkaConn) Write(b []byte) (int, error) {
	data := b
	if len(c.partial) > 0 {
		data = append(c.partial, b...)
		c.partial = nil
	}
	for len(data) > 0 {
		if len(data) < frameHeader {
			break
		}
		size := 4 + int(binary.BigEndian.Uint32(data))
		if len(data) < size {
			break
		}
		if err := c.send(data[:size]); err != nil {
			return 0, err
		}
		data = data[size:]
	}
	if len(data) > 0 {
		c.partial = append([]byte(nil), data...)
	}
	return len(b), nil
}

// send sends one whole request, unless a fault hits it.
func (c *kafkaConn) send(frame []byte) error {
	if !c.p.pass(c.closed) {
		c.cut()
		return errCut
	}
	key := int16(binary.BigEndian.Uint16(frame[4:]))
	q := awaited{
		correlation: binary.BigEndian.Uint32(frame[8:]),
		group:       kmsg.Key(key) == kmsg.JoinGroup || kmsg.Key(key) == kmsg.SyncGroup,
	}
	if kmsg.Key(key) == kmsg.Fetch && c.lagging && c.p.lags() > 0 && !c.ledger.Load() {
		id := c.p.h.cluster.TopicInfo(topicLedger).TopicID
		c.ledger.Store(bytes.Contains(frame, id[:]) || bytes.Contains(frame, []byte("\x00\x06"+topicLedger)))
	}
	if traced(key) {
		var n int
		s := step(key)
		n, q.fault = c.p.request(s)
		q.entry = c.p.h.trace.request(c.p, s, n, int16(binary.BigEndian.Uint16(frame[6:])), q.fault)
	}
	if f := q.fault; f != nil {
		switch f.effect {
		case notApplied:
			c.p.inject(f, c)
			return errCut
		case late:
			defer c.p.inject(f, c)
			c.deliverLate(append([]byte(nil), frame...), f.after)
			return errCut
		case inFlight:
			c.expectAnswer(q)
			if _, err := c.Conn.Write(frame); err != nil {
				return err
			}
			c.p.inject(f, c)
			return errCut
		case swallowed, answered:
		}
	}
	muted, drop := c.mutes(kmsg.Key(key))
	if drop {
		return nil
	}
	q.muted = muted
	c.expectAnswer(q)
	_, err := c.Conn.Write(frame)
	return err
}

func (c *kafkaConn) expectAnswer(q awaited) {
	if q.group {
		c.p.setSyncing(q.entry.step == step(kmsg.SyncGroup))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.awaited = append(c.awaited, q)
	if q.group {
		c.group++
	}
}

// cut closes the connection. While a member waits for its group, the connection
// stays open for the broker and the answer is discarded: the fake broker begins to
// count the session time-out when it has answered, and would never remove a member
// whose answer it cannot write.
func (c *kafkaConn) cut() {
	c.mu.Lock()
	waits := c.group > 0
	c.mu.Unlock()
	if !waits {
		c.connection.cut()
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
		if err := c.receive(); err != nil {
			return 0, err
		}
	}
	n := copy(b, c.in)
	c.in = c.in[n:]
	return n, nil
}

// receive reads one whole answer.
func (c *kafkaConn) receive() error {
	var size [4]byte
	if _, err := io.ReadFull(c.Conn, size[:]); err != nil {
		return err
	}
	frame := make([]byte, 4+binary.BigEndian.Uint32(size[:]))
	copy(frame, size[:])
	if _, err := io.ReadFull(c.Conn, frame[4:]); err != nil {
		return err
	}
	if lag := c.p.lags(); lag > 0 && c.ledger.Load() {
		select {
		case <-time.After(lag):
		case <-c.closed:
		}
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
	var q awaited
	for i, a := range c.awaited {
		if a.correlation == binary.BigEndian.Uint32(frame[4:]) {
			q = a
			c.awaited = append(c.awaited[:i], c.awaited[i+1:]...)
			if q.group {
				c.group--
			}
			break
		}
	}
	c.mu.Unlock()
	if q.group {
		c.p.setSyncing(false)
		if q.entry.step == step(kmsg.JoinGroup) {
			c.p.addMember(q.entry.version, frame[8:])
		}
	}
	if q.entry != nil {
		c.p.h.trace.answer(q.entry, frame[8:], q.fault != nil && q.fault.effect == swallowed)
	}
	if q.muted {
		return c.receive()
	}
	if f := q.fault; f != nil {
		if f.effect == answered && !f.kill {
			// The connection is lost after the process has read the answer.
			c.p.h.countLoss()
			time.AfterFunc(f.after, c.cut)
		} else {
			c.p.inject(f, c)
		}
		if f.effect == swallowed {
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

// traced reports whether a request is a step: all are, except fetches and requests
// that only read metadata.
func traced(key int16) bool {
	switch kmsg.Key(key) {
	case kmsg.Produce, kmsg.OffsetCommit, kmsg.OffsetFetch, kmsg.JoinGroup, kmsg.Heartbeat, kmsg.LeaveGroup, kmsg.SyncGroup,
		kmsg.InitProducerID, kmsg.AddOffsetsToTxn, kmsg.EndTxn, kmsg.TxnOffsetCommit:
		return true
	}
	return false
}
