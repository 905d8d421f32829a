package pipeline

import (
	"context"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"payment-capture/internal/tracing"
)

// Spans, by OpenTelemetry's conventions for messaging: one for each poll with records
// (receive), for each record that is taken to a decision (process), and for each flush.
// If Config.Tracer is nil, none of this allocates.
//
// A span never has the content of a record, except the ids of a valid event.

// The attributes without a convention.
const (
	attrDecision  = attribute.Key("payment_capture.decision")
	attrReason    = attribute.Key("payment_capture.park_reason")
	attrOrderID   = attribute.Key("payment_capture.order_id")
	attrQueued    = attribute.Key("payment_capture.queued_seconds")
	attrPublished = attribute.Key("payment_capture.replayed")
)

// startReceive begins the span of a poll that returned. The wait for records is not a part
// of it, because it lasts as long as there are none.
func (p *Pipeline) startReceive(ctx context.Context, records int) trace.Span {
	if p.conf.Tracer == nil || records == 0 {
		return nil
	}
	_, span := p.conf.Tracer.Start(ctx, "poll "+p.conf.Topics.Input, trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindClient))
	if span.IsRecording() {
		span.SetAttributes(append(p.messagingAttributes("poll"), semconv.MessagingOperationTypeReceive,
			semconv.MessagingDestinationName(p.conf.Topics.Input), semconv.MessagingBatchMessageCount(records))...)
	}
	return span
}

// endReceive links the span of a poll with the spans of the producers, and its records with
// it.
func endReceive(ctx context.Context, span trace.Span, batch []polledPartition) {
	if span == nil {
		return
	}
	if received := tracing.Sampled(span); received != nil {
		for _, part := range batch {
			for i := range part.records {
				r := &part.records[i]
				r.received = received
				if r.event == nil {
					continue
				}
				if c := tracing.Parse(ctx, r.event.TraceParent); c.IsValid() {
					span.AddLink(trace.Link{SpanContext: c})
				}
			}
		}
	}
	span.End()
}

// startProcess begins the span of an item, which continues its producer's trace, and sets
// the item's context.
func (p *Pipeline) startProcess(it *item) trace.Span {
	it.ctx = it.part.ctx
	if p.conf.Tracer == nil {
		return nil
	}
	ctx := it.ctx
	if it.event != nil && it.event.TraceParent != "" {
		ctx = trace.ContextWithRemoteSpanContext(ctx, tracing.Parse(ctx, it.event.TraceParent))
	}
	var span trace.Span
	it.ctx, span = p.conf.Tracer.Start(ctx, "process "+p.conf.Topics.Input, trace.WithSpanKind(trace.SpanKindConsumer))
	if !span.IsRecording() {
		return span
	}
	span.SetAttributes(append(p.messagingAttributes("process"), semconv.MessagingOperationTypeProcess,
		semconv.MessagingDestinationName(p.conf.Topics.Input),
		semconv.MessagingDestinationPartitionID(strconv.Itoa(int(it.part.number))), semconv.MessagingKafkaOffset(int(it.offset)),
		attrQueued.Float64(time.Since(it.admittedAt).Seconds()))...)
	if it.event != nil {
		span.SetAttributes(semconv.CloudEventsEventID(it.event.ID), attrOrderID.String(it.event.OrderID))
	}
	if it.received != nil {
		span.AddLink(trace.Link{SpanContext: *it.received})
	}
	return span
}

// endProcess ends the span of an item, and lets its completion refer to it.
func endProcess(span trace.Span, c *completion, err error) {
	if span == nil {
		return
	}
	if span.IsRecording() {
		switch {
		case err != nil: // its text may have more than the fact
			span.SetAttributes(semconv.ErrorTypeKey.String("undecided"))
			span.SetStatus(codes.Error, "left undecided")
		case c.decision != "":
			c.span = tracing.Sampled(span)
			span.SetAttributes(attrDecision.String(c.decision), attrPublished.Bool(c.replayed))
			if c.entry != nil && c.entry.ParkInfo != nil {
				span.SetAttributes(attrReason.String(string(c.entry.ParkInfo.Reason)))
			}
		}
	}
	span.End()
}

// startFlush begins the span of a transaction, which links the spans of its records. A
// commit of offsets alone, once a second, has none.
func (p *Pipeline) startFlush(ctx context.Context, f flush) (context.Context, trace.Span) {
	if p.conf.Tracer == nil || len(f.batch.Records) == 0 {
		return ctx, nil
	}
	ctx, span := p.conf.Tracer.Start(ctx, "flush", trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindClient))
	if span.IsRecording() {
		span.SetAttributes(append(p.messagingAttributes("flush"), semconv.MessagingOperationTypeSend,
			semconv.MessagingBatchMessageCount(len(f.batch.Records)))...)
		for _, fp := range f.parts {
			for i := range fp.pending {
				if c := fp.pending[i].span; c != nil {
					span.AddLink(trace.Link{SpanContext: *c})
				}
			}
		}
	}
	return ctx, span
}

func endFlush(span trace.Span, err error) {
	if span == nil {
		return
	}
	if err != nil {
		span.SetAttributes(semconv.ErrorTypeKey.String("not_committed"))
		span.SetStatus(codes.Error, "not committed")
	}
	span.End()
}

func (p *Pipeline) messagingAttributes(operation string) []attribute.KeyValue {
	return append(make([]attribute.KeyValue, 0, 12), semconv.MessagingSystemKafka, semconv.MessagingOperationName(operation),
		semconv.MessagingConsumerGroupName(p.conf.Group), semconv.MessagingClientID(p.conf.Kafka.ClientID))
}
