//go:build synctests

package prove

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/config"
)

// draw makes a plan out of random numbers.
type draw struct {
	*rand.Rand
	p       *plan
	lasting bool // some faults of the API last, so few tries are allowed
}

// newPlan gives the plan of a history; the same for the same numbers.
func newPlan(seed uint64, index int) *plan {
	d := &draw{Rand: rand.New(rand.NewPCG(seed, uint64(index))), p: &plan{seed: seed, index: index}}
	p := d.p
	p.partitions, p.outPartitions = int32(d.between(2, 3)), int32(d.between(1, 2))
	p.ledgerPartitions = int32(d.between(1, 4))
	p.horizon, p.maxEventAge = 24*time.Hour, 24*time.Hour
	if d.chance(30) {
		p.maxEventAge = 0
	}
	p.suppress, p.oncePer = d.chance(15), config.OncePerEvent
	if d.chance(8) {
		p.oncePer = config.OncePerReference
	}
	p.brokers = 1
	if d.chance(10) {
		p.brokers = 2
	}
	p.oldBroker = d.chance(15)
	p.maxInFlight = d.pick(1, 2, 4, 16, 64)
	p.latency = d.duration(time.Millisecond, 40*time.Millisecond)
	p.timeout = d.duration(time.Second, 1500*time.Millisecond)
	p.session = d.duration(2200*time.Millisecond, 3500*time.Millisecond)
	p.static, p.binary = d.chance(30), d.chance(20)
	p.maxTries, p.deadline = 100, 15*time.Minute
	if d.lasting = d.chance(20); d.lasting {
		p.maxTries = 7
	}
	d.payers()
	twoParts := d.chance(40)
	calm := !twoParts && d.chance(30)
	if calm {
		d.calmPhase()
	}
	d.mainPhase(twoParts)
	d.lastWave(twoParts)
	d.lives(calm)
	d.brokerFaults()
	if d.chance(6) {
		p.expiry = &expiry{at: d.duration(0, time.Second), lasts: d.duration(300*time.Millisecond, 2*time.Second)}
	}
	if twoParts {
		p.again = d.again()
	}
	if d.lasting {
		d.traffic()
	}
	return p
}

// traffic is for a history that has nothing left but events that the API always
// fails for: only another event tells them from an outage, which parks nobody.
func (d *draw) traffic() {
	for i := range 8 {
		e := d.event(plainKind)
		e.order = fmt.Sprintf("o%d", 100+i)
		d.orderOf(e)
		d.p.traffic = append(d.p.traffic, &sent{event: e, partition: e.home})
	}
}

// between draws from a to b, both included.
func (d *draw) between(a, b int) int { return a + d.IntN(b-a+1) }

func (d *draw) chance(percent int) bool { return d.IntN(100) < percent }

func (d *draw) pick(of ...int) int { return of[d.IntN(len(of))] }

// duration draws in whole milliseconds, so that a plan can be read.
func (d *draw) duration(a, b time.Duration) time.Duration {
	return (a + time.Duration(d.Int64N(int64(b-a)+1))).Truncate(time.Millisecond)
}

// weighted draws an index by weights.
func (d *draw) weighted(weights ...int) int {
	sum := 0
	for _, w := range weights {
		sum += w
	}
	n := d.IntN(sum)
	for i, w := range weights {
		if n < w {
			return i
		}
		n -= w
	}
	panic("unreachable")
}

// calmPhase is a time in which instances only join and leave: no event may be
// asked for more than once for each time that it was sent.
func (d *draw) calmPhase() {
	p := d.p
	p.latency = d.duration(100*time.Millisecond, 300*time.Millisecond)
	p.maxInFlight = d.between(1, 4)
	for range 2 {
		w := wave{after: d.duration(0, 500*time.Millisecond)}
		for range 6 {
			e := d.event(d.kindOf(plainKind, declinedKind))
			e.calm = true
			w.records = append(w.records, &sent{event: e, partition: e.home})
		}
		p.calm = append(p.calm, w)
	}
	p.calmly = []calmMove{
		{what: "start", slot: 0},
		{after: d.duration(300*time.Millisecond, 900*time.Millisecond), what: "start", slot: 1},
	}
	if d.chance(70) {
		slot := d.between(0, 1)
		p.calmly = append(p.calmly, calmMove{after: d.duration(300*time.Millisecond, 1200*time.Millisecond), what: "stop", slot: slot})
		if d.chance(60) {
			p.calmly = append(p.calmly, calmMove{after: d.duration(0, 400*time.Millisecond), what: "start", slot: slot})
		}
	}
}

// mainPhase has the events that everything happens to.
func (d *draw) mainPhase(twoParts bool) {
	p := d.p
	n := d.between(16, 22)
	if len(p.events) > 0 || twoParts {
		n = d.between(8, 12)
	}
	var all []*sent
	faulty := d.event(faultyKind) // one at least
	all = append(all, d.sends(faulty)...)
	for range n {
		all = append(all, d.sends(d.event(d.anyKind()))...)
	}
	if d.lasting {
		for range d.between(1, 2) {
			all = append(all, d.sends(d.event(d.kindOf(failsCharged, failsUncharged, chargedThenRefused, keyUsedKind)))...)
		}
	}
	if d.chance(15) {
		all = append(all, d.twins()...)
	}
	if d.chance(20) {
		all = append(all, d.correction()...)
	}
	waves := d.between(2, 4)
	for i := range waves {
		from, to := i*len(all)/waves, (i+1)*len(all)/waves
		w := wave{records: all[from:to]}
		if i > 0 {
			w.after = d.duration(0, 800*time.Millisecond)
		}
		p.waves = append(p.waves, w)
	}
}

// sends gives the records of an event: one, or a few copies.
func (d *draw) sends(e *planned) []*sent {
	records := []*sent{{event: e, partition: e.home}}
	if !d.chance(20) {
		return records
	}
	for range d.between(1, 2) {
		copied := &sent{event: e, partition: e.home}
		if e.movable() && d.chance(50) {
			copied.partition = int32(d.IntN(int(d.p.partitions)))
		}
		e.unordered = e.unordered || copied.partition != e.home
		records = append(records, copied)
	}
	return records
}

// lastWave comes after the last kill: new events, and some of before again.
func (d *draw) lastWave(twoParts bool) {
	p := d.p
	least := 4
	if !twoParts {
		least = max(least, 20-len(p.events))
	}
	for range least {
		e := d.event(d.kindOf(plainKind, declinedKind))
		p.last.records = append(p.last.records, &sent{event: e, partition: e.home})
	}
	for range d.between(0, 2) {
		if e := p.events[d.IntN(len(p.events))]; !e.calm {
			p.last.records = append(p.last.records, &sent{event: e, partition: e.home})
		}
	}
}

// brokerFaults draws errors of the broker's, and now and then another process
// that takes an instance's identity.
func (d *draw) brokerFaults() {
	coordinator := []*kerr.Error{kerr.NotCoordinator, kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable}
	for d.chance(30) && len(d.p.broker) < 3 {
		f := brokerFault{at: d.duration(0, 2*time.Second), count: d.between(1, 2)}
		err := coordinator[d.IntN(len(coordinator))]
		switch d.weighted(3, 3, 2, 3, 2, 1) {
		case 0:
			f.key = []kmsg.Key{kmsg.Produce, kmsg.Fetch}[d.IntN(2)]
			err = []*kerr.Error{kerr.NotLeaderForPartition, kerr.NotEnoughReplicas, kerr.RequestTimedOut}[d.IntN(3)]
		case 1:
			f.key = []kmsg.Key{kmsg.TxnOffsetCommit, kmsg.EndTxn, kmsg.AddOffsetsToTxn, kmsg.InitProducerID}[d.IntN(4)]
		case 2:
			f.key = []kmsg.Key{kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Heartbeat, kmsg.OffsetFetch, kmsg.OffsetCommit, kmsg.FindCoordinator}[d.IntN(6)]
		case 3:
			f.key, err = kmsg.Heartbeat, []*kerr.Error{kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.RebalanceInProgress}[d.IntN(3)]
		case 4:
			f.key, err = kmsg.TxnOffsetCommit, []*kerr.Error{kerr.RequestTimedOut, kerr.IllegalGeneration, kerr.RebalanceInProgress}[d.IntN(3)]
		case 5:
			f.key, err = kmsg.EndTxn, kerr.ConcurrentTransactions
		}
		f.code = err.Code
		d.p.broker = append(d.p.broker, f)
	}
	if d.chance(6) {
		d.p.fences = append(d.p.fences, fence{at: d.duration(100*time.Millisecond, 1500*time.Millisecond), instance: "i0"})
	}
}
