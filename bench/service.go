package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"time"

	"payment-capture/internal/app"
	"payment-capture/internal/config"
	"payment-capture/internal/event"
	"payment-capture/internal/ledger"
	"payment-capture/internal/pipeline"
	"payment-capture/internal/secret"
)

// The roles of this service, or a part of it.
const (
	roleService role = "service"
	roleLedger  role = "ledger"
)

// configuration returns the service's configuration: the defaults, except that no event
// is too old, because the input is written once for all rounds.
func configuration(s spec) config.Config {
	return config.Config{
		KafkaBrokers: s.Brokers, KafkaGroup: s.Group, KafkaStartAt: "earliest", KafkaSessionTimeout: 30 * time.Second, InstanceID: s.Instance,
		TopicInput: s.Topics.Input, TopicCaptured: s.Topics.Captured, TopicRejected: s.Topics.Rejected,
		TopicParked: s.Topics.Parked, TopicLedger: s.Topics.Ledger, LedgerDir: s.Dir, CloudEventsMode: string(event.Structured),
		CaptureOncePer: config.OncePerPayment, DuplicateWindow: 7 * 24 * time.Hour, ReplayedOutcomes: config.ReplayedEmit,
		MercadoPagoURL: "http://" + s.API, MercadoPagoAccessToken: secret.New(accessToken), MercadoPagoTimeout: 30 * time.Second,
		Currency: currency, MaxInFlight: s.InFlight, CaptureDeadline: 15 * time.Minute, CaptureMaxTries: 100, CaptureRefusalRun: 20,
		CaptureReconcileFor: 3 * time.Minute, IdempotencyKeyHorizon: 24 * time.Hour, InvalidEventRun: 100,
		FlushInterval: 25 * time.Millisecond, ShutdownTimeout: 45 * time.Second, AdminAddr: config.AdminOff,
	}
}

// accessToken is not a secret, because the API of the bench accepts any.
const accessToken = "bench"

func logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// runService runs the service as its binary does, without its admin address.
func runService(ctx context.Context, s spec) (any, error) {
	opts := app.Options{Config: configuration(s), Version: "bench", Log: logger()}
	if s.NoIntent {
		opts.WrapLedger = func(l pipeline.Ledger) pipeline.Ledger { return withoutIntents{l} }
	}
	opts.Config.KafkaStaticMembership = s.Static
	if s.Admin != "" {
		opts.Config.AdminAddr = s.Admin
	}
	if s.Sampler != "" {
		if err := trace(&opts.Config, s); err != nil {
			return nil, err
		}
	}
	service, err := app.New(opts)
	if err != nil {
		return nil, err
	}
	return nil, service.Run(ctx)
}

// trace configures traces, which the API's process receives and drops. OpenTelemetry's SDK
// reads the environment itself.
func trace(c *config.Config, s spec) error {
	c.TracesEndpoint = "http://" + s.API
	sampler, argument, _ := strings.Cut(s.Sampler, " ")
	return errors.Join(os.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.TracesEndpoint),
		os.Setenv("OTEL_TRACES_SAMPLER", sampler), os.Setenv("OTEL_TRACES_SAMPLER_ARG", argument))
}

// withoutIntents is a ledger that ignores attempts.
type withoutIntents struct{ pipeline.Ledger }

func (withoutIntents) Attempt(context.Context, int32, string, event.Attempt) error { return nil }

func (withoutIntents) Withdraw(context.Context, int32, string) error { return nil }

// restored has the figures of reading the ledger from its start.
type restored struct {
	Took time.Duration `json:"took"`
	Read int64         `json:"read"` // records
	Size int64         `json:"size"` // of the store, in bytes
	// Hit and Miss are the mean times of a lookup of a known and of an unknown event.
	Hit  time.Duration `json:"hit"`
	Miss time.Duration `json:"miss"`
}

// followLedger reads the ledger into the store at Dir, which may exist.
func followLedger(ctx context.Context, s spec) (any, error) {
	conf := configuration(s)
	kafkaConfig, err := app.KafkaConfig(conf, logger(), nil)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	l := openLedger(kafkaConfig, conf)
	r, err := catchUp(ctx, l, s, begin)
	if err != nil {
		return nil, errors.Join(err, l.Close()) //nolint:contextcheck // it has none
	}
	if err := l.Close(); err != nil { //nolint:contextcheck // it has none
		return nil, err
	}
	r.Size = sizeOf(s.Dir)
	return r, nil
}

func catchUp(ctx context.Context, l *ledger.Ledger, s spec, begin time.Time) (restored, error) {
	if err := l.Start(ctx); err != nil {
		return restored{}, err
	}
	if err := l.CatchUp(ctx); err != nil {
		return restored{}, err
	}
	r := restored{Took: time.Since(begin), Read: l.Health().Read}
	entries := max(uint64(s.Entries), 1) //nolint:gosec // G115: not below zero
	var err error
	id := orders{timed: s.TimedIDs}.id
	if r.Hit, err = lookUp(ctx, l, func(i uint64) string { return id(mix(i) % entries) }); err != nil {
		return r, err
	}
	r.Miss, err = lookUp(ctx, l, func(i uint64) string { return id(entries + i) })
	return r, err
}

// lookUp returns the mean time of sequential lookups.
func lookUp(ctx context.Context, l *ledger.Ledger, id func(uint64) string) (time.Duration, error) {
	const looks = 100_000
	begin := time.Now()
	for i := range uint64(looks) {
		if _, err := l.Lookup(ctx, id(i)); err != nil {
			return 0, err
		}
	}
	return time.Since(begin) / looks, nil
}
