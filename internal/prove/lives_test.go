//go:build synctests

package prove

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// lives draws what happens to the instances.
func (d *draw) lives(calm bool) {
	p := d.p
	slots := d.between(1, 2)
	if calm {
		slots = 2
	} else if d.chance(10) {
		slots = 3
	}
	kills := 0
	for i := range slots {
		instance := fmt.Sprintf("i%d", i)
		var fates []fate
		most := 2
		if i == 0 {
			most = 3
		}
		for j := range d.between(0, most) {
			f := d.fate(instance)
			if i > 0 && j == 0 && !calm {
				f.pause = d.duration(0, time.Second) // it joins later
			}
			fates = append(fates, f)
			if f.end == endKilled {
				kills++
			}
			if d.chance(25) {
				instance = fmt.Sprintf("i%d-%d", i, j)
			}
		}
		last := fate{instance: instance, pause: d.pause(), end: endLast, orders: d.losses()}
		fates = append(fates, last)
		p.slots = append(p.slots, fates)
	}
	if kills == 0 {
		f := d.fate("i0")
		f.end, f.orders = endKilled, append(d.losses(), d.order(true))
		p.slots[0] = append([]fate{f}, p.slots[0]...)
	}
}

func (d *draw) pause() time.Duration {
	if d.chance(40) {
		return 0
	}
	return d.duration(0, 2*time.Second)
}

func (d *draw) fate(instance string) fate {
	f := fate{instance: instance, pause: d.pause(), orders: d.losses(), unsynced: d.pick(0, 50, 100)}
	if d.chance(20) {
		f.end, f.endAt = endStopped, d.duration(50*time.Millisecond, 2*time.Second)
	} else {
		f.orders = append(f.orders, d.order(true))
		if d.chance(50) { // whichever comes first
			f.orders = append(f.orders, d.order(true))
		}
	}
	for _, o := range f.orders {
		if o.kill && o.step == step(kmsg.LeaveGroup) {
			f.end, f.endAt = endStopped, d.duration(50*time.Millisecond, 2*time.Second)
		}
	}
	if d.chance(12) {
		f.outages = append(f.outages, d.outage())
	}
	return f
}

// outage is long enough for the group to go on without the instance, or not.
func (d *draw) outage() outage {
	o := outage{at: d.duration(50*time.Millisecond, 1500*time.Millisecond), lasts: d.duration(d.p.session/2, 2*d.p.session)}
	switch {
	case d.chance(40):
		o.held = true
		if d.chance(20) { // past the transaction's time-out
			o.lasts = 17 * time.Second
		}
	case d.chance(70):
		o.sides = []side{sideKafka}
	case !d.lasting:
		o.sides = []side{sideKafka, sideAPI}
	default:
		o.sides = []side{sideKafka}
	}
	return o
}

// losses draws orders that lose a connection and nothing more.
func (d *draw) losses() []order {
	var orders []order
	for d.chance(25) && len(orders) < 2 {
		orders = append(orders, d.order(false))
	}
	if d.chance(4) {
		// So long that the library gives up asking.
		o := order{step: step(kmsg.EndTxn), nth: d.between(1, 4), times: 60, how: swallowed}
		if d.chance(30) {
			o.how = notApplied
		}
		orders = append(orders, o)
	}
	return orders
}

func (d *draw) order(kill bool) order {
	kafka := []kmsg.Key{
		kmsg.Produce, kmsg.TxnOffsetCommit, kmsg.EndTxn, kmsg.AddOffsetsToTxn, kmsg.InitProducerID,
		kmsg.JoinGroup, kmsg.SyncGroup, kmsg.OffsetFetch, kmsg.Heartbeat, kmsg.OffsetCommit, kmsg.LeaveGroup,
	}
	o := order{times: 1, how: how(d.IntN(5)), kill: kill}
	switch i := d.weighted(4, 4, 5, 2, 1, 1, 1, 1, 2, 1, 1, 6, 1); i {
	case len(kafka):
		o.step, o.nth = stepPOST, d.between(1, 16)
	case len(kafka) + 1:
		o.step, o.nth = stepGET, 1
	default:
		o.step, o.nth = step(kafka[i]), 1
		if i < 4 || o.step == step(kmsg.Heartbeat) {
			o.nth = d.between(1, 4)
		}
	}
	if o.how == late && o.step == step(kmsg.OffsetCommit) && !*gaps {
		// The first one may be that of the start offsets, before any member: it
		// has nothing that fences it.
		o.nth = max(o.nth, 2)
	}
	if o.how == late {
		o.after = d.duration(10*time.Millisecond, 2500*time.Millisecond)
	} else if kill && d.chance(40) {
		o.after = d.duration(0, 200*time.Millisecond)
	}
	return o
}
