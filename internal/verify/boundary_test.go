package verify_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/mercadopago"
	"payment-capture/internal/verify"
)

// in returns a change that puts a record into a partition.
func in(partition int32) func(*kgo.Record) {
	return func(r *kgo.Record) { r.Partition = partition }
}

// TestCopiesAroundTheLastStableOffset: of two copies of an outcome, a parked record
// or a decision, one lies below the last stable offset at the start of the run and
// one at or above it. The first one is certain, wherever it lies.
func TestCopiesAroundTheLastStableOffset(t *testing.T) {
	t.Parallel()
	nobody := func(w *world) *event.ReadyToCapture {
		e := *w.send(order{id: "e1"}).event
		w.process(sent{event: &e}, event.TypeCaptured)
		e.ID, e.OrderID, e.ExternalReference = "nobody", "order-nobody", "order-nobody"
		return &e
	}
	for name, test := range map[string]struct {
		write func(w *world, e *event.ReadyToCapture, partition int32)
		want  verify.Kind
	}{
		"outcomes": {func(w *world, e *event.ReadyToCapture, partition int32) {
			w.publish(outcomeOf(e, event.TypeCaptured), in(partition))
		}, verify.OutcomeWithoutEvent},
		"parked records": {func(w *world, e *event.ReadyToCapture, partition int32) {
			r := &kgo.Record{Topic: input, Offset: 999, Value: order{id: e.ID}.value(w.t), Timestamp: noon}
			w.park(r, event.ParkInfo{Reason: event.ParkTooOld}, in(partition))
		}, verify.OutcomeWithoutEvent},
		"decisions": {func(w *world, e *event.ReadyToCapture, partition int32) {
			w.decide(e.ID, event.Decision{Result: event.Result{Outcome: outcomeOf(e, event.TypeCaptured)}}, in(partition))
		}, verify.LedgerWithoutEvent},
	} {
		for _, at := range []struct {
			name          string
			certain, open int32 // partitions of the two copies
			first         bool  // the open one is the first record at the last stable offset
		}{
			{"one partition, the first one at the offset", 0, 0, true},
			{"one partition, some records on", 0, 0, false},
			{"the certain one in the earlier partition", 0, 1, true},
			{"the certain one in the later partition", 1, 0, true},
		} {
			t.Run(name+", "+at.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.clean(3)
				e := nobody(w)
				w.commit()
				test.write(w, e, at.certain)
				client := w.transaction()
				w.within(client, func() {
					if !at.first {
						other := *e
						other.ID, other.OrderID, other.ExternalReference = "another", "order-another", "order-another"
						test.write(w, &other, at.open)
					}
					test.write(w, e, at.open)
				})
				w.onFetch(func() { w.end(client, kgo.TryCommit) })
				found, _ := w.expect(want{test.want, "nobody"})
				if len(found) == 1 && len(found[0].Records) < 1 {
					t.Errorf("it names %q", found[0].Records)
				}
			})
			t.Run(name+", "+at.name+", both at or above", func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.clean(3)
				e := nobody(w)
				w.commit()
				client := w.transaction()
				w.within(client, func() {
					test.write(w, e, at.certain)
					test.write(w, e, at.open)
				})
				w.onFetch(func() { w.end(client, kgo.TryCommit) })
				w.expect()
			})
		}
	}
}

// TestDecisionOfAFlushUnderWay: a decision above the last stable offset may replace
// one below it. What is not in the topics for the newer one may still come.
func TestDecisionOfAFlushUnderWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(3)
	s := w.send(order{id: "e1"})
	p := event.ParkInfo{Reason: event.ParkUndecided, Detail: "d", FirstAttempt: noon, Tries: 3}
	w.park(s.record, p)
	w.decideParked("e1", p, noon)
	w.commit()
	client := w.transaction()
	o := outcomeOf(s.event, event.TypeCaptured)
	w.within(client, func() { w.decideAs(s.event, o) })
	w.onFetch(func() {
		w.within(client, func() { w.publish(o) })
		w.end(client, kgo.TryCommit)
	})
	w.expect()
}

// TestNamesThatBeginWithOthers: payments, references and events are compared as a
// whole, also where one is the beginning of another.
func TestNamesThatBeginWithOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(3)
	for i, name := range []string{"1", "10", "100", "1000", "1-", "01"} {
		s := w.send(order{id: name, order: "order-" + name, reference: "reference-" + name, partition: int32(i % 3)})
		o := outcomeOf(s.event, event.TypeCaptured)
		o.PaymentID = name
		w.publish(o)
		w.decideAs(s.event, o)
	}
	missing := w.send(order{id: "100000"})
	w.attempt("10000") // of no event
	w.commit()
	found, sum := w.expect(want{verify.LedgerWithoutEvent, "10000"}, want{verify.MissingOutcome, "100000"})
	if sum.Events() != 10 || !strings.Contains(found[1].Records[0], fmt.Sprintf("@%d", missing.record.Offset)) {
		t.Errorf("%d events, found %+v", sum.Events(), found)
	}
}

// TestPaymentThatBeginsWithAnothersID: a payment that a search finds for a parked
// event belongs to another event only if that one has this payment, not one whose id
// begins with it, or with which it begins.
func TestPaymentThatBeginsWithAnothersID(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		others []string
		want   []want
	}{
		"the same":              {[]string{"payment-1"}, nil},
		"a longer one":          {[]string{"payment-10"}, []want{{verify.APIPaid, "parked"}}},
		"a shorter one":         {[]string{"payment-"}, []want{{verify.APIPaid, "parked"}}},
		"the same among others": {[]string{"payment-", "payment-1", "payment-10"}, nil},
		"longer and shorter":    {[]string{"payment-", "payment-10", "payment-0"}, []want{{verify.APIPaid, "parked"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for i, payment := range test.others {
				s := w.send(order{id: fmt.Sprint("other-", i)})
				o := outcomeOf(s.event, event.TypeCaptured)
				o.PaymentID = payment
				w.publish(o)
				w.decideAs(s.event, o)
			}
			s := w.send(order{id: "parked"})
			p := event.ParkInfo{Reason: event.ParkUndecided, Detail: "d", FirstAttempt: noon, Tries: 3}
			w.park(s.record, p)
			w.decideParked("parked", p, noon.Add(time.Second))
			w.commit()
			w.conf.API = &verify.APIConfig{Rate: 1000, Search: true, API: payments{found: "payment-1"}}
			found, sum := w.expect(test.want...)
			if len(found) == 1 && found[0].PaymentID != "payment-1" {
				t.Errorf("payment %s", found[0].PaymentID)
			}
			if sum.Differences() != int64(len(test.want)) {
				t.Errorf("%d differences", sum.Differences())
			}
		})
	}
}

// payments is an API that has every payment, and finds one.
type payments struct{ found string }

// Get implements [verify.API].
func (payments) Get(context.Context, mercadopago.Request, string) mercadopago.Answer {
	return mercadopago.Answer{Meaning: mercadopago.Captured, Read: true, Sent: true}
}

// Find implements [verify.API].
func (p payments) Find(context.Context, mercadopago.Request, time.Time) mercadopago.Found {
	return mercadopago.Found{Searched: true, Calls: 1, Payments: []mercadopago.Answer{
		{Meaning: mercadopago.Captured, Read: true, Sent: true, Payment: &mercadopago.Payment{ID: p.found, Status: "approved"}},
	}}
}
