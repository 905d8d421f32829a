//go:build synctests || integration

package acceptance

import (
	"fmt"
	"strings"
	"time"

	"payment-capture/internal/config"
	"payment-capture/internal/pipeline"
)

// waitsForTime returns the events that wait for their time, by id, as the status has
// them.
func (in *instance) waitsForTime() map[string]pipeline.Waiting {
	waits := make(map[string]pipeline.Waiting)
	for _, w := range in.service.Status(in.w.t.Context()).Pipeline.Longest {
		if strings.HasPrefix(w.WaitsFor, "its time 2") {
			waits[w.Event] = w
		}
	}
	return waits
}

// slightlyAhead sends an event whose time is 5 min 15 s ahead. It waits, also across a
// restart, and so do later events of its order. Other orders do not wait. An event too
// far ahead is parked, and so is one with another problem.
func slightlyAhead(w *world) {
	in := w.start("a", oncePerEvent)
	at := time.Now().Add(5*time.Minute + 15*time.Second)
	w.send(
		order{id: "ahead", order: "o1", time: at}, order{id: "behind", order: "o1"}, order{id: "near", time: time.Now().Add(4 * time.Minute)},
		order{id: "far", time: time.Now().Add(61 * time.Minute)}, order{id: "reals", time: at, currency: "BRL"}, order{id: "now"},
	)
	others := map[string]int{"captured": 2, "parked time_in_future": 1, "parked wrong_currency": 1}
	waits := func() {
		w.t.Helper()
		w.eventually("the others are decided and the event waits", func() bool {
			return len(w.decisions()) == 4 && len(in.waitsForTime()) == 1 && w.lag() == 6
		})
		w.want(w.decisions(), others)
		ahead := in.waitsForTime()["ahead"]
		if want := "its time " + at.UTC().Truncate(time.Second).Format(time.RFC3339); ahead.WaitsFor != want ||
			!ahead.Commit || ahead.Order != "o1" {
			w.t.Errorf("the status has %+v, want %q", ahead, want)
		}
	}
	waits()
	in.stop()
	in = w.start("a", oncePerEvent)
	waits()
	if calls := w.sim.Charges().Calls; calls != 2 {
		w.t.Errorf("%d calls, want 2", calls)
	}
	if w.stores.fs == nil { // real time
		return
	}
	<-time.After(time.Until(at) - time.Second)
	waits()
	<-time.After(2 * time.Second)
	others["captured"] = 4
	w.want(w.awaitDecisions(), others)
	if calls := w.sim.Charges().KeysByReference["o1"]; len(calls) != 2 || calls[0] != "ahead" {
		w.t.Errorf("the calls for the order were %v", calls)
	}
}

// noWaiting sets CAPTURE_MAX_EVENT_LEAD=0, so that an event ahead of its time is parked.
func noWaiting(w *world) {
	w.start("a", func(c *config.Config) { c.CaptureMaxEventLead = 0 })
	w.send(order{id: "ahead", time: time.Now().Add(5*time.Minute + 15*time.Second)}, order{id: "now"})
	w.want(w.awaitDecisions(), map[string]int{"captured": 1, "parked time_in_future": 1})
}

// manyWaiting has more events ahead of their time than may wait. A good event follows, so
// the excess is parked with this reason at once, and other events are not delayed.
func manyWaiting(w *world) {
	in := w.start("a", oncePerEvent)
	w.send(numbered(700, func(_ int, o *order) { o.time = time.Now().Add(30 * time.Minute) })...)
	w.send(numbered(600, func(i int, o *order) { o.id, o.order = fmt.Sprintf("now%d", i), fmt.Sprintf("p%d", i) })...)
	w.eventually("the others are captured", func() bool { return w.sim.Charges().Calls == 600 })
	w.eventually("the excess is parked", func() bool { return len(w.decisions()) == 660 })
	w.want(w.decisions(), map[string]int{"captured": 600, "parked time_in_future": 60})
	for _, v := range w.decisions() {
		if detail := headerOf(v.record, "parked_detail"); v.kind == "parked" && !strings.Contains(detail, "640 records of its partition wait") {
			w.t.Errorf("parked with the detail %q", detail)
		}
	}
	if n := in.service.Status(w.t.Context()).Pipeline.Undecided; n != 640 {
		w.t.Errorf("%d records are left, want 640", n)
	}
}

// hourAhead has a producer whose clock is an hour ahead for over an hour. Its events wait,
// and none is parked.
func hourAhead(w *world) {
	if w.stores.fs == nil { // real time
		return
	}
	in := w.start("a")
	for i := range 66 {
		w.send(numbered(10, func(n int, o *order) {
			o.id, o.order = fmt.Sprintf("e%d-%d", i, n), fmt.Sprintf("o%d-%d", i, n)
			o.time = time.Now().Add(time.Hour)
		})...)
		<-time.After(time.Minute)
	}
	if holds := in.service.Status(w.t.Context()).Pipeline.InvalidHolds; len(holds) > 0 {
		w.t.Errorf("held: %+v", holds)
	}
	<-time.After(time.Hour)
	w.want(w.awaitDecisions(), map[string]int{"captured": 660})
}

// crowdedIsHeld has more events ahead of their time than may wait, and none that is good.
// The excess is held like invalid events.
func crowdedIsHeld(w *world) {
	in := w.start("a")
	ahead := numbered(900, func(_ int, o *order) { o.time = time.Now().Add(50 * time.Minute) })
	w.send(ahead[:640]...)
	w.eventually("the first ones wait", func() bool { return len(in.waitsForTime()) > 0 && w.lag() == 640 })
	for _, o := range ahead[640:650] {
		w.send(o)
		<-time.After(100 * time.Millisecond)
	}
	w.send(ahead[650:]...)
	in.readyzSays("time_in_future", "payment-capture release")
	<-time.After(10 * time.Second)
	if vs := w.decisions(); len(vs) > 0 {
		w.t.Errorf("%d are decided", len(vs))
	}
	if in.service.Status(w.t.Context()).Pipeline.InvalidHolds[0].Waiting != 260 {
		w.t.Errorf("the status has %+v", in.service.Status(w.t.Context()).Pipeline.InvalidHolds)
	}
}

// correctedWhileWaiting corrects an event that waits for its time. It is not charged.
func correctedWhileWaiting(w *world) {
	in := w.start("a")
	w.send(order{id: "e1", amount: "1.00", time: time.Now().Add(50 * time.Minute)}, order{id: "e2", time: time.Now().Add(50 * time.Minute)})
	w.eventually("the events wait", func() bool { return len(in.waitsForTime()) == 2 })
	w.send(order{id: "e1", amount: "2.00"})
	// Both records of the third event are in one poll.
	w.send(order{id: "e3", amount: "3.00", time: time.Now().Add(50 * time.Minute)}, order{id: "e3", amount: "4.00"})
	w.eventually("the corrections are captured", func() bool { return len(w.decisions()) == 4 })
	w.want(w.decisions(), map[string]int{"captured": 2, "parked time_in_future": 2})
	for _, v := range w.decisions() {
		switch amount := v.data["amount"]; {
		case v.kind == "captured" && amount != "2.00" && amount != "4.00":
			w.t.Errorf("captured %v", amount)
		case v.kind == "parked" && !strings.Contains(headerOf(v.record, "parked_detail"), "other content"):
			w.t.Errorf("parked: %s", headerOf(v.record, "parked_detail"))
		}
	}
}

// manyBehindWaiting has so many events of one order behind a waiting one that no other
// order of the partition could be read. The waiting event is then parked.
func manyBehindWaiting(w *world) {
	crowd := func(of string) []order {
		return append(numbered(600, func(_ int, o *order) { o.id, o.order = of+o.id, of }), order{id: of + "-another", order: of + "-another"})
	}
	ahead := func(of string) order { return order{id: of, order: of, time: time.Now().Add(30 * time.Minute)} }
	// All are admitted before the first of them waits.
	w.send(append([]order{ahead("a")}, crowd("a")...)...)
	in := w.start("a", oncePerEvent)
	w.want(w.awaitDecisions(), map[string]int{"captured": 601, "parked time_in_future": 1})
	// The first one waits when the others arrive.
	w.send(ahead("b"))
	w.eventually("the event waits", func() bool { return len(in.waitsForTime()) == 1 })
	w.send(crowd("b")...)
	w.want(w.awaitDecisions(), map[string]int{"captured": 1202, "parked time_in_future": 2})
}

// sharedKey has events of many orders with one record key. A waiting event delays only
// its own order, also when another event of that order has arrived since.
func sharedKey(w *world) {
	in := w.start("a", oncePerEvent)
	shared := func(os ...order) {
		for i := range os {
			os[i].key = "a-tenant"
		}
		w.send(os...)
	}
	shared(order{id: "before", order: "o0"}, order{id: "ahead", order: "o1", time: time.Now().Add(6 * time.Minute)},
		order{id: "behind", order: "o1"}, order{id: "other", order: "o2"})
	w.eventually("the event waits and the others are captured", func() bool { return len(in.waitsForTime()) == 1 && len(w.decisions()) == 2 })
	shared(order{id: "behind2", order: "o1"}, order{id: "other2", order: "o3"}, order{id: "other3", order: "o2"})
	w.eventually("later ones are captured too", func() bool { return len(w.decisions()) == 4 })
	w.want(w.decisions(), map[string]int{"captured": 4})
	if w.stores.fs == nil { // real time
		return
	}
	<-time.After(7 * time.Minute)
	w.want(w.awaitDecisions(), map[string]int{"captured": 7})
	if calls := w.sim.Charges().KeysByReference["o1"]; len(calls) != 3 || calls[0] != "ahead" || calls[1] != "behind" {
		w.t.Errorf("the calls for the order were %v", calls)
	}
}
