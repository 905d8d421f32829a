package capture_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/mercadopago"
	"payment-capture/internal/rules"
)

// competingLease is a lease with another content of the ledger at each read; the
// last one repeats.
type competingLease struct {
	*lease
	known [][]event.Known
	asked int
}

func (h *competingLease) Under(context.Context, event.Charge) ([]event.Known, error) {
	h.asked++
	return h.known[min(h.asked, len(h.known))-1], nil
}

// bubble is the time at which a bubble begins.
var bubble = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// The events beside event-1 under its reference.

func openCompeting() event.Known {
	return event.Known{EventID: "competing-1", History: event.History{Attempt: &event.Attempt{First: bubble, Reference: "reference-1"}}}
}

func parkedCompeting(tried event.Attempt) event.Known {
	return event.Known{EventID: "competing-1", History: event.History{
		Decision: &event.Decision{Result: event.Result{ParkInfo: &event.ParkInfo{}}, Attempt: tried},
	}}
}

func decidedCompeting(outcomeType, paymentID string) event.Known {
	return event.Known{EventID: "competing-1", History: event.History{Decision: &event.Decision{
		Result: event.Result{Outcome: &event.Outcome{
			Type: outcomeType, EventID: "competing-1", PaymentID: paymentID,
			ExternalReference: "reference-1",
		}},
		Attempt: event.Attempt{First: bubble, Reference: "reference-1"},
	}}}
}

// A payment that is found by the reference may be of any event under it that has an
// attempt without a decision.
func TestPaymentOfACompetingAttempt(t *testing.T) {
	t.Parallel()
	const (
		undecided = "parked undecided"
		mayBe     = "which may be of event competing-1 as well"
	)
	triedAfter := func(d time.Duration) event.Known {
		k := openCompeting()
		k.Attempt.First = bubble.Add(d)
		return k
	}
	own := openCompeting()
	own.EventID = "event-1"
	tried := event.Attempt{First: bubble, Reference: "reference-1"}
	taken := func(ids ...string) mercadopago.Found {
		var payments []mercadopago.Answer
		for _, id := range ids {
			payments = append(payments, seen(captured(), id, bubble))
		}
		return find(payments...)
	}
	refusal := find(seen(declined("cc_rejected_high_risk"), "7", bubble))
	for name, test := range map[string]struct {
		found    mercadopago.Found
		known    [][]event.Known
		want     string
		detail   string // in it, where parked
		searches int
	}{
		"the event's own attempt": {taken("7"), [][]event.Known{{own}}, isCaptured, "", 1},
		"tried": {
			taken("7"),
			[][]event.Known{{own, openCompeting()}},
			undecided, "payment 7 approved was found, " + mayBe,
			6,
		},
		"tried, a declined payment": {refusal, [][]event.Known{{openCompeting()}}, undecided, "payment 7 rejected was found, " + mayBe, 6},
		"tried, two payments": {
			taken("7", "8"),
			[][]event.Known{{openCompeting()}},
			undecided,
			"payment 7 approved, 8 approved was found, " + mayBe, 6,
		},
		"tried later":                {taken("7"), [][]event.Known{{triedAfter(event.ClockTolerance + time.Second)}}, isCaptured, "", 1},
		"tried later, clocks differ": {taken("7"), [][]event.Known{{triedAfter(event.ClockTolerance - time.Second)}}, undecided, mayBe, 6},
		"parked after a call":        {taken("7"), [][]event.Known{{parkedCompeting(tried)}}, undecided, mayBe, 6},
		"parked without a call": {
			taken("7"),
			[][]event.Known{{parkedCompeting(event.Attempt{Reference: "reference-1"})}},
			isCaptured, "",
			1,
		},
		"rejected without a payment":  {taken("7"), [][]event.Known{{decidedCompeting(event.TypeRejected, "")}}, isCaptured, "", 1},
		"captured by another payment": {taken("7"), [][]event.Known{{decidedCompeting(event.TypeCaptured, "6")}}, isCaptured, "", 1},
		"captured by that payment": {
			taken("7"),
			[][]event.Known{{decidedCompeting(event.TypeCaptured, "7")}},
			undecided,
			"none is of this event", 6,
		},
		"captured meanwhile by that payment": {
			taken("7"),
			[][]event.Known{{openCompeting()}, {openCompeting()}, {decidedCompeting(event.TypeCaptured, "7")}},
			undecided,
			"none is of this event", 6,
		},
		"rejected meanwhile": {
			taken("7"),
			[][]event.Known{{openCompeting()}, {openCompeting()}, {decidedCompeting(event.TypeRejected, "")}},
			isCaptured, "", 3,
		},
		"withdrawn meanwhile": {taken("7"), [][]event.Known{{openCompeting()}, nil}, isCaptured, "", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := &competingLease{lease: newLease(nil), known: test.known}
				a := newAPI(noAnswer())
				a.found = []mercadopago.Found{test.found}
				d, err := newCapturer(a, func(c *config) { c.MaxTries = 1 }).Capture(t.Context(), newEvent(t), h)
				if err != nil || ending(d) != test.want || len(a.searches) != test.searches {
					t.Fatalf("got %q, %v after %d searches; want %q after %d; %+v", ending(d), err, len(a.searches), test.want, test.searches, d)
				}
				if d.Parked() && !strings.Contains(d.ParkInfo.Detail, test.detail) {
					t.Errorf("parked: %s", d.ParkInfo.Detail)
				}
			})
		})
	}
}

// Another instance may have written a competing attempt, and charged for it, a moment
// ago: the ledger is read up to its end after the search was answered.
func TestCompetingAttemptThatWasNotReadYet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newLease(nil)
		h.notSeen = []event.Known{openCompeting()}
		a := newAPI(noAnswer())
		a.found = []mercadopago.Found{find(seen(captured(), "7", time.Now()))}
		c := newCapturer(a, func(c *config) { c.MaxTries, c.Guard = 1, rules.GuardReference })
		d, err := c.Capture(t.Context(), newEvent(t), h)
		if err != nil || ending(d) != "parked undecided" || !strings.Contains(d.ParkInfo.Detail, "event competing-1") {
			t.Errorf("got %q, %v: %+v", ending(d), err, d)
		}
		if h.caughtUp != len(a.searches) {
			t.Errorf("the ledger was read up to its end %d times for %d searches", h.caughtUp, len(a.searches))
		}
	})
}

// Calls do not wait for the ledger's end, nor does a search that finds nothing.
func TestOnlyAttributionWaitsForTheLedger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newLease(nil)
		c := newCapturer(newAPI(noAnswer()), func(c *config) { c.MaxTries, c.Guard = 1, rules.GuardReference })
		if d, err := c.Capture(t.Context(), newEvent(t), h); err != nil || ending(d) != "parked undecided" || h.caughtUp != 0 {
			t.Errorf("got %q, %v; waited %d times", ending(d), err, h.caughtUp)
		}
	})
}

// An old attempt whose payment may be of a competing attempt is called for under its
// key, which shows whose it is.
func TestOldAttemptWithACompetingOneIsRetried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		own, e := inherited(t, 2*time.Hour)
		h := &competingLease{lease: own, known: [][]event.Known{{openCompeting()}}}
		h.known[0][0].Attempt.First = h.tried.First
		a := newAPI(captured())
		a.found = []mercadopago.Found{find(seen(captured(), "7", h.tried.First.Add(time.Second)))}
		d, err := newCapturer(a, func(c *config) { c.KeyRetention = 24 * time.Hour }).Capture(t.Context(), e, h)
		if err != nil || ending(d) != isCaptured || d.Outcome.PaymentID != "payment-1" || len(a.calls) != 1 || len(a.searches) != 1 {
			t.Errorf("got %q, %v after %d calls and %d searches: %+v", ending(d), err, len(a.calls), len(a.searches), d)
		}
	})
}
