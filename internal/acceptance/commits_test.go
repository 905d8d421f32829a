//go:build synctests || integration

package acceptance

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/config"
	"payment-capture/internal/kafka"
	"payment-capture/internal/simulator"
)

// commitScenarios are about commits that fail, and what keeps the input from being
// read.
func commitScenarios() []scenario {
	slow := simulator.Config{Latency: 20 * time.Millisecond}
	return []scenario{
		{"the transactional id is taken once and then again", 1, slow, transactionalIDTaken},
		{"of two processes of one identity one ends and the other goes on", 2, slow, oneOfTwoEnds},
	}
}

// transactionalIDTaken has another process take the transactional id without
// joining the group. The service takes it back once, and ends when that happens
// again within a minute.
func transactionalIDTaken(w *world) {
	first := w.start("a")
	w.send(numbered(20, nil)...)
	w.settle()
	take := func() *kgo.Client {
		thief := w.newClient(kgo.TransactionalID(w.group + "/" + w.name + ".a"))
		if _, _, err := thief.ProducerID(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
		return thief
	}
	thief := take()
	w.send(order{id: "after"})
	w.want(w.settle(), map[string]int{"captured": 21})
	w.noRepeatedCall()
	if !w.log.contains("producer fenced, no other process found") {
		w.t.Error("the log has no word of it")
	}
	if err := thief.BeginTransaction(); err != nil {
		w.t.Fatal(err)
	}
	if err := thief.ProduceSync(w.t.Context(), &kgo.Record{Topic: w.topics.captured}).FirstErr(); err == nil {
		w.t.Error("the other process still has the transactional id")
	}
	take().Close()
	w.send(order{id: "again"})
	if err := first.wait(); !errors.Is(err, kafka.ErrFenced) {
		w.t.Fatalf("the service ended with: %v", err)
	}
	w.start("a")
	w.want(w.settle(), map[string]int{"captured": 22})
}

// oneOfTwoEnds runs a second process under the identity of the first. Both work
// until one of them is fenced; that one ends, the other does not, and no event has
// two outcomes.
func oneOfTwoEnds(w *world) {
	both := []*instance{w.start("a")}
	w.send(numbered(50, nil)...)
	w.eventually("the first works", func() bool { return w.sim.Ledger().Calls > 0 })
	both = append(both, w.start("b", func(c *config.Config) { c.InstanceID = w.name + ".a" }))
	stop := w.load()
	var ended []error
	w.eventually("one has ended", func() bool {
		for _, in := range both {
			select {
			case err := <-in.ended:
				in.ended <- err
				ended = append(ended, err)
			default:
			}
		}
		return len(ended) > 0
	})
	calls := w.sim.Ledger().Calls
	w.eventually("the other one goes on", func() bool { return w.sim.Ledger().Calls > calls+100 })
	stop()
	w.settle()
	running := 0
	for _, in := range both {
		if in.service.Partitions(w.t.Context()) == 2 {
			running++
		}
	}
	if len(ended) != 1 || !errors.Is(ended[0], kafka.ErrFenced) || running != 1 {
		w.t.Errorf("%d ended, with %v; %d have the partitions", len(ended), fmt.Sprint(ended), running)
	}
}
