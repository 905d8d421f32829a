package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
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

// isSizeError reports whether a transaction failed because of the size of its requests.
func isSizeError(err error) bool {
	return errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge) || errors.Is(err, errProduceReset)
}

// lowerLimit halves the limit after a transaction that failed because of the size of
// its requests, or perhaps did, so that the next one can pass. It returns nil if the
// size was not the cause, or if a smaller limit does not help.
func (c *Committer) lowerLimit(ctx context.Context, b Batch, cause error) error {
	limit := c.conf.Kafka.Requests
	was, sent := limit.Bytes(), sizeOf(b.Records)
	tooLarge := slices.ContainsFunc(b.Records, func(r *kgo.Record) bool { return sizeOf([]*kgo.Record{r}) > was })
	if !isSizeError(cause) || tooLarge || !limit.halve(sent) { // a record is not split
		return nil
	}
	c.conf.Log.WarnContext(ctx, "produce requests too large; limit halved", slog.Int("limit_bytes", limit.Bytes()),
		slog.Int("limit_bytes_before", was), slog.Int("flush_bytes", sent), slog.Any("error", cause))
	return fmt.Errorf("%w: %w; the next requests have up to %d bytes, set KAFKA_MAX_REQUEST_BYTES to what the brokers take",
		ErrNotCommitted, cause, limit.Bytes())
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
