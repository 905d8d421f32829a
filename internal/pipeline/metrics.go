package pipeline

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"payment-capture/internal/event"
	"payment-capture/internal/tracing"
)

// Metrics are the metrics of the pipeline. Create them with [NewMetrics].
type Metrics struct {
	decidedTotal  *prometheus.CounterVec
	replayedTotal *prometheus.CounterVec
	skippedTotal  *prometheus.CounterVec
	staleTotal    prometheus.Counter
	flushesTotal  *prometheus.CounterVec
	flushSeconds  prometheus.Histogram
	decideSeconds prometheus.Histogram
	inFlight      prometheus.Gauge
	ownedGauge    prometheus.Gauge
	fetchFailures prometheus.Counter
	held          *prometheus.GaugeVec
	holdsTotal    *prometheus.CounterVec
	oldestHold    atomic.Int64 // when the oldest hold began, in Unix seconds; 0: nothing is held
	refusedGauge  prometheus.Gauge
	haltedGauge   *prometheus.GaugeVec
	openGauge     *prometheus.GaugeVec
	waitingGauge  prometheus.Gauge
}

// NewMetrics creates and registers the metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		reg.MustRegister(c)
		return c
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
		reg.MustRegister(g)
		return g
	}
	gauges := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
		reg.MustRegister(g)
		return g
	}
	m := &Metrics{
		decidedTotal: counters("payment_capture_events_decided_total",
			"Events whose decision was committed, by decision: captured, rejected, parked.", "decision"),
		replayedTotal: counters("payment_capture_events_replayed_total",
			"Records completed from the ledger, without a call, by decision: captured, rejected, parked.", "decision"),
		skippedTotal: counters("payment_capture_records_skipped_total",
			"Records that are not meant for this service, by reason: other_type, tombstone, other_account.", "reason"),
		staleTotal: counter("payment_capture_results_stale_total",
			"Results of captures that came after their partition was handed over; its next owner decides, under the same idempotency key."),
		flushesTotal: counters("payment_capture_flushes_total",
			"Commits by kind (transaction, offsets) and result (ok, failed).", "kind", "result"),
		inFlight: gauge("payment_capture_captures_in_flight", "Captures under way."),
		ownedGauge: gauge("payment_capture_partitions_owned",
			"Partitions of the input topic that are assigned to this instance."),
		fetchFailures: counter("payment_capture_fetch_failures_total",
			"Fetch errors that the client does not retry itself."),
		refusedGauge: gauge("payment_capture_commits_refused",
			"1 while the broker refuses commits until an operator fixes permissions, topics or limits."),
		haltedGauge: gauges("payment_capture_partitions_halted",
			"Partitions of this instance that are halted until an operator fixes the cause, by reason: "+
				"ledger_missing, records_lost, unreadable, offset, unconfirmed_offset.", "reason"),
		openGauge: gauges("payment_capture_input_open_transaction_seconds",
			"How long an open transaction of another producer has held back a partition of the input; 0 if none does.", "partition"),
		waitingGauge: gauge("payment_capture_events_waiting_for_time",
			"Events that wait for their time, which is at most CAPTURE_MAX_EVENT_LEAD ahead."),
		held: gauges("payment_capture_invalid_events_held",
			"Records that wait because a run of invalid events is held in their partition.", "partition"),
		holdsTotal: counters("payment_capture_invalid_event_holds_total",
			"Holds of invalid events that ended, by result: good_event, expired, released.", "result"),
		flushSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "payment_capture_flush_seconds", Help: "How long a commit took.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
	}
	m.decideSeconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "payment_capture_decision_seconds",
		Help:    "Time from the publication of an event to its committed decision, without events answered from the ledger.",
		Buckets: prometheus.ExponentialBuckets(0.01, 2, 20), NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160,
	})
	holdAge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "payment_capture_invalid_event_hold_seconds",
		Help: "Age of the oldest hold of invalid events; 0 if nothing is held.",
	}, m.holdSeconds)
	reg.MustRegister(m.flushSeconds, m.decideSeconds, holdAge)
	m.initialize()
	return m
}

// The labels of flushes.
const (
	flushTransaction, flushOffsets = "transaction", "offsets"
	flushOK, flushFailed           = "ok", "failed"
)

// initialize creates the series that must exist before their first event.
func (m *Metrics) initialize() {
	m.halted(nil)
	for _, decision := range []string{decisionCaptured, decisionRejected, decisionParked} {
		m.decidedTotal.WithLabelValues(decision)
		m.replayedTotal.WithLabelValues(decision)
	}
	for _, kind := range []string{flushTransaction, flushOffsets} {
		m.flushesTotal.WithLabelValues(kind, flushOK)
		m.flushesTotal.WithLabelValues(kind, flushFailed)
	}
	for _, reason := range event.SkipReasons() {
		m.skippedTotal.WithLabelValues(string(reason))
	}
	for _, result := range []holdEnd{holdEndedByGood, holdExpired, holdReleased} {
		m.holdsTotal.WithLabelValues(string(result))
	}
}

func (m *Metrics) holdSeconds() float64 {
	since := m.oldestHold.Load()
	if since == 0 {
		return 0
	}
	return max(0, time.Since(time.Unix(since, 0)).Seconds())
}

func (m *Metrics) decided(all ...completion) {
	for _, c := range all {
		if c.replayed {
			m.replayedTotal.WithLabelValues(c.decision).Inc()
		} else {
			m.decidedTotal.WithLabelValues(c.decision).Inc()
			tracing.Observe(m.decideSeconds, max(0, time.Since(c.since).Seconds()), c.span)
		}
	}
}

func (m *Metrics) skipped(reason event.SkipReason) {
	m.skippedTotal.WithLabelValues(string(reason)).Inc()
}
func (m *Metrics) stale()                   { m.staleTotal.Inc() }
func (m *Metrics) capturing(n int)          { m.inFlight.Set(float64(n)) }
func (m *Metrics) owned(n int)              { m.ownedGauge.Set(float64(n)) }
func (m *Metrics) waiting(n int)            { m.waitingGauge.Set(float64(n)) }
func (m *Metrics) fetchFailed()             { m.fetchFailures.Inc() }
func (m *Metrics) holdEnded(result holdEnd) { m.holdsTotal.WithLabelValues(string(result)).Inc() }

func (m *Metrics) heldBack(partition int32, by time.Duration) {
	m.openGauge.WithLabelValues(strconv.Itoa(int(partition))).Set(by.Seconds())
}

func (m *Metrics) holding(partition int32, records int) {
	m.held.WithLabelValues(strconv.Itoa(int(partition))).Set(float64(records))
}

// dropped removes the series of partitions that belong to another instance now.
func (m *Metrics) dropped(partitions []int32) {
	for _, n := range partitions {
		m.held.DeleteLabelValues(strconv.Itoa(int(n)))
	}
}

func (m *Metrics) halted(partitions map[haltReason]int) {
	for _, reason := range haltReasons() {
		m.haltedGauge.WithLabelValues(string(reason)).Set(float64(partitions[reason]))
	}
}

func (m *Metrics) refused(yes bool) {
	value := 0.0
	if yes {
		value = 1
	}
	m.refusedGauge.Set(value)
}

func (m *Metrics) flushed(f flush, err error) {
	kind, result := flushTransaction, flushOK
	if len(f.batch.Records) == 0 {
		kind = flushOffsets
	}
	if err != nil {
		result = flushFailed
	}
	m.flushesTotal.WithLabelValues(kind, result).Inc()
	m.flushSeconds.Observe(time.Since(f.began).Seconds())
}
