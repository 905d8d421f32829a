//go:build synctests || integration

package acceptance

import (
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/config"
	"payment-capture/internal/ledger/entry"
	"payment-capture/internal/simulator"
)

// partitionerScenarios have two producers whose default partitioners differ, so that most
// orders come twice at the same time, in partitions of different instances.
func partitionerScenarios() []scenario {
	var all []scenario
	for _, instances := range []int{2, 3} {
		for what, run := range map[string]func(w *world, instances int){
			"every event comes twice":                   eventsTwice,
			"every payment comes under two event ids":   paymentsTwice,
			"every reference comes under two event ids": referencesTwice,
		} {
			all = append(all, scenario{
				fmt.Sprintf("%s to %d instances", what, instances), 10,
				simulator.Config{Latency: 300 * time.Millisecond},
				func(w *world) { run(w, instances) },
			})
		}
	}
	return append(all, scenario{"an instance dies between an attempt and its call", 2, simulator.Config{}, diesBeforeItsCall})
}

// eventsTwice publishes every event twice: one charge, one outcome, and the same outcome
// once more, marked as replayed.
func eventsTwice(w *world, instances int) {
	n := w.publishTwice(instances, nil, nil)
	vs := w.awaitDecisions()
	w.want(vs, map[string]int{"captured": 2 * n})
	w.checkReplays(vs, 2)
	w.chargedOncePerOrder(n)
}

// paymentsTwice publishes every order again under another event id: it is parked, and the
// detail names the event that was captured.
func paymentsTwice(w *world, instances int) {
	n := w.publishTwice(instances, nil, anotherID)
	vs := w.awaitDecisions()
	w.want(vs, map[string]int{"captured": n, "parked possible_duplicate": n})
	w.chargedOncePerOrder(n)
	w.namesTheFirst(vs)
}

// referencesTwice does the same with another amount, if a reference is captured once.
func referencesTwice(w *world, instances int) {
	once := func(c *config.Config) { c.CaptureOncePer = config.OncePerReference }
	n := w.publishTwice(instances, once, func(o *order) {
		anotherID(o)
		o.amount = "12.00"
	})
	vs := w.awaitDecisions()
	w.want(vs, map[string]int{"captured": n, "parked reference_already_captured": n})
	w.chargedOncePerOrder(n)
	w.namesTheFirst(vs)
}

func anotherID(o *order) { o.id = "again-" + o.id }

// publishTwice starts instances and publishes orders to them by a producer that chooses
// partitions as the Java client does, and at the same time, changed, by one that chooses
// them as librdkafka does. It returns the number of orders.
func (w *world) publishTwice(instances int, configure func(*config.Config), change func(*order)) int {
	w.t.Helper()
	const n = 1000
	owners := w.startBalanced(instances, configure)
	java := w.newClient(kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	librdkafka := w.newClient(kgo.RecordPartitioner(kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int {
		return func(r *kgo.Record, partitions int) int {
			return int(crc32.ChecksumIEEE(r.Key) % uint32(partitions))
		}
	})))
	records := make(map[*kgo.Client][]*kgo.Record)
	for _, o := range numbered(n, func(_ int, o *order) { o.time = time.Now() }) {
		records[java] = append(records[java], w.record(o))
		if change != nil {
			change(&o)
		}
		records[librdkafka] = append(records[librdkafka], w.record(o))
	}
	failed := make(chan error, 2*n)
	for i := range n {
		for client, all := range records {
			client.Produce(w.t.Context(), all[i], func(_ *kgo.Record, err error) { failed <- err })
		}
	}
	for range 2 * n {
		if err := <-failed; err != nil {
			w.t.Fatal(err)
		}
	}
	apart := 0
	for i, r := range records[java] {
		if owners[r.Partition] != owners[records[librdkafka][i].Partition] {
			apart++
		}
	}
	if apart < n/3 {
		w.t.Errorf("%d of %d orders came to two instances, which tests too little", apart, n)
	}
	return n
}

// startBalanced starts instances and waits until they share the partitions of the input.
// It returns the owners of the partitions.
func (w *world) startBalanced(n int, changes ...func(*config.Config)) (owners map[int32]string) {
	w.t.Helper()
	changes = slices.DeleteFunc(changes, func(change func(*config.Config)) bool { return change == nil })
	for i := range n {
		w.start(string(rune('a'+i)), changes...)
	}
	w.eventually("the instances share the partitions", func() bool {
		owners = w.owners()
		share := make(map[string]int)
		for _, owner := range owners {
			share[owner]++
		}
		details, err := w.admin.ListTopics(w.t.Context(), w.topics.input)
		if err != nil {
			return false
		}
		partitions := len(details[w.topics.input].Partitions)
		for _, count := range share {
			if count < partitions/n {
				return false
			}
		}
		return len(owners) == partitions && len(share) == n
	})
	return owners
}

// owners returns the instances that the partitions of the input are assigned to.
func (w *world) owners() map[int32]string {
	w.t.Helper()
	groups, err := w.admin.DescribeGroups(w.t.Context(), w.group)
	if err != nil {
		return nil
	}
	owners := make(map[int32]string)
	for _, member := range groups[w.group].Members {
		assigned, ok := member.Assigned.AsConsumer()
		if !ok {
			continue
		}
		for _, topic := range assigned.Topics {
			for _, partition := range topic.Partitions {
				owners[partition] = member.ClientID[strings.LastIndexByte(member.ClientID, '.')+1:]
			}
		}
	}
	return owners
}

// partitionOf returns one more than the number of a partition of an instance, as
// [order.partition] has it.
func (w *world) partitionOf(owners map[int32]string, instance string) int32 {
	w.t.Helper()
	for partition, owner := range owners {
		if owner == instance {
			return partition + 1
		}
	}
	w.t.Fatalf("instance %s has no partition: %v", instance, owners)
	return 0
}

// chargedOncePerOrder checks the money: one call and one charge for each of n orders.
func (w *world) chargedOncePerOrder(n int) {
	w.t.Helper()
	w.wantOneCallPerEvent()
	charges := w.sim.Charges()
	if len(charges.List) != n || len(charges.ByReference) != n {
		w.t.Errorf("%d charges for %d orders, want %d for %[3]d", len(charges.List), len(charges.ByReference), n)
	}
	w.verified()
}

// namesTheFirst checks that each parked record names the captured event of its order.
func (w *world) namesTheFirst(vs []decision) {
	w.t.Helper()
	captured := make(map[string]string)
	order := make(map[string]string)
	for _, sent := range w.sent {
		order[sent.id] = sent.order
	}
	for _, v := range vs {
		if v.kind == "captured" {
			captured[order[v.event]] = v.event
		}
	}
	for _, v := range vs {
		if first := captured[order[v.event]]; v.kind == "parked" && !strings.Contains(headerOf(v.record, "parked_detail"), "event "+first+" ") {
			w.t.Errorf("event %s is parked with %q, which does not name event %s", v.event, headerOf(v.record, "parked_detail"), first)
		}
	}
}

// attemptOpen reports whether the ledger has an attempt on an event and no decision.
func (w *world) attemptOpen(id string) bool {
	w.t.Helper()
	open := false
	for _, r := range w.readAll(w.topics.ledger) {
		if _, of, _, err := entry.ParseKey(r.Key); err == nil && of == id {
			open = len(r.Value) > 0
		}
	}
	return open
}

// waitsFor reports whether an instance has an event that waits for the attempt of
// another one.
func (in *instance) waitsFor(event, other string) bool {
	in.w.t.Helper()
	for _, waiting := range in.service.Status(in.w.t.Context()).Pipeline.Longest {
		if waiting.Event == event && strings.Contains(waiting.WaitsFor, "waits for event "+other+",") {
			return true
		}
	}
	return false
}

// oneCallAtATime hangs the call for event stuck, so that the next events of the instance
// have an attempt and no call.
func (w *world) oneCallAtATime(c *config.Config) {
	c.MaxInFlight, c.MercadoPagoTimeout = 1, 10*time.Minute
	if err := w.sim.Apply(simulator.Script{Rules: []simulator.Rule{{
		Match: simulator.Match{Key: "stuck", ToTry: 1}, Action: simulator.ActionHang, Delay: simulator.Duration(time.Hour),
	}}}); err != nil {
		w.t.Fatal(err)
	}
}

// dyingBehind starts a and b, and kills a after it has written an attempt on event first.
// Meanwhile b has the second event and waits.
func (w *world) dyingBehind(first, second order) {
	w.t.Helper()
	w.choosePartitions()
	a := w.start("a", w.oneCallAtATime)
	w.eventually("a has partitions", a.hasPartitions)
	b := w.start("b")
	w.eventually("b has a partition", func() bool {
		return a.service.Partitions(w.t.Context()) == 1 && b.service.Partitions(w.t.Context()) == 1
	})
	owners := w.owners()
	first.partition, second.partition = w.partitionOf(owners, "a"), w.partitionOf(owners, "b")
	w.send(order{id: "stuck", partition: first.partition})
	w.eventually("the call is in flight", func() bool { return w.sim.Charges().Calls == 1 })
	w.send(first)
	w.eventually("the attempt is in the ledger", func() bool { return w.attemptOpen(first.id) })
	w.send(second)
	w.eventually("the copy waits", func() bool { return b.waitsFor(second.id, first.id) })
	a.crash()
}

// diesBeforeItsCall kills an instance between the attempt on an event and its call. The
// other instance has a copy of the event, takes the partition and makes the call.
func diesBeforeItsCall(w *world) {
	at := time.Now()
	w.dyingBehind(order{id: "e1", time: at}, order{id: "e1", time: at})
	vs := w.awaitDecisions()
	w.want(vs, map[string]int{"captured": 3})
	w.chargedOnce("order-e1")
}

// chargedOnce checks that there was one call and one charge for an order.
func (w *world) chargedOnce(reference string) {
	w.t.Helper()
	charges := w.sim.Charges()
	if calls := charges.KeysByReference[reference]; len(calls) != 1 || charges.ByReference[reference].Count != 1 {
		w.t.Errorf("order %s: calls %v and %d charges, want one", reference, calls, charges.ByReference[reference].Count)
	}
}
