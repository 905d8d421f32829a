package pipeline

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
	"payment-capture/internal/tracing"
)

// Without a tracer an event must cost nothing more.
func TestNoSpansNoAllocation(t *testing.T) {
	p := newTestPipeline(Config{Topics: Topics{Input: "orders"}}, nil)
	it := &item{
		polledRecord: polledRecord{event: &event.ReadyToCapture{ID: "e", TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}},
		part:         &partition{ownership: newOwnership(t.Context(), 0, "")},
	}
	batch := []polledPartition{{records: []polledRecord{it.polledRecord}}}
	f := flush{batch: kafka.Batch{Records: make([]*kgo.Record, 1)}}
	failed := errors.New("failed")
	if n := testing.AllocsPerRun(100, func() {
		endReceive(it.part.ctx, p.startReceive(t.Context(), 1), batch)
		span := p.startProcess(it)
		_ = tracing.Format(it.ctx)
		var c completion
		endProcess(span, &c, failed)
		_, span = p.startFlush(it.part.ctx, f)
		endFlush(span, failed)
		tracing.Observe(p.conf.Metrics.decideSeconds, 1, c.span)
	}); n != 0 {
		t.Errorf("%g allocations", n)
	}
}
