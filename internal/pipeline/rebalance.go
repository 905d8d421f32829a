package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/kafka"
)

// The callbacks below run in the consumer's goroutines. Each hands the owner a
// message and waits until it is dealt with: a partition is assigned only when
// the owner knows it, and handed over only when the owner is done with it.

func (o *owner) onAssigned(_ context.Context, _ *kgo.Client, added map[string][]int32) {
	o.call(func(done chan struct{}) message { return assigned{numbers: added[o.p.conf.Topics.Input], done: done} })
}

func (o *owner) onRevoked(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	if numbers := gone[o.p.conf.Topics.Input]; len(numbers) > 0 {
		o.call(func(done chan struct{}) message { return revoked{numbers: numbers, done: done} })
	}
}

func (o *owner) onLost(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	if numbers := gone[o.p.conf.Topics.Input]; len(numbers) > 0 {
		o.call(func(done chan struct{}) message { return lost{numbers: numbers, done: done} })
	}
}

func (o *owner) call(with func(done chan struct{}) message) {
	done := make(chan struct{})
	if !o.p.send(with(done)) {
		return
	}
	select {
	case <-done:
	case <-o.p.ended:
	}
}

type assigned struct {
	numbers []int32
	done    chan struct{}
}

func (m assigned) apply(o *owner) {
	defer close(m.done)
	o.joined = true
	if o.stopping {
		return // what is not known here is not worked, and handed over at once
	}
	for _, n := range m.numbers {
		if pt := o.parts[n]; pt != nil {
			o.drop([]*partition{pt})
		}
		ctx, cancel := context.WithCancel(o.work)
		o.parts[n] = &partition{number: n, ctx: ctx, cancel: cancel, giveUp: make(chan struct{})}
	}
	o.p.conf.Metrics.owned(len(o.parts))
	if len(m.numbers) > 0 {
		o.log.InfoContext(o.work, "partitions assigned", slog.Any("partitions", m.numbers), slog.Int("owned", len(o.parts)))
	}
}

type revoked struct {
	numbers []int32
	done    chan struct{}
}

func (m revoked) apply(o *owner) {
	o.log.InfoContext(o.work, "partitions revoked", slog.Any("partitions", m.numbers))
	o.drain(o.owned(m.numbers), RebalanceTimeout, m.done)
}

type lost struct {
	numbers []int32
	done    chan struct{}
}

func (m lost) apply(o *owner) {
	o.log.WarnContext(o.work, "partitions lost: another member may have them already", slog.Any("partitions", m.numbers))
	o.drop(o.owned(m.numbers))
	close(m.done)
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

// drain is a hand-over of partitions that is under way.
type drain struct {
	parts    []*partition
	breakAt  time.Time // calls under way are broken off
	giveUpAt time.Time // what is unflushed is left to the next owner
	done     chan struct{}
	finished bool
}

func (d *drain) finish() {
	if d.done != nil && !d.finished {
		close(d.done)
	}
	d.finished = true
}

// drain begins to hand partitions over: no new capture and no new try, calls
// under way are waited for, and what is settled is flushed, all within a time.
func (o *owner) drain(parts []*partition, within time.Duration, done chan struct{}) {
	now := time.Now()
	reserve := min(drainReserve, within/2)
	d := &drain{parts: parts, breakAt: now.Add(within - reserve), giveUpAt: now.Add(within - reserve/5), done: done}
	for _, pt := range parts {
		pt.stopTries()
		pt.backlog = nil
	}
	o.drains = append(o.drains, d)
	o.checkDrains()
}

// checkDrains ends the drains that are done or out of time, and says when to
// look again.
func (o *owner) checkDrains() time.Time {
	var wake time.Time
	now := time.Now()
	o.drains = slices.DeleteFunc(o.drains, func(d *drain) bool {
		open := slices.ContainsFunc(d.parts, func(pt *partition) bool { return o.parts[pt.number] == pt && !pt.drained() })
		switch {
		case open && now.Before(d.breakAt):
			wake = earliest(wake, d.breakAt)
			return false
		case open && now.Before(d.giveUpAt):
			for _, pt := range d.parts {
				pt.cancel()
			}
			wake = earliest(wake, d.giveUpAt)
			return false
		case open:
			o.log.WarnContext(o.work, "hand-over took too long; what is not committed is left to the next owner")
		}
		o.drop(d.parts)
		d.finish()
		return true
	})
	return wake
}

// positions keeps the committed offsets between the two callbacks that the
// consumer makes in a row.
type positions struct {
	mu        sync.Mutex
	committed map[int32]kmsg.OffsetFetchResponseGroupTopicPartition
}

func (o *owner) onOffsetsFetched(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	o.start.mu.Lock()
	defer o.start.mu.Unlock()
	o.start.committed = make(map[int32]kmsg.OffsetFetchResponseGroupTopicPartition)
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				o.start.committed[p.Partition] = p
			}
		}
	}
	return nil
}

// adjustOffsets says where to read each partition that was assigned, and tells
// the owner. A partition without a committed offset was added to the topic:
// it begins at its beginning (a new group's were committed before the start).
func (o *owner) adjustOffsets(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	topic := o.p.conf.Topics.Input
	at := make(map[int32]position)
	o.start.mu.Lock()
	for n := range offsets[topic] {
		committed, ok := o.start.committed[n]
		if !ok || committed.Offset < 0 {
			offsets[topic][n] = kgo.NewOffset().AtStart()
			at[n] = position{epoch: -1}
			continue
		}
		var void bool
		if at[n], void = o.positionOf(committed); void {
			offsets[topic][n] = kgo.NewOffset().AtStart()
		}
	}
	o.start.mu.Unlock()
	o.call(func(done chan struct{}) message { return positioned{at: at, done: done} })
	return offsets, ctx.Err()
}

type position struct {
	offset  int64
	epoch   int32
	settled settledMap
}

// positionOf reads a committed offset and its map; void says that they belong
// to a topic of this name that is no more.
func (o *owner) positionOf(c kmsg.OffsetFetchResponseGroupTopicPartition) (_ position, void bool) {
	p := position{offset: c.Offset, epoch: c.LeaderEpoch}
	if c.Metadata == nil || *c.Metadata == "" {
		return p, false
	}
	m, err := decodeMetadata(*c.Metadata, c.Offset)
	if err != nil {
		o.log.WarnContext(o.work, "the metadata of a committed offset is not read: what was settled above it may be asked for again, under the same keys",
			slog.Int64("partition", int64(c.Partition)), slog.Int64("offset", c.Offset), slog.Any("error", err))
		return p, false
	}
	if m.topic != o.p.commits.TopicID {
		o.log.WarnContext(o.work, "the input topic was deleted and made anew since the last commit: its partition is read from the beginning",
			slog.Int64("partition", int64(c.Partition)), slog.Int64("offset", c.Offset))
		return position{epoch: -1}, true
	}
	p.settled = m.settled
	return p, false
}

type positioned struct {
	at   map[int32]position
	done chan struct{}
}

func (m positioned) apply(o *owner) {
	defer close(m.done)
	for n, at := range m.at {
		pt := o.parts[n]
		if pt == nil {
			continue
		}
		pt.window = newWindow(at.offset, at.epoch, at.settled, payloadLimit())
		o.log.InfoContext(o.work, "partition starts", slog.Int64("partition", int64(n)), slog.Int64("offset", at.offset),
			slog.Int64("settled_above", at.settled.count(at.offset)))
	}
}

// count gives how many offsets are settled above low.
func (m settledMap) count(low int64) int64 {
	return max(0, m.end-low-int64(len(m.unsettled)))
}

// fetchFailed deals with an error that a fetch gave for a partition.
func (o *owner) fetchFailed(number int32, err error) {
	if errors.Is(err, kerr.FencedInstanceID) {
		o.stopNow(fmt.Errorf("%w: %w", kafka.ErrFenced, err))
		return
	}
	pt := o.parts[number]
	if pt == nil || pt.window == nil || !lossOf(err) {
		o.p.conf.Metrics.fetchFailed()
		o.log.WarnContext(o.work, "fetch failed", slog.Int64("partition", int64(number)), slog.Any("error", err))
		return
	}
	if pt.halted != "" {
		return
	}
	pt.backlog = nil
	next := pt.window.next
	pt.halted = fmt.Sprintf("records from offset %d on are not in the topic any more (%v)", next, err)
	o.log.ErrorContext(o.work, "partition halted", slog.Int64("partition", int64(number)), slog.String("reason", pt.halted))
	o.captures.Go(func() { o.p.nameLostRange(pt, next) })
}

// nameLostRange finds out which records are gone.
func (p *Pipeline) nameLostRange(pt *partition, next int64) {
	ctx, cancel := context.WithTimeout(pt.ctx, 10*time.Second)
	defer cancel()
	topic := p.conf.Topics.Input
	admin := kadm.NewClient(p.consumer)
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return
	}
	first, ok1 := starts.Lookup(topic, pt.number)
	end, ok2 := ends.Lookup(topic, pt.number)
	if !ok1 || !ok2 {
		return
	}
	p.send(lostRange{pt: pt, next: next, first: first.Offset, end: end.Offset})
}

type lostRange struct {
	pt               *partition
	next, first, end int64
}

func (m lostRange) apply(o *owner) {
	if m.next < m.first {
		m.pt.halted = fmt.Sprintf("records at offsets %d to %d were deleted before they were read (retention?)", m.next, m.first-1)
	} else {
		m.pt.halted = fmt.Sprintf("the topic ends at offset %d, but was read up to %d: it was truncated", m.end, m.next)
	}
	m.pt.halted += "; find out what was lost, then set the group's offset of this partition"
	o.log.ErrorContext(o.work, "partition halted", slog.String("topic", o.p.conf.Topics.Input),
		slog.Int64("partition", int64(m.pt.number)), slog.String("reason", m.pt.halted))
}
