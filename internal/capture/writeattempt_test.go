package capture_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/mercadopago"
	"payment-capture/internal/rules"
)

// The attempt is in the ledger before the first call.
func TestAttemptIsWrittenBeforeTheFirstCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newLease(nil)
		a := newAPI(noAnswer(), captured())
		a.during = func(context.Context, *api) {
			if len(h.attempts) != 1 {
				t.Errorf("call %d: %d attempts are written, want one", len(a.calls), len(h.attempts))
			}
		}
		e := newEvent(t)
		d, err := newCapturer(a, func(c *config) { c.Account = "main" }).Capture(t.Context(), e, h)
		if err != nil || ending(d) != isCaptured {
			t.Fatalf("got %q, %v", ending(d), err)
		}
		r, err := mercadopago.NewRequest(e)
		if err != nil {
			t.Fatal(err)
		}
		want := event.Attempt{
			First: a.began.Round(0), Event: e.Fingerprint(), Body: event.FingerprintOf(r.Body), Encoding: mercadopago.EncodingVersion,
			Account:   "main",
			Reference: "reference-1",
		}
		if got := h.attempts[0]; !got.First.Equal(want.First) || got.Event != want.Event || got.Body != want.Body ||
			got.Encoding != want.Encoding || got.Account != want.Account || got.Reference != want.Reference {
			t.Errorf("wrote %+v, want %+v", got, want)
		}
		if d.Attempt != h.attempts[0] || h.withdrawn != 0 {
			t.Errorf("decided with %+v after %d withdrawals", d.Attempt, h.withdrawn)
		}
	})
}

// An event whose turn is still to come has its attempt written, and is called for when the
// turn comes. An attempt that waits for long is withdrawn.
func TestAttemptAheadOfItsTurn(t *testing.T) {
	t.Parallel()
	for wait, want := range map[time.Duration][2]int{0: {1, 0}, time.Second: {1, 0}, time.Minute - 1: {1, 0}, time.Hour: {2, 1}} {
		synctest.Test(t, func(t *testing.T) {
			h := newEarlyLease(nil, wait)
			a := newAPI(captured())
			a.during = func(context.Context, *api) {
				if written := len(h.attempts) - h.withdrawn; written != 1 {
					t.Errorf("after %s there are %d attempts", wait, written)
				}
			}
			d, err := newCapturer(a).Capture(t.Context(), newEvent(t), h)
			if err != nil || ending(d) != isCaptured || a.calls[0].at != wait {
				t.Fatalf("after %s: got %q, %v, called at %v", wait, ending(d), err, a.calls)
			}
			if got := [2]int{len(h.attempts), h.withdrawn}; got != want || !h.attempts[0].First.Before(a.began.Add(time.Millisecond)) {
				t.Errorf("after %s: written and withdrawn %v times, want %v; first %v", wait, got, want, h.attempts[0].First)
			}
		})
	}
}

// An attempt that was written ahead of its turn and is not used is withdrawn: no call
// binds the event.
func TestAttemptAheadOfItsTurnIsNotUsed(t *testing.T) {
	t.Parallel()
	duplicate := knownOutcome(event.Outcome{Type: event.TypeCaptured, EventID: "first", PaymentID: "1", CapturedAt: time.Now()})
	for name, test := range map[string]struct {
		giveUp bool
		under  []event.Known
		want   string
	}{
		"a duplicate was captured": {under: []event.Known{duplicate}, want: "parked possible_duplicate"},
		"given up":                 {giveUp: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				giveUp := make(chan struct{})
				if test.giveUp {
					time.AfterFunc(time.Millisecond, func() { close(giveUp) })
				}
				h := newEarlyLease(giveUp, time.Second)
				h.under = test.under
				a := newAPI(captured())
				d, err := newCapturer(a, func(c *config) { c.Guard, c.DuplicateWindow = rules.GuardPayment, time.Hour }).
					Capture(t.Context(), newEvent(t), h)
				if len(a.calls) > 0 || len(h.attempts) != 1 || h.withdrawn != 1 {
					t.Errorf("%d calls, %d attempts, of which %d are withdrawn", len(a.calls), len(h.attempts), h.withdrawn)
				}
				switch {
				case test.giveUp:
					wantAbandoned(t, ending(d), err, nil)
				case err != nil || ending(d) != test.want || !d.Uncalled():
					t.Errorf("got %q, %v, uncalled: %t", ending(d), err, d.Uncalled())
				}
			})
		})
	}
}

// While the ledger does not accept the attempt, there are no calls, and /status says
// why.
func TestNoCallWithoutAnAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newLease(nil)
		h.refuse, h.refuseUntil = errors.New("not enough replicas"), time.Now().Add(10*time.Minute)
		a := newAPI(captured())
		d, err := newCapturer(a).Capture(t.Context(), newEvent(t), h)
		if err != nil || ending(d) != isCaptured || a.calls[0].at < 10*time.Minute {
			t.Errorf("got %q, %v, called after %s", ending(d), err, a.calls[0].at)
		}
		if !strings.Contains(strings.Join(h.waits, "\n"), "waits for the ledger to accept its attempt: not enough replicas") {
			t.Errorf("waits for: %q", h.waits)
		}
	})
}

// The attempt of a call that was refused before the API looked at the order is
// withdrawn, so that no event grows too old while a token is refused for days. It is
// written again before the next call.
func TestHarmlessAttemptsAreWithdrawn(t *testing.T) {
	t.Parallel()
	forbidden := halted()
	forbidden.Cause, forbidden.HTTPStatus = mercadopago.CauseAccount, 403
	for name, test := range map[string]struct {
		answers   []mercadopago.Answer
		withdrawn int
		written   int
	}{
		"not sent":                 {[]mercadopago.Answer{unsent(), captured()}, 1, 2},
		"401":                      {[]mercadopago.Answer{halted(), captured()}, 1, 2},
		"403":                      {[]mercadopago.Answer{forbidden, captured()}, 1, 2},
		"429, twice":               {[]mercadopago.Answer{wait(time.Second), wait(time.Second), captured()}, 2, 3},
		"unknown, then 429":        {[]mercadopago.Answer{noAnswer(), wait(time.Second), captured()}, 0, 1},
		"429, then unknown":        {[]mercadopago.Answer{wait(time.Second), noAnswer(), wait(time.Second), captured()}, 1, 2},
		"a payment, then not sent": {[]mercadopago.Answer{pending(), unsent(), captured()}, 0, 1},
		"unavailable":              {[]mercadopago.Answer{unavailable(), captured()}, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := newLease(nil)
				d, err := newCapturer(newAPI(test.answers...)).Capture(t.Context(), newEvent(t), h)
				if err != nil || ending(d) != isCaptured || h.withdrawn != test.withdrawn || len(h.attempts) != test.written {
					t.Errorf("got %q, %v with %d attempts and %d withdrawals, want %d and %d",
						ending(d), err, len(h.attempts), h.withdrawn, test.written, test.withdrawn)
				}
				if last := h.attempts[len(h.attempts)-1]; d.Attempt != last {
					t.Errorf("decided with %+v, wrote %+v last", d.Attempt, last)
				}
			})
		})
	}
}

// A token that is refused for longer than the key retention parks no event.
func TestHaltPastTheKeyRetention(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(halted())
		a.during = func(context.Context, *api) {
			if time.Since(a.began) >= 60*time.Hour {
				a.answers = []mercadopago.Answer{captured()}
			}
		}
		c := newCapturer(a, func(c *config) { c.KeyRetention, c.MaxEventAge = 24*time.Hour, 168*time.Hour })
		d, err := c.Capture(t.Context(), newEvent(t), newLease(nil))
		if err != nil || ending(d) != isCaptured {
			t.Errorf("got %q, %v", ending(d), err)
		}
	})
}

// An attempt without a call is withdrawn when the partition is handed over.
func TestAttemptWithoutACallIsWithdrawnAtAHandover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		giveUp := make(chan struct{})
		blocked := newAPI(captured())
		blocked.takes = time.Minute
		c := newCapturer(blocked, func(c *config) { c.MaxInFlight = 1 })
		go func() {
			if _, err := c.Capture(t.Context(), newEvent(t), newLease(nil)); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		time.AfterFunc(time.Second, func() { close(giveUp) })
		h := newLease(giveUp)
		second := newEvent(t)
		second.ID, second.OrderID = "event-2", "order-2"
		d, err := c.Capture(t.Context(), second, h)
		wantAbandoned(t, ending(d), err, nil)
		if len(h.attempts) != 1 || h.withdrawn != 1 {
			t.Errorf("%d attempts, %d withdrawals; want one of each", len(h.attempts), h.withdrawn)
		}
		<-time.After(time.Minute)
	})
}

// inherited returns an event of which an earlier owner wrote an attempt, and may
// have called.
func inherited(t *testing.T, age time.Duration) (*lease, *event.ReadyToCapture) {
	t.Helper()
	e := newEvent(t)
	r, err := mercadopago.NewRequest(e)
	if err != nil {
		t.Fatal(err)
	}
	h := newLease(nil)
	h.tried = &event.Attempt{
		First: time.Now().Add(-age), Event: e.Fingerprint(), Body: event.FingerprintOf(r.Body),
		Encoding: mercadopago.EncodingVersion,
	}
	return h, e
}

func TestInheritedAttempt(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		age      time.Duration
		change   func(*event.Attempt)
		answers  []mercadopago.Answer
		found    bool // the search finds its payment
		want     string
		calls    int
		searches int
	}{
		"young": {time.Minute, nil, []mercadopago.Answer{captured()}, false, isCaptured, 1, 0},
		"young, an error decides nothing": {
			time.Minute, nil,
			[]mercadopago.Answer{refused("payer_permission")},
			false,
			"parked error_after_unknown", 1, 6,
		},
		"over an hour, found":           {2 * time.Hour, nil, nil, true, isCaptured, 0, 1},
		"over an hour, not found":       {2 * time.Hour, nil, []mercadopago.Answer{captured()}, false, isCaptured, 1, 1},
		"past the retention, found":     {25 * time.Hour, nil, nil, true, isCaptured, 0, 1},
		"past the retention, not found": {25 * time.Hour, nil, nil, false, "parked key_expired", 0, 6},
		"in the future":                 {-time.Hour, nil, nil, false, "parked key_expired", 0, 6},
		"another body":                  {time.Minute, func(a *event.Attempt) { a.Body[0]++ }, nil, false, "parked tried_otherwise", 0, 6},
		"another body, found":           {time.Minute, func(a *event.Attempt) { a.Body[0]++ }, nil, true, isCaptured, 0, 1},
		"another layout": {
			time.Minute, func(a *event.Attempt) { a.Encoding++ }, nil, false, "parked tried_otherwise", 0,
			6,
		},
		"another account": {
			time.Minute, func(a *event.Attempt) { a.Account = "other" }, nil, false,
			"parked tried_otherwise", 0, 6,
		},
		"refused with certainty, then decided": {time.Minute, nil, []mercadopago.Answer{wait(time.Second), captured()}, false, isCaptured, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h, e := inherited(t, test.age)
				if test.change != nil {
					test.change(h.tried)
				}
				a := newAPI(test.answers...)
				if test.found {
					a.found = []mercadopago.Found{find(seen(captured(), "7", h.tried.First.Add(time.Second)))}
				}
				// The event itself may be old: it has an attempt, so its age does not matter.
				e.Time = h.tried.First.Add(-1000 * time.Hour)
				c := newCapturer(a, func(c *config) { c.KeyRetention = 24 * time.Hour })
				d, err := c.Capture(t.Context(), e, h)
				if err != nil || ending(d) != test.want || len(a.calls) != test.calls || len(a.searches) != test.searches {
					t.Errorf("got %q, %v after %d calls and %d searches; want %q after %d and %d",
						ending(d), err, len(a.calls), len(a.searches), test.want, test.calls, test.searches)
				}
				if h.withdrawn != 0 || (d != nil && !d.Attempt.First.Equal(h.tried.First)) {
					t.Errorf("withdrawn %d times; decided with a first attempt of %s, want %s", h.withdrawn, d.Attempt.First, h.tried.First)
				}
				for _, n := range h.attempts {
					if !n.First.Equal(h.tried.First) {
						t.Errorf("written again as of %s: the first attempt counts", n.First)
					}
				}
			})
		})
	}
}

func knownOutcome(o event.Outcome) event.Known {
	return event.Known{EventID: o.EventID, History: event.History{Decision: &event.Decision{Result: event.Result{Outcome: &o}}}}
}

// A payment that the ledger has for another event of the same reference does not
// decide this one.
func TestPaymentOfAnotherEventIsNotFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, e := inherited(t, 25*time.Hour)
		h.under = []event.Known{knownOutcome(event.Outcome{Type: event.TypeCaptured, EventID: "another", PaymentID: "7"})}
		a := newAPI()
		a.found = []mercadopago.Found{find(seen(captured(), "7", h.tried.First.Add(time.Second)))}
		d, err := newCapturer(a, func(c *config) { c.KeyRetention = 24 * time.Hour }).Capture(t.Context(), e, h)
		if err != nil || ending(d) != "parked key_expired" {
			t.Errorf("got %q, %v", ending(d), err)
		}
	})
}

func TestOncePerReference(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		guard rules.Guard
		paid  event.Outcome
		want  string
	}{
		"captured for another event": {
			rules.GuardReference,
			event.Outcome{Type: event.TypeCaptured, EventID: "first", PaymentID: "1"},
			"parked reference_already_captured",
		},
		"captured for the same payment": {
			rules.GuardPayment,
			event.Outcome{Type: event.TypeCaptured, EventID: "first", PaymentID: "1", CapturedAt: time.Now()},
			"parked possible_duplicate",
		},
		"rejected for another event": {
			rules.GuardReference,
			event.Outcome{Type: event.TypeRejected, EventID: "first", PaymentID: "1"},
			isCaptured,
		},
		"captured for the event itself": {
			rules.GuardReference,
			event.Outcome{Type: event.TypeCaptured, EventID: "event-1", PaymentID: "1"},
			isCaptured,
		},
		"captured, and once per event": {
			rules.GuardEvent,
			event.Outcome{Type: event.TypeCaptured, EventID: "first", PaymentID: "1"},
			isCaptured,
		},
		"captured for a reference of none": {rules.GuardReference, event.Outcome{}, isCaptured},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := newLease(nil)
				h.under = []event.Known{knownOutcome(test.paid)}
				a := newAPI(captured())
				d, err := newCapturer(a, func(c *config) { c.Guard, c.DuplicateWindow = test.guard, time.Hour }).Capture(t.Context(), newEvent(t), h)
				if err != nil || ending(d) != test.want {
					t.Fatalf("got %q, %v; want %q", ending(d), err, test.want)
				}
				if d.Parked() && (len(a.calls) != 0 || !strings.Contains(d.ParkInfo.Detail, "event first")) {
					t.Errorf("%d calls; %s", len(a.calls), d.ParkInfo.Detail)
				}
			})
		})
	}
}

// An operator who sends a parked event again has checked its age.
func TestResentEventsAreNotTooOld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, resent := range []bool{false, true} {
			e := newEvent(t)
			e.Time = time.Now().Add(-48 * time.Hour)
			h := newLease(nil)
			want := "parked too_old"
			if resent {
				h.resent = &event.ParkInfo{Reason: event.ParkTooOld}
				want = isCaptured
			}
			if d, err := newCapturer(newAPI(captured())).Capture(t.Context(), e, h); err != nil || ending(d) != want {
				t.Errorf("resent %t: got %q, %v; want %q", resent, ending(d), err, want)
			}
		}
	})
}
