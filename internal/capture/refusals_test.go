package capture_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/mercadopago"
)

func refusedRequest() mercadopago.Answer {
	return mercadopago.Answer{
		Meaning: mercadopago.Park, Cause: mercadopago.CauseRequest, ParkReason: event.ParkRefusedRequest, Detail: "HTTP 400", HTTPStatus: 400,
		Sent: true,
	}
}

// Refusals of two kinds in turn count for each kind, and decide no event.
func TestRefusalsOfTwoKinds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const run, fixed = 20, time.Hour
		var n atomic.Int32
		a := newCrowdAPI(time.Second, func(_ string, at time.Duration) mercadopago.Answer {
			switch {
			case at >= fixed:
				return captured()
			case n.Add(1)%2 == 0:
				return refused("invalid_payer_token")
			}
			return refusedRequest()
		})
		got := count(crowd(t, newCapturer(a, func(c *config) { c.RefusalRun = run }), 300))
		if got[isCaptured] != 300 {
			t.Errorf("ended: %v; want all captured", got)
		}
	})
}

// An outage during a halt for refused payers does not drop the evidence: no event is
// rejected.
func TestOutageDuringARefusalHalt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const run, fixed = 20, 6 * time.Hour
		a := newCrowdAPI(time.Second, func(_ string, at time.Duration) mercadopago.Answer {
			switch {
			case at >= fixed:
				return captured()
			case at%(2*time.Hour) > time.Hour:
				return unsent()
			}
			return refused("invalid_payer_token")
		})
		got := count(crowd(t, newCapturer(a, func(c *config) { c.RefusalRun = run }), 200))
		if got[isCaptured] != 200 {
			t.Errorf("ended: %v; want all captured", got)
		}
	})
}

// Answers that contradict the request halt after five orders: each may have
// taken money wrongly. Then there is one probe in five minutes.
func TestContradictionsHalt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const fixed = time.Hour
		a := newCrowdAPI(time.Second, func(_ string, at time.Duration) mercadopago.Answer {
			if at >= fixed {
				return captured()
			}
			answer := captured()
			answer.Meaning, answer.Cause, answer.ParkReason = mercadopago.Park, mercadopago.CauseContradiction, event.ParkContradictory
			return answer
		})
		c := newCapturer(a, func(c *config) { c.RefusalRun, c.MaxInFlight = 20, 1 })
		time.AfterFunc(30*time.Minute, func() {
			if h := c.Health(); h.Cause != "answers_contradict" || !strings.Contains(h.Reason, "CURRENCY") {
				t.Errorf("after half an hour: %+v", h)
			}
		})
		got := count(crowd(t, c, 100))
		if got["parked contradictory_answer"] != 4 || got[isCaptured] != 96 {
			t.Errorf("ended: %v", got)
		}
		if n := len(a.between(0, fixed)); n > 5+60/5 {
			t.Errorf("%d calls in an hour of contradictions", n)
		}
	})
}

// Searches that always fail end, and do not stop other events.
func TestBrokenSearch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newCrowdAPI(time.Second, func(string, time.Duration) mercadopago.Answer { return busy() })
		a.search = func(time.Duration) mercadopago.Found {
			return mercadopago.Found{Calls: 1, Failed: &mercadopago.Answer{
				Meaning: mercadopago.Retry, Cause: mercadopago.CauseUnreadable, Detail: "a page without paging", HTTPStatus: 200, Read: true,
				Sent: true,
			}}
		}
		c := newCapturer(a, func(c *config) { c.MaxTries, c.MaxInFlight = 2, 64 })
		if got := count(crowd(t, c, 40)); got["parked undecided"] != 40 {
			t.Errorf("ended: %v", got)
		}
		if a.searches > 40*100 || !c.Health().Passing() {
			t.Errorf("%d searches; afterwards %+v", a.searches, c.Health())
		}
	})
}

func TestSearchObeysRetryAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(noAnswer())
		a.found = []mercadopago.Found{
			{Calls: 1, Failed: &mercadopago.Answer{
				Meaning: mercadopago.Wait, Cause: mercadopago.CauseRateLimit, HTTPStatus: 429,
				RetryAfter: 5 * time.Minute, Read: true, Sent: true,
			}},
			find(),
		}
		if _, err := newCapturer(a, func(c *config) { c.MaxTries = 1 }).Capture(t.Context(), newEvent(t), newLease(nil)); err != nil {
			t.Fatal(err)
		}
		if gap := a.searches[1] - a.searches[0]; gap < 5*time.Minute || gap > 5*time.Minute+time.Second {
			t.Errorf("searched again after %s, want 5m", gap)
		}
	})
}

// A payment belongs to one event: the second one that reports it is parked.
func TestOnePaymentOfTwoEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(captured(), captured(), captured())
		c := newCapturer(a)
		var ends []string
		for _, id := range []string{"event-1", "event-2", "event-1"} {
			e := newEvent(t)
			e.ID = id
			decision, err := c.Capture(t.Context(), e, newLease(nil))
			if err != nil {
				t.Fatal(err)
			}
			ends = append(ends, ending(decision))
		}
		if ends[0] != isCaptured || ends[1] != "parked contradictory_answer" || ends[2] != isCaptured {
			t.Errorf("ended: %q", ends)
		}
	})
}

// Events that grew too old in an outage do not probe instead of those that can be
// charged.
func TestOverdueEventsAndProbes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const outage = 2 * time.Hour
		a := newCrowdAPI(time.Second, func(_ string, at time.Duration) mercadopago.Answer {
			if at < outage {
				return unavailable()
			}
			return captured()
		})
		c := newCapturer(a, func(c *config) { c.MaxEventAge, c.KeyRetention, c.MaxInFlight = time.Hour, time.Hour, 64 })
		old := make(chan map[string]string)
		go func() { old <- crowd(t, c, 200) }()
		<-time.After(outage - time.Minute)
		e := newEvent(t)
		e.ID, e.OrderID = "fresh", "fresh"
		if v, err := c.Capture(t.Context(), e, newLease(nil)); err != nil || ending(v) != isCaptured {
			t.Errorf("the fresh one: %s, %v", ending(v), err)
		}
		if late := time.Since(a.began) - outage; late > time.Minute {
			t.Errorf("the fresh one was captured %s after the outage", late)
		}
		// An event with a call may have been charged, which is another reason.
		if got := count(<-old); got["parked too_old"]+got["parked key_expired"] != 200 {
			t.Errorf("the old ones ended: %v", got)
		}
	})
}
