package replay

import (
	"slices"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/mercadopago"
	"payment-capture/internal/rules"
)

// Class is what the service would do with a record: a closed list.
type Class string

// What the service would do. The order is that of [Classes].
const (
	AnsweredCaptured Class = "answered_captured" // its outcome is published again, without a call
	AnsweredRejected Class = "answered_rejected" // likewise
	StaysParked      Class = "stays_parked"      // nothing: it waits for a person already
	Corrected        Class = "corrected"         // nothing: it was parked, and corrected since under the same id

	First       Class = "first_capture"    // called for the first time
	Waits       Class = "waits_for_time"   // likewise, when its time has come
	Again       Class = "tried_again"      // called for again, under the same key
	LookUpFirst Class = "look_up_then_try" // the API is searched, then called under the same key

	LookUpThenPark    Class = "look_up_then_park"         // the API is searched, and no call is made
	ParkTooOld        Class = "parked_too_old"            // parked, as are the following, without a call
	ParkInFuture      Class = "parked_time_in_future"     //
	ParkWrongCurrency Class = "parked_wrong_currency"     //
	ParkReference     Class = "parked_reference_captured" // another event was captured for its reference
	ParkConflicting   Class = "parked_conflicting_event"  //
	ParkInvalid       Class = "parked_invalid_event"      //

	OtherType    Class = "other_type"    // skipped
	OtherAccount Class = "other_account" // skipped
	Tombstone    Class = "tombstone"     // skipped
)

// What is not sent, whatever the service would do with it.
const (
	DecidedSince  Class = "decided_since"  // of parked: it was decided since, or parked anew
	Superseded    Class = "superseded"     // of parked: the event was parked again, and is sent from there
	DigestGone    Class = "digest_gone"    // of parked: only its digest was parked, and the record is not there any more
	DigestDiffers Class = "digest_differs" // of parked: likewise, and where it was lies another record
	NoParking     Class = "no_parking"     // of the parked topic: it says nothing of a parking
	Timeless      Class = "timeless"       // its age is that of its record, which the topic would replace
)

// Classes lists all classes in the order in which they are shown.
func Classes() []Class {
	return []Class{
		AnsweredCaptured, AnsweredRejected, StaysParked, Corrected, First, Waits, Again, LookUpFirst, LookUpThenPark,
		ParkTooOld, ParkInFuture, ParkWrongCurrency, ParkReference, ParkConflicting, ParkInvalid,
		OtherType, OtherAccount, Tombstone, DecidedSince, Superseded, DigestGone, DigestDiffers, NoParking, Timeless,
	}
}

// Calls reports whether the API would be called for it: money may move.
func (c Class) Calls() bool {
	return slices.Contains([]Class{First, Waits, Again, LookUpFirst}, c)
}

// binds reports whether the API was called for it, or would be: its id is bound to
// what it is for.
func (c Class) binds() bool {
	return c.Calls() || c == LookUpThenPark || c == AnsweredCaptured || c == AnsweredRejected
}

// hopeless reports whether it would be parked at once, whoever sends it.
func (c Class) hopeless() bool {
	return slices.Contains([]Class{ParkInFuture, ParkWrongCurrency, ParkReference, ParkConflicting, ParkInvalid}, c)
}

// Rules are what the service goes by besides the ledger; its variables say so.
type Rules struct {
	rules.Rules
	Account          string        // MERCADOPAGO_ACCOUNT
	Decoder          event.Decoder // EVENT_TIME_REQUIRED
	KeyHorizon       time.Duration // IDEMPOTENCY_KEY_HORIZON
	OncePerReference bool          // CAPTURE_ONCE_PER is reference
}

// Case is a record and what is known of it.
type Case struct {
	Event   *event.ReadyToCapture // nil: it is no valid event
	Body    event.Fingerprint     // of the request that would be sent
	Resend  *event.Resend         // the mark that it carries; nil: none
	History event.History         // of the event
	// Record is what was decided on the record itself, by its RecordID: for one
	// that is invalid, or contradicts its event's history. nil: nothing.
	Record *event.Decision
	// Second: an event of its id that is for something else comes before it, and is
	// called for.
	Second bool
	// Rival: another event was captured under its reference.
	Rival bool
}

// Classify says what the service would do with a record that came now.
func (s Rules) Classify(c Case, now time.Time) Class {
	if c.Event == nil {
		return c.parkOnce(ParkInvalid)
	}
	switch r := c.respond(); r.Action {
	case rules.ParkConflicting:
		return c.parkOnce(ParkConflicting)
	case rules.LeaveParked:
		return StaysParked
	case rules.LeaveSuperseded:
		return Corrected
	case rules.Republish:
		if c.History.Captured() != nil {
			return AnsweredCaptured
		}
		return AnsweredRejected
	case rules.Evaluate:
		return s.evaluate(c, r, now)
	}
	return ""
}

// respond returns what the history of an event says to it, as it will be when the
// record comes.
func (c Case) respond() rules.Response {
	r := rules.Respond(c.Event, c.Resend, c.History)
	if r.Action == rules.Evaluate && c.Second && c.History.NeverCalled() {
		r.Action = rules.ParkConflicting
	}
	return r
}

// parkOnce parks a record, unless a copy of it was parked before.
func (c Case) parkOnce(as Class) Class {
	if c.Record != nil && !c.Resend.Undoes(c.Record) {
		return StaysParked
	}
	return as
}

// evaluate classifies an event to which the rules are applied.
func (s Rules) evaluate(c Case, r rules.Response, now time.Time) Class {
	if r.Prior != nil {
		return s.again(c, r.Prior, now)
	}
	if unfit := s.Unfit(c.Event, r.Resent, now); unfit != nil {
		switch unfit.Reason { //nolint:exhaustive // the reasons of [rules.Rules.Unfit]
		case event.ParkWrongCurrency:
			return ParkWrongCurrency
		case event.ParkTooOld:
			return ParkTooOld
		default:
			return ParkInFuture
		}
	}
	if s.OncePerReference && c.Rival {
		return ParkReference
	}
	if !s.WaitUntil(c.Event, r.Resent, now).IsZero() {
		return Waits
	}
	return First
}

// again is for an event that was tried, and may have charged.
func (s Rules) again(c Case, tried *event.Attempt, now time.Time) Class {
	age := now.Sub(tried.First)
	switch {
	case c.Event.Amount.Currency() != s.Currency,
		s.KeyHorizon > 0 && age > s.KeyHorizon,
		age < -event.ClockTolerance,
		s.OncePerReference && c.Rival:
		return LookUpThenPark
	case !tried.Body.IsZero() && (tried.Account != s.Account || tried.Encoding != mercadopago.EncodingVersion || tried.Body != c.Body):
		return LookUpThenPark
	case age > event.LookFirstAfter:
		return LookUpFirst
	}
	return Again
}
