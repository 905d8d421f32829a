//go:build synctests

package simtest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/config"
)

// generator makes a plan from random numbers.
type generator struct {
	*rand.Rand
	p       *plan
	lasting bool // some faults of the API do not pass, so few calls are allowed
}

// newPlan returns the plan of a run; the same for the same seed and index.
func newPlan(seed uint64, index int) *plan {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, uint64(index))), p: &plan{seed: seed, index: index}}
	p := g.p
	p.partitions, p.outPartitions = int32(g.between(2, 3)), int32(g.between(1, 2))
	p.ledgerPartitions = int32(g.between(1, 4))
	p.twoPartitioners = g.chance(50)
	p.horizon, p.maxEventAge, p.duplicateWindow = 24*time.Hour, 24*time.Hour, 1000*time.Hour
	if g.chance(30) {
		p.maxEventAge = 0
	}
	p.suppress = g.chance(15)
	p.oncePer = []string{config.OncePerPayment, config.OncePerReference, config.OncePerEvent}[g.weighted(80, 10, 10)]
	p.brokers = 1
	if g.chance(10) || p.twoPartitioners {
		p.brokers = 2
	}
	p.oldBroker = g.chance(15)
	p.maxInFlight = g.pick(1, 2, 4, 16, 64)
	p.latency = g.duration(time.Millisecond, 40*time.Millisecond)
	p.timeout = g.duration(time.Second, 1500*time.Millisecond)
	p.session = g.duration(2200*time.Millisecond, 3500*time.Millisecond)
	p.static, p.binary = g.chance(30), g.chance(20)
	p.maxTries, p.deadline = 100, 15*time.Minute
	if g.lasting = g.chance(20); g.lasting {
		p.maxTries = 7
	}
	g.payers()
	twoParts := g.chance(40)
	calm := !twoParts && g.chance(30)
	if calm {
		g.calmPhase()
	}
	g.mainPhase(twoParts)
	if !twoParts && !calm && !g.lasting && g.chance(15) {
		g.abandon()
	}
	g.lastWave(twoParts)
	g.lifetimes(calm)
	g.brokerFaults()
	if g.chance(6) {
		p.expiry = &expiry{at: g.duration(0, time.Second), lasts: g.duration(300*time.Millisecond, 2*time.Second)}
	}
	if twoParts {
		p.second = g.secondPhase()
	}
	g.retention()
	if g.lasting {
		g.traffic()
	}
	return p
}

// traffic adds events for a run in which only events that always fail are left.
// Without other events the service takes their failures for an outage, in which it
// parks nothing.
func (g *generator) traffic() {
	for i := range 8 {
		e := g.event(plainKind)
		e.order = fmt.Sprintf("o%d", 100+i)
		g.orderOf(e)
		g.p.traffic = append(g.p.traffic, &sentRecord{event: e, partition: e.home})
	}
}

// between returns a number from a to b, both included.
func (g *generator) between(a, b int) int { return a + g.IntN(b-a+1) }

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

func (g *generator) pick(of ...int) int { return of[g.IntN(len(of))] }

// duration returns whole milliseconds, which are easier to read in a plan.
func (g *generator) duration(a, b time.Duration) time.Duration {
	return (a + time.Duration(g.Int64N(int64(b-a)+1))).Truncate(time.Millisecond)
}

// weighted returns an index, with probabilities in proportion to the weights.
func (g *generator) weighted(weights ...int) int {
	sum := 0
	for _, w := range weights {
		sum += w
	}
	n := g.IntN(sum)
	for i, w := range weights {
		if n < w {
			return i
		}
		n -= w
	}
	panic("unreachable")
}

// calmPhase adds a time in which instances only join and leave: each event is then
// called for at most once.
func (g *generator) calmPhase() {
	p := g.p
	p.latency = g.duration(100*time.Millisecond, 300*time.Millisecond)
	p.maxInFlight = g.between(1, 4)
	for range 2 {
		w := wave{after: g.duration(0, 500*time.Millisecond)}
		for range 6 {
			e := g.event(g.kindOf(plainKind, declinedKind))
			e.calm = true
			w.records = append(w.records, &sentRecord{event: e, partition: e.home})
		}
		p.calm = append(p.calm, w)
	}
	p.calmMoves = []calmMove{
		{what: "start", slot: 0},
		{after: g.duration(300*time.Millisecond, 900*time.Millisecond), what: "start", slot: 1},
	}
	if g.chance(70) {
		slot := g.between(0, 1)
		p.calmMoves = append(p.calmMoves, calmMove{after: g.duration(300*time.Millisecond, 1200*time.Millisecond), what: "stop", slot: slot})
		if g.chance(60) {
			p.calmMoves = append(p.calmMoves, calmMove{after: g.duration(0, 400*time.Millisecond), what: "start", slot: slot})
		}
	}
}

// mainPhase adds the events that are in flight while faults are injected.
func (g *generator) mainPhase(twoParts bool) {
	p := g.p
	n := g.between(16, 22)
	if len(p.events) > 0 || twoParts {
		n = g.between(8, 12)
	}
	var all []*sentRecord
	faulty := g.event(faultyKind) // at least one
	all = append(all, g.sends(faulty)...)
	for range n {
		all = append(all, g.sends(g.event(g.anyKind()))...)
	}
	if g.lasting {
		for range g.between(1, 2) {
			all = append(all, g.sends(g.event(g.kindOf(failsCharged, failsUncharged, chargedThenRefused, keyUsedKind)))...)
		}
	}
	if g.chance(15) {
		all = append(all, g.twins()...)
	}
	if g.chance(30) {
		all = append(all, g.duplicates()...)
	}
	if g.chance(20) {
		all = append(all, g.correction()...)
	}
	waves := g.between(2, 4)
	for i := range waves {
		from, to := i*len(all)/waves, (i+1)*len(all)/waves
		w := wave{records: all[from:to]}
		if i > 0 {
			w.after = g.duration(0, 800*time.Millisecond)
		}
		p.waves = append(p.waves, w)
	}
}

// sends returns the records of an event: one, or a few copies.
func (g *generator) sends(e *plannedEvent) []*sentRecord {
	records := []*sentRecord{{event: e, partition: e.home}}
	if !g.chance(20) {
		return records
	}
	for range g.between(1, 2) {
		copied := &sentRecord{event: e, partition: e.home}
		if e.movable() && g.chance(60) {
			copied.partition = partitionOf(e.order, !e.crc32, g.p.partitions)
		}
		e.unordered = e.unordered || copied.partition != e.home
		records = append(records, copied)
	}
	return records
}

// lastWave adds the records after the last kill: new events and copies of earlier ones.
func (g *generator) lastWave(twoParts bool) {
	p := g.p
	least := 4
	if !twoParts {
		least = max(least, 20-len(p.events))
	}
	for range least {
		e := g.event(g.kindOf(plainKind, declinedKind))
		p.last.records = append(p.last.records, &sentRecord{event: e, partition: e.home})
	}
	for range g.between(0, 2) {
		if e := p.events[g.IntN(len(p.events))]; !e.calm {
			p.last.records = append(p.last.records, &sentRecord{event: e, partition: e.home})
		}
	}
}

// abandon gives some events an attempt that nobody resumes. The copies wait for it until
// the service gives it up, so the deadline is short.
func (g *generator) abandon() {
	g.p.deadline = 2 * time.Minute
	for range g.between(1, 2) {
		e := g.p.events[g.IntN(len(g.p.events))]
		if e.kind == plainKind && !slices.Contains(g.p.abandoned, e) {
			g.p.abandoned = append(g.p.abandoned, e)
		}
	}
}

// brokerFaults adds errors of the broker, and sometimes another process that takes
// the identity of an instance.
func (g *generator) brokerFaults() {
	coordinator := []*kerr.Error{kerr.NotCoordinator, kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable}
	for g.chance(30) && len(g.p.broker) < 3 {
		f := brokerFault{at: g.duration(0, 2*time.Second), count: g.between(1, 2)}
		err := coordinator[g.IntN(len(coordinator))]
		switch g.weighted(3, 3, 2, 3, 2, 1) {
		case 0:
			f.key = []kmsg.Key{kmsg.Produce, kmsg.Fetch}[g.IntN(2)]
			err = []*kerr.Error{kerr.NotLeaderForPartition, kerr.NotEnoughReplicas, kerr.RequestTimedOut}[g.IntN(3)]
		case 1:
			f.key = []kmsg.Key{kmsg.TxnOffsetCommit, kmsg.EndTxn, kmsg.AddOffsetsToTxn, kmsg.InitProducerID}[g.IntN(4)]
		case 2:
			f.key = []kmsg.Key{kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Heartbeat, kmsg.OffsetFetch, kmsg.OffsetCommit, kmsg.FindCoordinator}[g.IntN(6)]
		case 3:
			f.key, err = kmsg.Heartbeat, []*kerr.Error{kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.RebalanceInProgress}[g.IntN(3)]
		case 4:
			f.key, err = kmsg.TxnOffsetCommit, []*kerr.Error{kerr.RequestTimedOut, kerr.IllegalGeneration, kerr.RebalanceInProgress}[g.IntN(3)]
		case 5:
			f.key, err = kmsg.EndTxn, kerr.ConcurrentTransactions
		}
		f.code = err.Code
		g.p.broker = append(g.p.broker, f)
	}
	if g.chance(6) {
		g.p.fences = append(g.p.fences, fence{at: g.duration(100*time.Millisecond, 1500*time.Millisecond), instance: "i0"})
	}
}
