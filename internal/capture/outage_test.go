package capture_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/limiter"
	"payment-capture/internal/mercadopago"
)

// During an outage no event is parked or lost, and a few calls a minute probe whether
// it is over. The events that waited stay within the rate limit.
func TestOutage(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer mercadopago.Answer
		takes  time.Duration
	}{
		"refuses connections": {unsent(), 0},
		"hangs":               {noAnswer(), 30 * time.Second},
		"answers 503":         {unavailable(), 50 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const outage, rate, events = 30 * time.Minute, 5, 120
				a := newCrowdAPI(test.takes, func(_ string, at time.Duration) mercadopago.Answer {
					if at < outage {
						return test.answer
					}
					return captured()
				})
				c := newCapturer(a, func(conf *config) { conf.RateLimit = rate; conf.MaxInFlight = 32; conf.MaxTries = 30 })
				if got := count(crowd(t, c, events)); got[isCaptured] != events {
					t.Errorf("ended: %v", got)
				}
				if n := len(a.between(5*time.Minute, outage)); n > 25*60/4 || n < 25*60/45 {
					t.Errorf("%d calls in 25 minutes of outage", n)
				}
				for _, c := range a.calls {
					if n := len(a.between(c.at, c.at+time.Second)); n > rate+1 {
						t.Fatalf("%d calls in the second from %s on, the limit is %d", n, c.at, rate)
					}
				}
				if state := c.Health(); !state.Passing() || state.Calls != 0 || state.Waiting != 0 {
					t.Errorf("afterwards: %+v", state)
				}
			})
		})
	}
}

// An event that always fails does not keep the circuit open for the others, nor do
// they keep it from being parked.
func TestPoisonedEvent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newCrowdAPI(time.Second, func(key string, _ time.Duration) mercadopago.Answer {
			if key == "event-0" {
				return unavailable()
			}
			return captured()
		})
		c := newCapturer(a)
		// Alone, it opens the circuit, and waits.
		alone := make(chan map[string]string)
		go func() { alone <- crowd(t, c, 1) }()
		<-time.After(time.Hour)
		if h := c.Health(); h.Passing() || h.Reason == "" || c.Blocked() == "" {
			t.Errorf("after an hour of failures alone: %+v", h)
		}
		for range 400 {
			e := newEvent(t)
			e.ID, e.OrderID = "other", "other"
			if v, err := c.Capture(t.Context(), e, newLease(nil)); err != nil || ending(v) != isCaptured {
				t.Fatalf("another: %s, %v", ending(v), err)
			}
			<-time.After(5 * time.Second)
		}
		select {
		case got := <-alone:
			if got["event-0"] != "parked undecided" {
				t.Errorf("the poisoned event ended as %v", got)
			}
		default:
			t.Error("the poisoned event has no decision half an hour after others came")
		}
	})
}

// While halted, single calls probe, each for another event, and the service recovers
// by itself: no event is rejected or parked for a credential of ours.
func TestHaltIsProbedAndRecovers(t *testing.T) {
	t.Parallel()
	for name, changes := range map[string]bool{"the token changes": true, "it is fixed at the API": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const fixed, events = 3 * time.Hour, 40
				a := newCrowdAPI(time.Second, func(_ string, at time.Duration) mercadopago.Answer {
					if at < fixed {
						return halted()
					}
					return captured()
				})
				began := time.Now()
				c := newCapturer(a, func(conf *config) {
					conf.MaxTries = 3
					conf.Credential = func() uint64 {
						if changes && time.Since(began) >= fixed {
							return 1
						}
						return 0
					}
				})
				seen := make(chan limiter.Health, 1)
				time.AfterFunc(time.Minute, func() { seen <- c.Health() })
				if got := count(crowd(t, c, events)); got[isCaptured] != events {
					t.Errorf("ended: %v", got)
				}
				if first := <-seen; first.State != "halted" || first.Cause != "credential" || first.Reason != halted().Reason ||
					first.RequestID != "request-1" {
					t.Errorf("a minute after: %+v", first)
				}
				probes := a.between(time.Minute, fixed)
				if n := len(probes); n > 3*60*2+10 || n < 3*60 {
					t.Errorf("%d calls in three hours of halt", n)
				}
				for i := range len(probes) - events {
					asked := make(map[string]bool)
					for _, p := range probes[i : i+events] {
						asked[p.request.Key] = true
					}
					if len(asked) != events {
						t.Fatalf("%d consecutive probes were for %d events", events, len(asked))
					}
				}
				within := 32 * time.Second
				if changes {
					within = 2 * time.Second
				}
				if len(a.between(fixed, fixed+within)) == 0 {
					t.Errorf("the fix was not noticed within %s", within)
				}
			})
		})
	}
}

// Answers of an outage or of the edge's rate limit do not end a halt.
func TestHaltOutlastsOutages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(halted(), noAnswer(), unsent(), wait(0), unavailable(), halted(), captured())
		c, h := newCapturer(a), newLease(nil)
		states := make(map[string]bool)
		a.during = func(context.Context, *api) {
			if len(a.calls) > 1 {
				states[c.Health().State] = true
			}
		}
		decision, err := c.Capture(t.Context(), newEvent(t), h)
		if err != nil || ending(decision) != isCaptured {
			t.Fatalf("got %q, %v", ending(decision), err)
		}
		if len(states) != 1 || !states["halted"] {
			t.Errorf("states while it was probed: %v", states)
		}
	})
}

// An event for which the API always fails does not keep the service halted if
// no other event is there to probe with.
func TestHaltWithAPoisonedEvent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(halted(), unavailable())
		c := newCapturer(a, func(conf *config) { conf.MaxTries = 5 })
		decision, err := c.Capture(t.Context(), newEvent(t), newLease(nil))
		if err != nil || ending(decision) != "parked undecided" || len(a.calls) != 1+5+5 {
			t.Errorf("got %q, %v after %d calls", ending(decision), err, len(a.calls))
		}
	})
}

// No call is made while the lease is not current, not even a second one.
func TestLeaseNotCurrent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, h := newAPI(noAnswer(), captured()), newLease(nil)
		h.stale.Store(true)
		time.AfterFunc(time.Hour, func() { h.stale.Store(false) })
		a.during = func(context.Context, *api) {
			if len(a.calls) == 1 {
				h.stale.Store(true)
				time.AfterFunc(2*time.Hour, func() { h.stale.Store(false) })
			}
		}
		decision, err := newCapturer(a).Capture(t.Context(), newEvent(t), h)
		if err != nil || ending(decision) != isCaptured {
			t.Fatalf("got %q, %v", ending(decision), err)
		}
		if a.calls[0].at < time.Hour || a.calls[0].at > time.Hour+time.Second || a.gaps()[0] < 2*time.Hour {
			t.Errorf("calls at %s and %s after", a.calls[0].at, a.gaps()[0])
		}
	})
}

// Only 429 and 503 lower the number of calls at once, and success raises it again.
func TestCallLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c *capturer
		var mu sync.Mutex
		lowest := 64
		a := newCrowdAPI(100*time.Millisecond, func(_ string, at time.Duration) mercadopago.Answer {
			mu.Lock()
			defer mu.Unlock()
			lowest = min(lowest, c.Health().CallLimit)
			if at > time.Minute && at < 2*time.Minute {
				return wait(0)
			}
			return captured()
		})
		c = newCapturer(a, func(conf *config) { conf.MaxInFlight = 64 })
		crowd(t, c, 500)
		if a.mostInFlight != 64 || c.Health().CallLimit != 64 {
			t.Errorf("at most %d calls at once, limit %d; want 64", a.mostInFlight, c.Health().CallLimit)
		}
		<-time.After(time.Until(a.began.Add(time.Minute + time.Second)))
		crowd(t, c, 100)
		if lowest > 4 {
			t.Errorf("the limit was never under %d while the API asked to wait", lowest)
		}
		a.takes = 20 * time.Second // slow is not a reason
		for range 30 {
			crowd(t, c, 200)
		}
		if got := c.Health().CallLimit; got != 64 {
			t.Errorf("the limit is %d after all calls succeeded again, want 64", got)
		}
	})
}

// Consecutive refusals of different payers, or requests, are a misconfiguration: they
// halt the service instead of rejecting or parking every event. Refusals between
// payments are the buyers'.
func TestConsecutiveRefusals(t *testing.T) {
	t.Parallel()
	badRequest := mercadopago.Answer{
		Meaning: mercadopago.Park, Cause: mercadopago.CauseRequest, ParkReason: event.ParkRefusedRequest, Detail: "HTTP 400", HTTPStatus: 400,
		Sent: true,
	}
	for name, test := range map[string]struct {
		refusal    mercadopago.Answer
		cause, end string
	}{
		"payers":   {refused("invalid_payer_token"), "payers_refused", event.TypeRejected + " invalid_payer_token"},
		"requests": {badRequest, "requests_refused", "parked refused_request"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const events, run, fixed = 200, 20, 30 * time.Minute
				a := newCrowdAPI(time.Second, func(_ string, at time.Duration) mercadopago.Answer {
					if at < fixed {
						return test.refusal
					}
					return captured()
				})
				c := newCapturer(a, func(conf *config) { conf.RefusalRun = run })
				time.AfterFunc(10*time.Minute, func() {
					if h := c.Health(); h.State != "halted" || h.Cause != test.cause {
						t.Errorf("after ten minutes: %+v", h)
					}
				})
				got := count(crowd(t, c, events))
				if got[isCaptured] != events {
					t.Errorf("ended: %v; want all captured", got)
				}
			})
			synctest.Test(t, func(t *testing.T) {
				n := 0
				a := newCrowdAPI(time.Second, func(string, time.Duration) mercadopago.Answer {
					if n++; n%19 == 0 {
						return declined("insufficient_money") // a payment, though not taken
					}
					return test.refusal
				})
				c := newCapturer(a, func(conf *config) { conf.RefusalRun = 20; conf.MaxInFlight = 1 })
				if got := count(crowd(t, c, 190)); got[test.end] != 180 {
					t.Errorf("with a payment among each 19: %v", got)
				}
			})
		})
	}
}

// Refusals of the same payer, or the same order, do not halt.
func TestRefusalsOfOnePayer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(refused("invalid_payer_token"))
		c := newCapturer(a, func(conf *config) { conf.RefusalRun = 3 })
		for i := range 10 {
			e := newEvent(t)
			e.ID = fmt.Sprintf("event-%d", i)
			if v, err := c.Capture(t.Context(), e, newLease(nil)); err != nil || v.Outcome == nil {
				t.Fatalf("got %q, %v", ending(v), err)
			}
		}
	})
}

// An event that is given up while it waits for a permit leaves at once.
func TestGiveUpWhileWaitingForAPermit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newCrowdAPI(time.Second, func(_ string, at time.Duration) mercadopago.Answer {
			if at < time.Hour {
				return halted()
			}
			return captured()
		})
		c := newCapturer(a, func(conf *config) { conf.RateLimit = 1 })
		giveUp := make(chan struct{})
		var waiting sync.WaitGroup
		for i := range 30 {
			e := newEvent(t)
			e.ID = fmt.Sprintf("given-up-%d", i)
			waiting.Go(func() {
				decision, err := c.Capture(t.Context(), e, newLease(giveUp))
				wantAbandoned(t, ending(decision), err, nil)
			})
		}
		began := time.Now()
		time.AfterFunc(30*time.Minute+500*time.Millisecond, func() { close(giveUp) })
		waiting.Wait()
		if took := time.Since(began); took > 30*time.Minute+2*time.Second {
			t.Errorf("given up after %s", took)
		}
		if got := count(crowd(t, c, 10)); got[isCaptured] != 10 {
			t.Errorf("ended: %v", got)
		}
	})
}
