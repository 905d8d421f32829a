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

// TestRecovery combines faults. The service recovers by itself.
func TestRecovery(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(w *world){
		"commits are refused and then partitions are lost": refusedThenLost,
		"events that the API always fails for":             alwaysFailing,
		"the input is recreated while calls are in flight": inputRecreatedDuringCalls,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			virtually(t, 2, run)
		})
	}
}

// refusedThenLost revokes the permission on the group for two minutes: commits are
// refused, then partitions are lost, then the permission is granted again.
func refusedThenLost(w *world) {
	w.start("a")
	w.send(numbered(20, nil)...)
	w.eventually("the first events are decided", func() bool { return len(w.decisions()) == 20 })
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
	w.want(w.awaitDecisions(), map[string]int{"captured": 40})
}

// alwaysFailing has twenty events for which the API always fails. They open the circuit
// breaker, and good events show that the API works.
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
		for _, v := range w.decisions() {
			if v.kind == "captured" {
				good++
			}
		}
		if good != i+1 {
			w.t.Fatalf("%d of %d good events are captured after five minutes", good, i+1)
		}
	}
}

// inputRecreatedDuringCalls recreates the input topic during calls. The outcomes of
// these calls are published nevertheless.
func inputRecreatedDuringCalls(w *world) {
	if err := w.sim.Apply(simulator.Script{Rules: []simulator.Rule{
		{Action: simulator.ActionUsual, Delay: simulator.Duration(2 * time.Second)},
	}}); err != nil {
		w.t.Fatal(err)
	}
	w.start("a")
	w.send(order{id: "before"})
	w.eventually("the first events are decided", func() bool { return len(w.decisions()) == 1 })
	w.send(numbered(10, nil)...)
	<-time.After(time.Second) // the calls are in flight
	w.deleteTopic(w.topics.input)
	<-time.After(3 * time.Second)
	w.createTopic(w.topics.input, 2, nil)
	<-time.After(time.Minute)
	if charges, decisions := len(w.sim.Charges().List), len(w.decisions()); charges != 11 || decisions != 11 {
		w.t.Errorf("%d charges and %d decisions, want 11 of each", charges, decisions)
	}
	w.client = w.newClient() // the old client has the id of the deleted topic
	w.send(order{id: "after"})
	w.want(w.awaitDecisions(), map[string]int{"captured": 12})
}
