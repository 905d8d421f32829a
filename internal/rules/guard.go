package rules

import (
	"fmt"
	"time"

	"payment-capture/internal/event"
)

// Guard is which events are duplicates of each other although their ids differ: a
// closed list. Its texts are the values of CAPTURE_ONCE_PER.
type Guard string

// The guards.
const (
	GuardEvent     Guard = "event"     // none are
	GuardPayment   Guard = "payment"   // those with the same reference, amount, currency and payer, within DuplicateWindow
	GuardReference Guard = "reference" // those with the same reference
)

// Compared returns which other events the guard compares an event with, as a question to
// the ledger; false: with none.
func (g Guard) Compared(e *event.ReadyToCapture) (_ event.Charge, compares bool) {
	switch g {
	case GuardPayment:
		return e.Charge(), true
	case GuardReference:
		return event.Charge{Reference: e.ExternalReference}, true
	case GuardEvent:
	}
	return event.Charge{}, false
}

// Rivals reports whether an open attempt of another event under the same reference has
// to be decided before the event may be charged: if it captures, the event is a
// duplicate of it.
func (r Rules) Rivals(e *event.ReadyToCapture, other event.Attempt) bool {
	return r.Guard == GuardReference || (r.Guard == GuardPayment && maySharePayment(e, e, other))
}

// duplicate returns why an event must not be charged beside another one that was
// captured, or parked with an unknown result; or nil if it may be. resent is why it was
// parked before an operator resent it; nil: it was not resent.
//
// A resend accepts what the event was parked for. It does not undo the guard of a
// reference, which is a promise about the whole topic.
func (r Rules) duplicate(c Case, resent *event.ParkInfo, now time.Time) *event.ParkInfo {
	var accepted event.ParkReason
	if resent != nil {
		accepted = resent.Reason
	}
	if r.Guard == GuardPayment && accepted == event.ParkPossibleDuplicate {
		return nil
	}
	var first, unknown *event.Known
	for i, k := range c.Known {
		switch {
		case k.EventID == c.Event.ID || !r.duplicates(c, k, now):
		case k.Captured() == nil:
			unknown = &c.Known[i]
		case first == nil || capturedAt(k).Before(capturedAt(*first)):
			first = &c.Known[i]
		}
	}
	switch {
	case first != nil:
		return r.duplicateOf(first)
	case unknown != nil && accepted != event.ParkCompeting:
		return Competing(&event.OpenAttempt{EventID: unknown.EventID, Attempt: *unknown.Open()})
	}
	return nil
}

func (r Rules) duplicateOf(first *event.Known) *event.ParkInfo {
	o := first.Captured()
	detail := fmt.Sprintf("event %s was captured for external_reference %s already (payment %s, %s %s, %s)", first.EventID,
		o.ExternalReference, o.PaymentID, o.Amount, o.Amount.Currency(), capturedAt(*first).UTC().Format(time.RFC3339))
	if r.Guard == GuardReference {
		return &event.ParkInfo{Reason: event.ParkReferenceCaptured, Detail: detail + ", and CAPTURE_ONCE_PER is reference"}
	}
	return &event.ParkInfo{Reason: event.ParkPossibleDuplicate, Detail: detail + fmt.Sprintf(
		", with the same amount, currency and payer and within CAPTURE_DUPLICATE_WINDOW (%s): it is probably the same order", r.DuplicateWindow)}
}

// duplicates reports whether an event is a duplicate of one that was captured, or parked
// after a call that may have captured.
func (r Rules) duplicates(c Case, of event.Known, now time.Time) bool {
	if of.Decision == nil {
		return false // it goes first, or waits for this one
	}
	attempt, at := of.Decision.Attempt, of.Decision.At
	switch o, open := of.Captured(), of.Open(); {
	case o != nil:
		attempt.Amount, at = o.Amount, capturedAt(of)
	case open != nil && of.Decision.ParkInfo.Reason != event.ParkRefusedRequest:
		attempt = *open
	default:
		return false
	}
	switch r.Guard {
	case GuardReference:
		return true
	case GuardPayment:
		return now.Sub(at) <= r.DuplicateWindow && maySharePayment(c.Event, c.identity(), attempt)
	case GuardEvent:
	}
	return false
}

// maySharePayment reports whether an attempt has the event's amount, currency and
// payer. A value that the ledger does not have counts as the same, because an operator
// can release a parked event but cannot undo a second charge.
func maySharePayment(e *event.ReadyToCapture, as Identity, other event.Attempt) bool {
	if !other.Amount.IsZero() && other.Amount != e.Amount {
		return false
	}
	payer := as.Payer()
	return other.Payer.IsZero() || payer.IsZero() || other.Payer == payer
}

// capturedAt returns when a captured event was captured: by the API's clock, if its
// answer had the time.
func capturedAt(k event.Known) time.Time {
	if at := k.Decision.Outcome.CapturedAt; !at.IsZero() {
		return at
	}
	return k.Decision.At
}
