package pipeline

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"payment-capture/internal/event"
)

// owner is the one goroutine that owns the state: partitions, windows, lanes.
// Everything reaches it as a message, so nothing here needs a lock; it never
// waits for a capture, a poll or a transaction.
type owner struct {
	p     *Pipeline
	log   *slog.Logger
	work  context.Context //nolint:containedctx // under which captures run; ends after the last of them
	start positions       // between two callbacks of the consumer, not the owner's

	parts    map[int32]*partition
	lanes    *lanes
	ready    []*item // may go as soon as there is room
	inFlight int
	captures sync.WaitGroup
	items    chan *item // to the goroutines that take them to their settlements
	joined   bool

	flushing  bool
	flushFrom time.Time // when the one under way began
	lastFlush time.Time // when the last one ended
	flushTook time.Duration
	retryAt   time.Time // no flush before, after one that failed
	flushErr  string
	failing   bool          // the last flush failed
	refused   string        // why commits are refused; "": they are not
	patience  time.Duration // before the next flush, after one that was refused

	scouting map[int32]*scoutTarget // what the scout was told to read

	timed []*item // that wait for their time, the earliest first

	readErr   string // what the last error of reading said
	readErrAt time.Time
	readErrOf int32 // the partition, or noPartition

	open []OpenTransaction // of other producers, that hold the input back

	drains   []*drain
	stopping bool
	stopFrom time.Time
	cause    error // why it stops by itself
	replaced bool  // the input topic is another one: what is committed has no offsets
	dropAll  bool  // stop without a flush: what is unflushed must not be flushed by us
}

// message is something that happened; apply changes the state by it.
type message interface{ apply(o *owner) }

func newOwner(p *Pipeline) *owner {
	return &owner{p: p, log: p.conf.Log, parts: make(map[int32]*partition), lanes: newLanes(), items: make(chan *item)}
}

// run works until ctx ends or something makes it stop, and returns the latter.
func (o *owner) run(ctx context.Context, stopPolling func()) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	done := ctx.Done()
	for {
		if member, _ := o.p.consumer.GroupMetadata(); o.expelled(member) && !o.dropAll {
			o.stopNow(ErrExpelled)
		}
		o.forgetFailure()
		wake := earliest(o.releaseDue(), o.checkHolds())
		o.dispatch()
		o.adjustIntake()
		o.directScout()
		wake = earliest(wake, earliest(o.maybeFlush(), o.checkDrains()))
		if o.stopping && (len(o.parts) == 0 || o.dropAll) {
			o.dropEverything()
			return o.cause
		}
		if wake.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(wake))
		}
		select {
		case m := <-o.p.messages:
			m.apply(o)
		case <-o.p.capturer.Changes(): // of whether calls can be made
		case <-timer.C:
		case <-done:
			done = nil
			o.log.InfoContext(ctx, "stopping", slog.Any("cause", context.Cause(ctx)))
			o.stop(nil)
		}
		if o.stopping {
			stopPolling()
		}
	}
}

// earliest gives the earlier of two times, of which either may be zero.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// stop begins no further capture, and lets what is under way finish and be
// flushed within the shutdown time-out.
func (o *owner) stop(cause error) {
	if cause != nil && o.cause == nil {
		o.cause = cause
	}
	if o.stopping {
		return
	}
	o.stopping, o.stopFrom = true, time.Now()
	var all []*partition
	for _, pt := range o.parts {
		all = append(all, pt)
	}
	o.drain(all, o.p.conf.ShutdownTimeout, nil)
}

// stopNow stops without a flush: what is unflushed stays uncommitted, and the
// next owner asks the API again under the same keys.
func (o *owner) stopNow(cause error) {
	o.stop(cause)
	o.dropAll = true
}

// polled hands over what a poll gave.
type polled struct {
	batch []polledPartition
	taken chan<- struct{}
}

func (m polled) apply(o *owner) {
	defer close(m.taken)
	// Errors first: after a truncation the records that follow are not those
	// that the window knows by their offsets.
	for _, part := range m.batch {
		if part.err != nil {
			o.fetchFailed(part)
		}
	}
	o.readAgain(m.batch)
	for _, part := range m.batch {
		pt := o.parts[part.number]
		if pt == nil || pt.window == nil || pt.halted != "" || pt.draining {
			continue
		}
		pt.backlog = append(pt.backlog, part.records...)
		for i := range part.records {
			pt.heldBytes += part.records[i].bytes()
		}
		o.notice(pt, part.records)
	}
	holding := false
	for _, part := range m.batch {
		if pt := o.parts[part.number]; pt != nil && pt.halted == "" {
			o.takeUp(pt)
			holding = holding || pt.holding != nil
		}
	}
	if holding {
		o.countHolds()
	}
}

// heldLimit is how many records of a partition are taken up and not settled at
// most; twice as many are fetched. What is settled is bounded by its bytes.
func (o *owner) heldLimit() int { return max(2*o.p.conf.MaxInFlight, 512) }

// takeUp moves records from the backlog into the window as far as it has room.
func (o *owner) takeUp(pt *partition) {
	if pt.window == nil || pt.draining || pt.check != nil {
		return
	}
	w, fits := pt.window, true
	for fits && len(pt.backlog) > 0 && w.unsettled < o.heldLimit() && pt.unflushedBytes < partitionFlushBytes {
		r := pt.backlog[0]
		at, epoch := r.record.Offset, r.record.LeaderEpoch
		switch {
		case at < w.next: // a second delivery
			pt.heldBytes -= r.bytes()
		case r.skip || w.wasSettled(at):
			w.skipTo(at+1, epoch)
			pt.heldBytes -= r.bytes()
			pt.dirty = true
		case !w.fits(at):
			fits = false
			continue
		default:
			o.take(pt, r, epoch)
		}
		pt.backlog[0] = polledRecord{}
		pt.backlog = pt.backlog[1:]
	}
	if len(pt.backlog) == 0 {
		pt.backlog = nil
	} else if !fits || w.unsettled >= o.heldLimit() {
		o.relieve(pt)
	}
}

func (o *owner) take(pt *partition, r polledRecord, epoch int32) {
	it := &item{
		part: pt, offset: r.record.Offset, bytes: r.bytes(), record: r.record, event: r.event, invalid: r.invalid,
		id: r.id, resend: r.resend, since: time.Now(), glimpse: r.glimpse, answer: r.answer,
	}
	pt.window.take(it, epoch)
	if r.invalid != nil {
		it.lanes = []laneKey{{laneEvent, it.id}}
	} else {
		it.order = r.event.OrderID
		it.lanes = lanesOf(r)
	}
	if pt.holds(&r) {
		o.hold(it)
		return
	}
	o.line(it)
}

// line puts an item into its lanes.
func (o *owner) line(it *item) {
	if o.lanes.behindWaiting(it) {
		it.lanes = slices.DeleteFunc(it.lanes, laneKey.ofRecord) // see await
	}
	if o.lanes.enter(it) {
		o.free([]*item{it})
	}
}

// settle records a verdict: what it adds to the next flush, and room in the
// window when that is committed.
func (o *owner) settle(it *item, s settlement) {
	pt := it.part
	pt.window.settle(it)
	pt.heldBytes -= it.bytes
	pt.dirty = true
	if s.replayed {
		o.logReplayed(it, s)
	}
	it.record, it.event, it.resend, it.answer, it.glimpse = nil, nil, nil, nil, event.Snapshot{}
	if s.decision != nil {
		// The next copy of the event may come before this is read back.
		o.p.ledger.AddPending(s.id, s.decision)
	}
	if len(s.records) == 0 {
		o.p.conf.Metrics.settled(s)
		return
	}
	pt.pending = append(pt.pending, s)
	pt.unflushed++
	pt.unflushedBytes += s.bytes()
}

// logReplayed logs that a record was answered from the ledger. That it was answered
// by nothing is what its producer has to know.
func (o *owner) logReplayed(it *item, s settlement) {
	attrs := []slog.Attr{slog.String("event_id", it.id), slog.String("order_id", it.order)}
	d := s.left
	switch {
	case d == nil:
		o.log.LogAttrs(o.work, slog.LevelDebug, "answered from the ledger", append(attrs, slog.String("verdict", s.kind))...)
		return
	case s.superseded:
		o.log.LogAttrs(o.work, slog.LevelInfo, "event was corrected since",
			append(attrs, slog.String("verdict", kindOf(d)), slog.Time("decided_at", d.At))...)
		return
	}
	o.log.LogAttrs(o.work, slog.LevelInfo, "event stays parked",
		append(attrs, slog.String("reason", string(d.ParkInfo.Reason)), slog.Time("parked_at", d.At))...)
}

// forget tells the ledger of decisions that will not be committed.
func (p *Pipeline) forget(pending []settlement) {
	for _, s := range pending {
		if s.decision != nil {
			p.ledger.DropPending(s.id)
		}
	}
}

// adjustIntake stops fetching partitions of which enough is held, and fetches
// them again when half of it is gone.
func (o *owner) adjustIntake() {
	var pause, resume []int32
	// While nothing can be captured or committed, no more is read than there are
	// captures to find out that it can again.
	shut := o.commitsHold() != "" || (o.room() <= 0 && o.p.capturer.Blocked() != "")
	for n, pt := range o.parts {
		held := pt.held()
		switch {
		case !pt.paused && (shut || held >= 2*o.heldLimit() || pt.heldBytes+pt.unflushedBytes >= partitionBytes || pt.halted != ""):
			pt.paused = true
			pause = append(pause, n)
		case pt.paused && !shut && held <= o.heldLimit() && pt.heldBytes+pt.unflushedBytes <= partitionBytes/2 && pt.halted == "" && !pt.draining:
			pt.paused = false
			resume = append(resume, n)
		}
	}
	topic := o.p.conf.Topics.Input
	if len(pause) > 0 {
		o.p.consumer.PauseFetchPartitions(map[string][]int32{topic: pause})
	}
	if len(resume) > 0 {
		o.p.consumer.ResumeFetchPartitions(map[string][]int32{topic: resume})
	}
}

// drop forgets partitions: their records, and the calls under way for them,
// whose results will be stale.
func (o *owner) drop(parts []*partition) {
	var numbers []int32
	for _, pt := range parts {
		if o.parts[pt.number] != pt {
			continue
		}
		delete(o.parts, pt.number)
		numbers = append(numbers, pt.number)
		pt.stopTries()
		o.p.forget(pt.pending)
		if !o.dropAll || !Restartable(o.cause) {
			pt.cancel()
		}
		if pt.window == nil {
			continue
		}
		for _, it := range pt.window.entries {
			// One in flight keeps its lanes until its call is over, so that
			// nobody else asks for the same order meanwhile.
			if !it.settled && !it.inFlight && !it.left {
				o.free(o.lanes.leave(it))
			}
		}
	}
	if len(numbers) > 0 {
		// Pauses outlive an assignment in the client.
		o.p.consumer.ResumeFetchPartitions(map[string][]int32{o.p.conf.Topics.Input: numbers})
	}
	o.countHalted()
	o.forgetWaiting()
	o.countHolds()
	o.p.conf.Metrics.dropped(numbers)
	o.p.conf.Metrics.owned(len(o.parts))
}

func (o *owner) dropEverything() {
	var all []*partition
	for _, pt := range o.parts {
		all = append(all, pt)
	}
	o.drop(all)
	for _, d := range o.drains {
		d.finish()
	}
	o.drains = nil
}

// free makes items ready whose turn has come.
func (o *owner) free(items []*item) {
	for _, it := range items {
		switch {
		case it.left:
		case !it.part.known:
			it.part.waiting = append(it.part.waiting, it)
		default:
			o.ready = append(o.ready, it)
		}
	}
}

// readyNext takes the next item that can go, dropping those that cannot any
// more.
func (o *owner) readyNext() *item {
	for len(o.ready) > 0 {
		it := o.ready[0]
		o.ready[0] = nil
		o.ready = o.ready[1:]
		if !it.left && !it.part.draining {
			return it
		}
	}
	o.ready = slices.Clip(o.ready[:0])
	return nil
}
