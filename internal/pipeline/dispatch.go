package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
)

// dispatch begins captures while there is room.
func (o *owner) dispatch() {
	for o.inFlight < o.p.conf.MaxInFlight {
		it := o.readyNext()
		if it == nil {
			break
		}
		it.inFlight = true
		it.part.inFlight++
		o.inFlight++
		o.captures.Go(func() { o.capture(it, it.part.ctx, it.part.giveUp, it.record, it.event) })
	}
	o.p.conf.Metrics.capturing(o.inFlight)
}

// capture runs outside the owner's goroutine; it is given what it may read.
func (o *owner) capture(it *item, ctx context.Context, giveUp <-chan struct{}, r *kgo.Record, e *event.ReadyToCapture) { //nolint:revive // context-as-argument: it belongs to the item
	verdict, err := o.p.capturer.Capture(ctx, e, giveUp)
	m := captured{it: it}
	if err == nil {
		m.settlement, err = o.p.settlementOf(r, verdict)
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

// recordLimits are the largest records that the topics take, in bytes.
type recordLimits struct{ parked, all int32 }

// recordOverhead is what a record takes beside its key, value and headers, at
// most: batch header, lengths, and the parked_* headers.
const recordOverhead = 4096

// settlementOf writes a verdict.
func (p *Pipeline) settlementOf(r *kgo.Record, v event.Verdict) (settlement, error) {
	if v.Parking != nil {
		return p.park(r, v.Parking), nil
	}
	if v.Outcome == nil {
		return settlement{}, fmt.Errorf("the verdict on %s/%d@%d is empty", r.Topic, r.Partition, r.Offset)
	}
	m, err := v.Outcome.Encode(r.Key, p.conf.Mode)
	if err != nil {
		return settlement{}, err
	}
	topic, kind := p.conf.Topics.Rejected, kindRejected
	if v.Outcome.Type == event.TypeCaptured {
		topic, kind = p.conf.Topics.Captured, kindCaptured
	}
	return settle(topic, kind, r.Offset, m), nil
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

func (p *Pipeline) parkInvalid(r *kgo.Record, invalid *event.InvalidError) settlement {
	return p.park(r, &event.Parking{Reason: event.ParkInvalidEvent, Detail: invalid.Error()})
}

// park writes a record for the parked topic. One that the topic would not take
// is parked as its position, its size and its digest: a flush must not fail by
// it, and the record itself is where it was.
func (p *Pipeline) park(r *kgo.Record, parking *event.Parking) settlement {
	at := event.Position{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}
	input := messageOf(r)
	size := recordOverhead + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		size += len(h.Key) + len(h.Value) + 10
	}
	if size > int(p.limits.parked) {
		sum := sha256.Sum256(r.Value)
		input = event.Message{Headers: []event.Header{
			{Key: "parked_value_bytes", Value: []byte(strconv.Itoa(len(r.Value)))},
			{Key: "parked_value_sha256", Value: []byte(hex.EncodeToString(sum[:]))},
		}}
	}
	p.conf.Log.Warn("record parked", "reason", parking.Reason, "detail", parking.Detail,
		"topic", r.Topic, "partition", r.Partition, "offset", r.Offset)
	return settle(p.conf.Topics.Parked, kindParked, r.Offset, event.EncodeParked(input, at, parking))
}
