package app

import (
	"context"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"payment-capture/internal/money"
)

// scrapeTimeout bounds how long a scrape waits for the pipeline.
const scrapeTimeout = 2 * time.Second

// statusCollector shows what is left to do as metrics, from the status at each scrape.
type statusCollector struct {
	service *Service

	backlog, oldest, amounts, oldAttempts, restored, parked, parkedAmounts, unread, problems *prometheus.Desc
}

func newStatusCollector(s *Service) *statusCollector {
	return &statusCollector{
		service: s,
		backlog: prometheus.NewDesc("payment_capture_workable_backlog_records",
			"Records of the input that can be worked now, without those that wait for their time or are held, and without transaction markers: "+
				"exact for what was read, estimated for the rest.", []string{"partition"}, nil),
		oldest: prometheus.NewDesc("payment_capture_oldest_event_seconds",
			"Age of the oldest record that was read and has no decision, since it was published; 0 if there is none.", []string{"partition"}, nil),
		amounts: prometheus.NewDesc("payment_capture_undecided_amount",
			"Sum of the events that were read and have no decision, in units of the currency.", []string{"currency"}, nil),
		oldAttempts: prometheus.NewDesc("payment_capture_attempts_near_key_expiry",
			"Events without a decision that were first called for more than half of IDEMPOTENCY_KEY_HORIZON ago.", nil, nil),
		restored: prometheus.NewDesc("payment_capture_ledger_restored_ratio",
			"How much of what the ledger's topic had at the start is in the local store, from 0 to 1.", nil, nil),
		parked: prometheus.NewDesc("payment_capture_parked_records",
			"Records that are parked according to the ledger, by reason. Every instance counts all of them, once a minute.", []string{"reason"}, nil),
		parkedAmounts: prometheus.NewDesc("payment_capture_parked_amount",
			"Sum of the parked events, in units of the currency. Every instance counts all of them.", []string{"currency"}, nil),
		unread: prometheus.NewDesc("payment_capture_ledger_unread_seconds",
			"How long ago the ledger was last read to its end; after ten minutes it is stale.", nil, nil),
		problems: prometheus.NewDesc("payment_capture_ledger_problem",
			"1 while the ledger has this problem: missing, unreadable, policy, partitions, stale, disk, write, read, open_transaction.", []string{"kind"}, nil),
	}
}

// Describe implements [prometheus.Collector].
func (c *statusCollector) Describe(all chan<- *prometheus.Desc) {
	all <- c.backlog
	all <- c.oldest
	all <- c.amounts
	all <- c.oldAttempts
	all <- c.restored
	all <- c.parked
	all <- c.parkedAmounts
	all <- c.unread
	all <- c.problems
}

// Collect implements [prometheus.Collector].
func (c *statusCollector) Collect(all chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	status := c.service.pipeline.Load().Status(ctx)
	for _, w := range status.Work {
		partition := strconv.Itoa(int(w.Partition))
		age := 0.0
		if !w.Oldest.IsZero() {
			age = max(0, time.Since(w.Oldest).Seconds())
		}
		all <- prometheus.MustNewConstMetric(c.backlog, prometheus.GaugeValue, float64(w.Backlog), partition)
		all <- prometheus.MustNewConstMetric(c.oldest, prometheus.GaugeValue, age, partition)
	}
	near := c.service.ledger.OldAttempts(time.Now().Add(-c.service.opts.Config.IdempotencyKeyHorizon / 2))
	all <- prometheus.MustNewConstMetric(c.oldAttempts, prometheus.GaugeValue, float64(near))
	all <- prometheus.MustNewConstMetric(c.restored, prometheus.GaugeValue, c.service.ledger.Health().Restore)
	for currency, minor := range status.Amounts {
		all <- prometheus.MustNewConstMetric(c.amounts, prometheus.GaugeValue, money.Units(minor, currency), string(currency))
	}
	c.collectLedger(all)
}

// collectLedger shows the state of the ledger.
func (c *statusCollector) collectLedger(all chan<- prometheus.Metric) {
	l := c.service.ledger
	all <- prometheus.MustNewConstMetric(c.unread, prometheus.GaugeValue, l.Unread().Seconds())
	for kind, present := range l.Problems() {
		value := 0.0
		if present {
			value = 1
		}
		all <- prometheus.MustNewConstMetric(c.problems, prometheus.GaugeValue, value, kind)
	}
	parked := l.Parked()
	if parked == nil {
		return
	}
	for reason, n := range parked.Records {
		all <- prometheus.MustNewConstMetric(c.parked, prometheus.GaugeValue, float64(n), string(reason))
	}
	for currency, sum := range parked.Amounts {
		all <- prometheus.MustNewConstMetric(c.parkedAmounts, prometheus.GaugeValue, sum, string(currency))
	}
}

// registerMetrics registers the metrics that no other part has.
func (s *Service) registerMetrics() {
	s.registry.MustRegister(newStatusCollector(s), s.conf.Kafka.Metrics)
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "payment_capture_build_info", Help: "1, with the version of the service and of Go.",
	}, []string{"version", "go_version"})
	build.WithLabelValues(s.opts.Version, runtime.Version()).Set(1)
	s.registry.MustRegister(build)
	if files := s.conf.Kafka.TLS; files != nil {
		s.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "payment_capture_certificate_expires_in_seconds",
			Help: "Time until the first of the client certificate and the brokers' certificates expires; negative: since then.",
		}, func() float64 { return files.ExpiresIn().Seconds() }))
	}
}
