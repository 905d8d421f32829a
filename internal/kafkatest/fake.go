// Package kafkatest provides brokers for tests: a fake one in memory, which works in
// virtual time, and real ones in containers.
package kafkatest

import (
	"context"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Broker is how a test reaches a cluster.
type Broker struct {
	Addresses []string
	// Dial opens a connection to it; nil: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Fake is the fake cluster, for scripting its responses; nil if it is a real one.
	Fake *kfake.Cluster
	// Network is the network of the fake cluster, on which a test can run more
	// servers; nil if the cluster is a real one.
	Network *kfake.VirtualNetwork
	// Replicas is the replication factor of topics; 0 means 1.
	Replicas int16
}

// Fake starts a cluster in memory, on a network of its own. It works in a synctest
// bubble and stops with the test.
func Fake(t testing.TB, opts ...kfake.Opt) *Broker {
	t.Helper()
	network := &kfake.VirtualNetwork{}
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.ListenFn(network.Listen), Uncompacted()}, opts...)...)
	if err != nil {
		t.Fatalf("start the fake cluster: %v", err)
	}
	t.Cleanup(cluster.Close)
	return &Broker{Addresses: cluster.ListenAddrs(), Dial: network.DialContext, Fake: cluster, Network: network}
}

// Uncompacted stops a fake cluster from compacting its topics every hour. Its compaction
// moves the start of the log, which a real broker's never does; the ledger reports that
// as lost records.
func Uncompacted() kfake.Opt {
	return kfake.BrokerConfigs(map[string]string{"log.cleaner.backoff.ms": "9000000000000"})
}

// Compacted creates a compacted topic, like the ledger's.
func (b *Broker) Compacted(t testing.TB, topic string, partitions int32) {
	t.Helper()
	opts := []kgo.Opt{kgo.SeedBrokers(b.Addresses...)}
	if b.Dial != nil {
		opts = append(opts, kgo.Dialer(b.Dial))
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	compact := map[string]*string{"cleanup.policy": new("compact")}
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), partitions, -1, compact, topic); err != nil {
		t.Fatal(err)
	}
}
