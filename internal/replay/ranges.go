package replay

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
)

// span is what a run reads of a partition: the offsets from Next on and before
// End. Below Next all is done.
type span struct {
	Partition int32 `json:"partition"`
	Start     int64 `json:"start"`
	Next      int64 `json:"next"`
	End       int64 `json:"end"`
}

// ends gives how far a reader of committed records can read each partition.
func (f *fetcher) ends(ctx context.Context, topic string) (map[int32]int64, error) {
	return f.list(ctx, topic, "end", f.admin.ListCommittedOffsets)
}

func (f *fetcher) list(ctx context.Context, topic, which string, ask func(context.Context, ...string) (kadm.ListedOffsets, error)) (map[int32]int64, error) {
	listed, err := ask(ctx, topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("ask for the %s offsets of topic %q: %w", which, topic, err)
	}
	offsets := make(map[int32]int64)
	for _, o := range listed[topic] {
		offsets[o.Partition] = o.Offset
	}
	return offsets, nil
}

// spans gives what a selection reads of a topic as it is now, in the order of
// the partitions. What comes to the topic later is not in it, nor is what a
// transaction that is open now will have written.
func (f *fetcher) spans(ctx context.Context, topic string, s *Selection) ([]span, error) {
	ends, err := f.ends(ctx, topic)
	if err != nil {
		return nil, err
	}
	ask := f.admin.ListStartOffsets
	if !s.Since.IsZero() {
		// Of no record before that offset is the time at Since or after it,
		// whatever the order of the times is. Where there is none it is the end.
		ask = func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error) {
			return f.admin.ListOffsetsAfterMilli(ctx, s.Since.UnixMilli(), topics...)
		}
	}
	starts, err := f.list(ctx, topic, "start", ask)
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
