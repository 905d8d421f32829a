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
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/kafka"
)

// Fetch errors either pass, and are shown in /status meanwhile, or halt their partition:
// an operator has to fix the cause, because going on could skip events.

// haltReason is the kind of cause because of which a partition is halted.
type haltReason string

const (
	haltLedgerMissing haltReason = "ledger_missing" // the ledger is not the one that the group worked with
	haltRecordsLost   haltReason = "records_lost"   // deleted before they were read, or the topic was truncated
	haltUnreadable    haltReason = "unreadable"     // the records themselves
	haltOffset        haltReason = "offset"         // the committed offset cannot be read
	// haltUnconfirmed: the committed offset is foreign and skips records that the ledger
	// does not know.
	haltUnconfirmed haltReason = "unconfirmed_offset"
)

func haltReasons() []haltReason {
	return []haltReason{haltLedgerMissing, haltRecordsLost, haltUnreadable, haltOffset, haltUnconfirmed}
}

// halt is why a partition is halted; zero if it is not.
type halt struct {
	reason haltReason
	detail string // the cause and the remedy
}

func (h halt) halted() bool { return h.reason != "" }

// halt stops working a partition: no more of its records are admitted. A halted
// partition gets a new detail.
func (o *owner) halt(pt *partition, reason haltReason, detail string) {
	pt.halt = halt{reason, detail}
	if pt.check != nil {
		pt.check.cancel()
		pt.check = nil
	}
	pt.dropBuffered()
	o.countHalted()
	o.log.ErrorContext(o.work, "partition halted", slog.String("topic", o.p.conf.Topics.Input), slog.Int64("partition", int64(pt.number)),
		slog.String("reason", string(reason)), slog.String("detail", detail))
}

// countHalted updates the metric of halted partitions.
func (o *owner) countHalted() {
	halted := make(map[haltReason]int)
	for _, pt := range o.parts {
		if pt.halt.halted() {
			halted[pt.halt.reason]++
		}
	}
	o.p.conf.Metrics.halted(halted)
}

// fetchFailed handles an error that a poll reported for a partition.
func (o *owner) fetchFailed(part polledPartition) {
	number, err := part.number, part.err
	if o.p.conf.Static && errors.Is(err, kerr.FencedInstanceID) {
		o.stopNow(fmt.Errorf("%w: %w", kafka.ErrFenced, err))
		return
	}
	pt := o.parts[number]
	_, broker := errors.AsType[*kerr.Error](err)
	lost := recordsLost(err)
	switch {
	case pt != nil && pt.halt.halted():
	case pt != nil && pt.tracker == nil && (broker || lost):
		// The client does not repeat a refused request for offsets.
		o.halt(pt, haltOffset, fmt.Sprintf("read the committed offset: %v; fix that and restart", err))
	case pt != nil && pt.tracker != nil && lost:
		next := pt.tracker.next
		o.halt(pt, haltRecordsLost, fmt.Sprintf("records from offset %d on are not in the topic any more (%v)", next, err))
		o.background.Go(func() { o.p.findLostRange(pt, next) })
	case pt != nil && pt.tracker != nil && part.unreadable:
		o.halt(pt, haltUnreadable, fmt.Sprintf("the records from offset %d on cannot be read (%v); see \"Halted partitions\" in docs/runbook.md",
			pt.tracker.next, err))
	default:
		o.p.conf.Metrics.fetchFailed()
		if errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.UnknownTopicID) { // of all partitions
			number = noPartition
		}
		o.fetch.set(number, o.p.describeFetchError(err))
		o.log.WarnContext(o.work, "fetch failed", slog.Int64("partition", int64(part.number)), slog.String("error", o.fetch.text))
	}
}

// recordsLost reports whether a fetch error means that records are gone: retention
// overtook the committed offset, or the log was truncated.
func recordsLost(err error) bool {
	_, truncated := errors.AsType[*kgo.ErrDataLoss](err)
	return truncated || errors.Is(err, kerr.OffsetOutOfRange)
}

func (p *Pipeline) describeFetchError(err error) string {
	if errors.Is(err, kerr.InconsistentGroupProtocol) {
		return fmt.Sprintf("join group %q: consumers of another program are its members (%v); "+
			"stop them, or set KAFKA_GROUP to a group that only payment-capture uses", p.conf.Group, err)
	}
	return fmt.Sprintf("read topic %q: %v", p.conf.Topics.Input, kafka.NeedsTopic(err, "Read", p.conf.Topics.Input))
}

// findLostRange finds which records are gone, and adds that to the halt of the partition.
func (p *Pipeline) findLostRange(pt *partition, next int64) {
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
	const remedy = "; find out what was lost, then set the group's offset of this partition"
	detail := fmt.Sprintf("the topic ends at offset %d, but was read up to %d: it was truncated", end.Offset, next)
	if next < first.Offset {
		detail = fmt.Sprintf("records at offsets %d to %d were deleted before they were read (retention?)", next, first.Offset-1)
	}
	p.send(func(o *owner) {
		if o.owns(pt) {
			o.halt(pt, haltRecordsLost, detail+remedy)
		}
	})
}

// fetchFaultShown is how long a fetch error is shown: longer than the pause before it
// occurs again.
const fetchFaultShown = 3 * maxPollPause

// groupFault is the partition of a fetch fault that fetched records do not end.
const groupFault = -2

// fetchFault is the last error because of which the input cannot be read.
type fetchFault struct {
	text      string
	at        time.Time
	partition int32 // or noPartition, or groupFault
}

func (f *fetchFault) set(partition int32, text string) {
	*f = fetchFault{text: text, at: time.Now(), partition: partition}
}

// current returns the error as long as it is recent; "" if there is none.
func (f *fetchFault) current() string {
	if time.Since(f.at) > fetchFaultShown {
		return ""
	}
	return f.text
}

// clear forgets the error if records were fetched from where it was.
func (f *fetchFault) clear(batch []polledPartition) {
	if slices.ContainsFunc(batch, func(p polledPartition) bool { return p.err != nil }) {
		return
	}
	for _, part := range batch {
		if len(part.records) > 0 && (part.number == f.partition || f.partition == noPartition) {
			f.text = ""
			return
		}
	}
}
