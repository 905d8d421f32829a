package main

import (
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/kafkatest"
	"payment-capture/internal/simulator"
)

// newBroker starts a broker in memory, and returns its address and a client that
// reads the outcomes.
func newBroker(t *testing.T, topics ...string) (string, *kgo.Client) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topics...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.ConsumeTopics("payment.captured"),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return cluster.ListenAddrs()[0], client
}

// ourTopics are those that the service needs.
func ourTopics() []string {
	return []string{"order.ready_to_capture", "payment.captured", "payment.rejected", "payment-capture.parked"}
}

// sendOrder sends an order of 700.50.
func sendOrder(t *testing.T, client *kgo.Client, currency string) {
	t.Helper()
	value := fmt.Appendf(nil, `{"specversion":"1.0","id":"e1","source":"/test","type":"order.ready_to_capture","time":%q,"data":{`+
		`"order_id":"o1","amount":"700.50","currency":%q,"description":"An order","payer":{"token":"planted-payer-token"}}}`,
		time.Now().UTC().Format(time.RFC3339), currency)
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "order.ready_to_capture", Value: value}).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// terminate sends this process what a container's stop sends. The command under
// test has to be listening for it.
func terminate(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// takenAddress returns an address that is listened on.
func takenAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}

func TestRunSimulatedUntilSIGTERM(t *testing.T) {
	broker, client := newBroker(t, ourTopics()...)
	(&kafkatest.Broker{Addresses: []string{broker}}).Compacted(t, "payment-capture.ledger", 1)
	setEnv(t, "KAFKA_BROKERS="+broker, "KAFKA_START_AT=earliest", "ADMIN_ADDR=off", "LEDGER_DIR="+t.TempDir(),
		// The real API's are not to be used.
		"MERCADOPAGO_URL=http://localhost:1", "MERCADOPAGO_ACCESS_TOKEN="+accessToken)
	sendOrder(t, client, "BRL")
	var stdout, stderr output
	ended := make(chan int, 1)
	go func() {
		ended <- run([]string{"run", "--simulator", "--simulator-listen", "localhost:0", "--simulator-site", "MLB"}, &stdout, &stderr)
	}()
	fetches := client.PollFetches(t.Context())
	if err := fetches.Err(); err != nil || fetches.NumRecords() != 1 {
		t.Fatalf("%d outcomes, %v", fetches.NumRecords(), err)
	}
	terminate(t)
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d\n%s", code, stderr.String())
	}
	if log := stderr.String(); !strings.Contains(log, `"msg":"stopped"`) || strings.Contains(log, "planted") {
		t.Errorf("the log is\n%s", log)
	}
}

func TestSimulatorUntilSIGTERM(t *testing.T) {
	stderr := newOutput("simulator listens on http://127.0.0.1:")
	ended := make(chan int, 1)
	go func() { ended <- run([]string{"simulator", "--listen", "127.0.0.1:0"}, &output{}, stderr) }()
	<-stderr.until
	terminate(t)
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

// A taken port is not a usage error, because a later start may succeed.
func TestTakenPorts(t *testing.T) {
	taken := takenAddress(t)
	setEnv(t, "ADMIN_ADDR="+taken, "MERCADOPAGO_ACCESS_TOKEN="+accessToken, "CURRENCY=MXN", "KAFKA_BROKERS=localhost:1")
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"simulator":     {[]string{"simulator", "--listen", taken}, "--listen"},
		"run simulated": {[]string{"run", "--simulator", "--simulator-listen", taken}, "--simulator-listen"},
		"run":           {[]string{"run"}, "ADMIN_ADDR"},
		"run, admin":    {[]string{"run", "--simulator", "--simulator-listen", "localhost:0"}, "ADMIN_ADDR"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("MERCADOPAGO_ACCESS_TOKEN", accessToken) // --simulator changes it
			t.Setenv("MERCADOPAGO_URL", "http://localhost:1")
			if got := command(t, test.args...); got.code != exitFailed || !strings.Contains(got.stderr, test.want) {
				t.Errorf("got %+v, want exit code 1 and %q", got, test.want)
			}
		})
	}
}

// A bad configuration stops the simulator that was started for it.
func TestRunSimulatedWithABadConfiguration(t *testing.T) {
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	setEnv(t, "KAFKA_GROUP=")
	got := command(t, "run", "--simulator", "--simulator-listen", address)
	if got.code != exitUsage || !strings.Contains(got.stderr, "KAFKA_GROUP") {
		t.Errorf("got %+v", got)
	}
	if listener, err = net.Listen("tcp", address); err != nil {
		t.Fatalf("the simulator is still there: %v", err)
	}
	_ = listener.Close()
	setEnv(t, "CURRENCY=BRL")
	got = command(t, "run", "--simulator", "--simulator-listen", "localhost:0", "--simulator-site", "MLM")
	if got.code != exitUsage || !strings.Contains(got.stderr, "--simulator-site") {
		t.Errorf("got %+v", got)
	}
}

func TestRunIsRefused(t *testing.T) {
	sim, err := simulator.New(simulator.Config{AccessToken: "another"})
	if err != nil {
		t.Fatal(err)
	}
	api := httptest.NewServer(sim)
	t.Cleanup(api.Close)
	broker, _ := newBroker(t, ourTopics()...)
	(&kafkatest.Broker{Addresses: []string{broker}}).Compacted(t, "payment-capture.ledger", 1)
	setEnv(t, "KAFKA_BROKERS="+broker, "ADMIN_ADDR=off", "CURRENCY=MXN", "LEDGER_DIR="+t.TempDir(),
		"MERCADOPAGO_URL="+api.URL, "MERCADOPAGO_ACCESS_TOKEN="+accessToken)

	if got := command(t, "run"); got.code != exitUsage || !strings.Contains(got.stderr, "KAFKA_START_AT") {
		t.Errorf("a new group without a start: got %+v", got)
	}
}

func TestTopics(t *testing.T) {
	broker, _ := newBroker(t, "order.ready_to_capture")
	// What concerns the payment API is not needed.
	setEnv(t, "KAFKA_BROKERS="+broker)
	got := command(t, "topics", "--dry-run", "--partitions", "1")
	if !strings.Contains(got.stdout, "missing: would be created") {
		t.Errorf("dry run: got %+v", got)
	}
	got = command(t, "topics", "--partitions", "1")
	if strings.Count(got.stdout, "created") != 4 {
		t.Errorf("got %+v, want 4 topics created", got)
	}
	got = command(t, "topics", "--partitions", "1")
	if strings.Count(got.stdout, "as it should be") != 5 || got.code != exitOK {
		t.Errorf("again: got %+v", got)
	}
	got = command(t, "topics", "--partitions", "2")
	if got.code != exitFailed || !strings.Contains(got.stdout, "differs: ") {
		t.Errorf("other partitions: got %+v", got)
	}
	setEnv(t, "KAFKA_BROKERS=")
	if got := command(t, "topics"); got.code != exitUsage || !strings.Contains(got.stderr, "KAFKA_BROKERS") {
		t.Errorf("no broker: got %+v", got)
	}
}
