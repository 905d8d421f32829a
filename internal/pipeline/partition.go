package pipeline

import (
	"context"
	"time"

	"payment-capture/internal/offsetmeta"
)

// item is an admitted record on its way: waiting for its ordering keys, in flight,
// completed, flushed.
type item struct {
	polledRecord // only its id is left once the record is completed

	part       *partition
	offset     int64
	bytes      int    // of the record
	orderID    string // "" if the record is no valid event
	admittedAt time.Time
	lease      *lease // since the start of its capture
	// ctx is the context of the partition with the span of the item; the capture's goroutine sets it.
	ctx context.Context //nolint:containedctx // as in ownership

	keys      []orderingKey
	blockedBy int  // keys that another record has before it
	released  bool // it has no ordering key any more
	aside     bool // it has no record key any more; see owner.stepAside

	epochBefore int32 // leader epoch of the record before; -1: not known
	inFlight    bool
	started     bool      // it may be called for, because those before it are decided
	held        bool      // as one of a run of invalid events
	corrected   bool      // while it waited for its time: it must not wait
	waitsUntil  time.Time // the time of its event; zero: it does not wait
	completed   bool
}

// partition is what this instance has of an assigned partition.
type partition struct {
	ownership

	tracker         *offsetTracker // nil until the committed offset is known
	check           *offsetCheck   // of a foreign committed offset, under way; nil: none
	foreign         bool           // the committed offset is foreign and not confirmed: nothing is committed
	ledgerRead      bool           // the ledger was read up to its end at the assignment
	untilLedgerRead []*item        // wait for that

	buffered       []polledRecord // polled, not admitted yet
	polledTo       int64          // one past the highest offset that was polled
	reading        reading
	undecidedBytes int  // of the records without a decision, in memory
	paused         bool // not fetched for now

	inFlight              int // captures under way
	waiting, waitingBytes int // records that wait for their time
	unflushed

	invalid invalidRun
	halt    halt
}

// ownership is an assignment of a partition to this instance.
type ownership struct {
	number int32
	member string          // this instance's id in the group at the assignment
	ctx    context.Context //nolint:containedctx // captures of the partition run under it; ends with the ownership
	cancel context.CancelFunc
	// calls ends when no further call may begin: ctx ends later, so that a call under
	// way can finish.
	calls     context.Context //nolint:containedctx // as above
	stopCalls context.CancelFunc
	draining  bool // being handed over: no new capture begins
}

func newOwnership(work context.Context, number int32, member string) ownership {
	w := ownership{number: number, member: member}
	w.ctx, w.cancel = context.WithCancel(work)
	w.calls, w.stopCalls = context.WithCancel(w.ctx)
	return w
}

// giveUp lets no further call of the partition begin.
func (w *ownership) giveUp() {
	w.draining = true
	w.stopCalls()
}

// unflushed is what a partition has for the next flush.
type unflushed struct {
	pending []completion
	// decisions counts the completed and uncommitted records with something to produce,
	// in pending and in the transaction under way; decisionBytes is the size of their
	// records.
	decisions, decisionBytes int
	dirty                    bool // a commit would differ from the last one
	committing               bool // a commit is under way
}

// undecided counts the records that wait for a decision.
func (pt *partition) undecided() int {
	n := len(pt.buffered)
	if pt.tracker != nil {
		n += pt.tracker.open
	}
	return n
}

// dropBuffered forgets what was polled and not admitted.
func (pt *partition) dropBuffered() {
	for _, r := range pt.buffered {
		pt.undecidedBytes -= r.memory()
	}
	pt.buffered = nil
}

// drained reports whether nothing is left to do for the partition. A commit without
// records counts as well, because it may carry a hold of invalid events.
func (pt *partition) drained() bool {
	return pt.inFlight == 0 && pt.decisions == 0 && !pt.dirty && !pt.committing
}

// startAt sets the committed offset.
func (pt *partition) startAt(at startOffset) {
	pt.tracker = newOffsetTracker(at.offset, at.epoch, at.completed, offsetmeta.MapLimit())
	pt.polledTo = at.offset
}
