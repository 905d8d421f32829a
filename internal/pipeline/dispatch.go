package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
	"payment-capture/internal/rules"
)

// Dispatch: an admitted record waits in the queues of its ordering keys until it is at
// the head of each. Then, if there is room, the owner takes a lease on it and starts a
// goroutine that asks the rules, the ledger and the capturer for its decision. The
// result returns to the owner as a message, which completes the record: it goes into
// the next flush, and its ordering keys are free for the next record.

const (
	// captureFactor is how many captures there may be for each call under way: captures
	// that wait before a retry must not keep others from calling.
	captureFactor = 4
	// minInFlight is how many captures there may be however few calls are allowed:
	// refused events wait for a payment that confirms the refusal or for the end of a
	// halt, and must not keep out the event that would bring it.
	minInFlight = 1024
	// minReady is how many captures may be on their way to a call, however few calls
	// are allowed.
	minReady = 64
	// unreadPause is the time between two lookups of a decision that is not read back.
	unreadPause = 10 * time.Millisecond
	// ownershipCheck is how often an event that waits for the attempt of another instance
	// is looked up again without a change in the ledger.
	ownershipCheck = time.Second
	// yieldPause is how long an event keeps its place in the queues in front of another one
	// that goes first, which may not be read yet.
	yieldPause = 50 * time.Millisecond
)

// enqueue puts an item into the queues of its ordering keys.
func (o *owner) enqueue(it *item) {
	if o.keys.behindAside(it) {
		it.aside, it.keys = true, slices.DeleteFunc(it.keys, orderingKey.ofRecord)
	}
	if o.keys.enter(it) {
		o.makeReady([]*item{it})
	} else {
		o.prepare(it)
	}
}

// stepAside lets other orders with the record key of an item go first, because it waits
// for its time or for the end of a halt, which one of them may bring. The items behind it
// step aside too, because they cannot start before it.
func (o *owner) stepAside(it *item) {
	if it.aside || it.released || !o.owns(it.part) {
		return
	}
	it.aside = true
	o.makeReady(o.keys.releaseRecordKey(it))
	for _, other := range o.keys.behind(it) {
		o.stepAside(other)
	}
}

// makeReady lets items start that are at the head of their queues.
func (o *owner) makeReady(items []*item) {
	for _, it := range items {
		switch {
		case it.released:
		case !it.part.ledgerRead:
			it.part.untilLedgerRead = append(it.part.untilLedgerRead, it)
		default:
			o.ready = append(o.ready, it)
		}
	}
}

// room returns how many more captures may start: enough to keep every permitted call
// busy, and no more, because each takes memory.
func (o *owner) room() int {
	calls := o.p.conf.MaxInFlight
	ready := o.inFlight - o.prepared - o.p.capturer.Busy() - int(o.p.awaitingLedger.Load())
	return min(max(calls/2, minReady)-ready, max(captureFactor*calls, minInFlight)-o.inFlight)
}

// dispatch starts captures while there is room.
func (o *owner) dispatch() {
	for room := o.room(); room > 0 && o.commitsBlocked() == ""; {
		it := o.nextReady()
		if it == nil {
			break
		}
		if it.prefetched != nil && o.p.ledger.IsCurrent(it.id, it.snapshot.Version) {
			o.makeReady(o.keys.release(it))
			o.complete(it, *it.prefetched)
			continue
		}
		room--
		o.start(it)
	}
	o.p.conf.Metrics.capturing(o.inFlight)
}

// nextReady returns the next item that can start, and drops those that cannot any more.
func (o *owner) nextReady() *item {
	for len(o.ready) > 0 {
		it := o.ready[0]
		o.ready[0] = nil
		o.ready = o.ready[1:]
		if !it.released && !it.part.draining {
			return it
		}
	}
	o.ready = slices.Clip(o.ready[:0])
	return nil
}

// start has an item captured, and the next one behind it prepared.
func (o *owner) start(it *item) {
	if it.inFlight {
		o.prepared--
		close(it.lease.turn)
	} else {
		o.launch(it, false)
	}
	it.started = true
	for _, next := range o.keys.next(it) {
		o.prepare(next)
	}
}

// prepare launches an item early, so that its attempt is written while those before it
// are called for. Its own call waits for its turn, in start. An item that competes with
// one before it is not prepared: its attempt might get ahead.
func (o *owner) prepare(it *item) {
	pt := it.part
	if it.inFlight || it.released || it.event == nil || it.prefetched != nil || !pt.ledgerRead || pt.draining || !o.owns(pt) {
		return
	}
	for _, before := range o.keys.before(it) {
		if before == nil || !before.started || before.event == nil || before.id == it.id || !before.waitsUntil.IsZero() ||
			before.event.ExternalReference == it.event.ExternalReference && o.p.conf.Rules.Rivals(it.event, event.AttemptOf(before.event)) {
			return
		}
	}
	if o.room() > 0 && o.commitsBlocked() == "" {
		o.prepared++
		o.launch(it, true)
	}
}

// launch takes a lease on an item and hands it to an idle capture goroutine, or to a new
// one. The goroutines stay, because much of the cost of a capture is the growth of its
// stack.
func (o *owner) launch(it *item, early bool) {
	it.inFlight = true
	it.part.inFlight++
	o.inFlight++
	it.lease = o.p.newLease(it.part, early)
	it.lease.stepAside = func() { o.p.send(func(o *owner) { o.stepAside(it) }) }
	o.background.Add(1)
	select {
	case o.idle <- it:
	default:
		go o.capture(it)
	}
}

// capture takes items to their completions, one after the other, until there are no
// more. It runs in a goroutine of its own, and of an item it reads only what does not
// change while the item is in flight.
func (o *owner) capture(it *item) {
	for next, ok := it, true; ok; next, ok = <-o.idle {
		c, err := o.p.respond(next)
		o.p.send(func(o *owner) { o.captureEnded(next, c, err) })
		o.background.Done()
	}
}

// respond takes a record to its completion: from the ledger if there is a decision, else
// by parking or capturing it.
func (p *Pipeline) respond(it *item) (c completion, err error) {
	span := p.startProcess(it)
	defer func() {
		endProcess(span, &c, err)
		it.ctx = nil
	}()
	if it.invalid != nil {
		return p.parkOnce(it, &event.ParkInfo{Reason: event.ParkInvalidEvent, Detail: it.invalid.Error()})
	}
	for {
		c, err = p.decide(it)
		if it.lease.early() && err == nil {
			if err = p.awaitTurn(it); err == nil && c.yields {
				continue
			}
		}
		if !errors.Is(err, event.ErrStartOver) {
			return c, err
		}
	}
}

// awaitTurn waits until the records before an item are decided.
func (p *Pipeline) awaitTurn(it *item) error {
	select {
	case <-it.lease.turn:
		return nil
	case <-it.part.calls.Done():
		return it.part.calls.Err()
	}
}

// decide takes an event to its completion. [event.ErrStartOver] means that it must be
// repeated, because another instance was first.
func (p *Pipeline) decide(it *item) (completion, error) {
	e := it.event
	// Only the record that was attempted resumes its attempt. If any copy did, two instances
	// could, when one of the copies' partitions moves.
	resumes := func(input int32) bool { return input == it.part.number }
	claim := p.ledger.Claim(e, resumes, func(other event.Attempt) bool { return p.conf.Rules.Rivals(e, other) })
	defer claim.Close()
	h, err := p.lookup(it.part.calls, e.ID, it.snapshot)
	if err != nil {
		return completion{}, err
	}
	r := rules.Respond(e, it.resend, h)
	switch r.Action { //nolint:exhaustive // Respond returns these, and Evaluate
	case rules.Republish:
		return p.replay(it.ctx, it.record, h.Decision)
	case rules.LeaveParked, rules.LeaveSuperseded:
		return unpublished(r.Action, h.Decision), nil
	case rules.Park:
		return p.parkOnce(it, r.Why)
	}
	var yields bool
	if r.Bar, yields, err = p.awaitOthers(it, claim); err != nil || yields {
		return completion{yields: yields}, err
	}
	it.lease.claim = claim
	d, waitUntil, err := p.evaluate(it, r)
	if err != nil || !waitUntil.IsZero() {
		return completion{waitUntil: waitUntil}, err
	}
	rules.Conclude(d, e, h)
	return p.encode(it.ctx, it, e.ID, d)
}

// ownsInput reports whether a partition of the input is owned now.
func (p *Pipeline) ownsInput(number int32) bool {
	_, owned := p.inputs.Load(number)
	return owned
}

// awaitOthers waits while an attempt of another instance goes first, and then returns
// [event.ErrStartOver]. Behind an abandoned attempt on another event it returns why this
// one must not be charged.
//
// Another record whose attempt is this instance's to resume may be behind this one in
// the queues, so this one yields its place.
func (p *Pipeline) awaitOthers(it *item, claim Claim) (bar *event.ParkInfo, yields bool, err error) {
	calls := it.part.calls
	first, changed, err := claim.Ahead(calls)
	if first == nil || err != nil {
		return nil, false, err
	}
	if first.Abandoned {
		return rules.Competing(first), false, nil
	}
	wait := ownershipCheck
	if yields = p.ownsInput(first.Input); yields {
		wait = yieldPause
	}
	it.lease.SetWaiting(fmt.Sprintf("waits for event %s, which was attempted first", first.EventID), 0)
	p.awaitingLedger.Add(1)
	defer p.awaitingLedger.Add(-1)
	select {
	case <-changed:
	case <-calls.Done():
	case <-time.After(wait): // this instance may own the other one's partition by now, or it is abandoned
	}
	switch {
	case calls.Err() != nil:
		return nil, false, calls.Err()
	case yields:
		return nil, true, nil
	}
	return nil, false, event.ErrStartOver
}

// evaluate takes an event to its decision, or returns until when it has to wait for its
// time first.
func (p *Pipeline) evaluate(it *item, r rules.Disposition) (_ *event.Decision, waitUntil time.Time, _ error) {
	e := it.event
	if r.Prior == nil {
		waitUntil = p.conf.Rules.Evaluate(rules.Case{Event: e}, r, time.Now()).Until
	}
	var why *event.ParkInfo
	switch {
	case waitUntil.IsZero():
		it.lease.event, it.lease.prior, it.lease.resent, it.lease.bar, it.lease.under = e, r.Prior, r.Resent, r.Bar, it.under
		d, err := p.capturer.Capture(it.ctx, e, it.lease)
		return d, time.Time{}, err
	case it.corrected:
		why = rules.CorrectedWhileWaiting(e)
	case it.crowded > 0:
		why = rules.Crowded(e, it.crowded, time.Now())
	default:
		return nil, waitUntil, nil
	}
	return &event.Decision{Result: event.Result{ParkInfo: why}, At: event.Now(), Attempt: event.AttemptOf(e)}, time.Time{}, nil
}

// lookup returns what is certainly known of an event: a current snapshot, or
// what the ledger has. It waits until a decision that this process made is read back or
// dropped, because the partition may be lost before its flush.
func (p *Pipeline) lookup(ctx context.Context, id string, snapshot event.Snapshot) (event.History, error) {
	if p.ledger.IsCurrent(id, snapshot.Version) {
		return snapshot.History, nil
	}
	for {
		h, err := p.ledger.Lookup(ctx, id)
		if err != nil || !h.Pending {
			return h, err
		}
		p.awaitingLedger.Add(1)
		err = pause(ctx, unreadPause)
		p.awaitingLedger.Add(-1)
		if err != nil {
			return h, err
		}
	}
}

// parkOnce parks a record whose event id cannot be trusted, unless a copy of it is
// parked and was not sent again since.
func (p *Pipeline) parkOnce(it *item, info *event.ParkInfo) (completion, error) {
	id, snapshot := it.id, it.snapshot
	if it.invalid == nil { // its event id belongs to another event
		id, snapshot = event.RecordID(kafka.MessageOf(it.record)), event.Snapshot{}
	}
	h, err := p.lookup(it.part.calls, id, snapshot)
	if err != nil {
		return completion{}, err
	}
	if d := rules.ParkOnce(info, it.resend, h.Decision); d.Action == rules.LeaveParked {
		return unpublished(d.Action, h.Decision), nil
	}
	return p.encode(it.ctx, it, id, &event.Decision{Result: event.Result{ParkInfo: info}, At: event.Now()})
}

// captureEnded handles the end of a capture.
func (o *owner) captureEnded(it *item, c completion, err error) {
	pt := it.part
	o.inFlight--
	pt.inFlight--
	if !it.started {
		o.prepared--
	}
	it.inFlight, it.started = false, false
	if err == nil && !c.waitUntil.IsZero() {
		o.waitForTime(it, c.waitUntil)
		return
	}
	o.makeReady(o.keys.release(it))
	if c.yields {
		if o.owns(pt) && !pt.draining { // otherwise it is left to the next owner
			it.released = false
			o.enqueue(it)
		}
		return
	}
	_, unencodable := errors.AsType[*encodeError](err)
	switch {
	case !o.owns(pt):
		// The next owner of the partition decides, under the same idempotency key. That
		// may be this instance again.
		o.p.conf.Metrics.stale()
	case err == nil:
		o.complete(it, c)
	case !unencodable && (pt.ctx.Err() != nil || pt.draining):
		// Left to the next owner.
	default:
		o.stop(err)
	}
}

// complete adds a completion to the next flush, and admits more of its partition.
func (o *owner) complete(it *item, c completion) {
	pt := it.part
	pt.tracker.complete(it)
	pt.undecidedBytes -= it.bytes
	pt.dirty = true
	if c.replayed {
		o.logReplayed(it, c)
	}
	c.since = it.record.Timestamp
	it.polledRecord = polledRecord{id: it.id}
	if c.entry != nil {
		// The next copy of the event may come before this decision is read back.
		o.p.ledger.AddPending(c.id, c.entry)
	}
	if len(c.records) == 0 {
		o.p.conf.Metrics.decided(c)
	} else {
		pt.pending = append(pt.pending, c)
		pt.decisions++
		pt.decisionBytes += c.bytes()
	}
	o.admit(pt)
}

// logReplayed logs what became of a record with an earlier decision. A producer has to
// know if nothing is published for it.
func (o *owner) logReplayed(it *item, c completion) {
	attrs := []slog.Attr{slog.String("event_id", it.id), slog.String("order_id", it.orderID)}
	d := c.standing
	switch {
	case d == nil:
		o.log.LogAttrs(o.work, slog.LevelDebug, "outcome replayed", append(attrs, slog.String("decision", c.decision))...)
	case c.superseded:
		o.log.LogAttrs(o.work, slog.LevelInfo, "event was corrected since",
			append(attrs, slog.String("decision", nameOf(d)), slog.Time("decided_at", d.At))...)
	default:
		o.log.LogAttrs(o.work, slog.LevelInfo, "event stays parked",
			append(attrs, slog.String("reason", string(d.ParkInfo.Reason)), slog.Time("parked_at", d.At))...)
	}
}

// dropPending lets the ledger forget decisions that will not be committed.
func (p *Pipeline) dropPending(pending []completion) {
	for _, c := range pending {
		if c.entry != nil {
			p.ledger.DropPending(c.id)
		}
	}
}
