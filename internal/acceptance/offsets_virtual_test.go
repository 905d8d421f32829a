//go:build synctests

package acceptance

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"payment-capture/internal/config"
	"payment-capture/internal/kafkatest"
	"payment-capture/internal/simulator"
)

// TestVirtualWithoutTopicIDs runs the service on brokers without topic ids, then with
// them, and then without them again.
func TestVirtualWithoutTopicIDs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := t.TempDir()
		opts := []kfake.Opt{kfake.Ports(9092), kfake.GroupMinSessionTimeout(1), kfake.DataDir(disk), kfake.SyncWrites()}
		without := append(slices.Clip(opts), kfake.MaxVersions(kversion.V2_7_0()))
		broker := kafkatest.Fake(t, without...)
		w := newWorld(t, broker, 2, simulator.Config{}, serveVirtual(t, broker))
		n := 0
		for _, brokers := range [][]kfake.Opt{without, opts, without} {
			if n > 0 {
				w.reopen(brokers)
			}
			in := w.start("a")
			for range 10 {
				n++
				w.send(numbered(1, func(_ int, o *order) { o.id = id(n, 0); o.order = "o-" + o.id })...)
			}
			w.want(w.awaitDecisions(), map[string]int{"captured": n})
			time.Sleep(time.Minute) // the service checks the topics meanwhile
			w.send(order{id: id(n, 1), order: "o-" + id(n, 1)})
			n++
			w.want(w.awaitDecisions(), map[string]int{"captured": n})
			w.wantOneCallPerEvent()
			in.stop()
		}
	})
}

// reopen closes the fake cluster and opens it with other options and the same data.
func (w *world) reopen(opts []kfake.Opt) {
	w.t.Helper()
	w.broker.Fake.Close()
	fake, err := kfake.NewCluster(append([]kfake.Opt{
		kfake.NumBrokers(1), kfake.ListenFn(w.broker.Network.Listen),
		kafkatest.Uncompacted(),
	}, opts...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(fake.Close)
	w.broker.Fake, w.broker.Addresses = fake, fake.ListenAddrs()
	w.client = w.newClient()
	w.admin = kadm.NewClient(w.client)
}

// partitionsAddedStatic adds partitions while the leader of the group, a static member,
// restarts. It gets its old assignment, and the new partitions later.
func partitionsAddedStatic(w *world) {
	static := func(c *config.Config) { c.KafkaStaticMembership, c.KafkaSessionTimeout = true, 30*time.Second }
	w.choosePartitions(kgo.MetadataMinAge(100 * time.Millisecond))
	first := w.start("a", static)
	w.send(order{id: "e1", partition: 1})
	w.awaitDecisions()
	first.stop()
	w.addPartitions(3)
	w.choosePartitions()
	w.send(order{id: "e2", partition: 2}, order{id: "e3", partition: 3}, order{id: "e4", partition: 2})
	second := w.start("a", static)
	w.patience = 6 * time.Minute
	w.eventually("the new partitions are assigned", func() bool { return second.service.Partitions(w.t.Context()) == 3 })
	w.want(w.awaitDecisions(), map[string]int{"captured": 4})
}
