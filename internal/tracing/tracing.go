// Package tracing sets up OpenTelemetry traces: the SDK, its exporter, and the log of
// its errors, and what the packages that write spans share. Nothing of it runs unless an
// exporter is configured.
package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Scope is the instrumentation scope of all spans.
const Scope = "payment-capture"

// The protocols of an exporter.
const (
	ProtocolGRPC = "grpc"
	ProtocolHTTP = "http/protobuf"
)

// Config configures traces. The SDK and its exporters read all other OTEL_* variables
// themselves: sampler, limits, batches, headers, certificates.
type Config struct {
	Protocol          string // [ProtocolGRPC] or [ProtocolHTTP]
	Version, Instance string // of the service
	Log               *slog.Logger
}

// Provider exports traces. A nil Provider is one that is off.
type Provider struct {
	sdk *sdktrace.TracerProvider
	log *slog.Logger
}

// Start starts exporting traces. It contacts nothing before the first span ends.
func Start(ctx context.Context, c Config) (*Provider, error) {
	exporter, err := newExporter(ctx, c.Protocol)
	if err != nil {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_*: %w", err)
	}
	// The environment comes last: OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES.
	res, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(
		semconv.ServiceName("payment-capture"), semconv.ServiceVersion(c.Version), semconv.ServiceInstanceID(c.Instance),
	), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	// The SDK has one handler per process for errors of exports and of its variables.
	otel.SetErrorHandler(newErrorLog(c.Log))
	return &Provider{
		// The queue of spans is bounded, and spans that find it full are dropped, so a
		// collector that is slow or away delays nothing.
		sdk: sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(res)),
		log: c.Log,
	}, nil
}

func newExporter(ctx context.Context, protocol string) (*otlptrace.Exporter, error) {
	switch protocol {
	case ProtocolGRPC:
		return otlptracegrpc.New(ctx)
	case ProtocolHTTP:
		return otlptracehttp.New(ctx)
	}
	return nil, fmt.Errorf("protocol %q is neither %s nor %s", protocol, ProtocolGRPC, ProtocolHTTP)
}

// Tracer returns the tracer of the service's spans, or nil if traces are off.
func (p *Provider) Tracer() trace.Tracer {
	if p == nil {
		return nil
	}
	return p.sdk.Tracer(Scope, trace.WithSchemaURL(semconv.SchemaURL))
}

// Stop exports the last spans, for a bounded time, and stops.
func (p *Provider) Stop(ctx context.Context, within time.Duration) {
	if p == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	if err := p.sdk.Shutdown(ctx); err != nil {
		p.log.WarnContext(ctx, "last traces not exported", slog.String("error", bounded(err)))
	}
}

// errorInterval is the least time between two lines about errors of the exporter.
const errorInterval = time.Minute

// errorLog logs the SDK's errors: the first one, then one per interval with the number
// of those left out.
type errorLog struct {
	log *slog.Logger

	mu     sync.Mutex // guards what follows
	last   time.Time
	hidden int
}

func newErrorLog(log *slog.Logger) *errorLog { return &errorLog{log: log} }

// Handle implements [otel.ErrorHandler].
func (l *errorLog) Handle(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.last.IsZero() || now.Sub(l.last) >= errorInterval {
		l.log.Warn("exporting traces failed", slog.String("error", bounded(err)), slog.Int("left_out", l.hidden))
		l.last, l.hidden = now, 0
		return
	}
	l.hidden++
}

// bounded returns the text of an error on one line. A collector's answer may be long.
func bounded(err error) string {
	const limit = 500
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "..."
	}
	return text
}
