// Package rules decides what may be charged, without I/O and without a clock of
// its own: every function takes the event, what is known about it, and the time.
//
// The service, replay --dry-run and ledger get use the same rules, so they cannot
// disagree about an event.
package rules

import (
	"fmt"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
)

// Rules configures what may be charged.
type Rules struct {
	Currency     money.Currency // CURRENCY: the currency of the account's site
	MaxEventAge  time.Duration  // CAPTURE_MAX_EVENT_AGE; 0: no event is too old
	MaxEventLead time.Duration  // CAPTURE_MAX_EVENT_LEAD; 0: no event waits for its time
}

// Unfit returns why an event that was never attempted must not be charged, at now
// or later, or nil if it may be. An event that only has to wait for its time is not
// unfit: see [Rules.WaitUntil]. An operator who resent a parked event has accepted
// its time, so only its currency counts then.
//
// The age matters because it is the only evidence about attempts from before the
// ledger existed, or from a ledger that was lost.
func (r Rules) Unfit(e *event.ReadyToCapture, resent bool, now time.Time) *event.ParkInfo {
	age := now.Sub(e.Time)
	switch {
	case e.Amount.Currency() != r.Currency:
		return &event.ParkInfo{Reason: event.ParkWrongCurrency, Detail: fmt.Sprintf(
			"data.currency is %s, and this account charges in %s: the API would take the same number in the other currency",
			e.Amount.Currency(), r.Currency)}
	case resent:
		return nil
	case r.MaxEventAge > 0 && age > r.MaxEventAge:
		return &event.ParkInfo{Reason: event.ParkTooOld, Detail: fmt.Sprintf(
			"time is %s, more than CAPTURE_MAX_EVENT_AGE (%s) ago, and the ledger knows of no attempt",
			e.Time.UTC().Format(time.RFC3339), r.MaxEventAge)}
	case age < -max(event.ClockTolerance, r.MaxEventLead):
		return &event.ParkInfo{Reason: event.ParkTimeInFuture, Detail: fmt.Sprintf(
			"time is %s, still to come: %s ahead of the service's clock (%s), so the age of the event cannot be told",
			e.Time.UTC().Format(time.RFC3339), e.Time.Sub(now).Round(time.Second), now.UTC().Format(time.RFC3339))}
	}
	return nil
}

// WaitUntil returns the time before which an event that was never attempted must
// not be charged: its own, if that is ahead of now by more than the clock tolerance
// and by at most MaxEventLead. The zero time means that the event need not wait.
func (r Rules) WaitUntil(e *event.ReadyToCapture, resent bool, now time.Time) time.Time {
	ahead := e.Time.Sub(now)
	if resent || ahead <= event.ClockTolerance || r.Unfit(e, resent, now) != nil {
		return time.Time{}
	}
	return e.Time
}

// Crowded returns why an event is parked that would have to wait for its time
// beside more waiting records of its partition than limit.
func Crowded(e *event.ReadyToCapture, limit int) *event.ParkInfo {
	return &event.ParkInfo{Reason: event.ParkTimeInFuture, Detail: fmt.Sprintf(
		"time is %s, which is still to come, and %d records of its partition wait for their time already, or behind one that does: no more may",
		e.Time.UTC().Format(time.RFC3339), limit)}
}
