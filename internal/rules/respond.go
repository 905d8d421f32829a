package rules

import (
	"slices"
	"time"

	"payment-capture/internal/event"
)

// Identity has the fingerprints that are compared with the history of an event.
type Identity interface {
	// Fingerprint covers what was charged for: see [event.ReadyToCapture.Fingerprint].
	Fingerprint() event.Fingerprint
	// Content covers everything that decides: see [event.ReadyToCapture.Content].
	Content() event.Fingerprint
	// Payer covers who was charged: see [event.ReadyToCapture.Payer]. It is zero if the
	// payer is not known.
	Payer() event.Fingerprint
}

// Respond returns what happens to an event according to the history of its id: Republish,
// LeaveParked, LeaveSuperseded, Park (it conflicts with the history), or Evaluate.
// resend is the mark that its record carries; nil: none.
//
// A call binds the id to its order, amount, currency, reference and payer; another one
// under the same id is a conflict. Before any call nothing is bound, so an event that
// was parked without a call and comes with other content was corrected, and
// is evaluated again. Otherwise a parked event stays parked, unless an operator
// resent it. The resend undoes this park decision only, because the resent record
// may be replayed as well.
func Respond(e *event.ReadyToCapture, resend *event.Resend, h event.History) Disposition {
	return respond(e, e, resend, h)
}

func respond(e *event.ReadyToCapture, as Identity, resend *event.Resend, h event.History) Disposition {
	d := h.Decision
	switch {
	case d == nil:
		if h.Attempt != nil && contradicts(*h.Attempt, as) {
			return conflict(e, h)
		}
		return undecided(as, resend, nil, h.Attempt)
	case len(d.Superseded) > 0 && slices.Contains(d.Superseded, as.Content()):
		return Disposition{Action: LeaveSuperseded}
	case d.Uncalled():
		return respondToUncalled(e, as, resend, h)
	case contradicts(d.Attempt, as):
		return conflict(e, h)
	case !d.Parked():
		return Disposition{Action: Republish}
	case !resend.Undoes(d):
		return Disposition{Action: LeaveParked}
	}
	return undecided(as, resend, d, event.Earlier(h.Attempt, d.Attempt.Made()))
}

// respondToUncalled is Respond for an event that was parked without a call. An
// open attempt beside the park decision belongs to a corrected event, or to the same
// event after an operator resent it.
func respondToUncalled(e *event.ReadyToCapture, as Identity, resend *event.Resend, h event.History) Disposition {
	d := h.Decision
	same := sameContent(d, as)
	switch {
	case h.Attempt != nil && contradicts(*h.Attempt, as):
		if same {
			return Disposition{Action: LeaveSuperseded}
		}
		return conflict(e, h)
	case same && !resend.Undoes(d):
		return Disposition{Action: LeaveParked}
	case !same && len(d.Superseded) >= event.MaxSuperseded:
		return conflict(e, h)
	}
	return undecided(as, resend, d, h.Attempt)
}

// undecided returns that the history does not decide, and what to go on from.
func undecided(as Identity, resend *event.Resend, d *event.Decision, prior *event.Attempt) Disposition {
	if resend != nil { // it may know of attempts from before there was a ledger
		prior = event.Earlier(prior, event.Attempt{First: resend.FirstAttempt}.Made())
	}
	// The mark proves that an operator accepted the event only beside the park decision
	// that it names: otherwise the record may be read from an old topic.
	var resent *event.ParkInfo
	if d != nil && resend.Undoes(d) && !contradicts(d.Attempt, as) {
		resent = d.ParkInfo
	}
	return Disposition{Action: Evaluate, Prior: prior, Resent: resent}
}

// contradicts reports whether an attempt was for another charge than the event's.
func contradicts(a event.Attempt, as Identity) bool {
	return !a.Event.IsZero() && a.Event != as.Fingerprint()
}

// sameContent reports whether an uncalled decision is on the event with this content.
func sameContent(d *event.Decision, as Identity) bool {
	if d.Content.IsZero() {
		return !contradicts(d.Attempt, as)
	}
	return d.Content == as.Content()
}

// conflict parks an event whose id was used for something else.
func conflict(e *event.ReadyToCapture, h event.History) Disposition {
	return Disposition{Action: Park, Why: &event.ParkInfo{Reason: event.ParkConflicting, Detail: conflictDetail(e, h)}}
}

func conflictDetail(e *event.ReadyToCapture, h event.History) string {
	d := h.Decision
	if d != nil && d.Uncalled() && h.Attempt == nil {
		return "an event of this id was parked and corrected too often: send the order under a new event id"
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
	return "an event of this id " + state + ", and was for something else: " + e.Differences(*before)
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
	// Of two park decisions the later one counts, and times are kept in milliseconds.
	if next := before.At.Add(time.Millisecond); d.At.Before(next) {
		d.At = next
	}
}
