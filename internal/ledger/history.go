package ledger

import (
	"slices"

	"payment-capture/internal/event"
)

// historyBuilder combines the slots of the store and the pending writes of one event
// to its history.
type historyBuilder struct {
	attempt  *event.Attempt
	best     decisionValue
	decision *event.Decision // of best, when it is of this process
}

// add adds a slot, whose bytes may change afterwards.
func (k *historyBuilder) add(s slot) error {
	s.decision.value = slices.Clone(s.decision.value)
	return k.addShared(s)
}

// addShared adds a slot whose bytes must not change until history is called.
func (k *historyBuilder) addShared(s slot) error {
	if s.flags&hasAttempt != 0 {
		a, err := DecodeAttempt(s.attempt)
		if err != nil {
			return err
		}
		k.attempted(a)
	}
	if s.flags&hasDecision != 0 && (k.best.rank == rankNone || s.decision.supersedes(k.best)) {
		k.best, k.decision = s.decision, nil
	}
	return nil
}

// addExcept is like add, without the attempts of partitions in which they are withdrawn.
func (k *historyBuilder) addExcept(withdrawn []int32) func(slot) error {
	if len(withdrawn) == 0 {
		return k.add
	}
	return func(s slot) error {
		if slices.Contains(withdrawn, s.partition) {
			s.flags &^= hasAttempt
		}
		return k.add(s)
	}
}

// attempted adds an attempt; the earliest counts.
func (k *historyBuilder) attempted(a *event.Attempt) {
	if k.attempt == nil || a.First.Before(k.attempt.First) {
		k.attempt = a
	}
}

// decided adds a decision of this process.
func (k *historyBuilder) decided(d *event.Decision) {
	v := decisionValue{rank: rankOf(d), at: milli(d.At)}
	if k.best.rank == rankNone || v.supersedes(k.best) {
		k.best, k.decision = v, d
	}
}

// history returns the history. Beside an outcome an attempt has no meaning.
func (k *historyBuilder) history(id string) (event.History, error) {
	h := event.History{Attempt: k.attempt, Decision: k.decision, Pending: k.decision != nil}
	if k.best.rank > rankParked {
		h.Attempt = nil
	}
	if h.Decision != nil || k.best.rank == rankNone {
		return h, nil
	}
	var err error
	h.Decision, err = DecodeDecision(id, k.best.value)
	return h, err
}

// unite returns the ids of both lists, sorted and without duplicates.
func unite(a, b []string) []string {
	ids := slices.Concat(a, b)
	slices.Sort(ids)
	return slices.Compact(ids)
}
