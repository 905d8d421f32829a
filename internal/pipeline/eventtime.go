package pipeline

import (
	"log/slog"
	"slices"
	"time"
)

// Event time: an event whose time is slightly ahead waits for it, and is evaluated again
// then. Meanwhile it stays at the head of the queues of its order, event id and
// reference, so that later events of the order stay behind it; and it stays uncommitted,
// so that the next owner of its partition has it wait again.
//
// Waiting must not stop other orders of the partition. So the number of waiting events
// and of those behind them is bounded, and none of them keeps the ordering key of its
// record key, which many orders may share.

const (
	// clockInterval is how often the clock is read while something waits, because it may
	// be set meanwhile.
	clockInterval = time.Minute
	// maxWaiting leaves room for other records in the metadata of a commit, which holds
	// some 750 offsets that are not completed.
	maxWaiting = 256
)

// waitLimit returns how many records of a partition may wait for their time.
func (o *owner) waitLimit() int { return min(o.admitLimit()/2, maxWaiting) }

// waitForTime has an item wait. It was in flight, so it is at the head of its queues.
func (o *owner) waitForTime(it *item, until time.Time) {
	pt := it.part
	switch {
	case !o.owns(pt):
		o.makeReady(o.keys.release(it)) // it kept them when its partition was dropped
		return
	case pt.draining: // left to the next owner
		return
	case pt.waiting >= o.waitLimit():
		o.crowdOut(it)
		return
	}
	it.waitsUntil = until
	o.makeReady(o.keys.releaseRecordKey(it))
	for _, other := range o.keys.behind(it) {
		o.makeReady(o.keys.releaseRecordKey(other))
	}
	at, _ := slices.BinarySearchFunc(o.waiting, until, func(other *item, t time.Time) int { return other.waitsUntil.Compare(t) })
	o.waiting = slices.Insert(o.waiting, at, it)
	pt.waiting++
	o.p.conf.Metrics.waiting(len(o.waiting))
	o.log.LogAttrs(o.work, slog.LevelInfo, "event waits for its time", slog.String("event_id", it.id), slog.String("order_id", it.orderID),
		slog.Time("time", until.UTC()), slog.Int64("partition", int64(pt.number)), slog.Int64("offset", it.offset))
	o.admit(pt) // checks whether too much is behind it
}

// endWaits makes the items ready whose time has come by the wall clock, and returns when
// to check again.
func (o *owner) endWaits() time.Time {
	now := time.Now()
	for len(o.waiting) > 0 && !o.waiting[0].waitsUntil.After(now) {
		it := o.waiting[0]
		o.endWait(it)
		o.ready = append(o.ready, it)
	}
	if len(o.waiting) == 0 {
		return time.Time{}
	}
	return now.Add(min(o.waiting[0].waitsUntil.Sub(now), clockInterval))
}

func (o *owner) endWait(it *item) {
	o.waiting = slices.DeleteFunc(o.waiting, func(other *item) bool { return other == it })
	it.waitsUntil = time.Time{}
	it.part.waiting--
	o.p.conf.Metrics.waiting(len(o.waiting))
}

// crowdOut has an item parked instead of waiting.
func (o *owner) crowdOut(it *item) {
	it.crowded = o.waitLimit()
	o.ready = append(o.ready, it)
}

// relieve ends one wait of a partition that has no room for more records, if those that
// wait and those behind them are too many. It ends the wait with the most behind it.
func (o *owner) relieve(pt *partition) {
	var worst *item
	total, most := 0, -1
	for _, it := range o.waiting {
		if it.part != pt {
			continue
		}
		n := len(o.keys.behind(it))
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

// dropWaits leaves the waiting items of dropped partitions to their next owner.
func (o *owner) dropWaits() {
	o.waiting = slices.DeleteFunc(o.waiting, func(it *item) bool { return !o.owns(it.part) })
	o.p.conf.Metrics.waiting(len(o.waiting))
}
