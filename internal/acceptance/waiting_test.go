//go:build synctests || integration

package acceptance

import (
	"fmt"
	"strings"
	"time"

	"payment-capture/internal/config"
	"payment-capture/internal/pipeline"
)

// waitsForTime returns the events of which the status of an instance says that they
// wait for their time, by id.
func (in *instance) waitsForTime() map[string]pipeline.Waiting {
	waits := make(map[string]pipeline.Waiting)
	for _, w := range in.service.Status(in.w.t.Context()).Pipeline.Longest {
		if strings.HasPrefix(w.WaitsFor, "its time 2") {
			waits[w.Event] = w
		}
	}
	return waits
}

// slightlyAhead: an event whose time is 5 min 15 s ahead waits for it, over a
// restart, and later events of its order wait behind it. Others do not wait, one that
// is too far ahead is parked, and so is one that has another fault.
func slightlyAhead(w *world) {
	in := w.start("a")
	at := time.Now().Add(5*time.Minute + 15*time.Second)
	w.send(
		order{id: "ahead", order: "o1", time: at}, order{id: "behind", order: "o1"}, order{id: "near", time: time.Now().Add(4 * time.Minute)},
		order{id: "far", time: time.Now().Add(61 * time.Minute)}, order{id: "reals", time: at, currency: "BRL"}, order{id: "now"},
	)
	others := map[string]int{"captured": 2, "parked time_in_future": 1, "parked wrong_currency": 1}
	waits := func() {
		w.t.Helper()
		w.eventually("the others are dealt with, and the event waits", func() bool {
			return len(w.verdicts()) == 4 && len(in.waitsForTime()) == 1 && w.lag() == 6
		})
		w.want(w.verdicts(), others)
		ahead := in.waitsForTime()["ahead"]
		if want := "its time " + at.UTC().Truncate(time.Second).Format(time.RFC3339); ahead.WaitsFor != want || !ahead.Commit || ahead.Order != "o1" {
			w.t.Errorf("the status says %+v, want %q", ahead, want)
		}
	}
	waits()
	in.stop()
	in = w.start("a")
	waits()
	if calls := w.sim.Ledger().Calls; calls != 2 {
		w.t.Errorf("%d calls, want 2", calls)
	}
	if w.stores.fs == nil { // real time
		return
	}
	<-time.After(time.Until(at) - time.Second)
	waits()
	<-time.After(2 * time.Second)
	others["captured"] = 4
	w.want(w.settle(), others)
	if calls := w.sim.Ledger().KeysByReference["o1"]; len(calls) != 2 || calls[0] != "ahead" {
		w.t.Errorf("the order was called for as %v", calls)
	}
}

// noneWaits: with CAPTURE_MAX_EVENT_LEAD=0 it is parked, as it was without it.
func noneWaits(w *world) {
	w.start("a", func(c *config.Config) { c.CaptureMaxEventLead = 0 })
	w.send(order{id: "ahead", time: time.Now().Add(5*time.Minute + 15*time.Second)}, order{id: "now"})
	w.want(w.settle(), map[string]int{"captured": 1, "parked time_in_future": 1})
}

// crowdOfWaiting: half of what is held of a partition may wait for its time. What is
// over is parked, and says so, and the others are not held up.
func crowdOfWaiting(w *world) {
	in := w.start("a")
	w.send(numbered(300, func(_ int, o *order) { o.time = time.Now().Add(30 * time.Minute) })...)
	w.send(numbered(600, func(i int, o *order) { o.id, o.order = fmt.Sprintf("now%d", i), fmt.Sprintf("p%d", i) })...)
	w.eventually("the others are captured", func() bool { return w.sim.Ledger().Calls == 600 })
	w.eventually("what is over is parked", func() bool { return len(w.verdicts()) == 644 })
	w.want(w.verdicts(), map[string]int{"captured": 600, "parked time_in_future": 44})
	for _, v := range w.verdicts() {
		if detail := headerOf(v.record, "parked_detail"); v.kind == "parked" && !strings.Contains(detail, "256 records of its partition wait") {
			w.t.Errorf("it is parked because %q", detail)
		}
	}
	if n := in.service.Status(w.t.Context()).Pipeline.Undecided; n != 256 {
		w.t.Errorf("%d records are left, want 256", n)
	}
}

// crowdBehindWaiting: so many events of one order stand behind one that waits that
// no other order of the partition could be read. Then it is parked.
func crowdBehindWaiting(w *world) {
	crowd := func(of string) []order {
		return append(numbered(600, func(_ int, o *order) { o.id, o.order = of+o.id, of }), order{id: of + "-another", order: of + "-another"})
	}
	ahead := func(of string) order { return order{id: of, order: of, time: time.Now().Add(30 * time.Minute)} }
	// All are taken up before the first of them waits.
	w.send(append([]order{ahead("a")}, crowd("a")...)...)
	in := w.start("a")
	w.want(w.settle(), map[string]int{"captured": 601, "parked time_in_future": 1})
	// The first waits when the others come.
	w.send(ahead("b"))
	w.eventually("the event waits", func() bool { return len(in.waitsForTime()) == 1 })
	w.send(crowd("b")...)
	w.want(w.settle(), map[string]int{"captured": 1202, "parked time_in_future": 2})
}

// sharedKey: events of many orders have one record key. One that waits for its time
// holds up its order, and no other, even if another event of its order came since.
func sharedKey(w *world) {
	in := w.start("a")
	shared := func(os ...order) {
		for i := range os {
			os[i].key = "a-tenant"
		}
		w.send(os...)
	}
	shared(order{id: "before", order: "o0"}, order{id: "ahead", order: "o1", time: time.Now().Add(6 * time.Minute)},
		order{id: "behind", order: "o1"}, order{id: "other", order: "o2"})
	w.eventually("the event waits, the others are captured", func() bool { return len(in.waitsForTime()) == 1 && len(w.verdicts()) == 2 })
	shared(order{id: "behind2", order: "o1"}, order{id: "other2", order: "o3"}, order{id: "other3", order: "o2"})
	w.eventually("later ones are captured too", func() bool { return len(w.verdicts()) == 4 })
	w.want(w.verdicts(), map[string]int{"captured": 4})
	if w.stores.fs == nil { // real time
		return
	}
	<-time.After(7 * time.Minute)
	w.want(w.settle(), map[string]int{"captured": 7})
	if calls := w.sim.Ledger().KeysByReference["o1"]; len(calls) != 3 || calls[0] != "ahead" || calls[1] != "behind" {
		w.t.Errorf("the order was called for as %v", calls)
	}
}
