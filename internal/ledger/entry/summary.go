package entry

import (
	"cmp"

	"payment-capture/internal/event"
)

// Rank orders decisions on an event: the higher one counts.
type Rank uint8

// The ranks; 0 is that of no decision.
const (
	RankParked Rank = iota + 1
	RankRejected
	RankCaptured
)

// Summary returns what decisions are compared by, their rank and time in Unix
// milliseconds, and what [Reference] returns. It checks everything that
// [DecodeDecision] checks. The error is [ErrUnreadable].
func Summary(value []byte) (rank Rank, at int64, reference string, err error) {
	m, err := decisionOf(value)
	if err != nil {
		return 0, 0, "", err
	}
	attempted := m.GetAttempt().GetFirst() != 0
	o := m.GetOutcome()
	if o == nil {
		if attempted {
			reference = m.Attempt.Reference
		}
		return RankParked, m.At, reference, nil
	}
	rank = RankRejected
	if o.Captured {
		rank = RankCaptured
	}
	if attempted || o.PaymentId != "" {
		reference = cmp.Or(o.Reference, o.OrderId)
	}
	return rank, m.At, reference, nil
}

// Reference returns the external reference that a decision is found under; "": none,
// because there is neither an attempt nor a payment.
func Reference(d *event.Decision) string {
	switch o := d.Outcome; {
	case o != nil && (o.PaymentID != "" || !d.Attempt.First.IsZero()):
		return o.ExternalReference
	case o == nil && !d.Attempt.First.IsZero():
		return d.Attempt.Reference
	}
	return ""
}
