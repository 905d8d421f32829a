package replay

import "sync"

// tracker tracks of each partition below which offset every record is done: left
// out, or sent and acknowledged. It is safe for concurrent use.
type tracker struct {
	mu    sync.Mutex
	parts map[int32]*trackedPart
	sent  int64
}

type trackedPart struct {
	open []*ticket // the first is not done
	next int64     // the offset after the last record that was read
}

// ticket is a record on its way.
type ticket struct {
	offset int64
	done   bool
}

func newTracker(spans []span, sent int64) *tracker {
	t := &tracker{parts: make(map[int32]*trackedPart), sent: sent}
	for _, s := range spans {
		t.parts[s.Partition] = &trackedPart{next: s.Next}
	}
	return t
}

// leaveOut marks a record as not sent.
func (t *tracker) leaveOut(partition int32, offset int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.parts[partition].next = offset + 1
}

// begin adds a record that is sent. The caller calls end once the record is
// acknowledged, or will never be.
func (t *tracker) begin(partition int32, offset int64) (end func(acked bool)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	part := t.parts[partition]
	of := &ticket{offset: offset}
	part.open = append(part.open, of)
	part.next = offset + 1
	return func(acked bool) {
		t.mu.Lock()
		defer t.mu.Unlock()
		of.done = true
		if acked {
			t.sent++
		}
		for len(part.open) > 0 && part.open[0].done {
			part.open[0] = nil
			part.open = part.open[1:]
		}
	}
}

// apply writes the progress into the spans, and returns how many records were
// acknowledged.
func (t *tracker) apply(spans []span) (sent int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range spans {
		part := t.parts[spans[i].Partition]
		spans[i].Next = part.next
		if len(part.open) > 0 {
			spans[i].Next = part.open[0].offset
		}
	}
	return t.sent
}

// acknowledged returns how many records were acknowledged.
func (t *tracker) acknowledged() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sent
}
