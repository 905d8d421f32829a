package pipeline

import (
	"context"
	"log/slog"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/kafka"
	"payment-capture/internal/offsetmeta"
)

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
			at[n] = position{epoch: -1, missing: o.p.groupMissing}
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
	settled offsetmeta.Completed
	run     offsetmeta.Run
	missing string // why the ledger is not the one that its commit knows
	foreign bool   // the offset was committed by something else than this service
}

// positionOf reads a committed offset and its map; void says that they belong
// to a topic of this name that is no more.
func (o *owner) positionOf(c kmsg.OffsetFetchResponseGroupTopicPartition) (_ position, void bool) {
	p := position{offset: c.Offset, epoch: c.LeaderEpoch}
	m, err := offsetmeta.Decode(deref(c.Metadata), c.Offset)
	if err != nil {
		p.foreign, p.missing = true, o.p.groupMissing
		return p, false
	}
	if p.missing = o.p.missingTo(m); m.Ledger == (offsetmeta.TopicID{}) {
		p.missing = o.p.groupMissing
	}
	if !kafka.SameTopic(m.Input, o.p.commits.TopicID) {
		o.log.WarnContext(o.work, "input topic was recreated; reading from its beginning",
			slog.Int64("partition", int64(c.Partition)), slog.Int64("offset", c.Offset))
		return position{epoch: -1, missing: p.missing}, true
	}
	p.settled = m.Completed
	p.run = m.Run
	return p, false
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
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
		pt.window = newWindow(at.offset, at.epoch, at.settled, offsetmeta.MapLimit())
		pt.polled = at.offset
		o.log.InfoContext(o.work, "partition starts", slog.Int64("partition", int64(n)), slog.Int64("offset", at.offset),
			slog.Int64("settled_above", at.settled.Count(at.offset)))
		if at.missing != "" {
			o.halt(pt, haltLedgerMissing, at.missing)
			continue
		}
		if at.foreign && !o.accept(pt, at.offset) {
			o.checkOffset(pt, at.offset)
			continue
		}
		o.resumeRun(pt, at.run)
		// From here on nothing of an earlier owner's is added: its offsets are
		// stable, so the transaction that they came with has been written.
		o.captures.Go(func() {
			if o.p.ledger.CatchUp(pt.asking) == nil {
				o.p.send(caughtUp{pt: pt})
			}
		})
	}
}

// caughtUp lets a partition's records go: what the ledger held when it was
// assigned is known.
type caughtUp struct{ pt *partition }

func (m caughtUp) apply(o *owner) {
	m.pt.known = true
	waiting := m.pt.waiting
	m.pt.waiting = nil
	o.free(waiting)
}
