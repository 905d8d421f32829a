package ledger

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"

	"payment-capture/internal/event"
)

// overlay is what this process wrote, or is about to, and has not read back. It
// is asked before the store, and an entry leaves it after the store has it: so
// there is no moment in which an entry is in neither.
type overlay struct {
	events  atomic.Int64 // how many there are, so that an empty one costs nothing
	changes *changes     // of the store as well

	mu   sync.Mutex
	byID map[string]*pending
	// byReference gives the ids under which byID has something that was tried, or
	// paid, under a reference; a withdrawal or another end leaves the id there.
	byReference map[string][]string
	read        map[int32]int64 // by partition: what is below is in the store
}

// pending is what is not read back of one event, each in the order in which it
// was written.
type pending struct {
	intents    []*intent
	decisions  []*event.Decision
	references []string // under which it is in byReference
}

// intent is an attempt, or its withdrawal.
type intent struct {
	id        string
	partition int32
	attempt   *event.Attempt // nil: a withdrawal
	value     []byte
	offset    int64 // notAcked, or where it was written
	failed    bool  // it was perhaps not written; nobody waits for it any more
}

// notAcked is the offset of what was perhaps not written yet.
const notAcked = -1

func newOverlay() *overlay {
	return &overlay{
		changes: newChanges(), byID: make(map[string]*pending), byReference: make(map[string][]string), read: make(map[int32]int64),
	}
}

// reset says that the store is read anew, from these positions on.
func (o *overlay) reset(read map[int32]position) {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.read)
	for partition, p := range read {
		o.read[partition] = p.next
	}
}

// of gives what is to be added to.
func (o *overlay) of(id string) *pending {
	p := o.byID[id]
	if p == nil {
		p = new(pending)
		o.byID[id] = p
		o.events.Add(1)
	}
	o.changes.of(id)
	return p
}

// tidy is called when something was taken away.
func (o *overlay) tidy(id string, p *pending) {
	o.changes.of(id)
	if len(p.intents) == 0 && len(p.decisions) == 0 {
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

// refer notes that an event is to be found under a reference; "": none.
func (o *overlay) refer(reference, id string, p *pending) {
	if reference != "" && !slices.Contains(p.references, reference) {
		p.references = append(p.references, reference)
		o.byReference[reference] = append(o.byReference[reference], id)
	}
}

// intend adds an intent that is about to be written.
func (o *overlay) intend(in *intent) {
	o.mu.Lock()
	defer o.mu.Unlock()
	in.offset = notAcked
	p := o.of(in.id)
	p.intents = append(p.intents, in)
	if in.attempt != nil {
		o.refer(in.attempt.Reference, in.id, p)
	}
}

// acked says where an intent was written.
func (o *overlay) acked(in *intent, offset int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	in.offset = offset
	p := o.byID[in.id]
	if p == nil {
		return // read back before
	}
	if at := slices.Index(p.intents, in); at >= 0 && offset < o.read[in.partition] {
		p.settled(in.partition, at)
		o.tidy(in.id, p)
	}
}

// failed says that an intent was perhaps not written. An attempt stays, for it
// may have been; a withdrawal goes, and the attempt stands.
func (o *overlay) failed(in *intent) {
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
	if at := slices.Index(p.intents, in); at >= 0 {
		p.intents = slices.Delete(p.intents, at, at+1)
		o.tidy(in.id, p)
	}
}

// dropRepeated drops an attempt that failed right after another one of its
// partition did: the first says as much, and is the earlier one. So it does not
// grow while a permission lacks.
func (p *pending) dropRepeated(in *intent) {
	at := slices.Index(p.intents, in)
	if at < 1 {
		return
	}
	if before := p.intents[at-1]; before.failed && before.attempt != nil && before.partition == in.partition {
		p.intents = slices.Delete(p.intents, at, at+1)
	}
}

// settled drops the intents of a partition up to one that was read back: those
// before it were written before it, or never will be.
func (p *pending) settled(partition int32, upTo int) {
	kept := p.intents[:0]
	for i, in := range p.intents {
		if i > upTo || in.partition != partition {
			kept = append(kept, in)
		}
	}
	clear(p.intents[len(kept):])
	p.intents = kept
}

// remember keeps a decision until it is read back, or forgotten.
func (o *overlay) remember(id string, d *event.Decision) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.of(id)
	p.decisions = append(p.decisions, d)
	o.refer(referenceOf(d), id, p)
}

// forget drops the decision that was remembered last.
func (o *overlay) forget(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.byID[id]
	if p == nil || len(p.decisions) == 0 {
		return
	}
	p.decisions = slices.Delete(p.decisions, len(p.decisions)-1, len(p.decisions))
	o.tidy(id, p)
}

// look adds what is known of an event, and gives the partitions whose attempt
// in the store is withdrawn.
func (o *overlay) look(id string, k *knowledge) (withdrawn []int32) {
	if o.events.Load() == 0 {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.byID[id]
	if p == nil {
		return nil
	}
	for _, in := range slices.Backward(p.intents) {
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

// underReference gives the ids of the events of which something was tried, or
// has a payment, under a reference.
func (o *overlay) underReference(reference string) []string {
	if o.events.Load() == 0 {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.byReference[reference])
}

// readBack drops what came back with a batch that the store has, and notes how
// far each partition was read.
func (o *overlay) readBack(entries []entry, read map[int32]position) error {
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
			if at := p.cameBack(e); at >= 0 {
				p.settled(e.partition, at)
			}
		case KindDecision:
			if err := p.decided(e); err != nil {
				return err
			}
		}
		o.tidy(string(e.key[2:]), p)
	}
	return nil
}

// cameBack gives the intent that an entry is, or is after; -1: none.
func (p *pending) cameBack(e entry) int {
	at := -1
	for i, in := range p.intents {
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

// decided drops the decisions that the one that was read stands against, as
// their own copy does. Beside an outcome it does not matter any more whether an
// attempt was written.
func (p *pending) decided(e entry) error {
	if e.value == nil {
		return nil
	}
	v, _, err := readVerdict(e.key[2:], e.value)
	if err != nil {
		return err
	}
	p.decisions = slices.DeleteFunc(p.decisions, func(d *event.Decision) bool {
		return v.over(verdict{rank: rankOf(d), at: milli(d.At)})
	})
	if v.rank > rankParked {
		p.intents = slices.DeleteFunc(p.intents, func(in *intent) bool { return in.failed })
	}
	return nil
}

// sweep drops the intents that were read past without being seen: a later entry
// of their key took their place before they were read.
func (o *overlay) sweep() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, p := range o.byID {
		for i := len(p.intents) - 1; i >= 0; i-- {
			if in := p.intents[i]; in.offset != notAcked && in.offset < o.read[in.partition] {
				p.settled(in.partition, i)
				i = len(p.intents)
			}
		}
		o.tidy(id, p)
	}
}
