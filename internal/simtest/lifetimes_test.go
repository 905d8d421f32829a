//go:build synctests

package simtest

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// lifetimes generates the process lifetimes of each slot.
func (g *generator) lifetimes(calm bool) {
	p := g.p
	slots := g.between(1, 2)
	if calm {
		slots = 2
	} else if g.chance(10) {
		slots = 3
	}
	kills := 0
	for i := range slots {
		instance := fmt.Sprintf("i%d", i)
		var lifetimes []lifetime
		most := 2
		if i == 0 {
			most = 3
		}
		for j := range g.between(0, most) {
			f := g.lifetime(instance)
			if i > 0 && j == 0 && !calm {
				f.pause = g.duration(0, time.Second) // it joins later
			}
			lifetimes = append(lifetimes, f)
			if f.end == endKilled {
				kills++
			}
			if g.chance(25) {
				instance = fmt.Sprintf("i%d-%d", i, j)
			}
		}
		last := lifetime{instance: instance, pause: g.pause(), end: endLast, faults: g.losses()}
		lifetimes = append(lifetimes, last)
		p.slots = append(p.slots, lifetimes)
	}
	if kills == 0 {
		f := g.lifetime("i0")
		f.end, f.faults = endKilled, append(g.losses(), g.processFault(true))
		p.slots[0] = append([]lifetime{f}, p.slots[0]...)
	}
}

func (g *generator) pause() time.Duration {
	if g.chance(40) {
		return 0
	}
	return g.duration(0, 2*time.Second)
}

func (g *generator) lifetime(instance string) lifetime {
	f := lifetime{instance: instance, pause: g.pause(), faults: g.losses(), unsynced: g.pick(0, 50, 100)}
	if g.chance(20) {
		f.end, f.endAt = endStopped, g.duration(50*time.Millisecond, 2*time.Second)
	} else {
		f.faults = append(f.faults, g.processFault(true))
		if g.chance(50) { // the first of the two that is met counts
			f.faults = append(f.faults, g.processFault(true))
		}
	}
	for _, o := range f.faults {
		if o.kill && o.step == step(kmsg.LeaveGroup) {
			f.end, f.endAt = endStopped, g.duration(50*time.Millisecond, 2*time.Second)
		}
	}
	if g.chance(15) {
		f.lag = g.duration(20*time.Millisecond, 1500*time.Millisecond)
	}
	if g.chance(12) {
		f.outages = append(f.outages, g.outage())
	}
	return f
}

// outage generates an outage that may be longer than the session time-out.
func (g *generator) outage() outage {
	o := outage{at: g.duration(50*time.Millisecond, 1500*time.Millisecond), lasts: g.duration(g.p.session/2, 2*g.p.session)}
	switch {
	case g.chance(40):
		o.held = true
		if g.chance(20) { // longer than the transaction time-out
			o.lasts = 17 * time.Second
		}
	case g.chance(70):
		o.sides = []side{sideKafka}
	case !g.lasting:
		o.sides = []side{sideKafka, sideAPI}
	default:
		o.sides = []side{sideKafka}
	}
	return o
}

// losses generates faults that lose a connection.
func (g *generator) losses() []fault {
	var faults []fault
	for g.chance(25) && len(faults) < 2 {
		faults = append(faults, g.processFault(false))
	}
	if g.chance(4) {
		// So many that the library stops retrying.
		o := fault{step: step(kmsg.EndTxn), nth: g.between(1, 4), times: 60, effect: swallowed}
		if g.chance(30) {
			o.effect = notApplied
		}
		faults = append(faults, o)
	}
	return faults
}

func (g *generator) processFault(kill bool) fault {
	kafka := []kmsg.Key{
		kmsg.Produce, kmsg.TxnOffsetCommit, kmsg.EndTxn, kmsg.AddOffsetsToTxn, kmsg.InitProducerID,
		kmsg.JoinGroup, kmsg.SyncGroup, kmsg.OffsetFetch, kmsg.Heartbeat, kmsg.OffsetCommit, kmsg.LeaveGroup,
	}
	o := fault{times: 1, effect: effect(g.IntN(5)), kill: kill}
	switch i := g.weighted(4, 4, 5, 2, 1, 1, 1, 1, 2, 1, 1, 6, 1); i {
	case len(kafka):
		o.step, o.nth = stepPOST, g.between(1, 16)
		if kill && g.chance(30) { // between an attempt and its call
			o.effect = notApplied
		}
	case len(kafka) + 1:
		o.step, o.nth = stepGET, 1
	default:
		o.step, o.nth = step(kafka[i]), 1
		if i < 4 || o.step == step(kmsg.Heartbeat) {
			o.nth = g.between(1, 4)
		}
	}
	if o.effect == late && o.step == step(kmsg.OffsetCommit) {
		// The first one may commit the start offsets before the group has a
		// member, so that nothing fences it.
		o.nth = max(o.nth, 2)
	}
	if o.effect == late {
		o.after = g.duration(10*time.Millisecond, 2500*time.Millisecond)
	} else if kill && g.chance(40) {
		o.after = g.duration(0, 200*time.Millisecond)
	}
	return o
}
