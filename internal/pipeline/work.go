package pipeline

import (
	"cmp"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"payment-capture/internal/money"
)

// Work is what is left to do in a partition of this instance.
type Work struct {
	Partition int32 `json:"partition"`
	// Backlog estimates the records that can be worked now: read and not decided, and not
	// read yet. What waits for its time, or is held, or was completed above the committed
	// offset, is not counted, and neither are transaction markers. Of what was not read
	// yet, as large a part counts as of what was read last.
	Backlog int64 `json:"backlog"`
	// Oldest is when the oldest record without a decision was published; zero: there is
	// none.
	Oldest time.Time `json:"oldest,omitzero"`
}

// reading is how far a partition can be read, and what part of it is to be worked.
type reading struct {
	end             int64 // its last stable offset when that was listed last
	offsets, orders int64 // of the last polls: offsets, and the records of them that were ours
}

// readingWindow is how many offsets an estimate is made of.
const readingWindow = 10_000

// note counts what was polled, from an offset on.
func (r *reading) note(from int64, records []polledRecord) {
	if len(records) == 0 {
		return
	}
	if r.offsets > readingWindow {
		r.offsets, r.orders = r.offsets/2, r.orders/2
	}
	last := records[len(records)-1].record.Offset
	r.offsets += max(0, last+1-from)
	for i := range records {
		if !records[i].skip {
			r.orders++
		}
	}
	r.end = max(r.end, last+1)
}

// unread estimates the records between an offset and the end.
func (r *reading) unread(from int64) int64 {
	left := max(0, r.end-from)
	if r.offsets == 0 {
		return left
	}
	// One that is left may be an order.
	return (left*min(r.orders, r.offsets) + r.offsets - 1) / r.offsets
}

// readable notes the ends of the partitions.
func (o *owner) readable(ends kadm.ListedOffsets) {
	for n, pt := range o.parts {
		if end, ok := ends.Lookup(o.p.conf.Topics.Input, n); ok && end.Err == nil {
			pt.reading.end = end.Offset
		}
	}
}

// work returns what is left to do in the partition.
func (pt *partition) work() Work {
	w := Work{Partition: pt.number}
	if pt.tracker == nil || pt.halt.halted() {
		return w
	}
	for _, it := range pt.tracker.items {
		if it.completed {
			continue
		}
		if at := it.record.Timestamp; w.Oldest.IsZero() || at.Before(w.Oldest) {
			w.Oldest = at.UTC()
		}
		if !it.held && it.waitsUntil.IsZero() {
			w.Backlog++
		}
	}
	for i := range pt.buffered {
		if r := &pt.buffered[i]; !r.skip && !pt.tracker.completedBefore(r.record.Offset) {
			w.Backlog++
		}
	}
	done := max(0, pt.tracker.restored.End-pt.polledTo) - int64(len(pt.tracker.openFrom(pt.polledTo)))
	w.Backlog += max(0, pt.reading.unread(pt.polledTo)-done)
	return w
}

// workLeft returns what is left to do in all partitions.
func (o *owner) workLeft() []Work {
	all := make([]Work, 0, len(o.parts))
	for _, pt := range o.parts {
		all = append(all, pt.work())
	}
	slices.SortFunc(all, func(a, b Work) int { return cmp.Compare(a.Partition, b.Partition) })
	return all
}

// undecidedAmounts returns the sums of the events that were read and have no decision, in
// the smallest units.
func (o *owner) undecidedAmounts() map[money.Currency]int64 {
	sums := make(map[money.Currency]int64)
	for _, pt := range o.parts {
		if pt.tracker == nil {
			continue
		}
		for _, it := range pt.tracker.items {
			if !it.completed && it.event != nil {
				sums[it.event.Amount.Currency()] += it.event.Amount.Minor()
			}
		}
		for i := range pt.buffered {
			if e := pt.buffered[i].event; e != nil {
				sums[e.Amount.Currency()] += e.Amount.Minor()
			}
		}
	}
	return sums
}
