package pipeline

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"payment-capture/internal/event"
)

// Metrics are the pipeline's. Make them with [NewMetrics].
type Metrics struct {
	settledTotal  *prometheus.CounterVec
	replayedTotal *prometheus.CounterVec
	skippedTotal  *prometheus.CounterVec
	staleTotal    prometheus.Counter
	flushesTotal  *prometheus.CounterVec
	flushSeconds  prometheus.Histogram
	inFlight      prometheus.Gauge
	ownedGauge    prometheus.Gauge
	fetchFailures prometheus.Counter
	holds         *prometheus.GaugeVec
	holdsTotal    *prometheus.CounterVec
	oldestHold    atomic.Int64 // when the oldest hold began, in Unix seconds; 0: nothing is held
	refusedGauge  prometheus.Gauge
	haltedGauge   *prometheus.GaugeVec
	openGauge     prometheus.Gauge
	waitingGauge  prometheus.Gauge
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		settledTotal: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "payment_capture_events_settled_total",
			Help: "Events whose verdict was committed, by verdict: captured, rejected, parked.",
		}, []string{"verdict"}),
		replayedTotal: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "payment_capture_events_replayed_total",
			Help: "Events that were decided before and were answered from the ledger, without a call, by that verdict: captured, rejected, parked.",
		}, []string{"verdict"}),
		skippedTotal: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "payment_capture_records_skipped_total",
			Help: "Records that are not ours to handle, by reason: other_type, tombstone, other_account.",
		}, []string{"reason"}),
		staleTotal: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "payment_capture_results_stale_total",
			Help: "Results of captures that came after their partition was handed over; its new owner asks again under the same key.",
		}),
		flushesTotal: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "payment_capture_flushes_total",
			Help: "Commits by kind (transaction, offsets) and result (ok, failed).",
		}, []string{"kind", "result"}),
		flushSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "payment_capture_flush_seconds",
			Help:    "How long a commit took.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "payment_capture_captures_in_flight",
			Help: "Captures under way.",
		}),
		ownedGauge: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "payment_capture_partitions_owned",
			Help: "Partitions of the input topic that this instance has.",
		}),
		fetchFailures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "payment_capture_fetch_failures_total",
			Help: "Errors that fetching gave, those that the client repeats by itself left out.",
		}),
	}
	m.refusedGauge = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "payment_capture_commits_refused",
		Help: "1 while the broker refuses commits until somebody mends permissions, topics or limits.",
	})
	m.haltedGauge = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "payment_capture_partitions_halted",
		Help: "Partitions of this instance that are not worked until an operator fixes the cause, by reason: " +
			"ledger_missing, records_lost, unreadable, offset, unconfirmed_offset.",
	}, []string{"reason"})
	m.openGauge = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "payment_capture_input_open_transaction_seconds",
		Help: "How long an open transaction of another producer has held back a partition of the input, at most over the partitions; 0: none does.",
	})
	m.waitingGauge = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "payment_capture_events_waiting_for_time",
		Help: "Events that wait for their time, which is at most CAPTURE_MAX_EVENT_LEAD ahead.",
	})
	m.halted(nil)
	reg.MustRegister(m.haltedGauge, m.openGauge, m.waitingGauge,
		m.settledTotal, m.replayedTotal, m.skippedTotal, m.staleTotal, m.flushesTotal, m.flushSeconds, m.inFlight, m.ownedGauge,
		m.fetchFailures, m.refusedGauge)
	m.registerHolds(reg)
	for _, v := range []string{kindCaptured, kindRejected, kindParked} {
		m.settledTotal.WithLabelValues(v)
		m.replayedTotal.WithLabelValues(v)
	}
	for _, reason := range event.SkipReasons() {
		m.skippedTotal.WithLabelValues(string(reason))
	}
	return m
}

// registerHolds creates and registers the metrics of holds of invalid events.
func (m *Metrics) registerHolds(reg prometheus.Registerer) {
	m.holds = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "payment_capture_invalid_events_held",
		Help: "Records that wait because a run of invalid events is held in their partition.",
	}, []string{"partition"})
	m.holdsTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "payment_capture_invalid_event_holds_total",
		Help: "Holds of invalid events that ended, by result: good_event, expired, released.",
	}, []string{"result"})
	age := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "payment_capture_invalid_event_hold_seconds",
		Help: "Age of the oldest hold of invalid events; 0 if nothing is held.",
	}, func() float64 {
		since := m.oldestHold.Load()
		if since == 0 {
			return 0
		}
		return max(0, time.Since(time.Unix(since, 0)).Seconds())
	})
	reg.MustRegister(m.holds, m.holdsTotal, age)
	for _, result := range []holdEnd{holdEndedByGood, holdExpired, holdReleased} {
		m.holdsTotal.WithLabelValues(string(result))
	}
}

func (m *Metrics) settled(all ...settlement) {
	for _, s := range all {
		if s.replayed {
			m.replayedTotal.WithLabelValues(s.kind).Inc()
		} else {
			m.settledTotal.WithLabelValues(s.kind).Inc()
		}
	}
}

func (m *Metrics) skipped(reason event.SkipReason) {
	m.skippedTotal.WithLabelValues(string(reason)).Inc()
}

func (m *Metrics) stale()          { m.staleTotal.Inc() }
func (m *Metrics) capturing(n int) { m.inFlight.Set(float64(n)) }
func (m *Metrics) owned(n int)     { m.ownedGauge.Set(float64(n)) }
func (m *Metrics) waiting(n int)   { m.waitingGauge.Set(float64(n)) }
func (m *Metrics) fetchFailed()    { m.fetchFailures.Inc() }

func (m *Metrics) holdEnded(result holdEnd) { m.holdsTotal.WithLabelValues(string(result)).Inc() }

func (m *Metrics) holding(partition int32, records int) {
	m.holds.WithLabelValues(strconv.Itoa(int(partition))).Set(float64(records))
}

// dropped removes the series of partitions that another instance owns now.
func (m *Metrics) dropped(partitions []int32) {
	for _, n := range partitions {
		m.holds.DeleteLabelValues(strconv.Itoa(int(n)))
	}
}

func (m *Metrics) halted(partitions map[haltReason]int) {
	for _, reason := range haltReasons() {
		m.haltedGauge.WithLabelValues(string(reason)).Set(float64(partitions[reason]))
	}
}

func (m *Metrics) heldBack(longest time.Duration) { m.openGauge.Set(longest.Seconds()) }

func (m *Metrics) refused(yes bool) {
	if yes {
		m.refusedGauge.Set(1)
	} else {
		m.refusedGauge.Set(0)
	}
}

func (m *Metrics) flushed(job flushJob, err error) {
	kind, result := "transaction", "ok"
	if len(job.batch.Records) == 0 {
		kind = "offsets"
	}
	if err != nil {
		result = "failed"
	}
	m.flushesTotal.WithLabelValues(kind, result).Inc()
	m.flushSeconds.Observe(time.Since(job.began).Seconds())
}
