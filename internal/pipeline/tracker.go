package pipeline

import (
	"slices"

	"payment-capture/internal/offsetmeta"
)

// offsetTracker tracks which records of one partition are completed, at and above its
// committed offset. Offsets enter in ascending order; those without a record
// (transaction markers, aborted and compacted records) count as completed.
type offsetTracker struct {
	limit int // bytes that the completed offsets may take in the commit's metadata

	next         int64 // one past the highest offset that was admitted
	lastEpoch    int32 // leader epoch of the record before next; -1: not known
	items        []*item
	open         int                  // items that are not completed
	completedEnd int64                // one past the highest offset that was completed here
	restored     offsetmeta.Completed // completed by an earlier owner
}

// newOffsetTracker starts at a committed offset.
func newOffsetTracker(at int64, epoch int32, restored offsetmeta.Completed, limit int) *offsetTracker {
	return &offsetTracker{limit: limit, next: at, lastEpoch: epoch, completedEnd: at, restored: restored}
}

// completedBefore reports whether an earlier owner completed an offset.
func (t *offsetTracker) completedBefore(offset int64) bool { return t.restored.Has(offset) }

// fits reports whether one more record can be admitted at an offset, so that the
// metadata has room whatever is completed first: either the whole span fits as a
// bitmap, or every open offset as a delta of at most three or four bytes. (Deltas merge when
// the records between them are completed, and that never adds bytes.)
func (t *offsetTracker) fits(offset int64) bool {
	const maxSpanText = 6
	ahead := len(t.openFrom(offset + 1))
	if t.open+ahead == 0 {
		return true // nothing is completed above an open offset
	}
	span := max(offset+1, t.restored.End) - t.committable()
	if span <= int64(t.limit)*8 {
		return true
	}
	maxDelta := 3
	if span >= 1<<21 {
		maxDelta = 4
	}
	count := t.open + 1 + ahead
	return span < 1<<28 && count*maxDelta+maxSpanText <= t.limit
}

// openAhead returns the offsets that an earlier owner left open and that are not
// admitted yet.
func (t *offsetTracker) openAhead() []int64 { return t.openFrom(t.next) }

func (t *offsetTracker) openFrom(offset int64) []int64 {
	i, _ := slices.BinarySearch(t.restored.Open, offset)
	return t.restored.Open[i:]
}

// skipTo counts everything below an offset as completed, as far as it was not admitted.
func (t *offsetTracker) skipTo(offset int64, epoch int32) {
	if offset <= t.next {
		return
	}
	t.next, t.lastEpoch = offset, epoch
}

// admit adds an open record. Its offset is at least next.
func (t *offsetTracker) admit(it *item, epoch int32) {
	it.epochBefore = t.lastEpoch
	if it.offset > t.next && epoch != t.lastEpoch {
		// Another leader may have written the offsets between.
		it.epochBefore = -1
	}
	t.items = append(t.items, it)
	t.open++
	t.next, t.lastEpoch = it.offset+1, epoch
}

// complete marks an admitted record as completed.
func (t *offsetTracker) complete(it *item) {
	it.completed = true
	t.open--
	t.completedEnd = max(t.completedEnd, it.offset+1)
	n := 0
	for n < len(t.items) && t.items[n].completed {
		t.items[n] = nil
		n++
	}
	t.items = t.items[n:]
	// One stuck record must not make the list grow with all that is completed above it.
	if len(t.items) > 2*t.open+64 {
		t.items = slices.DeleteFunc(slices.Clone(t.items), func(it *item) bool { return it.completed })
	}
}

// committable returns the offset to commit: everything below it is completed.
func (t *offsetTracker) committable() int64 {
	if t.open > 0 {
		return t.items[0].offset
	}
	if t.next >= t.restored.End {
		return t.next
	}
	if ahead := t.openAhead(); len(ahead) > 0 {
		return ahead[0]
	}
	return t.restored.End
}

// committableEpoch returns the leader epoch of the record before the committable
// offset; -1: not known.
func (t *offsetTracker) committableEpoch() int32 {
	switch {
	case t.open > 0:
		return t.items[0].epochBefore
	case t.committable() == t.next:
		return t.lastEpoch
	}
	return -1
}

// completedAbove returns which offsets above the committable one are completed.
func (t *offsetTracker) completedAbove() offsetmeta.Completed {
	c := offsetmeta.Completed{End: max(t.completedEnd, t.restored.End)}
	committable := t.committable()
	for _, it := range t.items {
		if !it.completed && it.offset < c.End {
			c.Open = append(c.Open, it.offset)
		}
	}
	c.Open = append(c.Open, t.openAhead()...)
	if c.End <= committable {
		return offsetmeta.Completed{End: committable}
	}
	return c
}
