package replay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
)

// fetcher reads records by requests of its own. A consumer tells of records
// only, so it cannot say that there are none before an offset: where markers,
// aborted transactions and what was compacted away are all that is left, it
// would be waited for without an end.
type fetcher struct {
	client *kgo.Client
	admin  *kadm.Client
	log    *slog.Logger
	topics map[string]kafka.TopicInfo
	// missing are those that are not there.
	missing map[string]bool
	// leaders are as they were found last.
	leaders map[string]map[int32]int32
}

func newFetcher(client *kgo.Client, log *slog.Logger) *fetcher {
	return &fetcher{
		client: client, admin: kadm.NewClient(client), log: log,
		topics: make(map[string]kafka.TopicInfo), missing: make(map[string]bool), leaders: make(map[string]map[int32]int32),
	}
}

// topic gives what a topic is like. The error names it.
func (f *fetcher) topic(ctx context.Context, name string) (kafka.TopicInfo, error) {
	if t, ok := f.topics[name]; ok {
		return t, nil
	}
	info, err := kafka.Inspect(ctx, f.admin, name)
	if err != nil {
		return kafka.TopicInfo{}, err
	}
	f.topics[name] = info[name]
	return info[name], nil
}

// chunk is what a fetch gave: committed records, and the offset to go on from.
type chunk struct {
	records []*kgo.Record
	next    int64
}

const (
	fetchBytes    = 1 << 20 // of a chunk; one batch comes in any case
	firstPause    = 250 * time.Millisecond
	maxPause      = 5 * time.Second
	fetchWaitTime = 500 * time.Millisecond
)

// deletedError says that an offset lies below the first that a partition has.
type deletedError struct{ start int64 }

func (e *deletedError) Error() string {
	return fmt.Sprintf("the records before offset %d were deleted", e.start)
}

// errBeyond says that a partition ends before an offset.
var errBeyond = errors.New("the partition ends before: it lost records, or the topic was made anew")

// read fetches the committed records of a partition from an offset on. What is
// likely to pass is waited out. The error is ctx's, a [*deletedError], or says
// what is wrong with which partition.
func (f *fetcher) read(ctx context.Context, topic string, partition int32, at int64, most int32) (chunk, error) {
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		c, err := f.try(ctx, topic, partition, at, most)
		if err == nil || ctx.Err() != nil {
			return c, errors.Join(err, context.Cause(ctx))
		}
		if _, deleted := errors.AsType[*deletedError](err); deleted {
			return c, err
		}
		if !passes(err) {
			return c, fmt.Errorf("read %s/%d from offset %d: %w", topic, partition, at, err)
		}
		f.log.WarnContext(ctx, "a partition cannot be read just now; it is tried again", slog.String("topic", topic),
			slog.Int64("partition", int64(partition)), slog.Int64("offset", at), slog.Any("error", err))
		delete(f.leaders, topic)
		sleep(ctx, pause)
	}
}

// sleep waits, not longer than ctx lasts.
func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// errUnreadable says that a partition holds what is no record.
var errUnreadable = errors.New("it cannot be read")

// passes reports whether a failure is of the cluster, and not of the records or
// of our permissions.
func passes(err error) bool {
	if e, broker := errors.AsType[*kerr.Error](err); broker {
		return e.Retriable || errors.Is(err, kerr.UnknownTopicID)
	}
	return !errors.Is(err, errUnreadable) && !errors.Is(err, errBeyond)
}

func (f *fetcher) try(ctx context.Context, topic string, partition int32, at int64, most int32) (chunk, error) {
	info, err := f.topic(ctx, topic)
	if err != nil {
		return chunk{}, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	leader, err := f.leader(ctx, topic, partition)
	if err != nil {
		return chunk{}, err
	}
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = int32(fetchWaitTime/time.Millisecond), 1, most
	req.IsolationLevel, req.SessionEpoch = 1, -1 // read committed, no session
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = topic, info.ID
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, at, most
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	answer, err := f.client.Broker(int(leader)).RetriableRequest(ctx, req)
	if err != nil {
		return chunk{}, err
	}
	resp := answer.(*kmsg.FetchResponse) //nolint:forcetypeassert // the request's own kind
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return chunk{}, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return chunk{}, errors.New("the broker answered for another partition")
	}
	return f.chunkOf(ctx, topic, partition, at, &resp.Topics[0].Partitions[0])
}

func (f *fetcher) chunkOf(ctx context.Context, topic string, partition int32, at int64, got *kmsg.FetchResponseTopicPartition) (chunk, error) {
	err := kerr.ErrorForCode(got.ErrorCode)
	if errors.Is(err, kerr.OffsetOutOfRange) {
		return chunk{}, f.outOfRange(ctx, topic, partition, at)
	}
	if err != nil {
		return chunk{}, err
	}
	if len(got.RecordBatches) == 0 {
		// Below this there are no records left, and no transaction is open.
		return chunk{next: max(at, min(got.LastStableOffset, got.HighWatermark))}, nil
	}
	fetched, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: at, IsolationLevel: kgo.ReadCommitted(), Topic: topic, Partition: partition,
	}, got, kgo.DefaultDecompressor(), nil)
	if fetched.Err != nil {
		return chunk{}, fmt.Errorf("%w: %w", errUnreadable, fetched.Err)
	}
	return chunk{records: fetched.Records, next: next}, nil
}

// outOfRange says why a partition has no such offset.
func (f *fetcher) outOfRange(ctx context.Context, topic string, partition int32, at int64) error {
	starts, err := f.admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return err
	}
	s, ok := starts.Lookup(topic, partition)
	switch {
	case !ok:
		return fmt.Errorf("%w: the partition is not there", errUnreadable)
	case s.Err != nil:
		return s.Err
	case s.Offset > at:
		return &deletedError{s.Offset}
	}
	return errBeyond
}

func (f *fetcher) leader(ctx context.Context, topic string, partition int32) (int32, error) {
	if f.leaders[topic] == nil {
		topics, err := f.admin.ListTopics(ctx, topic)
		if err != nil {
			return 0, err
		}
		d := topics[topic]
		if d.Err != nil {
			return 0, d.Err
		}
		leaders := make(map[int32]int32)
		for n, p := range d.Partitions {
			if p.Err == nil && p.Leader >= 0 {
				leaders[n] = p.Leader
			}
		}
		f.leaders[topic] = leaders
	}
	leader, ok := f.leaders[topic][partition]
	if !ok {
		delete(f.leaders, topic)
		return 0, kerr.LeaderNotAvailable
	}
	return leader, nil
}

// record fetches the one record at a position; nil: it is not there any more.
// The error is ctx's, or says what is wrong.
func (f *fetcher) record(ctx context.Context, at event.Position) (*kgo.Record, error) {
	if f.missing[at.Topic] {
		return nil, nil //nolint:nilnil // there is none
	}
	info, err := f.topic(ctx, at.Topic)
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		f.missing[at.Topic] = true // which it takes a while to find out
		return nil, nil            //nolint:nilnil // likewise
	}
	if err != nil || int(at.Partition) >= info.Partitions {
		return nil, err
	}
	c, err := f.read(ctx, at.Topic, at.Partition, at.Offset, 1)
	if _, deleted := errors.AsType[*deletedError](err); deleted || errors.Is(err, errBeyond) {
		return nil, nil //nolint:nilnil // likewise
	}
	if err != nil || len(c.records) == 0 || c.records[0].Offset != at.Offset {
		return nil, err
	}
	return c.records[0], nil
}
