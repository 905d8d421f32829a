// Package kafkatest gives tests a broker: a fake one in memory, fit for
// virtual time, or a real one in a container.
package kafkatest

import (
	"context"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Broker is a cluster that a test can reach.
type Broker struct {
	Addresses []string
	// Dial opens a connection to it; nil: the network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Fake is the fake cluster, for scripting its answers; nil for a real one.
	Fake *kfake.Cluster
	// Network is the fake's network, on which a test can put more servers; nil
	// for a real one.
	Network *kfake.VirtualNetwork
	// Replicas is how many a topic has; 0: one.
	Replicas int16
}

// Fake starts a cluster in memory on a network of its own. It works inside a
// synctest bubble, and is closed with the test.
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

// Uncompacted keeps a fake cluster from compacting its topics by itself, as it
// does every hour: it moves the start of the log then, which a real broker never
// does, and which is a loss of records to who reads a ledger.
func Uncompacted() kfake.Opt {
	return kfake.BrokerConfigs(map[string]string{"log.cleaner.backoff.ms": "9000000000000"})
}

// Compacted makes a compacted topic, as the ledger's is.
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
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), partitions, -1, map[string]*string{"cleanup.policy": new("compact")}, topic); err != nil {
		t.Fatal(err)
	}
}
