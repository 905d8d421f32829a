//go:build synctests

package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka/txnrecovery"
)

func TestFollowsTheTopic(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.events(20)
		l := w.started("a")
		for _, id := range []string{"e0", "e7", "e19"} {
			w.knows(l, id, known{decided: "captured"})
		}
		w.knows(l, "never", known{})
		w.plain(w.attempt(1, "later", attemptAt(5)))
		w.caughtUp(l)
		w.knows(l, "later", known{attempted: 5})
		w.transaction(kgo.TryAbort, w.decision(1, "later", decisionsForTest(t)["rejected"]))
		w.caughtUp(l)
		w.knows(l, "later", known{attempted: 5})
		if h := l.Health(); h.State != stateFollowing || h.Behind != 0 || h.Restore != 1 || h.Reason != "" || h.Read == 0 {
			t.Errorf("health %+v", h)
		}
	})
}

// A restart reads what is new, and nothing twice.
func TestRestartReadsOn(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.events(30)
		l := w.started("a")
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = w.started("a")
		if h := l.Health(); h.Read != 0 {
			t.Errorf("it read %d records again", h.Read)
		}
		w.knows(l, "e29", known{decided: "captured"})
		w.transaction(kgo.TryCommit, w.decision(0, "new", decisionsForTest(t)["parked"]))
		w.caughtUp(l)
		w.knows(l, "new", known{decided: "parked"})
		if h := l.Health(); h.Read != 2 {
			t.Errorf("it read %d records, want the decision and its marker", h.Read)
		}
	})
}

// CatchUp waits for the end of a transaction that was open when it was called.
func TestCatchUpWaitsForOpenTransactions(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		l := w.started("a")
		if err := w.writer.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := w.writer.ProduceSync(t.Context(), w.decision(2, "e1", decisionsForTest(t)["captured"])).FirstErr(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := l.CatchUp(ctx); err == nil {
			t.Fatal("it says that it has caught up while a transaction is open")
		}
		done := make(chan error, 1)
		go func() { done <- l.CatchUp(t.Context()) }()
		synctest.Wait()
		if err := w.writer.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		w.knows(l, "e1", known{decided: "captured"})
	})
}

// A transaction that no time-out ends is completed; the reason for the wait is shown
// until then.
func TestTransactionThatStaysOpen(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		l := w.ledger("a")
		writer := w.client(kgo.TransactionalID("hangs"), kgo.TransactionTimeout(10*time.Minute), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		producer, _, err := writer.ProducerID(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var since []time.Duration
		l.conf.EndHanging = func(ctx context.Context, id int64, openFor time.Duration) error {
			if id != producer {
				t.Errorf("producer id %d, want %d", id, producer)
			}
			if since = append(since, openFor); openFor < 2*txnrecovery.HangingAfter {
				return errors.New("planted")
			}
			return writer.EndTransaction(ctx, kgo.TryCommit)
		}
		if err := l.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		w.caughtUp(l)
		if err := writer.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := writer.ProduceSync(t.Context(), w.decision(2, "e1", decisionsForTest(t)["captured"])).FirstErr(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		reasonAt := make(chan string, 1)
		time.AfterFunc(txnrecovery.HangingAfter+5*time.Second, func() { reasonAt <- l.Health().Reason })
		w.caughtUpWithin(l, 10*time.Minute)
		if took := time.Since(began); took < 2*txnrecovery.HangingAfter || took > 3*txnrecovery.HangingAfter {
			t.Errorf("it took %v", took)
		}
		if since[0] < txnrecovery.HangingAfter {
			t.Errorf("it was taken for hanging after %v", since[0])
		}
		reason := <-reasonAt
		for _, want := range []string{"partition 2", testTopic, "offset 0", fmt.Sprint("producer id ", producer), "planted"} {
			if !strings.Contains(reason, want) {
				t.Errorf("%q does not say %q", reason, want)
			}
		}
		w.knows(l, "e1", known{decided: "captured"})
	})
}

func TestUnderAReference(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		ds := decisionsForTest(t)
		w.transaction(kgo.TryCommit, w.decision(0, "e1", ds["captured"]), w.decision(1, "e2", ds["rejected"]), w.decision(1, "e3", ds["parked"]))
		l := w.started("a")
		find := func(reference string) string {
			t.Helper()
			found, err := l.Under(t.Context(), event.Charge{Reference: reference})
			if err != nil {
				t.Fatal(err)
			}
			var shown []string
			for _, k := range found {
				how := knownOf(k.History).decided
				if k.Open() != nil {
					how += "?"
				}
				shown = append(shown, k.EventID+" "+how)
			}
			return strings.Join(shown, ", ")
		}
		const inTopic = "e1 captured, e3 parked?"
		if got := find("o1"); got != inTopic {
			t.Errorf("under o1: %s", got)
		}
		if got := find("another"); got != "e2 rejected" {
			t.Errorf("under another: %s", got)
		}
		for _, none := range []string{"of none", "o", "o10", "anothe", ""} { // nor do others begin with it, or it with others
			if got := find(none); got != "" {
				t.Errorf("under %q, a reference of none: %s", none, got)
			}
		}
		l.AddPending("e9", decided(t, "captured", "o1", "e9"))
		if got := find("o1"); got != inTopic+", e9 captured" {
			t.Errorf("with what is remembered: %s", got)
		}
		l.DropPending("e9")
		if got := find("o1"); got != inTopic {
			t.Errorf("after it was forgotten: %s", got)
		}
		other := w.started("b")
		claim := w.claims(other, "e4", "o1", alone())
		if err := claim.Attempt(t.Context(), attemptAt(1)); err != nil {
			t.Fatal(err)
		}
		w.caughtUp(l)
		for _, of := range []*Ledger{l, other} {
			l = of
			if got := find("o1"); got != inTopic+", e4 ?" {
				t.Errorf("with what another instance tried: %s", got)
			}
		}
		if err := claim.Withdraw(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.caughtUp(l)
		if got := find("o1"); got != inTopic {
			t.Errorf("after it was withdrawn: %s", got)
		}
	})
}

// What is committed is in the store at once, not at the end of a fetch.
func TestFollowsAtOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		l := w.started("a")
		// The first fetch may not have all partitions, and the others wait for its end.
		time.Sleep(time.Second)
		for i := range 10 {
			id := fmt.Sprint(i)
			w.transaction(kgo.TryCommit, w.decision(int32(i%testPartitions), id, decisionsForTest(t)["captured"]))
			start := time.Now()
			w.caughtUp(l)
			if took := time.Since(start); took > 100*time.Millisecond {
				t.Errorf("it took %s", took)
			}
			w.knows(l, id, known{decided: "captured"})
			time.Sleep(time.Minute)
		}
	})
}

// Instances that count the partitions differently do not see each other's attempts: a
// ledger whose topic gets more partitions halts, whether somebody asks or not.
func TestPartitionsAreAdded(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.events(3)
		l := w.started("a")
		if _, err := w.admin.CreatePartitions(t.Context(), 2, testTopic); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if reason := w.waits(l); !strings.Contains(reason, `topic "ledger" has 5 partitions, and had 3 at the start`) ||
			!strings.Contains(reason, "stop all instances, then start them") {
			t.Errorf("it says %q", reason)
		}
		claim := w.claims(l, "e9", "o9", alone())
		if err := claim.Attempt(t.Context(), attemptAt(1)); err == nil || !strings.Contains(err.Error(), "5 partitions") {
			t.Errorf("an attempt gave %v", err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		w.knows(w.started("a"), "e1", known{decided: "captured"})
	})
}

// The last records may be compacted away: there is nothing left to wait for.
func TestCompactedTail(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		parked := decisionsForTest(t)["parked"]
		for p := range int32(testPartitions) {
			w.transaction(kgo.TryCommit, w.decision(p, fmt.Sprint("first", p), parked))
		}
		w.events(30)
		for range 3 {
			w.plain(w.attempt(1, "w", attemptAt(2)))
			w.plain(w.withdrawal(1, "w"))
		}
		time.Sleep(48 * time.Hour) // so that tombstones go too
		w.broker.Fake.Compact()
		w.hideTail(1, 7)
		l := w.started("a")
		for i := range 30 {
			w.knows(l, fmt.Sprintf("e%d", i), known{decided: "captured"})
		}
		w.knows(l, "w", known{})
		w.knows(l, "first1", known{decided: "parked"})
		if h := l.Health(); h.Behind != 0 {
			t.Errorf("health %+v", h)
		}
	})
}

// A broker that is away is waited for.
func TestBrokerAwayForAWhile(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.events(3)
		l := w.started("a")
		away := w.cut(l)
		done := make(chan error, 1)
		go func() { done <- l.CatchUp(t.Context()) }()
		attempt := make(chan error, 1)
		go func() { attempt <- w.claims(l, "e5", "o1", alone()).Attempt(t.Context(), attemptAt(9)) }()
		time.Sleep(9 * time.Minute)
		select {
		case err := <-done:
			t.Fatalf("it caught up without a broker: %v", err)
		default:
		}
		if h := l.Health(); !strings.Contains(h.Reason, "attempt") {
			t.Errorf("health %+v, and an attempt waits", h)
		}
		w.knows(l, "e0", known{decided: "captured"}) // what is known is known
		away()
		if err := <-attempt; err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		w.caughtUp(l)
		w.knows(w.started("b"), "e5", known{attempted: 9})
		time.Sleep(time.Minute)
		if h := l.Health(); h.State != stateFollowing || h.Reason != "" {
			t.Errorf("health %+v", h)
		}
	})
}

// A ledger is empty until something was attempted, even if that is withdrawn.
func TestEmpty(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		l := w.started("a")
		w.caughtUp(l)
		if empty, err := l.Empty(t.Context()); err != nil || !empty {
			t.Errorf("a new ledger: %t, %v", empty, err)
		}
		w.plain(w.attempt(1, "e1", attemptAt(5)))
		w.caughtUp(l)
		if empty, err := l.Empty(t.Context()); err != nil || empty {
			t.Errorf("after an attempt: %t, %v", empty, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Empty(t.Context()); err == nil {
			t.Error("a closed ledger says that it is empty, or not")
		}
	})
}
