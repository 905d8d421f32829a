//go:build synctests || integration

package acceptance

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/config"
	"payment-capture/internal/event"
	"payment-capture/internal/ledger"
	"payment-capture/internal/replay"
	"payment-capture/internal/simulator"
)

// logged returns the attributes of all log lines with a message.
func (w *world) logged(message string) []map[string]any {
	w.t.Helper()
	var lines []map[string]any
	for text := range strings.Lines(w.log.String()) {
		var line map[string]any
		if json.Unmarshal([]byte(text), &line) == nil && line["msg"] == message {
			lines = append(lines, line)
		}
	}
	return lines
}

// corrected parks events without a call and sends corrections with the same ids, which
// are captured. An unchanged copy stays parked, and the log says so. A replay of the
// whole topic repeats each outcome, makes no call and parks nothing more.
func corrected(w *world) {
	once := func(c *config.Config) { c.CaptureOncePer = config.OncePerReference }
	w.choosePartitions()
	instances := []*instance{w.start("a", once), w.start("b", once)}
	begin := time.Now()
	old := begin.Add(-25 * time.Hour)
	first := []order{
		{id: "old", time: old},
		{id: "ahead", time: begin.Add(3 * time.Hour)},
		{id: "reals", currency: "BRL", time: begin},
		{id: "twice", time: old},
		{id: "never", time: old},
		{id: "taken", time: begin},
		{id: "second", order: "order-taken", time: begin},
	}
	w.send(first...)
	parked := map[string]int{
		"parked too_old": 3, "parked time_in_future": 1, "parked wrong_currency": 1, "parked reference_already_captured": 1, "captured": 1,
	}
	w.want(w.awaitDecisions(), parked)
	again := first[4]
	w.send(again)
	w.eventually("the unchanged copy is committed", func() bool { return w.lag() == 0 })
	w.want(w.decisions(), parked)
	lines := w.logged("event stays parked")
	if len(lines) != 1 || lines[0]["level"] != "INFO" || lines[0]["event_id"] != "never" || lines[0]["order_id"] != "order-never" ||
		lines[0]["reason"] != "too_old" || lines[0]["parked_at"] == nil {
		w.t.Errorf("the log has %v", lines)
	}

	correct := func(o order, change func(*order)) order {
		o.time = begin
		change(&o)
		return o
	}
	w.send(
		correct(first[0], func(*order) {}), correct(first[1], func(*order) {}), correct(first[2], func(o *order) { o.currency = "MXN" }),
		// The second event is wrong in another way and is in another partition than the
		// first. The third follows at once in the same partition as the second, because
		// another instance may not have read the decision on the second yet.
		correct(first[3], func(o *order) { o.currency, o.partition = "BRL", 2 }),
		correct(first[6], func(o *order) { o.order = "order-second" }),
	)
	w.eventually("the records are committed", func() bool { return w.lag() == 0 })
	w.send(correct(first[3], func(o *order) { o.amount, o.partition = "12.00", 2 }))
	parked["parked wrong_currency"]++
	parked["captured"] += 5
	w.eventually("the records are committed", func() bool { return w.lag() == 0 })
	w.want(w.decisions(), parked)
	charges := w.sim.Charges()
	if charges.Calls != 6 || len(charges.DoubleCharges()) > 0 {
		w.t.Errorf("%d calls, charged twice: %v; want 6 and none", charges.Calls, charges.DoubleCharges())
	}
	w.verified()
	w.replayCorrected(instances, once, parked)
}

// replayCorrected replays all events in each possible way after the API has forgotten
// every key, and compares the plans with the results.
func (w *world) replayCorrected(instances []*instance, rule func(*config.Config), want map[string]int) {
	w.t.Helper()
	calls, outcomes := w.sim.Charges().Calls, want["captured"]
	records := w.readAll(w.topics.input)
	p := planner{w, rule}
	p.withLedger(func(l *ledger.Ledger) {
		plan := p.replay(l, replay.Selection{All: true}, false)
		got := make(map[replay.Class]int64)
		for _, r := range plan.Rows {
			got[r.Class] = r.Records
		}
		if got[replay.AnsweredCaptured] != int64(outcomes) ||
			got[replay.Corrected]+got[replay.StaysParked]+int64(outcomes) != int64(len(records)) {
			w.t.Errorf("the plan has %v for %d records", got, len(records))
		}
		for _, r := range p.replay(l, replay.Selection{All: true, Parked: true}, false).Rows {
			if r.Class == replay.Superseded || r.Class == replay.DecidedSince || r.Class == replay.Corrected {
				continue
			}
			if r.Class != replay.First || r.Records != 1 { // for events that were never corrected
				w.t.Errorf("for parked events the plan has %+v", r)
			}
		}
	})
	again := func(how string, replay func()) {
		w.sim.ForgetKeys()
		for _, in := range instances {
			in.stop()
		}
		replay()
		want["captured"] += outcomes
		instances = []*instance{w.start("a", rule), w.start("b", rule)}
		w.eventually(how, func() bool { return w.lag() == 0 && len(w.decisions()) >= sum(want) })
		w.want(w.decisions(), want)
		if n := w.sim.Charges().Calls; n != calls {
			w.t.Errorf("%s: %d calls", how, n-calls)
		}
	}
	again("the offsets are reset to zero", w.resetOffsets)
	again("the local stores are lost", func() {
		w.loseStores()
		w.resetOffsets()
	})
	again("they are published again under other keys into other partitions", func() {
		w.produce(copies(records, func(i int, r *kgo.Record) {
			r.Key, r.Partition = fmt.Appendf(nil, "another-%d", i), (r.Partition+1)%3
		})...)
	})
	w.verified()
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// conflictsNamed parks an event whose id was attempted for a different event. The detail
// names both values of each difference, whatever the decision on the first event was.
func conflictsNamed(w *world) {
	if err := w.sim.Apply(simulator.Script{Rules: []simulator.Rule{
		{Match: simulator.Match{Key: "parked"}, Action: simulator.ActionKeyUsed},
	}}); err != nil {
		w.t.Fatal(err)
	}
	w.send(order{id: "tried"})
	w.attempted(map[string]func(*event.ReadyToCapture) event.Attempt{"tried": func(e *event.ReadyToCapture) event.Attempt {
		a := event.AttemptOf(e)
		a.First = time.Now()
		return a
	}})
	w.sent = nil
	w.send(order{id: "tried", order: "order-other"}) // it comes first where the other one's partition is slow
	w.start("a")
	w.send(order{id: "captured"}, order{id: "parked"}, order{id: "payer"}, order{id: "rejected", token: "poor"})
	w.eventually("the first events are committed", func() bool { return w.lag() == 0 })
	w.send(
		order{id: "captured", amount: "700.51"}, order{id: "parked", amount: "1.00", currency: "BRL"},
		order{id: "payer", token: "planted-other-payer"}, order{id: "rejected", amount: "2.00"},
	)
	w.eventually("the other events are committed", func() bool { return w.lag() == 0 })
	w.want(w.decisions(), map[string]int{
		"captured": 3, "rejected insufficient_money": 1, "parked idempotency_key_used": 1,
		"parked conflicting_event": 5,
	})
	want := map[string]string{
		"tried":    "order_id was order-tried and is order-other here; external_reference was order-tried and is order-other here",
		"captured": "ended as payment.captured, and was for something else: amount was 700.50 and is 700.51 here",
		"parked":   "was parked after a call, and was for something else: amount was 700.50 and is 1.00 here; currency was MXN and is BRL here",
		"payer":    "the payer differs",
		"rejected": "ended as payment.rejected, and was for something else: amount was 700.50 and is 2.00 here; the payer differs",
	}
	for _, v := range w.decisions() {
		if v.reason != "conflicting_event" {
			continue
		}
		if detail := headerOf(v.record, "parked_detail"); !strings.HasSuffix(detail, want[v.event]) || strings.Contains(detail, "planted") {
			w.t.Errorf("event %s: %q, want %q", v.event, detail, want[v.event])
		}
	}
}
