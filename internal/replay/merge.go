package replay

import (
	"container/heap"
	"context"
	"errors"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kgo"
)

// merged reads the spans of a topic's partitions as one: of the records that
// come next the oldest, so that events of different partitions come in the order
// of time, as they did at first. Within a partition the order is that of the
// partition.
type merged struct {
	fetch *fetcher
	topic string
	heap  cursors
	empty []*cursor // those that nothing is known of yet
	// deleted counts the offsets that retention took while they were to be
	// read.
	deleted int64
}

// cursor reads one span.
type cursor struct {
	span
	records []*kgo.Record // fetched, and not given yet
}

func newMerged(fetch *fetcher, topic string, spans []span) *merged {
	m := &merged{fetch: fetch, topic: topic}
	for _, s := range spans {
		m.empty = append(m.empty, &cursor{span: s})
	}
	return m
}

// next gives the next record; nil: there is none. The error is ctx's, or says
// which partition cannot be read.
func (m *merged) next(ctx context.Context) (*kgo.Record, error) {
	for _, c := range m.empty {
		if err := m.fill(ctx, c); err != nil {
			return nil, err
		}
		if len(c.records) > 0 {
			heap.Push(&m.heap, c)
		}
	}
	m.empty = m.empty[:0]
	if len(m.heap) == 0 {
		return nil, nil //nolint:nilnil // there is none
	}
	c := m.heap[0]
	r := c.records[0]
	c.records[0] = nil
	c.records = c.records[1:]
	if len(c.records) > 0 {
		heap.Fix(&m.heap, 0)
	} else {
		heap.Pop(&m.heap)
		m.empty = append(m.empty, c)
	}
	return r, nil
}

// fill fetches the next records of a span, none at its end.
func (m *merged) fill(ctx context.Context, c *cursor) error {
	for len(c.records) == 0 && c.Next < c.End {
		got, err := m.fetch.read(ctx, m.topic, c.Partition, c.Next, fetchBytes)
		if deleted, ok := errors.AsType[*deletedError](err); ok {
			to := min(deleted.start, c.End)
			m.fetch.log.WarnContext(ctx, "records were deleted before they were read", slog.String("topic", m.topic),
				slog.Int64("partition", int64(c.Partition)), slog.Int64("from", c.Next), slog.Int64("to", to-1))
			m.deleted += to - c.Next
			c.Next = to
			continue
		}
		if err != nil {
			return err
		}
		for _, r := range got.records {
			if r.Offset < c.End {
				c.records = append(c.records, r)
			}
		}
		c.Next = got.next
	}
	return nil
}

// cursors is a heap, the one with the oldest record at its top.
type cursors []*cursor

func (h cursors) Len() int { return len(h) }

func (h cursors) Less(i, j int) bool {
	a, b := h[i].records[0], h[j].records[0]
	if !a.Timestamp.Equal(b.Timestamp) {
		return a.Timestamp.Before(b.Timestamp)
	}
	return a.Partition < b.Partition
}

func (h cursors) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements [heap.Interface].
func (h *cursors) Push(c any) { *h = append(*h, c.(*cursor)) } //nolint:forcetypeassert // nothing else is pushed

// Pop implements [heap.Interface].
func (h *cursors) Pop() any {
	last := len(*h) - 1
	c := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return c
}
