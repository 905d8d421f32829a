//go:build synctests

package kafka

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/kafka/txnrecovery"
	"payment-capture/internal/kafkatest"
)

// hang makes the last transaction that a Committer committed hang in a partition.
func (w *world) hang(c *Committer, partition int32) *kafkatest.HangingTransaction {
	w.t.Helper()
	id, epoch, err := c.client.ProducerID(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	h := &kafkatest.HangingTransaction{
		TransactionalID: testTxID, ProducerID: id, ProducerEpoch: epoch - 1, Topic: testOut,
		Partition: partition,
	}
	w.broker.Hang(h)
	return h
}

// wantCommitted fails the test unless one transaction that wrote nothing committed h.
func wantCommitted(t *testing.T, h *kafkatest.HangingTransaction) {
	t.Helper()
	if commits, writes := h.Completed(); !slices.Equal(commits, []bool{true}) || writes > 0 {
		t.Errorf("completed by %v (true: a commit) after %d writes, want one commit and no writes", commits, writes)
	}
}

// TestCommitAfterHangingTransaction: a restarted broker holds the rest of the
// transaction before. The next one must not reach that broker until the rest is
// committed, because its abort would abort it too.
func TestCommitAfterHangingTransaction(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		member, c := w.member(), w.committer()
		if err := c.Commit(t.Context(), batch(member, "one", 1)); err != nil {
			t.Fatal(err)
		}
		h := w.hang(c, 0)
		var once sync.Once
		w.wire.at(func(key int16) interruption {
			v := pass
			if key == kmsg.Produce.Int16() {
				once.Do(func() { v = cutBefore })
			}
			return v
		})
		if err := c.Commit(t.Context(), batch(member, "two", 2)); !errors.Is(err, ErrNotCommitted) || !errors.Is(err, txnrecovery.ErrHanging) {
			t.Fatalf("error %v, want ErrNotCommitted because of the hanging transaction", err)
		}
		w.commitsAfter(c, member, "one")
		wantCommitted(t, h)
	})
}

// TestReinitialise: an idle Committer completes its hanging transaction and goes on.
func TestReinitialise(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		member, c := w.member(), w.committer()
		if err := c.Commit(t.Context(), batch(member, "one", 1)); err != nil {
			t.Fatal(err)
		}
		h := w.hang(c, 1)
		if err := c.Reinitialise(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantCommitted(t, h)
		w.commitsAfter(c, member, "one")
		c.Close()
		if err := c.Reinitialise(t.Context()); err == nil {
			t.Error("a closed Committer was opened again")
		}
	})
}
