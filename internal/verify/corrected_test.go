package verify_test

import (
	"testing"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/verify"
)

// TestCorrectedEvents: an event that was parked without a call and comes corrected
// under its id is no difference. What looks like it, and is none, is found.
func TestCorrectedEvents(t *testing.T) {
	t.Parallel()
	old := event.ParkInfo{Reason: event.ParkTooOld, Detail: "d"}
	at := noon.Add(time.Second)
	// park parks an event without a call, which superseded others.
	park := func(w *world, s sent, at time.Time, superseded ...event.Fingerprint) {
		w.park(s.record, old)
		w.decide("e1", event.Decision{
			Result: event.Result{ParkInfo: &old}, At: at, Attempt: event.AttemptOf(s.event), Content: s.event.Content(), Superseded: superseded,
		})
	}
	capture := func(w *world, s sent, superseded ...event.Fingerprint) {
		o := outcomeOf(s.event, event.TypeCaptured)
		w.publish(o)
		a := event.AttemptOf(s.event)
		a.First = noon
		w.decide("e1", event.Decision{Result: event.Result{Outcome: o}, At: at.Add(time.Second), Attempt: a, Superseded: superseded})
	}
	testFaults(t, map[string]fault{
		"captured, with another amount": {plant: func(w *world) {
			first := w.send(order{id: "e1", amount: "1.00"})
			park(w, first, at)
			capture(w, w.send(order{id: "e1"}), first.event.Content())
		}},
		"captured, the same order": {plant: func(w *world) {
			first := w.send(order{id: "e1", description: "Wrong"})
			park(w, first, at)
			capture(w, w.send(order{id: "e1"}), first.event.Content())
			w.send(order{id: "e1", description: "Wrong"}) // a copy: answered by nothing
		}},
		"parked again, then captured": {plant: func(w *world) {
			first, second := w.send(order{id: "e1", amount: "1.00"}), w.send(order{id: "e1", amount: "2.00"})
			park(w, first, at)
			park(w, second, at.Add(time.Millisecond), first.event.Content())
			capture(w, w.send(order{id: "e1"}), first.event.Content(), second.event.Content())
		}},
		"parked again": {plant: func(w *world) {
			first, second := w.send(order{id: "e1", amount: "1.00"}), w.send(order{id: "e1", description: "Other"})
			park(w, first, at)
			park(w, second, at.Add(time.Millisecond), first.event.Content())
		}},
		"captured, and another parked since": {plant: func(w *world) {
			first := w.send(order{id: "e1", amount: "1.00"})
			park(w, first, at)
			capture(w, w.send(order{id: "e1"}), first.event.Content())
			third := w.send(order{id: "e1", amount: "3.00"})
			w.park(third.record, event.ParkInfo{Reason: event.ParkConflicting, Detail: "d"})
		}, want: []want{{verify.ConflictingEvent, "e1"}}, in: []string{"3.00 MXN"}},
		"captured, and parked as it was captured": {plant: func(w *world) {
			first := w.send(order{id: "e1", description: "Wrong"})
			park(w, first, at)
			s := w.send(order{id: "e1"})
			capture(w, s, first.event.Content())
			w.park(s.record, old)
		}, want: []want{{verify.ParkedBesideOutcome, "e1"}}, in: []string{"it is parked (too_old) beside its outcome"}},
		"captured, and nothing was superseded": {plant: func(w *world) {
			park(w, w.send(order{id: "e1", amount: "1.00"}), at)
			capture(w, w.send(order{id: "e1"}))
		}, want: []want{{verify.ConflictingEvent, "e1"}}, in: []string{"1.00 MXN"}},
	})
}

// TestCorrectionUnderWay: the corrected event was not worked yet.
func TestCorrectionUnderWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(1)
	old := event.ParkInfo{Reason: event.ParkTooOld, Detail: "d"}
	s := w.send(order{id: "e1", amount: "1.00"})
	w.park(s.record, old)
	w.decide("e1", event.Decision{
		Result: event.Result{ParkInfo: &old}, At: noon.Add(time.Second), Attempt: event.AttemptOf(s.event), Content: s.event.Content(),
	})
	w.commit()
	w.send(order{id: "e1"})
	w.expect()
}
