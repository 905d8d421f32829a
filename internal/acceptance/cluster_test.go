//go:build integration

package acceptance

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/kafkatest"
	"payment-capture/internal/simulator"
)

// TestCluster runs on three brokers, of which one at a time is killed or loses its
// leaders: every event has one decision, and no instance ends.
func TestCluster(t *testing.T) {
	cluster := kafkatest.RunCluster(t, nil)
	w := newWorld(t, &cluster.Broker, 6, simulator.Config{Latency: 20 * time.Millisecond}, serveReal(t))
	instances := []*instance{w.start("a"), w.start("b")}
	n := 0
	stopLoad := w.steadily(20*time.Millisecond, func() order {
		n++
		return order{id: fmt.Sprintf("e%d", n)}
	})
	gaps := w.watchGaps()
	gaps.waitForMore(w, 50)
	down := func(what string, id int32) {
		led := w.ledBy(id)
		if len(led) == 0 {
			t.Errorf("broker %d leads no partition of the input, so killing it would test nothing", id)
		}
		gaps.begin()
		if err := cluster.Down(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		w.eventually("another broker leads its partitions", func() bool { return len(w.ledBy(id)) == 0 })
		gaps.waitForMore(w, 50)
		t.Logf("broker %d, %s, died: it led partitions %v; nothing was committed for %s", id, what, led, gaps.longest())
		if err := cluster.Up(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		w.eventually("the broker is back and has caught up", w.allInSync)
	}
	down("the group's coordinator", w.coordinator(w.admin.FindGroupCoordinators, w.group))
	down("the coordinator of a's transactions", w.coordinator(w.admin.FindTxnCoordinators, w.group+"/"+w.name+".a"))

	gaps.begin()
	w.turnLeaders()
	gaps.waitForMore(w, 50)
	t.Logf("all leaders were moved: nothing was committed for %s", gaps.longest())

	stopLoad()
	w.want(w.awaitDecisions(), map[string]int{"captured": n})
	for _, in := range instances {
		select {
		case err := <-in.ended:
			t.Errorf("instance %s ended: %v", in.name, err)
			in.ended <- err
		default:
		}
	}
	made := w.sim.Charges().Calls
	t.Logf("%d events, %d calls, %d repeated", n, made, made-n)
}

// steadily sends one event per interval until stop is called, which waits until all are
// produced. Nothing else may send meanwhile.
func (w *world) steadily(interval time.Duration, next func() order) (stop func()) {
	w.t.Helper()
	// If Docker's own proxy listens on the port of a broker that is down, it accepts
	// connections and closes them at once.
	producer := w.newClient(kgo.AlwaysRetryEOF())
	enough, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-enough:
				ended <- producer.Flush(w.t.Context())
				return
			case <-tick.C:
			}
			producer.Produce(w.t.Context(), w.record(next()), func(_ *kgo.Record, err error) {
				if err != nil {
					w.t.Errorf("an event was not sent: %v", err)
				}
			})
		}
	}()
	return func() {
		w.t.Helper()
		close(enough)
		if err := <-ended; err != nil {
			w.t.Fatal(err)
		}
	}
}

// gaps measures the longest time without an outcome for a read-committed reader.
type gaps struct {
	outcomes                atomic.Int64
	start, last, longestGap atomic.Int64 // Unix milliseconds; milliseconds
}

// watchGaps reads the captured topic until the end of the test.
func (w *world) watchGaps() *gaps {
	w.t.Helper()
	g := &gaps{}
	g.last.Store(time.Now().UnixMilli())
	reader := w.newClient(kgo.ConsumeTopics(w.topics.captured), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond), kgo.AlwaysRetryEOF())
	go func() {
		for {
			fetches := reader.PollFetches(w.t.Context())
			if fetches.IsClientClosed() || w.t.Context().Err() != nil {
				return
			}
			if fetches.NumRecords() == 0 {
				continue
			}
			g.outcomes.Add(int64(fetches.NumRecords()))
			now := time.Now().UnixMilli()
			from := max(g.last.Swap(now), g.start.Load())
			g.longestGap.Store(max(g.longestGap.Load(), now-from))
		}
	}()
	return g
}

// begin resets the measurement.
func (g *gaps) begin() {
	g.start.Store(time.Now().UnixMilli())
	g.longestGap.Store(0)
}

// waitForMore waits for n more outcomes.
func (g *gaps) waitForMore(w *world, n int64) {
	w.t.Helper()
	before := g.outcomes.Load()
	w.eventually("outcomes are committed", func() bool { return g.outcomes.Load() >= before+n })
}

func (g *gaps) longest() time.Duration { return time.Duration(g.longestGap.Load()) * time.Millisecond }
