// Package rules is the rule book: pure functions that decide what happens to an
// event, without I/O and without a clock of their own.
//
// [Rules.Decide] is the whole book. The service applies its two parts one after
// the other, because it reads what they need at different times: [Respond] uses
// the history of the event id; [Rules.Evaluate] uses the event itself, earlier
// attempts and other events of its reference. The service
// evaluates again right before each call. replay --dry-run and ledger get report
// what the same functions return, so the three cannot disagree.
package rules

import (
	"fmt"
	"math"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
)

// Rules configures what may be charged.
type Rules struct {
	Currency     money.Currency // CURRENCY: the currency of the account's site
	MaxEventAge  time.Duration  // CAPTURE_MAX_EVENT_AGE; 0: no event is too old
	MaxEventLead time.Duration  // CAPTURE_MAX_EVENT_LEAD; 0: no event waits for its time
	// KeyRetention is how long the API remembers an idempotency key
	// (IDEMPOTENCY_KEY_HORIZON). It must be over zero.
	KeyRetention    time.Duration
	LedgerRetention time.Duration // LEDGER_RETENTION; 0: the ledger forgets nothing
	Guard           Guard         // CAPTURE_ONCE_PER
	DuplicateWindow time.Duration // CAPTURE_DUPLICATE_WINDOW
	Account         string        // MERCADOPAGO_ACCOUNT
	Encoding        int           // the version of the request body's layout
}

// Action is what happens to an event: a closed list. Its texts are those of
// `ledger get --json`.
type Action string

// The actions.
const (
	Republish        Action = "republish"           // publish the recorded outcome again, without a call
	LeaveParked      Action = "leave_parked"        // nothing: the event is parked
	LeaveSuperseded  Action = "leave_superseded"    // nothing: the event was parked, and a corrected event replaced it
	Park             Action = "park"                // park the record, without a call
	Wait             Action = "wait"                // charge once the event's time is reached
	LookUpThenPark   Action = "look_up_then_park"   // search for a payment of earlier calls; park if that does not decide
	LookUpThenCharge Action = "look_up_then_charge" // search likewise; charge under the same key if that does not decide
	Charge           Action = "charge"              // call the API
	// Evaluate is what [Respond] returns if the history does not decide.
	Evaluate Action = "evaluate"
)

// Calls reports whether the service may call the API to charge, so money may move.
func (a Action) Calls() bool { return a == Wait || a == LookUpThenCharge || a == Charge }

// Disposition is what happens to an event.
type Disposition struct {
	Action Action
	Why    *event.ParkInfo // of Park and LookUpThenPark
	// Prior is the earliest known attempt; nil: none.
	Prior *event.Attempt
	// Resent is why the event was parked before an operator resent it, which accepted its
	// time, and if it was a possible duplicate the repetition; nil: it was not resent.
	Resent *event.ParkInfo
	Until  time.Time // of Wait
	// Bar is why the event must not be charged, whatever else is known: another event of its
	// order has an attempt whose result stays unknown. nil: nothing bars it.
	Bar *event.ParkInfo
}

// Case is a record and what is known about it.
type Case struct {
	Event   *event.ReadyToCapture // nil: the record holds no valid event
	Invalid string                // why; else ""
	// As stands in for the event's own fingerprints if not nil: ledger get knows
	// an event by them alone.
	As      Identity
	Body    event.Fingerprint // of the request that would be sent
	Resend  *event.Resend     // the mark that the record carries; nil: none
	History event.History     // of the event id
	// Record is the decision on the record itself, by its [event.RecordID]. It counts
	// for a record that is invalid or conflicts with its event's history. nil: none.
	Record *event.Decision
	// Known are the histories of the events under the event's reference. They count if
	// [Guard.ByReference].
	Known []event.Known
}

func (c Case) identity() Identity {
	if c.As != nil {
		return c.As
	}
	return c.Event
}

// Decide returns what happens to a record that is read at now.
func (r Rules) Decide(c Case, now time.Time) Disposition {
	if c.Event == nil {
		return ParkOnce(&event.ParkInfo{Reason: event.ParkInvalidEvent, Detail: c.Invalid}, c.Resend, c.Record)
	}
	d := respond(c.Event, c.identity(), c.Resend, c.History)
	switch d.Action { //nolint:exhaustive // the others are final
	case Park:
		return ParkOnce(d.Why, c.Resend, c.Record)
	case Evaluate:
		return r.Evaluate(c, d, now)
	}
	return d
}

// ParkOnce parks a record that cannot be identified by an event id, unless a copy of
// it was parked before and was not resent since. record is the decision on
// the record by its [event.RecordID]; nil: none.
func ParkOnce(why *event.ParkInfo, resend *event.Resend, record *event.Decision) Disposition {
	if record != nil && !resend.Undoes(record) {
		return Disposition{Action: LeaveParked}
	}
	return Disposition{Action: Park, Why: why}
}

// LookUpAfter is the age of an attempt above which the service looks up its payment
// before it repeats the call.
const LookUpAfter = time.Hour

// Evaluate returns what happens to an event that its history does not decide. d is the
// result of [Respond]. Of the case it uses the event, the body and what is known under
// the reference.
//
// Without an attempt the event itself decides. After an attempt the buyer may have
// paid, so only one question matters: whether the API would recognise the call as the
// same one, because it remembers the key and the body is the same.
func (r Rules) Evaluate(c Case, d Disposition, now time.Time) Disposition {
	duplicate := r.duplicate(c, d.Resent, now)
	if d.Prior == nil {
		return r.first(c.Event, d, duplicate, now)
	}
	switch why := r.bars(c.Event, c.Body, *d.Prior, now); {
	case duplicate != nil:
		d.Action, d.Why = LookUpThenPark, duplicate
	case d.Bar != nil:
		d.Action, d.Why = LookUpThenPark, d.Bar
	case why != nil:
		d.Action, d.Why = LookUpThenPark, why
	case now.Sub(d.Prior.First) > LookUpAfter:
		d.Action = LookUpThenCharge
	default:
		d.Action = Charge
	}
	return d
}

// first evaluates an event for which no call is known.
func (r Rules) first(e *event.ReadyToCapture, d Disposition, duplicate *event.ParkInfo, now time.Time) Disposition {
	d.Action = Charge
	resent := d.Resent != nil
	switch unfit := r.Unfit(e, resent, now); {
	case unfit != nil:
		d.Action, d.Why = Park, unfit
	case duplicate != nil:
		d.Action, d.Why = Park, duplicate
	case d.Bar != nil:
		d.Action, d.Why = Park, d.Bar
	case !resent && e.Time.Sub(now) > event.ClockTolerance:
		d.Action, d.Until = Wait, e.Time
	}
	return d
}

// Unfit returns why an event that was never attempted must not be charged, at now
// or later, or nil if it may be. An operator who resent a parked event has accepted
// its time, so only its currency counts then, and what the ledger forgets.
//
// The age matters because it is the only evidence about attempts from before the
// ledger existed, from a ledger that was lost, or that the ledger has forgotten.
func (r Rules) Unfit(e *event.ReadyToCapture, resent bool, now time.Time) *event.ParkInfo {
	age, from, remembers := now.Sub(e.Time), earliest(e), r.LedgerRetention-event.ClockTolerance
	switch {
	case e.Amount.Currency() != r.Currency:
		return r.wrongCurrency(e)
	case r.LedgerRetention > 0 && now.Sub(from) > remembers:
		return &event.ParkInfo{Reason: event.ParkTooOld, Detail: fmt.Sprintf(
			"it is from %s, so the ledger may have forgotten that it was charged (LEDGER_RETENTION is %s): look for its payment; "+
				"to charge it nevertheless, publish it under a new event id", from.UTC().Format(time.RFC3339), r.LedgerRetention)}
	case resent && r.LedgerRetention > 0 && age < r.MaxEventAge-remembers:
		return &event.ParkInfo{Reason: event.ParkTimeInFuture, Detail: ahead(e, now) + fmt.Sprintf(
			", so the ledger would forget it (LEDGER_RETENTION is %s) before it is too old to be charged again", r.LedgerRetention)}
	case resent:
		return nil
	case r.MaxEventAge > 0 && age > r.MaxEventAge:
		return &event.ParkInfo{Reason: event.ParkTooOld, Detail: fmt.Sprintf(
			"time is %s, more than CAPTURE_MAX_EVENT_AGE (%s) ago, and the ledger knows of no attempt",
			e.Time.UTC().Format(time.RFC3339), r.MaxEventAge)}
	case age < -max(event.ClockTolerance, r.MaxEventLead):
		return &event.ParkInfo{Reason: event.ParkTimeInFuture, Detail: ahead(e, now) + ", so the age of the event is unknown"}
	}
	return nil
}

// earliest returns the earliest time at which an event may have been charged: its own, or that
// of its record if it was ahead then.
func earliest(e *event.ReadyToCapture) time.Time {
	if e.RecordTime.UnixMilli() > 0 && e.RecordTime.Before(e.Time) {
		return e.RecordTime
	}
	return e.Time
}

func (r Rules) wrongCurrency(e *event.ReadyToCapture) *event.ParkInfo {
	return &event.ParkInfo{Reason: event.ParkWrongCurrency, Detail: fmt.Sprintf(
		"data.currency is %s, and this account charges in %s: the API would take the same number in the other currency",
		e.Amount.Currency(), r.Currency)}
}

// bars returns why an event that was attempted must not be charged again, or nil if
// it may be: the API would charge twice if it has forgotten the key, or if the key
// belongs to another account.
func (r Rules) bars(e *event.ReadyToCapture, body event.Fingerprint, prior event.Attempt, now time.Time) *event.ParkInfo {
	if e.Amount.Currency() != r.Currency {
		return r.wrongCurrency(e)
	}
	first := prior.First.UTC().Format(time.RFC3339)
	switch since := now.Sub(prior.First); {
	case since > r.KeyRetention:
		return &event.ParkInfo{Reason: event.ParkKeyExpired, Detail: fmt.Sprintf(
			"it was first attempted at %s, more than IDEMPOTENCY_KEY_HORIZON (%s) ago: the API may have forgotten its key", first, r.KeyRetention)}
	case since < -event.ClockTolerance:
		return &event.ParkInfo{Reason: event.ParkKeyExpired, Detail: fmt.Sprintf(
			"the ledger has its first attempt at %s, which is still to come: a clock is wrong, so whether the API remembers its key is "+
				"not known", first)}
	}
	var differs string
	switch {
	case prior.Body.IsZero(): // a resend mark knows only when it was attempted
		return nil
	case prior.Account != r.Account:
		differs = fmt.Sprintf("for account %q; this is %q (MERCADOPAGO_ACCOUNT)", prior.Account, r.Account)
	case prior.Encoding != r.Encoding:
		differs = fmt.Sprintf("with a body of layout %d; this version writes %d", prior.Encoding, r.Encoding)
	case prior.Body != body:
		differs = "with another body, of which the API may know the key"
	default:
		return nil
	}
	return &event.ParkInfo{Reason: event.ParkTriedOtherwise, Detail: fmt.Sprintf("it was first attempted at %s %s", first, differs)}
}

// Competing returns why an event is parked because of an attempt on another event of its
// order, whose result stays unknown.
func Competing(other *event.OpenAttempt) *event.ParkInfo {
	return &event.ParkInfo{Reason: event.ParkCompeting, Detail: fmt.Sprintf(
		"event %s of the same external_reference was attempted first at %s, and its result is not known: the buyer may have paid for it",
		other.EventID, other.First.UTC().Format(time.RFC3339))}
}

// CorrectedWhileWaiting returns why an event is parked that waits for its time when a later
// record corrects it.
func CorrectedWhileWaiting(e *event.ReadyToCapture) *event.ParkInfo {
	return &event.ParkInfo{Reason: event.ParkTimeInFuture, Detail: fmt.Sprintf(
		"time is %s, which is still to come, and a later record of the event has other content, which takes its place",
		e.Time.UTC().Format(time.RFC3339))}
}

// Crowded returns why an event is parked that would have to wait for its time
// beside more waiting records of its partition than limit.
func Crowded(e *event.ReadyToCapture, limit int, now time.Time) *event.ParkInfo {
	return &event.ParkInfo{Reason: event.ParkTimeInFuture, Detail: fmt.Sprintf(
		"%s, and %d records of its partition wait for their time already, or behind one that does: no more may", ahead(e, now), limit)}
}

func ahead(e *event.ReadyToCapture, now time.Time) string {
	distance, more := e.Time.Sub(now).Round(time.Second), ""
	if distance == math.MaxInt64 { // because a duration is at most 292 years
		distance, more = distance.Truncate(time.Hour), "more than "
	}
	return fmt.Sprintf("time is %s, still to come: %s%s ahead of the service's clock (%s)",
		e.Time.UTC().Format(time.RFC3339), more, distance, now.UTC().Format(time.RFC3339))
}
