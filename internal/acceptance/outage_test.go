//go:build synctests

package acceptance

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"payment-capture/internal/config"
	"payment-capture/internal/kafkatest"
	"payment-capture/internal/simulator"
)

// TestOutage has the API down for half an hour, in several ways, while orders arrive:
// nothing is parked or lost, and afterwards the backlog is captured within the rate
// limit.
func TestOutage(t *testing.T) {
	t.Parallel()
	for name, down := range map[string]simulator.Rule{
		"503":                 {Action: simulator.ActionError, Status: 503},
		"charged then 500":    {Action: simulator.ActionError, Status: 500, Charge: true},
		"hangs":               {Action: simulator.ActionHang},
		"connections break":   {Action: simulator.ActionDrop},
		"charged then broken": {Action: simulator.ActionDrop, Charge: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const rate = 20
				broker := kafkatest.Fake(t, kfake.GroupMinSessionTimeout(1))
				w := newWorld(t, broker, 3, simulator.Config{Latency: 20 * time.Millisecond}, serveVirtual(t, broker))
				in := w.start("a", func(c *config.Config) { c.CaptureRateLimit = rate })
				w.send(numbered(30, nil)...)
				w.eventually("the first events are decided", func() bool { return len(w.decisions()) == 30 })

				if err := w.sim.Apply(simulator.Script{Rules: []simulator.Rule{down}}); err != nil {
					t.Fatal(err)
				}
				for i := range 60 {
					w.send(numbered(10, func(j int, o *order) {
						o.id, o.order = fmt.Sprintf("d%d-%d", i, j), fmt.Sprintf("q%d-%d", i, j)
					})...)
					<-time.After(30 * time.Second)
				}
				if vs := w.decisions(); len(vs) != 30 {
					t.Errorf("decisions during the outage: there are %d, want those before it: %s", len(vs), summary(vs[30:]))
				}
				status := in.service.Status(t.Context())
				if status.API.State != "circuit_open" && status.API.State != "circuit_half_open" {
					t.Errorf("during the outage: %+v", status.API)
				}
				if status.Pipeline.Paused != 3 || status.Pipeline.InFlight > 4*64 {
					t.Errorf("during the outage: %+v", status.Pipeline)
				}

				w.sim.ClearScript()
				calls := w.sim.Charges().Calls
				for range 40 {
					<-time.After(time.Second)
					now := w.sim.Charges().Calls
					if now-calls > rate+1 {
						t.Errorf("%d calls in a second after the outage, the limit is %d", now-calls, rate)
					}
					calls = now
				}
				w.want(w.awaitDecisions(), map[string]int{"captured": 630})
			})
		})
	}
}
