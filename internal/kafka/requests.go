package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Bounds of KAFKA_MAX_REQUEST_BYTES. The default is below what Azure Event Hubs
// takes (1,046,528 bytes). The least one is more than the largest outcome needs;
// the most is the default of a broker's socket.request.max.bytes.
const (
	DefaultMaxRequestBytes = 1_000_000
	LeastMaxRequestBytes   = 100_000
	MostMaxRequestBytes    = 100 << 20
)

// LeastRecordBytes is what a record may always take, with its batch, however low the
// limit gets.
const LeastRecordBytes = LeastMaxRequestBytes - 8<<10

// RequestLimit bounds the bytes of one produce request. A transaction may take
// several. A committer halves the limit when brokers or a proxy in front of them
// do not take requests of that size, so the limit outlives it.
type RequestLimit struct{ bytes atomic.Int32 }

// NewRequestLimit returns a limit of so many bytes; 0 means
// [DefaultMaxRequestBytes].
func NewRequestLimit(bytes int) *RequestLimit {
	if bytes == 0 {
		bytes = DefaultMaxRequestBytes
	}
	l := &RequestLimit{}
	l.bytes.Store(int32(min(max(bytes, LeastMaxRequestBytes), MostMaxRequestBytes)))
	return l
}

// Bytes returns the limit that is in force.
func (l *RequestLimit) Bytes() int { return int(l.bytes.Load()) }

// halve lowers the limit to half of what failed: requests of the limit, or fewer
// bytes that went in one. It returns false if they cannot be smaller.
func (l *RequestLimit) halve(sent int) bool {
	was := l.Bytes()
	if sent <= LeastMaxRequestBytes || was <= LeastMaxRequestBytes {
		return false
	}
	l.bytes.Store(int32(max(min(was, sent)/2, LeastMaxRequestBytes))) //nolint:gosec // G115: it was an int32
	return true
}

// RecordBytes returns how large a record may be, with its batch, for a request to
// carry it. The rest is for the request's own fields, with the names in it.
func (l *RequestLimit) RecordBytes() int {
	return l.Bytes() - (LeastMaxRequestBytes - LeastRecordBytes)
}

// errCutOff says that brokers close connections at produce requests: it ends the
// transaction, which the library would repeat until the transaction times out.
var errCutOff = errors.New("connections are closed at produce requests, twice in a row")

// refusesSize reports whether an error is about the size of what was produced.
func refusesSize(err error) bool {
	return errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge) || errors.Is(err, errCutOff)
}

// shrink lowers the limit after a transaction that failed for the size of its
// requests, or perhaps did, so that the next one can pass. It returns nil if the
// size is not what failed or cannot be lowered.
func (c *Committer) shrink(ctx context.Context, b Batch, cause error) error {
	limit := c.conf.Kafka.Requests
	was, sent := limit.Bytes(), sizeOf(b.Records)
	tooLarge := slices.ContainsFunc(b.Records, func(r *kgo.Record) bool { return sizeOf([]*kgo.Record{r}) > was })
	if !refusesSize(cause) || tooLarge || !limit.halve(sent) { // a record is not split
		return nil
	}
	c.conf.Log.WarnContext(ctx, "produce requests too large; limit halved", slog.Int("limit_bytes", limit.Bytes()),
		slog.Int("limit_bytes_before", was), slog.Int("flush_bytes", sent), slog.Any("error", cause))
	return fmt.Errorf("%w: %w; the next requests have up to %d bytes, set KAFKA_MAX_REQUEST_BYTES to what the brokers take",
		ErrNotCommitted, cause, limit.Bytes())
}

// sizeOf returns how many bytes records take, uncompressed and without their
// batches.
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

// cutOffs counts, by broker, the connections in a row that were closed at a produce
// request of the transaction under way.
type cutOffs struct {
	mu       sync.Mutex // guards what follows
	brokers  map[int32]*cutOff
	watching bool
}

type cutOff struct {
	times   int
	counted bool // the closing of the present connection; several requests may end by it
}

// watch starts counting anew, for a transaction of so many bytes. Small requests are
// not cut off for their size.
func (c *cutOffs) watch(bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watching, c.brokers = bytes > LeastMaxRequestBytes, make(map[int32]*cutOff)
}

// connected notes a new connection.
func (c *cutOffs) connected(broker int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b := c.brokers[broker]; b != nil {
		b.counted = false
	}
}

// answered notes a produce request with its end, and reports whether connections
// were closed at them twice in a row. To give up earlier would take every broker
// that stops for one that does not take the size.
func (c *cutOffs) answered(broker int32, err error) (twice bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	timeout, ok := errors.AsType[net.Error](err)
	switch {
	case !c.watching:
	case err == nil:
		delete(c.brokers, broker)
	case ok && timeout.Timeout():
	case c.brokers[broker] == nil:
		c.brokers[broker] = &cutOff{times: 1, counted: true}
	case !c.brokers[broker].counted:
		c.brokers[broker].times++
		c.brokers[broker].counted = true
		return c.brokers[broker].times >= 2
	}
	return false
}
