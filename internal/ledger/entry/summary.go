package entry

import (
	"cmp"

	"github.com/cespare/xxhash/v2"

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

// Index is what the decision on an event is found under.
type Index struct {
	Reference string // the external reference; "": it is not found, because there is neither an attempt nor a payment
	// Charge is a hash of amount, currency and payer, never 0; 0: one of them is not known.
	// It keeps the events apart that have one reference and are no duplicates.
	Charge uint16
}

// IndexOf returns the index of the decisions on events with a charge.
func IndexOf(c event.Charge) Index {
	i := Index{Reference: c.Reference}
	if !c.Amount.IsZero() && !c.Payer.IsZero() {
		i.Charge = hashOf(c.Amount.String(), string(c.Amount.Currency()), c.Payer[:])
	}
	return i
}

// hashOf returns the hash of a charge; 0 if one of the values is empty.
func hashOf(amount, currency string, payer []byte) uint16 {
	if amount == "" || len(payer) == 0 {
		return 0
	}
	var room [64]byte
	text := append(append(append(append(room[:0], amount...), ' '), currency...), ' ')
	return max(1, uint16(xxhash.Sum64(append(text, payer...)))) //nolint:gosec // G115: the lower bits
}

// Summary returns what decisions are compared by, their rank and time in Unix
// milliseconds, and what they are found under. It checks everything that
// [DecodeDecision] checks. The error is [ErrUnreadable].
func Summary(value []byte) (rank Rank, at int64, under Index, err error) {
	m, err := decisionOf(value)
	if err != nil {
		return 0, 0, Index{}, err
	}
	a, o := m.GetAttempt(), m.GetOutcome()
	attempted := a.GetFirst() != 0
	if o == nil {
		if attempted {
			under = Index{Reference: a.Reference, Charge: hashOf(a.Amount, a.Currency, a.Payer)}
		}
		return RankParked, m.At, under, nil
	}
	rank = RankRejected
	if o.Captured {
		rank = RankCaptured
	}
	if attempted || o.PaymentId != "" {
		under = Index{Reference: cmp.Or(o.Reference, o.OrderId), Charge: hashOf(o.Amount, o.Currency, a.GetPayer())}
	}
	return rank, m.At, under, nil
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
