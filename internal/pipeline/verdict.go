package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
	"payment-capture/internal/rules"
)

// settlementFor takes a record to its verdict: from the ledger, where it was
// decided before, else by a capture. asking is ctx until the item is given up.
func (p *Pipeline) settlementFor(ctx, asking context.Context, it *item) (settlement, error) {
	if it.invalid != nil {
		return p.parkOnce(ctx, asking, it, &event.ParkInfo{Reason: event.ParkInvalidEvent, Detail: it.invalid.Error()})
	}
	e := it.event
	h, err := p.known(asking, e.ID, it.glimpse)
	if err != nil {
		return settlement{}, err
	}
	r := rules.Respond(e, it.resend, h)
	switch r.Action { //nolint:exhaustive // Respond returns these, and Evaluate
	case rules.Republish:
		return p.replayOf(it.record, h.Decision)
	case rules.LeaveParked, rules.LeaveSuperseded:
		return leave(r.Action, h.Decision), nil
	case rules.Park:
		return p.parkOnce(ctx, asking, it, r.Why)
	}
	d, until, err := p.evaluate(ctx, it, r)
	if err != nil || !until.IsZero() {
		return settlement{until: until}, err
	}
	rules.Conclude(d, e, h)
	return p.settlementOf(ctx, it, e.ID, d)
}

// evaluate takes an event to its decision, or returns until when it has to wait
// for its time before that.
func (p *Pipeline) evaluate(ctx context.Context, it *item, r rules.Disposition) (_ *event.Decision, until time.Time, _ error) {
	e := it.event
	if r.Prior == nil {
		until = p.conf.Rules.Evaluate(e, event.Fingerprint{}, r, nil, time.Now()).Until
	}
	switch {
	case until.IsZero():
		it.lease.event, it.lease.tried, it.lease.resent = e, r.Prior, r.Resent
		d, err := p.capturer.Capture(ctx, e, it.lease)
		return d, time.Time{}, err
	case it.crowded > 0:
		return &event.Decision{
			Result: event.Result{ParkInfo: rules.Crowded(e, it.crowded)}, At: event.Now(), Attempt: event.AttemptOf(e),
		}, time.Time{}, nil
	}
	return nil, until, nil
}

// known gives what is known of an event for certain: what was seen of it before,
// if that still holds. A decision that this process made and has not read back may
// yet come to nothing, if the partition that it was made for is lost before its
// flush: it is waited for until it is read back, or dropped.
func (p *Pipeline) known(asking context.Context, id string, seen event.Snapshot) (event.History, error) {
	if p.ledger.IsCurrent(id, seen) {
		return seen.History, nil
	}
	for {
		h, err := p.ledger.Lookup(asking, id)
		if err != nil || !h.Unread {
			return h, err
		}
		p.unread.Add(1)
		select {
		case <-asking.Done():
			err = asking.Err()
		case <-time.After(unreadPause):
		}
		p.unread.Add(-1)
		if err != nil {
			return h, err
		}
	}
}

// unreadPause is the time between two looks at a decision that is not read back.
const unreadPause = 10 * time.Millisecond

// parkOnce parks a record that has no event id which could be trusted, unless a
// copy of it was parked before, and was not sent again since.
func (p *Pipeline) parkOnce(ctx, asking context.Context, it *item, parking *event.ParkInfo) (settlement, error) {
	id, seen := it.id, it.glimpse
	if it.invalid == nil { // its event's id is another event's
		id, seen = event.RecordID(messageOf(it.record)), event.Snapshot{}
	}
	h, err := p.known(asking, id, seen)
	if err != nil {
		return settlement{}, err
	}
	if d := rules.ParkOnce(parking, it.resend, h.Decision); d.Action == rules.LeaveParked {
		return leave(d.Action, h.Decision), nil
	}
	return p.settlementOf(ctx, it, id, &event.Decision{Result: event.Result{ParkInfo: parking}, At: event.Now()})
}

// leave answers a record by nothing: it was parked before. d is the decision that
// stands.
func leave(why rules.Action, d *event.Decision) settlement {
	return settlement{kind: kindParked, replayed: true, left: d, superseded: why == rules.LeaveSuperseded}
}

// replayOf answers a record with the outcome that was decided before.
func (p *Pipeline) replayOf(input *kgo.Record, d *event.Decision) (settlement, error) {
	s := settlement{kind: kindOf(d), replayed: true}
	if p.conf.SuppressReplayed {
		return s, nil
	}
	again := *d.Outcome
	again.Replayed = true
	r, err := p.outcomeRecord(input, &again)
	if err != nil {
		return s, &encodeError{err}
	}
	s.records = []*kgo.Record{r}
	return s, nil
}

// settlementOf writes a verdict: its outcome or parked record, and what the
// ledger keeps of it.
func (p *Pipeline) settlementOf(ctx context.Context, it *item, id string, d *event.Decision) (settlement, error) {
	s := settlement{kind: kindOf(d), id: id, decision: d}
	var first *kgo.Record
	var err error
	switch {
	case d.ParkInfo != nil:
		first = p.parkedRecord(ctx, it, id, d.ParkInfo)
		if wireSize(first) > kafka.LeastRecordBytes { // a produce request may turn out to have no room for it
			s.digest = p.parkedDigest(it, id, d.ParkInfo)
		}
	case d.Outcome != nil:
		if first, err = p.outcomeRecord(it.record, d.Outcome); err != nil {
			return settlement{}, &encodeError{err}
		}
	default:
		return settlement{}, &encodeError{fmt.Errorf("the verdict on %s/%d@%d is empty", it.record.Topic, it.record.Partition, it.record.Offset)}
	}
	entries, err := p.ledger.Records(it.part.number, id, d)
	if err != nil {
		return settlement{}, &encodeError{err}
	}
	s.records = append([]*kgo.Record{first}, entries...)
	return s, nil
}

// The kinds of settlement, as metrics name them.
const (
	kindCaptured = "captured"
	kindRejected = "rejected"
	kindParked   = "parked"
)

func kindOf(d *event.Decision) string {
	switch {
	case d.Outcome == nil:
		return kindParked
	case d.Outcome.Type == event.TypeCaptured:
		return kindCaptured
	}
	return kindRejected
}

// outcomeRecord writes an outcome. A key that leaves no room for the outcome
// gives way to the order id: a flush must not fail by it, whatever the limit of a
// request becomes.
func (p *Pipeline) outcomeRecord(input *kgo.Record, outcome *event.Outcome) (*kgo.Record, error) {
	topic := p.conf.Topics.Rejected
	if outcome.Type == event.TypeCaptured {
		topic = p.conf.Topics.Captured
	}
	limit := min(int(p.commits.MaxBatchBytes[topic]), kafka.LeastRecordBytes)
	for _, key := range [][]byte{input.Key, nil} {
		m := outcome.Encode(key, p.conf.Mode)
		if r := recordOf(topic, m); wireSize(r) <= limit {
			return r, nil
		}
	}
	return nil, fmt.Errorf("the outcome of event %s is larger than topic %q takes (%d bytes): raise its max.message.bytes",
		outcome.EventID, topic, limit)
}

// parkedRecord writes a record for the parked topic. One that the topic would
// not take is parked as its position, its size and its digest: a flush must not
// fail by it, and the record itself is where it was.
func (p *Pipeline) parkedRecord(ctx context.Context, it *item, id string, parking *event.ParkInfo) *kgo.Record {
	r, at := it.record, parkedPosition(it, id)
	input := messageOf(r)
	if wireSize(r)+parkedHeaders > int(p.commits.MaxBatchBytes[p.conf.Topics.Parked]) {
		input = event.Digest(input)
	}
	p.conf.Log.LogAttrs(ctx, slog.LevelWarn, "record parked", slog.String("event_id", id),
		slog.String("order_id", at.OrderID), slog.String("claimed_event_id", at.ClaimedEventID),
		slog.String("reason", string(parking.Reason)), slog.String("detail", parking.Detail),
		slog.String("topic", r.Topic), slog.Int64("partition", int64(r.Partition)), slog.Int64("offset", r.Offset))
	return recordOf(p.conf.Topics.Parked, event.EncodeParked(input, at, parking))
}

// parkedDigest writes a record for the parked topic as its position, its size and
// its digest.
func (p *Pipeline) parkedDigest(it *item, id string, parking *event.ParkInfo) *kgo.Record {
	input := event.Digest(messageOf(it.record))
	return recordOf(p.conf.Topics.Parked, event.EncodeParked(input, parkedPosition(it, id), parking))
}

// parkedPosition returns where a record lay, and the ids that it names.
func parkedPosition(it *item, id string) event.Position {
	r := it.record
	at := event.Position{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, ID: id}
	switch {
	case it.invalid != nil:
		at.OrderID, at.ClaimedEventID = it.invalid.OrderID, it.invalid.ClaimedEventID
	case it.event != nil:
		at.OrderID, at.ClaimedEventID = it.event.Names()
	}
	if at.ClaimedEventID == id {
		at.ClaimedEventID = ""
	}
	return at
}

// parkedHeaders is what the parked_* headers take at most, in bytes.
const parkedHeaders = 4096

func recordOf(topic string, m event.Message) *kgo.Record {
	r := &kgo.Record{Topic: topic, Key: m.Key, Value: m.Value}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return r
}

// wireSize gives what a record takes as the only one of a batch, in bytes, at
// most and uncompressed: 61 for the batch, and its lengths, time and number.
func wireSize(r *kgo.Record) int {
	const batch, lengths, headerLengths = 61, 35, 10
	size := batch + lengths + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		size += headerLengths + len(h.Key) + len(h.Value)
	}
	return size
}
