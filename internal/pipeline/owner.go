package pipeline

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// owner is the goroutine that owns the state; see the package comment. Its methods run
// in that goroutine unless they say otherwise.
type owner struct {
	p    *Pipeline
	log  *slog.Logger
	work context.Context //nolint:containedctx // captures run under it; ends after the last of them

	parts  map[int32]*partition
	joined bool // partitions were assigned at least once

	keys       *orderingKeys
	ready      []*item        // may start as soon as there is room
	waiting    []*item        // until the time of their event, the earliest first
	inFlight   int            // captures under way
	prepared   int            // of which so many wait for their turn
	background sync.WaitGroup // captures, ledger catch-ups and checks of offsets
	idle       chan *item     // to capture goroutines that wait for an item

	commits    commitState
	fetch      fetchFault
	scouting   map[int32]*scoutTarget // what the scout reads now
	heldBackBy []OpenTransaction      // of other producers, in the input

	drains   []*drain
	stopping stopState

	fetched fetchedOffsets // used by the consumer's callbacks, not by the owner
}

// message changes the state; the owner runs it.
type message func(o *owner)

func newOwner(p *Pipeline) *owner {
	return &owner{p: p, log: p.conf.Log, parts: make(map[int32]*partition), keys: newOrderingKeys(), idle: make(chan *item)}
}

// run works until ctx ends or the pipeline stops by itself, and returns the cause of
// the latter.
func (o *owner) run(ctx context.Context, stopPolling func()) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	done := ctx.Done()
	for {
		if member, _ := o.p.consumer.GroupMetadata(); o.expelled(member) && !o.stopping.withoutFlush {
			o.stopNow(ErrExpelled)
		}
		o.forgetFailure()
		wake := earliest(o.endWaits(), o.checkHolds())
		o.dispatch()
		o.adjustFetching()
		o.directScout()
		wake = earliest(wake, o.maybeFlush(), o.checkDrains())
		if o.stopping.begun && (len(o.parts) == 0 || o.stopping.withoutFlush) {
			o.dropEverything()
			return o.stopping.cause
		}
		if wake.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(wake))
		}
		select {
		case m := <-o.p.messages:
			m(o)
		case <-o.p.capturer.Changes():
		case <-timer.C:
		case <-done:
			done = nil
			o.log.InfoContext(ctx, "stopping", slog.Any("cause", context.Cause(ctx)))
			o.stop(nil)
		}
		if o.stopping.begun {
			stopPolling()
		}
	}
}

// earliest returns the earliest of the times that are not zero.
func earliest(times ...time.Time) (first time.Time) {
	for _, t := range times {
		if first.IsZero() || (!t.IsZero() && t.Before(first)) {
			first = t
		}
	}
	return first
}

// allParts returns all partitions.
func (o *owner) allParts() []*partition { return slices.Collect(maps.Values(o.parts)) }

// owns reports whether a partition is still this one, and not lost or assigned again
// since.
func (o *owner) owns(pt *partition) bool { return o.parts[pt.number] == pt }

// send hands the owner a message. It reports false if the owner has ended.
func (p *Pipeline) send(m message) bool {
	select {
	case p.messages <- m:
		return true
	case <-p.ended:
		return false
	}
}

// call runs a message in the owner and waits for its end. It reports false if the
// owner has ended.
func (p *Pipeline) call(m message) bool {
	return p.callUntil(func(o *owner, done chan struct{}) {
		m(o)
		close(done)
	})
}

// callUntil runs a message in the owner and waits until the owner closes done.
func (p *Pipeline) callUntil(m func(o *owner, done chan struct{})) bool {
	done := make(chan struct{})
	if !p.send(func(o *owner) { m(o, done) }) {
		return false
	}
	select {
	case <-done:
		return true
	case <-p.ended:
		return false
	}
}

// ask returns what a function finds in the owner's state.
func ask[T any](ctx context.Context, p *Pipeline, read func(o *owner) T) (answer T, err error) {
	reply := make(chan T, 1)
	select {
	case p.messages <- func(o *owner) { reply <- read(o) }:
	case <-p.ended:
		return answer, errStopped
	case <-ctx.Done():
		return answer, ctx.Err()
	}
	select {
	case answer = <-reply:
		return answer, nil
	case <-p.ended:
		return answer, errStopped
	case <-ctx.Done():
		return answer, ctx.Err()
	}
}
