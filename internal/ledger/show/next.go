package show

import (
	"fmt"
	"strings"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
	"payment-capture/internal/rules"
)

// Rules configures what the service would do with an event.
type Rules struct {
	rules.Rules
	Suppress bool // REPLAYED_OUTCOMES is suppress
}

// Next is what the service would do with an event if its record came now, as it
// was.
type Next struct {
	Action rules.Action     `json:"action"`
	Reason event.ParkReason `json:"reason,omitempty"` // why it would be parked
	// Suppressed: the outcome would not be published (REPLAYED_OUTCOMES is suppress).
	Suppressed bool   `json:"suppressed,omitempty"`
	Detail     string `json:"detail"` // for an operator
}

// asRecorded is an event of which only the ledger's fingerprints are known.
type asRecorded struct{ fingerprint, content, payer event.Fingerprint }

// Fingerprint implements [rules.Identity].
func (a asRecorded) Fingerprint() event.Fingerprint { return a.fingerprint }

// Content implements [rules.Identity].
func (a asRecorded) Content() event.Fingerprint { return a.content }

// Payer implements [rules.Identity].
func (a asRecorded) Payer() event.Fingerprint { return a.payer }

// dispose returns what the rules decide on the event that an attempt was made for,
// at now. content is the event's, if the ledger has it.
func (r Rules) dispose(a event.Attempt, content event.Fingerprint, k event.Known, known []event.Known, now time.Time) rules.Disposition {
	e := &event.ReadyToCapture{ID: k.EventID, OrderID: a.OrderID, ExternalReference: a.Reference, Amount: a.Amount, Time: now}
	if a.OrderID == "" { // an attempt whose event the ledger does not have: assume ours
		e.Amount, _ = money.Parse("1", r.Currency) // zero if CURRENCY is not set, which equals it
	}
	return r.Decide(rules.Case{
		Event: e, As: asRecorded{a.Event, content, a.Payer}, Body: a.Body, History: k.History, Known: known,
	}, now)
}

func (r Rules) next(k event.Known, known []event.Known, now time.Time) Next {
	h, d := k.History, k.Decision
	if d == nil && h.Attempt == nil {
		return r.unknown()
	}
	if d == nil {
		return r.describe(r.dispose(*h.Attempt, event.Fingerprint{}, k, known, now), h, now)
	}
	next := r.describe(r.dispose(d.Attempt, d.Content, k, known, now), h, now)
	if correctable(d) && h.Attempt != nil {
		open := r.describe(r.dispose(*h.Attempt, event.Fingerprint{}, k, known, now), h, now)
		open.Detail = "if it came as it was parked: nothing. The event of the open attempt, which was corrected or resent since, would be " +
			open.Detail
		return open
	}
	return next
}

func (r Rules) unknown() Next {
	if r.MaxEventAge == 0 {
		return Next{Action: rules.Charge, Detail: "it would be captured for the first time, whatever its time (CAPTURE_MAX_EVENT_AGE is 0)"}
	}
	return Next{Action: rules.Charge, Detail: fmt.Sprintf("it would be captured for the first time, or parked as %s if its time is over %s "+
		"ago (CAPTURE_MAX_EVENT_AGE)",
		event.ParkTooOld, short(r.MaxEventAge))}
}

// describe renders a disposition for an operator.
func (r Rules) describe(d rules.Disposition, h event.History, now time.Time) Next {
	next := Next{Action: d.Action}
	if d.Why != nil {
		next.Reason = d.Why.Reason
	}
	var ago string
	if d.Prior != nil {
		ago = short(now.Sub(d.Prior.First))
	}
	switch d.Action {
	case rules.Republish:
		next.Detail = fmt.Sprintf("answered from the ledger: %s is published again, with the same id and replayed: true, without a call",
			h.Decision.Outcome.Type)
		if next.Suppressed = r.Suppress; r.Suppress {
			next.Detail = "nothing: the record is completed without a call, and its outcome is not published again (REPLAYED_OUTCOMES is suppress)"
		}
	case rules.LeaveParked, rules.LeaveSuperseded:
		next.Detail = "nothing: it waits for an operator. The record is completed without a call, and is not parked a second time; " +
			resendAdvice(h.Decision)
	case rules.LookUpThenPark:
		next.Detail = "looked up at the API, and parked if that does not decide, without a call: " + d.Why.Detail
	case rules.LookUpThenCharge:
		next.Detail = fmt.Sprintf("looked up at the API first, because it was first attempted %s ago (over %s); then called again under "+
			"the same key", ago, short(rules.LookUpAfter))
	case rules.Charge, rules.Wait:
		next.Detail = fmt.Sprintf("called again under the same key: it was first attempted %s ago", ago)
	case rules.Park, rules.Evaluate:
		next.Detail = "parked: " + d.Why.Detail
	}
	return next
}

// correctable reports whether a parked event may come with other content under its
// id.
func correctable(d *event.Decision) bool { return d.Uncalled() && !d.Content.IsZero() }

// resendAdvice returns what an operator can do about a parked event.
func resendAdvice(d *event.Decision) string {
	const resend = "payment-capture replay --parked sends it again, under the same key"
	switch reason := d.ParkInfo.Reason; {
	case correctable(d) && reason == event.ParkWrongCurrency:
		return "its producer can send it corrected, under the same id: other content is evaluated again"
	case correctable(d):
		return resend + "; and its producer can send it corrected, under the same id: other content is evaluated again"
	case reason == event.ParkInvalidEvent || reason == event.ParkWrongCurrency:
		return "payment-capture replay --parked sends it again once a newer version or other variables accept it; otherwise it would only be " +
			"parked again: have its producer send a new event"
	}
	return resend
}

// short formats a duration in few letters: 168h, 1h30m, 4.2s.
func short(d time.Duration) string {
	if d < time.Minute {
		return d.Round(100 * time.Millisecond).String()
	}
	text := d.Round(time.Second).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
