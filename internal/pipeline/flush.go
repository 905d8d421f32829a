package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"payment-capture/internal/kafka"
	"payment-capture/internal/offsetmeta"
)

// flushJob is one commit: a transaction, or offsets alone.
type flushJob struct {
	batch kafka.Batch
	parts []flushPart
	began time.Time
}

// flushPart is what a flush carries of a partition.
type flushPart struct {
	part    *partition
	pending []settlement
}

// maybeFlush begins a flush when one is due, else says when one will be.
func (o *owner) maybeFlush() time.Time {
	if o.flushing || o.dropAll {
		return time.Time{}
	}
	due, ok := o.flushDue()
	if !ok {
		return time.Time{}
	}
	if wait := time.Until(due); wait > 0 {
		return due
	}
	// Out of the group there is no generation that the broker could check, and
	// it must not be left unchecked.
	member, generation := o.p.consumer.GroupMetadata()
	if member == "" || generation < 0 || o.expelled(member) {
		return time.Now().Add(retryFlush)
	}
	job := o.buildFlush(member, generation)
	o.flushing, o.flushFrom = true, time.Now()
	o.p.flushes <- job // has room: at most one is under way
	return time.Time{}
}

// flushDue says when the next flush may begin, after the pause since the last one:
// later where no outcome waits.
func (o *owner) flushDue() (time.Time, bool) {
	dirty, urgent := false, false
	for _, pt := range o.parts {
		if o.replaced && len(pt.pending) == 0 && !o.flushing {
			pt.dirty = false // its offset means nothing any more
		}
		if pt.foreign {
			pt.dirty = false
		}
		if !pt.dirty || pt.window == nil {
			continue
		}
		dirty = true
		urgent = urgent || len(pt.pending) > 0 || pt.draining
	}
	interval := skipFlushInterval
	if urgent {
		interval = o.flushPause()
	}
	due := o.lastFlush.Add(interval)
	if o.retryAt.After(due) {
		due = o.retryAt
	}
	return due, dirty
}

// flushPause is the least time between two flushes: FLUSH_INTERVAL where events
// wait for their turn, so that the brokers have less to do. Else it is as long as the
// last flush took, so that an outcome is soon seen; but a transaction that begins
// while the broker still writes the markers of the one before waits for it, which
// makes it a long one, and so the next pause long enough.
func (o *owner) flushPause() time.Duration {
	if len(o.ready) > 0 {
		return o.p.conf.FlushInterval
	}
	return min(max(o.flushTook, leastFlushPause), o.p.conf.FlushInterval)
}

// buildFlush takes what is owned and settled, in one step with the member and
// generation that own it: the broker checks these, not the ownership. No
// message is taken in between, so none of it can have been handed over.
func (o *owner) buildFlush(member string, generation int32) flushJob {
	job := flushJob{began: time.Now(), batch: kafka.Batch{Member: member, Generation: generation}}
	meta := offsetmeta.Metadata{Input: o.p.commits.TopicID, Ledger: o.p.ledger.TopicID(), Token: rand.Uint64()} //nolint:gosec // G404: a mark, not a secret
	bytes, most := 0, o.p.conf.Kafka.Requests.RecordBytes()
	for _, pt := range o.parts {
		if !pt.dirty || pt.window == nil {
			continue
		}
		// A transaction has to end in its time; what is over goes next.
		if bytes > 0 && bytes+pt.unflushedBytes > flushBytes {
			continue
		}
		bytes += pt.unflushedBytes
		low := pt.window.low()
		meta.Completed = pt.window.settledAbove()
		meta.Run = pt.run
		if !o.replaced {
			job.batch.Offsets = append(job.batch.Offsets, kafka.Offset{
				Partition: pt.number, At: low, LeaderEpoch: pt.window.lowEpoch(), Metadata: meta.Encode(low),
			})
		}
		job.parts = append(job.parts, flushPart{part: pt, pending: pt.pending})
		for _, s := range pt.pending {
			job.batch.Records = append(job.batch.Records, s.copies(most)...)
		}
		pt.pending, pt.dirty = nil, false
		pt.committing = true
	}
	return job
}

// flushLoop carries out flushes, one at a time.
func (p *Pipeline) flushLoop(ctx context.Context, committer *kafka.Committer) {
	for {
		select {
		case <-ctx.Done():
			return
		case job := <-p.flushes:
			var err error
			if len(job.batch.Records) == 0 {
				err = p.commitOffsets(ctx, job)
			} else {
				err = committer.Commit(ctx, job.batch)
			}
			p.conf.Metrics.flushed(job, err)
			if !p.send(flushed{job: job, err: err}) && err != nil {
				for _, fp := range job.parts {
					p.forget(fp.pending) // nobody else will
				}
			}
		}
	}
}

func (p *Pipeline) commitOffsets(ctx context.Context, job flushJob) error {
	ctx, cancel := context.WithTimeout(ctx, kafka.TransactionTimeout)
	defer cancel()
	return kafka.CommitOffsets(ctx, p.consumer, p.commits, job.batch)
}

// commitsRefused waits for somebody to mend permissions, topics or limits: no
// new capture begins meanwhile, for what comes of it could not be said, and the
// flush is tried again, without a call.
func (o *owner) commitsRefused(err error) {
	o.refused = err.Error()
	o.patience = min(max(2*o.patience, 4*retryFlush), refusedFlush)
	o.retryAt = o.lastFlush.Add(o.patience)
	o.p.conf.Metrics.refused(true)
	o.log.ErrorContext(o.work, "commits are refused: nothing is captured until that is mended",
		slog.Any("error", err), slog.Duration("tried_again_in", o.patience))
}

// slowCommit is how long a commit may be under way before it counts as failing. It
// takes milliseconds.
const slowCommit = time.Second

// commitsHold returns why no capture begins for the sake of commits; "" if captures
// may begin. An uncommitted decision is a charge without an outcome, so they do not
// pile up while commits fail: CAPTURE_MAX_IN_FLIGHT of them are enough to get over a
// failure that passes, and as many more may come from the captures under way.
func (o *owner) commitsHold() string {
	if o.refused != "" {
		return o.refused
	}
	slow := o.flushing && time.Since(o.flushFrom) > slowCommit
	if !o.failing && !slow {
		return ""
	}
	n := o.uncommitted()
	if n < o.p.conf.MaxInFlight {
		return ""
	}
	why := o.flushErr
	if why == "" {
		why = "a commit takes long"
	}
	return fmt.Sprintf("%d decisions are not committed: %s", n, why)
}

// uncommitted counts the decisions that wait for a flush or are in one.
func (o *owner) uncommitted() int {
	n := 0
	for _, pt := range o.parts {
		n += pt.unflushed
	}
	return n
}

// forgetFailure ends a failure of commits that nothing is left of to try again: what
// it was about was handed over or lost. The next commit tells how it is now.
func (o *owner) forgetFailure() {
	if o.flushing || (!o.failing && o.flushErr == "") {
		return
	}
	for _, pt := range o.parts {
		if pt.dirty {
			return
		}
	}
	o.committed()
}

// committed forgets how commits failed.
func (o *owner) committed() {
	o.failing, o.flushErr, o.refused, o.patience = false, "", "", 0
	o.p.conf.Metrics.refused(false)
}

// flushed is a flush's end.
type flushed struct {
	job flushJob
	err error
}

func (m flushed) apply(o *owner) {
	o.flushing = false
	o.lastFlush = time.Now()
	o.flushTook = o.lastFlush.Sub(m.job.began)
	for _, fp := range m.job.parts {
		fp.part.committing = false
	}
	if len(m.job.batch.Records) == 0 && (o.p.heard.lostCommit.Load() || errors.Is(m.err, context.DeadlineExceeded)) {
		o.stopNow(ErrLateCommit)
		return
	}
	if m.err == nil {
		o.committed()
		for _, fp := range m.job.parts {
			fp.part.unflushed -= len(fp.pending)
			for _, s := range fp.pending {
				fp.part.unflushedBytes -= s.bytes()
			}
			o.p.conf.Metrics.settled(fp.pending...)
			o.takeUp(fp.part)
		}
		return
	}
	o.failing, o.flushErr = true, m.err.Error()
	o.retryAt = o.lastFlush.Add(retryFlush)
	for _, fp := range m.job.parts {
		if o.parts[fp.part.number] != fp.part {
			o.p.forget(fp.pending) // dropped with its partition
			continue
		}
		// What is still ours is flushed again, without a new call.
		fp.part.pending = append(fp.pending, fp.part.pending...)
		fp.part.dirty = true
	}
	switch {
	case errors.Is(m.err, kafka.ErrFenced), errors.Is(m.err, kafka.ErrUnknown):
		o.stopNow(m.err)
	case errors.Is(m.err, kafka.ErrRefused):
		o.commitsRefused(m.err)
	default:
		o.log.WarnContext(o.work, "flush failed; it will be tried again", slog.Any("error", m.err))
	}
}
