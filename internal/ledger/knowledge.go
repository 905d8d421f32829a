package ledger

import (
	"slices"

	"payment-capture/internal/event"
)

// knowledge is what is known of one event, put together from the slots of the
// store and from what is not read back.
type knowledge struct {
	attempt  *event.Attempt
	best     verdict
	decision *event.Decision // of best, when it is of this process
}

// add takes what a slot says, which may change afterwards.
func (k *knowledge) add(s slot) error {
	s.verdict.value = slices.Clone(s.verdict.value)
	return k.see(s)
}

// see takes what a slot says, which has to stay until history is asked for.
func (k *knowledge) see(s slot) error {
	if s.flags&hasAttempt != 0 {
		a, err := DecodeAttempt(s.attempt)
		if err != nil {
			return err
		}
		k.attempted(a)
	}
	if s.flags&hasDecision != 0 && (k.best.rank == rankNone || s.verdict.over(k.best)) {
		k.best, k.decision = s.verdict, nil
	}
	return nil
}

// addExcept is add, but for the attempts of partitions where they are withdrawn.
func (k *knowledge) addExcept(withdrawn []int32) func(slot) error {
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

// attempted takes an attempt; the earliest counts.
func (k *knowledge) attempted(a *event.Attempt) {
	if k.attempt == nil || a.First.Before(k.attempt.First) {
		k.attempt = a
	}
}

// decided takes a decision of this process.
func (k *knowledge) decided(d *event.Decision) {
	v := verdict{rank: rankOf(d), at: milli(d.At)}
	if k.best.rank == rankNone || v.over(k.best) {
		k.best, k.decision = v, d
	}
}

// history gives what is known. Beside an outcome an attempt says nothing more.
func (k *knowledge) history(id string) (event.History, error) {
	h := event.History{Attempt: k.attempt, Decision: k.decision, Unread: k.decision != nil}
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

// unite gives the ids of both, each once, sorted.
func unite(a, b []string) []string {
	ids := slices.Concat(a, b)
	slices.Sort(ids)
	return slices.Compact(ids)
}
