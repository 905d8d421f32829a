//go:build synctests

package acceptance

import (
	"strings"
	"testing"
	"time"
)

// TestDiesBehindAnotherEvent kills an instance between its attempt on an event and the
// call, while another event of the order waits for it on the other instance.
func TestDiesBehindAnotherEvent(t *testing.T) {
	t.Parallel()
	virtually(t, 2, func(w *world) {
		w.dyingBehind(order{id: "e1", order: "o1"}, order{id: "again", order: "o1"})
		w.patience = time.Hour
		captured, parked := 0, 0
		for _, v := range w.awaitDecisions() {
			switch v.kind {
			case "captured":
				captured++
			case "parked":
				parked++
			}
		}
		if captured != 2 || parked != 1 {
			t.Errorf("%d captured and %d parked, want 2 and 1", captured, parked)
		}
		w.chargedOnce("o1")
	})
}

// TestAttemptOfAVanishedPartition kills an instance between its attempt on an event and the
// call, and recreates the input with fewer partitions. Nobody resumes the attempt: another
// event of the order is parked, and the event itself is charged, after a bounded wait.
func TestAttemptOfAVanishedPartition(t *testing.T) {
	t.Parallel()
	virtually(t, 10, func(w *world) {
		w.choosePartitions()
		a := w.start("a", w.oneCallAtATime)
		w.send(order{id: "stuck", partition: 10})
		w.eventually("the call is in flight", func() bool { return w.sim.Charges().Calls == 1 })
		at := time.Now()
		w.send(order{id: "e1", order: "o1", time: at, partition: 10}, order{id: "e2", time: at, partition: 9})
		w.eventually("the attempts are in the ledger", func() bool { return w.attemptOpen("e1") && w.attemptOpen("e2") })
		a.crash()
		_ = a.wait()
		w.deleteTopic(w.topics.input)
		w.createTopic(w.topics.input, 5, nil)
		w.choosePartitions() // the old client has the id of the deleted topic
		w.sent = nil
		w.send(order{id: "again", order: "o1", partition: 1}, order{id: "e2", time: at, partition: 2}, order{id: "e3", partition: 3})
		b := w.start("b")
		w.eventually("both wait", func() bool { return b.waitsFor("again", "e1") && b.waitsFor("e2", "e2") })
		waitsSince := time.Now()
		w.patience = time.Hour
		vs := w.awaitDecisions()
		w.want(vs, map[string]int{"captured": 2, "parked competing_attempt": 1})
		if wait := w.config("b").CaptureDeadline; time.Since(waitsSince) < wait || time.Since(waitsSince) > 2*wait {
			t.Errorf("they waited for %s, and CAPTURE_DEADLINE is %s", time.Since(waitsSince), wait)
		}
		for _, v := range vs {
			if v.kind == "parked" && (v.event != "again" || !strings.Contains(headerOf(v.record, "parked_detail"), "event e1 ")) {
				t.Errorf("event %s is parked with %q", v.event, headerOf(v.record, "parked_detail"))
			}
		}
		if calls := w.sim.Charges().CallsByKey; calls["e1"] != 0 || calls["again"] != 0 || calls["e2"] != 1 {
			t.Errorf("calls: %v", calls)
		}
	})
}
