package pipeline

import (
	"slices"

	"payment-capture/internal/offsetmeta"
)

// window is what one partition has taken up at and above its committed offset:
// which offsets are settled and which are not. Offsets enter in ascending
// order; those that no record has (transaction markers, aborted and compacted
// records) count as settled.
type window struct {
	limit int // bytes that the map may take in the commit's metadata

	next      int64 // one past the highest offset taken up
	lastEpoch int32 // leader epoch of the record before next; -1: not known
	entries   []*item
	unsettled int                  // of the entries
	end       int64                // one past the highest offset that was settled here
	restored  offsetmeta.Completed // read from the commit's metadata: settled before this owner
}

// newWindow begins at a committed offset.
func newWindow(at int64, epoch int32, restored offsetmeta.Completed, limit int) *window {
	return &window{limit: limit, next: at, lastEpoch: epoch, end: at, restored: restored}
}

// wasSettled reports whether an offset was settled before this owner.
func (w *window) wasSettled(offset int64) bool { return w.restored.Has(offset) }

// fits reports whether one more record can be taken up at offset, with the map
// sure to fit whatever is settled first: either the whole span fits as a
// bitmap, or every unsettled offset as a delta of at most four bytes (deltas
// merge when what lies between is settled, and the bytes never grow by it).
func (w *window) fits(offset int64) bool {
	const maxDelta, maxSpanText = 4, 6
	ahead := len(w.restoredFrom(offset + 1))
	if w.unsettled+ahead == 0 {
		return true // nothing is settled above an unsettled offset
	}
	span := max(offset+1, w.restored.End) - w.low()
	if span <= int64(w.limit)*8 {
		return true
	}
	count := w.unsettled + 1 + ahead
	return span < 1<<28 && count*maxDelta+maxSpanText <= w.limit
}

// restoredAhead gives the offsets that the restored map holds unsettled and
// that were not taken up yet.
func (w *window) restoredAhead() []int64 { return w.restoredFrom(w.next) }

func (w *window) restoredFrom(offset int64) []int64 {
	i, _ := slices.BinarySearch(w.restored.Open, offset)
	return w.restored.Open[i:]
}

// skipTo counts all below offset as settled, as far as it was not taken up.
func (w *window) skipTo(offset int64, epoch int32) {
	if offset <= w.next {
		return
	}
	w.next, w.lastEpoch = offset, epoch
}

// take takes a record up, unsettled. Its offset is at least next.
func (w *window) take(it *item, epoch int32) {
	it.epochBefore = w.lastEpoch
	if it.offset > w.next {
		// What lies between may have been written under another leader, unless
		// this record's leader is still the one before.
		if epoch != w.lastEpoch {
			it.epochBefore = -1
		}
	}
	w.entries = append(w.entries, it)
	w.unsettled++
	w.next, w.lastEpoch = it.offset+1, epoch
}

// settle marks an entry as settled.
func (w *window) settle(it *item) {
	it.settled = true
	w.unsettled--
	w.end = max(w.end, it.offset+1)
	n := 0
	for n < len(w.entries) && w.entries[n].settled {
		w.entries[n] = nil
		n++
	}
	w.entries = w.entries[n:]
	// One stuck record must not make the list grow with all that is settled
	// above it.
	if len(w.entries) > 2*w.unsettled+64 {
		w.entries = slices.DeleteFunc(slices.Clone(w.entries), func(e *item) bool { return e.settled })
	}
}

// low gives the offset below which all is settled.
func (w *window) low() int64 {
	if w.unsettled > 0 {
		return w.entries[0].offset
	}
	if w.next >= w.restored.End {
		return w.next
	}
	if ahead := w.restoredAhead(); len(ahead) > 0 {
		return ahead[0]
	}
	return w.restored.End
}

// lowEpoch gives the leader epoch of the record before low; -1: not known.
func (w *window) lowEpoch() int32 {
	switch {
	case w.unsettled > 0:
		return w.entries[0].epochBefore
	case w.low() == w.next:
		return w.lastEpoch
	}
	return -1
}

// settledAbove gives the map for the commit's metadata.
func (w *window) settledAbove() offsetmeta.Completed {
	m := offsetmeta.Completed{End: max(w.end, w.restored.End)}
	low := w.low()
	for _, e := range w.entries {
		if !e.settled && e.offset < m.End {
			m.Open = append(m.Open, e.offset)
		}
	}
	m.Open = append(m.Open, w.restoredAhead()...)
	if m.End <= low {
		return offsetmeta.Completed{End: low}
	}
	return m
}
