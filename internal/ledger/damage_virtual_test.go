//go:build synctests

package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/ledger/store"
)

// Damage that shows while it runs is no answer: the store is read again, and
// meanwhile no lookup returns "never attempted".
func TestDamageWhileRunning(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.events(30)
		l := w.started("a")
		b := l.store.NewBatch()
		b.DeleteDecision("e7")
		b.PutDecision("e7", store.Index{}, store.Decision{Rank: 99}) // which the store does not read
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		before := l.Health().Read
		w.knows(l, "e7", known{decided: "captured"})
		if h := l.Health(); h.State != stateFollowing || h.Read < 2*before {
			t.Errorf("health %+v: it was not read again", h)
		}
		w.events(31)
		w.caughtUp(l)
		w.knows(l, "e30", known{decided: "captured"})
	})
}

// Damage that Pebble finds in the background.
func TestDamageInTheBackground(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.events(3)
		l := w.started("a")
		before := l.Health().Read
		l.session.end(errors.New("a table cannot be read"))
		time.Sleep(10 * time.Second)
		if h := l.Health(); h.State != stateFollowing || h.Read < 2*before {
			t.Errorf("health %+v: it was not read again", h)
		}
		w.knows(l, "e1", known{decided: "captured"})
	})
}

// However entries come in, and whatever is asked meanwhile, there is no moment
// in which something that was written is not known.
func TestNoMomentWithout(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		l := w.started("a")
		ctx, cancel := context.WithCancel(t.Context())
		var asking, writing sync.WaitGroup
		var mu sync.Mutex
		state := make(map[string]known)
		compared := 0 // guarded by mu
		atLeast := func(id string, want known) {
			h, err := l.Lookup(ctx, id)
			if err != nil {
				if ctx.Err() == nil {
					t.Errorf("look up %s: %v", id, err)
				}
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if state[id] != want {
				return // it has changed since
			}
			if want != (known{}) {
				compared++
			}
			got := knownOf(h)
			if want.attempted != 0 && got.attempted == 0 && got.decided == "" {
				t.Errorf("the attempt on %s is not known", id)
			}
			if want.decided != "" && got.decided == "" {
				t.Errorf("the decision on %s is not known", id)
			}
		}
		for range 3 {
			asking.Go(func() {
				for ctx.Err() == nil {
					mu.Lock()
					now := maps.Clone(state)
					mu.Unlock()
					for id, k := range now {
						atLeast(id, k)
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		note := func(id string, k known) {
			mu.Lock()
			defer mu.Unlock()
			state[id] = k
		}
		flushing := make(chan struct{}, 1) // a mutex would stop the time
		for g := range 4 {
			writing.Go(func() {
				for i := range 25 {
					id := fmt.Sprintf("%d-%d", g, i)
					reference := fmt.Sprint("order ", i)
					claim := l.Claim(id, reference, alone())
					defer claim.Close()
					if err := claim.Attempt(t.Context(), attemptUnder(reference, 1, 0)); err != nil {
						t.Error(err)
					}
					note(id, known{attempted: 1})
					if i%5 == 0 {
						note(id, known{}) // it may be either
						if err := claim.Withdraw(t.Context()); err != nil {
							t.Error(err)
						}
						if err := claim.Attempt(t.Context(), attemptUnder(reference, 2, 0)); err != nil {
							t.Error(err)
						}
						note(id, known{attempted: 2})
					}
					d := decided(t, []string{"captured", "rejected", "parked"}[i%3], reference, id)
					l.AddPending(id, d)
					note(id, known{decided: "yes"})
					records, err := l.Records(id, d)
					if err != nil || len(records) != 2 {
						t.Errorf("%d records, %v", len(records), err)
					}
					flushing <- struct{}{}
					w.transaction(kgo.TryCommit, records...)
					<-flushing
				}
			})
		}
		writing.Wait()
		w.caughtUp(l)
		cancel()
		asking.Wait()
		if compared < 1000 {
			t.Errorf("%d lookups were compared, want 1000 or more", compared)
		}
		if n := l.pending.events.Load(); n != 0 {
			t.Errorf("%d events are not read back", n)
		}
		ids := 0
		if err := l.All(t.Context(), func(id string, h event.History) error {
			ids++
			if h.Attempt != nil || h.Decision == nil {
				t.Errorf("of %s it knows %+v", id, knownOf(h))
			}
			return nil
		}); err != nil || ids != 100 {
			t.Errorf("it has %d events, %v", ids, err)
		}
	})
}
