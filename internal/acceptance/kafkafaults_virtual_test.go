//go:build synctests

package acceptance

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/kafkatest"
	"payment-capture/internal/simulator"
)

// TestVirtualKafkaFaults runs the scenarios that need a fake cluster.
func TestVirtualKafkaFaults(t *testing.T) {
	t.Parallel()
	three := []kfake.Opt{kfake.NumBrokers(3), kfake.Ports(9092, 9093, 9094)}
	for _, s := range []struct {
		name       string
		partitions int32
		opts       []kfake.Opt
		run        func(w *world)
	}{
		{"leaders move", 6, three, leadersMove},
		{"coordinators move", 6, three, coordinatorsMove},
		{"leaders and coordinators move", 6, three, everythingMoves},
		{"the topic was truncated", 2, nil, truncated},
		{"partitions are added", 1, nil, partitionsAdded},
		{"partitions are added while a static member restarts", 1, nil, partitionsAddedStatic},
		{"the broker restarts", 1, nil, brokerRestarts},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			virtually(t, s.partitions, s.run, s.opts...)
		})
	}
}

func virtually(t *testing.T, partitions int32, run func(w *world), opts ...kfake.Opt) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		broker := kafkatest.Fake(t, append([]kfake.Opt{kfake.GroupMinSessionTimeout(1)}, opts...)...)
		run(newWorld(t, broker, partitions, simulator.Config{Latency: 20 * time.Millisecond}, serveVirtual(t, broker)))
	})
}

// whileMoving sends events for ten seconds and calls move repeatedly.
func (w *world) whileMoving(move func()) {
	w.t.Helper()
	w.start("a")
	w.start("b")
	stop := w.load()
	for range 50 {
		time.Sleep(time.Duration(50+rand.IntN(300)) * time.Millisecond)
		move()
	}
	stop()
	w.want(w.awaitDecisions(), map[string]int{"captured": len(w.sent)})
	w.wantOneCallPerEvent()
}

func (w *world) moveLeader() {
	topic := []string{w.topics.input, w.topics.captured, w.topics.rejected, w.topics.parked}[rand.IntN(4)]
	partitions := w.broker.Fake.PartitionInfos(topic)
	p := int32(rand.IntN(len(partitions)))
	if err := w.broker.Fake.MoveTopicPartition(topic, p, int32(rand.IntN(3))); err != nil {
		w.t.Error(err)
	}
}

func leadersMove(w *world) { w.whileMoving(w.moveLeader) }

func coordinatorsMove(w *world) { w.whileMoving(w.broker.Fake.RehashCoordinators) }

func everythingMoves(w *world) {
	w.whileMoving(func() {
		switch rand.IntN(8) {
		case 0:
			w.broker.Fake.RehashCoordinators()
		case 1:
			w.broker.Fake.ShufflePartitionLeaders()
		default:
			w.moveLeader()
		}
	})
}

// truncated has a new leader with fewer records than the service has read. The partition
// halts, and the other one continues.
func truncated(w *world) {
	w.choosePartitions()
	in := w.start("a")
	w.send(order{id: "e1", partition: 1}, order{id: "e2", partition: 1}, order{id: "e3", partition: 1}, order{id: "e4", partition: 2})
	w.awaitDecisions()
	fake := w.broker.Fake
	var asked atomic.Int32
	fake.ControlKey(int16(kmsg.OffsetForLeaderEpoch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		req := r.(*kmsg.OffsetForLeaderEpochRequest)
		resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
		for _, t := range req.Topics {
			rt := kmsg.NewOffsetForLeaderEpochResponseTopic()
			rt.Topic = t.Topic
			for _, p := range t.Partitions {
				asked.Add(1)
				rp := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
				rp.Partition, rp.LeaderEpoch, rp.EndOffset = p.Partition, p.LeaderEpoch, 1
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
	if err := fake.MoveTopicPartition(w.topics.input, 0, fake.LeaderFor(w.topics.input, 0)); err != nil {
		w.t.Fatal(err)
	}
	w.eventually("the partition is halted", func() bool {
		return strings.Contains(in.service.HaltedPartitions(w.t.Context())[0], "it was truncated")
	})
	if asked.Load() == 0 {
		w.t.Error("the service did not ask the leader for the end offset of the epoch")
	}
	if ready, body := in.readyz(); ready || !strings.Contains(body, "it was truncated") {
		w.t.Errorf("ready %v: %s", ready, body)
	}
	w.send(order{id: "e5", partition: 2})
	w.eventually("the other partition continues", func() bool { return len(w.decisions()) == 5 })
	w.check(w.decisions())
}

// partitionsAdded adds partitions while the service runs. All their events are captured
// without a restart.
func partitionsAdded(w *world) {
	w.choosePartitions(kgo.MetadataMinAge(100 * time.Millisecond))
	in := w.start("a")
	w.send(order{id: "e1", partition: 1})
	w.awaitDecisions()
	began := time.Now()
	w.addPartitions(3)
	w.choosePartitions()
	w.send(order{id: "e2", partition: 2}, order{id: "e3", partition: 3}, order{id: "e4", partition: 2})
	w.patience = 6 * time.Minute
	w.eventually("the new partitions are assigned", func() bool { return in.service.Partitions(w.t.Context()) == 3 })
	w.t.Logf("the new partitions were noticed after %s", time.Since(began).Round(time.Second))
	w.send(order{id: "e5", partition: 3})
	w.want(w.awaitDecisions(), map[string]int{"captured": 5})
	w.wantOneCallPerEvent()
}

// brokerRestarts stops the only broker repeatedly while events arrive, for a moment or
// for longer than the session time-out.
func brokerRestarts(w *world) {
	w.broker.Fake.Close()
	opts := []kfake.Opt{
		kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(w.broker.Network.Listen), kfake.GroupMinSessionTimeout(1),
		kfake.DataDir(w.t.TempDir()), kfake.SyncWrites(),
	}
	open := func() {
		fake, err := kfake.NewCluster(opts...)
		if err != nil {
			w.t.Fatal(err)
		}
		w.broker.Fake, w.broker.Addresses = fake, fake.ListenAddrs()
	}
	open()
	w.t.Cleanup(func() { w.broker.Fake.Close() })
	w.client = w.newClient()
	w.admin = kadm.NewClient(w.client)
	w.createTopic(w.topics.input, 3, nil)
	w.createLedger()
	for _, topic := range []string{w.topics.captured, w.topics.rejected, w.topics.parked} {
		w.createTopic(topic, 3, nil)
	}
	w.start("a")
	w.start("b")
	// Calls that the loss of a partition cancels are repeated.
	w.zombies = true
	for n, away := range []time.Duration{time.Second, 10 * time.Second, 100 * time.Millisecond, 40 * time.Second} {
		w.send(numbered(200, func(i int, o *order) { o.id = fmt.Sprintf("e%d-%d", n, i); o.order = "o-" + o.id })...)
		w.eventually("some are captured", func() bool { return w.sim.Charges().Calls > 200*n+50 })
		w.broker.Fake.Close()
		time.Sleep(away)
		open()
		w.want(w.awaitDecisions(), map[string]int{"captured": 200 * (n + 1)})
	}
}
