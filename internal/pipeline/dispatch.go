package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
)

// captureFactor is how many captures there may be for each call under way:
// those that wait between two tries must not take the others' turn.
const captureFactor = 4

// dispatch begins captures while there is room.
func (o *owner) dispatch() {
	for o.inFlight < captureFactor*o.p.conf.MaxInFlight && o.refused == "" {
		it := o.readyNext()
		if it == nil {
			break
		}
		it.inFlight = true
		it.part.inFlight++
		o.inFlight++
		it.hold = &hold{giveUp: it.part.giveUp, heard: &o.p.heard, within: o.p.conf.SessionTimeout}
		o.captures.Go(func() { o.capture(it, it.part.ctx, it.hold, it.record, it.event) })
	}
	o.p.conf.Metrics.capturing(o.inFlight)
}

// capture runs outside the owner's goroutine; it is given what it may read.
func (o *owner) capture(it *item, ctx context.Context, h *hold, r *kgo.Record, e *event.ReadyToCapture) { //nolint:revive // context-as-argument: it belongs to the item
	verdict, err := o.p.capturer.Capture(ctx, e, h)
	m := captured{it: it}
	if err == nil {
		m.settlement, err = o.p.settlementOf(ctx, r, e, verdict)
		if err != nil {
			err = &encodeError{err}
		}
	}
	m.err = err
	o.p.send(m)
}

// encodeError keeps a verdict that cannot be written from being taken for an
// abandoned one.
type encodeError struct{ error }

func (e *encodeError) Unwrap() error { return e.error }

// captured is a capture's end.
type captured struct {
	it         *item
	settlement settlement
	err        error
}

func (m captured) apply(o *owner) {
	it, pt := m.it, m.it.part
	o.inFlight--
	pt.inFlight--
	it.inFlight = false
	o.free(o.lanes.leave(it))
	_, unwritable := errors.AsType[*encodeError](m.err)
	switch {
	case o.parts[pt.number] != pt:
		// The partition is somebody else's now, or was given to us anew: its
		// owner decides, under the same key.
		o.p.conf.Metrics.stale()
	case m.err == nil:
		o.settle(it, m.settlement)
		o.takeUp(pt)
	case !unwritable && (pt.ctx.Err() != nil || pt.draining):
		// Left for the next owner.
	default:
		o.stop(m.err)
	}
}

// recordOverhead is what a record takes beside its key, value and headers, at
// most: batch header, lengths, and the parked_* headers.
const recordOverhead = 4096

// settlementOf writes a verdict.
func (p *Pipeline) settlementOf(ctx context.Context, r *kgo.Record, e *event.ReadyToCapture, v event.Verdict) (settlement, error) {
	if v.Parking != nil {
		return p.park(ctx, r, e.ID, v.Parking), nil
	}
	if v.Outcome == nil {
		return settlement{}, fmt.Errorf("the verdict on %s/%d@%d is empty", r.Topic, r.Partition, r.Offset)
	}
	topic, kind := p.conf.Topics.Rejected, kindRejected
	if v.Outcome.Type == event.TypeCaptured {
		topic, kind = p.conf.Topics.Captured, kindCaptured
	}
	limit := int(p.commits.MaxBatchBytes[topic])
	// A key that leaves no room for the outcome gives way to the order id: a
	// flush must not fail by it.
	for _, key := range [][]byte{r.Key, nil} {
		m, err := v.Outcome.Encode(key, p.conf.Mode)
		if err != nil {
			return settlement{}, err
		}
		if recordSize(m.Key, m.Value, nil)+outcomeHeaders <= limit {
			return settle(topic, kind, r.Offset, m), nil
		}
	}
	return settlement{}, fmt.Errorf("the outcome of event %s is larger than topic %q takes (%d bytes): raise its max.message.bytes", e.ID, topic, limit)
}

// outcomeHeaders is what the headers of an outcome take at most, in bytes.
const outcomeHeaders = 4096

func recordSize(key, value []byte, headers []kgo.RecordHeader) int {
	size := recordOverhead + len(key) + len(value)
	for _, h := range headers {
		size += len(h.Key) + len(h.Value) + 10
	}
	return size
}

// The kinds of settlement, as metrics name them.
const (
	kindCaptured = "captured"
	kindRejected = "rejected"
	kindParked   = "parked"
)

func settle(topic, kind string, offset int64, m event.Message) settlement {
	s := settlement{topic: topic, kind: kind, offset: offset, key: m.Key, value: m.Value}
	for _, h := range m.Headers {
		s.headers = append(s.headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return s
}

func (p *Pipeline) parkInvalid(ctx context.Context, r *kgo.Record, invalid *event.InvalidError) settlement {
	return p.park(ctx, r, "", &event.Parking{Reason: event.ParkInvalidEvent, Detail: invalid.Error()})
}

// park writes a record for the parked topic. One that the topic would not take
// is parked as its position, its size and its digest: a flush must not fail by
// it, and the record itself is where it was.
func (p *Pipeline) park(ctx context.Context, r *kgo.Record, eventID string, parking *event.Parking) settlement {
	at := event.Position{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}
	input := messageOf(r)
	if recordSize(r.Key, r.Value, r.Headers) > int(p.commits.MaxBatchBytes[p.conf.Topics.Parked]) {
		input = event.Digest(input)
	}
	p.conf.Log.LogAttrs(ctx, slog.LevelWarn, "record parked", slog.String("event_id", eventID),
		slog.String("reason", string(parking.Reason)), slog.String("detail", parking.Detail),
		slog.String("topic", r.Topic), slog.Int64("partition", int64(r.Partition)), slog.Int64("offset", r.Offset))
	return settle(p.conf.Topics.Parked, kindParked, r.Offset, event.EncodeParked(input, at, parking))
}
