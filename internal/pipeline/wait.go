package pipeline

import (
	"log/slog"
	"slices"
	"time"
)

// An event whose time is slightly ahead waits for it, and is evaluated again then. It
// stays at the head of the lanes of its order, event id and reference meanwhile, so
// that later events of the order stay behind it; and it stays uncommitted, so that
// the next owner of its partition has it wait again.
//
// Waiting must not stop other orders of the partition, so both what waits and what
// stands behind it is bounded, and neither holds the lane of a record key, which may
// be that of many orders.

// lookAtClock is how often the clock is looked at while something waits, because it
// may be set meanwhile.
const lookAtClock = time.Minute

// mostWaiting leaves room for other records in the metadata of a commit, which holds
// some 750 offsets that are not completed.
const mostWaiting = 256

// waitLimit returns how many records of a partition may wait for their time.
func (o *owner) waitLimit() int { return min(o.heldLimit()/2, mostWaiting) }

// await has an item wait for its time. It was in flight, so it stands at the head of
// its lanes.
func (o *owner) await(it *item, until time.Time) {
	pt := it.part
	switch {
	case o.parts[pt.number] != pt:
		o.free(o.lanes.leave(it)) // it kept them when its partition was dropped
		return
	case pt.draining: // left for the next owner
		return
	case pt.timed >= o.waitLimit():
		o.crowdOut(it)
		return
	}
	it.until = until
	o.free(o.lanes.yieldKey(it))
	for _, other := range o.lanes.behind(it) {
		o.free(o.lanes.yieldKey(other))
	}
	at, _ := slices.BinarySearchFunc(o.timed, until, func(other *item, t time.Time) int { return other.until.Compare(t) })
	o.timed = slices.Insert(o.timed, at, it)
	pt.timed++
	o.p.conf.Metrics.waiting(len(o.timed))
	o.log.LogAttrs(o.work, slog.LevelInfo, "event waits for its time", slog.String("event_id", it.id), slog.String("order_id", it.order),
		slog.Time("time", until.UTC()), slog.Int64("partition", int64(pt.number)), slog.Int64("offset", it.offset))
	o.takeUp(pt) // which looks whether too much stands behind it
}

// releaseDue lets the items go whose time has come, by the wall clock, and returns
// when to look again.
func (o *owner) releaseDue() time.Time {
	now := time.Now()
	for len(o.timed) > 0 && !o.timed[0].until.After(now) {
		it := o.timed[0]
		o.endWait(it)
		o.ready = append(o.ready, it)
	}
	if len(o.timed) == 0 {
		return time.Time{}
	}
	return now.Add(min(o.timed[0].until.Sub(now), lookAtClock))
}

func (o *owner) endWait(it *item) {
	o.timed = slices.DeleteFunc(o.timed, func(other *item) bool { return other == it })
	it.until = time.Time{}
	it.part.timed--
	o.p.conf.Metrics.waiting(len(o.timed))
}

// crowdOut has an item parked instead of waiting.
func (o *owner) crowdOut(it *item) {
	it.crowded = o.waitLimit()
	o.ready = append(o.ready, it)
}

// relieve ends one wait of a partition that takes no more records, if the waiting
// ones and those behind them are too many. The one with the most behind it ends.
func (o *owner) relieve(pt *partition) {
	var worst *item
	total, most := 0, -1
	for _, it := range o.timed {
		if it.part != pt {
			continue
		}
		n := len(o.lanes.behind(it))
		total += 1 + n
		if n > most {
			worst, most = it, n
		}
	}
	if total > o.waitLimit() {
		o.endWait(worst)
		o.crowdOut(worst)
	}
}

// forgetWaiting leaves the waiting items of dropped partitions to their next owner.
func (o *owner) forgetWaiting() {
	o.timed = slices.DeleteFunc(o.timed, func(it *item) bool { return o.parts[it.part.number] != it.part })
	o.p.conf.Metrics.waiting(len(o.timed))
}
