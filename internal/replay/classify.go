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
	StaysParked      Class = "stays_parked"      // nothing: it already waits for an operator
	Corrected        Class = "corrected"         // nothing: it was parked, and corrected since under the same id

	First       Class = "first_capture"    // called for the first time
	Waits       Class = "waits_for_time"   // likewise, once its time is reached
	Again       Class = "tried_again"      // called again, under the same key
	LookUpFirst Class = "look_up_then_try" // the API is searched, then called under the same key

	LookUpThenPark    Class = "look_up_then_park"         // the API is searched, and no call is made
	ParkTooOld        Class = "parked_too_old"            // parked, as are the following, without a call
	ParkInFuture      Class = "parked_time_in_future"     //
	ParkWrongCurrency Class = "parked_wrong_currency"     //
	ParkReference     Class = "parked_reference_captured" // another event was captured for its reference
	ParkDuplicate     Class = "parked_possible_duplicate" // another event was captured for the same payment
	ParkConflicting   Class = "parked_conflicting_event"  //
	ParkInvalid       Class = "parked_invalid_event"      //

	OtherType    Class = "other_type"    // skipped
	OtherAccount Class = "other_account" // skipped
	Tombstone    Class = "tombstone"     // skipped
)

// Classes of records that are not sent, whatever the service would do with them.
const (
	DecidedSince  Class = "decided_since"       // of parked: it was decided since, or parked again
	Duplicate     Class = "possible_duplicate"  // of parked: it would be charged, and the selection does not name it
	Superseded    Class = "superseded"          // of parked: the event was parked again, and the later parked record is sent
	DigestGone    Class = "digest_gone"         // of parked: only its digest was parked, and the input no longer has the record
	DigestDiffers Class = "digest_differs"      // of parked: likewise, and the input has another record at its offset
	NotParked     Class = "not_a_parked_record" // of the parked topic: not a parked record
	Timeless      Class = "timeless"            // its age is the record's time, which the topic would replace
)

// Classes lists all classes in the order in which they are shown.
func Classes() []Class {
	return []Class{
		AnsweredCaptured, AnsweredRejected, StaysParked, Corrected, First, Waits, Again, LookUpFirst, LookUpThenPark,
		ParkTooOld, ParkInFuture, ParkWrongCurrency, ParkReference, ParkDuplicate, ParkConflicting, ParkInvalid,
		OtherType, OtherAccount, Tombstone, DecidedSince, Duplicate, Superseded, DigestGone, DigestDiffers, NotParked, Timeless,
	}
}

// Calls reports whether the service would call the API for the record, so money may move.
func (c Class) Calls() bool {
	return slices.Contains([]Class{First, Waits, Again, LookUpFirst}, c)
}

// binds reports whether the service called the API for the record, or would call it.
// The call binds the event id to the order and amount.
func (c Class) binds() bool {
	return c.Calls() || c == LookUpThenPark || c == AnsweredCaptured || c == AnsweredRejected
}

// parkedAtOnce reports whether the service would only park the record again.
func (c Class) parkedAtOnce() bool {
	return slices.Contains([]Class{ParkInFuture, ParkWrongCurrency, ParkReference, ParkDuplicate, ParkConflicting, ParkInvalid}, c)
}

// Rules configures the decisions that do not depend on the ledger.
type Rules struct {
	rules.Rules
	Decoder event.Decoder // EVENT_TIME_REQUIRED
}

// Classify returns what the service would do with a record that it reads at now.
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
	case event.ParkPossibleDuplicate:
		return ParkDuplicate
	case event.ParkConflicting:
		return ParkConflicting
	}
	return ParkInvalid
}
