package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"payment-capture/internal/kafka"
	"payment-capture/internal/kafka/txnrecovery"
	"payment-capture/internal/offsetmeta"
)

// Commit: the owner builds a flush of all completed records of all partitions, with the
// offsets to commit, and passes it to the flush loop. The loop commits it as one
// transaction, or as offsets alone if it has no records, and returns the result to the
// owner. At most one flush is under way. A failed flush is repeated without new calls;
// while flushes fail, captures pause before too many decisions are uncommitted.

const (
	// flushBytes bounds the records of one transaction, so that it ends in time; one
	// partition alone stays below it.
	flushBytes          = 8 << 20
	partitionFlushBytes = 4 << 20
	// minFlushInterval is the least time between two transactions, however short they are.
	minFlushInterval = 5 * time.Millisecond
	// offsetsInterval is the time between commits of offsets alone.
	offsetsInterval = time.Second
	// flushRetry is the wait after a failed flush; after a refused one the wait doubles
	// up to maxRefusedRetry.
	flushRetry      = 250 * time.Millisecond
	maxRefusedRetry = 30 * time.Second
	// slowCommit is how long a commit may take before it counts as failing; it usually
	// takes milliseconds. After stuckCommit /status reports it as an error.
	slowCommit  = time.Second
	stuckCommit = 20 * time.Second
)

// flush is one commit: a transaction, or offsets alone.
type flush struct {
	batch kafka.Batch
	parts []flushPart
	began time.Time
}

// flushPart is the part of a flush that is of one partition.
type flushPart struct {
	part    *partition
	pending []completion
}

// commitState is how commits go.
type commitState struct {
	underWay bool
	began    time.Time     // when the one under way began
	ended    time.Time     // when the last one ended
	took     time.Duration // by the last one
	retryAt  time.Time     // no flush before that
	failing  bool          // the last flush failed
	err      string        // its error, or that the one under way takes long
	refused  string        // why commits are refused; "" if they are not
	backoff  time.Duration // after a refused flush
}

// maybeFlush begins a flush if one is due, else it returns when one will be.
func (o *owner) maybeFlush() time.Time {
	if o.commits.underWay || o.stopping.withoutFlush {
		return time.Time{}
	}
	due, ok := o.flushDue()
	if !ok {
		return time.Time{}
	}
	if time.Until(due) > 0 {
		return due
	}
	// Without a membership there is no generation for the broker to check, and an
	// unchecked commit could overwrite that of another member.
	member, generation := o.p.consumer.GroupMetadata()
	if member == "" || generation < 0 || o.expelled(member) {
		return time.Now().Add(flushRetry)
	}
	f := o.buildFlush(member, generation)
	o.commits.underWay, o.commits.began = true, time.Now()
	o.p.flushes <- f // has room: at most one is under way
	return time.Time{}
}

// flushDue returns when the next flush may begin, and whether there is anything to
// commit. Offsets alone are less urgent than decisions.
func (o *owner) flushDue() (time.Time, bool) {
	dirty, urgent := false, false
	for _, pt := range o.parts {
		// A replaced topic's offset means nothing any more, and a foreign one must not
		// become ours before it is confirmed.
		if pt.foreign || (o.stopping.withoutOffsets && len(pt.pending) == 0 && !o.commits.underWay) {
			pt.dirty = false
		}
		if !pt.dirty || pt.tracker == nil {
			continue
		}
		dirty = true
		urgent = urgent || len(pt.pending) > 0 || pt.draining
	}
	interval := offsetsInterval
	if urgent {
		interval = o.flushInterval()
	}
	due := o.commits.ended.Add(interval)
	if o.commits.retryAt.After(due) {
		due = o.commits.retryAt
	}
	return due, dirty
}

// flushInterval returns the least time between two flushes: FLUSH_INTERVAL if records
// wait to be started, to spare the brokers. Otherwise it is the duration of the last
// flush, so that outcomes are published soon: a transaction that begins while the broker
// still writes the markers of the one before waits for it, takes longer, and so makes
// the next interval long enough.
func (o *owner) flushInterval() time.Duration {
	if len(o.ready) > 0 {
		return o.p.conf.FlushInterval
	}
	return min(max(o.commits.took, minFlushInterval), o.p.conf.FlushInterval)
}

// buildFlush takes all owned and completed records, in one step with the member and
// generation that own them: the broker checks these, not the ownership. The owner
// handles no message in between, so none of the records can have been handed over.
func (o *owner) buildFlush(member string, generation int32) flush {
	f := flush{began: time.Now(), batch: kafka.Batch{Member: member, Generation: generation}}
	bytes, limit := 0, o.p.conf.Kafka.Requests.RecordBytes()
	token := rand.Uint64() //nolint:gosec // G404: not a secret
	for _, pt := range o.parts {
		if !pt.dirty || pt.tracker == nil {
			continue
		}
		// A transaction has to end in time; the rest goes into the next one.
		if bytes > 0 && bytes+pt.decisionBytes > flushBytes {
			continue
		}
		bytes += pt.decisionBytes
		if !o.stopping.withoutOffsets {
			at := pt.tracker.committable()
			meta := offsetmeta.Metadata{
				Input: o.p.commitConf.TopicID, Ledger: o.p.ledger.TopicID(), Token: token,
				Run: pt.invalid.Run, Completed: pt.tracker.completedAbove(),
			}
			f.batch.Offsets = append(f.batch.Offsets, kafka.Offset{
				Partition: pt.number, At: at, LeaderEpoch: pt.tracker.committableEpoch(), Metadata: meta.Encode(at),
			})
		}
		f.parts = append(f.parts, flushPart{part: pt, pending: pt.pending})
		for _, c := range pt.pending {
			f.batch.Records = append(f.batch.Records, c.copies(limit)...)
		}
		pt.pending, pt.dirty = nil, false
		pt.committing = true
	}
	return f
}

// flushLoop commits flushes, one at a time.
func (p *Pipeline) flushLoop(ctx context.Context, committer *kafka.Committer) {
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-p.flushes:
			var err error
			ctx, span := p.startFlush(ctx, f)
			if len(f.batch.Records) == 0 {
				err = p.commitOffsets(ctx, f)
			} else {
				err = committer.Commit(ctx, f.batch)
			}
			endFlush(span, err)
			p.conf.Metrics.flushed(f, err)
			if !p.send(func(o *owner) { o.flushed(f, err) }) && err != nil {
				for _, fp := range f.parts { // the owner has ended
					p.dropPending(fp.pending)
				}
			}
		}
	}
}

func (p *Pipeline) commitOffsets(ctx context.Context, f flush) error {
	ctx, cancel := context.WithTimeout(ctx, txnrecovery.TransactionTimeout)
	defer cancel()
	return kafka.CommitOffsets(ctx, p.consumer, p.commitConf, f.batch)
}

// flushed handles the result of a flush.
func (o *owner) flushed(f flush, err error) {
	c := &o.commits
	c.underWay, c.ended = false, time.Now()
	c.took = c.ended.Sub(f.began)
	for _, fp := range f.parts {
		fp.part.committing = false
	}
	if len(f.batch.Records) == 0 && (o.p.contact.lostCommit.Load() || errors.Is(err, context.DeadlineExceeded)) {
		o.stopNow(ErrLateCommit)
		return
	}
	if err == nil {
		o.commitSucceeded()
		for _, fp := range f.parts {
			fp.part.decisions -= len(fp.pending)
			for _, c := range fp.pending {
				fp.part.decisionBytes -= c.bytes()
			}
			o.p.conf.Metrics.decided(fp.pending...)
			o.admit(fp.part)
		}
		return
	}
	c.failing, c.err = true, err.Error()
	c.retryAt = c.ended.Add(flushRetry)
	for _, fp := range f.parts {
		if !o.owns(fp.part) {
			o.p.dropPending(fp.pending)
			continue
		}
		// The records are flushed again, without new calls.
		fp.part.pending = append(fp.pending, fp.part.pending...)
		fp.part.dirty = true
	}
	switch {
	case errors.Is(err, kafka.ErrFenced), errors.Is(err, kafka.ErrUnknown):
		o.stopNow(err)
	case errors.Is(err, kafka.ErrRefused):
		o.commitsRefused(err)
	default:
		o.log.WarnContext(o.work, "flush failed", slog.Any("error", err), slog.Float64("retry_seconds", flushRetry.Seconds()))
	}
}

// commitsRefused pauses captures until an operator fixes permissions, topics or limits,
// because their outcomes could not be published. The flush is repeated without calls.
func (o *owner) commitsRefused(err error) {
	c := &o.commits
	c.refused = err.Error()
	c.backoff = min(max(2*c.backoff, 4*flushRetry), maxRefusedRetry)
	c.retryAt = c.ended.Add(c.backoff)
	o.p.conf.Metrics.refused(true)
	o.log.ErrorContext(o.work, "commits refused; captures paused", slog.Any("error", err), slog.Float64("retry_seconds", c.backoff.Seconds()))
}

// commitsBlocked returns why no capture may start because of commits; "" if captures may
// start. An uncommitted decision is a charge without an outcome, so they must not pile up
// while commits fail: CAPTURE_MAX_IN_FLIGHT of them are enough to survive a short
// failure, and the captures under way may add as many.
func (o *owner) commitsBlocked() string {
	c := &o.commits
	if c.refused != "" {
		return c.refused
	}
	slow := c.underWay && time.Since(c.began) > slowCommit
	if !c.failing && !slow {
		return ""
	}
	n := o.uncommitted()
	if n < o.p.conf.MaxInFlight {
		return ""
	}
	why := c.err
	if why == "" {
		why = "a commit takes long"
	}
	return fmt.Sprintf("%d decisions are not committed: %s", n, why)
}

// uncommitted counts the decisions that wait for a flush or are in one.
func (o *owner) uncommitted() int {
	n := 0
	for _, pt := range o.parts {
		n += pt.decisions
	}
	return n
}

// forgetFailure ends a failure of commits if nothing of it is left to commit, because
// the partitions were handed over or lost. The next commit shows the new state.
func (o *owner) forgetFailure() {
	if o.commits.underWay || (!o.commits.failing && o.commits.err == "") {
		return
	}
	for _, pt := range o.parts {
		if pt.dirty {
			return
		}
	}
	o.commitSucceeded()
}

func (o *owner) commitSucceeded() {
	c := &o.commits
	c.failing, c.err, c.refused, c.backoff = false, "", "", 0
	o.p.conf.Metrics.refused(false)
}
