package show

import (
	"fmt"
	"strings"
	"time"

	"payment-capture/internal/event"
)

// Rules are what the service goes by besides the ledger.
type Rules struct {
	Account     string        // MERCADOPAGO_ACCOUNT
	LookUpAfter time.Duration // an attempt older than this is looked up at the API before it is tried again
	KeyHorizon  time.Duration // IDEMPOTENCY_KEY_HORIZON
	MaxEventAge time.Duration // CAPTURE_MAX_EVENT_AGE; 0: none is too old
	Suppress    bool          // REPLAYED_OUTCOMES is suppress
}

// Next is what the service would do with an event if its record came now, as
// it was.
type Next struct {
	Action Action `json:"action"`
	Detail string `json:"detail"` // for a person
}

// Action is what would be done: a closed list.
type Action string

// The actions.
const (
	AnswerCaptured   Action = "answer_captured"    // its outcome is published again, without a call
	AnswerRejected   Action = "answer_rejected"    // likewise
	Suppress         Action = "suppress"           // it is settled and nothing is published
	LeaveParked      Action = "leave_parked"       // it is settled: it waits for a person
	TryAgain         Action = "try_again"          // the call is made again under the same key
	LookUpThenTry    Action = "look_up_then_try"   // the API is searched first
	LookUpThenPark   Action = "look_up_then_park"  // the API is searched, and no call is made
	CaptureOrTooOld  Action = "capture_or_too_old" // by its time
	CaptureFirstTime Action = "capture_first_time" // whatever its time
)

func (r Rules) next(h event.History, now time.Time) Next {
	switch DecisionOf(h) {
	case Captured:
		return r.answer(AnswerCaptured, event.TypeCaptured)
	case Rejected:
		return r.answer(AnswerRejected, event.TypeRejected)
	case Parked:
		return r.parked(h, now)
	case Undecided:
		return r.tryAgain(*h.Attempt, now)
	case Unknown:
	}
	if r.MaxEventAge == 0 {
		return Next{CaptureFirstTime, "it would be captured for the first time, whatever its time (CAPTURE_MAX_EVENT_AGE is 0)"}
	}
	return Next{CaptureOrTooOld, fmt.Sprintf("it would be captured for the first time if its time is after %s, and parked as %s if not (CAPTURE_MAX_EVENT_AGE is %s)",
		format(now.Add(-r.MaxEventAge)), event.ParkTooOld, short(r.MaxEventAge))}
}

// parked is for an event that was parked: as it was nothing happens. If that was
// without a call, it may come corrected under the same id.
func (r Rules) parked(h event.History, now time.Time) Next {
	const nothing = "nothing: it waits for a person. The record is settled without a call, and is not parked a second time; "
	d := h.Decision
	correctable := d.Uncalled() && !d.Content.IsZero()
	if correctable && h.Attempt != nil {
		open := r.tryAgain(*h.Attempt, now)
		return Next{open.Action, "if it came as it was parked: nothing. The event of the open attempt, which was corrected or resent since, would be " + open.Detail}
	}
	again := "payment-capture replay --parked sends it again, under the same key"
	switch reason := d.ParkInfo.Reason; {
	case correctable && reason == event.ParkWrongCurrency:
		again = "its producer can send it corrected, under the same id: with other content it is evaluated anew"
	case correctable:
		again += "; and its producer can send it corrected, under the same id: with other content it is evaluated anew"
	case reason == event.ParkInvalidEvent || reason == event.ParkWrongCurrency:
		again = "payment-capture replay --parked sends it again once a newer version or mended variables take it; else it would only be parked again: have its producer send a new event"
	}
	return Next{LeaveParked, nothing + again}
}

func (r Rules) answer(with Action, outcome string) Next {
	if r.Suppress {
		return Next{Suppress, "nothing: the record is settled without a call, and its outcome is not published again (REPLAYED_OUTCOMES is suppress)"}
	}
	return Next{with, fmt.Sprintf("answered from the ledger: %s is published again, with the same id and replayed: true, without a call", outcome)}
}

// tryAgain is for an attempt whose effect is not known.
func (r Rules) tryAgain(a event.Attempt, now time.Time) Next {
	const park = "looked up at the API, and parked where that does not tell, without a call: "
	ago := short(now.Sub(a.First))
	age := r.age(a, now)
	switch {
	case age == Future:
		return Next{LookUpThenPark, park + "its first attempt lies in the future, so a clock is wrong"}
	case age == PastHorizon:
		return Next{LookUpThenPark, fmt.Sprintf(park+"it was first tried %s ago, longer than IDEMPOTENCY_KEY_HORIZON (%s), "+
			"so the API may have forgotten its key", ago, short(r.KeyHorizon))}
	case !a.Body.IsZero() && a.Account != r.Account: // else it is known only that it was tried
		return Next{LookUpThenPark, fmt.Sprintf(park+"it was tried for account %q, and MERCADOPAGO_ACCOUNT is %q here", a.Account, r.Account)}
	case age == Aged:
		return Next{LookUpThenTry, fmt.Sprintf("looked up at the API first, as it was first tried %s ago (over %s); "+
			"then tried again under the same key", ago, short(r.LookUpAfter))}
	}
	return Next{TryAgain, fmt.Sprintf("tried again under the same key: it was first tried %s ago", ago)}
}

// Age is how old an attempt is, by what is done with it.
type Age string

// The ages.
const (
	Young       Age = "young"        // tried again
	Aged        Age = "aged"         // looked up first
	PastHorizon Age = "past_horizon" // looked up, and then parked
	Future      Age = "future"       // likewise: a clock is wrong
)

// age says how old an attempt is. One in the future is past the horizon: how
// old it is in truth nobody knows.
func (r Rules) age(a event.Attempt, now time.Time) Age {
	switch age := now.Sub(a.First); {
	case age < -event.ClockTolerance:
		return Future
	case age > r.KeyHorizon:
		return PastHorizon
	case age > r.LookUpAfter:
		return Aged
	}
	return Young
}

func (r Rules) ageText(a Age) string {
	switch a {
	case Young:
		return fmt.Sprintf("up to %s old", short(r.LookUpAfter))
	case Aged:
		return fmt.Sprintf("up to %s old", short(r.KeyHorizon))
	case PastHorizon:
		return "older"
	case Future:
	}
	return "from the future"
}

// short gives a time in few letters: 168h, 1h30m, 4.2s.
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
