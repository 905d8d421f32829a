package ledger

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"payment-capture/internal/ledger/store"
)

// Metrics are the ledger's. Make them with [NewMetrics]; nil counts nothing.
type Metrics struct {
	records   prometheus.Counter
	behind    prometheus.Gauge
	states    *prometheus.GaugeVec
	seconds   prometheus.Histogram
	failures  prometheus.Counter
	withdrawn prometheus.Counter
	store     *prometheus.GaugeVec // without labels, so that they are missing until they are known
	free      *prometheus.GaugeVec // as well
}

// NewMetrics returns the metrics and registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		records: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "payment_capture_ledger_records_total",
			Help: "Records of the ledger's topic that were read into the local store.",
		}),
		behind: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "payment_capture_ledger_behind_records",
			Help: "Records of the ledger's topic that are not in the local store yet.",
		}),
		states: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "payment_capture_ledger_state",
			Help: "1 for the state that the ledger is in: restoring, following, halted.",
		}, []string{"state"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "payment_capture_ledger_attempt_seconds",
			Help:    "How long it took to note an attempt, before the first call for an event.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "payment_capture_ledger_write_failures_total",
			Help: "Attempts and withdrawals that could not be written, or perhaps were not.",
		}),
		withdrawn: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "payment_capture_ledger_withdrawals_lost_total",
			Help: "Attempts without effect that could not be withdrawn, so that the event counts as attempted.",
		}),
		store: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "payment_capture_ledger_store_bytes",
			Help: "Size of the ledger's local store.",
		}, nil),
		free: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "payment_capture_ledger_disk_free_bytes",
			Help: "Free space on the volume of the ledger's local store.",
		}, nil),
	}
	reg.MustRegister(m.records, m.behind, m.states, m.seconds, m.failures, m.withdrawn, m.store, m.free)
	return m
}

func (m *Metrics) read(records int, behind int64) {
	if m != nil {
		m.records.Add(float64(records))
		m.behind.Set(float64(behind))
	}
}

func (m *Metrics) state(state string) {
	if m == nil {
		return
	}
	for _, s := range states() {
		value := 0.0
		if s == state {
			value = 1
		}
		m.states.WithLabelValues(s).Set(value)
	}
}

// measure sets the metrics of the disk until ctx ends. Nothing else waits for it, because
// a volume may not answer.
func (l *Ledger) measure(ctx context.Context) {
	m := l.conf.Metrics
	for m != nil && ctx.Err() == nil {
		used, free, err := store.Usage(l.conf.FS, l.storeDir())
		m.store.WithLabelValues().Set(float64(used))
		if err == nil {
			m.free.WithLabelValues().Set(float64(free))
		}
		pause(ctx, watchEvery)
	}
}

func (m *Metrics) attempted(took time.Duration) {
	if m != nil {
		m.seconds.Observe(took.Seconds())
	}
}

func (m *Metrics) writeFailed() {
	if m != nil {
		m.failures.Inc()
	}
}

func (m *Metrics) withdrawalLost() {
	if m != nil {
		m.withdrawn.Inc()
	}
}
