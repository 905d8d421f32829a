package replay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
)

// fetcher looks up topics, their offsets and single records.
type fetcher struct {
	client  *kgo.Client
	admin   *kadm.Client
	log     *slog.Logger
	topics  map[string]kafka.TopicInfo
	missing map[string]bool // topics that do not exist
}

func newFetcher(client *kgo.Client, log *slog.Logger) *fetcher {
	return &fetcher{
		client: client, admin: kadm.NewClient(client), log: log, topics: make(map[string]kafka.TopicInfo), missing: make(map[string]bool),
	}
}

// topic returns the settings of a topic. The error names the topic.
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

// record returns the record at a position; nil: it is not there any more. The
// error is the context's, or what only an operator can change.
func (f *fetcher) record(ctx context.Context, at event.Position) (*kgo.Record, error) {
	if f.missing[at.Topic] {
		return nil, nil //nolint:nilnil // there is none
	}
	info, err := f.topic(ctx, at.Topic)
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		f.missing[at.Topic] = true // because finding out takes seconds
		return nil, nil            //nolint:nilnil // likewise
	}
	if err != nil || int(at.Partition) >= info.Partitions {
		return nil, err
	}
	return kafka.ReadRecord(ctx, f.client, f.log, at.Topic, at.Partition, at.Offset)
}

// span is what a run reads of a partition: the offsets from Next up to and
// without End. Everything below Next is done.
type span struct {
	Partition int32 `json:"partition"`
	Start     int64 `json:"start"`
	Next      int64 `json:"next"`
	End       int64 `json:"end"`
}

// lister lists an offset of every partition of topics.
type lister func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error)

// list returns offsets of a topic by partition.
func (f *fetcher) list(ctx context.Context, topic, which string, from lister) (map[int32]int64, error) {
	listed, err := from(ctx, topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list the %s offsets of topic %q: %w", which, topic, err)
	}
	offsets := make(map[int32]int64)
	for _, o := range listed[topic] {
		offsets[o.Partition] = o.Offset
	}
	return offsets, nil
}

// spans returns what a selection reads of a topic, ordered by partition. Records
// that are written from now on are not in it, nor those of a transaction that is
// open now.
func (f *fetcher) spans(ctx context.Context, topic string, s *Selection) ([]span, error) {
	ends, err := f.list(ctx, topic, "end", f.admin.ListCommittedOffsets)
	if err != nil {
		return nil, err
	}
	from := f.admin.ListStartOffsets
	if !s.Since.IsZero() {
		// No record before that offset is of Since or later, whatever the order of
		// the times is. If no record is, the offset is the end.
		from = func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error) {
			return f.admin.ListOffsetsAfterMilli(ctx, s.Since.UnixMilli(), topics...)
		}
	}
	starts, err := f.list(ctx, topic, "start", from)
	if err != nil {
		return nil, err
	}
	for _, p := range s.Partitions {
		if _, ok := ends[p]; !ok {
			return nil, fmt.Errorf("%w: --partition: topic %q has no partition %d (it has %d)", ErrSelection, topic, p, len(ends))
		}
	}
	var spans []span
	for p, end := range ends {
		if len(s.Partitions) > 0 && !slices.Contains(s.Partitions, p) {
			continue
		}
		start := starts[p]
		if s.From != nil {
			start = max(start, *s.From)
		}
		if s.To != nil {
			end = min(end, *s.To)
		}
		start = min(start, end)
		spans = append(spans, span{Partition: p, Start: start, Next: start, End: end})
	}
	slices.SortFunc(spans, func(a, b span) int { return int(a.Partition - b.Partition) })
	return spans, nil
}
