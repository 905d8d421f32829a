package rules

import (
	"slices"
	"time"

	"payment-capture/internal/event"
)

// Action is what the history of an event says to a record of it.
type Action uint8

// The actions.
const (
	Evaluate        Action = iota + 1 // apply the rules; the API may be called
	Republish                         // publish the recorded outcome again
	LeaveParked                       // nothing: the event is parked
	LeaveSuperseded                   // nothing: it was parked, and a corrected event took its place
	ParkConflicting                   // an event of its id was for something else
)

// Response is the answer of [Respond].
type Response struct {
	Action Action
	// Prior, of an evaluation, is the attempt to go on from; nil: no call is known.
	Prior *event.Attempt
	// Resent, of an evaluation: an operator accepted the time of the event.
	Resent bool
}

// Respond returns what becomes of an event, given what is known of its id. resend
// is the mark that its record carries; nil: none.
//
// A call binds the id to what was called for: another order, amount, currency,
// reference or payer under it is a conflict. Before any call nothing is bound, so an
// event that was parked without one and comes with other content was corrected, and
// is evaluated anew. What was parked stays parked otherwise, unless an operator
// resent it: that undoes this very parking only, because the record that was resent
// may be replayed as well.
func Respond(e *event.ReadyToCapture, resend *event.Resend, h event.History) Response {
	d := h.Decision
	switch {
	case d == nil:
		if h.Attempt != nil && contradicts(*h.Attempt, e) {
			return Response{Action: ParkConflicting}
		}
		return evaluate(e, resend, nil, h.Attempt)
	case len(d.Superseded) > 0 && slices.Contains(d.Superseded, e.Content()):
		return Response{Action: LeaveSuperseded}
	case d.Uncalled():
		return respondToUncalled(e, resend, h)
	case contradicts(d.Attempt, e):
		return Response{Action: ParkConflicting}
	case !d.Parked():
		return Response{Action: Republish}
	case !resend.Undoes(d):
		return Response{Action: LeaveParked}
	}
	return evaluate(e, resend, d, event.Earlier(h.Attempt, d.Attempt.Made()))
}

// respondToUncalled is Respond for an event that was parked without a call. An
// attempt that is open beside the parking is that of a corrected event, or of the
// same one after an operator resent it.
func respondToUncalled(e *event.ReadyToCapture, resend *event.Resend, h event.History) Response {
	d := h.Decision
	same := sameContent(d, e)
	switch {
	case h.Attempt != nil && contradicts(*h.Attempt, e):
		if same {
			return Response{Action: LeaveSuperseded}
		}
		return Response{Action: ParkConflicting}
	case same && !resend.Undoes(d):
		return Response{Action: LeaveParked}
	case !same && len(d.Superseded) >= event.MaxSuperseded:
		return Response{Action: ParkConflicting}
	}
	return evaluate(e, resend, d, h.Attempt)
}

func evaluate(e *event.ReadyToCapture, resend *event.Resend, d *event.Decision, tried *event.Attempt) Response {
	if resend != nil { // it may know of attempts from before there was a ledger
		tried = event.Earlier(tried, event.Attempt{First: resend.FirstAttempt}.Made())
	}
	// Without the parking that it answers to, a mark says nothing about the time of the
	// event: the record may be as old as a topic that is read from its start.
	resent := d != nil && resend.Undoes(d) && !contradicts(d.Attempt, e)
	return Response{Action: Evaluate, Prior: tried, Resent: resent}
}

// contradicts reports whether an attempt was for something else than the event.
func contradicts(a event.Attempt, e *event.ReadyToCapture) bool {
	return !a.Event.IsZero() && a.Event != e.Fingerprint()
}

// sameContent reports whether an uncalled decision is on the event as it is.
func sameContent(d *event.Decision, e *event.ReadyToCapture) bool {
	if d.Content.IsZero() {
		return !contradicts(d.Attempt, e)
	}
	return d.Content == e.Content()
}

// Conflict returns why an event is parked to which [Respond] says ParkConflicting.
func Conflict(e *event.ReadyToCapture, h event.History) *event.ParkInfo {
	d := h.Decision
	if d != nil && d.Uncalled() && h.Attempt == nil {
		return &event.ParkInfo{
			Reason: event.ParkConflicting,
			Detail: "an event of this id was parked and corrected too often: send the order under a new event id",
		}
	}
	before, state := h.Attempt, "was tried and is not decided"
	if d != nil && !d.Uncalled() {
		before, state = &d.Attempt, "was parked after a call"
	}
	if d != nil && d.Outcome != nil {
		known := d.Attempt
		known.OrderID, known.Amount, known.Reference = d.Outcome.OrderID, d.Outcome.Amount, d.Outcome.ExternalReference
		before, state = &known, "ended as "+d.Outcome.Type
	}
	return &event.ParkInfo{
		Reason: event.ParkConflicting,
		Detail: "an event of this id " + state + ", and was for something else: " + e.Differences(*before),
	}
}

// Conclude completes a decision on an event with what later records of its id are
// compared with. h is what was known when the event was evaluated.
func Conclude(d *event.Decision, e *event.ReadyToCapture, h event.History) {
	content := e.Content()
	if d.Uncalled() {
		d.Content = content
	}
	before := h.Decision
	if before == nil {
		return
	}
	d.Superseded = slices.Clone(before.Superseded)
	if before.Uncalled() && !before.Content.IsZero() && before.Content != content {
		d.Superseded = append(d.Superseded, before.Content)
	}
	// Of two parkings the later one counts, and times are kept in milliseconds.
	if next := before.At.Add(time.Millisecond); d.At.Before(next) {
		d.At = next
	}
}
