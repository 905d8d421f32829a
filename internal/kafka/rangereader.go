package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// RangeReader reads the committed records of an offset range of one partition,
// with a client of its own that belongs to no group. It waits while the
// partition has no leader, and while a transaction is open within the range. It
// is not safe for concurrent use.
type RangeReader struct {
	client    *kgo.Client
	topic     string
	partition int32
	next, to  int64
}

const (
	rangeFetchBytes  = 1 << 20 // of one fetch; a batch that is larger comes whole
	rangeBatchBytes  = 64 << 20
	rangePollRecords = 1000
	rangeFetchWait   = 250 * time.Millisecond
	// rangeQuiet is how long no record may come before the reader asks the
	// leader whether any is left.
	rangeQuiet = time.Second
)

// NewRangeReader returns a reader of the offsets from `from` up to and without
// `to`. Close it after use.
func NewRangeReader(conf Config, topic string, partition int32, from, to int64) (*RangeReader, error) {
	client, err := conf.NewClient(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(from)}}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// Transaction markers show how far the partition was read.
		kgo.KeepControlRecords(),
		// Deleted records are an error, never a jump.
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxWait(rangeFetchWait), kgo.FetchMaxBytes(rangeFetchBytes), kgo.FetchMaxPartitionBytes(rangeFetchBytes),
		kgo.MaxConcurrentFetches(1), kgo.MaxDecompressBatchBytes(rangeBatchBytes),
	)
	if err != nil {
		return nil, err
	}
	return &RangeReader{client: client, topic: topic, partition: partition, next: from, to: to}, nil
}

// Close closes the reader's client.
func (r *RangeReader) Close() { r.client.Close() }

// Next returns the offset up to which the range was read.
func (r *RangeReader) Next() int64 { return r.next }

// DeletedError reports that the records of a range were deleted before they
// were read.
type DeletedError struct {
	Topic     string
	Partition int32
	Offset    int64 // that was to be read
	Start     int64 // the first offset that the partition still has
}

func (e *DeletedError) Error() string {
	return fmt.Sprintf("read %s/%d: records from offset %d to %d were deleted", e.Topic, e.Partition, e.Offset, e.Start-1)
}

// ErrBeyondEnd is the error of a range that the partition does not reach: it
// lost records, or its topic was recreated.
var ErrBeyondEnd = errors.New("the partition ends before this offset")

// Read returns the next records of the range, at least one, in ascending order
// of their offsets. It returns [io.EOF] when no committed record is left. Other
// errors are the context's, a [*DeletedError], [ErrBeyondEnd], or name what the
// client does not retry itself; the reader is of no use after one of these.
func (r *RangeReader) Read(ctx context.Context) ([]*kgo.Record, error) {
	for r.next < r.to {
		pollCtx, cancel := context.WithTimeout(ctx, rangeQuiet)
		fetches := r.client.PollRecords(pollCtx, rangePollRecords)
		cancel()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err := r.failure(ctx, fetches); err != nil {
			return nil, err
		}
		if records := r.take(fetches); len(records) > 0 {
			return records, nil
		}
		if fetches.NumRecords() == 0 {
			if err := r.stepOver(ctx); err != nil {
				return nil, err
			}
		}
	}
	return nil, io.EOF
}

// take advances past what was fetched, and returns the records of the range
// that are no markers.
func (r *RangeReader) take(fetches kgo.Fetches) []*kgo.Record {
	var records []*kgo.Record
	fetches.EachRecord(func(rec *kgo.Record) {
		if rec.Offset < r.to && !rec.Attrs.IsControl() {
			records = append(records, rec)
		}
		r.next = min(rec.Offset+1, r.to)
	})
	return records
}

func (r *RangeReader) failure(ctx context.Context, fetches kgo.Fetches) error {
	var failed error
	fetches.EachError(func(_ string, _ int32, err error) {
		_, truncated := errors.AsType[*kgo.ErrDataLoss](err)
		switch {
		case errors.Is(err, context.DeadlineExceeded): // nothing came
		case truncated || errors.Is(err, kerr.OffsetOutOfRange):
			failed = errors.Join(failed, r.outOfRange(ctx, err))
		default:
			failed = errors.Join(failed, fmt.Errorf("read %s/%d from offset %d: %w", r.topic, r.partition, r.next, err))
		}
	})
	return failed
}

// outOfRange returns why the partition does not have the next offset.
func (r *RangeReader) outOfRange(ctx context.Context, cause error) error {
	starts, err := kadm.NewClient(r.client).ListStartOffsets(ctx, r.topic)
	if err != nil {
		return fmt.Errorf("list the start offset of %s/%d: %w", r.topic, r.partition, err)
	}
	s, ok := starts.Lookup(r.topic, r.partition)
	if ok && s.Err == nil && s.Offset > r.next {
		return &DeletedError{Topic: r.topic, Partition: r.partition, Offset: r.next, Start: s.Offset}
	}
	return fmt.Errorf("read %s/%d from offset %d: %w (%w)", r.topic, r.partition, r.next, ErrBeyondEnd, cause)
}

// stepOver advances to the end of the range if the partition holds no record
// before it. The consumer cannot tell: it does not report a fetch in which there
// is nothing, as where the last records were compacted away. A failure that
// passes is left to the next call.
func (r *RangeReader) stepOver(ctx context.Context) error {
	empty, err := r.emptyFrom(ctx)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		if broker, ok := errors.AsType[*kerr.Error](err); ok && !broker.Retriable && !errors.Is(err, kerr.OffsetOutOfRange) {
			return fmt.Errorf("look for records of %s/%d from offset %d on: %w", r.topic, r.partition, r.next, err)
		}
	case empty:
		r.next = r.to
	}
	return nil
}

// emptyFrom reports whether the partition has no record, committed or not, in
// the rest of the range.
func (r *RangeReader) emptyFrom(ctx context.Context) (bool, error) {
	leader, id, err := r.leader(ctx)
	if err != nil {
		return false, err
	}
	req := kmsg.NewPtrFetchRequest()
	req.MinBytes, req.MaxBytes, req.SessionEpoch = 0, rangeFetchBytes, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = r.topic, id
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = r.partition, r.next, rangeFetchBytes
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	answer, err := r.client.Broker(int(leader)).RetriableRequest(ctx, req)
	if err != nil {
		return false, err
	}
	resp := answer.(*kmsg.FetchResponse) //nolint:forcetypeassert // the request's own kind
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return false, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return false, errors.New("the broker answered for another partition")
	}
	got := &resp.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
		return false, err
	}
	if len(got.RecordBatches) == 0 {
		return got.HighWatermark >= r.to, nil
	}
	return EmptyUntil(got.RecordBatches, r.to), nil
}

func (r *RangeReader) leader(ctx context.Context) (broker int32, id [16]byte, err error) {
	topics, err := kadm.NewClient(r.client).ListTopics(ctx, r.topic)
	if err != nil {
		return 0, id, err
	}
	t := topics[r.topic]
	if t.Err != nil {
		return 0, id, t.Err
	}
	p, ok := t.Partitions[r.partition]
	if !ok || p.Err != nil || p.Leader < 0 {
		return 0, id, kerr.LeaderNotAvailable
	}
	return p.Leader, t.ID, nil
}

// EmptyUntil reports whether record batches show that there is no record below
// an offset. Compaction leaves batches without records behind.
func EmptyUntil(batches []byte, to int64) bool {
	const lastDelta, count, header = 23, 57, 61 // of the batch format 2
	for len(batches) >= header {
		base := int64(binary.BigEndian.Uint64(batches))                           //nolint:gosec // G115: an offset
		last := base + int64(int32(binary.BigEndian.Uint32(batches[lastDelta:]))) //nolint:gosec // G115: as the format has it
		size := 12 + int(binary.BigEndian.Uint32(batches[8:]))
		switch {
		case base >= to:
			return true
		case binary.BigEndian.Uint32(batches[count:]) > 0:
			return false
		case last+1 >= to:
			return true
		case size > len(batches):
			return false
		}
		batches = batches[size:]
	}
	return false
}
