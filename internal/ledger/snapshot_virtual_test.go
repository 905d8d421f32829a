//go:build synctests

package ledger

import (
	"errors"
	"fmt"
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
			if !l.IsCurrent(id, seen[i]) {
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
				before := l.Snapshot([]string{"e1"})[0]
				if !l.IsCurrent("e1", before) || knownOf(before.History) != (known{attempted: 9}) {
					w.t.Fatalf("before, it holds %v: %+v", l.IsCurrent("e1", before), knownOf(before.History))
				}
				change(w, l)
				if l.IsCurrent("e1", before) {
					w.t.Error("the snapshot holds still")
				}
			})
		})
	}
}

// There is no snapshot of an event with a pending decision, because that may come to
// nothing.
func TestNoSnapshotOfPendingDecisions(t *testing.T) {
	inWorld(t, func(w *world) {
		l := w.started("a")
		l.AddPending("e1", decisionsForTest(w.t)["captured"])
		seen := l.Snapshot([]string{"e0", "e1"})
		if seen[1].Version != 0 || l.IsCurrent("e1", seen[1]) {
			w.t.Errorf("it shows %+v", seen[1])
		}
		if !l.IsCurrent("e0", seen[0]) {
			w.t.Error("another event's does not hold")
		}
		l.DropPending("e1")
		if seen := l.Snapshot([]string{"e1"}); !l.IsCurrent("e1", seen[0]) {
			w.t.Error("it does not hold when the decision is forgotten")
		}
		l.availability.halt(causeStale, "for the test")
		if seen := l.Snapshot([]string{"e1"}); seen != nil {
			w.t.Errorf("a halted ledger shows %+v", seen)
		}
	})
}
