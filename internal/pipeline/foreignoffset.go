package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
	"payment-capture/internal/rules"
)

// Foreign offsets: a committed offset without the metadata of this service was set by an
// operator, by a consumer of another program, or by a KAFKA_START_AT that is a time while
// the ledger was used. It is taken over only if the ledger has
// a decision on every event below it, or if the operator accepts exactly this offset:
// otherwise events without a decision would be skipped. The service then commits the
// offset again with its own metadata, so that it is checked once.

const (
	// maxOffsetChecks is how many partitions are checked at once: each check keeps a
	// few fetches in memory.
	maxOffsetChecks = 4
	// checkRetry is the pause after a check that failed.
	checkRetry = 5 * time.Second
)

// offsetCheck is the check of one committed offset.
type offsetCheck struct {
	offset int64
	next   atomic.Int64           // records below it were read
	fault  atomic.Pointer[string] // why the check failed last; nil: it never did
	cancel context.CancelFunc
}

func (c *offsetCheck) String() string {
	text := fmt.Sprintf("checking whether the ledger has a decision on every record below the committed offset %d, "+
		"which this service did not commit: read up to %d", c.offset, c.next.Load())
	if fault := c.fault.Load(); fault != nil {
		text += "; failed last: " + *fault
	}
	return text
}

// accept reports whether a foreign committed offset is taken over without a check.
func (o *owner) accept(pt *partition, offset int64) bool {
	if !o.p.conf.Accepted.Has(pt.number, offset) {
		return false
	}
	o.log.InfoContext(o.work, "committed offset accepted by KAFKA_ACCEPT_OFFSETS",
		slog.Int64("partition", int64(pt.number)), slog.Int64("offset", offset))
	pt.dirty = true
	return true
}

// checkOffset begins to check the foreign committed offset of a partition. No record of
// the partition is admitted before the check is complete.
func (o *owner) checkOffset(pt *partition, offset int64) {
	ctx, cancel := context.WithCancel(pt.calls)
	check := &offsetCheck{offset: offset, cancel: cancel}
	pt.check, pt.foreign = check, true
	o.log.WarnContext(o.work, "committed offset is not by this service",
		slog.Int64("partition", int64(pt.number)), slog.Int64("offset", offset))
	o.background.Go(func() {
		defer cancel()
		if skipped, err := o.p.skippedBelow(ctx, pt.number, check); err == nil {
			o.p.send(func(o *owner) { o.offsetChecked(pt, skipped) })
		}
	})
}

// skippedRange is the records below a committed offset on which the ledger has no
// decision.
type skippedRange struct {
	count       int
	first, last int64 // their offsets
}

// skippedBelow finds what a committed offset skips. It retries until it succeeds or ctx
// ends.
func (p *Pipeline) skippedBelow(ctx context.Context, partition int32, check *offsetCheck) (skippedRange, error) {
	if err := p.ledger.CatchUp(ctx); err != nil {
		return skippedRange{}, err
	}
	for {
		found, err := p.readBelow(ctx, partition, check)
		if err == nil || ctx.Err() != nil {
			return found, errors.Join(err, ctx.Err())
		}
		check.fault.Store(new(err.Error()))
		p.conf.Log.WarnContext(ctx, "committed offset cannot be checked",
			slog.Int64("partition", int64(partition)), slog.Int64("offset", check.offset), slog.Any("error", err))
		if err := pause(ctx, checkRetry); err != nil {
			return found, err
		}
	}
}

func (p *Pipeline) readBelow(ctx context.Context, partition int32, check *offsetCheck) (found skippedRange, err error) {
	select {
	case p.checks <- struct{}{}:
		defer func() { <-p.checks }()
	case <-ctx.Done():
		return found, ctx.Err()
	}
	topic := p.conf.Topics.Input
	starts, err := kadm.NewClient(p.consumer).ListStartOffsets(ctx, topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return found, fmt.Errorf("list the start offsets of topic %q: %w", topic, err)
	}
	start, _ := starts.Lookup(topic, partition)
	reader, err := kafka.NewRangeReader(p.conf.Kafka, kafka.Range{Topic: topic, Partition: partition, From: start.Offset, To: check.offset})
	if err != nil {
		return found, err
	}
	defer reader.Close()
	for {
		records, err := reader.Read(ctx)
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return found, err
		}
		for _, r := range records {
			decided, err := p.decided(ctx, r)
			if err != nil {
				return found, err
			}
			if !decided {
				if found.count == 0 {
					found.first = r.Offset
				}
				found.count++
				found.last = r.Offset
			}
		}
		check.next.Store(check.offset - reader.Left())
	}
}

// decided reports whether the ledger has a decision on a record, or the record is not
// meant for this service.
func (p *Pipeline) decided(ctx context.Context, r *kgo.Record) (bool, error) {
	d := p.decodeRecord(r)
	if d.skip {
		return true, nil
	}
	if d.event != nil {
		h, err := p.ledger.Lookup(ctx, d.id)
		if err != nil {
			return false, err
		}
		switch rules.Respond(d.event, d.resend, h).Action { //nolint:exhaustive // Respond returns these, and Park
		case rules.Republish, rules.LeaveParked, rules.LeaveSuperseded:
			return true, nil
		case rules.Evaluate:
			return false, nil
		}
		// Its id belongs to another event: the ledger has it by the substitute id.
	}
	h, err := p.ledger.Lookup(ctx, event.RecordID(kafka.MessageOf(r)))
	return h.Decision != nil, err
}

// offsetChecked handles the result of a check.
func (o *owner) offsetChecked(pt *partition, skipped skippedRange) {
	if !o.owns(pt) || pt.draining || pt.check == nil {
		return
	}
	offset := pt.check.offset
	pt.check = nil
	if skipped.count > 0 {
		o.halt(pt, haltUnconfirmed, skipped.detail(pt.number, offset))
		return
	}
	o.log.InfoContext(o.work, "committed offset confirmed by the ledger",
		slog.Int64("partition", int64(pt.number)), slog.Int64("offset", offset))
	pt.foreign, pt.dirty = false, true
	o.ledgerRead(pt)
	o.admit(pt)
}

func (s skippedRange) detail(partition int32, offset int64) string {
	return fmt.Sprintf("the committed offset %d comes from an operator, another program or KAFKA_START_AT, and skips %d records "+
		"on which the ledger has no decision, "+
		"the first at offset %d, the last at %d; stop every instance, then reset the group's offset of partition %d to %d to work them, "+
		"or set KAFKA_ACCEPT_OFFSETS=%d:%d to skip them (separate several by commas)",
		offset, s.count, s.first, s.last, partition, s.first, partition, offset)
}
