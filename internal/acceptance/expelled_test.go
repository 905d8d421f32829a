//go:build synctests

package acceptance

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/kafkatest"
	"payment-capture/internal/simulator"
)

// TestExpelledWhileRejoining expels an instance from the group during a rebalance: its
// JoinGroup is late, another instance has had its partitions meanwhile, and it joins as
// a new member. The library does not report this and treats the partitions as never
// lost, so the instance must not commit the decisions that it made before.
func TestExpelledWhileRejoining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := kafkatest.Fake(t, kfake.GroupMinSessionTimeout(1))
		w := newWorld(t, broker, 2, simulator.Config{Latency: 50 * time.Millisecond}, serveVirtual(t, broker))
		w.zombies = true
		const late = 30 * time.Second
		var held atomic.Bool
		broker.Fake.ControlKey(int16(kmsg.JoinGroup), func(req kmsg.Request) (kmsg.Response, error, bool) {
			broker.Fake.KeepControl()
			rejoins := strings.HasPrefix(req.(*kmsg.JoinGroupRequest).MemberID, "payment-capture/"+w.name+".a") && w.sim.Charges().Calls > 0
			if rejoins && !held.Swap(true) {
				broker.Fake.SleepControl(func() { time.Sleep(late) })
			}
			return nil, nil, false
		})
		w.start("a")
		w.send(numbered(200, nil)...)
		w.awaitDecisions()
		b := w.start("b")
		w.eventually("a is expelled, and b has its partitions", func() bool { return held.Load() && b.service.Partitions(t.Context()) == 2 })
		w.send(numbered(400, func(_ int, o *order) { o.id, o.order = "late-"+o.id, "late-"+o.order })...)
		time.Sleep(2 * late)
		w.send(numbered(400, func(_ int, o *order) { o.id, o.order = "last-"+o.id, "last-"+o.order })...)
		w.want(w.awaitDecisions(), map[string]int{"captured": 1000})
	})
}
