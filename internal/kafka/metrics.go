package kafka

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kprom"
)

// ClientMetrics collects the library's metrics of the clients that live as long as the
// service, by their role. Where one client replaces another, their counters start again.
type ClientMetrics struct {
	mu      sync.Mutex
	current map[string]*kprom.Metrics // by role
}

// Instrument returns an option that collects a client's metrics under a role, such as
// "consumer". c may be nil: nothing is collected then.
func (c *ClientMetrics) Instrument(role string) kgo.Opt {
	if c == nil {
		return kgo.WithHooks()
	}
	m := kprom.NewMetrics("payment_capture", kprom.Subsystem("kafka"), kprom.Registerer(nil), kprom.NativeBucketsOnly(),
		kprom.WithStaticLabel(prometheus.Labels{"client": role}))
	return kgo.WithHooks(&clientHook{m, c, role})
}

// clientHook is the library's hook. It registers nothing: two clients of one role may
// live at the same time for a moment, which a registry refuses.
type clientHook struct {
	*kprom.Metrics

	all  *ClientMetrics
	role string
}

// OnNewClient implements [kgo.HookNewClient].
func (h *clientHook) OnNewClient(client *kgo.Client) {
	h.Metrics.OnNewClient(client)
	h.all.mu.Lock()
	defer h.all.mu.Unlock()
	if h.all.current == nil {
		h.all.current = make(map[string]*kprom.Metrics)
	}
	h.all.current[h.role] = h.Metrics
}

// OnClientClosed implements [kgo.HookClientClosed].
func (h *clientHook) OnClientClosed(*kgo.Client) {
	h.all.mu.Lock()
	defer h.all.mu.Unlock()
	if h.all.current[h.role] == h.Metrics {
		delete(h.all.current, h.role)
	}
}

// Describe implements [prometheus.Collector]. It describes nothing, because the clients
// come and go.
func (c *ClientMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements [prometheus.Collector].
func (c *ClientMetrics) Collect(metrics chan<- prometheus.Metric) {
	c.mu.Lock()
	all := slices.Collect(maps.Values(c.current))
	c.mu.Unlock()
	some := make(chan prometheus.Metric)
	go func() {
		defer close(some)
		for _, m := range all {
			m.Collect(some)
		}
	}()
	for m := range some {
		// Gauges whose names end with _total, which promtool refuses.
		if !strings.Contains(m.Desc().String(), "_kafka_buffered_") {
			metrics <- m
		}
	}
}
