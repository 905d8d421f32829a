package rules_test

import (
	"strings"
	"testing"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/rules"
	"payment-capture/internal/secret"
)

// captured returns what is known of an event that was captured at a time.
func captured(e *event.ReadyToCapture, at time.Time) event.Known {
	a := tried(e, at.Add(-time.Second))
	return event.Known{EventID: e.ID, History: event.History{Decision: &event.Decision{
		At: at.Add(time.Second), Attempt: a, Result: event.Result{Outcome: &event.Outcome{
			Type: event.TypeCaptured, EventID: e.ID, OrderID: e.OrderID, Amount: e.Amount, ExternalReference: e.ExternalReference,
			PaymentID: "payment-of-" + e.ID, CapturedAt: at,
		}},
	}}}
}

// TestGuard is the table of which captured events keep another one of their reference
// from being charged.
func TestGuard(t *testing.T) {
	t.Parallel()
	now, window := hour(100), 10*time.Hour
	e := eventForTest(t, func(e *event.ReadyToCapture) { e.Time = now })
	of := func(id string, at time.Time, change func(*event.ReadyToCapture)) event.Known {
		return captured(eventForTest(t, func(e *event.ReadyToCapture) {
			if e.ID = id; change != nil {
				change(e)
			}
		}), at)
	}
	same := of("e0", hour(99), nil)
	with := func(k event.Known, change func(*event.Decision)) event.Known {
		d := *k.Decision
		if k.Decision = &d; d.Outcome != nil {
			d.Outcome = new(*d.Outcome)
		}
		change(&d)
		return k
	}
	otherAmount := of("e0", hour(99), func(e *event.ReadyToCapture) { e.Amount = amount(t, "1.00", "MXN") })
	otherPayer := of("e0", hour(99), func(e *event.ReadyToCapture) { e.PayerToken = secret.New("another") })
	otherOrder := of("e0", hour(99), func(e *event.ReadyToCapture) { e.OrderID = "another" })
	attempt := tried(e, hour(98))
	open := event.Known{EventID: "e0", History: event.History{Attempt: &attempt}}
	const competing = event.ParkCompeting
	unknown := func(reason event.ParkReason, first time.Time) event.Known {
		d := &event.Decision{At: hour(99), Attempt: attempt, Result: event.Result{ParkInfo: &event.ParkInfo{Reason: reason, FirstAttempt: first}}}
		d.Attempt.First = first
		return event.Known{EventID: "e0", History: event.History{Decision: d}}
	}
	rejected := with(same, func(d *event.Decision) { d.Outcome.Type = event.TypeRejected })
	resent := func(reason event.ParkReason) rules.Disposition {
		return rules.Disposition{Resent: &event.ParkInfo{Reason: reason}}
	}
	for name, test := range map[string]struct {
		known              event.Known
		d                  rules.Disposition
		payment, reference event.ParkReason // "": it is charged
	}{
		"captured": {known: same, payment: event.ParkPossibleDuplicate, reference: event.ParkReferenceCaptured},
		"captured for another order id": {
			known: otherOrder, payment: event.ParkPossibleDuplicate, reference: event.ParkReferenceCaptured,
		},
		"captured as long ago as counts": {
			known: of("e0", now.Add(-window), nil), payment: event.ParkPossibleDuplicate, reference: event.ParkReferenceCaptured,
		},
		"captured longer ago": {known: of("e0", now.Add(-window-1), nil), reference: event.ParkReferenceCaptured},
		"captured by a clock that is ahead": {
			known: of("e0", now.Add(time.Hour), nil), payment: event.ParkPossibleDuplicate, reference: event.ParkReferenceCaptured,
		},
		"captured, and the answer had no time": {
			known:   with(same, func(d *event.Decision) { d.Outcome.CapturedAt = time.Time{} }),
			payment: event.ParkPossibleDuplicate, reference: event.ParkReferenceCaptured,
		},
		"captured longer ago, and the answer had no time": {
			known:     with(of("e0", now.Add(-window-2*time.Second), nil), func(d *event.Decision) { d.Outcome.CapturedAt = time.Time{} }),
			reference: event.ParkReferenceCaptured,
		},
		"captured with another amount": {known: otherAmount, reference: event.ParkReferenceCaptured},
		"captured with another currency": {
			known:     with(same, func(d *event.Decision) { d.Outcome.Amount = amount(t, "700.50", "BRL") }),
			reference: event.ParkReferenceCaptured,
		},
		"captured for another payer": {known: otherPayer, reference: event.ParkReferenceCaptured},
		"captured for an unknown payer": {
			known:   with(same, func(d *event.Decision) { d.Attempt.Payer = event.Fingerprint{} }),
			payment: event.ParkPossibleDuplicate, reference: event.ParkReferenceCaptured,
		},
		"captured itself":               {known: of(e.ID, hour(99), nil)},
		"rejected":                      {known: rejected},
		"parked with an unknown result": {known: unknown(event.ParkUndecided, hour(98)), payment: competing, reference: competing},
		"parked with an unknown result, longer ago than counts": {
			known: with(unknown(event.ParkUndecided, hour(98)), func(d *event.Decision) { d.At = now.Add(-window - 1) }), reference: competing,
		},
		"parked with an unknown result, and accepted": {
			known: unknown(event.ParkUndecided, hour(98)), d: resent(event.ParkCompeting),
		},
		"captured since it was accepted": {
			known: same, d: resent(event.ParkCompeting), payment: event.ParkPossibleDuplicate, reference: event.ParkReferenceCaptured,
		},
		"parked before a call":  {known: unknown(event.ParkTooOld, time.Time{})},
		"parked as refused":     {known: unknown(event.ParkRefusedRequest, hour(98))},
		"attempted":             {known: open},
		"resent as a duplicate": {known: same, d: resent(event.ParkPossibleDuplicate), reference: event.ParkReferenceCaptured},
		"resent as too old": {
			known: same, d: resent(event.ParkTooOld), payment: event.ParkPossibleDuplicate, reference: event.ParkReferenceCaptured,
		},
		"resent by its reference": {
			known: same, d: resent(event.ParkReferenceCaptured), payment: event.ParkPossibleDuplicate, reference: event.ParkReferenceCaptured,
		},
	} {
		for guard, want := range map[rules.Guard]event.ParkReason{
			"": "", rules.GuardEvent: "", rules.GuardPayment: test.payment, rules.GuardReference: test.reference,
		} {
			book := rules.Rules{Currency: "MXN", KeyRetention: 1000 * time.Hour, Guard: guard, DuplicateWindow: window}
			c := rules.Case{Event: e, Body: attempt.Body, Known: []event.Known{test.known}}
			for _, prior := range []*event.Attempt{nil, &attempt} {
				d := test.d
				d.Prior = prior
				got := book.Evaluate(c, d, now)
				action, parked := rules.Charge, rules.Park
				if prior != nil {
					action, parked = rules.LookUpThenCharge, rules.LookUpThenPark
				}
				if want != "" {
					action = parked
				}
				var why event.ParkReason
				if got.Why != nil {
					why = got.Why.Reason
				}
				if got.Action != action || why != want {
					t.Errorf("%s, guard %q, attempted %t: %s %q, want %s %q", name, guard, prior != nil, got.Action, why, action, want)
				}
			}
		}
	}
}

// TestGuardNamesTheFirst: the detail names the event that was captured first.
func TestGuardNamesTheFirst(t *testing.T) {
	t.Parallel()
	e := eventForTest(t, func(e *event.ReadyToCapture) { e.Time = hour(100) })
	var known []event.Known
	for i, id := range []string{"e0", "e1", "e2", "e3"} {
		at := []int{98, 96, 97, 80}[i]
		known = append(known, captured(eventForTest(t, func(e *event.ReadyToCapture) { e.ID = id }), hour(at)))
	}
	e.ID = "e9"
	book := rules.Rules{Currency: "MXN", KeyRetention: time.Hour, Guard: rules.GuardPayment, DuplicateWindow: 10 * time.Hour}
	why := book.Evaluate(rules.Case{Event: e, Known: known}, rules.Disposition{}, hour(100)).Why
	if why == nil || !strings.Contains(why.Detail, "event e1 ") || !strings.Contains(why.Detail, "payment-of-e1") ||
		!strings.Contains(why.Detail, hour(96).Format(time.RFC3339)) {
		t.Errorf("got %+v", why)
	}
}

func TestRivals(t *testing.T) {
	t.Parallel()
	e := eventForTest(t, nil)
	attemptOn := func(change func(*event.ReadyToCapture)) event.Attempt {
		return event.AttemptOf(eventForTest(t, change))
	}
	otherAmount := attemptOn(func(e *event.ReadyToCapture) { e.Amount = amount(t, "1.00", "MXN") })
	unknown := event.AttemptOf(e)
	unknown.Payer = event.Fingerprint{}
	for name, test := range map[string]struct {
		other event.Attempt
		want  bool // once per payment
	}{
		"the same payment":   {event.AttemptOf(e), true},
		"another order":      {attemptOn(func(e *event.ReadyToCapture) { e.OrderID = "another" }), true},
		"another amount":     {otherAmount, false},
		"another payer":      {attemptOn(func(e *event.ReadyToCapture) { e.PayerToken = secret.New("another") }), false},
		"an unknown payer":   {unknown, true},
		"unknown altogether": {event.Attempt{First: hour(1)}, true},
	} {
		for guard, want := range map[rules.Guard]bool{
			"": false, rules.GuardEvent: false, rules.GuardPayment: test.want, rules.GuardReference: true,
		} {
			if got := (rules.Rules{Guard: guard}).Rivals(e, test.other); got != want {
				t.Errorf("%s, guard %q: %t, want %t", name, guard, got, want)
			}
		}
	}
}

// TestReleasedDuplicate: the mark of a resend counts only beside the decision to park
// that it names, and only if that was for the duplicate.
func TestReleasedDuplicate(t *testing.T) {
	t.Parallel()
	e := eventForTest(t, func(e *event.ReadyToCapture) { e.Time = hour(100) })
	known := []event.Known{captured(eventForTest(t, func(e *event.ReadyToCapture) { e.ID = "e0" }), hour(99))}
	book := rules.Rules{Currency: "MXN", KeyRetention: 1000 * time.Hour, Guard: rules.GuardPayment, DuplicateWindow: 10 * time.Hour}
	uncalled := parkedUncalled(e, hour(99))
	uncalled.ParkInfo.Reason = event.ParkPossibleDuplicate
	called := &event.Decision{Result: uncalled.Result, At: hour(99), Attempt: tried(e, hour(100))}
	attempt := tried(e, hour(100))
	for name, test := range map[string]struct {
		history event.History
		mark    *event.Resend
		want    rules.Action
	}{
		"as it was":      {event.History{Decision: uncalled}, nil, rules.LeaveParked},
		"released":       {event.History{Decision: uncalled}, &event.Resend{ParkedAt: hour(99)}, rules.Charge},
		"another resend": {event.History{Decision: uncalled}, &event.Resend{ParkedAt: hour(98)}, rules.LeaveParked},
		"released, and attempted since": {
			event.History{Decision: uncalled, Attempt: &attempt}, &event.Resend{ParkedAt: hour(99)}, rules.Charge,
		},
		"released, parked after an attempt": {event.History{Decision: called}, &event.Resend{ParkedAt: hour(99)}, rules.Charge},
		"a resend without a ledger":         {event.History{}, &event.Resend{ParkedAt: hour(99)}, rules.Park},
	} {
		got := book.Decide(rules.Case{Event: e, Body: attempt.Body, Resend: test.mark, History: test.history, Known: known}, hour(100))
		if got.Action != test.want {
			t.Errorf("%s: %s, want %s", name, got.Action, test.want)
		}
	}
}
