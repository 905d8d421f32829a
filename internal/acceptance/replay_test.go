//go:build synctests || integration

package acceptance

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/config"
	"payment-capture/internal/event"
	"payment-capture/internal/ledger/entry"
)

// outcomesByEvent returns the outcomes in the order of their production, by event.
func outcomesByEvent(vs []decision) map[string][]decision {
	by := make(map[string][]decision)
	for _, v := range vs {
		by[v.event] = append(by[v.event], v)
	}
	return by
}

// fullReplay replays a topic in each possible way after the API has forgotten all keys:
// every outcome is published again, the same except its mark, and no call is made.
func fullReplay(w *world) {
	events := 5000
	if w.stores.fs != nil {
		events = 300
	}
	w.choosePartitions()
	in := w.start("a")
	orders := numbered(events, func(i int, o *order) { o.partition = int32(i%6) + 1 })
	var records []*kgo.Record
	for _, o := range orders {
		records = append(records, w.record(o))
	}
	w.produce(copies(records, nil)...)
	w.want(w.awaitDecisions(), map[string]int{"captured": events})
	calls, rounds := w.sim.Charges().Calls, 1

	again := func(how string, replay func()) {
		w.sim.ForgetKeys()
		in.stop()
		replay()
		rounds++
		w.sent = append(w.sent, w.sent[:events]...)
		in = w.start("a")
		got := w.awaitDecisions()
		w.want(got, map[string]int{"captured": rounds * events})
		if n := w.sim.Charges().Calls; n != calls {
			w.t.Errorf("%s: %d calls", how, n-calls)
		}
		w.checkReplays(got, rounds)
	}
	again("offsets reset to zero", w.resetOffsets)
	again("the local stores are lost", func() {
		w.loseStores()
		w.resetOffsets()
	})
	again("published again under other keys into other partitions", func() {
		w.produce(copies(records, func(i int, r *kgo.Record) {
			r.Key, r.Partition = fmt.Appendf(nil, "another-%d", i), (r.Partition+1)%6
		})...)
	})
	// Now the whole topic is replayed: the first records and their copies.
	w.sim.ForgetKeys()
	in.stop()
	w.group += ".new"
	w.sent = append(w.sent, w.sent[:2*events]...)
	w.start("a")
	w.want(w.awaitDecisions(), map[string]int{"captured": (rounds + 2) * events})
	if n := w.sim.Charges().Calls; n != calls {
		w.t.Errorf("a new group: %d calls", n-calls)
	}
	w.verified()
}

// verified checks that verify finds no difference.
func (w *world) verified() {
	w.t.Helper()
	if found, _ := w.audit(); len(found) > 0 {
		w.t.Errorf("findings of verify: %+v", found)
	}
}

// checkReplays checks that each event, sent the given number of times, has one outcome
// and the same one marked as replayed for each copy.
func (w *world) checkReplays(vs []decision, times int) {
	w.t.Helper()
	for id, got := range outcomesByEvent(vs) {
		if len(got) != times || w.unmarked(got) != 1 {
			w.t.Errorf("event %s was sent %d times and has %d outcomes, %d of them not marked as replayed", id, times, len(got), w.unmarked(got))
			continue
		}
		want := strings.ReplaceAll(string(got[0].record.Value), `"replayed":true`, `"replayed":false`)
		for _, v := range got {
			if text := strings.ReplaceAll(string(v.record.Value), `"replayed":true`, `"replayed":false`); text != want {
				w.t.Errorf("event %s has the outcome\n%s\nand also\n%s", id, want, text)
			}
		}
	}
}

// copies returns copies of records, because a record can be produced only once.
func copies(records []*kgo.Record, change func(i int, r *kgo.Record)) []*kgo.Record {
	var out []*kgo.Record
	for i, r := range records {
		c := &kgo.Record{
			Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Headers: slices.Clone(r.Headers),
			Timestamp: r.Timestamp,
		}
		if change != nil {
			change(i, c)
		}
		out = append(out, c)
	}
	return out
}

func (w *world) produce(records ...*kgo.Record) {
	w.t.Helper()
	if err := w.client.ProduceSync(w.t.Context(), records...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

// suppressed replays a topic with REPLAYED_OUTCOMES=suppress: nothing is published
// again.
func suppressed(w *world) {
	quiet := func(c *config.Config) { c.ReplayedOutcomes = config.ReplayedSuppress }
	first := w.start("a", quiet)
	w.send(numbered(40, nil)...)
	w.want(w.awaitDecisions(), map[string]int{"captured": 40})
	first.stop()
	w.resetOffsets()
	w.sim.ForgetKeys()
	w.start("a", quiet)
	w.want(w.awaitDecisions(), map[string]int{"captured": 40})
	if calls := w.sim.Charges().Calls; calls != 40 {
		w.t.Errorf("%d calls, want 40", calls)
	}
}

// conflicting sends a different event with the id of the first one. It is parked once,
// however often it is sent, and the first one's outcome stays valid.
func conflicting(w *world) {
	w.start("a")
	w.send(order{id: "e1", order: "o1"})
	w.want(w.awaitDecisions(), map[string]int{"captured": 1})
	others := w.sent
	w.send(order{id: "e1", order: "o1", amount: "700.51"})
	w.sent = others
	w.eventually("the different event is parked", func() bool { return w.lag() == 0 && len(w.decisions()) == 2 })
	w.want(w.decisions(), map[string]int{"captured": 1, "parked conflicting_event": 1})
	w.produce(copies(w.readAll(w.topics.input), nil)...)
	w.eventually("the first is replayed and the different one is not parked again",
		func() bool { return w.lag() == 0 && len(w.decisions()) == 3 })
	w.want(w.decisions(), map[string]int{"captured": 2, "parked conflicting_event": 1})
	if charges := w.sim.Charges(); charges.Calls != 1 || len(charges.List) != 1 {
		w.t.Errorf("%d calls, %d charges; want one of each", charges.Calls, len(charges.List))
	}
}

// oncePerReference sends each order again with a new event id, as a careless backfill
// does: no order is charged twice.
func oncePerReference(w *world) {
	once := func(c *config.Config) { c.CaptureOncePer = config.OncePerReference }
	w.start("a", once)
	w.send(numbered(20, nil)...)
	w.want(w.awaitDecisions(), map[string]int{"captured": 20})
	w.send(numbered(20, func(_ int, o *order) { o.id = "again-" + o.id })...)
	got := w.awaitDecisions()
	w.want(got, map[string]int{"captured": 20, "parked reference_already_captured": 20})
	for _, v := range got {
		if v.kind == "parked" && !strings.Contains(headerOf(v.record, "parked_detail"), "event "+strings.TrimPrefix(v.event, "again-")+" ") {
			w.t.Errorf("event %s is parked with %q, which does not name the first event", v.event, headerOf(v.record, "parked_detail"))
		}
	}
	if charges := len(w.sim.Charges().List); charges != 20 {
		w.t.Errorf("%d charges, want 20", charges)
	}
}

// ledgerRecreatedWhileStopped recreates the ledger topic. The service does not take it
// for an empty ledger.
func ledgerRecreatedWhileStopped(w *world) {
	first := w.start("a")
	w.send(numbered(20, nil)...)
	w.want(w.awaitDecisions(), map[string]int{"captured": 20})
	first.stop()
	w.sim.ForgetKeys()
	w.recreateLedger()
	w.produce(copies(w.readAll(w.topics.input), nil)...)
	second := w.start("a")
	w.eventually("the partitions are halted because of the ledger", func() bool {
		halted := slices.Collect(maps.Values(second.service.HaltedPartitions(w.t.Context())))
		return len(halted) == 2 && strings.HasPrefix(halted[0], "ledger_missing") && strings.HasPrefix(halted[1], "ledger_missing")
	})
	if calls := w.sim.Charges().Calls; calls != 20 {
		w.t.Errorf("%d calls, want 20", calls)
	}
	w.want(w.decisions(), map[string]int{"captured": 20})
}

// ledgerRecreatedBeforeACommit recreates the ledger when the group has committed only
// start offsets. Neither these partitions nor a new one begin with a ledger that the
// group does not know.
func ledgerRecreatedBeforeACommit(w *world) {
	first := w.start("a")
	w.eventually("the partitions are assigned", func() bool { return first.service.Partitions(w.t.Context()) == 2 })
	first.stop()
	w.recreateLedger()
	w.addPartitions(3)
	w.send(numbered(20, nil)...)
	second := w.start("a")
	w.eventually("all partitions are halted because of the ledger", func() bool {
		halted := slices.Collect(maps.Values(second.service.HaltedPartitions(w.t.Context())))
		return len(halted) == 3 && !slices.ContainsFunc(halted, func(why string) bool { return !strings.HasPrefix(why, "ledger_missing") })
	})
	if calls := w.sim.Charges().Calls; calls != 0 {
		w.t.Errorf("%d calls, want none", calls)
	}
}

func ledgerRecreatedWhileRunning(w *world) {
	in := w.start("a")
	w.send(numbered(20, nil)...)
	w.want(w.awaitDecisions(), map[string]int{"captured": 20})
	w.sim.ForgetKeys()
	w.recreateLedger()
	w.eventually("the ledger is halted", func() bool {
		s := in.service.Status(w.t.Context())
		return s.Ledger.State == "halted" && strings.HasPrefix(s.Ledger.Reason, "ledger_missing")
	})
	w.produce(copies(w.readAll(w.topics.input), nil)...)
	w.eventually("the copies wait", func() bool { return in.service.InFlight(w.t.Context()) == 20 })
	if charges := w.sim.Charges(); charges.Calls != 20 {
		w.t.Errorf("%d calls, want 20", charges.Calls)
	}
}

// resent resends a parked event, as an operator does. The resent record undoes only the
// decision that it names, and only once.
func resent(w *world) {
	w.start("a")
	w.send(order{id: "e1", order: "o1", currency: "ARS"})
	w.want(w.awaitDecisions(), map[string]int{"parked wrong_currency": 1})
	at := w.parkedAt("e1")
	send := func(parkedAt time.Time) {
		w.produce(copies(w.readAll(w.topics.input)[:1], func(_ int, r *kgo.Record) {
			for _, h := range (event.Resend{ParkedAt: parkedAt}).Headers() {
				r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
			}
		})...)
		w.eventually("the record is committed", func() bool { return w.lag() == 0 })
	}
	send(at.Add(-time.Second)) // names an earlier decision than the valid one
	w.want(w.decisions(), map[string]int{"parked wrong_currency": 1})
	send(at)
	w.want(w.decisions(), map[string]int{"parked wrong_currency": 2})
	send(at) // this decision is already undone
	w.want(w.decisions(), map[string]int{"parked wrong_currency": 2})
}

// parkedAt returns the time at which the ledger has an event parked.
func (w *world) parkedAt(id string) time.Time {
	w.t.Helper()
	for _, r := range slices.Backward(w.readAll(w.topics.ledger)) {
		kind, of, _, err := entry.ParseKey(r.Key)
		if err != nil {
			w.t.Fatal(err)
		}
		if kind == entry.KindDecision && of == id {
			d, err := entry.DecodeDecision(id, r.Value)
			if err != nil {
				w.t.Fatal(err)
			}
			return d.At
		}
	}
	w.t.Fatalf("the ledger has no decision on %s", id)
	return time.Time{}
}

// loseStores removes the local stores of the ledger. No instance may run.
func (w *world) loseStores() {
	w.t.Helper()
	var err error
	if w.stores.fs != nil {
		err = w.stores.fs.RemoveAll(w.stores.dir)
	} else {
		err = os.RemoveAll(w.stores.dir)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}
