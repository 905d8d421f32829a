package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func o1(string, Decision) (Index, error) { return Index{Reference: "o1"}, nil }

func TestSweep(t *testing.T) {
	s := openForTest(t, configForTest(vfs.NewMem(), "dir"))
	defer closeForTest(t, s)
	const n = 3 * sweepRemoves
	start := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(i int) time.Time { return start.Add(time.Duration(i) * 24 * time.Hour) }
	b := s.NewBatch()
	for _, i := range rand.Perm(n) {
		b.PutDecision(fmt.Sprint(i), Index{Reference: "o1"}, Decision{Rank: Rank(1 + i%3), At: at(i).UnixMilli()})
	}
	b.PutAttempt(Attempt{ID: "tried", Owner: "a"})
	b.SetPosition(0, Position{Next: n, From: n})
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if removed, err := s.Sweep(ctx, at(n), o1); !errors.Is(err, context.Canceled) {
		t.Errorf("after ctx ended: %d, %v", removed, err)
	}
	const keep = 100
	if _, err := s.Sweep(t.Context(), at(n-keep), o1); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if has(t, s, fmt.Sprint(i)) != (i >= n-keep) {
			t.Errorf("of day %d there is a decision: %v", i, i < n-keep)
		}
	}
	if got := len(under(t, s, "o1")); got != keep {
		t.Errorf("%d index entries, want %d", got, keep)
	}
	if as, err := s.Attempts(); err != nil || len(as) != 1 {
		t.Errorf("attempts %v, %v", as, err)
	}
	if read, err := s.Positions(); err != nil || len(read) != 1 {
		t.Errorf("positions %v, %v", read, err)
	}
	if removed, err := s.Sweep(t.Context(), at(n-keep), o1); removed != 0 || err != nil {
		t.Errorf("again: %d, %v", removed, err)
	}
	unreadable := errors.New("unreadable")
	if removed, err := s.Sweep(t.Context(), at(n), func(string, Decision) (Index, error) { return Index{}, unreadable }); removed != 0 ||
		!errors.Is(err, unreadable) || err.Error() != "unreadable" {
		t.Errorf("with a value that cannot be read: %d, %v", removed, err)
	}
	if removed, err := s.Sweep(t.Context(), at(n), o1); removed != keep || err != nil || len(under(t, s, "o1")) > 0 {
		t.Errorf("all: %d, %v; index entries %v", removed, err, under(t, s, "o1"))
	}
}

// What is decided again while old decisions are removed stays.
func TestSweepLeavesWhatIsNew(t *testing.T) {
	s := openForTest(t, configForTest(vfs.NewMem(), "dir"))
	defer closeForTest(t, s)
	const n = 20_000
	b := s.NewBatch()
	for i := range n {
		b.PutDecision(fmt.Sprint(i), Index{}, Decision{Rank: Parked, At: 1})
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	var writing sync.WaitGroup
	writing.Go(func() {
		b := s.NewBatch()
		for i := 0; i < n; i += 2 {
			b.PutDecision(fmt.Sprint(i), Index{}, Decision{Rank: Parked, At: 100})
			if err := b.Commit(); err != nil {
				t.Error(err)
			}
		}
	})
	for range 20 {
		if _, err := s.Sweep(t.Context(), time.UnixMilli(50), o1); err != nil {
			t.Fatal(err)
		}
	}
	writing.Wait()
	for i := 0; i < n; i += 2 {
		if !has(t, s, fmt.Sprint(i)) {
			t.Fatalf("the new decision on %d is gone", i)
		}
	}
}
