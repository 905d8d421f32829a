// Package app is the composition root: it builds every part of the service
// from the configuration, starts them, and stops them in order.
package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"payment-capture/internal/admin"
	"payment-capture/internal/capture"
	"payment-capture/internal/config"
	"payment-capture/internal/contact"
	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
	"payment-capture/internal/kafka/txnrecovery"
	"payment-capture/internal/ledger"
	"payment-capture/internal/limiter"
	"payment-capture/internal/mercadopago"
	"payment-capture/internal/pipeline"
	"payment-capture/internal/rules"
	"payment-capture/internal/secret"
	"payment-capture/internal/tlsfiles"
	"payment-capture/internal/tracing"
)

// DialFunc opens a connection.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Options configure a Service, beside its environment variables.
type Options struct {
	Config  config.Config
	Version string
	Log     *slog.Logger
	Level   *slog.LevelVar // of Log, which the admin address may change; nil: it may not
	// DialKafka and DialAPI replace the network in tests; nil: the network.
	DialKafka, DialAPI DialFunc
	// LedgerFS replaces the disk under LEDGER_DIR in tests; nil: the disk.
	LedgerFS vfs.FS
	// WrapLedger replaces the ledger as the pipeline sees it, for measurements;
	// nil: nothing replaces it.
	WrapLedger func(pipeline.Ledger) pipeline.Ledger
}

// Service is the service, built and not started.
type Service struct {
	opts     Options
	registry *prometheus.Registry
	client   *mercadopago.Client
	capturer capturer
	ledger   *ledger.Ledger
	conf     pipeline.Config
	pipeline atomic.Pointer[pipeline.Pipeline] // the current one
	starting atomic.Bool                       // the ledger is being read, before the pipeline runs
	stepDown *stepDown
	admin    adminFiles
	traces   *tracing.Provider // nil: off
	reload   func()            // the files of secrets and certificates, if they changed
}

// New builds the service. Its error names the variable that is wrong.
func New(opts Options) (*Service, error) {
	c := opts.Config
	s := &Service{opts: opts, registry: prometheus.NewRegistry()}
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	s.stepDown = newStepDown(s.registry)
	token, err := source(c.MercadoPagoAccessToken, "MERCADOPAGO_ACCESS_TOKEN_FILE", c.MercadoPagoAccessTokenFile, opts.Log)
	if err != nil {
		return nil, fmt.Errorf("MERCADOPAGO_ACCESS_TOKEN_FILE: %w", err)
	}
	trusted, err := APITLS(c, opts.Log)
	if err != nil {
		return nil, err
	}
	s.client, err = mercadopago.New(mercadopago.Config{
		URL: c.MercadoPagoURL, Timeout: c.MercadoPagoTimeout, MaxConnections: c.MaxInFlight,
		DialContext: opts.DialAPI, TLS: trusted, UserAgent: "payment-capture/" + opts.Version, Answered: s.stepDown.apiAnswered,
	}, func() secret.Text { // called before every call to the API
		text, _ := token.Text() // the source logs the error; the last token stays in use
		return text
	})
	if err != nil {
		return nil, fmt.Errorf("MERCADOPAGO_*: %w", err)
	}
	kafkaConfig, err := KafkaConfig(c, opts.Log, opts.DialKafka)
	if err != nil {
		return nil, err
	}
	kafkaConfig.Metrics = &kafka.ClientMetrics{}
	kafkaConfig.Contact = s.stepDown.contact
	kafkaConfig.Requests = kafka.NewRequestLimit(c.KafkaMaxRequestBytes)
	start, err := kafka.ParseStartAt(c.KafkaStartAt)
	if err != nil {
		return nil, fmt.Errorf("KAFKA_START_AT: %w", err)
	}
	accepted, err := kafka.ParseAcceptedOffsets(c.KafkaAcceptOffsets)
	if err != nil {
		return nil, fmt.Errorf("KAFKA_ACCEPT_OFFSETS: %w", err)
	}
	s.capturer.Limiter = limiter.New(limiter.Config{
		MaxInFlight: c.MaxInFlight, RateLimit: c.CaptureRateLimit, RefusalRun: c.CaptureRefusalRun,
		Credential: token.Version, Log: opts.Log, Metrics: limiter.NewMetrics(s.registry),
	})
	s.capturer.Capturer = capture.New(capture.Config{
		Rules:    Rules(c),
		Deadline: c.CaptureDeadline, MaxTries: c.CaptureMaxTries, ReconcileFor: c.CaptureReconcileFor,
		Log: opts.Log, Metrics: capture.NewMetrics(s.registry),
	}, s.client, s.capturer.Limiter)
	s.ledger = ledger.New(ledger.Config{
		Kafka: kafkaConfig, Topic: c.TopicLedger, Retention: c.LedgerRetention, Dir: LedgerDir(c), FS: opts.LedgerFS,
		Log: opts.Log, Metrics: ledger.NewMetrics(s.registry), EndHanging: s.endHanging,
	})
	s.conf = pipeline.Config{
		Kafka: kafkaConfig, Group: c.KafkaGroup, InstanceID: c.InstanceID, Static: c.KafkaStaticMembership,
		SessionTimeout: c.KafkaSessionTimeout, StartAt: start, Accepted: accepted,
		Topics: pipeline.Topics{
			Input: c.TopicInput, Captured: c.TopicCaptured, Rejected: c.TopicRejected, Parked: c.TopicParked, Ledger: c.TopicLedger,
		},
		Account: c.MercadoPagoAccount, Decoder: Decoder(c), Mode: event.Mode(c.CloudEventsMode), MaxInFlight: c.MaxInFlight,
		Rules: Rules(c), InvalidRun: c.InvalidEventRun, InvalidHold: c.InvalidEventHold,
		SuppressReplayed: c.ReplayedOutcomes == config.ReplayedSuppress,
		FlushInterval:    c.FlushInterval, ShutdownTimeout: c.ShutdownTimeout,
		Log: opts.Log, Metrics: pipeline.NewMetrics(s.registry),
	}
	if s.admin, err = newAdminFiles(c, opts.Log); err != nil {
		return nil, err
	}
	s.reload = func() {
		token.Version()
		s.admin.reload()
		if trusted != nil {
			trusted()
		}
		kafkaConfig.Look()
	}
	if protocol, on := c.Traces(); on {
		s.traces, err = tracing.Start(context.Background(), tracing.Config{
			Protocol: protocol, Version: opts.Version, Instance: c.InstanceID, Log: opts.Log,
		})
		if err != nil {
			return nil, err
		}
		s.conf.Tracer = s.traces.Tracer()
	}
	s.pipeline.Store(s.newPipeline())
	s.registerMetrics()
	return s, nil
}

func (s *Service) newPipeline() *pipeline.Pipeline {
	var known pipeline.Ledger = claimer{s.ledger, s.opts.Config.CaptureDeadline + claimReserve}
	if s.opts.WrapLedger != nil {
		known = s.opts.WrapLedger(known)
	}
	return pipeline.New(s.conf, s.capturer, known)
}

// capturer adapts a capture.Capturer and its limiter to the pipeline's interface.
type capturer struct {
	*capture.Capturer
	*limiter.Limiter
}

func (c capturer) Capture(ctx context.Context, e *event.ReadyToCapture, lease pipeline.Lease) (*event.Decision, error) {
	return c.Capturer.Capture(ctx, e, lease)
}

func source(text secret.Text, variable, file string, log *slog.Logger) (*secret.Source, error) {
	if file == "" {
		return secret.Fixed(text), nil
	}
	return secret.File(file, secret.NewWarner(log, variable, file))
}

// APITLS returns the TLS configuration of connections to the API, read again when
// MERCADOPAGO_CA_FILE changes; nil: the default one.
func APITLS(c config.Config, log *slog.Logger) (func() *tls.Config, error) {
	if c.MercadoPagoCA == "" {
		return nil, nil //nolint:nilnil // nil is the default configuration
	}
	files, err := tlsfiles.New(tlsfiles.Files{CA: c.MercadoPagoCA}, log, "MERCADOPAGO_CA_FILE")
	if err != nil {
		return nil, fmt.Errorf("MERCADOPAGO_CA_FILE: %w", err)
	}
	return files.Current, nil
}

// Rules returns the configured rules.
func Rules(c config.Config) rules.Rules {
	return rules.Rules{
		Currency: c.Currency, MaxEventAge: c.CaptureMaxEventAge, MaxEventLead: c.CaptureMaxEventLead, KeyRetention: c.IdempotencyKeyHorizon,
		LedgerRetention: c.LedgerRetention, Guard: rules.Guard(c.CaptureOncePer), DuplicateWindow: c.DuplicateWindow,
		Account: c.MercadoPagoAccount, Encoding: mercadopago.EncodingVersion,
	}
}

// Decoder returns the configured decoder of events.
func Decoder(c config.Config) event.Decoder { return event.Decoder{TimeRequired: c.EventTimeRequired} }

// KafkaConfig returns the configuration of Kafka clients. Its error names the variable
// that is wrong.
func KafkaConfig(c config.Config, log *slog.Logger, dial DialFunc) (kafka.Config, error) {
	k := kafka.Config{Brokers: c.KafkaBrokers, ClientID: "payment-capture/" + c.InstanceID, Dial: dial}
	// At level info the library logs every reconnect.
	if log != nil {
		k.Log = slog.New(atLeast{log.Handler(), slog.LevelWarn})
	}
	var looks []func()
	k.Look = func() {
		for _, look := range looks {
			look()
		}
	}
	if c.KafkaTLS {
		conf, err := kafka.NewTLS(kafka.TLSFiles{CA: c.KafkaTLSCA, Certificate: c.KafkaTLSCert, Key: c.KafkaTLSKey}, log)
		if err != nil {
			return k, fmt.Errorf("KAFKA_TLS_*: %w", err)
		}
		k.TLS = conf
		looks = append(looks, func() { conf.Current() })
	}
	if c.KafkaSASLMechanism == "" {
		return k, nil
	}
	password, err := source(c.KafkaSASLPassword, "KAFKA_SASL_PASSWORD_FILE", c.KafkaSASLPasswordFile, log)
	if err != nil {
		return k, fmt.Errorf("KAFKA_SASL_PASSWORD_FILE: %w", err)
	}
	looks = append(looks, func() { password.Version() })
	sasl := kafka.SASLConfig{Mechanism: c.KafkaSASLMechanism, User: c.KafkaSASLUser, Credential: password.Text}
	if c.KafkaOAuthTokenURL != "" {
		conf, err := tlsfiles.New(tlsfiles.Files{CA: c.KafkaOAuthCA}, log, "KAFKA_OAUTH_CA_FILE")
		if err != nil {
			return k, fmt.Errorf("KAFKA_OAUTH_CA_FILE: %w", err)
		}
		looks = append(looks, func() { conf.Current() })
		sasl.OAuth = &kafka.OAuth{TokenURL: c.KafkaOAuthTokenURL, Scopes: strings.Fields(c.KafkaOAuthScope), TLS: conf, Log: log}
	}
	if k.SASL, err = kafka.NewSASL(sasl); err != nil {
		return k, fmt.Errorf("KAFKA_SASL_MECHANISM: %w", err)
	}
	return k, nil
}

// atLeast is a handler that drops records below a level.
type atLeast struct {
	slog.Handler
	level slog.Level
}

func (h atLeast) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.level && h.Handler.Enabled(ctx, l)
}

func (h atLeast) WithAttrs(attrs []slog.Attr) slog.Handler {
	return atLeast{h.Handler.WithAttrs(attrs), h.level}
}

func (h atLeast) WithGroup(name string) slog.Handler {
	return atLeast{h.Handler.WithGroup(name), h.level}
}

// Handler returns the admin routes.
func (s *Service) Handler() http.Handler {
	return admin.Handler(admin.Service{
		Metrics: s.registry, Ready: s.ready, Level: s.opts.Level, Log: s.opts.Log,
		Tokens: s.admin.tokens, WithoutToken: s.opts.Config.AdminWithoutToken,
		Status: func(ctx context.Context) any { return s.Status(ctx) },
		Release: func(ctx context.Context, partition *int32) (any, error) {
			return s.pipeline.Load().ReleaseInvalid(ctx, partition)
		},
	})
}

// Status is the state of the service.
type Status struct {
	Instance string          `json:"instance_id"`
	Group    string          `json:"group"`
	Version  string          `json:"version"`
	API      limiter.Health  `json:"api"`
	Ledger   ledger.Health   `json:"ledger"`
	Pipeline pipeline.Status `json:"pipeline"`
}

// Status returns the state of the service.
func (s *Service) Status(ctx context.Context) Status {
	return Status{
		Instance: s.opts.Config.InstanceID, Group: s.opts.Config.KafkaGroup, Version: s.opts.Version,
		API: s.capturer.Health(), Ledger: s.ledger.Health(), Pipeline: s.pipeline.Load().Status(ctx),
	}
}

func (s *Service) ready(ctx context.Context) admin.Readiness {
	all := s.Status(ctx)
	status := all.Pipeline
	r := admin.Readiness{Detail: all}
	switch reason := s.stepDown.reason.Load(); {
	case reason != nil:
		r.Reason = *reason
	case status.Stopping:
		r.Reason = "stopping"
	case all.Ledger.DiskFailing, !status.Joined && all.Ledger.Reason != "":
		r.Reason = all.Ledger.Reason
	case status.Error != "":
		r.Reason = status.Error
	case all.Ledger.Reason != "" || !all.Ledger.Following():
		r.Reason = all.Ledger.Reason
		if r.Reason == "" {
			r.Reason = fmt.Sprintf("the ledger is being read: %d records are left", all.Ledger.Behind)
		}
	case !status.Joined:
		r.Reason = "not in the consumer group yet"
	case len(status.Halted) > 0:
		r.Reason = "partitions are halted; see detail"
	case len(status.Checking) > 0:
		r.Reason = "committed offsets are being checked; see detail"
	case !all.API.Passing():
		r.Reason = all.API.Reason
	case len(status.InvalidHolds) > 0 && len(status.InvalidHolds) == status.Partitions:
		h := status.InvalidHolds[0]
		r.Reason = fmt.Sprintf("invalid events are held in every partition of this instance; first: partition %d, offsets %d to %d, "+
			"%d records wait; %s; they are parked at %s; %s parks them now",
			h.Partition, h.First, h.Last, h.Waiting, h.Reason, h.ParkedAt.Format(time.RFC3339), h.Release)
	default:
		r.Ready = true
	}
	return r
}

// Run works until ctx ends, then stops in order: it begins no new captures, finishes
// those under way, flushes, leaves the group and closes the admin address. It returns nil
// then, and otherwise the error that ended it.
func (s *Service) Run(ctx context.Context) error {
	defer s.client.Close()
	var stopping atomic.Pointer[time.Time]
	defer context.AfterFunc(ctx, func() { stopping.Store(new(time.Now())) })()
	defer func() { s.stopTraces(ctx, stopping.Load()) }()
	log := s.opts.Log
	log.InfoContext(ctx, "starting", slog.String("version", s.opts.Version),
		slog.String("instance_id", s.opts.Config.InstanceID), slog.String("group", s.opts.Config.KafkaGroup))
	stopAdmin, err := s.listen(ctx)
	if err != nil {
		return err
	}
	defer s.watchFiles(ctx)()
	if err = s.follow(ctx); err == nil {
		err = s.work(ctx)
	}
	if closeErr := s.ledger.Close(); closeErr != nil { //nolint:contextcheck // ctx has ended; closing is bounded by itself
		log.WarnContext(ctx, "closing the local store failed; it is rebuilt if needed", slog.Any("error", closeErr))
	}
	if adminErr := stopAdmin(); adminErr != nil {
		log.WarnContext(ctx, "closing the admin address failed", slog.Any("error", adminErr))
	}
	if err == nil || (ctx.Err() != nil && errors.Is(err, context.Canceled)) {
		log.InfoContext(ctx, "stopped")
		return nil
	}
	return err
}

// tracesPatience bounds how long a stop waits for the collector of traces.
const tracesPatience = 5 * time.Second

// stopTraces exports the last spans in what the stop since a time has left of
// SHUTDOWN_TIMEOUT.
func (s *Service) stopTraces(ctx context.Context, since *time.Time) {
	within := tracesPatience
	if since != nil {
		within = min(within, s.opts.Config.ShutdownTimeout-time.Since(*since))
	}
	s.traces.Stop(ctx, within)
}

// filesInterval is the time between two checks of the files of secrets and certificates
// while nothing needs them.
const filesInterval = 10 * time.Second

// watchFiles reloads changed files of secrets and certificates until stop is called, so
// that a file that cannot be read is logged before a call or a connection needs it.
func (s *Service) watchFiles(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(filesInterval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				s.reload()
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// work runs one pipeline after the other, as long as their ends are restartable.
func (s *Service) work(ctx context.Context) error {
	log := s.opts.Log
	for {
		err := s.runPipeline(ctx)
		if silent, ok := errors.AsType[*contact.SilentError](err); ok && ctx.Err() == nil {
			s.sitOut(ctx, silent)
			s.pipeline.Store(s.newPipeline())
			continue
		}
		if !pipeline.Restartable(err) {
			return err
		}
		if ctx.Err() != nil { // uncommitted records are left to the next owner
			log.InfoContext(ctx, "stopped before rejoining the group", slog.Any("cause", err))
			return nil //nolint:nilerr // logged
		}
		// Uncommitted events are captured again, under the same idempotency keys.
		log.WarnContext(ctx, "rejoining the group", slog.Any("cause", err))
		if errors.Is(err, kafka.ErrRecreated) {
			// The group has no offsets in the new topic, and KAFKA_START_AT is about the
			// old one: all records of the new one came after the start.
			s.conf.StartAt = kafka.StartAt{Earliest: true}
		}
		s.pipeline.Store(s.newPipeline())
	}
}

// follow starts the ledger and reads it up to its end before the service joins the
// group, because a member cannot work its partitions before it has read the ledger.
func (s *Service) follow(ctx context.Context) error {
	if err := kafka.AwaitCluster(ctx, pipeline.StartPatience, s.opts.Log, s.ledger.Start); err != nil {
		return err
	}
	// A transaction that this instance left open when it died blocks reading the ledger,
	// until the broker aborts it or the instance initialises its producer again.
	err := kafka.AwaitCluster(ctx, pipeline.StartPatience, s.opts.Log, func(ctx context.Context) error {
		return txnrecovery.Recover(ctx, s.recovery())
	})
	if err != nil {
		return err
	}
	s.starting.Store(true)
	defer s.starting.Store(false)
	return s.ledger.CatchUp(ctx)
}

// endHanging completes a hanging transaction in the ledger.
func (s *Service) endHanging(ctx context.Context, producer int64, openFor time.Duration) error {
	recoverOwn := func(ctx context.Context) error {
		if s.starting.Load() { // there is no pipeline yet
			return txnrecovery.Recover(ctx, s.recovery())
		}
		return s.pipeline.Load().Reinitialise(ctx)
	}
	return txnrecovery.Complete(ctx, s.recovery(), producer, openFor, recoverOwn)
}

// recovery returns the configuration for recovering this instance's transactional id.
func (s *Service) recovery() txnrecovery.Config {
	return txnrecovery.Config{Identity: s.conf.Identity(), NewClient: s.conf.Kafka.NewClient, Log: s.opts.Log}
}

// LedgerDir returns the directory of the local store: below LEDGER_DIR, or below the
// system's directory for temporary files, so that it survives a restart.
func LedgerDir(c config.Config) string {
	name := url.PathEscape(c.KafkaGroup + "/" + c.InstanceID)
	if c.LedgerDir != "" {
		return filepath.Join(c.LedgerDir, name)
	}
	return filepath.Join(os.TempDir(), "payment-capture", name)
}

// Partitions returns how many partitions are assigned to the service.
func (s *Service) Partitions(ctx context.Context) int {
	return s.pipeline.Load().Status(ctx).Partitions
}

// HaltedPartitions returns the halted partitions, and why they are halted.
func (s *Service) HaltedPartitions(ctx context.Context) map[int32]string {
	return s.pipeline.Load().Status(ctx).Halted
}

// InFlight returns how many captures are under way.
func (s *Service) InFlight(ctx context.Context) int { return s.pipeline.Load().Status(ctx).InFlight }

// claimReserve is how much longer than CAPTURE_DEADLINE an event waits for the attempt of
// another instance: it covers the session timeout of one that died, and the lookup.
const claimReserve = 5 * time.Minute

// claimer is the ledger as the pipeline sees it.
type claimer struct {
	*ledger.Ledger

	wait time.Duration
}

// Claim implements [pipeline.Ledger].
func (l claimer) Claim(e *event.ReadyToCapture, resumes func(int32) bool, rival func(event.Attempt) bool) pipeline.Claim {
	return l.Ledger.Claim(e.ID, e.ExternalReference, ledger.ClaimConfig{Resumes: resumes, Rival: rival, Wait: l.wait})
}
