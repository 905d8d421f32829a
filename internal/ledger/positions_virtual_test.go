//go:build synctests

package ledger

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"payment-capture/internal/event"
)

// by writes the attempt of an owner, whose event is of a partition of the input.
func (w *world) by(owner, id string, input int32) {
	w.t.Helper()
	w.plain(attemptRecord(partitionOf("o1"), id, owner, new(attemptUnder("o1", 5, input))))
}

func (w *world) withdrawnBy(owner, id string) {
	w.t.Helper()
	w.plain(attemptRecord(partitionOf("o1"), id, owner, nil))
}

// An attempt that is this instance's to resume keeps its place in the order: those behind
// it wait for the claim, although the claim's own attempt lies behind them.
func TestInheritedAttemptKeepsItsPlace(t *testing.T) {
	for name, restart := range map[string]bool{"read at once": false, "after a restart": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				t := w.t
				w.by("x", "e1", 7)
				w.by("y", "e2", 8)
				w.by("y", "e1", 8)
				l := w.started("a")
				if restart {
					if err := l.Close(); err != nil {
						t.Fatal(err)
					}
					l = w.started("a")
				}
				w.ahead(w.claims(l, "e2", "o1", owning(8)), "e1")
				w.ahead(w.claims(l, "e1", "o1", owning(8)), "e1")
				w.ahead(w.claims(l, "e1", "o1", owning(9)), "e1")
				w.ahead(w.claims(l, "e3", "o1", owning(7)), "e1")
				claim := w.claims(l, "e1", "o1", owning(7))
				w.ahead(claim, "")
				w.by("z", "e3", 9)
				w.by("z", "e1", 9)
				w.caughtUp(l)
				w.ahead(claim, "")
				w.attempts(claim, attemptUnder("o1", 6, 7))
				w.ahead(claim, "")
			})
		})
	}
}

// When the inherited attempt is withdrawn by its owner, who was not gone, those between
// it and the claim's own attempt are ahead.
func TestInheritedAttemptIsWithdrawn(t *testing.T) {
	for _, between := range []string{"e1", "e2"} {
		inWorld(t, func(w *world) {
			w.by("x", "e1", 7)
			w.by("y", between, 8)
			l := w.started("a")
			early, late := w.claims(l, "e1", "o1", owning(7)), w.claims(l, "e1", "o1", owning(7))
			w.attempts(early, attemptUnder("o1", 6, 7))
			w.withdrawnBy("x", "e1")
			w.caughtUp(l)
			w.ahead(early, between)
			w.ahead(late, between)
			w.startsOver(late, attemptUnder("o1", 6, 7))
			changed := w.ahead(late, between)
			w.withdrawnBy("y", between)
			w.caughtUp(l)
			select {
			case <-changed:
			default:
				w.t.Error("it is not woken")
			}
			w.ahead(late, "")
		})
	}
}

// A claim without an attempt to resume goes behind all others, in the order of its own.
func TestOrderOfClaims(t *testing.T) {
	inWorld(t, func(w *world) {
		l := w.started("a")
		claim := w.claims(l, "e1", "o1", owning(7))
		w.attempts(claim, attemptUnder("o1", 5, 7))
		w.by("y", "e2", 8)
		w.by("y", "e1", 8)
		w.caughtUp(l)
		w.ahead(claim, "")
		w.ahead(w.claims(l, "e2", "o1", owning(8)), "e1")
		w.withdraws(claim)
		w.ahead(claim, "e2")
		w.withdrawnBy("y", "e2")
		w.caughtUp(l)
		w.ahead(claim, "e1")
		w.withdrawnBy("y", "e1")
		w.caughtUp(l)
		w.ahead(claim, "")
	})
}

// Of an attempt that nobody resumes for too long, copies of the event wait no longer, and
// learn of each other by their own attempts. One of its own partition is no exception.
func TestAbandonedAttempt(t *testing.T) {
	for name, input := range map[string]int32{"of another partition": 2, "of the attempt's partition": 7} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				a, b := w.started("a"), w.started("b")
				w.by("x", "e1", 7)
				w.caughtUp(a)
				w.caughtUp(b)
				first := w.claims(a, "e1", "o1", owning(1))
				w.ahead(first, "e1")
				time.Sleep(claimWait - time.Second)
				w.ahead(first, "e1")
				time.Sleep(2 * time.Second)
				w.ahead(first, "")
				second := w.claims(b, "e1", "o1", owning(input))
				w.ahead(second, "")
				w.attempts(first, attemptUnder("o1", 6, 1))
				w.caughtUp(b)
				w.ahead(second, "e1")
				w.startsOver(second, attemptUnder("o1", 6, input))
				w.withdraws(second)
				w.ahead(first, "")
				// Instances that start later and find both see the same.
				c := w.started("c")
				w.ahead(w.claims(c, "e1", "o1", owning(input)), "e1")
			})
		})
	}
}

// Other events of the order are told that an attempt is abandoned, once a process had the
// time to read the record that would resume it; and not while a copy of its event is
// attempted.
func TestAbandonedRival(t *testing.T) {
	inWorld(t, func(w *world) {
		w.by("x", "e1", 7)
		time.Sleep(claimWait + time.Second)
		l := w.started("a")
		rival := w.claims(l, "e2", "o1", owning(1))
		w.ahead(rival, "e1")
		time.Sleep(claimWait + time.Second)
		w.abandonedAhead(rival, "e1")
		heir := w.claims(l, "e1", "o1", owning(1))
		w.ahead(heir, "")
		w.attempts(heir, attemptUnder("o1", 6, 1))
		w.ahead(rival, "e1")
		w.withdraws(heir)
		w.abandonedAhead(rival, "e1")
	})
}

// Whoever gets the partition of the input resumes the attempts from it.
func TestOwnershipMoves(t *testing.T) {
	inWorld(t, func(w *world) {
		a, b := w.started("a"), w.started("b")
		claim := w.claims(a, "e1", "o1", owning(7))
		w.attempts(claim, attemptUnder("o1", 5, 7))
		w.caughtUp(b)
		owned := false
		conf := owning(1)
		conf.Resumes = func(input int32) bool { return owned && input == 7 }
		heir := w.claims(b, "e1", "o1", conf)
		w.ahead(heir, "e1")
		owned = true
		w.ahead(heir, "")
		w.attempts(heir, attemptUnder("o1", 6, 7))
	})
}

// owners returns the owners of the open attempts on an event, in order.
func owners(l *Ledger, id string) (of []string) {
	open := l.claims.of(id)
	slices.SortFunc(open, func(a, b *openAttempt) int { return int(a.offset - b.offset) })
	for _, a := range open {
		of = append(of, a.owner)
	}
	return of
}

// everywhere checks the open attempts on an event as they are seen by an instance that
// follows, after a restart from its store, and by one that reads all.
func (w *world) everywhere(l *Ledger, id string, want ...string) {
	w.t.Helper()
	check := func(how string, l *Ledger) {
		w.t.Helper()
		w.caughtUp(l)
		if got := owners(l, id); !slices.Equal(got, want) {
			w.t.Errorf("%s: %s has open attempts of %v, want %v", how, id, got, want)
		}
	}
	check("it follows", l)
	if err := l.Close(); err != nil {
		w.t.Fatal(err)
	}
	check("after a restart", w.started(l.conf.Dir))
	check("from scratch", w.started(l.conf.Dir+"-scratch"))
}

// A decision ends the attempts that lie before it in its partition, and not those behind.
func TestDecisionEndsAttempts(t *testing.T) {
	inWorld(t, func(w *world) {
		l := w.started("a")
		w.by("x", "e1", 7)
		w.by("y", "e1", 8)
		w.by("x", "e2", 7)
		w.commits("parked", "o1", "e1")
		w.by("z", "e1", 9)
		w.caughtUp(l)
		w.knows(l, "e1", known{attempted: 5, decided: "parked"})
		w.everywhere(l, "e1", "z")
		w.everywhere(w.started("b"), "e2", "x")
	})
}

// The place of a decision is where it was written, not where its transaction ended.
func TestAttemptDuringATransaction(t *testing.T) {
	inWorld(t, func(w *world) {
		l := w.started("a")
		w.by("x", "e1", 7)
		end := w.begin("flush 2", w.decision(partitionOf("o1"), "e1", decided(w.t, "parked", "o1", "e1")),
			attemptRecord(partitionOf("o1"), "e1", "x", nil), attemptRecord(partitionOf("o1"), "e1", "y", nil))
		w.by("y", "e1", 8)
		w.caughtUpTo(l, partitionOf("o1"))
		if got := fmt.Sprint(owners(l, "e1")); got != "[x y]" {
			w.t.Errorf("before the commit there are attempts of %s", got)
		}
		end(true)
		w.everywhere(l, "e1", "y")
	})
}

// An owner that writes its attempt again keeps its place, everywhere.
func TestAttemptIsWrittenAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		l := w.started("a")
		w.by("x", "e1", 7)
		w.by("y", "e2", 8)
		w.by("x", "e1", 7)
		for range 2 {
			w.caughtUp(l)
			claim := w.claims(l, "e2", "o1", owning(8))
			w.ahead(claim, "e1")
			if err := l.Close(); err != nil {
				w.t.Fatal(err)
			}
			l = w.started("a")
		}
	})
}

// A decision that lies between two writes of one attempt ends only the first.
func TestAttemptIsWrittenAgainDuringATransaction(t *testing.T) {
	inWorld(t, func(w *world) {
		l := w.started("a")
		w.by("x", "e1", 7)
		end := w.begin("flush 2", w.decision(partitionOf("o1"), "e1", decided(w.t, "parked", "o1", "e1")))
		w.by("x", "e1", 7)
		w.caughtUpTo(l, partitionOf("o1"))
		end(true)
		w.everywhere(l, "e1", "x")
	})
}

// All has the open attempts, alone and beside a decision; each event once.
func TestAllHasOpenAttempts(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.by("x", "e1", 7)
		w.by("y", "e1", 7)
		w.commits("parked", "o1", "e2")
		w.by("x", "e2", 7)
		w.by("x", "e3", 7)
		w.commits("captured", "o1", "e3")
		w.by("x", "e4", 7)
		w.withdrawnBy("x", "e4")
		l := w.started("a")
		var got []string
		if err := l.All(t.Context(), func(id string, h event.History) error {
			got = append(got, fmt.Sprint(id, knownOf(h)))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		slices.Sort(got)
		if want := "[e1{5 } e2{5 parked} e3{0 captured}]"; fmt.Sprint(got) != want {
			t.Errorf("got %s, want %s", got, want)
		}
		found, err := l.Under(t.Context(), event.Charge{Reference: "o1"})
		if err != nil {
			t.Fatal(err)
		}
		got = nil
		for _, k := range found {
			got = append(got, fmt.Sprint(k.EventID, knownOf(k.History)))
		}
		if want := "[e1{5 } e2{5 parked} e3{0 captured}]"; fmt.Sprint(got) != want {
			t.Errorf("under o1: %s, want %s", got, want)
		}
	})
}
