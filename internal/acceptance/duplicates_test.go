//go:build synctests || integration

package acceptance

import (
	"strings"
	"time"

	"payment-capture/internal/config"
	"payment-capture/internal/ledger"
	"payment-capture/internal/replay"
)

// republished publishes each order again under a new event id, as publishers do that
// make one per delivery: it is parked, and the detail names the first event. A resend
// that does not name it leaves it parked; one that does charges it.
func republished(w *world) {
	in := w.start("a")
	w.send(numbered(10, nil)...)
	w.want(w.awaitDecisions(), map[string]int{"captured": 10})
	w.send(numbered(10, func(_ int, o *order) { o.id = strings.ToUpper(o.id) })...)
	got := w.awaitDecisions()
	w.want(got, map[string]int{"captured": 10, "parked possible_duplicate": 10})
	for _, v := range got {
		if v.kind == "parked" && !strings.Contains(headerOf(v.record, "parked_detail"), "event "+strings.ToLower(v.event)+" ") {
			w.t.Errorf("event %s is parked with %q, which does not name the first event", v.event, headerOf(v.record, "parked_detail"))
		}
	}
	if charges := len(w.sim.Charges().List); charges != 10 {
		w.t.Errorf("%d charges, want 10", charges)
	}
	w.verified()

	p := planner{w, func(*config.Config) {}}
	p.withLedger(func(l *ledger.Ledger) {
		if rows := p.replay(l, replay.Selection{All: true, Parked: true}, true).Rows; len(rows) != 1 || rows[0].Class != replay.Duplicate ||
			rows[0].Records != 10 || rows[0].Sent != 0 {
			w.t.Errorf("a resend of everything is planned as %+v", rows)
		}
		p.replay(l, replay.Selection{Parked: true, Events: []string{"E3"}}, true)
	})
	w.eventually("the repetition is charged", func() bool { return w.lag() == 0 && len(w.sim.Charges().List) == 11 })
	in.stop()
	w.want(w.decisions(), map[string]int{"captured": 11, "parked possible_duplicate": 10})
}

// repetitions are charges of a reference that are no duplicates: one after the window,
// one of another amount, and one after a rejection.
func repetitions(w *world) {
	const window = 3 * time.Second
	w.start("a", func(c *config.Config) { c.DuplicateWindow = window })
	w.send(order{id: "first", order: "o1"}, order{id: "declined", order: "o2", token: "declined"})
	w.want(w.awaitDecisions(), map[string]int{"captured": 1, "rejected cc_rejected_other_reason": 1})
	w.send(order{id: "part", order: "o1", amount: "12.00"}, order{id: "retried", order: "o2"})
	w.want(w.awaitDecisions(), map[string]int{"captured": 3, "rejected cc_rejected_other_reason": 1})
	time.Sleep(window + time.Second)
	w.send(order{id: "next-month", order: "o1"})
	w.want(w.awaitDecisions(), map[string]int{"captured": 4, "rejected cc_rejected_other_reason": 1})
	if charges := len(w.sim.Charges().List); charges != 4 {
		w.t.Errorf("%d charges, want 4", charges)
	}
}
