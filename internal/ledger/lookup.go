package ledger

import (
	"context"
	"errors"
	"slices"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/ledger/entry"
	"payment-capture/internal/ledger/store"
)

// What is known of an event lies in three places: the pending decisions and the open
// attempts in memory, and the decisions in the store. They are read in this order,
// because a decision leaves the pending ones, and ends attempts, only after the store
// has it.

type decision = store.Decision

// valueOf returns what a decision of this process is compared by.
func valueOf(d *event.Decision) decision {
	return decision{Rank: rankOf(d), At: d.At.UnixMilli()}
}

// rankOf returns the rank of a decision.
func rankOf(d *event.Decision) store.Rank {
	switch {
	case d.ParkInfo != nil:
		return store.Parked
	case d.Outcome.Type == event.TypeCaptured:
		return store.Captured
	}
	return store.Rejected
}

// inMemory is what memory has of an event.
type inMemory struct {
	pending []*event.Decision
	open    []*openAttempt
}

func (l *Ledger) inMemory(id string) inMemory {
	return inMemory{pending: l.pending.of(id), open: l.claims.of(id)} // in this order: see above
}

// history combines what memory and the store have of an event. A found decision without
// a rank is none.
func (m inMemory) history(id string, found decision) (event.History, error) {
	var h event.History
	best := found
	for _, d := range m.pending {
		if v := valueOf(d); best.Rank == 0 || v.Supersedes(best) {
			best, h.Decision, h.Pending = v, d, true
		}
	}
	if h.Decision == nil && best.Rank != 0 {
		d, err := entry.DecodeDecision(id, best.Value)
		if err != nil {
			return event.History{}, err
		}
		h.Decision = d
	}
	if h.Decision != nil && h.Decision.Outcome != nil {
		return h, nil // beside an outcome an attempt has no meaning
	}
	for _, a := range m.open {
		if h.Attempt == nil || a.attempt.First.Before(h.Attempt.First) {
			h.Attempt = a.attempt
		}
	}
	return h, nil
}

// Lookup returns the history of an event: from the store, and from the pending decisions
// of this process. It waits while the store is being read again, and while the
// ledger is halted.
func (l *Ledger) Lookup(ctx context.Context, id string) (event.History, error) {
	return withStore(ctx, l, func(s *store.Store) (event.History, error) { return l.lookup(s, id) })
}

func (l *Ledger) lookup(s *store.Store, id string) (event.History, error) {
	m := l.inMemory(id)
	found, _, err := s.Decision(id)
	if err != nil {
		return event.History{}, err
	}
	return m.history(id, found)
}

// Under returns the histories of the events with an attempt or a payment for a charge, in
// the order of their ids. There may be others of its reference among them. Like Lookup, it
// may miss what other instances wrote since [Ledger.CatchUp].
func (l *Ledger) Under(ctx context.Context, charge event.Charge) ([]event.Known, error) {
	return withStore(ctx, l, func(s *store.Store) ([]event.Known, error) {
		known, err := l.underAll(s, []event.Charge{charge})
		if err != nil {
			return nil, err
		}
		return known[0], nil
	})
}

// underAll returns what Under does, for many charges.
func (l *Ledger) underAll(s *store.Store, charges []event.Charge) ([][]event.Known, error) {
	ids, questions := make([][]string, len(charges)), make([]store.Index, len(charges))
	for i, charge := range charges {
		ids[i] = append(l.pending.under(charge.Reference), l.claims.under(charge.Reference)...) // in this order: see above
		questions[i] = store.Index(entry.IndexOf(charge))
	}
	if err := s.Under(questions, func(i int, id string) { ids[i] = append(ids[i], id) }); err != nil {
		return nil, err
	}
	found := make([][]event.Known, len(charges))
	for i, charge := range charges {
		slices.Sort(ids[i])
		for _, id := range slices.Compact(ids[i]) {
			h, err := l.lookup(s, id)
			if err != nil {
				return nil, err
			}
			if under(charge.Reference, h) {
				found[i] = append(found[i], event.Known{EventID: id, History: h})
			}
		}
	}
	return found, nil
}

// under reports whether the history of an event concerns the reference under which the
// index has it.
func under(reference string, h event.History) bool {
	switch d := h.Decision; {
	case h.Attempt != nil && h.Attempt.Reference == reference:
		return true
	case d == nil:
		return false
	default:
		return entry.Reference(d) == reference
	}
}

// OldAttempts counts the events without a decision that were first attempted before a time.
func (l *Ledger) OldAttempts(before time.Time) (n int) {
	for _, s := range l.Snapshot(l.claims.attemptedBefore(before)) { // none while the ledger cannot answer
		if s.Decision == nil {
			n++
		}
	}
	return n
}

// All calls a function with every event that was attempted or decided, until the
// function returns an error. Pending decisions are not included.
func (l *Ledger) All(ctx context.Context, use func(id string, h event.History) error) error {
	if err := l.availability.await(ctx); err != nil {
		return err
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.store == nil {
		return errClosed
	}
	undecided := make(map[string]bool)
	for _, id := range l.claims.undecided() {
		undecided[id] = true
	}
	err := l.store.All(ctx, func(id string, d decision) error {
		delete(undecided, id)
		h, err := inMemory{open: l.claims.of(id)}.history(id, d)
		if err != nil {
			return err
		}
		return use(id, h)
	})
	for id := range undecided {
		if err != nil {
			break
		}
		var h event.History
		if h, err = (inMemory{open: l.claims.of(id)}).history(id, decision{}); err == nil && h != (event.History{}) {
			err = use(id, h)
		}
	}
	return errors.Join(err, l.store.Usable())
}

// Empty reports whether nothing was ever written to the topic. It waits as
// [Ledger.Lookup] does.
func (l *Ledger) Empty(ctx context.Context) (bool, error) {
	return withStore(ctx, l, func(s *store.Store) (bool, error) {
		read, err := s.Positions()
		for _, p := range read {
			if p.Next > 0 {
				return false, err
			}
		}
		return true, err
	})
}
