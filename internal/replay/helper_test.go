package replay

import (
	"cmp"
	"context"
	"fmt"
	"testing"
	"time"

	"payment-capture/internal/event"
)

const payerToken = "planted-payer-token"

// now is the present of tests that fix it.
func now() time.Time { return time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC) }

// order is an event as a test states it; what it does not state is usual.
type order struct {
	id, order, amount, currency, reference, account string
	time                                            string // RFC 3339; "": the event has none
	value                                           string // instead of all that
}

// json returns the event.
func (o order) json() []byte {
	if o.value != "" {
		return []byte(o.value)
	}
	o.order = cmp.Or(o.order, "order-"+o.id)
	var envelope, data string
	if o.time != "" {
		envelope = fmt.Sprintf(`"time":%q,`, o.time)
	}
	if o.account != "" {
		data = fmt.Sprintf(`"account":%q,`, o.account)
	}
	return fmt.Appendf(nil, `{"specversion":"1.0","id":%q,"source":"/orders","type":"order.ready_to_capture",%s"data":{"order_id":%q,"amount":%q,`+
		`"currency":%q,"description":"d","external_reference":%q,%s"payer":{"token":%q}}}`,
		o.id, envelope, o.order, cmp.Or(o.amount, "10.00"), cmp.Or(o.currency, "MXN"), cmp.Or(o.reference, o.order), data, payerToken)
}

// decoded returns the event of an order.
func decoded(t *testing.T, o order) *event.ReadyToCapture {
	t.Helper()
	e, err := event.Decode(event.Message{Value: o.json(), Timestamp: now()})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// book is a ledger of a test's making.
type book struct {
	known map[string]event.History
	under map[string][]event.Known // by reference
	asked int
}

func newBook() *book {
	return &book{known: make(map[string]event.History), under: make(map[string][]event.Known)}
}

func (b *book) Lookup(_ context.Context, id string) (event.History, error) {
	b.asked++
	return b.known[id], nil
}

func (b *book) Under(_ context.Context, charge event.Charge) ([]event.Known, error) {
	return b.under[charge.Reference], nil
}

// decide stores a decision on an event.
func (b *book) decide(e *event.ReadyToCapture, outcome string, at time.Time) {
	d := &event.Decision{At: at, Attempt: event.Attempt{First: at.Add(-time.Second), Event: e.Fingerprint()}}
	d.Outcome = &event.Outcome{
		Type: outcome, EventID: e.ID, OrderID: e.OrderID, Amount: e.Amount, ExternalReference: e.ExternalReference, PaymentID: "pay-" + e.ID,
	}
	b.known[e.ID] = event.History{Decision: d}
	b.under[e.ExternalReference] = append(b.under[e.ExternalReference], event.Known{EventID: e.ID, History: b.known[e.ID]})
}

// park stores the decision to park an event.
func (b *book) park(id string, content event.Fingerprint, reason event.ParkReason, at, first time.Time) {
	b.known[id] = event.History{Decision: &event.Decision{
		At: at, Attempt: event.Attempt{First: first, Event: content},
		Result: event.Result{ParkInfo: &event.ParkInfo{Reason: reason, FirstAttempt: first}},
	}}
}
