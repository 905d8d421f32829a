//go:build synctests

package ledger

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
)

// Parked records are counted once the ledger is read, and not any more once they have an
// outcome.
func TestParkedRecordsAreCounted(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		expired := decided(t, "parked", "o2", "e2")
		expired.ParkInfo.Reason, expired.Attempt.Amount = event.ParkKeyExpired, amountOf(t, "700.50")
		undecided := decided(t, "parked", "o3", "e3")
		undecided.Attempt.Amount = amountOf(t, "0.25")
		w.transaction(kgo.TryCommit, w.decision(0, "e1", decided(t, "parked", "o1", "e1")), w.decision(0, "e2", expired),
			w.decision(1, "e3", undecided), w.decision(1, "e4", decided(t, "captured", "o4", "e4")))
		l := w.ledger("a")
		if l.Parked() != nil {
			t.Error("something is counted before the ledger is read")
		}
		if err := l.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		w.caughtUp(l)
		want := &Parked{Records: map[event.ParkReason]int{}, Amounts: map[money.Currency]float64{"MXN": 700.75}}
		for _, reason := range event.ParkReasons() {
			want.Records[reason] = 0
		}
		want.Records[event.ParkKeyExpired], want.Records[event.ParkUndecided] = 1, 2
		time.Sleep(countParkedEvery)
		if diff := cmp.Diff(want, l.Parked()); diff != "" {
			t.Errorf("want (-), got (+):\n%s", diff)
		}
		w.transaction(kgo.TryCommit, w.decision(0, "e2", decided(t, "captured", "o2", "e2")))
		want.Records[event.ParkKeyExpired], want.Amounts["MXN"] = 0, 0.25
		time.Sleep(2 * countParkedEvery)
		if diff := cmp.Diff(want, l.Parked()); diff != "" {
			t.Errorf("after a capture, want (-), got (+):\n%s", diff)
		}
	})
}

// What makes the ledger stale is shown before it is.
func TestProblemsAreShown(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		l := w.started("a")
		present := func() (kinds []string) {
			for _, kind := range []string{"missing", "unreadable", "policy", "partitions", "stale", "disk", "write", "read", "open_transaction"} {
				if l.Problems()[kind] {
					kinds = append(kinds, kind)
				}
			}
			return kinds
		}
		if got := present(); len(got) > 0 || len(l.Problems()) != 9 {
			t.Errorf("problems %v of %d", got, len(l.Problems()))
		}
		slow := w.client(kgo.TransactionalID("slow"), kgo.TransactionTimeout(5*time.Minute), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err := slow.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		open := w.decision(0, "e1", decided(t, "captured", "o1", "e1"))
		if err := slow.ProduceSync(t.Context(), open).FirstErr(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if diff := cmp.Diff([]string{"read", "open_transaction"}, present()); diff != "" {
			t.Errorf("with an open transaction: %s", diff)
		}
		if u := l.Unread(); u < 30*time.Second {
			t.Errorf("unread for %s", u)
		}
		if err := slow.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := present(); len(got) > 0 || l.Unread() > 2*watchEvery {
			t.Errorf("afterwards: problems %v, unread for %s", got, l.Unread())
		}
	})
}
