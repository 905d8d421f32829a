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

	First       Class = "first_capture"    // called for the first time
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
		AnsweredCaptured, AnsweredRejected, StaysParked, First, Again, LookUpFirst, LookUpThenPark,
		ParkTooOld, ParkInFuture, ParkWrongCurrency, ParkReference, ParkConflicting, ParkInvalid,
		OtherType, OtherAccount, Tombstone, DecidedSince, Superseded, DigestGone, DigestDiffers, NoParking, Timeless,
	}
}

// Calls reports whether the API would be called for it: money may move.
func (c Class) Calls() bool { return c == First || c == Again || c == LookUpFirst }

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
	// Second: an event of its id and another content comes before it.
	Second bool
	// Rival: another event was captured under its reference.
	Rival bool
}

// Classify says what the service would do with a record that came now.
func (r Rules) Classify(c Case, now time.Time) Class {
	if c.Event == nil {
		return c.parkOnce(ParkInvalid)
	}
	if c.conflicts() {
		return c.parkOnce(ParkConflicting)
	}
	tried := c.History.Attempt
	if d := c.History.Decision; d != nil {
		switch {
		case d.Parked() && c.Resend.Undoes(d):
			tried = event.Earlier(tried, d.Attempt.Made())
		case d.Parked():
			return StaysParked
		case d.Outcome.Type == event.TypeCaptured:
			return AnsweredCaptured
		default:
			return AnsweredRejected
		}
	}
	if c.Resend != nil {
		tried = event.Earlier(tried, event.Attempt{First: c.Resend.FirstAttempt}.Made())
	}
	if tried == nil {
		return r.firstTime(c, now)
	}
	return r.again(c, tried, now)
}

// conflicts reports whether the event's id was used for something else.
func (c Case) conflicts() bool {
	if c.History.Decision == nil && c.History.Attempt == nil {
		return c.Second
	}
	return c.History.Contradicts(c.Event)
}

// forgiven reports whether the event's age does not count: somebody looked at it.
// Without the parking that it answers to, a mark says nothing of the age.
func (c Case) forgiven() bool { return c.Resend != nil && c.History.Decision != nil }

// parkOnce parks a record, unless a copy of it was parked before.
func (c Case) parkOnce(as Class) Class {
	if c.Record != nil && !c.Resend.Undoes(c.Record) {
		return StaysParked
	}
	return as
}

// firstTime is for an event that nobody tried.
func (r Rules) firstTime(c Case, now time.Time) Class {
	if unfit := r.Unfit(c.Event, c.forgiven(), now); unfit != nil {
		switch unfit.Reason { //nolint:exhaustive // the reasons of [rules.Rules.Unfit]
		case event.ParkWrongCurrency:
			return ParkWrongCurrency
		case event.ParkTooOld:
			return ParkTooOld
		default:
			return ParkInFuture
		}
	}
	if r.OncePerReference && c.Rival {
		return ParkReference
	}
	return First
}

// again is for an event that was tried, and may have charged.
func (r Rules) again(c Case, tried *event.Attempt, now time.Time) Class {
	age := now.Sub(tried.First)
	switch {
	case c.Event.Amount.Currency() != r.Currency,
		r.KeyHorizon > 0 && age > r.KeyHorizon,
		age < -event.ClockTolerance,
		r.OncePerReference && c.Rival:
		return LookUpThenPark
	case !tried.Body.IsZero() && (tried.Account != r.Account || tried.Encoding != mercadopago.EncodingVersion || tried.Body != c.Body):
		return LookUpThenPark
	case age > event.LookFirstAfter:
		return LookUpFirst
	}
	return Again
}
