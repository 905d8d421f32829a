package ledger

import (
	"slices"
	"sync"
	"sync/atomic"

	"payment-capture/internal/event"
	"payment-capture/internal/ledger/entry"
)

// pendingDecisions holds the decisions that this process made and has not read back.
// Lookups read them before the store, and a decision leaves after the store has it, so
// it is always in one of the two.
type pendingDecisions struct {
	events  atomic.Int64 // how many there are, so that none costs nothing
	changes *changes

	mu          sync.Mutex
	byID        map[string][]*event.Decision
	byReference index[string]
}

func newPendingDecisions(changes *changes) *pendingDecisions {
	return &pendingDecisions{changes: changes, byID: make(map[string][]*event.Decision), byReference: make(index[string])}
}

// AddPending keeps a decision until it is read back from the topic.
func (l *Ledger) AddPending(id string, d *event.Decision) { l.pending.add(id, d) }

// DropPending drops the decision that was added last for an event, because its
// transaction was not committed.
func (l *Ledger) DropPending(id string) {
	l.pending.drop(id, func(all []*event.Decision) []*event.Decision { return all[:len(all)-1] })
}

func (p *pendingDecisions) add(id string, d *event.Decision) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byID[id] = append(p.byID[id], d)
	p.events.Store(int64(len(p.byID)))
	p.byReference.add(entry.Reference(d), id)
	p.changes.bump(id)
	p.changes.bump(entry.Reference(d))
}

// drop keeps what a function returns of the decisions on an event.
func (p *pendingDecisions) drop(id string, rest func([]*event.Decision) []*event.Decision) {
	if p.events.Load() == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.byID[id]
	if len(all) == 0 {
		return
	}
	for _, d := range all {
		p.byReference.remove(entry.Reference(d), id)
		defer p.changes.bump(entry.Reference(d))
	}
	all = rest(all)
	for _, d := range all {
		p.byReference.add(entry.Reference(d), id)
	}
	p.byID[id] = all
	if len(all) == 0 {
		delete(p.byID, id)
	}
	p.events.Store(int64(len(p.byID)))
	p.changes.bump(id)
}

// readBack drops the decisions on an event that one in the store supersedes, such as
// its own copy.
func (p *pendingDecisions) readBack(id string, d decision) {
	p.drop(id, func(all []*event.Decision) []*event.Decision {
		return slices.DeleteFunc(all, func(own *event.Decision) bool { return d.Supersedes(valueOf(own)) })
	})
}

// has reports whether a decision of the topic is one of the pending ones; at is its
// time in Unix milliseconds.
func (p *pendingDecisions) has(id string, at int64) bool {
	return slices.ContainsFunc(p.of(id), func(d *event.Decision) bool { return d.At.UnixMilli() == at })
}

// decided reports whether an attempt is followed by a pending decision.
func (p *pendingDecisions) decided(a *openAttempt) bool { return len(p.of(a.id)) > 0 }

func (p *pendingDecisions) of(id string) []*event.Decision {
	if p.events.Load() == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.byID[id])
}

// under returns the ids of events with a pending decision under a reference.
func (p *pendingDecisions) under(reference string) []string {
	if p.events.Load() == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.byReference[reference])
}
