package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Range is the offsets of a partition from From up to and without To.
type Range struct {
	Topic     string
	Partition int32
	From, To  int64
}

func (r *Range) String() string {
	return fmt.Sprintf("%s/%d from offset %d", r.Topic, r.Partition, r.From)
}

// RangeReader reads the committed records of offset ranges, each of another
// partition, with a client of its own that belongs to no group. It waits while a
// partition has no leader, while connections fail, and while a transaction is
// open within a range. It is not safe for concurrent use.
type RangeReader struct {
	client *kgo.Client
	log    *slog.Logger
	open   map[string]map[int32]*Range // what is left of the ranges; none is empty
	left   int64                       // offsets in open
	heard  time.Time                   // when the last record came
	warned time.Time                   // when waiting was logged last
}

const (
	rangeFetchBytes = 1 << 20 // of a partition and one fetch; a batch that is larger comes whole
	rangeBatchBytes = 64 << 20
	rangeFetchWait  = 250 * time.Millisecond
	// rangePollRecords bounds the records that one Read returns.
	rangePollRecords = 10_000
	// rangeQuiet is how long no record may come before the reader asks the
	// leaders whether any is left.
	rangeQuiet = time.Second
	// rangeWarnEvery is how often the log says what the reader waits for.
	rangeWarnEvery = 20 * time.Second
	// rangeTransactionLimit is longer than brokers let a transaction be open
	// (transaction.max.timeout.ms is 15 minutes by default).
	rangeTransactionLimit = 16 * time.Minute
)

// NewRangeReader returns a reader of ranges. Close it after use.
func NewRangeReader(conf Config, ranges ...Range) (*RangeReader, error) {
	r := &RangeReader{log: conf.Log, open: make(map[string]map[int32]*Range), heard: time.Now()}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	from := make(map[string]map[int32]kgo.Offset)
	for _, part := range ranges {
		if part.From >= part.To {
			continue
		}
		if from[part.Topic] == nil {
			from[part.Topic], r.open[part.Topic] = make(map[int32]kgo.Offset), make(map[int32]*Range)
		}
		from[part.Topic][part.Partition] = kgo.NewOffset().At(part.From)
		r.open[part.Topic][part.Partition] = &part
		r.left += part.To - part.From
	}
	fetches := 1
	if len(ranges) > 1 {
		fetches = 2
	}
	var err error
	r.client, err = conf.NewClient(
		kgo.ConsumePartitions(from), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// Transaction markers show how far a partition was read.
		kgo.KeepControlRecords(),
		// Deleted records are an error, never a jump.
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		// Close would wait for the brokers to end the sessions and take the metrics.
		kgo.DisableFetchSessions(), kgo.DisableClientMetrics(),
		kgo.FetchMaxWait(rangeFetchWait), kgo.FetchMaxBytes(int32(fetches)*2*rangeFetchBytes), kgo.FetchMaxPartitionBytes(rangeFetchBytes),
		kgo.MaxConcurrentFetches(fetches), kgo.BrokerMaxReadBytes(rangeBatchBytes), kgo.MaxDecompressBatchBytes(rangeBatchBytes),
	)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Close closes the reader's client.
func (r *RangeReader) Close() { r.client.Close() }

// Left returns how many offsets of the ranges were not read yet.
func (r *RangeReader) Left() int64 { return r.left }

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

// errBeyondEnd is the error of a range that the partition does not reach: it
// lost records, or its topic was recreated.
var errBeyondEnd = errors.New("the partition ends before this offset")

// Read returns the next records of the ranges, at least one; those of a partition
// are in ascending order of their offsets. It returns [io.EOF] when no committed
// record is left. Other errors are the context's, a [*DeletedError], a range beyond
// the end of its partition, a transaction that stays open, or what only an operator
// can change; the reader is of no use after one of these.
func (r *RangeReader) Read(ctx context.Context) ([]*kgo.Record, error) {
	r.heard = time.Now() // the caller may have taken long
	for r.left > 0 {
		pollCtx, cancel := context.WithTimeout(ctx, rangeQuiet)
		fetches := r.client.PollRecords(pollCtx, rangePollRecords)
		cancel()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err := r.failure(ctx, fetches); err != nil {
			return nil, err
		}
		if records := r.advance(fetches); len(records) > 0 {
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

// advance moves the ranges past what was fetched, and returns their records
// without the markers.
func (r *RangeReader) advance(fetches kgo.Fetches) []*kgo.Record {
	records := make([]*kgo.Record, 0, fetches.NumRecords())
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		part := r.open[p.Topic][p.Partition]
		if part == nil || len(p.Records) == 0 {
			return
		}
		for _, rec := range p.Records {
			if rec.Offset < part.To && !rec.Attrs.IsControl() {
				records = append(records, rec)
			}
		}
		r.heard = time.Now()
		r.moveTo(part, p.Records[len(p.Records)-1].Offset+1)
	})
	return records
}

// moveTo records up to which offset a range was read.
func (r *RangeReader) moveTo(part *Range, next int64) {
	next = min(next, part.To)
	r.left -= next - part.From
	if part.From = next; next == part.To {
		delete(r.open[part.Topic], part.Partition)
		r.client.PauseFetchPartitions(map[string][]int32{part.Topic: {part.Partition}})
	}
}

func (r *RangeReader) failure(ctx context.Context, fetches kgo.Fetches) error {
	var failed error
	fetches.EachError(func(topic string, partition int32, err error) {
		part := r.open[topic][partition]
		if part == nil {
			if topic != "" && (partition >= 0 || len(r.open[topic]) == 0) {
				return // of a range that was read to its end
			}
			part = &Range{Topic: topic, Partition: partition}
		}
		_, truncated := errors.AsType[*kgo.ErrDataLoss](err)
		switch {
		case errors.Is(err, context.DeadlineExceeded): // nothing came
		case truncated || errors.Is(err, kerr.OffsetOutOfRange):
			failed = errors.Join(failed, outOfRange(ctx, r.client, *part, err))
		case errors.Is(err, kerr.UnknownTopicID) || errors.Is(err, kerr.UnknownTopicOrPartition):
			// The library has repeated it. It reports it in each poll from now on.
			failed = errors.Join(failed, fmt.Errorf("read %s: the topic was deleted: %w", part, err))
		case passes(err):
			r.heard = time.Now() // an outage is no open transaction
			r.warn(ctx, "partition cannot be read; retrying", part, slog.Any("error", err))
		default:
			failed = errors.Join(failed, fmt.Errorf("read %s: %w", part, err))
		}
	})
	return failed
}

// warn logs what the reader waits for, now and then.
func (r *RangeReader) warn(ctx context.Context, message string, part *Range, attrs ...any) {
	if time.Since(r.warned) < rangeWarnEvery {
		return
	}
	r.warned = time.Now()
	attrs = append(attrs, slog.String("topic", part.Topic), slog.Int64("partition", int64(part.Partition)), slog.Int64("offset", part.From))
	r.log.WarnContext(ctx, message, attrs...) //nolint:sloglint // the texts are fixed
}

// passes reports whether an error is of a connection, or of a cluster that
// recovers by itself.
func passes(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || kerr.IsRetriable(err) || kgo.IsRetryableBrokerErr(err)
}

// outOfRange returns why a partition does not have the first offset of a range.
func outOfRange(ctx context.Context, client *kgo.Client, part Range, cause error) error {
	starts, err := kadm.NewClient(client).ListStartOffsets(ctx, part.Topic)
	if err != nil {
		return fmt.Errorf("list the start offset of %s/%d: %w", part.Topic, part.Partition, err)
	}
	s, ok := starts.Lookup(part.Topic, part.Partition)
	if ok && s.Err == nil && s.Offset > part.From {
		return &DeletedError{Topic: part.Topic, Partition: part.Partition, Offset: part.From, Start: s.Offset}
	}
	return fmt.Errorf("read %s: %w (%w)", &part, errBeyondEnd, cause)
}

// stepOver ends the ranges in which no record is left. The consumer cannot tell:
// it does not report a fetch in which there is nothing, as when the last records
// were compacted away. What else keeps a range open is a transaction, or a failure
// that passes.
func (r *RangeReader) stepOver(ctx context.Context) error {
	silent := time.Since(r.heard)
	for _, parts := range r.open {
		for _, part := range parts {
			empty, err := emptyRange(ctx, r.client, *part)
			switch {
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case err != nil && !passes(err) && !errors.Is(err, kerr.OffsetOutOfRange): // which the next poll reports
				return fmt.Errorf("look for records of %s on: %w", part, err)
			case err != nil:
				r.heard = time.Now()
				r.warn(ctx, "partition cannot be read; retrying", part, slog.Any("error", err))
			case empty:
				r.moveTo(part, part.To)
			case silent >= rangeTransactionLimit:
				return fmt.Errorf("read %s: no record for %s because a transaction was left open; kafka-transactions.sh find-hanging finds it",
					part, silent.Round(time.Second))
			case silent >= rangeWarnEvery:
				r.warn(ctx, "open transaction holds records back", part)
			}
		}
	}
	return nil
}

// emptyRange reports whether the partition has no record, committed or not, in
// a range.
func emptyRange(ctx context.Context, client *kgo.Client, part Range) (bool, error) {
	got, err := fetchOnce(ctx, client, part.Topic, part.Partition, part.From, kgo.ReadUncommitted())
	if err != nil {
		return false, err
	}
	if len(got.RecordBatches) == 0 {
		return got.HighWatermark >= part.To, nil
	}
	return emptyUntil(got.RecordBatches, part.To), nil
}

// ReadRecord returns the committed record at an offset; nil: the partition has
// none there. It waits out what passes by itself; the error is the context's, or
// what only an operator can change.
func ReadRecord(
	ctx context.Context, client *kgo.Client, log *slog.Logger, topic string, partition int32, offset int64,
) (*kgo.Record, error) {
	part := Range{Topic: topic, Partition: partition, From: offset}
	for {
		got, err := fetchOnce(ctx, client, topic, partition, offset, kgo.ReadCommitted())
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, kerr.OffsetOutOfRange):
			return nil, nil //nolint:nilnil // there is none
		case err != nil && !passes(err):
			return nil, fmt.Errorf("read %s: %w", &part, err)
		case err != nil:
			log.WarnContext(ctx, "partition cannot be read; retrying", slog.String("topic", topic), slog.Int64("partition", int64(partition)),
				slog.Int64("offset", offset), slog.Any("error", err))
			select {
			case <-ctx.Done():
			case <-time.After(rangeQuiet):
			}
			continue
		}
		fetched, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
			Offset: offset, IsolationLevel: kgo.ReadCommitted(), Topic: topic, Partition: partition,
		}, got, kgo.DefaultDecompressor(), nil)
		if fetched.Err != nil {
			return nil, fmt.Errorf("read %s: %w", &part, fetched.Err)
		}
		if len(fetched.Records) == 0 || fetched.Records[0].Offset != offset {
			return nil, nil //nolint:nilnil // likewise
		}
		return fetched.Records[0], nil
	}
}

// fetchOnce fetches batches of a partition from its leader, from an offset on.
func fetchOnce(ctx context.Context, client *kgo.Client, topic string, partition int32, offset int64, level kgo.IsolationLevel) (
	*kmsg.FetchResponseTopicPartition, error,
) {
	leader, id, err := leaderOf(ctx, client, topic, partition)
	if err != nil {
		return nil, err
	}
	req := kmsg.NewPtrFetchRequest()
	req.MinBytes, req.MaxBytes, req.SessionEpoch = 0, rangeFetchBytes, -1
	if level == kgo.ReadCommitted() {
		req.IsolationLevel = 1
	}
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = topic, id
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, offset, rangeFetchBytes
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	answer, err := client.Broker(int(leader)).RetriableRequest(ctx, req)
	if err != nil {
		return nil, err
	}
	resp := answer.(*kmsg.FetchResponse) //nolint:forcetypeassert // the request's own kind
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 { // as a broker that throttles answers
		return nil, kerr.ThrottlingQuotaExceeded
	}
	got := &resp.Topics[0].Partitions[0]
	return got, kerr.ErrorForCode(got.ErrorCode)
}

func leaderOf(ctx context.Context, client *kgo.Client, topic string, partition int32) (broker int32, id [16]byte, err error) {
	topics, err := kadm.NewClient(client).ListTopics(ctx, topic)
	if err != nil {
		return 0, id, err
	}
	t := topics[topic]
	if t.Err != nil {
		return 0, id, t.Err
	}
	p, ok := t.Partitions[partition]
	if !ok || p.Err != nil || p.Leader < 0 {
		return 0, id, kerr.LeaderNotAvailable
	}
	return p.Leader, t.ID, nil
}

// emptyUntil reports whether record batches show that there is no record below
// an offset. Compaction leaves batches without records behind.
func emptyUntil(batches []byte, to int64) bool {
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
