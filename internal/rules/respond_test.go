package rules_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
	"payment-capture/internal/rules"
	"payment-capture/internal/secret"
)

func eventForTest(t *testing.T, change func(*event.ReadyToCapture)) *event.ReadyToCapture {
	t.Helper()
	e := &event.ReadyToCapture{
		ID: "e1", Source: "/orders", OrderID: "o1", ExternalReference: "o1", Amount: amount(t, "700.50", "MXN"), Description: "d",
		PayerToken: secret.New("planted-payer-token"), Time: day,
	}
	if change != nil {
		change(e)
	}
	return e
}

func amount(t *testing.T, text string, c money.Currency) money.Amount {
	t.Helper()
	a, err := money.Parse(text, c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

var day = time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)

func hour(n int) time.Time { return day.Add(time.Duration(n) * time.Hour) }

// tried is an attempt on an event.
func tried(e *event.ReadyToCapture, at time.Time) event.Attempt {
	a := event.AttemptOf(e)
	a.First, a.Body = at, event.FingerprintOf([]byte("body"))
	return a
}

// parkedUncalled is a decision that parked an event without a call.
func parkedUncalled(e *event.ReadyToCapture, at time.Time, superseded ...event.Fingerprint) *event.Decision {
	return &event.Decision{
		Result: event.Result{ParkInfo: &event.ParkInfo{Reason: event.ParkTooOld}}, At: at,
		Attempt: event.AttemptOf(e), Content: e.Content(), Superseded: superseded,
	}
}

// TestRespond is the table of what the history of an event says to it.
func TestRespond(t *testing.T) {
	t.Parallel()
	e := eventForTest(t, nil)
	otherTime := eventForTest(t, func(e *event.ReadyToCapture) { e.Time = hour(9) })
	otherAmount := eventForTest(t, func(e *event.ReadyToCapture) { e.Amount = amount(t, "1.00", "MXN") })
	attempt := func(n int) event.Attempt { return tried(e, hour(n)) }
	other := tried(otherAmount, hour(1))
	captured := &event.Decision{Result: event.Result{Outcome: &event.Outcome{Type: event.TypeCaptured}}, At: hour(5), Attempt: attempt(4)}
	parked := &event.Decision{Result: event.Result{ParkInfo: &event.ParkInfo{}}, At: hour(5), Attempt: attempt(4)}
	conflicting := &event.Decision{Result: captured.Result, At: hour(5), Attempt: other}
	uncalled := parkedUncalled(e, hour(5))
	unknown := &event.Decision{Result: event.Result{ParkInfo: &event.ParkInfo{}}, At: hour(5), Attempt: event.Attempt{Event: e.Fingerprint()}}
	corrected := &event.Decision{Result: captured.Result, At: hour(5), Attempt: other, Superseded: []event.Fingerprint{e.Content()}}
	sameOrder := &event.Decision{Result: captured.Result, At: hour(5), Attempt: attempt(4), Superseded: []event.Fingerprint{e.Content()}}
	parkedAgain := parkedUncalled(otherAmount, hour(5), e.Content())
	often := parkedUncalled(otherTime, hour(5), slices.Repeat([]event.Fingerprint{{1}}, event.MaxSuperseded)...)
	that, another := &event.Resend{ParkedAt: hour(5)}, &event.Resend{ParkedAt: hour(6)}
	for name, test := range map[string]struct {
		event   *event.ReadyToCapture // nil: e
		history event.History
		resend  *event.Resend
		want    rules.Action
		first   time.Time // of the attempt to go on from; zero: none
		resent  bool
	}{
		"never seen":                {want: rules.Evaluate},
		"tried":                     {history: event.History{Attempt: new(attempt(2))}, want: rules.Evaluate, first: hour(2)},
		"tried, for something else": {history: event.History{Attempt: &other}, want: rules.Park},
		"tried, and comes with another time": {
			event: otherTime, history: event.History{Attempt: new(attempt(2))}, want: rules.Evaluate,
			first: hour(2),
		},
		"captured":                          {history: event.History{Decision: captured}, want: rules.Republish},
		"captured, and with another time":   {event: otherTime, history: event.History{Decision: captured}, want: rules.Republish},
		"captured, sent again":              {history: event.History{Decision: captured}, resend: that, want: rules.Republish},
		"captured, for something else":      {history: event.History{Decision: conflicting}, want: rules.Park},
		"parked":                            {history: event.History{Decision: parked}, want: rules.LeaveParked},
		"parked, and with another time":     {event: otherTime, history: event.History{Decision: parked}, want: rules.LeaveParked},
		"parked after a call, other amount": {event: otherAmount, history: event.History{Decision: parked}, want: rules.Park},
		"parked, sent again": {
			history: event.History{Decision: parked}, resend: that, want: rules.Evaluate, first: hour(4),
			resent: true,
		},
		"parked, another parking sent again": {history: event.History{Decision: parked}, resend: another, want: rules.LeaveParked},
		"parked, sent again, and tried since": {
			history: event.History{Decision: parked, Attempt: new(attempt(8))}, resend: that,
			want: rules.Evaluate, first: hour(4), resent: true,
		},
		"parked, tried since, and comes again": {history: event.History{Decision: parked, Attempt: new(attempt(8))}, want: rules.LeaveParked},
		"parked before the ledger, sent again": {
			resend: &event.Resend{ParkedAt: hour(5), FirstAttempt: hour(3)}, want: rules.Evaluate,
			first: hour(3),
		},
		"parked, the mark knows of an earlier": {
			history: event.History{Decision: parked},
			resend:  &event.Resend{ParkedAt: hour(5), FirstAttempt: hour(1)}, want: rules.Evaluate, first: hour(1), resent: true,
		},
		"never tried, and a mark": {resend: that, want: rules.Evaluate},

		"parked without a call, as it was": {history: event.History{Decision: uncalled}, want: rules.LeaveParked},
		"parked without a call, sent again": {
			history: event.History{Decision: uncalled}, resend: that, want: rules.Evaluate,
			resent: true,
		},
		"parked without a call, another parking sent again": {
			history: event.History{Decision: uncalled}, resend: another,
			want: rules.LeaveParked,
		},
		"parked without a call, its time corrected": {
			event: otherTime, history: event.History{Decision: uncalled},
			want: rules.Evaluate,
		},
		"parked without a call, its amount corrected": {
			event: otherAmount, history: event.History{Decision: uncalled},
			want: rules.Evaluate,
		},
		"a mark of the parking does not forgive another one": {
			event: otherAmount, history: event.History{Decision: uncalled}, resend: that,
			want: rules.Evaluate,
		},
		"parked without a call, content not known": {
			event: otherTime, history: event.History{Decision: unknown},
			want: rules.LeaveParked,
		},
		"content not known, and another amount": {
			event: otherAmount, history: event.History{Decision: unknown},
			want: rules.Evaluate,
		},
		"corrected, and that is being tried": {
			event: otherAmount, history: event.History{Decision: uncalled, Attempt: &other},
			want: rules.Evaluate, first: hour(1),
		},
		"corrected, that is being tried, the first again": {
			history: event.History{Decision: uncalled, Attempt: &other},
			want:    rules.LeaveSuperseded,
		},
		"corrected, that is being tried, the first resent": {
			history: event.History{Decision: uncalled, Attempt: &other}, resend: that,
			want: rules.LeaveSuperseded,
		},
		"corrected, that is being tried, a third one": {
			event:   eventForTest(t, func(e *event.ReadyToCapture) { e.OrderID = "o3" }),
			history: event.History{Decision: uncalled, Attempt: &other}, want: rules.Park,
		},
		"corrected and captured, the first again": {history: event.History{Decision: corrected}, want: rules.LeaveSuperseded},
		"corrected and captured, the first resent": {
			history: event.History{Decision: corrected}, resend: that,
			want: rules.LeaveSuperseded,
		},
		"corrected and captured, the corrected one again": {
			event: otherAmount, history: event.History{Decision: corrected},
			want: rules.Republish,
		},
		"corrected and captured, a third one": {
			event:   eventForTest(t, func(e *event.ReadyToCapture) { e.OrderID = "o3" }),
			history: event.History{Decision: corrected}, want: rules.Park,
		},
		"the time corrected and captured, the first again": {history: event.History{Decision: sameOrder}, want: rules.LeaveSuperseded},
		"corrected and parked again, the first again":      {history: event.History{Decision: parkedAgain}, want: rules.LeaveSuperseded},
		"corrected and parked again, the first resent": {
			history: event.History{Decision: parkedAgain}, resend: that,
			want: rules.LeaveSuperseded,
		},
		"corrected and parked again, as it was": {
			event: otherAmount, history: event.History{Decision: parkedAgain},
			want: rules.LeaveParked,
		},
		"corrected and parked again, corrected once more": {
			event: otherTime, history: event.History{Decision: parkedAgain},
			want: rules.Evaluate,
		},
		"corrected as often as may be": {history: event.History{Decision: often}, want: rules.Park},
		"corrected as often as may be, the last again": {
			event: otherTime, history: event.History{Decision: often},
			want: rules.LeaveParked,
		},
		"corrected as often as may be, the last sent again": {
			event: otherTime, history: event.History{Decision: often}, resend: that,
			want: rules.Evaluate, resent: true,
		},
		"parked without a call, resent, and that is tried": {
			history: event.History{Decision: uncalled, Attempt: new(attempt(7))},
			resend:  that, want: rules.Evaluate, first: hour(7), resent: true,
		},
		"parked without a call, tried since, and comes again": {
			history: event.History{Decision: uncalled, Attempt: new(attempt(7))},
			want:    rules.LeaveParked,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			of := e
			if test.event != nil {
				of = test.event
			}
			got := rules.Respond(of, test.resend, test.history)
			if got.Action != test.want || (got.Resent != nil) != test.resent {
				t.Errorf("action %s, resent %t; want %s, %t", got.Action, got.Resent != nil, test.want, test.resent)
			}
			if (got.Prior == nil) != test.first.IsZero() || (got.Prior != nil && !got.Prior.First.Equal(test.first)) {
				t.Errorf("it goes on from %+v, want an attempt of %s", got.Prior, test.first)
			}
			if got.Prior != nil && test.history.Decision == parked && got.Prior.Body.IsZero() {
				t.Error("what was sent is not known any more")
			}
		})
	}
}

// TestConclude: a decision keeps what later records of its id are compared with.
func TestConclude(t *testing.T) {
	t.Parallel()
	first, second := eventForTest(t, nil), eventForTest(t, func(e *event.ReadyToCapture) { e.Time = hour(9) })
	older := event.FingerprintOf([]byte("older"))
	captured := func() *event.Decision {
		return &event.Decision{
			Result: event.Result{Outcome: &event.Outcome{Type: event.TypeCaptured}}, At: hour(5),
			Attempt: tried(second, hour(4)),
		}
	}
	for name, test := range map[string]struct {
		decision *event.Decision
		before   *event.Decision
		content  event.Fingerprint
		list     []event.Fingerprint
	}{
		"nothing before":        {captured(), nil, event.Fingerprint{}, nil},
		"parked without a call": {parkedUncalled(second, hour(5)), nil, second.Content(), nil},
		"corrected and captured": {
			captured(), parkedUncalled(first, hour(2)),
			event.Fingerprint{},
			[]event.Fingerprint{first.Content()},
		},
		"corrected and parked": {
			parkedUncalled(second, hour(5)), parkedUncalled(first, hour(2)), second.Content(),
			[]event.Fingerprint{first.Content()},
		},
		"corrected a second time": {
			captured(), parkedUncalled(first, hour(2), older),
			event.Fingerprint{},
			[]event.Fingerprint{older, first.Content()},
		},
		"resent": {
			captured(), parkedUncalled(second, hour(2), older),
			event.Fingerprint{},
			[]event.Fingerprint{older},
		},
		"resent after it was parked, called": {captured(), &event.Decision{
			Result: event.Result{ParkInfo: &event.ParkInfo{}}, At: hour(2),
			Attempt: tried(second, hour(1)), Superseded: []event.Fingerprint{older},
		}, event.Fingerprint{}, []event.Fingerprint{older}},
	} {
		d := test.decision
		d.Content = event.Fingerprint{}
		rules.Conclude(d, second, event.History{Decision: test.before})
		if d.Content != test.content || !slices.Equal(d.Superseded, test.list) || !d.At.Equal(hour(5)) {
			t.Errorf("%s: content %s, superseded %v, at %s; want %s and %v", name, d.Content, d.Superseded, d.At, test.content, test.list)
		}
	}
	d := parkedUncalled(second, hour(2))
	if rules.Conclude(d, second, event.History{Decision: parkedUncalled(first, hour(2))}); !d.At.After(hour(2)) {
		t.Errorf("it is decided at %s, no later than the one it supersedes", d.At)
	}
}

// TestConflict: the detail names both values of what differs, and never a token.
func TestConflict(t *testing.T) {
	t.Parallel()
	before := eventForTest(t, nil)
	changed := func(change func(*event.ReadyToCapture)) *event.ReadyToCapture { return eventForTest(t, change) }
	attempt := tried(before, hour(1))
	bare := attempt
	bare.OrderID, bare.Amount = "", money.Amount{}
	captured := &event.Decision{Attempt: bare, Result: event.Result{Outcome: &event.Outcome{
		Type: event.TypeCaptured, OrderID: "o1", ExternalReference: "o1", Amount: before.Amount,
	}}}
	parked := &event.Decision{Attempt: attempt, Result: event.Result{ParkInfo: &event.ParkInfo{}}}
	for name, test := range map[string]struct {
		event   *event.ReadyToCapture
		history event.History
		want    string
	}{
		"order": {
			changed(func(e *event.ReadyToCapture) { e.OrderID = "o2\nforged" }),
			event.History{Attempt: &attempt},
			"was tried and is not decided, and was for something else: order_id was o1 and is o2?forged here",
		},
		"amount, parked after a call": {
			changed(func(e *event.ReadyToCapture) { e.Amount = amount(t, "700.51", "MXN") }),
			event.History{Decision: parked},
			"was parked after a call, and was for something else: amount was 700.50 and is 700.51 here",
		},
		"currency and reference, captured": {
			changed(func(e *event.ReadyToCapture) { e.Amount, e.ExternalReference = amount(t, "700.50", "BRL"), "r2" }),
			event.History{Decision: captured},
			"ended as payment.captured, and was for something else: currency was MXN and is BRL here; external_reference was o1 and is r2 here",
		},
		"payer": {
			changed(func(e *event.ReadyToCapture) { e.PayerToken = secret.New("planted-other-token") }),
			event.History{Decision: captured},
			"something else: the payer differs",
		},
		"payer and amount": {
			changed(func(e *event.ReadyToCapture) {
				e.PayerToken, e.Amount = secret.New("planted-other-token"), amount(t, "1.00", "MXN")
			}),
			event.History{Attempt: &attempt},
			"amount was 700.50 and is 1.00 here; the payer differs",
		},
		"values that the ledger does not have": {
			changed(func(e *event.ReadyToCapture) { e.OrderID = "o2" }),
			event.History{Attempt: &bare},
			"another order, amount, currency, reference or payer",
		},
		"corrected, and that is being tried": {
			changed(func(e *event.ReadyToCapture) { e.OrderID = "o2" }),
			event.History{Attempt: &attempt, Decision: parkedUncalled(changed(func(e *event.ReadyToCapture) { e.OrderID = "o3" }), hour(1))},
			"order_id was o1 and is o2 here",
		},
		"corrected too often": {
			before, event.History{Decision: parkedUncalled(changed(func(e *event.ReadyToCapture) { e.OrderID = "o3" }), hour(1),
				slices.Repeat([]event.Fingerprint{{1}}, event.MaxSuperseded)...)}, "corrected too often",
		},
		"long": {
			changed(func(e *event.ReadyToCapture) { e.OrderID = strings.Repeat("x", 256) }),
			event.History{Attempt: &attempt},
			"order_id was o1 and is " + strings.Repeat("x", 80) + "... here",
		},
	} {
		got := rules.Respond(test.event, nil, test.history).Why
		if got.Reason != event.ParkConflicting || !strings.HasSuffix(got.Detail, test.want) && !strings.Contains(got.Detail, test.want) {
			t.Errorf("%s: %s: %q, want %q", name, got.Reason, got.Detail, test.want)
		}
		if strings.Contains(got.Detail, "planted") || strings.ContainsAny(got.Detail, "\n\r\t") {
			t.Errorf("%s: %q", name, got.Detail)
		}
	}
}
