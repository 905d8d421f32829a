package app

import (
	"context"
	"math"
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
	service                                         *Service
	backlog, oldest, amounts, oldAttempts, restored *prometheus.Desc
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
	}
}

// Describe implements [prometheus.Collector].
func (c *statusCollector) Describe(all chan<- *prometheus.Desc) {
	all <- c.backlog
	all <- c.oldest
	all <- c.amounts
	all <- c.oldAttempts
	all <- c.restored
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
		site, _ := money.SiteOf(currency) // an amount has a known currency
		all <- prometheus.MustNewConstMetric(c.amounts, prometheus.GaugeValue, float64(minor)/math.Pow10(int(site.Scale)), string(currency))
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
