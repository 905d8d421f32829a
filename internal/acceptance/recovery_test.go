//go:build synctests

package acceptance

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/simulator"
)

// TestRecovery has troubles that come together, or one after the other: the
// service goes on by itself.
func TestRecovery(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(w *world){
		"commits are refused and the partitions lost": refusedThenLost,
		"events that the API always fails for":        alwaysFailing,
		"the input is made anew under calls":          madeAnewUnderCalls,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			virtually(t, 2, run)
		})
	}
}

// refusedThenLost takes the permission on the group away for two minutes:
// commits are refused, then the partitions are lost, then it is given back.
func refusedThenLost(w *world) {
	w.start("a")
	w.send(numbered(20, nil)...)
	w.eventually("it works", func() bool { return len(w.verdicts()) == 20 })
	var refused []*kfake.FaultHandle
	for _, f := range []kfake.Fault{
		{Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Group: w.group, Err: kerr.GroupAuthorizationFailed, Count: -1},
		{Keys: []kmsg.Key{kmsg.Heartbeat, kmsg.JoinGroup}, Group: w.group, Err: kerr.GroupAuthorizationFailed, Count: -1, TopLevel: true},
	} {
		refused = append(refused, w.broker.Fake.Fault(f))
	}
	w.send(numbered(20, func(_ int, o *order) { o.id, o.order = "r-"+o.id, "r-"+o.order })...)
	<-time.After(2 * time.Minute)
	for _, f := range refused {
		f.Remove()
	}
	w.want(w.settle(), map[string]int{"captured": 40})
}

// alwaysFailing has twenty events that the API always fails for: the circuit
// opens by them, and good ones show that the API is well.
func alwaysFailing(w *world) {
	var rules []simulator.Rule
	for i := range 20 {
		rules = append(rules, simulator.Rule{Match: simulator.Match{Key: fmt.Sprintf("e%d", i)}, Action: simulator.ActionError, Status: 500})
	}
	if err := w.sim.Apply(simulator.Script{Rules: rules}); err != nil {
		w.t.Fatal(err)
	}
	w.start("a")
	w.send(numbered(20, nil)...)
	<-time.After(10 * time.Minute)
	for i := range 10 {
		w.send(order{id: fmt.Sprintf("good-%d", i)})
		<-time.After(5 * time.Minute)
		good := 0
		for _, v := range w.verdicts() {
			if v.kind == "captured" {
				good++
			}
		}
		if good != i+1 {
			w.t.Fatalf("%d of %d good events are captured after five minutes", good, i+1)
		}
	}
}

// madeAnewUnderCalls deletes the input topic while money is being taken, and
// makes it anew: what was taken is told all the same.
func madeAnewUnderCalls(w *world) {
	if err := w.sim.Apply(simulator.Script{Rules: []simulator.Rule{
		{Action: simulator.ActionUsual, Delay: simulator.Duration(2 * time.Second)},
	}}); err != nil {
		w.t.Fatal(err)
	}
	w.start("a")
	w.send(order{id: "before"})
	w.eventually("it works", func() bool { return len(w.verdicts()) == 1 })
	w.send(numbered(10, nil)...)
	<-time.After(time.Second) // the calls are under way
	w.deleteTopic(w.topics.input)
	<-time.After(3 * time.Second)
	w.createTopic(w.topics.input, 2, nil)
	<-time.After(time.Minute)
	if charges, verdicts := len(w.sim.Ledger().Charges), len(w.verdicts()); charges != 11 || verdicts != 11 {
		w.t.Errorf("%d charges and %d verdicts, want 11 of each", charges, verdicts)
	}
	w.client = w.newClient() // the other one knows the topic that is gone
	w.send(order{id: "after"})
	w.want(w.settle(), map[string]int{"captured": 12})
}
