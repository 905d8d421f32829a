//go:build synctests || integration

package acceptance

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"payment-capture/internal/config"
)

// zombieCut loses the brokers by closed connections, zombieSilent by lost packets.
func zombieCut(w *world) {
	first := w.start("a", patient)
	zombie(w, first, first.kafka.cut, first.kafka.restore)
}

func zombieSilent(w *world) {
	line := &wire{}
	zombie(w, w.startOver(line, patient), line.silence, line.restore)
}

func patient(c *config.Config) { c.MercadoPagoTimeout = 30 * time.Second }

// zombie cuts an instance off from the brokers for longer than the session time-out,
// with two calls in flight: one ends while the instance is cut off, the other after
// another instance has got the partition. When the network is restored, neither result counts,
// and the instance continues.
func zombie(w *world, first *instance, lose, restore func()) {
	w.zombies = true
	w.choosePartitions()
	w.send(order{id: "before", partition: 1})
	w.awaitDecisions()
	second := w.start("b", patient)
	w.eventually("both instances have a partition", func() bool { return first.hasPartitions() && second.hasPartitions() })
	w.send(order{id: "slow1", partition: 1}, order{id: "slow2", partition: 2}, order{id: "late1", partition: 1},
		order{id: "late2", partition: 2})
	w.eventually("the calls are in flight", func() bool { return w.sim.Charges().Calls == 5 })
	lose()
	w.eventually("the second instance has both partitions", func() bool { return second.service.Partitions(w.t.Context()) == 2 })
	w.send(order{id: "after1", partition: 1}, order{id: "after2", partition: 2})
	w.eventually("the second instance decides their events", func() bool {
		vs := w.decisions()
		return hasDecision(vs, "after1") && hasDecision(vs, "after2") && hasDecision(vs, "slow1") && hasDecision(vs, "slow2")
	})
	restore()
	w.eventually("the first instance has a partition again", func() bool {
		return first.hasPartitions() && second.service.Partitions(w.t.Context()) == 1
	})
	w.send(order{id: "healed1", partition: 1}, order{id: "healed2", partition: 2})
	w.want(w.awaitDecisions(), map[string]int{"captured": 9})
	if !strings.Contains(w.log.about(`"instance":"a"`), `"partitions lost`) {
		w.t.Error("the first instance did not detect the loss of its partition")
	}
	for _, event := range []string{"healed1", "healed2"} {
		if calls := w.sim.Charges().CallsByKey[event]; calls != 1 {
			w.t.Errorf("%[2]d calls for event %[1]s", event, calls)
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
