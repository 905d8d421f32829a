package limiter

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the Limiter's metrics. Make them with [NewMetrics].
type Metrics struct {
	inFlight prometheus.Gauge
	limit    prometheus.Gauge
	states   *prometheus.GaugeVec
	halts    *prometheus.GaugeVec
}

// NewMetrics returns the metrics and registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "payment_capture_api_calls_under_way",
			Help: "Calls to the payment API that are in flight.",
		}),
		limit: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "payment_capture_api_call_limit",
			Help: "Calls that may be in flight at once: lowered by 429 and 503, raised by success, at most CAPTURE_MAX_IN_FLIGHT.",
		}),
		states: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "payment_capture_api_state",
			Help: "1 for the state of the calls to the payment API: passing, circuit_open, circuit_half_open, halted.",
		}, []string{"state"}),
		halts: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "payment_capture_halted",
			Help: "1 while the service is halted for this cause, until it is fixed.",
		}, []string{"cause"}),
	}
	reg.MustRegister(m.inFlight, m.limit, m.states, m.halts)
	return m
}

func (m *Metrics) calling(calls, limit int) {
	m.inFlight.Set(float64(calls))
	m.limit.Set(float64(limit))
}

// state shows the state, and the cause of a halt.
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
