//go:build synctests

package ledger

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
)

// owning is what an instance says that owns a partition of the input, and that has events
// of one reference one after another.
const claimWait = time.Hour

func owning(input int32) ClaimConfig {
	return ClaimConfig{
		Resumes: func(of int32) bool { return of == input },
		Rival:   func(event.Attempt) bool { return true },
		Wait:    claimWait,
	}
}

// ahead checks which event is ahead of a claim; "": none.
func (w *world) ahead(c *Claim, want string) <-chan struct{} {
	w.t.Helper()
	return w.isAhead(c, want, false)
}

// abandonedAhead checks which event is ahead of a claim, with an abandoned attempt.
func (w *world) abandonedAhead(c *Claim, want string) {
	w.t.Helper()
	w.isAhead(c, want, true)
}

func (w *world) isAhead(c *Claim, want string, abandoned bool) <-chan struct{} {
	w.t.Helper()
	synctest.Wait()
	first, changed, err := c.Ahead(context.Background())
	if err != nil {
		panic(err) // only a context that ends
	}
	var got event.OpenAttempt
	if first != nil {
		got = *first
	}
	if got.EventID != want || got.Abandoned != abandoned {
		w.t.Errorf("ahead of %s is %q, abandoned: %t; want %q, %t", c.id, got.EventID, got.Abandoned, want, abandoned)
	}
	return changed
}

// attempts attempts the event of a claim, which must succeed at once.
func (w *world) attempts(c *Claim, a event.Attempt) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	if err := c.Attempt(ctx, a); err != nil {
		w.t.Fatalf("attempt %s: %v; health %+v", c.id, err, c.l.Health())
	}
}

// startsOver attempts the event of a claim, which must not be the first.
func (w *world) startsOver(c *Claim, a event.Attempt) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	if err := c.Attempt(ctx, a); !errors.Is(err, event.ErrStartOver) {
		w.t.Fatalf("attempt %s: got %v, want it to start over", c.id, err)
	}
}

func (w *world) withdraws(c *Claim) {
	w.t.Helper()
	if err := c.Withdraw(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// decides decides an event as a flush does.
func (w *world) decides(l *Ledger, id string, d *event.Decision) {
	w.t.Helper()
	l.AddPending(id, d)
	records, err := l.Records(id, d)
	if err != nil {
		w.t.Fatal(err)
	}
	w.transaction(kgo.TryCommit, records...)
}

// Of two instances that claim one event, or rivals under one reference, at the same time,
// one is the first. The other one sees it, and is woken when it is over.
func TestOneOfTwoIsFirst(t *testing.T) {
	ends := map[string]func(w *world, winner *Claim){
		"decided": func(w *world, winner *Claim) {
			w.decides(winner.l, winner.id, decided(w.t, "rejected", "o1", winner.id))
		},
		"withdrawn": func(w *world, winner *Claim) { w.withdraws(winner) },
	}
	for name, ids := range map[string][2]string{"one event": {"e1", "e1"}, "rivals": {"e1", "e2"}} {
		for how, end := range ends {
			t.Run(name+", "+how, func(t *testing.T) {
				inWorld(t, func(w *world) {
					t := w.t
					claims := [2]*Claim{
						w.claims(w.started("a"), ids[0], "o1", owning(1)), w.claims(w.started("b"), ids[1], "o1", owning(2)),
					}
					var errs [2]error
					var wg sync.WaitGroup
					for i, c := range claims {
						wg.Go(func() { errs[i] = c.Attempt(t.Context(), attemptUnder("o1", 5, int32(i+1))) })
					}
					wg.Wait()
					first, second := 0, 1
					if errs[0] != nil {
						first, second = 1, 0
					}
					if errs[first] != nil || !errors.Is(errs[second], event.ErrStartOver) {
						t.Fatalf("they got %v", errs)
					}
					winner, loser := claims[first], claims[second]
					w.withdraws(loser)
					w.ahead(winner, "")
					loser.Close()
					again := w.claims(loser.l, loser.id, "o1", owning(int32(second+1)))
					changed := w.ahead(again, winner.id)
					time.Sleep(time.Minute)
					select {
					case <-changed:
						t.Error("it is woken too early")
					default:
					}
					end(w, winner)
					select {
					case <-changed:
					case <-time.After(time.Second):
						t.Error("it is not woken")
					}
					w.ahead(again, "")
					if how == "decided" {
						w.knows(loser.l, winner.id, known{decided: "rejected"})
						w.startsOver(again, attemptUnder("o1", 5, int32(second+1)))
						return
					}
					w.knows(loser.l, winner.id, known{})
					w.attempts(again, attemptUnder("o1", 5, int32(second+1)))
				})
			})
		}
	}
}

// Events of one reference that are no rivals do not wait for one another, nor do those of
// different references.
func TestNoRivals(t *testing.T) {
	inWorld(t, func(w *world) {
		a, b := w.started("a"), w.started("b")
		none := owning(2)
		none.Rival = nil
		for _, c := range []*Claim{w.claims(b, "e2", "o1", none), w.claims(b, "e3", "o3", owning(2))} {
			w.attempts(w.claims(a, "e1", "o1", owning(1)), attemptUnder("o1", 5, 1))
			w.ahead(c, "")
			w.attempts(c, attemptUnder(c.reference, 5, 2))
		}
	})
}

// What another instance did between the claim and the attempt matters, whether it is over
// or not.
func TestClaimIsDisturbed(t *testing.T) {
	for name, c := range map[string]struct {
		does func(w *world)
		want bool
	}{
		"nothing":                      {func(*world) {}, false},
		"a decision on the event":      {func(w *world) { w.commits("rejected", "o1", "e1") }, true},
		"a decision under the order":   {func(w *world) { w.commits("captured", "o1", "e2") }, true},
		"a decision under another one": {func(w *world) { w.commits("captured", "o2", "e2") }, false},
		"an attempt on the event":      {func(w *world) { w.plain(w.attempt(partitionOf("o1"), "e1", attemptUnder("o1", 1, 9))) }, true},
		"an attempt under the order":   {func(w *world) { w.plain(w.attempt(partitionOf("o1"), "e2", attemptUnder("o1", 1, 9))) }, true},
		"an attempt to be resumed":     {func(w *world) { w.plain(w.attempt(partitionOf("o1"), "e1", attemptUnder("o1", 1, 1))) }, false},
		"a decision that is taken back": {func(w *world) {
			w.plain(&kgo.Record{Topic: testTopic, Partition: partitionOf("o1"), Key: []byte("d/e1")})
		}, true},
		"an attempt that is withdrawn": {func(w *world) {
			at := partitionOf("o1")
			w.plain(w.attempt(at, "e1", attemptUnder("o1", 1, 9)), w.withdrawal(at, "e1"))
		}, true},
		"an aborted decision": {func(w *world) {
			w.transaction(kgo.TryAbort, w.decision(partitionOf("o1"), "e1", decided(w.t, "rejected", "o1", "e1")))
		}, false},
		"the store is rebuilt": {func(w *world) {
			for l := range w.wires {
				l.availability.restore("damage")
				l.session.end(errors.New("for the test"))
				w.caughtUp(l)
			}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				l := w.started("a")
				claim := w.claims(l, "e1", "o1", owning(1))
				c.does(w)
				w.caughtUp(l)
				if c.want {
					w.startsOver(claim, attemptUnder("o1", 5, 1))
				} else {
					w.attempts(claim, attemptUnder("o1", 5, 1))
				}
			})
		})
	}
}

// commits writes a decision of another instance.
func (w *world) commits(which, reference, id string) {
	w.t.Helper()
	w.transaction(kgo.TryCommit, w.decision(partitionOf(reference), id, decided(w.t, which, reference, id)))
}

// An instance knows its own decision before the topic has it: reading it back does not
// disturb the claim of the next event of the order.
func TestOwnDecisionDisturbsNoClaim(t *testing.T) {
	inWorld(t, func(w *world) {
		l := w.started("a")
		first := w.claims(l, "e1", "o1", owning(1))
		w.attempts(first, attemptUnder("o1", 5, 1))
		d := decided(w.t, "captured", "o1", "e1")
		l.AddPending("e1", d)
		first.Close()
		next := w.claims(l, "e2", "o1", owning(1))
		w.ahead(next, "")
		records, err := l.Records("e1", d)
		if err != nil {
			w.t.Fatal(err)
		}
		w.transaction(kgo.TryCommit, records...)
		w.caughtUp(l)
		if n := l.pending.events.Load(); n != 0 {
			w.t.Errorf("%d decisions are not read back", n)
		}
		w.attempts(next, attemptUnder("o1", 6, 1))
	})
}

// A decision that was not committed leaves its attempt ahead of others.
func TestDroppedDecision(t *testing.T) {
	inWorld(t, func(w *world) {
		l := w.started("a")
		w.attempts(w.claims(l, "e1", "o1", owning(1)), attemptUnder("o1", 5, 1))
		l.AddPending("e1", decided(w.t, "captured", "o1", "e1"))
		next := w.claims(l, "e2", "o1", owning(1))
		w.ahead(next, "")
		l.DropPending("e1")
		w.ahead(next, "e1")
	})
}

// An attempt waits until the instance has read it, and ends when it is told to, or when
// the ledger halts.
func TestLaggingFollowerDelaysAttempts(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		l := w.started("a")
		allow := w.refuseReading()
		time.Sleep(5 * time.Second) // until the fetch under way is over
		done := make(chan error, 2)
		claim := w.claims(l, "e1", "o1", owning(1))
		go func() { done <- claim.Attempt(t.Context(), attemptUnder("o1", 5, 1)) }()
		time.Sleep(time.Minute)
		select {
		case err := <-done:
			t.Fatalf("an attempt that is not read back gave %v", err)
		default:
		}
		if h := l.Health(); !strings.Contains(h.Reason, "has not been written to the ledger's topic \"ledger\" and read back for 1m") {
			t.Errorf("health %+v", h)
		}
		w.plain(w.attempt(partitionOf("o1"), "e2", attemptUnder("o1", 5, 9))) // behind it
		allow()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestAttemptsEndWhenTheLedgerHalts(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		l := w.started("a")
		w.refuseReading()
		time.Sleep(5 * time.Second)
		done := make(chan error, 1)
		claim := w.claims(l, "e1", "o1", owning(1))
		go func() { done <- claim.Attempt(t.Context(), attemptUnder("o1", 5, 1)) }()
		time.Sleep(time.Second)
		l.halt(causeLost, "planted")
		synctest.Wait()
		select {
		case err := <-done:
			if err == nil || errors.Is(err, event.ErrStartOver) || !strings.Contains(err.Error(), "planted") {
				t.Errorf("got %v", err)
			}
		default:
			t.Error("the attempt waits on")
		}
	})
}

// An attempt that is under way while the store is rebuilt ends, and is not the first.
func TestStoreIsRebuiltDuringAnAttempt(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.events(3)
		l := w.started("a")
		allow := w.refuseReading()
		time.Sleep(5 * time.Second)
		done := make(chan error, 1)
		claim := w.claims(l, "e9", "o1", owning(1))
		go func() { done <- claim.Attempt(t.Context(), attemptUnder("o1", 5, 1)) }()
		time.Sleep(time.Second)
		l.availability.restore("damage")
		l.session.end(errors.New("for the test"))
		time.Sleep(time.Second)
		allow()
		if err := <-done; !errors.Is(err, event.ErrStartOver) {
			t.Errorf("got %v", err)
		}
		w.caughtUp(l)
		w.knows(l, "e9", known{attempted: 5})
		w.attempts(w.claims(l, "e9", "o1", owning(1)), attemptUnder("o1", 6, 1))
	})
}

// No withdrawal erases the attempt of another owner.
func TestWithdrawalErasesItsOwnAttempt(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		a, b := w.started("a"), w.started("b")
		at := partitionOf("o1")
		claim := w.claims(a, "e1", "o1", owning(1))
		w.attempts(claim, attemptUnder("o1", 5, 1))
		w.plain(w.attempt(at, "e1", attemptUnder("o1", 7, 9)))
		know := func(want int64) {
			t.Helper()
			for _, l := range []*Ledger{a, b} {
				w.caughtUp(l)
				w.knows(l, "e1", known{attempted: want})
			}
		}
		know(5)
		w.withdraws(claim)
		know(7)
		w.attempts(w.claims(b, "e2", "o2", owning(2)), attemptUnder("o2", 5, 2)) // something else
		w.startsOver(claim, attemptUnder("o1", 6, 1))
		know(6)
		w.plain(w.withdrawal(at, "e1"))
		know(6)
		w.withdraws(claim)
		for _, dir := range []string{"a", "c"} {
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			a = w.started(dir)
			w.knows(a, "e1", known{})
		}
	})
}

// Only events without a decision count as attempted before a time.
func TestOldAttempts(t *testing.T) {
	inWorld(t, func(w *world) {
		l := w.started("a")
		for i, order := range []string{"o1", "o2", "o3"} {
			w.attempts(w.claims(l, "e"+order, order, owning(1)), attemptUnder(order, int64(10*i+1), 1))
		}
		for before, want := range map[int64]int{1: 0, 2: 1, 12: 2, 99: 3} {
			if got := l.OldAttempts(time.UnixMilli(before)); got != want {
				w.t.Errorf("%d events were attempted before %d ms, want %d", got, before, want)
			}
		}
		w.decides(l, "eo1", decided(w.t, "captured", "o1", "eo1"))
		w.caughtUp(l)
		if got := l.OldAttempts(time.UnixMilli(99)); got != 2 {
			w.t.Errorf("beside a decision there are %d, want 2", got)
		}
	})
}
