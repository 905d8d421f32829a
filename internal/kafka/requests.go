package kafka

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The bounds of KAFKA_MAX_REQUEST_BYTES. The largest outcome fits into the lowest
// one; the highest one is the default of a broker's socket.request.max.bytes.
const (
	LeastMaxRequestBytes = 100_000
	MostMaxRequestBytes  = 100 << 20
)

// defaultMaxRequestBytes is below the limit of Azure Event Hubs (1,046,528 bytes).
const defaultMaxRequestBytes = 1_000_000

// LeastRecordBytes is the size that a record, with its batch, may have under every
// limit.
const LeastRecordBytes = LeastMaxRequestBytes - 8<<10

// RequestLimit limits the bytes of one produce request; a transaction may need
// several. A Committer halves the limit if brokers, or a proxy in front of them, refuse
// requests of that size, so the limit outlives the Committer.
type RequestLimit struct{ bytes atomic.Int32 }

// NewRequestLimit returns a limit of so many bytes; 0 means
// the default.
func NewRequestLimit(bytes int) *RequestLimit {
	if bytes == 0 {
		bytes = defaultMaxRequestBytes
	}
	l := &RequestLimit{}
	l.bytes.Store(int32(min(max(bytes, LeastMaxRequestBytes), MostMaxRequestBytes)))
	return l
}

// Bytes returns the current limit.
func (l *RequestLimit) Bytes() int { return int(l.bytes.Load()) }

// halve lowers the limit to half of the request that failed, which had the bytes of
// the limit or, if they were fewer, those sent. It returns false at the lower bound.
func (l *RequestLimit) halve(sent int) bool {
	was := l.Bytes()
	if sent <= LeastMaxRequestBytes || was <= LeastMaxRequestBytes {
		return false
	}
	l.bytes.Store(int32(max(min(was, sent)/2, LeastMaxRequestBytes))) //nolint:gosec // G115: it was an int32
	return true
}

// RecordBytes returns the largest size of a record, with its batch, that fits into a
// request. The rest is for the request's own fields and the topic names in it.
func (l *RequestLimit) RecordBytes() int {
	return l.Bytes() - (LeastMaxRequestBytes - LeastRecordBytes)
}

// sizeOf returns the bytes of records, uncompressed and without their batches.
func sizeOf(records []*kgo.Record) int {
	n := 0
	for _, r := range records {
		n += len(r.Key) + len(r.Value)
		for _, h := range r.Headers {
			n += len(h.Key) + len(h.Value)
		}
	}
	return n
}

// errProduceReset ends a transaction whose produce requests are too large for the
// broker or a proxy in front of it. The library would repeat them until the
// transaction times out.
var errProduceReset = errors.New("connections are closed at produce requests, twice in a row")

// errProduceSwallowed ends a transaction whose produce requests were sent and not
// answered, as by a proxy that drops large ones and keeps the connection.
var errProduceSwallowed = errors.New("produce requests are not answered")

// swallowedFlushes is how many flushes in a row have to end so before their size counts as
// the cause: a broker that hangs answers nothing either.
const swallowedFlushes = 2

// connResets finds connections that a broker closes at produce requests of the
// current transaction, twice in a row, and requests that it does not answer.
type connResets struct {
	mu     sync.Mutex // guards what follows
	active bool
	// closed has the brokers whose last produce request closed its connection. The
	// value is true until the broker has a new connection, because several requests
	// may fail with the old one.
	closed map[int32]bool
	// timedOut: a produce request of the transaction was not answered in time.
	timedOut bool
}

// begin starts counting for a transaction of so many bytes. Small requests are not
// refused for their size.
func (c *connResets) begin(bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active, c.closed, c.timedOut = bytes > LeastMaxRequestBytes, make(map[int32]bool), false
}

// swallowed reports whether a large produce request of the transaction was not answered.
func (c *connResets) swallowed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.timedOut
}

// connected registers a new connection.
func (c *connResets) connected(broker int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.closed[broker]; ok {
		c.closed[broker] = false
	}
}

// answered registers the end of a produce request, and reports whether it is the
// second one in a row that closed a connection. The first one proves nothing, because
// every broker that stops closes its connections.
func (c *connResets) answered(broker int32, err error) (twice bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.active {
		return false
	}
	if err == nil {
		delete(c.closed, broker)
		return false
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		c.timedOut = true
		return false
	}
	isOld, before := c.closed[broker]
	c.closed[broker] = true
	return before && !isOld
}
