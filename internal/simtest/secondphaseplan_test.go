//go:build synctests

package simtest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// secondPhase describes what changes while all instances are down, and the
// process lifetimes after that.
type secondPhase struct {
	killAll        bool          // the first phase ends with kills, with work in flight
	suspendFirst   bool          // slot 0 is suspended instead of down, and resumes in the second phase
	after          time.Duration // from the last wave of the first phase until its end
	down           time.Duration // how long all instances are down
	forgetKeys     bool          // the API forgets all idempotency keys
	offsetsToZero  bool          // the committed offsets are reset to zero
	newGroup       bool          // the service runs in another group, from the start of the topic
	stores         string        // the local stores are kept, removed or crashed
	recreateLedger bool          // the ledger topic is deleted and created again
	resend         bool          // an operator resends the parked records
	forgets        bool          // LEDGER_RETENTION passes
	deletes        bool          // the broker deletes what is older
	// partitions and ledgerPartitions are the partitions of the input and of the
	// ledger in the second phase.
	partitions, ledgerPartitions int32
	records                      []*sentRecord // sent while all instances are down
	slots                        [][]lifetime
	last                         wave
}

func (a *secondPhase) String() string {
	var parts []string
	for what, is := range map[string]bool{
		"all are killed": a.killAll, "slot 0 is suspended": a.suspendFirst, "the API forgets the keys": a.forgetKeys,
		"offsets reset to zero": a.offsetsToZero,
		"another group":         a.newGroup, "the ledger topic is recreated": a.recreateLedger, "parked records are resent": a.resend,
		"the retention of the ledger passes": a.forgets, "the broker deletes": a.deletes,
	} {
		if is {
			parts = append(parts, what)
		}
	}
	slices.Sort(parts)
	return fmt.Sprintf("%s; down for %s; stores %s; then %d partitions, %d of the ledger",
		strings.Join(parts, ", "), a.down, a.stores, a.partitions, a.ledgerPartitions)
}

// secondPhase generates the second phase.
func (g *generator) secondPhase() *secondPhase {
	p := g.p
	a := &secondPhase{
		down:       []time.Duration{0, 2 * time.Second, 2 * time.Hour, 25 * time.Hour, 50 * time.Hour}[g.weighted(20, 20, 15, 30, 15)],
		partitions: p.partitions, ledgerPartitions: p.ledgerPartitions,
		stores: []string{"kept", "removed", "crashed"}[g.weighted(40, 30, 30)],
	}
	switch g.weighted(40, 30, 10, 10, 10) {
	case 0:
		a.killAll = true
	case 1:
		a.offsetsToZero = true
	case 2:
		a.newGroup = true
	case 3:
		a.recreateLedger = true
	case 4:
		if len(p.slots) < 2 {
			a.offsetsToZero = true
			break
		}
		// The suspended process measures time, so the phase must be short.
		a.suspendFirst, a.down = true, 65*time.Second
		p.horizon, p.maxEventAge = time.Minute, 0
	}
	if a.killAll {
		a.after = g.duration(0, 2*time.Second)
	} else if a.suspendFirst {
		a.after = g.duration(0, 4*p.latency)
	}
	a.forgetKeys = a.down > p.horizon || (!a.killAll && g.chance(50))
	a.resend = !a.recreateLedger && (!a.forgetKeys || a.down > p.horizon) && g.chance(50)
	// A group of static members that all come back in time does not rebalance,
	// and nobody gets the new partitions.
	if g.chance(25) && !a.recreateLedger && !a.suspendFirst && (!p.static || a.down >= time.Minute) {
		a.partitions += int32(g.between(1, 2))
	}
	if g.chance(25) && !a.recreateLedger && !a.suspendFirst {
		a.ledgerPartitions += int32(g.between(1, 2))
	}
	g.republished(a)
	for i := range p.slots {
		a.slots = append(a.slots, g.laterLifetimes(i))
	}
	for range g.between(2, 5) {
		a.last.records = append(a.last.records, g.laterEvent(a))
	}
	return a
}

// laterLifetimes generates the process lifetimes of a slot in the second phase.
func (g *generator) laterLifetimes(i int) []lifetime {
	instance := fmt.Sprintf("i%d", i)
	var lifetimes []lifetime
	if g.chance(35) {
		lifetimes = append(lifetimes, g.lifetime(instance))
	}
	return append(lifetimes, lifetime{instance: instance, pause: g.pause(), end: endLast, faults: g.losses()})
}

// laterEvent generates an event of the second phase. With more partitions, an
// order may move to another one.
func (g *generator) laterEvent(a *secondPhase) *sentRecord {
	e := g.event(g.kindOf(plainKind, declinedKind, faultyKind))
	e.home, e.unordered, e.inSecond = partitionOf(e.order, e.crc32, a.partitions), true, true
	return &sentRecord{event: e, partition: e.home}
}

// republished generates copies of records that the input already has, in the
// same partition or another one, with the same key or another one.
func (g *generator) republished(a *secondPhase) {
	p := g.p
	var before []*sentRecord
	for _, w := range slices.Concat(p.calm, p.waves, []wave{p.last}) {
		before = append(before, w.records...)
	}
	for range g.between(2, 8) {
		s := &sentRecord{event: before[g.IntN(len(before))].event}
		s.partition = s.event.home
		// Two instances may handle an undecided event at once, if it is in two
		// partitions.
		if g.chance(60) && (s.event.movable() || !a.killAll && !a.suspendFirst) {
			s.partition = int32(g.IntN(int(a.partitions)))
		}
		if g.chance(40) {
			s.key = fmt.Sprintf("moved-%d", g.IntN(3))
		}
		if s.partition != s.event.home || s.key != "" {
			s.event.unordered = s.event.unordered || a.killAll || a.suspendFirst
		}
		a.records = append(a.records, s)
	}
	for range g.between(1, 3) {
		a.records = append(a.records, g.laterEvent(a))
	}
	g.Shuffle(len(a.records), func(i, j int) { a.records[i], a.records[j] = a.records[j], a.records[i] })
}
