package tracing

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Header is the name of the record header with a W3C trace context.
const Header = "traceparent"

// Parse returns the span context of a W3C traceparent; it is not valid if the text is not.
func Parse(text string) trace.SpanContext {
	if text == "" {
		return trace.SpanContext{}
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{Header: text})
	return trace.SpanContextFromContext(ctx)
}

// Format returns the W3C traceparent of the context's span; "" if there is none.
func Format(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[Header]
}

// Sampled returns the context of a span if it is recorded, else nil.
func Sampled(span trace.Span) *trace.SpanContext {
	if !span.IsRecording() {
		return nil
	}
	return new(span.SpanContext())
}
