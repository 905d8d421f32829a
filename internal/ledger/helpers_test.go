package ledger

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/ledger/entry"
	"payment-capture/internal/money"
)

const (
	testTopic      = "ledger"
	testPartitions = 3
)

func amountOf(t testing.TB, text string) money.Amount {
	t.Helper()
	a, err := money.Parse(text, "MXN")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func aTime(ms int64) time.Time { return time.UnixMilli(1_795_000_000_000 + ms).UTC() }

func attemptForTest() event.Attempt {
	return event.Attempt{First: aTime(1), Body: event.FingerprintOf([]byte("b")), Encoding: 1, Account: "main", Reference: "o1", OrderID: "o1"}
}

func attemptAt(ms int64) event.Attempt {
	a := attemptForTest()
	a.First = time.UnixMilli(ms).UTC()
	return a
}

// attemptUnder returns an attempt at a time under a reference, from a partition of the input.
func attemptUnder(reference string, ms int64, input int32) event.Attempt {
	a := attemptAt(ms)
	a.Reference, a.OrderID, a.Input = reference, reference, input
	return a
}

func decisionsForTest(t testing.TB) map[string]*event.Decision {
	t.Helper()
	captured := &event.Outcome{
		Type: event.TypeCaptured, Subject: "o1", Time: aTime(7), EventID: "e1", OrderID: "o1",
		Amount: amountOf(t, "700.50"), ExternalReference: "o1", PaymentID: "10458724", CapturedAt: aTime(6),
		Transactions: []event.Transaction{{ID: "1", Status: "approved", StatusDetail: "accredited", PaymentMethod: "visa", Amount: "700.50"}},
	}
	rejected := &event.Outcome{
		Type: event.TypeRejected, Subject: "o1", Time: aTime(7), EventID: "e1", OrderID: "o1", Amount: amountOf(t, "1.00"),
		ExternalReference: "another", Reason: "cc_rejected_high_risk", Category: event.CategoryFraud, Retry: event.RetryNever,
	}
	another := attemptForTest()
	another.Reference = "another"
	return map[string]*event.Decision{
		"captured": {Result: event.Result{Outcome: captured}, At: aTime(9), Attempt: attemptForTest()},
		"rejected": {Result: event.Result{Outcome: rejected}, At: aTime(9), Attempt: another},
		"parked": {
			Result: event.Result{ParkInfo: &event.ParkInfo{Reason: event.ParkUndecided, Detail: "d", FirstAttempt: aTime(1)}},
			At:     aTime(9), Attempt: attemptForTest(),
		},
	}
}

// decided returns a decision on an event under a reference.
func decided(t testing.TB, which, reference, id string) *event.Decision {
	t.Helper()
	d := decisionsForTest(t)[which]
	d.Attempt.Reference, d.Attempt.OrderID = reference, reference
	if d.Outcome != nil {
		d.Outcome.EventID, d.Outcome.OrderID, d.Outcome.ExternalReference = id, reference, reference
	}
	return d
}

// partitionOf returns the partition of a reference.
func partitionOf(reference string) int32 { return entry.Partition(reference, "", testPartitions) }

func decisionRecord(t testing.TB, partition int32, id string, d *event.Decision) *kgo.Record {
	t.Helper()
	value, err := entry.EncodeDecision(d)
	if err != nil {
		t.Fatal(err)
	}
	return &kgo.Record{Topic: testTopic, Partition: partition, Key: entry.DecisionKey(id), Value: value}
}

// attemptRecord returns the record of an attempt, or of its withdrawal.
func attemptRecord(partition int32, id, owner string, a *event.Attempt) *kgo.Record {
	r := &kgo.Record{Topic: testTopic, Partition: partition, Key: entry.AttemptKey(id, owner)}
	if a != nil {
		r.Value = entry.EncodeAttempt(*a)
	}
	return r
}

// offline returns a ledger that follows no topic, and what applies records to it.
func offline(t testing.TB, fs vfs.FS, dir string) (*Ledger, *applier) {
	t.Helper()
	l := New(Config{Topic: testTopic, Dir: dir, FS: fs})
	l.partitions = testPartitions
	if err := l.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, l) })
	if err := l.resetClaims(l.store); err != nil {
		t.Fatal(err)
	}
	l.availability.restored()
	return l, newApplier(l, l.store)
}

func closeStore(t testing.TB, l *Ledger) {
	t.Helper()
	if l.store == nil {
		return
	}
	if err := l.store.Close(); err != nil {
		t.Error(err)
	}
	l.store = nil
}

// fetched returns records as one fetch has them.
func fetched(records ...*kgo.Record) kgo.Fetches {
	byPartition := make(map[int32][]*kgo.Record)
	for _, r := range records {
		byPartition[r.Partition] = append(byPartition[r.Partition], r)
	}
	topic := kgo.FetchTopic{Topic: testTopic}
	for partition, rs := range byPartition {
		topic.Partitions = append(topic.Partitions, kgo.FetchPartition{Partition: partition, Records: rs})
	}
	return kgo.Fetches{{Topics: []kgo.FetchTopic{topic}}}
}
