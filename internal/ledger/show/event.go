// Package show renders what the ledger knows of one event, and of all events, for
// operators and for programs.
package show

import (
	"context"
	"time"

	"payment-capture/internal/event"
)

// Event describes an event in the ledger. Its fields are those of the JSON
// that `payment-capture ledger get` writes.
type Event struct {
	ID        string    `json:"event_id"`
	Decision  Decision  `json:"decision"`
	DecidedAt time.Time `json:"decided_at,omitzero"`
	Outcome   *Outcome  `json:"outcome,omitempty"`
	ParkInfo  *ParkInfo `json:"parking,omitempty"`
	// Attempt is the attempt of the decision; nil: there was no call, the record is
	// not a valid event, or there is no decision.
	Attempt *Attempt `json:"attempt,omitempty"`
	// Superseded counts the contents under the id that were parked without a call and
	// corrected since.
	Superseded int `json:"superseded,omitempty"`
	// OpenAttempt is an attempt whose effect is unknown.
	OpenAttempt *Attempt `json:"open_attempt,omitempty"`
	Next        Next     `json:"next"`
}

// Decision is how an event ended, if it did.
type Decision string

// The decisions.
const (
	Captured  Decision = "captured"
	Rejected  Decision = "rejected"
	Parked    Decision = "parked"
	Undecided Decision = "undecided" // attempted, and nothing more
	Unknown   Decision = "unknown"   // the ledger knows nothing of it
)

// Outcome is the outcome of an event that was captured or rejected.
type Outcome struct {
	ID                string              `json:"id"` // that of the CloudEvent
	Type              string              `json:"type"`
	Time              time.Time           `json:"time"`
	OrderID           string              `json:"order_id"`
	Amount            string              `json:"amount"`
	Currency          string              `json:"currency"`
	ExternalReference string              `json:"external_reference"`
	PaymentID         string              `json:"payment_id,omitempty"`
	Transactions      []event.Transaction `json:"transactions,omitempty"`
	CapturedAt        time.Time           `json:"captured_at,omitzero"`
	ProviderReplayed  bool                `json:"provider_replayed"`
	Reason            string              `json:"reason,omitempty"`
	Category          event.Category      `json:"category,omitempty"`
	Retry             event.Retry         `json:"retry,omitempty"`
}

// ParkInfo describes why an event waits for an operator.
type ParkInfo struct {
	Reason       event.ParkReason `json:"reason"`
	Detail       string           `json:"detail"`
	FirstAttempt time.Time        `json:"first_attempt,omitzero"`
	Tries        int              `json:"tries"`
	HTTPStatus   int              `json:"http_status,omitempty"`
	RequestID    string           `json:"request_id,omitempty"`
}

// Attempt is the ledger's record of an attempt.
type Attempt struct {
	First    time.Time `json:"first,omitzero"` // absent: no call was made
	Event    string    `json:"event_fingerprint,omitempty"`
	Body     string    `json:"body_fingerprint,omitempty"`
	Encoding int       `json:"body_encoding,omitempty"` // the version of the layout that the body was written in
	Account  string    `json:"account,omitempty"`
	// These are the event's; absent beside an outcome, which has them.
	Reference string `json:"external_reference,omitempty"`
	OrderID   string `json:"order_id,omitempty"`
	Amount    string `json:"amount,omitempty"`
	Currency  string `json:"currency,omitempty"`
}

// Ledger is what [Lookup] reads.
type Ledger interface {
	Lookup(ctx context.Context, id string) (event.History, error)
	Under(ctx context.Context, charge event.Charge) ([]event.Known, error)
}

// Lookup returns the history of an event, and what the service would do if it read the
// event's record at now.
func Lookup(ctx context.Context, l Ledger, id string, r Rules, now time.Time) (Event, error) {
	h, err := l.Lookup(ctx, id)
	if err != nil {
		return Event{}, err
	}
	var known []event.Known
	if a := h.Open(); a != nil {
		if known, err = l.Under(ctx, event.Charge{Reference: a.Reference}); err != nil {
			return Event{}, err
		}
	}
	return Of(id, h, known, r, now), nil
}

// Of converts the history of an event for display. known is what the ledger has under
// its reference.
func Of(id string, h event.History, known []event.Known, r Rules, now time.Time) Event {
	e := Event{ID: id, Decision: DecisionOf(h), Next: r.next(event.Known{EventID: id, History: h}, known, now)}
	if h.Attempt != nil {
		e.OpenAttempt = attemptOf(*h.Attempt)
	}
	d := h.Decision
	if d == nil {
		return e
	}
	e.DecidedAt, e.Attempt, e.Superseded = d.At, attemptOf(d.Attempt), len(d.Superseded)
	if p := d.ParkInfo; p != nil {
		e.ParkInfo = &ParkInfo{
			Reason: p.Reason, Detail: p.Detail, FirstAttempt: p.FirstAttempt, Tries: p.Tries, HTTPStatus: p.HTTPStatus, RequestID: p.RequestID,
		}
	}
	if o := d.Outcome; o != nil {
		if e.Attempt != nil {
			e.Attempt.Reference, e.Attempt.OrderID, e.Attempt.Amount, e.Attempt.Currency = "", "", "", ""
		}
		e.Outcome = &Outcome{
			ID: event.OutcomeID(o.EventID, o.Type).String(), Type: o.Type, Time: o.Time, OrderID: o.OrderID,
			Amount: o.Amount.String(), Currency: string(o.Amount.Currency()), ExternalReference: o.ExternalReference,
			PaymentID: o.PaymentID, Transactions: o.Transactions, CapturedAt: o.CapturedAt, ProviderReplayed: o.ProviderReplayed,
			Reason: o.Reason, Category: o.Category, Retry: o.Retry,
		}
	}
	return e
}

// DecisionOf returns how an event ended.
func DecisionOf(h event.History) Decision {
	switch d := h.Decision; {
	case d == nil && h.Attempt == nil:
		return Unknown
	case d == nil:
		return Undecided
	case d.Outcome != nil && d.Outcome.Type == event.TypeCaptured:
		return Captured
	case d.Outcome != nil:
		return Rejected
	}
	return Parked
}

func attemptOf(a event.Attempt) *Attempt {
	if a == (event.Attempt{}) {
		return nil
	}
	shown := &Attempt{
		First: a.First, Encoding: a.Encoding, Account: a.Account, Reference: a.Reference,
		OrderID: a.OrderID, Amount: a.Amount.String(), Currency: string(a.Amount.Currency()),
	}
	if !a.Event.IsZero() {
		shown.Event = a.Event.String()
	}
	if !a.Body.IsZero() {
		shown.Body = a.Body.String()
	}
	return shown
}
