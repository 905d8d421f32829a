//go:build synctests

package ledger

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// begin writes records in a transaction, and returns a function that ends it.
func (w *world) begin(id string, rs ...*kgo.Record) (end func(commit kgo.TransactionEndTry)) {
	w.t.Helper()
	cl := w.client(kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := cl.BeginTransaction(); err != nil {
		w.t.Fatal(err)
	}
	if err := cl.ProduceSync(w.t.Context(), rs...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
	return func(commit kgo.TransactionEndTry) {
		w.t.Helper()
		if err := cl.EndTransaction(w.t.Context(), commit); err != nil {
			w.t.Fatal(err)
		}
	}
}

// caughtUpTo waits until the store has every record of a partition, although transactions
// may be open.
func (w *world) caughtUpTo(l *Ledger, partition int32) {
	w.t.Helper()
	for range 1000 {
		if positionsOf(w.t, l.store)[partition].Next == w.end(partition) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Fatalf("partition %d is not read: %v of %d; health %+v", partition, positionsOf(w.t, l.store), w.end(partition), l.Health())
}

// An open transaction of another producer delays no attempt.
func TestAttemptDuringOpenTransactions(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		a, b := w.started("a"), w.started("b")
		at := partitionOf("o1")
		end := w.begin("other", w.decision(at, "e9", decided(t, "captured", "o1", "e9")))
		defer end(kgo.TryCommit)
		time.Sleep(time.Second)
		began := time.Now()
		w.attempts(w.claims(a, "e1", "o1", owning(1)), attemptUnder("o1", 5, 1))
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("it took %s", took)
		}
		w.caughtUpTo(b, at)
		w.knows(b, "e1", known{attempted: 5})
		w.ahead(w.claims(b, "e2", "o1", owning(2)), "e1")
		w.knows(b, "e9", known{})
	})
}

// The records of a transaction count when it is committed, and those of one that is
// aborted never do, whatever other transactions do in the partition meanwhile.
func TestTransactionsCountAtTheirEnd(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		l := w.started("a")
		at := partitionOf("o1")
		w.by("x", "e1", 7)
		w.by("x", "e2", 7)
		commit := w.begin("1", w.decision(at, "e1", decided(t, "captured", "o1", "e1")), attemptRecord(at, "e1", "x", nil))
		abort := w.begin("2", w.decision(at, "e2", decided(t, "captured", "o1", "e2")), attemptRecord(at, "e2", "x", nil))
		w.commits("rejected", "o1", "e3")
		open := func() {
			t.Helper()
			w.caughtUpTo(l, at)
			w.knows(l, "e1", known{attempted: 5})
			w.knows(l, "e2", known{attempted: 5})
			w.knows(l, "e3", known{decided: "rejected"})
		}
		open()
		for range 2 { // it begins in the middle of the transactions
			l.mu.RLock()
			opened := l.store
			l.mu.RUnlock()
			if p := positionsOf(t, opened)[at]; p.From != 2 || p.Next != w.end(at) {
				t.Errorf("position %+v, want it to begin at the first open transaction", p)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = w.ledger("a")
			if err := l.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
		}
		defer l.Close()
		w.caughtUpTo(l, at)
		if got := owners(l, "e1"); len(got) != 1 {
			t.Errorf("open attempts of %v", got)
		}
		abort(kgo.TryAbort)
		commit(kgo.TryCommit)
		for _, l := range []*Ledger{l, w.started("b")} {
			w.caughtUp(l)
			w.knows(l, "e1", known{decided: "captured"})
			w.knows(l, "e2", known{attempted: 5})
			w.knows(l, "e3", known{decided: "rejected"})
		}
	})
}

// What is read again after a restart brings nothing back.
func TestNothingComesBackAfterARestart(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		l := w.started("a")
		at := partitionOf("o1")
		end := w.begin("1", w.decision(at, "e9", decided(t, "captured", "o1", "e9")))
		w.by("x", "e1", 7)
		w.withdrawnBy("x", "e1")
		w.by("x", "e2", 7)
		w.commits("rejected", "o1", "e2")
		w.by("x", "e3", 7)
		w.caughtUpTo(l, at)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = w.ledger("a")
		if err := l.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		time.Sleep(5 * time.Second)
		end(kgo.TryCommit)
		w.caughtUp(l)
		w.knows(l, "e1", known{})
		w.knows(l, "e2", known{decided: "rejected"})
		w.knows(l, "e3", known{attempted: 5})
		w.knows(l, "e9", known{decided: "captured"})
	})
}
