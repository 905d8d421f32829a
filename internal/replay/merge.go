package replay

import (
	"container/heap"
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/kafka"
)

// merged reads the spans of a topic's partitions as one stream: the oldest record
// first, so that events of different partitions come in the order of their times.
// Within a partition the order is that of the partition. Close it after use.
type merged struct {
	kafka   kafka.Config
	log     *slog.Logger
	topic   string
	cursors []*cursor
	heap    cursors   // those that have records
	empty   []*cursor // those to be filled
	// deleted counts the offsets whose records were deleted before they were read.
	deleted int64
}

// cursor reads one span.
type cursor struct {
	span
	reader  *kafka.RangeReader // nil: not open
	records []*kgo.Record      // read, and not returned yet
}

func newMerged(conf kafka.Config, log *slog.Logger, topic string, spans []span) *merged {
	m := &merged{kafka: conf, log: log, topic: topic}
	for _, s := range spans {
		m.cursors = append(m.cursors, &cursor{span: s})
	}
	m.empty = append(m.empty, m.cursors...)
	return m
}

func (m *merged) close() {
	for _, c := range m.cursors {
		c.close()
	}
}

func (c *cursor) close() {
	if c.reader != nil {
		c.reader.Close()
		c.reader = nil
	}
}

// next returns the next record; nil: there is none left. The error is the
// context's, or names the partition that cannot be read.
func (m *merged) next(ctx context.Context) (*kgo.Record, error) {
	// All readers are opened before the first is waited for, so that they fetch at
	// the same time.
	for _, c := range m.empty {
		if err := m.open(c); err != nil {
			return nil, err
		}
	}
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

// open opens the reader of a span that is not read to its end.
func (m *merged) open(c *cursor) (err error) {
	if c.reader == nil && c.Next < c.End {
		c.reader, err = kafka.NewRangeReader(m.kafka, kafka.Range{Topic: m.topic, Partition: c.Partition, From: c.Next, To: c.End})
	}
	return err
}

// fill reads the next records of a span, none at its end. Deleted records are
// counted, and reading goes on behind them.
func (m *merged) fill(ctx context.Context, c *cursor) error {
	for len(c.records) == 0 && c.Next < c.End {
		if err := m.open(c); err != nil {
			return err
		}
		records, err := c.reader.Read(ctx)
		deleted, isDeleted := errors.AsType[*kafka.DeletedError](err)
		switch {
		case isDeleted:
			to := min(deleted.Start, c.End)
			m.log.WarnContext(ctx, "records were deleted before they were read", slog.String("topic", m.topic),
				slog.Int64("partition", int64(c.Partition)), slog.Int64("from", c.Next), slog.Int64("to", to-1))
			m.deleted += to - c.Next
			c.Next = to
			c.close()
		case errors.Is(err, io.EOF):
			c.Next = c.End
			c.close()
		case err != nil:
			return err
		default:
			c.records, c.Next = records, c.End-c.reader.Left()
		}
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
