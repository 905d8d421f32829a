package main

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/ledger/entry"
)

const currency = "MXN"

// eventID returns the id of the n-th event. It is as random as a UUID, because a
// sorted store writes sorted ids faster.
func eventID(n uint64) string {
	a, b := mix(n), mix(n^0x9e3779b97f4a7c15)
	return fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>52, b&0xffffffffffff)
}

// timedID returns the id of the n-th event as a UUIDv7: it begins with the time, so
// ids are in the order of the events.
func timedID(n uint64) string {
	const begin, perMillisecond = 1_767_323_045_678, 3 // ids of one moment are in no order
	at, b := begin+n/perMillisecond, mix(n)
	return fmt.Sprintf("%08x-%04x-7%03x-a%03x-%012x", at>>16, at&0xffff, b&0xfff, b>>52, b>>12&0xffffffffffff)
}

// mix is splitmix64: a bijection with random-looking results.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// orders configures the events of an input.
type orders struct {
	first      uint64 // number of the first event; a number is never used for two
	timed      bool   // ids are in the order of time; else random
	hotKeys    uint64 // orders that the events are spread over; 0: each has its own
	duplicates uint64 // one record in so many is a copy of an earlier one; 0: none
}

func (o orders) id(n uint64) string {
	if o.timed {
		return timedID(n)
	}
	return eventID(n)
}

func (o orders) orderOf(n uint64) string {
	if o.hotKeys > 0 {
		n = mix(n) % o.hotKeys
	}
	return fmt.Sprintf("order-%d", n)
}

// record returns the n-th record, with the topic left open.
func (o orders) record(n uint64) *kgo.Record {
	if o.duplicates > 0 && n%o.duplicates == o.duplicates-1 {
		// A copy of one of the last thousand, as an order service that sends
		// again would make.
		n -= 1 + mix(n)%min(n-o.first, 1000)
		if n%o.duplicates == o.duplicates-1 {
			n--
		}
	}
	id := o.first + n
	order := o.orderOf(id)
	return &kgo.Record{Key: []byte(order), Value: fmt.Appendf(nil,
		`{"specversion":"1.0","id":"%s","source":"/orders","type":"order.ready_to_capture","subject":"%s","time":"%s",`+
			`"datacontenttype":"application/json","data":{"order_id":"%s","amount":"%d.%02d","currency":"%s","description":"An order",`+
			`"external_reference":"%s","payer":{"token":"%016x%016x"}}}`,
		o.id(id), order, eventTime, order, 5+id%900, id%100, currency, order, mix(id+1), mix(id+2))}
}

// eventTime is the time of all events; no event is too old here.
const eventTime = "2026-01-02T03:04:05.678Z"

// produce writes the records that a function returns for the numbers from zero up
// to n.
func (b *broker) produce(ctx context.Context, n int, from func(uint64) ([]*kgo.Record, error)) error {
	client, err := newFiller(b.address)
	if err != nil {
		return err
	}
	defer client.Close()
	var once sync.Once
	var failed error
	fail := func(err error) { once.Do(func() { failed = err }) }
	for i := range n {
		records, err := from(uint64(i))
		if err != nil {
			return err
		}
		for _, r := range records {
			client.Produce(ctx, r, func(_ *kgo.Record, err error) {
				if err != nil {
					fail(err)
				}
			})
		}
	}
	if err := client.Flush(ctx); err != nil {
		return err
	}
	if failed != nil {
		return fmt.Errorf("fill the topics: %w", failed)
	}
	return nil
}

// fillLinger is short enough for a load that is paced.
const fillLinger = 2 * time.Millisecond

// newFiller returns a client that writes many records.
func newFiller(address string) (*kgo.Client, error) {
	return kgo.NewClient(kgo.SeedBrokers(address), kgo.ProducerLinger(fillLinger), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		kgo.MaxBufferedRecords(100_000), kgo.ProducerBatchCompression(kgo.NoCompression()))
}

// fill writes n events into an input topic.
func (b *broker) fill(ctx context.Context, topic string, n int, o orders) error {
	return b.produce(ctx, n, func(i uint64) ([]*kgo.Record, error) {
		r := o.record(i)
		r.Topic = topic
		return []*kgo.Record{r}, nil
	})
}

// fillDecided writes the decisions on so many events that were captured before into the
// ledger, and the first events into the input.
func (b *broker) fillDecided(ctx context.Context, t topics, events, entries int, o orders) error {
	return b.produce(ctx, max(events, entries), func(i uint64) ([]*kgo.Record, error) {
		r := o.record(i)
		e, err := event.Decode(event.Message{Key: r.Key, Value: r.Value})
		if err != nil {
			return nil, err
		}
		value, err := entry.EncodeDecision(decisionOn(e, o.first+i))
		if err != nil {
			return nil, err
		}
		decision := &kgo.Record{Topic: t.Ledger, Key: entry.DecisionKey(e.ID), Value: value}
		if i >= uint64(events) { //nolint:gosec // G115: it is not negative
			return []*kgo.Record{decision}, nil
		}
		r.Topic = t.Input
		return []*kgo.Record{r, decision}, nil
	})
}

// decisionOn returns the ledger's decision on a captured event.
func decisionOn(e *event.ReadyToCapture, n uint64) *event.Decision {
	at := time.UnixMilli(1_767_323_045_000).UTC()
	return &event.Decision{
		At: at,
		Attempt: event.Attempt{
			First: at, Event: e.Fingerprint(), Body: event.FingerprintOf([]byte(e.ID)), Encoding: 1, Reference: e.ExternalReference,
		},
		Result: event.Result{Outcome: &event.Outcome{
			Type: event.TypeCaptured, Subject: e.OrderID, Time: at, EventID: e.ID, OrderID: e.OrderID, Amount: e.Amount,
			ExternalReference: e.ExternalReference, PaymentID: fmt.Sprint(10_000_000 + n), CapturedAt: at,
			Transactions: []event.Transaction{{
				ID: fmt.Sprint(3_000_000_000 + n), Status: "approved", StatusDetail: "accredited", PaymentMethod: "visa", Amount: e.Amount.String(),
			}},
		}},
	}
}

// eventOf returns the event id in an outcome, of the service's or of a loop's.
func eventOf(value []byte) string {
	return string(between(value, `"event_id":"`, '"'))
}

func isReplayed(value []byte) bool { return bytes.Contains(value, []byte(`"replayed":true`)) }
