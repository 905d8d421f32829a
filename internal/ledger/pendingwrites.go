package ledger

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"

	"payment-capture/internal/event"
)

// pendingWrites holds what this process wrote, or is about to write, and has not read
// back. Lookups read it before the store, and an entry leaves it after the store has
// it, so an entry is always in one of the two.
type pendingWrites struct {
	events  atomic.Int64 // how many there are, so that an empty one costs nothing
	changes *changes     // of the store as well

	mu   sync.Mutex
	byID map[string]*pendingEvent
	// byReference has the ids in byID with an attempt or a payment under a reference. A
	// withdrawal or a decision leaves the id there.
	byReference map[string][]string
	read        map[int32]int64 // by partition: what is below is in the store
}

// pendingEvent has the pending writes of one event, in the order in which they were
// written.
type pendingEvent struct {
	writes     []*attemptWrite
	decisions  []*event.Decision
	references []string // under which it is in byReference
}

// attemptWrite is an attempt or its withdrawal, to be written or written.
type attemptWrite struct {
	id        string
	partition int32
	attempt   *event.Attempt // nil: a withdrawal
	value     []byte
	offset    int64 // notAcked, or where it was written
	failed    bool  // it was perhaps not written; nobody waits for it any more
}

// notAcked is the offset of what was perhaps not written yet.
const notAcked = -1

func newPendingWrites() *pendingWrites {
	return &pendingWrites{
		changes: newChanges(), byID: make(map[string]*pendingEvent), byReference: make(map[string][]string), read: make(map[int32]int64),
	}
}

// reset records that the topic is read again from these positions on.
func (o *pendingWrites) reset(read map[int32]position) {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.read)
	for partition, p := range read {
		o.read[partition] = p.next
	}
}

// of returns the pending writes of an event, creating them if needed.
func (o *pendingWrites) of(id string) *pendingEvent {
	p := o.byID[id]
	if p == nil {
		p = new(pendingEvent)
		o.byID[id] = p
		o.events.Add(1)
	}
	o.changes.bump(id)
	return p
}

// dropIfEmpty removes an event whose last pending write was dropped.
func (o *pendingWrites) dropIfEmpty(id string, p *pendingEvent) {
	o.changes.bump(id)
	if len(p.writes) == 0 && len(p.decisions) == 0 {
		delete(o.byID, id)
		o.events.Add(-1)
		for _, reference := range p.references {
			o.byReference[reference] = slices.DeleteFunc(o.byReference[reference], func(other string) bool { return other == id })
			if len(o.byReference[reference]) == 0 {
				delete(o.byReference, reference)
			}
		}
	}
}

// index adds an event to the index under a reference; "": none.
func (o *pendingWrites) index(reference, id string, p *pendingEvent) {
	if reference != "" && !slices.Contains(p.references, reference) {
		p.references = append(p.references, reference)
		o.byReference[reference] = append(o.byReference[reference], id)
	}
}

// addWrite adds a write that is about to be sent.
func (o *pendingWrites) addWrite(in *attemptWrite) {
	o.mu.Lock()
	defer o.mu.Unlock()
	in.offset = notAcked
	p := o.of(in.id)
	p.writes = append(p.writes, in)
	if in.attempt != nil {
		o.index(in.attempt.Reference, in.id, p)
	}
}

// acked records the offset of a write.
func (o *pendingWrites) acked(in *attemptWrite, offset int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	in.offset = offset
	p := o.byID[in.id]
	if p == nil {
		return // read back before
	}
	if at := slices.Index(p.writes, in); at >= 0 && offset < o.read[in.partition] {
		p.dropUpTo(in.partition, at)
		o.dropIfEmpty(in.id, p)
	}
}

// failed records that a write may be missing in the topic. An attempt stays, because
// it may have been written; a withdrawal is dropped, and the attempt stands.
func (o *pendingWrites) failed(in *attemptWrite) {
	o.mu.Lock()
	defer o.mu.Unlock()
	in.failed = true
	p := o.byID[in.id]
	if p == nil {
		return
	}
	if in.attempt != nil {
		p.dropRepeated(in)
		return
	}
	if at := slices.Index(p.writes, in); at >= 0 {
		p.writes = slices.Delete(p.writes, at, at+1)
		o.dropIfEmpty(in.id, p)
	}
}

// dropRepeated drops an attempt that failed right after another one of its
// partition did: the first one covers it, and is the earlier one. So the list does not
// grow while a permission is missing.
func (p *pendingEvent) dropRepeated(in *attemptWrite) {
	at := slices.Index(p.writes, in)
	if at < 1 {
		return
	}
	if before := p.writes[at-1]; before.failed && before.attempt != nil && before.partition == in.partition {
		p.writes = slices.Delete(p.writes, at, at+1)
	}
}

// dropUpTo drops the writes of a partition up to one that was read back: those before
// it were written before it, or never will be.
func (p *pendingEvent) dropUpTo(partition int32, upTo int) {
	kept := p.writes[:0]
	for i, in := range p.writes {
		if i > upTo || in.partition != partition {
			kept = append(kept, in)
		}
	}
	clear(p.writes[len(kept):])
	p.writes = kept
}

// addDecision keeps a decision until it is read back or dropped.
func (o *pendingWrites) addDecision(id string, d *event.Decision) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.of(id)
	p.decisions = append(p.decisions, d)
	o.index(referenceOf(d), id, p)
}

// dropDecision drops the decision that was added last.
func (o *pendingWrites) dropDecision(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.byID[id]
	if p == nil || len(p.decisions) == 0 {
		return
	}
	p.decisions = slices.Delete(p.decisions, len(p.decisions)-1, len(p.decisions))
	o.dropIfEmpty(id, p)
}

// addTo adds the pending writes of an event to its history, and returns the
// partitions whose attempt in the store is withdrawn.
func (o *pendingWrites) addTo(id string, k *historyBuilder) (withdrawn []int32) {
	if o.events.Load() == 0 {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.byID[id]
	if p == nil {
		return nil
	}
	for _, in := range slices.Backward(p.writes) {
		switch {
		case slices.Contains(withdrawn, in.partition):
		case in.attempt == nil:
			withdrawn = append(withdrawn, in.partition)
		default:
			k.attempted(new(*in.attempt))
		}
	}
	for _, d := range p.decisions {
		k.decided(d)
	}
	return withdrawn
}

// underReference returns the ids of the events with an attempt or a payment under a
// reference.
func (o *pendingWrites) underReference(reference string) []string {
	if o.events.Load() == 0 {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.byReference[reference])
}

// readBack drops the pending writes that a written batch contains, and records how far
// each partition was read.
func (o *pendingWrites) readBack(entries []entry, read map[int32]position) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for partition, p := range read {
		o.read[partition] = max(o.read[partition], p.next)
	}
	if len(o.byID) == 0 {
		return nil
	}
	for _, e := range entries {
		p := o.byID[string(e.key[2:])]
		if p == nil {
			continue
		}
		switch Kind(e.key[0]) {
		case KindAttempt:
			if at := p.writeOf(e); at >= 0 {
				p.dropUpTo(e.partition, at)
			}
		case KindDecision:
			if err := p.decided(e); err != nil {
				return err
			}
		}
		o.dropIfEmpty(string(e.key[2:]), p)
	}
	return nil
}

// writeOf returns the index of the write that an entry is, or that lies before it; -1:
// none.
func (p *pendingEvent) writeOf(e entry) int {
	at := -1
	for i, in := range p.writes {
		switch {
		case in.partition != e.partition:
		case in.offset != notAcked && in.offset <= e.offset:
			at = i
		case at < 0 && in.offset == notAcked && in.attempt != nil && bytes.Equal(in.value, e.value):
			at = i // its answer is under way, or lost
		}
	}
	return at
}

// decided drops the decisions that an entry of the topic supersedes, such as its own
// copy. Beside an outcome it does not matter any more whether an attempt was written.
func (p *pendingEvent) decided(e entry) error {
	if e.value == nil {
		return nil
	}
	v, _, err := readDecisionValue(e.key[2:], e.value)
	if err != nil {
		return err
	}
	p.decisions = slices.DeleteFunc(p.decisions, func(d *event.Decision) bool {
		return v.supersedes(decisionValue{rank: rankOf(d), at: milli(d.At)})
	})
	if v.rank > rankParked {
		p.writes = slices.DeleteFunc(p.writes, func(in *attemptWrite) bool { return in.failed })
	}
	return nil
}

// sweep drops the writes whose offsets were read past without being seen: a later entry
// of their key took their place before they were read.
func (o *pendingWrites) sweep() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, p := range o.byID {
		for i := len(p.writes) - 1; i >= 0; i-- {
			if in := p.writes[i]; in.offset != notAcked && in.offset < o.read[in.partition] {
				p.dropUpTo(in.partition, i)
				i = len(p.writes)
			}
		}
		o.dropIfEmpty(id, p)
	}
}
