package capture

import (
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"payment-capture/internal/mercadopago"
	"payment-capture/internal/tracing"
)

// searchOK is the result of a search that was answered.
const searchOK = "ok"

// Metrics are the captures' metrics. Make them with [NewMetrics].
type Metrics struct {
	calls    *prometheus.CounterVec
	searches *prometheus.CounterVec
	seconds  prometheus.Histogram
}

// NewMetrics returns the metrics and registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "payment_capture_api_calls_total",
			Help: "HTTP calls to the payment API, by HTTP status (0: no answer) and by the meaning of the answer.",
		}, []string{"status", "meaning"}),
		searches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "payment_capture_api_searches_total",
			Help: "Searches for a payment whose result is unknown, by their own result: ok, or the meaning of the failure.",
		}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "payment_capture_api_call_seconds",
			Help:    "How long a call to the payment API took.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 14),
		}),
	}
	m.searches.WithLabelValues(searchOK) // the series must exist before its first event
	reg.MustRegister(m.calls, m.searches, m.seconds)
	return m
}

func (m *Metrics) called(ctx context.Context, a mercadopago.Answer, took time.Duration) {
	m.calls.WithLabelValues(strconv.Itoa(a.HTTPStatus), a.Meaning.String()).Inc()
	m.observe(ctx, took)
}

func (m *Metrics) searched(ctx context.Context, a mercadopago.Answer, took time.Duration) {
	result := searchOK
	if a.Meaning != mercadopago.Poll {
		result = a.Meaning.String()
	}
	m.searches.WithLabelValues(result).Inc()
	m.observe(ctx, took)
}

func (m *Metrics) observe(ctx context.Context, took time.Duration) {
	tracing.Observe(m.seconds, took.Seconds(), tracing.Sampled(trace.SpanFromContext(ctx)))
}
