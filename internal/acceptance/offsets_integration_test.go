//go:build integration

package acceptance

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/kafkatest"
	"payment-capture/internal/simulator"
)

// TestConsumerProtocolStranger has a consumer of another program join by KIP-848, which
// the coordinator does not refuse. The service logs it, and no event that the other
// consumer has skipped is lost: its partitions are held when they are assigned to the
// service again.
func TestConsumerProtocolStranger(t *testing.T) {
	broker := kafkatest.Run(t, kafkatest.ContainerOptions{})
	w := newWorld(t, &broker.Broker, 6, simulator.Config{Latency: 20 * time.Millisecond}, serveReal(t))
	in := w.start("a")
	w.send(numbered(100, nil)...)
	w.want(w.awaitDecisions(), map[string]int{"captured": 100})
	s := w.stranger(kgo.ServerSideBalancer())
	in.readyzSays(w.group, "KIP-848", `client \"test\"`, "group.consumer.migration.policy")
	if !w.log.contains("consumer of another program shares the group") {
		t.Error("the log does not report that the group is shared")
	}
	w.send(numbered(100, func(i int, o *order) { o.id, o.order = fmt.Sprintf("f%d", i), fmt.Sprintf("p%d", i) })...)
	w.eventually("the other consumer reads and commits", func() bool {
		return s.read.Load() > 0 && int(s.read.Load())+len(w.decisions()) >= 200 && w.lag() == 0
	})
	s.leave()
	skips := regexp.MustCompile(`skips (\d+) records`)
	w.eventually("every event is captured or in a held range", func() bool {
		n := len(w.decisions())
		for _, reason := range in.service.HaltedPartitions(t.Context()) {
			m := skips.FindStringSubmatch(reason)
			if m == nil {
				t.Fatalf("halted: %s", reason)
			}
			skipped, err := strconv.Atoi(m[1])
			if err != nil {
				t.Fatal(err)
			}
			n += skipped
		}
		return n == 200
	})
	in.stop()
	w.resetOffsets()
	w.sent = append(w.sent, w.sent[:100]...)
	for i := range w.sent[100:200] {
		if s := &w.sent[100+i]; w.outcomes(s.id) > 0 {
			w.sent = append(w.sent, *s)
		}
	}
	w.start("a")
	w.awaitDecisions()
	if charges := len(w.sim.Charges().List); charges != 200 {
		t.Errorf("%d charges, want 200", charges)
	}
}

// outcomes returns the number of outcomes of an event.
func (w *world) outcomes(id string) int {
	return len(outcomesByEvent(w.decisions())[id])
}
