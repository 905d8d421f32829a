package pipeline

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
	"payment-capture/internal/rules"
)

// Intake: the poll loop fetches records, decodes them and looks them up in the ledger
// (prefetch), outside of the owner. The owner then buffers them per partition and
// admits them to the offset tracker and the ordering keys while there is room; if
// enough is buffered it pauses fetching.

const (
	// pollLimit bounds the records of one poll, and so how long a rebalance waits until
	// the owner has buffered them.
	pollLimit = 1000
	// partitionBytes bounds the memory of a partition: beyond it fetching is paused.
	partitionBytes = 8 << 20

	firstPollPause = 100 * time.Millisecond
	maxPollPause   = 5 * time.Second

	// minDecodeBatch is how many records are worth a goroutine. Each core has several
	// batches to decode, so that none waits long for another core that is busy.
	minDecodeBatch      = 64
	decodeBatchesPerCPU = 4

	// itemOverhead is roughly what an item takes in memory beside its record.
	itemOverhead = 1 << 10

	// noPartition stands for an error that concerns no single partition.
	noPartition = -1
)

// polledPartition is the part of one poll that is of one partition.
type polledPartition struct {
	number     int32
	err        error
	unreadable bool // err is about the records themselves
	records    []polledRecord
}

// polledRecord is a decoded record with what the ledger knew of it when it was polled.
type polledRecord struct {
	record  *kgo.Record
	event   *event.ReadyToCapture // nil if the record is no valid event
	skip    bool                  // a marker, or not meant for this service
	skipped *event.SkipError      // why it is not meant for this service; nil for a marker
	invalid *event.InvalidError   // why it is no valid event
	id      string                // of the event, or its substitute if it is invalid
	resend  *event.Resend         // the mark of an operator who sent it again

	snapshot   event.Snapshot
	under      event.SnapshotUnder // what the guard compares it with, if it may be called for
	prefetched *completion         // what follows from the snapshot, if no call is needed

	// A record hints that the configuration and the producers fit each other, or do not;
	// see invalidhold.go. suspicious is why it would be parked without a call, good
	// whether it may be called for. A record that is neither is no evidence.
	suspicious *event.ParkInfo
	good       bool
	ahead      bool // it waits for its time, or will; see eventtime.go
	crowded    int  // so many others wait that it must not; 0: it may

	received *trace.SpanContext // of the poll; nil: not traced
}

// memory returns roughly what a record takes while it waits.
func (r *polledRecord) memory() int {
	n := itemOverhead + wireSize(r.record)
	if r.prefetched != nil {
		n += r.prefetched.bytes()
	}
	return n
}

// poll fetches records and hands them to the owner. A rebalance waits for the hand-over,
// which takes milliseconds: it must not come between a poll and the buffering of its
// records, and must not wait for anything else.
func (p *Pipeline) poll(ctx context.Context) {
	var wait time.Duration
	for {
		fetches := p.consumer.PollRecords(ctx, pollLimit)
		if ctx.Err() != nil || fetches.IsClientClosed() {
			p.consumer.AllowRebalance()
			return
		}
		span := p.startReceive(ctx, fetches.NumRecords())
		batch := p.decode(ctx, fetches)
		endReceive(ctx, span, batch)
		p.skipped.note(ctx, batch, time.Now())
		ok := p.call(func(o *owner) { o.polled(batch) }) //nolint:contextcheck // the owner works under its own
		p.consumer.AllowRebalance()
		if !ok {
			return
		}
		if fetches.NumRecords() > 0 || len(fetches.Errors()) == 0 {
			wait = 0
			continue
		}
		// The library does not pause after an error, and the next poll fails at once.
		wait = min(max(2*wait, firstPollPause), maxPollPause)
		if pause(ctx, wait) != nil {
			return
		}
	}
}

// decode decodes fetched records and prefetches their histories, on all cores.
func (p *Pipeline) decode(ctx context.Context, fetches kgo.Fetches) []polledPartition {
	var batch []polledPartition
	var all []*polledRecord
	fetches.EachPartition(func(ft kgo.FetchTopicPartition) {
		if ft.Topic != "" && ft.Topic != p.conf.Topics.Input {
			return
		}
		if ft.Topic == "" { // of the session, not of a partition
			ft.Partition = noPartition
		}
		part := polledPartition{number: ft.Partition, err: ft.Err, unreadable: unreadable(ft), records: make([]polledRecord, len(ft.Records))}
		for i, r := range ft.Records {
			part.records[i].record = r
			all = append(all, &part.records[i])
		}
		batch = append(batch, part)
	})
	var decoding sync.WaitGroup
	for some := range slices.Chunk(all, max(minDecodeBatch, (len(all)-1)/(decodeBatchesPerCPU*runtime.GOMAXPROCS(0))+1)) {
		decoding.Go(func() {
			for _, r := range some {
				*r = p.decodeRecord(detached(r.record))
			}
			p.prefetch(ctx, slices.DeleteFunc(some, func(r *polledRecord) bool { return r.skip }), time.Now())
		})
	}
	decoding.Wait()
	return batch
}

func (p *Pipeline) decodeRecord(r *kgo.Record) polledRecord {
	if r.Attrs.IsControl() {
		return polledRecord{record: r, skip: true}
	}
	m := kafka.MessageOf(r)
	e, err := p.conf.Decoder.Decode(m)
	if err == nil {
		if e.Account != "" && e.Account != p.conf.Account {
			return polledRecord{record: r, skip: true, skipped: &event.SkipError{Reason: event.SkipOtherAccount, Type: e.Account}}
		}
		return polledRecord{record: r, event: e, id: e.ID, resend: event.ResendOf(m)}
	}
	if skipped, ok := errors.AsType[*event.SkipError](err); ok {
		return polledRecord{record: r, skip: true, skipped: skipped}
	}
	invalid, ok := errors.AsType[*event.InvalidError](err)
	if !ok {
		invalid = &event.InvalidError{Problem: err.Error()}
	}
	return polledRecord{record: r, invalid: invalid, id: event.RecordID(m), resend: event.ResendOf(m)}
}

// prefetch looks up records in the ledger at once, so that a new event needs no lookup
// of its own and a replay needs neither lookups nor goroutines. When a record is
// dispatched and its snapshot is not current any more, it is looked up again.
func (p *Pipeline) prefetch(ctx context.Context, records []*polledRecord, now time.Time) {
	ids := make([]string, len(records))
	for i, r := range records {
		ids[i] = r.id
	}
	snapshots := p.ledger.Snapshot(ids) // nil: the ledger is not available
	if snapshots != nil {
		for i, r := range records {
			r.snapshot = snapshots[i]
		}
	}
	p.prefetchUnder(records)
	for _, r := range records {
		p.assess(ctx, r, now)
	}
}

// prefetchUnder looks up what the guard compares events with that may be called for.
func (p *Pipeline) prefetchUnder(records []*polledRecord) {
	var charges []event.Charge
	var looked []*polledRecord
	for _, r := range records {
		if r.event == nil || (r.snapshot.Decision != nil && r.resend == nil) {
			continue
		}
		if charge, compares := p.conf.Rules.Guard.Compared(r.event); compares {
			charges, looked = append(charges, charge), append(looked, r)
		}
	}
	if len(charges) == 0 {
		return
	}
	known := p.ledger.SnapshotUnder(charges)
	if known == nil {
		return
	}
	for i, r := range looked {
		r.under = known[i]
	}
}

// assess completes a record without a call as far as its snapshot allows, and decides
// whether it is evidence for or against the configuration.
//
// A record that would be parked without a call is evidence against it: an invalid
// event, one that the rules park, or one whose id belongs to another event. A valid
// event that may be called for is evidence in favour. Skipped records and records with
// a decision are no evidence. Nor is an event that has to wait for its time: its
// producer's clock may be wrong.
func (p *Pipeline) assess(ctx context.Context, r *polledRecord, now time.Time) {
	d := r.snapshot.Decision
	if r.invalid != nil {
		why := &event.ParkInfo{Reason: event.ParkInvalidEvent, Detail: r.invalid.Error()}
		switch {
		case d == nil:
			r.suspicious = why
		case rules.ParkOnce(why, r.resend, d).Action == rules.LeaveParked:
			r.prefetched = new(unpublished(rules.LeaveParked, d))
		}
		return
	}
	response := rules.Respond(r.event, r.resend, r.snapshot.History)
	switch response.Action { //nolint:exhaustive // Respond returns these
	case rules.LeaveParked, rules.LeaveSuperseded:
		r.prefetched = new(unpublished(response.Action, d))
	case rules.Republish:
		// Encoding errors are reported when the record is dispatched.
		if c, err := p.replay(ctx, r.record, d); err == nil {
			r.prefetched = &c
		}
	case rules.Park:
		if !p.parkedBefore(r) {
			r.suspicious = response.Why
		}
	case rules.Evaluate:
		unfit := p.conf.Rules.Unfit(r.event, response.Resent != nil, now)
		if response.Prior == nil {
			r.ahead = !p.conf.Rules.Evaluate(rules.Case{Event: r.event}, response, now).Until.IsZero()
		}
		switch {
		case r.ahead:
		case r.snapshot.Version == 0 && (unfit == nil || unfit.Reason != event.ParkWrongCurrency):
			// The ledger is not available: the event may have a decision.
		case unfit == nil && response.Prior == nil:
			p.assessDuplicates(r, response, now)
		case unfit == nil:
			r.good = true
		case response.Prior == nil: // after an attempt these rules do not apply
			r.suspicious = unfit
		}
	}
}

// assessDuplicates decides likewise by what the guard compares an event with. If the ledger
// did not answer, the event is no evidence.
func (p *Pipeline) assessDuplicates(r *polledRecord, response rules.Disposition, now time.Time) {
	if _, compares := p.conf.Rules.Guard.Compared(r.event); compares && r.under.Version == 0 {
		return
	}
	d := p.conf.Rules.Evaluate(rules.Case{Event: r.event, Known: r.under.Known}, response, now)
	r.good = d.Action == rules.Charge
	if d.Action == rules.Park {
		r.suspicious = d.Why
	}
}

// parkedBefore reports whether a copy of a record was parked whose event id belongs to
// another event: the ledger has it by the substitute id.
func (p *Pipeline) parkedBefore(r *polledRecord) bool {
	known := p.ledger.Snapshot([]string{event.RecordID(kafka.MessageOf(r.record))})
	return len(known) == 1 && known[0].Decision != nil
}

// polled buffers the records of a poll and admits as many as there is room for.
func (o *owner) polled(batch []polledPartition) {
	// Errors first: after a truncation the records that follow are not those that the
	// tracker knows by their offsets.
	for _, part := range batch {
		if part.err != nil {
			o.fetchFailed(part)
		}
	}
	o.fetch.clear(batch)
	for _, part := range batch {
		pt := o.parts[part.number]
		if pt == nil || pt.tracker == nil || pt.halt.halted() || pt.draining {
			continue
		}
		pt.reading.note(pt.polledTo, part.records)
		o.crowd(pt, part.records)
		pt.buffered = append(pt.buffered, part.records...)
		for i := range part.records {
			pt.undecidedBytes += part.records[i].memory()
		}
		o.countRun(pt, part.records)
	}
	held := false
	for _, part := range batch {
		if pt := o.parts[part.number]; pt != nil && !pt.halt.halted() {
			o.admit(pt)
			held = held || pt.invalid.hold != nil
		}
	}
	if held {
		o.countHolds()
	}
}

// admitLimit is how many records of a partition are admitted without a decision at
// most; twice as many are fetched. Records with one are bounded by their bytes.
func (o *owner) admitLimit() int { return max(2*o.p.conf.MaxInFlight, 512) }

// admit moves buffered records into the offset tracker and the ordering keys while
// there is room.
func (o *owner) admit(pt *partition) {
	if pt.tracker == nil || pt.draining || pt.check != nil {
		return
	}
	t, fits := pt.tracker, true
	for len(pt.buffered) > 0 && t.open-pt.waiting < o.admitLimit() && pt.decisionBytes < partitionFlushBytes {
		r := pt.buffered[0]
		at, epoch := r.record.Offset, r.record.LeaderEpoch
		switch {
		case at < t.next: // a second delivery
			pt.undecidedBytes -= r.memory()
		case r.skip || t.completedBefore(at):
			t.skipTo(at+1, epoch)
			pt.undecidedBytes -= r.memory()
			pt.dirty = true
		default:
			if fits = t.fits(at); fits {
				o.admitRecord(pt, r)
			}
		}
		if !fits {
			break
		}
		pt.buffered[0] = polledRecord{}
		pt.buffered = pt.buffered[1:]
	}
	if len(pt.buffered) == 0 {
		pt.buffered = nil
	} else if !fits || t.open-pt.waiting >= o.admitLimit() {
		o.relieve(pt, !fits)
	}
}

func (o *owner) admitRecord(pt *partition, r polledRecord) {
	it := &item{
		polledRecord: r, part: pt, offset: r.record.Offset, bytes: r.memory(), admittedAt: time.Now(), keys: orderingKeysOf(&r),
	}
	if r.event != nil {
		it.orderID = r.event.OrderID
	}
	pt.tracker.admit(it, r.record.LeaderEpoch)
	if pt.invalid.holds(&r) {
		it.held = true
		pt.invalid.hold.items = append(pt.invalid.hold.items, it)
		return
	}
	o.enter(it)
}

// adjustFetching pauses partitions of which enough is buffered or uncommitted, and
// resumes them when half of it is gone.
func (o *owner) adjustFetching() {
	var pausing, resuming []int32
	// While nothing can be captured or committed, no more is read than there are
	// captures to notice that it can again.
	blocked := o.commitsBlocked() != "" || (o.room() <= 0 && o.p.capturer.Blocked() != "")
	for n, pt := range o.parts {
		records, bytes := pt.undecided()-pt.waiting, pt.undecidedBytes-pt.waitingBytes+pt.decisionBytes
		switch {
		case !pt.paused && (blocked || records >= 2*o.admitLimit() || bytes >= partitionBytes || pt.halt.halted()):
			pt.paused = true
			pausing = append(pausing, n)
		case pt.paused && !blocked && records <= o.admitLimit() && bytes <= partitionBytes/2 && !pt.halt.halted() && !pt.draining:
			pt.paused = false
			resuming = append(resuming, n)
		}
	}
	topic := o.p.conf.Topics.Input
	if len(pausing) > 0 {
		o.p.consumer.PauseFetchPartitions(map[string][]int32{topic: pausing})
	}
	if len(resuming) > 0 {
		o.p.consumer.ResumeFetchPartitions(map[string][]int32{topic: resuming})
	}
}

// detached copies a record. The client's record is a part of the whole response to a
// fetch, which would stay in memory until the last of its records is completed.
func detached(r *kgo.Record) *kgo.Record {
	c := *r
	size := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		size += len(h.Value)
	}
	room := make([]byte, 0, size)
	keep := func(b []byte) []byte {
		if b == nil {
			return nil
		}
		room = append(room, b...)
		return room[len(room)-len(b) : len(room) : len(room)]
	}
	c.Key, c.Value = keep(r.Key), keep(r.Value)
	c.Headers = make([]kgo.RecordHeader, len(r.Headers))
	for i, h := range r.Headers {
		c.Headers[i] = kgo.RecordHeader{Key: h.Key, Value: keep(h.Value)}
	}
	return &c
}

// unreadable reports whether a broker sent records that the client cannot read, such as
// a batch with a wrong checksum; going on behind it may skip records. The client also
// reports connection failures for a partition, but then without the high watermark that
// comes with records.
func unreadable(ft kgo.FetchTopicPartition) bool {
	_, broker := errors.AsType[*kerr.Error](ft.Err)
	return ft.Err != nil && !broker && ft.HighWatermark > 0
}
