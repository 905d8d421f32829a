// Package demo runs the service without anything installed: on a broker in memory
// and the simulated API. It sends generated orders and checks at the end that every
// event has exactly one decision and that no buyer was charged twice.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/app"
	"payment-capture/internal/config"
	"payment-capture/internal/kafka"
	"payment-capture/internal/secret"
	"payment-capture/internal/simulator"
)

// Options configure a demo.
type Options struct {
	Events      int
	Seed        uint64
	KeepRunning bool   // keep the broker and the service running after the table
	BrokerPort  uint16 // of localhost, for the broker; 0: a free one
	Version     string
	Out         io.Writer // gets the progress and the table
	Live        bool      // Out is a terminal: draw progress bars
	Log         *slog.Logger
}

const (
	currency   = "MXN"
	partitions = 6
	// apiLatency is the response time of the simulated API.
	apiLatency = 20 * time.Millisecond
	// patience is how long the demo waits for the next decision.
	patience = 60 * time.Second
)

// ErrNotProven is the error if a promise did not hold.
var ErrNotProven = errors.New("the check of the promises failed")

// stage has the broker, the simulated API and the client of a demo.
type stage struct {
	opts    Options
	conf    config.Config
	cluster *kfake.Cluster
	sim     *simulator.Simulator
	api     *http.Server
	served  chan struct{} // closed when the API has stopped
	client  *kgo.Client
	// inFlight returns how many captures the service has in flight.
	inFlight func(context.Context) int
}

// run is the running service.
type run struct {
	ended chan struct{} // closed when the service has ended
	err   error         // its error; read it only after ended is closed
}

func begin(service func() error) *run {
	r := &run{ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		r.err = service()
	}()
	return r
}

// early returns the error of a service that ended before the demo stopped it.
func (r *run) early() error {
	if r.err == nil {
		return errors.New("the service ended by itself")
	}
	return fmt.Errorf("the service ended: %w", r.err)
}

// Run runs the demo until all promises are checked, or with KeepRunning until ctx ends
// after that. The error is [ErrNotProven] if a promise did not hold; any other error,
// including the end of ctx, is the reason why the check did not take place.
func Run(ctx context.Context, opts Options) error {
	if opts.Events < 1 {
		return errors.New("start demo: no events; use 1 or more")
	}
	s, err := setUp(ctx, opts)
	if err != nil {
		return err
	}
	defer s.tearDown()
	service, err := app.New(app.Options{Config: s.conf, Version: opts.Version, Log: opts.Log, LedgerFS: vfs.NewMem()}) //nolint:contextcheck // the template of its requests has none; each request gets its own
	if err != nil {
		return err
	}
	// The service must stop after the demo has read all decisions, and before the
	// broker and the API stop.
	serviceCtx, stopService := context.WithCancel(context.WithoutCancel(ctx))
	s.inFlight = service.InFlight
	running := begin(func() error { return service.Run(serviceCtx) })
	proof, err := s.perform(ctx, running)
	stopService()
	<-running.ended
	switch {
	case err != nil:
		return err
	case running.err != nil:
		return fmt.Errorf("stop the service: %w", running.err)
	case !proof.proven():
		return ErrNotProven
	}
	return nil
}

// perform sends the orders, prints the table, and with KeepRunning waits until ctx ends.
func (s *stage) perform(ctx context.Context, running *run) (*report, error) {
	proof, err := s.play(ctx, running)
	if err != nil {
		return nil, err
	}
	proof.print(s.opts.Out)
	if s.opts.KeepRunning {
		s.invite()
		select {
		case <-ctx.Done():
		case <-running.ended:
			return nil, running.early()
		}
	}
	return proof, nil
}

// createLedger creates the ledger topic, which must be compacted.
func (s *stage) createLedger(ctx context.Context) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(s.conf.KafkaBrokers...))
	if err != nil {
		return err
	}
	defer client.Close()
	results, err := kafka.EnsureTopics(ctx, kadm.NewClient(client), false, kafka.TopicSpec{
		Name: s.conf.TopicLedger, Partitions: partitions, ReplicationFactor: 1, Config: map[string]string{"cleanup.policy": "compact"},
	})
	if err != nil {
		return err
	}
	return results[0].Err
}

func setUp(ctx context.Context, opts Options) (*stage, error) {
	s := &stage{opts: opts}
	s.conf = config.Config{
		KafkaGroup: "payment-capture", KafkaStartAt: "earliest", KafkaSessionTimeout: 30 * time.Second, InstanceID: "demo",
		TopicInput: "order.ready_to_capture", TopicCaptured: "payment.captured", TopicRejected: "payment.rejected",
		TopicParked: "payment-capture.parked", TopicLedger: "payment-capture.ledger", CloudEventsMode: "structured",
		CaptureOncePer: config.OncePerPayment, DuplicateWindow: 7 * 24 * time.Hour, ReplayedOutcomes: config.ReplayedEmit,
		MercadoPagoAccount: "demo", MercadoPagoAccessToken: secret.New("APP_USR-demo"), MercadoPagoTimeout: 2 * time.Second,
		Currency: currency, MaxInFlight: 256, CaptureDeadline: 5 * time.Minute, CaptureMaxTries: 50,
		CaptureMaxEventAge: 24 * time.Hour, IdempotencyKeyHorizon: 24 * time.Hour,
		FlushInterval: 25 * time.Millisecond, ShutdownTimeout: 15 * time.Second, AdminAddr: config.AdminOff,
	}
	var err error
	s.cluster, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(int(opts.BrokerPort)),
		// Compaction in the fake broker raises the start offset, which the ledger
		// takes for lost records, so it is turned off.
		kfake.BrokerConfigs(map[string]string{"log.cleaner.backoff.ms": "9000000000000"}), kfake.SeedTopics(partitions,
			s.conf.TopicInput, s.conf.TopicCaptured, s.conf.TopicRejected, s.conf.TopicParked))
	if err != nil {
		return nil, fmt.Errorf("start the broker: %w", err)
	}
	s.conf.KafkaBrokers = s.cluster.ListenAddrs()
	if err := s.createLedger(ctx); err != nil {
		s.tearDown()
		return nil, err
	}
	if err := s.startAPI(ctx); err != nil {
		s.tearDown()
		return nil, err
	}
	s.client, err = kgo.NewClient(kgo.SeedBrokers(s.conf.KafkaBrokers...), kgo.ProducerLinger(5*time.Millisecond))
	if err != nil {
		s.tearDown()
		return nil, err
	}
	return s, nil
}

func (s *stage) startAPI(ctx context.Context) error {
	sim, err := simulator.New(simulator.Config{
		AccessToken: s.conf.MercadoPagoAccessToken.Reveal(), Latency: apiLatency, Seed: s.opts.Seed, Script: script(),
	})
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "localhost:0")
	if err != nil {
		return fmt.Errorf("start the simulated API: %w", err)
	}
	s.sim = sim
	s.api = &http.Server{Handler: sim, ReadHeaderTimeout: 10 * time.Second}
	s.conf.MercadoPagoURL = "http://" + listener.Addr().String()
	s.served = make(chan struct{})
	go func() {
		defer close(s.served)
		if err := s.api.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.opts.Log.ErrorContext(ctx, "simulated API ended", slog.Any("error", err))
		}
	}()
	return nil
}

func (s *stage) tearDown() {
	if s.client != nil {
		s.client.Close()
	}
	if s.api != nil {
		err := s.api.Close()
		<-s.served
		if err != nil {
			s.opts.Log.Warn("closing simulated API failed", slog.Any("error", err))
		}
	}
	s.cluster.Close()
}

// invite prints commands to send and read events with kcat.
func (s *stage) invite() {
	broker := s.conf.KafkaBrokers[0]
	_, _ = fmt.Fprintf(s.opts.Out, `
The broker stays at %[1]s until Ctrl-C. Try:

  echo '{"specversion":"1.0","id":"my-event-1","source":"/me","type":"order.ready_to_capture","time":"%[5]s","data":{"order_id":"order-1","amount":"700.50","currency":"%[3]s","description":"By hand","payer":{"token":"any"}}}' | kcat -b %[1]s -X partitioner=murmur2_random -t %[2]s -P -k order-1
  kcat -b %[1]s -t %[4]s -C -e -o beginning -X isolation.level=read_committed
`, broker, s.conf.TopicInput, currency, s.conf.TopicCaptured, time.Now().UTC().Format(time.RFC3339)) // an error of the terminal cannot be reported
}
