package capture_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/mercadopago"
)

// seen returns an answer as a search has it: a payment created at a time.
func seen(a mercadopago.Answer, id string, created time.Time) mercadopago.Answer {
	p := *a.Payment
	p.ID, p.CreatedAt, p.UpdatedAt = id, created, created
	a.Payment, a.Read, a.HTTPStatus = &p, true, 200
	return a
}

func find(payments ...mercadopago.Answer) mercadopago.Found {
	return mercadopago.Found{Payments: payments, Searched: true, Calls: 2}
}

// A payment that a search finds decides only if it must be this event's.
func TestReconcile(t *testing.T) {
	t.Parallel()
	const undecided = "parked undecided"
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // that of a bubble
	failed := func(m mercadopago.Meaning, cause mercadopago.Cause) mercadopago.Found {
		failure := mercadopago.Answer{Meaning: m, Cause: cause, Certain: m == mercadopago.Halt, Detail: "the search broke", Read: true}
		return mercadopago.Found{Failed: &failure, Calls: 1}
	}
	for name, test := range map[string]struct {
		found    []mercadopago.Found
		want     string
		detail   string // contained in it, if parked
		searches int    // 0: any number
	}{
		"taken":            {[]mercadopago.Found{find(seen(captured(), "7", now))}, isCaptured, "", 1},
		"taken, seen late": {[]mercadopago.Found{find(), find(), find(seen(captured(), "7", now))}, isCaptured, "", 3},
		"declined": {
			[]mercadopago.Found{find(seen(declined("cc_rejected_high_risk"), "7", now))},
			event.TypeRejected + " cc_rejected_high_risk", "", 6,
		},
		"declined and taken": {[]mercadopago.Found{find(seen(declined("x"), "6", now), seen(captured(), "7", now))}, isCaptured, "", 1},
		"declined, then taken": {[]mercadopago.Found{
			find(seen(declined("x"), "6", now)), find(seen(declined("x"), "6", now), seen(captured(), "7", now)),
		}, isCaptured, "", 2},
		"taken twice": {
			[]mercadopago.Found{find(seen(captured(), "7", now), seen(captured(), "8", now))},
			"parked contradictory_answer",
			"7 approved, 8 approved", 1,
		},
		"nothing":       {[]mercadopago.Found{find()}, undecided, "no payment was found", 6},
		"taken before":  {[]mercadopago.Found{find(seen(captured(), "7", now.Add(-6*time.Second)))}, undecided, "none is of this event", 6},
		"clocks differ": {[]mercadopago.Found{find(seen(captured(), "7", now.Add(-4*time.Second)))}, isCaptured, "", 1},
		"no date":       {[]mercadopago.Found{find(seen(captured(), "7", time.Time{}))}, undecided, "none is of this event", 6},
		"no id":         {[]mercadopago.Found{find(seen(captured(), "", now))}, undecided, "none is of this event", 6},
		"of another":    {[]mercadopago.Found{find(seen(captured(), "of-another", now))}, undecided, "none is of this event", 6},
		"another payer": {[]mercadopago.Found{find(func() mercadopago.Answer {
			a := seen(captured(), "7", now)
			a.Payment.PayerID = "another-payer"
			return a
		}())}, undecided, "none is of this event", 6},
		"not final":  {[]mercadopago.Found{find(seen(pending(), "7", now))}, undecided, "does not decide", 6},
		"then final": {[]mercadopago.Found{find(seen(pending(), "7", now)), find(seen(captured(), "7", now))}, isCaptured, "", 2},
		"not offered": {
			[]mercadopago.Found{{Refused: []string{"HTTP 400"}, Calls: 3}},
			undecided, "does not offer to search: HTTP 400",
			6,
		},
		"only refusals":  {[]mercadopago.Found{failed(mercadopago.Halt, mercadopago.CauseAccount)}, undecided, "the search broke", 0},
		"useless":        {[]mercadopago.Found{failed(mercadopago.Park, mercadopago.CauseNone)}, undecided, "the search broke", 1},
		"fails for ever": {[]mercadopago.Found{failed(mercadopago.Wait, mercadopago.CauseRateLimit)}, undecided, "the search broke", 0},
		"breaks off after one": {[]mercadopago.Found{{
			Payments: find(seen(captured(), "7", now)).Payments,
			Failed:   failed(mercadopago.Retry, mercadopago.CauseNoAnswer).Failed,
		}, find(seen(captured(), "7", now))}, isCaptured, "", 2},
		"fails, then taken": {[]mercadopago.Found{
			failed(mercadopago.Retry, mercadopago.CauseNoAnswer), failed(mercadopago.Wait, mercadopago.CauseRateLimit),
			find(seen(captured(), "7", now)),
		}, isCaptured, "", 3},
		"token refused meanwhile": {[]mercadopago.Found{
			failed(mercadopago.Halt, mercadopago.CauseCredential), failed(mercadopago.Halt, mercadopago.CauseCredential),
			find(seen(captured(), "7", now)),
		}, isCaptured, "", 3},
		"single payments": {
			[]mercadopago.Found{{Searched: true, Inner: []string{"99 approved"}}},
			undecided,
			"single payments exist: 99 approved", 6,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				// An earlier event of the same payer has payment of-another.
				other := captured()
				other.Payment.ID, other.Payment.PayerID = "of-another", "payer-1"
				a := newAPI(other)
				c := newCapturer(a, func(c *config) { c.MaxTries = 1 })
				before := newEvent(t)
				before.ID = "event-0"
				if _, err := c.Capture(t.Context(), before, newLease(nil)); err != nil {
					t.Fatal(err)
				}
				a.answers, a.found = []mercadopago.Answer{other, noAnswer()}, test.found
				decision, err := c.Capture(t.Context(), newEvent(t), newLease(nil))
				if err != nil || ending(decision) != test.want {
					t.Fatalf("got %q, %v; want %q; %+v", ending(decision), err, test.want, decision.ParkInfo)
				}
				if p := decision.ParkInfo; p != nil && (!strings.Contains(p.Detail, test.detail) || p.Tries != 1) {
					t.Errorf("parked after %d tries: %s", p.Tries, p.Detail)
				}
				if o := decision.Outcome; o != nil && test.want == isCaptured && (o.PaymentID != "7" || o.ProviderReplayed) {
					t.Errorf("outcome %+v", o)
				}
				if test.searches > 0 && len(a.searches) != test.searches {
					t.Errorf("%d searches, want %d", len(a.searches), test.searches)
				}
				if len(a.calls) != 2 {
					t.Errorf("%d charges, want one for each event", len(a.calls))
				}
			})
		})
	}
}

// The searches are spread over ReconcileFor.
func TestSearchesAreSpread(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(noAnswer())
		c := newCapturer(a, func(c *config) { c.MaxTries = 1; c.ReconcileFor = 16 * time.Minute })
		if _, err := c.Capture(t.Context(), newEvent(t), newLease(nil)); err != nil {
			t.Fatal(err)
		}
		for i, want := range []time.Duration{0, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute} {
			if a.searches[i] != want {
				t.Errorf("search %d after %s, want %s", i+1, a.searches[i], want)
			}
		}
	})
}

// A lookup ends at once when the partition is handed over.
func TestGiveUpWhileReconciling(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		giveUp := make(chan struct{})
		a := newAPI(noAnswer())
		time.AfterFunc(time.Minute, func() { close(giveUp) })
		decision, err := newCapturer(a, func(c *config) { c.MaxTries = 1 }).Capture(t.Context(), newEvent(t), newLease(giveUp))
		wantAbandoned(t, ending(decision), err, nil)
		if took := time.Since(a.began); took != time.Minute {
			t.Errorf("took %s, want a minute", took)
		}
	})
}

// An event that grew too old is looked up before it is parked, if it may have been
// charged.
func TestTooOldIsLookedUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(noAnswer(), busyFor(61*time.Minute))
		a.found = []mercadopago.Found{find(seen(captured(), "7", time.Now().Add(time.Second)))}
		c := newCapturer(a, func(c *config) { c.KeyRetention = time.Hour })
		decision, err := c.Capture(t.Context(), newEvent(t), newLease(nil))
		if err != nil || ending(decision) != isCaptured || len(a.calls) != 2 {
			t.Errorf("got %q, %v after %d calls", ending(decision), err, len(a.calls))
		}
	})
}

// The key retention counts from the first call, by either clock.
func TestKeyRetention(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(busyFor(10 * time.Minute))
		c := newCapturer(a, func(c *config) { c.KeyRetention, c.MaxEventAge = time.Hour, 0 })
		decision, err := c.Capture(t.Context(), newEvent(t), newLease(nil))
		if err != nil || ending(decision) != "parked key_expired" || !strings.Contains(decision.ParkInfo.Detail, "IDEMPOTENCY_KEY_HORIZON") {
			t.Fatalf("got %q, %v: %+v", ending(decision), err, decision.ParkInfo)
		}
		if last := a.calls[len(a.calls)-1].at; last > time.Hour {
			t.Errorf("called %s after the first call", last)
		}
	})
}

// An event that grew too old while it waited for its first call is parked
// without one, and without a search.
func TestTooOldBeforeItsFirstCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(captured())
		h := newLease(nil)
		h.stale.Store(true)
		time.AfterFunc(2*time.Hour, func() { h.stale.Store(false) })
		c := newCapturer(a, func(c *config) { c.MaxEventAge = time.Hour })
		decision, err := c.Capture(context.WithoutCancel(t.Context()), newEvent(t), h)
		if err != nil || ending(decision) != "parked too_old" || len(a.calls)+len(a.searches) != 0 {
			t.Errorf("got %q, %v, after %d calls and %d searches", ending(decision), err, len(a.calls), len(a.searches))
		}
	})
}

// A payment that was read without a known status is looked up, because the guide's
// own sample of a read has no status.
func TestUnknownStatusOfARead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		nothing := mercadopago.Answer{
			Meaning: mercadopago.Park, Cause: mercadopago.CauseUnknownStatus, ParkReason: event.ParkUnexpectedStatus, Payment: payment(),
			HTTPStatus: 200, Sent: true,
		}
		a := newAPI(pending(), nothing)
		a.found = []mercadopago.Found{find(seen(captured(), "7", now))}
		if decision, err := newCapturer(a).Capture(t.Context(), newEvent(t), newLease(nil)); err != nil || ending(decision) != isCaptured {
			t.Errorf("got %q, %v", ending(decision), err)
		}
		a = newAPI(pending(), nothing)
		if decision, err := newCapturer(a).Capture(t.Context(), newEvent(t), newLease(nil)); err != nil ||
			ending(decision) != "parked unexpected_status" {
			t.Errorf("nothing found: got %q, %v", ending(decision), err)
		}
	})
}
