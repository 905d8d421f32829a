//go:build synctests || integration

package acceptance

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/config"
	"payment-capture/internal/simulator"
)

// restless is an API with some slow answers, so that handovers have calls to wait for.
func restless() simulator.Config {
	return simulator.Config{Latency: 20 * time.Millisecond, Seed: 4, Script: simulator.Script{Rules: []simulator.Rule{
		{Match: simulator.Match{Probability: new(0.03)}, Action: simulator.ActionUsual, Delay: simulator.Duration(3 * time.Second)},
	}}}
}

// load sends four orders every 50 ms until stop is called. Nothing else may send
// meanwhile.
func (w *world) load() (stop func()) {
	w.t.Helper()
	var sending sync.WaitGroup
	ended := make(chan struct{})
	sending.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n += 4 {
			var records []*kgo.Record
			for i := n; i < n+4; i++ {
				records = append(records, w.record(order{id: fmt.Sprintf("l%d", i), order: fmt.Sprintf("ol%d", i)}))
			}
			if err := w.client.ProduceSync(w.t.Context(), records...).FirstErr(); err != nil {
				w.t.Errorf("send orders: %v", err)
				return
			}
			select {
			case <-ended:
				return
			case <-tick.C:
			}
		}
	})
	return func() {
		close(ended)
		sending.Wait()
	}
}

// wantOneCallPerEvent checks that no event was called for twice.
func (w *world) wantOneCallPerEvent() {
	w.t.Helper()
	for key, calls := range w.sim.Charges().CallsByKey {
		if calls != 1 {
			w.t.Errorf("%[2]d calls for event %[1]s, want 1; log:\n%[3]s", key, calls, w.log.about(key))
		}
	}
}

// about returns the log lines that contain a text.
func (l *logBuffer) about(text string) string {
	var lines []string
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

func static(c *config.Config) { c.KafkaStaticMembership = true }

func (in *instance) hasPartitions() bool { return in.service.Partitions(in.w.t.Context()) > 0 }

// rollingRestart replaces three instances one after the other, each stopped as by
// SIGTERM and started with the same identity, while events arrive.
func rollingRestart(w *world, changes ...func(*config.Config)) {
	names := []string{"a", "b", "c"}
	running := make(map[string]*instance)
	for _, name := range names {
		running[name] = w.start(name, changes...)
		w.eventually("instance "+name+" has partitions", running[name].hasPartitions)
	}
	stop := w.load()
	for round := range 2 {
		for _, name := range names {
			calls := w.sim.Charges().Calls
			w.eventually("events are captured", func() bool { return w.sim.Charges().Calls > calls+20 })
			running[name].stop()
			running[name] = w.start(name, changes...)
			w.eventually(fmt.Sprintf("instance %s has partitions after restart %d", name, round+1), running[name].hasPartitions)
		}
	}
	stop()
	w.want(w.awaitDecisions(), map[string]int{"captured": len(w.sent)})
	w.wantOneCallPerEvent()
}

func rollingRestartDynamic(w *world) { rollingRestart(w) }

func rollingRestartStatic(w *world) { rollingRestart(w, static) }

// slowHandover revokes a partition during slow calls. The old owner commits their
// outcomes, and the new one begins after that.
func slowHandover(w *world) {
	w.choosePartitions()
	first := w.start("a")
	w.send(order{id: "slow1", partition: 1}, order{id: "slow2", partition: 2})
	w.eventually("both calls are in flight", func() bool { return w.sim.Charges().Calls == 2 })
	second := w.start("b")
	w.eventually("a partition is revoked", func() bool { return w.log.contains(`"partitions revoked"`) })
	if n := first.service.InFlight(w.t.Context()); n != 2 {
		w.t.Errorf("%d calls at the time of the revocation, want 2", n)
	}
	// Behind the slow event, for the next owner of the partition.
	w.send(order{id: "next1", partition: 1}, order{id: "next2", partition: 2})
	w.eventually("the second has a partition", second.hasPartitions)
	if vs := w.decisions(); !hasDecision(vs, "slow1") && !hasDecision(vs, "slow2") {
		w.t.Errorf("a partition was handed over before its slow call was committed: %s", summary(vs))
	}
	w.want(w.awaitDecisions(), map[string]int{"captured": 4})
	w.wantOneCallPerEvent()
	if first.service.Partitions(w.t.Context()) != 1 || second.service.Partitions(w.t.Context()) != 1 {
		w.t.Error("the two instances do not share the partitions")
	}
}

func hasDecision(vs []decision, event string) bool {
	for _, v := range vs {
		if v.event == event {
			return true
		}
	}
	return false
}

// slowAnswers is an API that answers the first call for slow1 and slow2 after the given
// time, and for late1 and late2 after two seconds.
func slowAnswers(after time.Duration) simulator.Config {
	config := simulator.Config{Latency: 20 * time.Millisecond}
	for key, delay := range map[string]time.Duration{"slow1": after, "slow2": after, "late1": 2 * time.Second, "late2": 2 * time.Second} {
		config.Script.Rules = append(config.Script.Rules, simulator.Rule{
			Match: simulator.Match{Key: key, ToTry: 1}, Action: simulator.ActionUsual, Delay: simulator.Duration(delay),
		})
	}
	return config
}
