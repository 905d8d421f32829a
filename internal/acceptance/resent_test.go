//go:build synctests

package acceptance

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/config"
	"payment-capture/internal/event"
	"payment-capture/internal/kafkatest"
	"payment-capture/internal/simulator"
)

// TestResentRecordOutlivesTheLedger captures an old event because an operator resent it.
// Days later everything is lost except the input topic, which is read from its start.
// The resend headers are as old as the record, so the order must not be charged again.
func TestResentRecordOutlivesTheLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := kafkatest.Fake(t, kfake.GroupMinSessionTimeout(1))
		w := newWorld(t, broker, 2, simulator.Config{Latency: 50 * time.Millisecond}, serveVirtual(t, broker))
		in := w.start("a")
		w.send(order{id: "e1", order: "o1", time: time.Now().Add(-30 * time.Hour)})
		w.want(w.awaitDecisions(), map[string]int{"parked too_old": 1})
		at := w.parkedAt("e1")
		w.produce(copies(w.readAll(w.topics.input), func(_ int, r *kgo.Record) {
			for _, h := range (event.Resend{ParkedAt: at}).Headers() {
				r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
			}
		})...)
		w.eventually("the event is captured", func() bool { return w.lag() == 0 && len(w.sim.Charges().List) == 1 })
		in.stop()

		time.Sleep(48 * time.Hour)
		w.sim.ForgetKeys()
		w.deleteTopic(w.topics.ledger)
		w.createLedger()
		w.loseStores()
		first := w.readAll(w.topics.input)[0]
		w.deleteRecords(first.Partition, first.Offset+1) // as retention does
		w.group += ".new"
		w.start("b", func(c *config.Config) { c.KafkaStartAt = "earliest" })
		w.eventually("the topic is committed", func() bool { return w.lag() == 0 })
		if charges := len(w.sim.Charges().List); charges != 1 {
			t.Errorf("the order was charged %d times", charges)
		}
	})
}
