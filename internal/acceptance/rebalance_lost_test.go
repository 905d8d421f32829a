//go:build synctests || integration

package acceptance

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/config"
)

// Two ways to lose the brokers: connections that break, and packets that do not
// arrive.
func zombieCut(w *world) {
	first := w.start("a", patient)
	zombie(w, first, first.kafka.cut, first.kafka.heal)
}

func zombieSilent(w *world) {
	line := &wire{}
	zombie(w, w.startOver(line, patient), line.silence, line.heal)
}

func patient(c *config.Config) { c.MercadoPagoTimeout = 30 * time.Second }

// zombie cuts an instance off from the brokers for longer than the session
// time-out, with calls under way: one that ends while it is cut off, and one
// that goes on after another instance has taken its partition over. When the
// network heals neither of the late results counts, and the instance goes on.
func zombie(w *world, first *instance, lose, heal func()) {
	w.zombies = true
	w.client = w.newClient(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	w.send(order{id: "before", partition: 1})
	w.settle()
	second := w.start("b", patient)
	w.eventually("both have a partition", func() bool { return first.hasPartitions() && second.hasPartitions() })
	w.send(order{id: "slow1", partition: 1}, order{id: "slow2", partition: 2}, order{id: "late1", partition: 1}, order{id: "late2", partition: 2})
	w.eventually("the calls are under way", func() bool { return w.sim.Ledger().Calls == 5 })
	lose()
	w.eventually("the second has both partitions", func() bool { return second.service.Partitions(w.t.Context()) == 2 })
	w.send(order{id: "after1", partition: 1}, order{id: "after2", partition: 2})
	w.eventually("the second goes on with them", func() bool {
		vs := w.verdicts()
		return hasVerdict(vs, "after1") && hasVerdict(vs, "after2") && hasVerdict(vs, "slow1") && hasVerdict(vs, "slow2")
	})
	heal()
	w.eventually("the first has a partition again", func() bool {
		return first.hasPartitions() && second.service.Partitions(w.t.Context()) == 1
	})
	w.send(order{id: "healed1", partition: 1}, order{id: "healed2", partition: 2})
	w.want(w.settle(), map[string]int{"captured": 9})
	if !strings.Contains(w.log.about(`"instance":"a"`), `"partitions lost`) {
		w.t.Error("the first did not notice that it lost its partition")
	}
	for _, event := range []string{"healed1", "healed2"} {
		if calls := w.sim.Ledger().CallsByKey[event]; calls != 1 {
			w.t.Errorf("event %s was asked for %d times", event, calls)
		}
	}
	if n := w.log.capturedBy("a", "healed1", "healed2"); n != 1 {
		w.t.Errorf("the first instance captured %d of the last two events, want 1", n)
	}
	first.stop()
	second.stop()
}

// capturedBy counts the events that an instance captured: it logs each of them once,
// with the payment.
func (l *logBuffer) capturedBy(instance string, events ...string) int {
	n := 0
	for line := range strings.Lines(l.String()) {
		var entry struct {
			Instance string `json:"instance"`
			Event    string `json:"event_id"`
			Payment  string `json:"payment_id"`
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Instance == instance && entry.Payment != "" &&
			slices.Contains(events, entry.Event) {
			n++
		}
	}
	return n
}
