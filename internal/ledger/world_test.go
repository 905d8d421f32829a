//go:build synctests

package ledger

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
	"payment-capture/internal/kafkatest"
	"payment-capture/internal/ledger/store"
)

// world is a fake cluster with a ledger's topic in virtual time.
type world struct {
	t      *testing.T
	broker *kafkatest.Broker
	kafka  kafka.Config
	admin  *kadm.Client
	wires  map[*Ledger]*wire // each ledger's way to the brokers
	fs     vfs.FS
	writer *kgo.Client // the flush's transactions
}

// inWorld runs a test in a bubble.
func inWorld(t *testing.T, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		disk.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 4096, TotalBytes: 8192, UsedBytes: 4096})
		w := &world{t: t, broker: kafkatest.Fake(t), fs: disk}
		w.kafka = kafka.Config{Brokers: w.broker.Addresses, ClientID: "test", Dial: w.broker.Dial, Log: slog.New(slog.DiscardHandler)}
		w.wires = make(map[*Ledger]*wire)
		w.admin = kadm.NewClient(w.client())
		w.createTopic()
		w.writer = w.client(kgo.TransactionalID("flush"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		test(w)
	})
}

func (w *world) client(opts ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	cl, err := w.kafka.NewClient(opts...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(cl.Close)
	return cl
}

func (w *world) createTopic() {
	w.t.Helper()
	if _, err := w.admin.CreateTopic(w.t.Context(), testPartitions, 1, map[string]*string{"cleanup.policy": new("compact")},
		testTopic); err != nil {
		w.t.Fatal(err)
	}
}

// ledger makes a ledger with a store of its own name; it is not started.
func (w *world) ledger(dir string) *Ledger {
	conf, way := w.kafka, &wire{dial: w.broker.Dial}
	conf.Dial = way.open
	l := New(Config{
		Kafka: conf, Topic: testTopic, Dir: dir, FS: w.fs,
		Log: slog.New(slog.NewTextHandler(testLog{w.t}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	w.wires[l] = way
	return l
}

// testLog shows what is logged where a test fails.
type testLog struct{ t *testing.T }

func (l testLog) Write(line []byte) (int, error) {
	l.t.Logf("%s %s", time.Now().Format("15:04:05.000"), line)
	return len(line), nil
}

// started returns a ledger that has caught up, and is closed with the test.
func (w *world) started(dir string) *Ledger {
	w.t.Helper()
	l := w.ledger(dir)
	if err := l.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := l.Close(); err != nil {
			w.t.Errorf("close the ledger: %v", err)
		}
	})
	w.caughtUp(l)
	return l
}

// caughtUp waits until a ledger has read all, a minute at most.
func (w *world) caughtUp(l *Ledger) {
	w.t.Helper()
	w.caughtUpWithin(l, time.Minute)
}

func (w *world) caughtUpWithin(l *Ledger, patience time.Duration) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if err := l.CatchUp(ctx); err != nil {
		w.t.Fatalf("catch up: %v; health %+v", err, l.Health())
	}
}

// waits checks that a halted ledger answers nothing, and returns its reason.
func (w *world) waits(l *Ledger) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	if h, err := l.Lookup(ctx, "e1"); err == nil {
		w.t.Errorf("it was answered %+v, and should have waited", h)
	}
	ctx, cancel = context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	if err := l.CatchUp(ctx); err == nil {
		w.t.Error("it says that it has caught up")
	}
	h := l.Health()
	if h.State != stateHalted {
		w.t.Errorf("health %+v, want it halted", h)
	}
	return h.Reason
}

// transaction writes records as a flush does.
func (w *world) transaction(commit kgo.TransactionEndTry, rs ...*kgo.Record) {
	w.t.Helper()
	if err := w.writer.BeginTransaction(); err != nil {
		w.t.Fatal(err)
	}
	if err := w.writer.ProduceSync(w.t.Context(), rs...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
	if err := w.writer.EndTransaction(w.t.Context(), commit); err != nil {
		w.t.Fatal(err)
	}
}

// plain writes records outside of a transaction.
func (w *world) plain(rs ...*kgo.Record) {
	w.t.Helper()
	cl := w.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer cl.Close()
	if err := cl.ProduceSync(w.t.Context(), rs...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

// other owns the attempts that tests write by themselves.
const other = "other"

func (w *world) decision(partition int32, id string, d *event.Decision) *kgo.Record {
	w.t.Helper()
	return decisionRecord(w.t, partition, id, d)
}

func (w *world) attempt(partition int32, id string, a event.Attempt) *kgo.Record {
	return attemptRecord(partition, id, other, &a)
}

func (w *world) withdrawal(partition int32, id string) *kgo.Record {
	return attemptRecord(partition, id, other, nil)
}

// alone is what a claim says that resumes nothing and has no rivals.
func alone() ClaimConfig { return ClaimConfig{Resumes: func(int32) bool { return false }} }

// claims claims an event until the test ends.
func (w *world) claims(l *Ledger, id, reference string, conf ClaimConfig) *Claim {
	c := l.Claim(id, reference, conf)
	w.t.Cleanup(c.Close)
	return c
}

// knows checks what a ledger knows of an event.
func (w *world) knows(l *Ledger, id string, want known) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	h, err := l.Lookup(ctx, id)
	if err != nil {
		w.t.Fatalf("look up %s: %v; health %+v", id, err, l.Health())
	}
	if got := knownOf(h); got != want {
		w.t.Errorf("of %s it knows %+v, want %+v", id, got, want)
	}
}

// known is a history in short.
type known struct {
	attempted int64 // when first; 0: not
	decided   string
}

func knownOf(h event.History) (k known) {
	if h.Attempt != nil {
		k.attempted = h.Attempt.First.UnixMilli()
	}
	if h.Decision != nil {
		switch rankOf(h.Decision) {
		case store.Captured:
			k.decided = "captured"
		case store.Rejected:
			k.decided = "rejected"
		case store.Parked:
			k.decided = "parked"
		}
	}
	return k
}

// events writes so many decisions as flushes do, each with its attempt before
// it.
func (w *world) events(n int) {
	w.t.Helper()
	d := decisionsForTest(w.t)["captured"]
	for i := range n {
		id, partition := fmt.Sprintf("e%d", i), int32(i%testPartitions)
		w.plain(w.attempt(partition, id, attemptAt(int64(1000+i))))
		w.transaction(kgo.TryCommit, w.withdrawal(partition, id), w.decision(partition, id, d))
	}
}

func (w *world) deleteTopic() {
	w.t.Helper()
	if _, err := w.admin.DeleteTopic(w.t.Context(), testTopic); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) setPolicy(policy string) {
	w.t.Helper()
	rs, err := w.admin.AlterTopicConfigs(w.t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "cleanup.policy", Value: &policy}},
		testTopic)
	if err != nil || rs[0].Err != nil {
		w.t.Fatal(err, rs)
	}
}
