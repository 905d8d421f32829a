package verify_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/event"
	"payment-capture/internal/ledger/entry"
	"payment-capture/internal/verify"
)

// transaction begins a transaction, and returns a client that produces in it.
func (w *world) transaction(opts ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	client, err := w.conf.Kafka.NewClient(append(opts, kgo.TransactionalID("service/1"), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(client.Close)
	if err := client.BeginTransaction(); err != nil {
		w.t.Fatal(err)
	}
	return client
}

// within lets the world produce in a transaction.
func (w *world) within(client *kgo.Client, produce func()) {
	outside := w.client
	w.client = client
	produce()
	w.client = outside
}

func (w *world) end(client *kgo.Client, how kgo.TransactionEndTry) {
	w.t.Helper()
	if err := client.EndTransaction(w.t.Context(), how); err != nil {
		w.t.Fatal(err)
	}
}

// onFetch calls do once, when the topics are read: their ends are known then.
func (w *world) onFetch(do func()) {
	var once sync.Once
	w.broker.Fake.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		w.broker.Fake.KeepControl()
		once.Do(func() { go do() })
		return nil, nil, false
	})
}

// beforeFetch calls do once, before the first fetch is answered: the ends of the
// topics are known then.
func (w *world) beforeFetch(do func()) {
	var once sync.Once
	w.broker.Fake.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		w.broker.Fake.KeepControl()
		once.Do(func() { w.broker.Fake.SleepControl(do) })
		return nil, nil, false
	})
}

// TestRecordsBehindTheEndsAreNotRead: the first record behind an end came after the
// committed offsets were read.
func TestRecordsBehindTheEndsAreNotRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(3)
	w.commit()
	w.beforeFetch(func() {
		for n := range int32(3) {
			s := w.send(order{id: fmt.Sprint("behind-", n), partition: n})
			w.publish(outcomeOf(s.event, event.TypeCaptured), in(n))
		}
	})
	_, sum := w.expect()
	if sum.Events() != 3 || sum.Pending() != 0 {
		t.Errorf("%d events, %d under way", sum.Events(), sum.Pending())
	}
}

func TestAbortedDecisionsDoNotCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(3)
	s := w.send(order{id: "e1"})
	client := w.transaction()
	w.within(client, func() { w.process(s, event.TypeCaptured) })
	w.end(client, kgo.TryAbort)
	w.commit()
	w.expect(want{verify.MissingOutcome, "e1"})
}

// verify waits for the open transaction of an outcome: the topics' ends lie behind
// it.
func TestOpenTransactionsAreWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(3)
	s := w.send(order{id: "e1"})
	client := w.transaction()
	w.within(client, func() { w.process(s, event.TypeCaptured) })
	w.commit()
	w.onFetch(func() { w.end(client, kgo.TryCommit) })
	_, sum := w.expect()
	if sum.Events() != 4 || sum.Pending() != 0 {
		t.Errorf("%d events, %d under way", sum.Events(), sum.Pending())
	}
}

// Of a flush that is under way when the ends are taken, one part may lie below
// them and the other behind.
func TestFlushAcrossTheEndsIsUnderWay(t *testing.T) {
	t.Parallel()
	for name, parts := range map[string][2]func(*world, sent){
		"the decision first": {
			func(w *world, s sent) { w.decideAs(s.event, outcomeOf(s.event, event.TypeCaptured)) },
			func(w *world, s sent) { w.publish(outcomeOf(s.event, event.TypeCaptured)) },
		},
		"the outcome first": {
			func(w *world, s sent) { w.publish(outcomeOf(s.event, event.TypeCaptured)) },
			func(w *world, s sent) { w.decideAs(s.event, outcomeOf(s.event, event.TypeCaptured)) },
		},
		"the parked record first": {
			func(w *world, s sent) { w.park(s.record, event.ParkInfo{Reason: event.ParkTooOld}) },
			func(w *world, _ sent) { w.decideParked("e1", event.ParkInfo{Reason: event.ParkTooOld}, noon) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.clean(3)
			w.commit()
			s := w.send(order{id: "e1"})
			client := w.transaction()
			w.within(client, func() { parts[0](w, s) })
			w.onFetch(func() {
				w.within(client, func() { parts[1](w, s) })
				w.end(client, kgo.TryCommit)
			})
			w.expect()
			w.commit()
			w.expect()
		})
	}
}

func TestEndedByItsContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(3)
	client := w.transaction()
	w.within(client, func() { w.process(w.send(order{id: "e1"}), event.TypeCaptured) })
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	w.onFetch(func() { cancel(cause) })
	_, err := verify.Run(ctx, w.conf, func(verify.Finding) error { return nil })
	if !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	if left := entriesOf(t, w.conf.ScratchDir); len(left) > 0 {
		t.Errorf("the scratch directory still has %v", left)
	}
}

// The last records below an end can be gone: compacted away.
func TestEndThatWasCompactedAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(3)
	s := w.send(order{id: "e1"})
	w.process(s, event.TypeCaptured)
	for range 3 {
		w.produce(&kgo.Record{Topic: ledgers, Partition: 2, Key: entry.AttemptKey("e1", "owner"), Timestamp: time.Now().Add(-72 * time.Hour)})
	}
	w.commit()
	w.broker.Fake.Compact()
	w.expect()
}
