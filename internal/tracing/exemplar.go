package tracing

import (
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
)

// Observe adds a value to a histogram, with the recorded span as its exemplar; nil: none.
func Observe(h prometheus.Histogram, value float64, span *trace.SpanContext) {
	if o, ok := h.(prometheus.ExemplarObserver); ok && span != nil {
		o.ObserveWithExemplar(value, prometheus.Labels{"trace_id": span.TraceID().String(), "span_id": span.SpanID().String()})
		return
	}
	h.Observe(value)
}
