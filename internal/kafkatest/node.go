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

// listeners are the addresses that a broker listens on, and those that it advertises.
type listeners struct{ listen, advertised, protocols []string }

func newListeners(name, listen, advertised, protocol string) listeners {
	var l listeners
	return l.with(name, listen, advertised, protocol)
}

// and adds a listener without TLS and SASL.
func (l listeners) and(name, listen, advertised string) listeners {
	return l.with(name, listen, advertised, "PLAINTEXT")
}

func (l listeners) with(name, listen, advertised, protocol string) listeners {
	l.listen = append(l.listen, name+"://"+listen)
	l.advertised = append(l.advertised, name+"://"+advertised)
	l.protocols = append(l.protocols, name+":"+protocol)
	return l
}

// addTo adds the listeners, and the controller's, to a broker's properties.
func (l listeners) addTo(properties map[string]string) {
	properties["listeners"] = strings.Join(append(l.listen, "CONTROLLER://:9093"), ",")
	properties["advertised.listeners"] = strings.Join(l.advertised, ",")
	properties["listener.security.protocol.map"] = strings.Join(append(l.protocols, "CONTROLLER:PLAINTEXT"), ",")
	properties["controller.listener.names"] = "CONTROLLER"
}

// node returns the options of every broker's container: its properties, its ports (in
// the container and on this machine), and a wait until it is up.
func node(properties map[string]string, ports map[int]int) []testcontainers.ContainerCustomizer {
	all := map[string]string{
		"log.dirs": "/tmp/kafka-logs",
		// Groups do not wait for more members.
		"group.initial.rebalance.delay.ms": "0", "group.min.session.timeout.ms": "1000",
		"auto.create.topics.enable": "false",
	}
	maps.Copy(all, properties)
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&text, "%s=%s\n", key, all[key])
	}
	exposed := make([]string, 0, len(ports))
	bound := make(network.PortMap)
	for inside, outside := range ports {
		port := fmt.Sprintf("%d/tcp", inside)
		exposed = append(exposed, port)
		bound[network.MustParsePort(port)] = []network.PortBinding{
			{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: fmt.Sprint(outside)},
		}
	}
	return []testcontainers.ContainerCustomizer{
		testcontainers.WithFiles(testcontainers.ContainerFile{
			Reader: strings.NewReader(text.String()), ContainerFilePath: "/mnt/shared/config/server.properties", FileMode: 0o644,
		}),
		testcontainers.WithCmd("sh", "-c", keepRunning),
		testcontainers.WithExposedPorts(exposed...),
		testcontainers.WithHostConfigModifier(func(hc *container.HostConfig) { hc.PortBindings = bound }),
		testcontainers.WithWaitStrategyAndDeadline(2*time.Minute, wait.ForLog("Kafka Server started")),
	}
}

func inNetwork(name, alias string) testcontainers.ContainerCustomizer {
	return testcontainers.CustomizeRequestOption(func(req *testcontainers.GenericContainerRequest) error {
		req.Networks = append(req.Networks, name)
		req.NetworkAliases = map[string][]string{name: {alias}}
		return nil
	})
}

// keepRunning starts the broker as the image does. When its process ends, it starts it
// again with the same data, unless the file stayDown exists.
const keepRunning = `/etc/kafka/docker/run || true
while true; do
    while [ -e ` + stayDown + ` ]; do sleep 0.1; done
    java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile=/opt/kafka/config/log4j2.yaml \
        -Dlog4j.configuration=file:/opt/kafka/config/log4j.properties -cp '/opt/kafka/libs/*' kafka.Kafka /opt/kafka/config/server.properties || true
done`

// stayDown is a file in the container. While it exists, no broker starts.
const stayDown = "/tmp/stay-down"

func kill(ctx context.Context, docker *testcontainers.DockerContainer) error {
	return run(ctx, docker, "pkill", "-KILL", "java")
}

func run(ctx context.Context, docker *testcontainers.DockerContainer, command ...string) error {
	code, _, err := docker.Exec(ctx, command)
	if err == nil && code != 0 {
		err = fmt.Errorf("%v ended with %d", command, code)
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
