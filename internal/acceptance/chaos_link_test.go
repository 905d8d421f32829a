//go:build integration && chaos

package acceptance

import (
	"fmt"
	"strings"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"payment-capture/internal/kafkatest"
)

// link is the network between an instance and the broker.
type link struct {
	t     *testing.T
	proxy *toxiproxy.Proxy
}

func newLink(t *testing.T, route kafkatest.Route) *link {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	l := &link{t: t, proxy: toxiproxy.NewProxy(server, route.Proxy, route.Proxy, route.Broker)}
	if err := l.proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.proxy.Stop)
	return l
}

// cut closes all connections and refuses new ones.
func (l *link) cut() { l.proxy.Stop() }

func (l *link) reconnect() {
	if err := l.proxy.Start(); err != nil {
		l.t.Errorf("the proxy at %s does not start again: %v", l.proxy.Listen, err)
	}
}

// toxic is a toxic of toxiproxy, upstream (to the broker) or downstream.
type toxic struct{ kind, stream, attributes string }

func (t toxic) name() string { return t.kind + "_" + t.stream }

// addToxics adds toxics to the link; removeToxics removes them.
func (l *link) addToxics(toxics ...toxic) {
	for _, x := range toxics {
		text := fmt.Sprintf(`{"name":%q,"type":%q,"stream":%q,"attributes":{%s}}`, x.name(), x.kind, x.stream, x.attributes)
		if _, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(text)); err != nil {
			l.t.Errorf("%s: %v", text, err)
		}
	}
}

func (l *link) removeToxics(toxics ...toxic) {
	for _, x := range toxics {
		if err := l.proxy.Toxics.RemoveToxic(l.t.Context(), x.name()); err != nil {
			l.t.Errorf("remove %s: %v", x.name(), err)
		}
	}
}
