//go:build synctests || integration

// Package acceptance has the scenarios that specify the service. They run on a fake
// broker in virtual time and on a real broker in a container, with the same checks.
package acceptance

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/app"
	"payment-capture/internal/config"
	"payment-capture/internal/kafka"
	"payment-capture/internal/kafkatest"
	"payment-capture/internal/secret"
	"payment-capture/internal/simulator"
)

// Planted secrets; none may appear in a log or a record of the service.
const (
	accessToken = "APP_USR-planted-access-token"
	payerToken  = "planted-payer-token"
)

// world has a broker, a simulated API and instances of the service, with topics and a
// group of its own.
type world struct {
	t       *testing.T
	name    string
	broker  *kafkatest.Broker
	sim     *simulator.Simulator
	apiURL  string
	apiDial app.DialFunc
	client  *kgo.Client
	admin   *kadm.Client
	topics  struct{ input, captured, rejected, parked, ledger string }
	group   string
	log     *logBuffer
	sent    []sentEvent
	// zombies: an instance may be suspended or lose its partitions during calls, so that
	// its calls may overlap those of the next owner.
	zombies bool
	// patience bounds every wait.
	patience time.Duration
	// secure changes how instances connect to the broker; nil: as the test's clients do.
	secure func(*config.Config)
	// stores has the local stores of the ledger: on disk, or in memory in virtual time.
	stores struct {
		dir string
		fs  vfs.FS
	}
}

// newWorld creates the topics and the API. serve serves a handler and returns its URL
// and how to dial it.
func newWorld(t *testing.T, broker *kafkatest.Broker, partitions int32, simConf simulator.Config,
	serve func(http.Handler) (string, app.DialFunc),
) *world {
	t.Helper()
	name := strings.NewReplacer("/", ".", " ", "-").Replace(t.Name())
	w := &world{t: t, name: name, broker: broker, group: name + ".group", log: &logBuffer{}, patience: 90 * time.Second}
	w.topics.input, w.topics.captured = name+".orders", name+".captured"
	w.topics.rejected, w.topics.parked = name+".rejected", name+".parked"
	w.topics.ledger = name + ".ledger"
	w.stores.dir = t.TempDir()
	if broker.Dial != nil { // virtual time does not pass while a goroutine waits for a disk
		w.stores.fs = vfs.NewMem()
	}
	if simConf.AccessToken == "" {
		simConf.AccessToken = accessToken
	}
	sim, err := simulator.New(simConf)
	if err != nil {
		t.Fatal(err)
	}
	w.sim = sim
	w.apiURL, w.apiDial = serve(sim)
	w.client = w.newClient()
	w.admin = kadm.NewClient(w.client)
	replicas := max(1, broker.Replicas)
	specs := []kafka.TopicSpec{{Name: w.topics.input, Partitions: partitions, ReplicationFactor: replicas}}
	for _, topic := range []string{w.topics.captured, w.topics.rejected, w.topics.parked} {
		specs = append(specs, kafka.TopicSpec{Name: topic, Partitions: 3, ReplicationFactor: replicas})
	}
	specs = append(specs, kafka.TopicSpec{
		Name: w.topics.ledger, Partitions: 3, ReplicationFactor: replicas, Config: map[string]string{"cleanup.policy": "compact"},
	})
	results, err := kafka.EnsureTopics(t.Context(), w.admin, false, specs...)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	w.eventually("the topics exist", func() bool {
		topics, err := w.admin.ListTopics(t.Context(), w.topics.input, w.topics.captured, w.topics.rejected, w.topics.parked, w.topics.ledger)
		return err == nil && topics.Error() == nil && len(topics) == 5
	})
	return w
}

// kafkaConfig returns the client options of the test, without the service's TLS.
func (w *world) kafkaConfig() kafka.Config {
	return kafka.Config{Brokers: w.broker.Addresses, ClientID: "test", Dial: w.broker.Dial}
}

func (w *world) newClient(opts ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	cl, err := w.kafkaConfig().NewClient(opts...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(cl.Close)
	return cl
}

// choosePartitions sends orders to the partitions that they name from now on.
func (w *world) choosePartitions(opts ...kgo.Opt) {
	w.t.Helper()
	w.client = w.newClient(append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
}

// config returns the configuration of an instance.
func (w *world) config(instance string) config.Config {
	return config.Config{
		KafkaBrokers: w.broker.Addresses, KafkaGroup: w.group, KafkaStartAt: "earliest",
		KafkaSessionTimeout: 6 * time.Second, InstanceID: w.name + "." + instance,
		TopicInput: w.topics.input, TopicCaptured: w.topics.captured, TopicRejected: w.topics.rejected, TopicParked: w.topics.parked,
		TopicLedger: w.topics.ledger, LedgerDir: w.stores.dir, ReplayedOutcomes: config.ReplayedEmit,
		CaptureOncePer: config.OncePerPayment, DuplicateWindow: 7 * 24 * time.Hour,
		CloudEventsMode: "structured", MercadoPagoURL: w.apiURL, MercadoPagoAccessToken: secret.New(accessToken),
		MercadoPagoTimeout: 5 * time.Second, Currency: "MXN", MercadoPagoAccount: "main",
		MaxInFlight: 64, CaptureDeadline: 15 * time.Minute, CaptureMaxTries: 100, CaptureReconcileFor: 2 * time.Second,
		CaptureRefusalRun: 20, InvalidEventRun: 100, InvalidEventHold: 15 * time.Minute,
		CaptureMaxEventAge: 24 * time.Hour, CaptureMaxEventLead: time.Hour, IdempotencyKeyHorizon: 24 * time.Hour,
		FlushInterval: 25 * time.Millisecond, ShutdownTimeout: 20 * time.Second, AdminAddr: config.AdminOff,
	}
}

// oncePerEvent is for tests in which one order has several events of the same amount.
func oncePerEvent(c *config.Config) { c.CaptureOncePer = config.OncePerEvent }

// instance is a running service.
type instance struct {
	w       *world
	name    string
	cancel  context.CancelFunc
	ended   chan error
	network *cutter // to everything
	kafka   *cutter // to the brokers alone
	service *app.Service
}

// start starts an instance; each change is applied to its configuration.
func (w *world) start(name string, changes ...func(*config.Config)) *instance {
	w.t.Helper()
	conf := w.config(name)
	for _, change := range changes {
		change(&conf)
	}
	if w.secure != nil {
		w.secure(&conf)
	}
	network, brokers := &cutter{}, &cutter{}
	service, err := app.New(app.Options{
		Config: conf, Version: "test", Log: slog.New(slog.NewJSONHandler(w.log,
			&slog.HandlerOptions{Level: slog.LevelDebug})).With(slog.String("instance", name)),
		DialKafka: brokers.wrap(network.wrap(w.broker.Dial)), DialAPI: network.wrap(w.apiDial), LedgerFS: w.stores.fs,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	in := &instance{w: w, name: name, cancel: cancel, ended: make(chan error, 1), network: network, kafka: brokers, service: service}
	go func() {
		err := service.Run(ctx)
		if err != nil {
			_, _ = fmt.Fprintf(w.log, "instance %s ended: %v\n", name, err)
		}
		in.ended <- err
	}()
	w.t.Cleanup(func() {
		cancel()
		network.cut()
		<-in.ended
	})
	return in
}

// stop stops the instance as SIGTERM does, and checks that Run returns no error.
func (in *instance) stop() {
	in.w.t.Helper()
	in.cancel()
	if err := in.wait(); err != nil {
		in.w.t.Errorf("instance %s stopped with: %v", in.name, err)
	}
}

func (in *instance) wait() error {
	in.w.t.Helper()
	select {
	case err := <-in.ended:
		in.ended <- err
		return err
	case <-time.After(2 * in.w.patience):
		in.w.t.Fatalf("instance %s does not end; log:\n%s", in.name, in.w.log.tail())
		return nil
	}
}

// crash cuts the instance off from everything for ever, as if its process had been
// killed.
func (in *instance) crash() {
	in.network.cut()
	in.cancel()
}

// cutter is a network that can be cut.
type cutter struct {
	mu    sync.Mutex
	dead  bool
	conns []net.Conn
}

func (c *cutter) wrap(dial app.DialFunc) app.DialFunc {
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.dead {
			_ = conn.Close()
			return nil, fmt.Errorf("the network is cut")
		}
		c.conns = append(c.conns, conn)
		return conn, nil
	}
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = true
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
}

// restore lets new connections through again.
func (c *cutter) restore() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = false
}

// logBuffer keeps what the service logged.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logBuffer) contains(text string) bool { return strings.Contains(l.String(), text) }

func (l *logBuffer) tail() string {
	s := l.String()
	return s[max(0, len(s)-6000):]
}

// eventually waits for a condition.
func (w *world) eventually(what string, condition func() bool) {
	w.t.Helper()
	deadline := time.After(w.patience)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline:
			w.t.Fatalf("not within %s: %s; log:\n%s", w.patience, what, w.log.tail())
		case <-tick.C:
		}
	}
}

// deleteRecords deletes the records of an input partition below an offset.
func (w *world) deleteRecords(partition int32, below int64) {
	w.t.Helper()
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: w.topics.input, Partition: partition, At: below})
	resp, err := w.admin.DeleteRecords(w.t.Context(), offsets)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// resetOffsets does what kafka-consumer-groups --reset-offsets --to-earliest does. The
// group must be empty.
func (w *world) resetOffsets() {
	w.t.Helper()
	starts, err := w.admin.ListStartOffsets(w.t.Context(), w.topics.input)
	if err != nil {
		w.t.Fatal(err)
	}
	w.eventually("the offsets can be reset", func() bool {
		resp, err := w.admin.CommitOffsets(w.t.Context(), w.group, starts.Offsets())
		return err == nil && resp.Error() == nil
	})
}

// serveOn serves until the end of the test.
func serveOn(t *testing.T, listener net.Listener, h http.Handler) {
	t.Helper()
	server := &http.Server{Handler: h}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
	})
}
