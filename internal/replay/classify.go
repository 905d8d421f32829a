package replay

import (
	"slices"
	"time"

	"payment-capture/internal/event"
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

// Rules configures what the service would do with a record, besides the ledger.
type Rules struct {
	rules.Rules
	Decoder event.Decoder // EVENT_TIME_REQUIRED
}

// Classify returns what the service would do with a record that came at now.
func (r Rules) Classify(c rules.Case, now time.Time) Class {
	switch d := r.Decide(c, now); d.Action {
	case rules.Republish:
		if c.History.Captured() != nil {
			return AnsweredCaptured
		}
		return AnsweredRejected
	case rules.LeaveParked:
		return StaysParked
	case rules.LeaveSuperseded:
		return Corrected
	case rules.Charge:
		if d.Prior != nil {
			return Again
		}
		return First
	case rules.Wait:
		return Waits
	case rules.LookUpThenCharge:
		return LookUpFirst
	case rules.LookUpThenPark:
		return LookUpThenPark
	case rules.Park:
		return parkedAs(d.Why.Reason)
	case rules.Evaluate: // Decide never returns it
	}
	return ""
}

func parkedAs(reason event.ParkReason) Class {
	switch reason { //nolint:exhaustive // the reasons for parking without a call
	case event.ParkWrongCurrency:
		return ParkWrongCurrency
	case event.ParkTooOld:
		return ParkTooOld
	case event.ParkTimeInFuture:
		return ParkInFuture
	case event.ParkReferenceCaptured:
		return ParkReference
	case event.ParkConflicting:
		return ParkConflicting
	}
	return ParkInvalid
}
