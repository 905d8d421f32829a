package capture

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"payment-capture/internal/mercadopago"
)

// Metrics are the captures'. Make them with [NewMetrics].
type Metrics struct {
	calls   *prometheus.CounterVec
	seconds prometheus.Histogram
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "payment_capture_api_calls_total",
			Help: "HTTP calls to the payment API, by HTTP status (0: no answer) and by what the answer means.",
		}, []string{"status", "meaning"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "payment_capture_api_call_seconds",
			Help:    "How long a call to the payment API took.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 14),
		}),
	}
	reg.MustRegister(m.calls, m.seconds)
	return m
}

func (m *Metrics) called(a mercadopago.Answer, took time.Duration) {
	m.calls.WithLabelValues(strconv.Itoa(a.HTTPStatus), a.Meaning.String()).Inc()
	m.seconds.Observe(took.Seconds())
}
