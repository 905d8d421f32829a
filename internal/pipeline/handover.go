package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/kafka"
	"payment-capture/internal/offsetmeta"
)

// Handover: how partitions come to this instance and leave it.
//
//   - assigned: the owner creates the partition; when its committed offset is known
//     (offsetsFetched) it sets the offset tracker and waits until the ledger is read up
//     to its end, so that everything the previous owner decided is known.
//   - revoked, and stop: the owner drains. No new capture and no new call begins, calls
//     under way finish, and what is completed is flushed, all within a time.
//   - lost: the owner drops the partition; results that come later are stale.
//
// The on… functions are the consumer's callbacks and run in its goroutines. Each waits
// for the owner: a partition is assigned only when the owner has it, and handed over
// only when the owner is done with it.

const (
	// drainReserve is the part of a handover's time that is kept for the last flush.
	drainReserve = 5 * time.Second
	// minLeaveTime is how long leaving the group may take at least.
	minLeaveTime = 2 * time.Second
)

// ErrExpelled means that the group expelled this member while it was rejoining, and took
// it back as another member. Others may have had its partitions meanwhile. Run a new
// pipeline.
var ErrExpelled = errors.New("the group expelled this member while it was rejoining; others may have had its partitions")

// ErrLateCommit means that a commit of offsets alone was not answered. It may still
// arrive, after later ones, and set the offsets back: the broker cannot tell it from a
// new one as long as the member is the same. Run a new pipeline.
var ErrLateCommit = errors.New("a commit of offsets was not answered and may still arrive")

// Restartable reports whether the process should run a new pipeline after an end of Run.
func Restartable(err error) bool {
	return errors.Is(err, ErrExpelled) || errors.Is(err, ErrLateCommit) || errors.Is(err, kafka.ErrRecreated)
}

func (o *owner) onAssigned(_ context.Context, _ *kgo.Client, added map[string][]int32) {
	o.p.call(func(o *owner) { o.assigned(added[o.p.conf.Topics.Input]) })
}

func (o *owner) onRevoked(_ context.Context, _ *kgo.Client, revoked map[string][]int32) {
	if numbers := revoked[o.p.conf.Topics.Input]; len(numbers) > 0 {
		o.p.callUntil(func(o *owner, done chan struct{}) { o.revoked(numbers, done) })
	}
}

func (o *owner) onLost(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	if numbers := lost[o.p.conf.Topics.Input]; len(numbers) > 0 {
		o.p.call(func(o *owner) { o.lost(numbers) })
	}
}

func (o *owner) assigned(numbers []int32) {
	o.joined = true
	if o.stopping.begun {
		return // not worked, and handed over at once
	}
	member := o.p.member()
	for _, n := range numbers {
		if pt := o.parts[n]; pt != nil {
			o.drop([]*partition{pt})
		}
		o.parts[n] = &partition{ownership: newOwnership(o.work, n, member)}
		o.p.inputs.Store(n, true)
		o.p.conf.Metrics.holding(n, 0)
	}
	o.p.conf.Metrics.owned(len(o.parts))
	if len(numbers) > 0 {
		o.log.InfoContext(o.work, "partitions assigned", slog.Any("partitions", numbers), slog.Int("owned", len(o.parts)))
	}
}

func (o *owner) revoked(numbers []int32, done chan struct{}) {
	o.log.InfoContext(o.work, "partitions revoked", slog.Any("partitions", numbers))
	o.drain(o.owned(numbers), RebalanceTimeout, done)
}

func (o *owner) lost(numbers []int32) {
	o.log.WarnContext(o.work, "partitions lost; others may have them", slog.Any("partitions", numbers))
	o.drop(o.owned(numbers))
}

func (o *owner) owned(numbers []int32) []*partition {
	var parts []*partition
	for _, n := range numbers {
		if pt := o.parts[n]; pt != nil {
			parts = append(parts, pt)
		}
	}
	return parts
}

// fetchedOffsets keeps the committed offsets between two callbacks that the consumer
// makes in a row.
type fetchedOffsets struct {
	mu        sync.Mutex
	committed map[int32]kmsg.OffsetFetchResponseGroupTopicPartition // guarded by mu
}

func (f *fetchedOffsets) onOffsetsFetched(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.committed = make(map[int32]kmsg.OffsetFetchResponseGroupTopicPartition)
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				f.committed[p.Partition] = p
			}
		}
	}
	return nil
}

// startOffset is where a partition starts.
type startOffset struct {
	offset        int64
	epoch         int32
	completed     offsetmeta.Completed
	run           offsetmeta.Run
	ledgerMissing string // why the ledger is not the one that the commit names
	foreign       bool   // the offset was not committed by this service
}

// adjustOffsets is a callback of the consumer: it decides where to read each assigned
// partition. A partition without a committed offset was added to the topic and starts at
// its beginning; those of a new group were committed before the start.
func (o *owner) adjustOffsets(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	topic := o.p.conf.Topics.Input
	starts := make(map[int32]startOffset)
	o.fetched.mu.Lock()
	for n := range offsets[topic] {
		start, void := startOffset{epoch: -1, ledgerMissing: o.p.ledgerMissing}, true
		if committed, ok := o.fetched.committed[n]; ok && committed.Offset >= 0 {
			start, void = o.startAt(committed)
		}
		if void {
			offsets[topic][n] = kgo.NewOffset().AtStart()
		}
		starts[n] = start
	}
	o.fetched.mu.Unlock()
	o.p.call(func(o *owner) { o.offsetsFetched(starts) }) //nolint:contextcheck // the owner's own, which outlives this callback
	return offsets, ctx.Err()
}

// startAt reads a committed offset and its metadata, in the consumer's goroutine. void
// reports that they belong to a topic of the same name that was deleted.
func (o *owner) startAt(c kmsg.OffsetFetchResponseGroupTopicPartition) (_ startOffset, void bool) {
	s := startOffset{offset: c.Offset, epoch: c.LeaderEpoch, ledgerMissing: o.p.ledgerMissing}
	text := ""
	if c.Metadata != nil {
		text = *c.Metadata
	}
	m, err := offsetmeta.Decode(text, c.Offset)
	if err != nil {
		s.foreign = true
		return s, false
	}
	if m.Ledger != (offsetmeta.TopicID{}) {
		s.ledgerMissing = o.p.otherLedger(m)
	}
	if !kafka.SameTopic(m.Input, o.p.commitConf.TopicID) {
		o.log.WarnContext(o.work, "input topic was recreated; reading from its beginning",
			slog.Int64("partition", int64(c.Partition)), slog.Int64("offset", c.Offset))
		return startOffset{epoch: -1, ledgerMissing: s.ledgerMissing}, true
	}
	s.completed, s.run = m.Completed, m.Run
	return s, false
}

// offsetsFetched starts partitions at their committed offsets.
func (o *owner) offsetsFetched(starts map[int32]startOffset) {
	for n, start := range starts {
		pt := o.parts[n]
		if pt == nil {
			continue
		}
		pt.startAt(start)
		o.log.InfoContext(o.work, "partition starts", slog.Int64("partition", int64(n)), slog.Int64("offset", start.offset),
			slog.Int64("completed_above", start.completed.Count(start.offset)))
		if start.ledgerMissing != "" {
			o.halt(pt, haltLedgerMissing, start.ledgerMissing)
			continue
		}
		if start.foreign && !o.accept(pt, start.offset) {
			o.checkOffset(pt, start.offset)
			continue
		}
		o.resumeRun(pt, start.run)
		// No earlier owner adds entries any more: its offsets are stable, so the
		// transaction that carried them is in the ledger.
		o.background.Go(func() {
			if o.p.ledger.CatchUp(pt.calls) == nil {
				o.p.send(func(o *owner) { o.ledgerRead(pt) })
			}
		})
	}
}

// ledgerRead lets the records of a partition start: everything that was in the ledger at
// the assignment is known.
func (o *owner) ledgerRead(pt *partition) {
	pt.ledgerRead = true
	waiting := pt.untilLedgerRead
	pt.untilLedgerRead = nil
	o.makeReady(waiting)
}

// stopState is how the pipeline stops.
type stopState struct {
	begun bool
	at    time.Time
	cause error // why it stops by itself; nil after a request
	// withoutFlush: uncommitted records must not be committed by this instance.
	withoutFlush bool
	// withoutOffsets: the input topic was recreated, so its offsets mean nothing.
	withoutOffsets bool
}

// stop begins no further capture, and lets calls under way finish and be flushed within
// the shutdown timeout.
func (o *owner) stop(cause error) {
	if cause != nil && o.stopping.cause == nil {
		o.stopping.cause = cause
	}
	if o.stopping.begun {
		return
	}
	o.stopping.begun, o.stopping.at = true, time.Now()
	o.drain(o.allParts(), o.p.conf.ShutdownTimeout, nil)
}

// stopNow stops without a flush: the next owner calls the API for the uncommitted
// records again, under the same idempotency keys.
func (o *owner) stopNow(cause error) {
	o.stop(cause)
	o.stopping.withoutFlush = true
}

// drain is a handover of partitions that is under way.
type drain struct {
	parts     []*partition
	abortAt   time.Time // calls under way are aborted
	abandonAt time.Time // uncommitted records are left to the next owner
	done      chan struct{}
}

func (d *drain) finish() {
	if d.done != nil {
		close(d.done)
		d.done = nil
	}
}

// drain begins to hand partitions over within a time.
func (o *owner) drain(parts []*partition, within time.Duration, done chan struct{}) {
	now := time.Now()
	reserve := min(drainReserve, within/2)
	d := &drain{parts: parts, abortAt: now.Add(within - reserve), abandonAt: now.Add(within - reserve/5), done: done}
	for _, pt := range parts {
		pt.giveUp()
		pt.dropBuffered()
	}
	o.drains = append(o.drains, d)
	o.checkDrains()
}

// checkDrains ends the drains that are complete or out of time, and returns when to
// check again.
func (o *owner) checkDrains() time.Time {
	var wake time.Time
	now := time.Now()
	o.drains = slices.DeleteFunc(o.drains, func(d *drain) bool {
		open := slices.ContainsFunc(d.parts, func(pt *partition) bool { return o.owns(pt) && !pt.drained() })
		switch {
		case open && now.Before(d.abortAt):
			wake = earliest(wake, d.abortAt)
			return false
		case open && now.Before(d.abandonAt):
			for _, pt := range d.parts {
				pt.cancel()
			}
			wake = earliest(wake, d.abandonAt)
			return false
		case open:
			o.log.WarnContext(o.work, "handover timed out; uncommitted records are left to the next owner")
		}
		o.drop(d.parts)
		d.finish()
		return true
	})
	return wake
}

// drop forgets partitions: their records, and the calls under way for them, whose
// results will be stale.
func (o *owner) drop(parts []*partition) {
	var numbers []int32
	for _, pt := range parts {
		if !o.owns(pt) {
			continue
		}
		delete(o.parts, pt.number)
		o.p.inputs.Delete(pt.number)
		numbers = append(numbers, pt.number)
		pt.giveUp()
		o.p.dropPending(pt.pending)
		if !o.stopping.withoutFlush || !Restartable(o.stopping.cause) {
			pt.cancel()
		}
		if pt.tracker == nil {
			continue
		}
		for _, it := range pt.tracker.items {
			// A record in flight keeps its ordering keys until its call ends, so that no
			// other call for the same order begins meanwhile.
			if !it.completed && !it.inFlight && !it.released {
				o.makeReady(o.keys.release(it))
			}
		}
	}
	if len(numbers) > 0 {
		// The client keeps a partition paused beyond its assignment.
		o.p.consumer.ResumeFetchPartitions(map[string][]int32{o.p.conf.Topics.Input: numbers})
	}
	o.countHalted()
	o.dropWaits()
	o.countHolds()
	o.p.conf.Metrics.dropped(numbers)
	o.p.conf.Metrics.owned(len(o.parts))
}

func (o *owner) dropEverything() {
	o.drop(o.allParts())
	for _, d := range o.drains {
		d.finish()
	}
	o.drains = nil
}

// expelled reports whether a partition was assigned to an earlier member id of this
// instance. If a JoinGroup reveals that the group expelled the member, the library does
// not report the partitions as lost: it joins as a new member and keeps the partitions,
// so that a commit would have a valid generation and stale content.
func (o *owner) expelled(member string) bool {
	if member == "" { // on its way back: nothing is committed meanwhile
		return false
	}
	for _, pt := range o.parts {
		if pt.member != member {
			return true
		}
	}
	return false
}

// member returns this instance's id in the group; "" if it is not in it.
func (p *Pipeline) member() string {
	member, _ := p.consumer.GroupMetadata()
	return member
}

// leave closes the consumer while the owner's messages are still handled, because
// closing calls the callbacks. It does not wait for an unreachable group longer than a
// stop may take: the group notices by itself that this member is gone.
func (p *Pipeline) leave(o *owner, cancelWork func()) {
	defer cancelWork()
	timeout := time.After(max(minLeaveTime, p.conf.ShutdownTimeout-time.Since(o.stopping.at)))
	left := make(chan struct{})
	go func() {
		defer close(left)
		o.background.Wait()
		cancelWork()
		p.consumer.Close()
	}()
	for {
		select {
		case m := <-p.messages:
			m(o)
		case <-left:
			close(p.ended)
			return
		case <-timeout:
			p.conf.Log.Warn("leaving the group timed out; it notices after KAFKA_SESSION_TIMEOUT")
			close(p.ended)
			return
		}
	}
}
