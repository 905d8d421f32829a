package ledger

import (
	"context"

	"payment-capture/internal/event"
)

// UnderReference returns the histories of the events with an attempt or a payment
// under an external reference, in the order of their ids. Like Lookup, it may miss
// what other instances wrote since [Ledger.CatchUp].
func (l *Ledger) UnderReference(ctx context.Context, reference string) ([]event.Known, error) {
	return withStore(ctx, l, func(s *store) ([]event.Known, error) {
		ids := l.pending.underReference(reference) // before the store: see pendingWrites
		stored, err := s.underReference(reference)
		if err != nil {
			return nil, err
		}
		var found []event.Known
		for _, id := range unite(ids, stored) {
			h, err := l.lookup(s, id)
			if err != nil {
				return nil, err
			}
			if under(reference, h) {
				found = append(found, event.Known{EventID: id, History: h})
			}
		}
		return found, nil
	})
}

// under reports whether the history of an event concerns the reference under which the
// index has it, because the index keeps withdrawn attempts.
func under(reference string, h event.History) bool {
	if d := h.Decision; d != nil && d.Outcome != nil {
		return d.Outcome.ExternalReference == reference
	}
	// Conflicting events of one id can have attempts under several references; the
	// earliest attempt is used for all of them.
	return h != event.History{}
}

// referenceOf returns the reference of a decision in the index; "": none, because there
// is neither an attempt nor a payment.
func referenceOf(d *event.Decision) string {
	switch o := d.Outcome; {
	case o != nil && (o.PaymentID != "" || !d.Attempt.First.IsZero()):
		return o.ExternalReference
	case o == nil && !d.Attempt.First.IsZero():
		return d.Attempt.Reference
	}
	return ""
}
