package capture

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"payment-capture/internal/mercadopago"
)

// Metrics are the captures'. Make them with [NewMetrics].
type Metrics struct {
	calls    *prometheus.CounterVec
	searches *prometheus.CounterVec
	seconds  prometheus.Histogram
	underWay prometheus.Gauge
	limit    prometheus.Gauge
	states   *prometheus.GaugeVec
	halts    *prometheus.GaugeVec
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "payment_capture_api_calls_total",
			Help: "HTTP calls to the payment API, by HTTP status (0: no answer) and by what the answer means.",
		}, []string{"status", "meaning"}),
		searches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "payment_capture_api_searches_total",
			Help: "Searches for a payment whose fate is not known, by what came of them: ok, or what the failure means.",
		}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "payment_capture_api_call_seconds",
			Help:    "How long a call to the payment API took.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 14),
		}),
		underWay: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "payment_capture_api_calls_under_way",
			Help: "Calls to the payment API that are under way.",
		}),
		limit: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "payment_capture_api_call_limit",
			Help: "Calls that may be under way at once: lowered by 429 and 503, raised by success, at most CAPTURE_MAX_IN_FLIGHT.",
		}),
		states: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "payment_capture_api_state",
			Help: "1 for the state that the way to the payment API is in: passing, circuit_open, circuit_half_open, halted.",
		}, []string{"state"}),
		halts: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "payment_capture_halted",
			Help: "1 while nothing is captured for this cause, until somebody mends it.",
		}, []string{"cause"}),
	}
	reg.MustRegister(m.calls, m.searches, m.seconds, m.underWay, m.limit, m.states, m.halts)
	return m
}

func (m *Metrics) called(a mercadopago.Answer, took time.Duration) {
	m.calls.WithLabelValues(strconv.Itoa(a.HTTPStatus), a.Meaning.String()).Inc()
	m.seconds.Observe(took.Seconds())
}

func (m *Metrics) searched(a mercadopago.Answer, took time.Duration) {
	result := "ok"
	if a.Meaning != mercadopago.Poll {
		result = a.Meaning.String()
	}
	m.searches.WithLabelValues(result).Inc()
	m.seconds.Observe(took.Seconds())
}

func (m *Metrics) calling(calls, limit int) {
	m.underWay.Set(float64(calls))
	m.limit.Set(float64(limit))
}

// state shows the state, and of a halt its cause.
func (m *Metrics) state(state, cause string) {
	for _, s := range []string{statePassing, stateOpen, stateHalfOpen, stateHalted} {
		m.states.WithLabelValues(s).Set(one(s == state))
	}
	for _, c := range haltCauses() {
		m.halts.WithLabelValues(c).Set(one(c == cause))
	}
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
