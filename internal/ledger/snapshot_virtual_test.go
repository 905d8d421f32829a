//go:build synctests

package ledger

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
)

// A snapshot returns what a lookup returns, for each of the events, whatever
// their order.
func TestSnapshotShowsWhatIsKnown(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.events(40)
		w.plain(w.attempt(1, "tried", attemptAt(7)), w.decision(0, "parked", decisionsForTest(t)["parked"]))
		l := w.started("a")
		ids := []string{"none", "tried", "parked", ""}
		for i := range 40 {
			ids = append(ids, fmt.Sprintf("e%d", 39-i), fmt.Sprintf("absent%d", i))
		}
		seen := l.Snapshot(ids)
		if len(seen) != len(ids) {
			t.Fatalf("%d snapshots of %d events", len(seen), len(ids))
		}
		for i, id := range ids {
			if !l.IsCurrent(id, seen[i].Version) {
				t.Errorf("the snapshot of %q does not hold", id)
			}
			w.knows(l, id, knownOf(seen[i].History))
		}
	})
}

// A snapshot holds until the history of the event changes, in whatever way, and
// the change is visible to no reader before.
func TestSnapshotHoldsUntilAChange(t *testing.T) {
	captured := func(w *world) *event.Decision { return decisionsForTest(w.t)["captured"] }
	for name, change := range map[string]func(w *world, l *Ledger){
		"an attempt is written": func(w *world, l *Ledger) {
			claim := w.claims(l, "e1", "o1", ClaimConfig{Resumes: func(int32) bool { return true }})
			if err := claim.Attempt(w.t.Context(), attemptAt(5)); err != nil {
				w.t.Fatal(err)
			}
		},
		"a decision is remembered": func(w *world, l *Ledger) { l.AddPending("e1", captured(w)) },
		"a decision is forgotten": func(w *world, l *Ledger) {
			l.AddPending("e1", captured(w))
			l.DropPending("e1")
		},
		"another instance attempts it": func(w *world, l *Ledger) {
			w.plain(w.attempt(2, "e1", attemptAt(5)))
			w.caughtUp(l)
		},
		"another instance decides it": func(w *world, l *Ledger) {
			w.transaction(kgo.TryCommit, w.decision(2, "e1", captured(w)))
			w.caughtUp(l)
		},
		"an attempt of another instance is withdrawn": func(w *world, l *Ledger) {
			w.plain(w.withdrawal(1, "e1"))
			w.caughtUp(l)
		},
		"the ledger is halted": func(_ *world, l *Ledger) { l.availability.halt(causeStale, "for the test") },
		"the store is damaged": func(w *world, l *Ledger) {
			l.availability.restore("damage")
			l.session.end(errors.New("for the test"))
			w.caughtUp(l)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.plain(w.attempt(1, "e1", attemptAt(9)))
				l := w.started("a")
				before, under := l.Snapshot([]string{"e1"})[0], l.SnapshotUnder([]event.Charge{{Reference: "o1"}})[0]
				if !l.IsCurrent("e1", before.Version) || knownOf(before.History) != (known{attempted: 9}) {
					w.t.Fatalf("before, it holds %v: %+v", l.IsCurrent("e1", before.Version), knownOf(before.History))
				}
				if !l.IsCurrent("o1", under.Version) || len(under.Known) != 1 || knownOf(under.Known[0].History) != (known{attempted: 9}) {
					w.t.Fatalf("before, that of the reference holds %v: %+v", l.IsCurrent("o1", under.Version), under.Known)
				}
				change(w, l)
				if l.IsCurrent("e1", before.Version) {
					w.t.Error("the snapshot holds still")
				}
				if l.IsCurrent("o1", under.Version) {
					w.t.Error("the snapshot of the reference holds still")
				}
			})
		})
	}
}

// A snapshot of references returns what a lookup of each returns, whatever their order.
// What is under a charge: what certainly is not for it is left out, and what may be is not.
func TestUnderACharge(t *testing.T) {
	inWorld(t, func(w *world) {
		d := decisionsForTest(t)
		payer, other := event.FingerprintOf([]byte("payer")), event.FingerprintOf([]byte("another"))
		add := func(id, decision string, change func(*event.Decision)) {
			decided := *d[decision]
			decided.Attempt.Payer = payer
			change(&decided)
			w.transaction(kgo.TryCommit, w.decision(0, id, &decided))
		}
		amount := d["captured"].Outcome.Amount
		reference := d["captured"].Outcome.ExternalReference
		add("same", "captured", func(*event.Decision) {})
		add("unknown-payer", "captured", func(d *event.Decision) { d.Attempt.Payer = event.Fingerprint{} })
		add("other-payer", "captured", func(d *event.Decision) { d.Attempt.Payer = other })
		add("other-amount", "captured", func(d *event.Decision) {
			d.Outcome = new(*d.Outcome)
			d.Outcome.Amount = amountOf(w.t, "1.00")
		})
		add("parked", "parked", func(d *event.Decision) { d.Attempt.Reference, d.Attempt.Amount = reference, amount })
		l := w.started("a")
		for charge, want := range map[event.Charge]string{
			{Reference: reference, Amount: amount, Payer: payer}: "[parked same unknown-payer]",
			{Reference: reference, Amount: amount, Payer: other}: "[other-payer unknown-payer]",
			{Reference: reference, Amount: amount}:               "[other-amount other-payer parked same unknown-payer]",
			{Reference: reference}:                               "[other-amount other-payer parked same unknown-payer]",
			{Reference: "another", Amount: amount, Payer: payer}: "[]",
		} {
			known, err := l.Under(w.t.Context(), charge)
			ids := []string{}
			for _, k := range known {
				ids = append(ids, k.EventID)
			}
			if got := fmt.Sprint(ids); got != want || err != nil {
				w.t.Errorf("under %v: %s, %v, want %s", charge, got, err, want)
			}
		}
	})
}

func TestSnapshotUnderShowsWhatIsKnown(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		d := decisionsForTest(t)
		for i := range 20 {
			decided := *d["captured"]
			outcome := *decided.Outcome
			outcome.ExternalReference = fmt.Sprintf("r%d", i%7)
			decided.Outcome = &outcome
			decided.Attempt.Reference = outcome.ExternalReference
			w.transaction(kgo.TryCommit, w.decision(0, fmt.Sprintf("e%d", i), &decided))
		}
		l := w.started("a")
		references := []string{"none", "r6", "", "r0", "r3", "r1", "other", "r2", "r5", "r4"}
		charges := make([]event.Charge, len(references))
		for i, reference := range references {
			charges[i].Reference = reference
		}
		found := 0
		for i, s := range l.SnapshotUnder(charges) {
			want, err := l.Under(t.Context(), charges[i])
			if err != nil {
				t.Fatal(err)
			}
			ids := func(all []event.Known) (ids []string) {
				for _, k := range all {
					ids = append(ids, k.EventID)
				}
				return ids
			}
			if !l.IsCurrent(references[i], s.Version) || !slices.Equal(ids(s.Known), ids(want)) {
				t.Errorf("under %q: %v, want %v", references[i], ids(s.Known), ids(want))
			}
			found += len(s.Known)
		}
		if found != 20 {
			t.Errorf("%d events under all references, want 20", found)
		}
		l.availability.halt(causeStale, "for the test")
		if seen := l.SnapshotUnder(charges); seen != nil {
			t.Errorf("a halted ledger shows %+v", seen)
		}
	})
}

// There is no snapshot of an event with a pending decision, because that may come to
// nothing.
func TestNoSnapshotOfPendingDecisions(t *testing.T) {
	inWorld(t, func(w *world) {
		l := w.started("a")
		l.AddPending("e1", decisionsForTest(w.t)["captured"])
		seen := l.Snapshot([]string{"e0", "e1"})
		if seen[1].Version != 0 || l.IsCurrent("e1", seen[1].Version) {
			w.t.Errorf("it shows %+v", seen[1])
		}
		if !l.IsCurrent("e0", seen[0].Version) {
			w.t.Error("another event's does not hold")
		}
		l.DropPending("e1")
		if seen := l.Snapshot([]string{"e1"}); !l.IsCurrent("e1", seen[0].Version) {
			w.t.Error("it does not hold when the decision is forgotten")
		}
		l.availability.halt(causeStale, "for the test")
		if seen := l.Snapshot([]string{"e1"}); seen != nil {
			w.t.Errorf("a halted ledger shows %+v", seen)
		}
	})
}
