package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"payment-capture/internal/kafka"
)

// fetchFailed handles an error that a poll reported for a partition.
func (o *owner) fetchFailed(part polledPartition) {
	number, err := part.number, part.err
	if errors.Is(err, kerr.FencedInstanceID) {
		o.stopNow(fmt.Errorf("%w: %w", kafka.ErrFenced, err))
		return
	}
	pt := o.parts[number]
	_, broker := errors.AsType[*kerr.Error](err)
	switch {
	case pt != nil && pt.halted != "":
		return
	case pt != nil && pt.window == nil && (broker || lossOf(err)):
		// The client does not ask again for an offset that was refused.
		o.halt(pt, haltOffset, fmt.Sprintf("its committed offset cannot be read (%v): mend that, and restart", err))
		return
	case pt != nil && pt.window != nil && !lossOf(err) && part.unreadable:
		o.halt(pt, haltUnreadable, fmt.Sprintf("the records from offset %d on cannot be read (%v)", pt.window.next, err))
		return
	case pt == nil || pt.window == nil || !lossOf(err):
		o.p.conf.Metrics.fetchFailed()
		o.readErr, o.readErrAt, o.readErrOf = o.p.readFault(err), time.Now(), number
		if errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.UnknownTopicID) { // of all partitions
			o.readErrOf = noPartition
		}
		o.log.WarnContext(o.work, "fetch failed", slog.Int64("partition", int64(number)), slog.String("error", o.readErr))
		return
	}
	next := pt.window.next
	o.halt(pt, haltRecordsLost, fmt.Sprintf("records from offset %d on are not in the topic any more (%v)", next, err))
	o.captures.Go(func() { o.p.nameLostRange(pt, next) })
}

// readErrFor is how long an error of reading is shown: longer than the pause
// before it comes again.
const readErrFor = 3 * maxPollPause

// readError says what keeps the input from being read; "" when nothing does.
func (o *owner) readError() string {
	if time.Since(o.readErrAt) > readErrFor {
		return ""
	}
	return o.readErr
}

// readAgain forgets an error of reading when records come from where it was.
func (o *owner) readAgain(batch []polledPartition) {
	if slices.ContainsFunc(batch, func(p polledPartition) bool { return p.err != nil }) {
		return
	}
	for _, part := range batch {
		if len(part.records) > 0 && (part.number == o.readErrOf || o.readErrOf == noPartition) {
			o.readErr = ""
			return
		}
	}
}

// watchInput looks now and then whether the input topic is the one that it was
// at the start. The library goes on with its offsets in a topic that was made
// anew, where they mean nothing.
func (p *Pipeline) watchInput(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	group := &groupWatch{p: p, admin: kadm.NewClient(p.consumer)}
	open := openWatch{p: p, seen: make(map[int32]*OpenTransaction)}
	defer open.stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		switch kafka.CheckTopic(ctx, p.consumer, p.conf.Topics.Input, p.commits.TopicID) {
		case kafka.TopicReplaced:
			p.send(inputReplaced{})
			return
		case kafka.TopicGone:
			p.send(inputGone{})
		case kafka.TopicThere, kafka.TopicNotKnown:
			open.look(ctx)
		}
		group.look(ctx)
	}
}

// watchEvery is how often the input topic is looked at.
const watchEvery = 5 * time.Second

type inputReplaced struct{}

// apply stops, as a stop does: calls under way are finished and what is settled
// is committed, for the events are gone with the topic and nobody will ask for
// them again; but without offsets, which mean nothing in the new one.
func (inputReplaced) apply(o *owner) {
	o.replaced = true
	o.retryAt = time.Time{}
	o.stop(fmt.Errorf("%w: topic %q", kafka.ErrReplaced, o.p.conf.Topics.Input))
}

type inputGone struct{}

func (inputGone) apply(o *owner) {
	o.readErr, o.readErrAt = fmt.Sprintf("topic %q is gone: create it again; it is read from its beginning then", o.p.conf.Topics.Input), time.Now()
	o.readErrOf = noPartition
	o.log.ErrorContext(o.work, "the input topic is gone", slog.String("topic", o.p.conf.Topics.Input))
}

// haltReason says in one word why a partition is halted.
type haltReason string

const (
	haltLedgerMissing haltReason = "ledger_missing" // the ledger is not the one that the group worked with
	haltRecordsLost   haltReason = "records_lost"   // deleted before they were read, or the topic was truncated
	haltUnreadable    haltReason = "unreadable"     // the records themselves
	haltOffset        haltReason = "offset"         // the committed offset cannot be read
	// haltUnconfirmed: the committed offset is not by this service, and skips records
	// that the ledger does not know.
	haltUnconfirmed haltReason = "unconfirmed_offset"
)

func haltReasons() []haltReason {
	return []haltReason{haltLedgerMissing, haltRecordsLost, haltUnreadable, haltOffset, haltUnconfirmed}
}

// halt stops working a partition: nothing more of it is taken up.
func (o *owner) halt(pt *partition, reason haltReason, detail string) {
	pt.halted, pt.haltReason = detail, reason
	if pt.check != nil {
		pt.check.cancel()
		pt.check = nil
	}
	pt.dropBacklog()
	o.countHalted()
	o.log.ErrorContext(o.work, "partition halted", slog.Int64("partition", int64(pt.number)), slog.String("reason", detail))
}

// countHalted shows how many partitions are halted, after that or what is owned
// changed.
func (o *owner) countHalted() {
	halted := make(map[haltReason]int)
	for _, pt := range o.parts {
		if pt.halted != "" {
			halted[pt.haltReason]++
		}
	}
	o.p.conf.Metrics.halted(halted)
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
