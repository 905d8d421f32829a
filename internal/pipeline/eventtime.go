package pipeline

import (
	"log/slog"
	"slices"
	"time"

	"payment-capture/internal/rules"
)

// Event time: an event whose time is slightly ahead waits for it, and is evaluated again
// then. Meanwhile it stays at the head of the queues of its order, event id and
// reference, so that later events of the order stay behind it; and it stays uncommitted,
// so that the next owner of its partition has it wait again.
//
// Waiting must not stop other orders of the partition. So the waiting events have room of
// their own, the number of those behind them is bounded, and none of them keeps the
// ordering key of its record key, which many orders may share. Events for which there is
// no room are parked. They count as invalid ones, which may be held: their producer's
// clock is hardly right.
//
// A record with other content under the same event id corrects an event that waits: no
// call binds it yet. It is parked then, and the correction takes its place.

const (
	// clockInterval is how often the clock is read while something waits, because it may
	// be set meanwhile.
	clockInterval = time.Minute
	// maxWaiting and maxWaitingBytes bound the records of a partition that wait for their
	// time. They leave room for others in the metadata of a commit, which holds some 1,000
	// offsets that are not completed, or 750 if they are millions apart.
	maxWaiting      = 640
	maxWaitingBytes = partitionBytes / 2
	// maxBehindWaiting bounds the records behind those, if they leave no room for others.
	maxBehindWaiting = 256
)

// crowd marks the records of a poll that are ahead of their time and have no room to wait.
func (o *owner) crowd(pt *partition, records []polledRecord) {
	if !slices.ContainsFunc(records, func(r polledRecord) bool { return r.ahead }) {
		return
	}
	n, bytes := pt.aheadOfTime()
	for i := range records {
		r := &records[i]
		if !r.ahead {
			continue
		}
		if n++; n > maxWaiting || bytes+r.memory() > maxWaitingBytes {
			r.ahead, r.crowded, r.suspicious = false, maxWaiting, rules.Crowded(r.event, maxWaiting, time.Now())
			continue
		}
		bytes += r.memory()
	}
}

// aheadOfTime returns how many records of the partition wait for their time or will, and
// the memory that they take.
func (pt *partition) aheadOfTime() (n, bytes int) {
	for _, it := range pt.tracker.items {
		if !it.completed && it.ahead {
			n++
			bytes += it.bytes
		}
	}
	for i := range pt.buffered {
		if r := &pt.buffered[i]; r.ahead {
			n++
			bytes += r.memory()
		}
	}
	return n, bytes
}

// enter puts an item into its queues, and ends the wait of an event that it corrects.
func (o *owner) enter(it *item) {
	o.enqueue(it)
	if first := o.keys.sameEvent(it); len(first) > 0 && !first[0].waitsUntil.IsZero() && first[0].correctedBy(it) {
		o.endWait(first[0])
		first[0].corrected = true
		o.parkNow(first[0])
	}
}

// correctedBy reports whether another record has other content under the same event id.
func (it *item) correctedBy(other *item) bool {
	return other.event != nil && !other.released && other.event.Content() != it.event.Content()
}

// waitForTime has an item wait. It was in flight, so it is at the head of its queues.
func (o *owner) waitForTime(it *item, until time.Time) {
	pt := it.part
	switch {
	case !o.owns(pt):
		o.makeReady(o.keys.release(it)) // it kept them when its partition was dropped
		return
	case pt.draining: // left to the next owner
		return
	case slices.ContainsFunc(o.keys.sameEvent(it), it.correctedBy):
		it.corrected = true
		o.parkNow(it)
		return
	}
	it.waitsUntil = until
	o.stepAside(it)
	at, _ := slices.BinarySearchFunc(o.waiting, until, func(other *item, t time.Time) int { return other.waitsUntil.Compare(t) })
	o.waiting = slices.Insert(o.waiting, at, it)
	pt.waiting++
	pt.waitingBytes += it.bytes
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
	it.waitsUntil, it.ahead = time.Time{}, false
	it.part.waiting--
	it.part.waitingBytes -= it.bytes
	o.p.conf.Metrics.waiting(len(o.waiting))
}

// parkNow has an item parked instead of waiting, because it is corrected or crowded.
func (o *owner) parkNow(it *item) {
	it.ahead = false
	o.ready = append(o.ready, it)
}

// relieve ends one wait of a partition that has no room for more records, if those behind
// the waiting ones are too many, or with them too many for the metadata of a commit. It
// ends the wait with the most behind it.
func (o *owner) relieve(pt *partition, metadata bool) {
	var worst *item
	behind, most := 0, -1
	for _, it := range o.waiting {
		if it.part != pt {
			continue
		}
		n := len(o.keys.behind(it))
		behind += n
		if n > most {
			worst, most = it, n
		}
	}
	if behind > maxBehindWaiting || metadata && pt.waiting+behind > maxWaiting {
		o.endWait(worst)
		worst.crowded = maxBehindWaiting
		o.parkNow(worst)
	}
}

// dropWaits leaves the waiting items of dropped partitions to their next owner.
func (o *owner) dropWaits() {
	o.waiting = slices.DeleteFunc(o.waiting, func(it *item) bool { return !o.owns(it.part) })
	o.p.conf.Metrics.waiting(len(o.waiting))
}
