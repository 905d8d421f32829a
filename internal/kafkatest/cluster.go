package kafkatest

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/network"
)

// Nodes is the number of brokers of a cluster; their ids are 1 to Nodes.
const Nodes = 3

// Cluster is three brokers in containers on one Docker network. Each is a controller
// too. Topics, the internal ones included, have three replicas, of which two must be in
// sync.
type Cluster struct {
	Broker
	nodes [Nodes]*testcontainers.DockerContainer
}

// RunCluster starts a cluster whose brokers have the additional properties, and waits
// until they are up. The cluster stops with the test. Without Docker the test is
// skipped.
func RunCluster(t *testing.T, properties map[string]string) *Cluster {
	t.Helper()
	testcontainers.SkipIfProviderIsNotHealthy(t)
	net, err := network.New(t.Context())
	testcontainers.CleanupNetwork(t, net)
	if err != nil {
		t.Fatalf("create a Docker network: %v", err)
	}
	c := &Cluster{Broker: Broker{Replicas: Nodes}}
	voters := make([]string, Nodes)
	for i := range Nodes {
		voters[i] = fmt.Sprintf("%d@%s:9093", i+1, host(i))
	}
	// No broker is up before a second one is, so all start at once.
	var starting sync.WaitGroup
	var failed [Nodes]error
	for i := range Nodes {
		port := freePort(t)
		c.Addresses = append(c.Addresses, fmt.Sprintf("localhost:%d", port))
		custom := append(node(nodeProperties(i, port, voters, properties), map[int]int{9092: port}), inNetwork(net.Name, host(i)))
		starting.Go(func() { c.nodes[i], failed[i] = testcontainers.Run(t.Context(), Image(), custom...) })
	}
	starting.Wait()
	for i := range Nodes {
		testcontainers.CleanupContainer(t, c.nodes[i], testcontainers.StopTimeout(0))
	}
	for i, err := range failed {
		if err != nil {
			t.Fatalf("start %s as broker %d: %v", Image(), i+1, err)
		}
	}
	return c
}

// host returns a broker's name in the Docker network.
func host(i int) string { return fmt.Sprintf("kafka%d", i+1) }

func nodeProperties(i, port int, voters []string, more map[string]string) map[string]string {
	properties := map[string]string{
		"process.roles": "broker,controller", "node.id": fmt.Sprint(i + 1),
		"controller.quorum.voters":   strings.Join(voters, ","),
		"inter.broker.listener.name": "NET",
		"min.insync.replicas":        "2",
		// Few partitions of the internal topics, because each has three replicas
		// to create and to move.
		"offsets.topic.num.partitions": "6", "transaction.state.log.num.partitions": "6",
		"offsets.topic.replication.factor": "3", "transaction.state.log.replication.factor": "3",
		"transaction.state.log.min.isr": "2",
		// The controller notices a dead broker after three seconds, not nine.
		"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500",
	}
	newListeners("MAIN", ":9092", fmt.Sprintf("localhost:%d", port), "PLAINTEXT").
		and("NET", ":19092", host(i)+":19092").addTo(properties)
	maps.Copy(properties, more)
	return properties
}

// Down kills a broker's process and keeps it down.
func (c *Cluster) Down(ctx context.Context, id int32) error {
	if err := run(ctx, c.node(id), "touch", stayDown); err != nil {
		return err
	}
	return kill(ctx, c.node(id))
}

// Up lets a broker that is down start again, which takes some seconds. It keeps its
// data and address.
func (c *Cluster) Up(ctx context.Context, id int32) error {
	return run(ctx, c.node(id), "rm", stayDown)
}

func (c *Cluster) node(id int32) *testcontainers.DockerContainer { return c.nodes[id-1] }
