package kafkatest

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

// Image is the broker that the tests run against; docker-compose.yml names the
// same.
const Image = "apache/kafka:4.3.1"

// Container is a broker in a container.
type Container struct {
	Broker
	// Plain is a second address, without TLS and SASL, for the test's own
	// clients; the same as Broker's where that has neither.
	Plain   Broker
	Network string // "" or the Docker network it is in, under the name kafka
	docker  *testcontainers.DockerContainer
}

// ContainerOptions are a container's.
type ContainerOptions struct {
	Properties map[string]string // more broker properties
	Files      []testcontainers.ContainerFile
	// Secure puts Broker's address behind SASL_SSL; the properties must say
	// with what.
	Secure bool
	// Network is a Docker network to join under the name kafka, reachable
	// there at kafka:19092.
	Network string
}

// Run starts a broker in a container and waits until it takes connections. It
// is ended with the test. Without Docker the test is skipped.
func Run(t *testing.T, opts ContainerOptions) *Container {
	t.Helper()
	testcontainers.SkipIfProviderIsNotHealthy(t)
	// The advertised address must be known before the start, so the ports are
	// chosen here.
	main, plain := freePort(t), freePort(t)
	protocol := "PLAINTEXT"
	if opts.Secure {
		protocol = "SASL_SSL"
	}
	properties := map[string]string{
		"process.roles": "broker,controller", "node.id": "1",
		"controller.quorum.voters": "1@localhost:9093", "controller.listener.names": "CONTROLLER",
		"listeners": "MAIN://:9092,PLAIN://:9094,NET://:19092,SELF://:9095,CONTROLLER://:9093",
		"advertised.listeners": fmt.Sprintf("MAIN://localhost:%d,PLAIN://localhost:%d,NET://kafka:19092,SELF://localhost:9095",
			main, plain),
		"listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAIN:PLAINTEXT,NET:PLAINTEXT,SELF:PLAINTEXT,MAIN:" + protocol,
		// The broker talks to itself, to write transaction markers for one, by
		// an address that is good inside the container.
		"inter.broker.listener.name": "SELF",
		"log.dirs":                   "/tmp/kafka-logs",
		// One broker: every internal topic has one replica.
		"offsets.topic.replication.factor": "1", "transaction.state.log.replication.factor": "1",
		"transaction.state.log.min.isr": "1", "share.coordinator.state.topic.replication.factor": "1",
		"share.coordinator.state.topic.min.isr": "1",
		// A test does not wait for members that will not come.
		"group.initial.rebalance.delay.ms": "0", "group.min.session.timeout.ms": "1000",
		"auto.create.topics.enable": "false",
	}
	maps.Copy(properties, opts.Properties)
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(properties)) {
		fmt.Fprintf(&text, "%s=%s\n", key, properties[key])
	}
	custom := []testcontainers.ContainerCustomizer{
		testcontainers.WithFiles(append(opts.Files, testcontainers.ContainerFile{
			Reader: strings.NewReader(text.String()), ContainerFilePath: "/mnt/shared/config/server.properties", FileMode: 0o644,
		})...),
		testcontainers.WithCmd("sh", "-c", keepRunning),
		testcontainers.WithExposedPorts("9092/tcp", "9094/tcp"),
		testcontainers.WithHostConfigModifier(func(hc *container.HostConfig) {
			hc.PortBindings = network.PortMap{
				network.MustParsePort("9092/tcp"): {{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: fmt.Sprint(main)}},
				network.MustParsePort("9094/tcp"): {{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: fmt.Sprint(plain)}},
			}
		}),
		testcontainers.WithWaitStrategyAndDeadline(2*time.Minute, wait.ForLog("Kafka Server started")),
	}
	if opts.Network != "" {
		custom = append(custom, testcontainers.CustomizeRequestOption(func(req *testcontainers.GenericContainerRequest) error {
			req.Networks = append(req.Networks, opts.Network)
			req.NetworkAliases = map[string][]string{opts.Network: {"kafka"}}
			return nil
		}))
	}
	docker, err := testcontainers.Run(t.Context(), Image, custom...)
	testcontainers.CleanupContainer(t, docker)
	if err != nil {
		t.Fatalf("start %s: %v", Image, err)
	}
	return &Container{
		Broker:  Broker{Addresses: []string{fmt.Sprintf("localhost:%d", main)}},
		Plain:   Broker{Addresses: []string{fmt.Sprintf("localhost:%d", plain)}},
		Network: opts.Network, docker: docker,
	}
}

// keepRunning starts the broker as the image does, and starts it again when
// its process ends, on the same data.
const keepRunning = `/etc/kafka/docker/run || true
while true; do
    java -cp '/opt/kafka/libs/*' kafka.Kafka /opt/kafka/config/server.properties || true
done`

// Kill kills the broker's process; another one is started at once, with the
// same data and at the same address, and takes some seconds.
func (c *Container) Kill(ctx context.Context) error {
	code, _, err := c.docker.Exec(ctx, []string{"pkill", "-KILL", "java"})
	if err == nil && code != 0 {
		err = fmt.Errorf("pkill ended with %d", code)
	}
	return err
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // nothing was sent
	return l.Addr().(*net.TCPAddr).Port
}
