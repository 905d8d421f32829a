package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
	"payment-capture/internal/rules"
	"payment-capture/internal/tracing"
)

// Completion: a decision is encoded as the records of its flush: an outcome or a parked
// record, and the ledger entries. A flush must not fail because of a record's size, so
// records that are too large are made smaller here.

// completion is what a record with a decision adds to a flush.
type completion struct {
	records  []*kgo.Record // none if nothing is published
	digest   *kgo.Record   // replaces the first one if that is too large for a request; nil: it never is
	decision string        // for metrics: captured, rejected or parked
	replayed bool          // from the ledger
	since    time.Time     // when its record was published
	// standing is the decision because of which nothing is published: the event stays
	// parked or, if superseded, was corrected since; else nil.
	standing   *event.Decision
	superseded bool
	// id and entry are what the ledger has of the decision; entry is nil if it was there
	// before.
	id    string
	entry *event.Decision
	// waitUntil: there is no decision yet, the event has to wait for its time.
	waitUntil time.Time
	span      *trace.SpanContext // of its process span; nil: not traced
	// yields: there is no decision yet, another record that is queued goes first.
	yields bool
}

// The decisions, as metrics name them.
const (
	decisionCaptured = "captured"
	decisionRejected = "rejected"
	decisionParked   = "parked"
)

func nameOf(d *event.Decision) string {
	switch {
	case d.Outcome == nil:
		return decisionParked
	case d.Outcome.Type == event.TypeCaptured:
		return decisionCaptured
	}
	return decisionRejected
}

// copies returns the records to produce, new ones each time, because a record may not
// be produced twice. None takes more than limit bytes.
func (c completion) copies(limit int) []*kgo.Record {
	out := make([]*kgo.Record, 0, len(c.records))
	for i, r := range c.records {
		if i == 0 && c.digest != nil && wireSize(r) > limit {
			r = c.digest
		}
		out = append(out, &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Headers: r.Headers})
	}
	return out
}

// bytes returns the size of the records.
func (c completion) bytes() int {
	n := 0
	for _, r := range c.records {
		n += wireSize(r)
	}
	return n
}

// encodeError marks a decision that cannot be encoded, which is a fault even if the
// partition was handed over meanwhile.
type encodeError struct{ error }

func (e *encodeError) Unwrap() error { return e.error }

// unpublished completes a record without publishing anything, because of an earlier
// decision.
func unpublished(why rules.Action, d *event.Decision) completion {
	return completion{decision: decisionParked, replayed: true, standing: d, superseded: why == rules.LeaveSuperseded}
}

// replay completes a record with the recorded outcome.
func (p *Pipeline) replay(ctx context.Context, input *kgo.Record, d *event.Decision) (completion, error) {
	c := completion{decision: nameOf(d), replayed: true}
	if p.conf.SuppressReplayed {
		return c, nil
	}
	again := *d.Outcome
	again.Replayed = true
	r, err := p.outcomeRecord(ctx, input, &again)
	if err != nil {
		return c, &encodeError{err}
	}
	c.records = []*kgo.Record{r}
	return c, nil
}

// encode completes a record with a new decision on an id.
func (p *Pipeline) encode(ctx context.Context, it *item, id string, d *event.Decision) (completion, error) {
	c := completion{decision: nameOf(d), id: id, entry: d}
	var first *kgo.Record
	var err error
	switch {
	case d.ParkInfo != nil:
		first = p.parkedRecord(ctx, it, id, d.ParkInfo)
		if wireSize(first) > kafka.LeastRecordBytes { // the request limit may be lowered to below it
			c.digest = p.encodeParked(it, event.Digest(kafka.MessageOf(it.record)), id, d.ParkInfo)
		}
	case d.Outcome != nil:
		first, err = p.outcomeRecord(ctx, it.record, d.Outcome)
	default:
		err = fmt.Errorf("encode the decision on %s/%d@%d: it is empty", it.record.Topic, it.record.Partition, it.record.Offset)
	}
	if err != nil {
		return completion{}, &encodeError{err}
	}
	entries, err := p.ledger.Records(id, d)
	if err != nil {
		return completion{}, &encodeError{err}
	}
	c.records = append([]*kgo.Record{first}, entries...)
	return c, nil
}

// outcomeRecord encodes an outcome. If the input's key leaves no room for the outcome,
// the order id is the key.
//
// The traceparent attribute is the event's: it is recorded, and the same in each copy of the
// outcome. The header of this name is about this record alone: if the service writes
// traces, it is the span that published it.
func (p *Pipeline) outcomeRecord(ctx context.Context, input *kgo.Record, outcome *event.Outcome) (*kgo.Record, error) {
	topic := p.conf.Topics.Rejected
	if outcome.Type == event.TypeCaptured {
		topic = p.conf.Topics.Captured
	}
	limit := min(int(p.commitConf.MaxBatchBytes[topic]), kafka.LeastRecordBytes)
	for _, key := range [][]byte{input.Key, nil} {
		m := outcome.Encode(key, p.conf.Mode)
		r := recordOf(topic, m)
		if parent := tracing.Format(ctx); parent != "" {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: tracing.Header, Value: []byte(parent)})
		}
		if wireSize(r) <= limit {
			return r, nil
		}
	}
	return nil, fmt.Errorf("encode the outcome of event %s: larger than topic %q accepts (%d bytes); raise its max.message.bytes",
		outcome.EventID, topic, limit)
}

// parkedHeaders is the most that the parked_* headers take, in bytes.
const parkedHeaders = 4096

// parkedRecord encodes a record for the parked topic, and logs it. If it is too large
// for the topic, its size and digest replace its content, which stays in the input.
func (p *Pipeline) parkedRecord(ctx context.Context, it *item, id string, info *event.ParkInfo) *kgo.Record {
	r, at := it.record, parkedPosition(it, id)
	content := kafka.MessageOf(r)
	if wireSize(r)+parkedHeaders > int(p.commitConf.MaxBatchBytes[p.conf.Topics.Parked]) {
		content = event.Digest(content)
	}
	p.conf.Log.LogAttrs(ctx, slog.LevelWarn, "record parked", slog.String("event_id", id),
		slog.String("order_id", at.OrderID), slog.String("claimed_event_id", at.ClaimedEventID),
		slog.String("reason", string(info.Reason)), slog.String("detail", info.Detail), positionAttrs(r))
	return p.encodeParked(it, content, id, info)
}

func (p *Pipeline) encodeParked(it *item, content event.Message, id string, info *event.ParkInfo) *kgo.Record {
	return recordOf(p.conf.Topics.Parked, event.EncodeParked(content, parkedPosition(it, id), info))
}

// parkedPosition returns the position of a record, and the ids that it names.
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

func recordOf(topic string, m event.Message) *kgo.Record {
	r := &kgo.Record{Topic: topic, Key: m.Key, Value: m.Value}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return r
}

// positionAttrs returns where a record is in the input.
func positionAttrs(r *kgo.Record) slog.Attr {
	return slog.GroupAttrs("", slog.String("topic", r.Topic), slog.Int64("partition", int64(r.Partition)), slog.Int64("offset", r.Offset))
}

// wireSize returns the most that a record takes as the only one of a batch, in bytes and
// uncompressed: 61 for the batch, and its lengths, time and number.
func wireSize(r *kgo.Record) int {
	const batch, lengths, headerLengths = 61, 35, 10
	size := batch + lengths + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		size += headerLengths + len(h.Key) + len(h.Value)
	}
	return size
}
