package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

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
	member, _ := o.p.consumer.GroupMetadata()
	for _, n := range m.numbers {
		if pt := o.parts[n]; pt != nil {
			o.drop([]*partition{pt})
		}
		ctx, cancel := context.WithCancel(o.work)
		asking, stopAsking := context.WithCancel(ctx)
		o.parts[n] = &partition{
			number: n, ctx: ctx, cancel: cancel, giveUp: make(chan struct{}), asking: asking, stopAsking: stopAsking, member: member,
		}
		o.p.conf.Metrics.holding(n, 0)
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

// ErrExpelled says that the group expelled this member while it was rejoining,
// and that it is in the group again as another member. What it held may have
// been another's meanwhile. Run a new pipeline.
var ErrExpelled = errors.New("the group expelled this member while it was rejoining; others may have had its partitions")

// ErrLateCommit says that a commit of offsets alone was not answered, so that
// it may still arrive, after later ones, and take the offsets back: nothing tells
// it from a new one as long as the member is the same. Run a new pipeline.
var ErrLateCommit = errors.New("a commit of offsets was not answered and may still arrive")

// Restartable reports whether an end of Run asks for a new pipeline in the same process.
func Restartable(err error) bool {
	return errors.Is(err, ErrExpelled) || errors.Is(err, ErrLateCommit) || errors.Is(err, kafka.ErrReplaced)
}

// expelled reports whether a partition was assigned to an earlier member id of
// ours. The library does not call that a loss when it comes out by a JoinGroup:
// it joins anew and takes the partitions for its own all along, so that the
// generation of a commit would be good and its content stale.
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

// member is this instance's id in the group; "": it is not in it.
func (p *Pipeline) member() string {
	member, _ := p.consumer.GroupMetadata()
	return member
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
		pt.dropBacklog()
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
