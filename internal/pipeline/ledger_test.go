package pipeline

import (
	"testing"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
	"payment-capture/internal/secret"
)

func eventForTest(t *testing.T, amount string) *event.ReadyToCapture {
	t.Helper()
	a, err := money.Parse(amount, "MXN")
	if err != nil {
		t.Fatal(err)
	}
	return &event.ReadyToCapture{ID: "e1", OrderID: "o1", ExternalReference: "o1", Amount: a, PayerToken: secret.New("token")}
}

// TestAnswerTo is the table of what the ledger makes of an event that comes.
func TestAnswerTo(t *testing.T) {
	t.Parallel()
	e := eventForTest(t, "700.50")
	day := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	at := func(hour int) time.Time { return day.Add(time.Duration(hour) * time.Hour) }
	attempt := func(hour int) event.Attempt {
		return event.Attempt{First: at(hour), Event: e.Fingerprint(), Body: event.FingerprintOf([]byte("body"))}
	}
	other := event.Attempt{First: at(1), Event: eventForTest(t, "1.00").Fingerprint()}
	captured := &event.Decision{Verdict: event.Verdict{Outcome: &event.Outcome{Type: event.TypeCaptured}}, At: at(5), Attempt: attempt(4)}
	parked := &event.Decision{Verdict: event.Verdict{Parking: &event.Parking{}}, At: at(5), Attempt: attempt(4)}
	uncalled := &event.Decision{Verdict: event.Verdict{Parking: &event.Parking{}}, At: at(5), Attempt: event.Attempt{Event: e.Fingerprint()}}
	conflicting := &event.Decision{Verdict: captured.Verdict, At: at(5), Attempt: other}
	that, another := &event.Resend{ParkedAt: at(5)}, &event.Resend{ParkedAt: at(6)}
	for name, test := range map[string]struct {
		history event.History
		resend  *event.Resend
		want    answer
		first   time.Time // of the attempt to go on from; zero: none
	}{
		"never seen":                           {event.History{}, nil, answerTry, time.Time{}},
		"tried":                                {event.History{Attempt: new(attempt(2))}, nil, answerTry, at(2)},
		"tried, for something else":            {event.History{Attempt: &other}, nil, answerConflict, time.Time{}},
		"captured":                             {event.History{Decision: captured}, nil, answerReplay, time.Time{}},
		"captured, sent again":                 {event.History{Decision: captured}, that, answerReplay, time.Time{}},
		"captured, for something else":         {event.History{Decision: conflicting}, nil, answerConflict, time.Time{}},
		"parked":                               {event.History{Decision: parked}, nil, answerReplay, time.Time{}},
		"parked, sent again":                   {event.History{Decision: parked}, that, answerTry, at(4)},
		"parked, another parking sent again":   {event.History{Decision: parked}, another, answerReplay, time.Time{}},
		"parked without a call, sent again":    {event.History{Decision: uncalled}, that, answerTry, time.Time{}},
		"parked, sent again, and tried since":  {event.History{Decision: parked, Attempt: new(attempt(8))}, that, answerTry, at(4)},
		"parked, tried since, and comes again": {event.History{Decision: parked, Attempt: new(attempt(8))}, nil, answerReplay, time.Time{}},
		"parked before the ledger, sent again": {event.History{}, &event.Resend{ParkedAt: at(5), FirstAttempt: at(3)}, answerTry, at(3)},
		"parked, the mark knows of an earlier": {event.History{Decision: parked}, &event.Resend{ParkedAt: at(5), FirstAttempt: at(1)}, answerTry, at(1)},
		"parked without a call, never tried":   {event.History{}, that, answerTry, time.Time{}},
	} {
		got, tried := answerTo(e, test.resend, test.history)
		if got != test.want || (tried == nil) != test.first.IsZero() || (tried != nil && !tried.First.Equal(test.first)) {
			t.Errorf("%s: got %d from %+v, want %d from %s", name, got, tried, test.want, test.first)
		}
		if tried != nil && test.history.Decision == parked && tried.Body.IsZero() {
			t.Errorf("%s: what was sent is not known any more", name)
		}
	}
}
