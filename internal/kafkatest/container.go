package kafkatest

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"testing"

	"github.com/testcontainers/testcontainers-go"
)

// Image returns the broker image of the tests: KAFKA_IMAGE, or else the one that
// docker-compose.yml has too.
func Image() string { return cmp.Or(os.Getenv("KAFKA_IMAGE"), "apache/kafka:4.3.1") }

// Container is a broker in a container.
type Container struct {
	Broker
	// Plain is a second address, without TLS and SASL, for the test's own clients.
	Plain Broker
	// TLS is the address with TLS alone, of a secure broker.
	TLS     Broker
	Network string // the Docker network in which its name is kafka, or ""
	// Routes are its addresses that lead through proxies.
	Routes []Route
	docker *testcontainers.DockerContainer
}

// Route is a way to a broker through a proxy of the test, which listens on Proxy and
// forwards to Broker. The broker advertises Proxy to clients that use the route.
type Route struct{ Proxy, Broker string }

// ContainerOptions configure a Container.
type ContainerOptions struct {
	Properties map[string]string // additional broker properties
	Files      []testcontainers.ContainerFile
	// Secure makes Broker's listener SASL_SSL, and adds one with TLS alone; Properties
	// must configure them, as listener.name.main and listener.name.tls.
	Secure bool
	// SASL makes Broker's listener SASL_PLAINTEXT.
	SASL bool
	// JavaOptions are options of the broker's virtual machine.
	JavaOptions string
	// Network is a Docker network to join; the broker's address there is kafka:19092.
	Network string
	// Routes is the number of additional addresses that lead through proxies.
	Routes int
}

// Run starts a broker in a container and waits until it is up. It stops with the test.
// Without Docker the test is skipped.
func Run(t *testing.T, opts ContainerOptions) *Container {
	t.Helper()
	testcontainers.SkipIfProviderIsNotHealthy(t)
	// The broker must know its advertised address when it starts, so the ports are
	// chosen here.
	main, plain := freePort(t), freePort(t)
	protocol := "PLAINTEXT"
	switch {
	case opts.Secure:
		protocol = "SASL_SSL"
	case opts.SASL:
		protocol = "SASL_PLAINTEXT"
	}
	listen := newListeners("MAIN", ":9092", fmt.Sprintf("localhost:%d", main), protocol).
		and("PLAIN", ":9094", fmt.Sprintf("localhost:%d", plain)).
		and("NET", ":19092", "kafka:19092").
		// The broker sends requests to itself, transaction markers for example, at
		// an address inside the container.
		and("SELF", ":9095", "localhost:9095")
	ports := map[int]int{9092: main, 9094: plain}
	var secured []string
	if opts.Secure {
		port := freePort(t)
		listen = listen.with("TLS", ":9096", fmt.Sprintf("localhost:%d", port), "SSL")
		ports[9096] = port
		secured = append(secured, fmt.Sprintf("localhost:%d", port))
	}
	routes := make([]Route, opts.Routes)
	for i := range routes {
		inside, outside := firstRoutePort+i, freePort(t)
		routes[i] = Route{Proxy: fmt.Sprintf("127.0.0.1:%d", freePort(t)), Broker: fmt.Sprintf("127.0.0.1:%d", outside)}
		listen = listen.and(fmt.Sprintf("ROUTE%d", i), fmt.Sprintf(":%d", inside), routes[i].Proxy)
		ports[inside] = outside
	}
	properties := map[string]string{
		"process.roles": "broker,controller", "node.id": "1",
		"controller.quorum.voters":   "1@localhost:9093",
		"inter.broker.listener.name": "SELF",
		// With one broker, internal topics have one replica.
		"offsets.topic.replication.factor": "1", "transaction.state.log.replication.factor": "1",
		"transaction.state.log.min.isr": "1", "share.coordinator.state.topic.replication.factor": "1",
		"share.coordinator.state.topic.min.isr": "1",
	}
	listen.addTo(properties)
	maps.Copy(properties, opts.Properties)
	custom := append(node(properties, ports), testcontainers.WithFiles(opts.Files...),
		testcontainers.WithEnv(map[string]string{"KAFKA_OPTS": opts.JavaOptions}))
	if opts.Network != "" {
		custom = append(custom, inNetwork(opts.Network, "kafka"))
	}
	docker, err := testcontainers.Run(t.Context(), Image(), custom...)
	testcontainers.CleanupContainer(t, docker, testcontainers.StopTimeout(0))
	if err != nil {
		t.Fatalf("start %s: %v", Image(), err)
	}
	return &Container{
		Broker:  Broker{Addresses: []string{fmt.Sprintf("localhost:%d", main)}},
		Plain:   Broker{Addresses: []string{fmt.Sprintf("localhost:%d", plain)}},
		TLS:     Broker{Addresses: secured},
		Network: opts.Network, Routes: routes, docker: docker,
	}
}

// firstRoutePort is the port of the first route inside the container.
const firstRoutePort = 9201

// Kill kills the broker's process. Another one starts at once, with the same data and
// address, and is up after some seconds.
func (c *Container) Kill(ctx context.Context) error { return kill(ctx, c.docker) }

// Log returns the output of the broker's processes.
func (c *Container) Log(ctx context.Context) string {
	out, err := c.docker.Logs(ctx)
	if err != nil {
		return err.Error()
	}
	defer out.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(out)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
