package capture_test

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/mercadopago"
	"payment-capture/internal/money"
)

// ending returns a decision in short.
func ending(d *event.Decision) string {
	if d == nil {
		return "none"
	}
	switch v := d.Result; {
	case v.Outcome != nil && v.ParkInfo != nil:
		return "both"
	case v.Outcome != nil:
		return v.Outcome.Type + " " + v.Outcome.Reason
	case v.ParkInfo != nil:
		return "parked " + string(v.ParkInfo.Reason)
	}
	return "none"
}

func TestAnswersDecide(t *testing.T) {
	t.Parallel()
	const (
		isCaptured = event.TypeCaptured + " "
		isRejected = event.TypeRejected + " "
	)
	duplicated := mercadopago.ReasonDuplicatedPayment
	for name, test := range map[string]struct {
		answers []mercadopago.Answer
		want    string
	}{
		"captured":                {[]mercadopago.Answer{captured()}, isCaptured},
		"declined":                {[]mercadopago.Answer{declined("cc_rejected_high_risk")}, isRejected + "cc_rejected_high_risk"},
		"refused":                 {[]mercadopago.Answer{refused("invalid_payer_token")}, isRejected + "invalid_payer_token"},
		"duplicate at once":       {[]mercadopago.Answer{declined(duplicated)}, isRejected + duplicated},
		"retry, then captured":    {[]mercadopago.Answer{unavailable(), noAnswer(), captured()}, isCaptured},
		"retry, then declined":    {[]mercadopago.Answer{noAnswer(), declined("insufficient_money")}, isRejected + "insufficient_money"},
		"wait, then captured":     {[]mercadopago.Answer{wait(time.Second), captured()}, isCaptured},
		"wait, then refused":      {[]mercadopago.Answer{wait(time.Second), refused("invalid_payer_token")}, isRejected + "invalid_payer_token"},
		"not sent, then refused":  {[]mercadopago.Answer{unsent(), refused("invalid_payer_token")}, isRejected + "invalid_payer_token"},
		"parked":                  {[]mercadopago.Answer{parked()}, "parked idempotency_key_used"},
		"unknown, 13":             {[]mercadopago.Answer{noAnswer(), refused("invalid_payer_token")}, "parked error_after_unknown"},
		"unknown, 14":             {[]mercadopago.Answer{unavailable(), refused("invalid_payer_token")}, "parked error_after_unknown"},
		"unknown, 15":             {[]mercadopago.Answer{noAnswer(), refused("payer_not_found")}, "parked error_after_unknown"},
		"unknown, 16":             {[]mercadopago.Answer{noAnswer(), refused("payer_permission")}, "parked error_after_unknown"},
		"unknown, then duplicate": {[]mercadopago.Answer{noAnswer(), declined(duplicated)}, "parked error_after_unknown"},
		"unknown is not forgotten": {
			[]mercadopago.Answer{noAnswer(), wait(time.Second), unsent(), refused("payer_permission")}, "parked error_after_unknown",
		},
		"refused request":               {[]mercadopago.Answer{refusedRequest()}, "parked refused_request"},
		"unknown, then refused request": {[]mercadopago.Answer{noAnswer(), refusedRequest()}, "parked error_after_unknown"},
		"unknown, then parked":          {[]mercadopago.Answer{noAnswer(), parked()}, "parked idempotency_key_used"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(test.answers...)
				decision, err := newCapturer(a).Capture(t.Context(), newEvent(t), newLease(nil))
				if err != nil || ending(decision) != test.want {
					t.Errorf("got %q, %v; want %q", ending(decision), err, test.want)
				}
				if len(a.calls) != len(test.answers) {
					t.Errorf("%d calls, want %d", len(a.calls), len(test.answers))
				}
			})
		})
	}
}

// A second call must repeat the first one, or the API would take it for another
// charge.
func TestEveryCallIsTheSame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(noAnswer(), wait(time.Second), unavailable(), unsent(), captured())
		if _, err := newCapturer(a).Capture(t.Context(), newEvent(t), newLease(nil)); err != nil {
			t.Fatal(err)
		}
		want, err := mercadopago.NewRequest(newEvent(t))
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range a.calls {
			if c.request.Key != "event-1" || !bytes.Equal(c.request.Body, want.Body) || c.request.SessionID != "device-1" {
				t.Errorf("call %d: key %q, session %q, body\n%s\nwant\n%s", i+1, c.request.Key, c.request.SessionID, c.request.Body, want.Body)
			}
		}
	})
}

// A payment that exists is read, and not charged again.
func TestPoll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(pending(), pending(), unavailable(), captured())
		decision, err := newCapturer(a).Capture(t.Context(), newEvent(t), newLease(nil))
		if err != nil || decision.Outcome == nil || decision.Outcome.Type != event.TypeCaptured {
			t.Fatalf("got %+v, %v", decision, err)
		}
		for i, c := range a.calls {
			if want := []string{"", "payment-1", "payment-1", "payment-1"}[i]; c.pollID != want {
				t.Errorf("call %d reads %q, want %q", i+1, c.pollID, want)
			}
		}
	})
}

func TestPollThatNeverEndsIsParked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		decision, err := newCapturer(newAPI(pending())).Capture(t.Context(), newEvent(t), newLease(nil))
		if err != nil || ending(decision) != "parked undecided" {
			t.Errorf("got %q, %v", ending(decision), err)
		}
	})
}

// While the service is halted the event waits, and is decided when the halt has
// ended.
func TestHalt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(noAnswer(), halted(), halted(), captured())
		c, h := newCapturer(a), newLease(nil)
		decision, err := c.Capture(t.Context(), newEvent(t), h)
		if err != nil || ending(decision) != event.TypeCaptured+" " {
			t.Fatalf("got %q, %v", ending(decision), err)
		}
		if gaps := a.gaps(); gaps[1] != time.Second || gaps[2] != 2*time.Second {
			t.Errorf("called again after %s and %s, want 1s and 2s", gaps[1], gaps[2])
		}
		if health := c.Health(); !health.Passing() || health.Reason != "" {
			t.Errorf("afterwards: %+v", health)
		}
	})
}

func TestParkInfo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		a := newAPI(unavailable(), parked())
		a.takes = time.Second
		decision, err := newCapturer(a).Capture(t.Context(), newEvent(t), newLease(nil))
		if err != nil || decision.ParkInfo == nil {
			t.Fatalf("got %+v, %v", decision, err)
		}
		want := event.ParkInfo{
			Reason: event.ParkKeyUsed, Detail: "the key is used; no payment was found under its reference", FirstAttempt: began, Tries: 2,
			HTTPStatus: 422, RequestID: "request-1",
		}
		if *decision.ParkInfo != want {
			t.Errorf("got %+v, want %+v", *decision.ParkInfo, want)
		}
	})
}

func TestUnfitEventsAreParkedWithoutACall(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*event.ReadyToCapture)
		want   event.ParkReason // "": it is charged
	}{
		"another currency": {func(e *event.ReadyToCapture) { e.Amount = amount(t, "700.50", "ARS") }, event.ParkWrongCurrency},
		"too old":          {func(e *event.ReadyToCapture) { e.Time = e.Time.Add(-24*time.Hour - time.Second) }, event.ParkTooOld},
		"just not too old": {func(e *event.ReadyToCapture) { e.Time = e.Time.Add(-24 * time.Hour) }, ""},
		"in the future":    {func(e *event.ReadyToCapture) { e.Time = e.Time.Add(5*time.Minute + time.Second) }, event.ParkTimeInFuture},
		"clocks differ":    {func(e *event.ReadyToCapture) { e.Time = e.Time.Add(5 * time.Minute) }, ""},
		"no key":           {func(e *event.ReadyToCapture) { e.ID = "" }, event.ParkInvalidEvent},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(captured())
				e := newEvent(t)
				test.change(e)
				decision, err := newCapturer(a).Capture(t.Context(), e, newLease(nil))
				switch {
				case err != nil:
					t.Fatal(err)
				case test.want == "" && decision.Outcome == nil, test.want != "" && ending(decision) != "parked "+string(test.want):
					t.Errorf("got %q, want %q", ending(decision), test.want)
				case test.want != "" && len(a.calls) > 0:
					t.Errorf("%d calls, want none", len(a.calls))
				case test.want != "" && decision.ParkInfo.Detail == "":
					t.Error("the park info has no detail")
				}
			})
		})
	}
}

func amount(t *testing.T, text string, c money.Currency) money.Amount {
	t.Helper()
	a, err := money.Parse(text, c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
