package tracing

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Header is the name of the record header with a W3C trace context.
const Header = "traceparent"

// carrier implements [propagation.TextMapCarrier] for a traceparent alone, because an
// event has no tracestate.
type carrier string

func (c *carrier) Get(key string) string {
	if key == Header {
		return string(*c)
	}
	return ""
}

func (c *carrier) Set(key, value string) {
	if key == Header {
		*c = carrier(value)
	}
}

func (*carrier) Keys() []string { return []string{Header} }

// Parse returns the span context of a W3C traceparent, whatever span ctx has; it is not
// valid if the text is not.
func Parse(ctx context.Context, text string) trace.SpanContext {
	c := carrier(text)
	ctx = propagation.TraceContext{}.Extract(trace.ContextWithSpanContext(ctx, trace.SpanContext{}), &c)
	return trace.SpanContextFromContext(ctx)
}

// Format returns the W3C traceparent of the context's span; "" if there is none.
func Format(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	var c carrier
	propagation.TraceContext{}.Inject(ctx, &c)
	return string(c)
}

// Sampled returns the context of a span if it is recorded, else nil.
func Sampled(span trace.Span) *trace.SpanContext {
	if !span.IsRecording() {
		return nil
	}
	return new(span.SpanContext())
}
