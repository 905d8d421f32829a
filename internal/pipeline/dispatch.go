package pipeline

import (
	"errors"
)

// captureFactor is how many captures there may be for each call under way:
// those that wait between two tries must not take the others' turn.
const captureFactor = 4

// leastInFlight is how many captures there may be at the least, however few calls:
// refused events wait for a payment to confirm the refusal, or for the end of a
// halt, and must not take the place of the event that could bring it.
const leastInFlight = 1024

// leastReady is how many captures may be on their way to a call at the least.
const leastReady = 64

// room is how many captures may be begun: those on their way to a call are so many
// that none is waited for, and no more, for each holds memory.
func (o *owner) room() int {
	most := o.p.conf.MaxInFlight
	ready := o.inFlight - o.p.capturer.Busy() - int(o.p.unread.Load())
	return min(max(most/2, leastReady)-ready, max(captureFactor*most, leastInFlight)-o.inFlight)
}

// dispatch begins captures while there is room.
func (o *owner) dispatch() {
	for room := o.room(); room > 0 && o.commitsHold() == ""; {
		it := o.readyNext()
		if it == nil {
			break
		}
		if it.answer != nil && o.p.ledger.IsCurrent(it.id, it.glimpse) {
			o.answered(it, *it.answer)
			continue
		}
		it.inFlight = true
		it.part.inFlight++
		o.inFlight++
		it.lease = &lease{
			giveUp: it.part.giveUp, heard: &o.p.heard, within: o.p.conf.SessionTimeout,
			member: o.p.member, assigned: it.part.member,
			journal: journal{ledger: o.p.ledger, asking: it.part.asking, partition: it.part.number},
		}
		room--
		o.hand(it)
	}
	o.p.conf.Metrics.capturing(o.inFlight)
}

// hand gives an item to a goroutine that waits for one, or to a new one. They
// stay, for what a capture costs is in good part the growth of its stack.
func (o *owner) hand(it *item) {
	o.captures.Add(1)
	select {
	case o.items <- it:
	default:
		go o.capture(it)
	}
}

// capture takes items to their settlements, one after the other, until there
// will be none. Of an item it reads only what does not change while that is in
// flight.
func (o *owner) capture(it *item) {
	for ok := true; ok; it, ok = <-o.items {
		s, err := o.p.settlementFor(it.part.ctx, it.part.asking, it)
		o.p.send(captured{it: it, settlement: s, err: err})
		o.captures.Done()
	}
}

// answered settles an item that needs no call.
func (o *owner) answered(it *item, s settlement) {
	o.free(o.lanes.leave(it))
	o.settle(it, s)
	o.takeUp(it.part)
}

// captured is the end of an item's way to its verdict.
type captured struct {
	it         *item
	settlement settlement
	err        error
}

// encodeError keeps a verdict that cannot be written from being taken for an
// abandoned one.
type encodeError struct{ error }

func (e *encodeError) Unwrap() error { return e.error }

func (m captured) apply(o *owner) {
	it, pt := m.it, m.it.part
	o.inFlight--
	pt.inFlight--
	it.inFlight = false
	if until := m.settlement.until; m.err == nil && !until.IsZero() {
		o.await(it, until)
		return
	}
	o.free(o.lanes.leave(it))
	_, unwritable := errors.AsType[*encodeError](m.err)
	switch {
	case o.parts[pt.number] != pt:
		// The partition is somebody else's now, or was given to us anew: its
		// owner decides, under the same key.
		o.p.conf.Metrics.stale()
	case m.err == nil:
		o.settle(it, m.settlement)
		o.takeUp(pt)
	case !unwritable && (pt.ctx.Err() != nil || pt.draining):
		// Left for the next owner.
	default:
		o.stop(m.err)
	}
}
