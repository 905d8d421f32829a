//go:build synctests

package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// An attempt that is refused is an error, and is shown.
func TestRefusedAttempt(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		l := w.started("a")
		claim := w.claims(l, "e1", "o1", alone())
		fault := w.broker.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed, Count: -1})
		err := claim.Attempt(t.Context(), attemptAt(5))
		if !errors.Is(err, kerr.TopicAuthorizationFailed) || !strings.Contains(err.Error(), "e1") {
			t.Errorf("got %v", err)
		}
		if h := l.Health(); h.State != stateFollowing || !strings.HasPrefix(h.Reason, "attempts cannot be written") {
			t.Errorf("health %+v", h)
		}
		w.knows(l, "e1", known{})
		fault.Remove()
		if err := claim.Attempt(t.Context(), attemptAt(5)); err != nil {
			t.Fatal(err)
		}
		w.caughtUp(l)
		if h := l.Health(); h.Reason != "" {
			t.Errorf("health %+v", h)
		}
		w.knows(l, "e1", known{attempted: 5})
	})
}

// A caller that stops waiting gets an error; the attempt is written all the same when it
// can be.
func TestAttemptThatIsNotWaitedFor(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		l := w.started("a")
		if err := w.claims(l, "e0", "o1", alone()).Attempt(t.Context(), attemptAt(1)); err != nil {
			t.Fatal(err)
		}
		mend := w.cut(l)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		claim := w.claims(l, "e1", "o1", alone())
		if err := claim.Attempt(ctx, attemptAt(5)); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "e1") {
			t.Errorf("got %v", err)
		}
		mend()
		time.Sleep(time.Minute)
		w.caughtUp(l)
		w.knows(l, "e1", known{attempted: 5})
		w.knows(w.started("b"), "e1", known{attempted: 5})
		// The same process goes on from it.
		again := w.claims(l, "e1", "o1", ClaimConfig{Resumes: func(int32) bool { return true }})
		if err := again.Attempt(t.Context(), attemptAt(5)); err != nil {
			t.Error(err)
		}
	})
}

// A withdrawal that cannot be written in time is an error and is counted. It may arrive
// late, and erases nothing but this process's attempt.
func TestLateWithdrawal(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		l := w.ledger("a")
		l.conf.Metrics = NewMetrics(prometheus.NewRegistry())
		if err := l.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		w.caughtUp(l)
		b := w.started("b")
		claim := w.claims(l, "e1", "o1", alone())
		if err := claim.Attempt(t.Context(), attemptAt(1)); err != nil {
			t.Fatal(err)
		}
		mend := w.cut(l)
		began := time.Now()
		if err := claim.Withdraw(t.Context()); err == nil || time.Since(began) > withdrawFor+time.Second {
			t.Errorf("a withdrawal that cannot be written gave %v after %s", err, time.Since(began))
		}
		w.knows(l, "e1", known{attempted: 1})
		if n := testutil.ToFloat64(l.conf.Metrics.withdrawn); n != 1 {
			t.Errorf("%v withdrawals are counted as lost", n)
		}
		w.plain(w.attempt(partitionOf("o1"), "e1", attemptAt(2))) // another instance has it now
		mend()
		time.Sleep(time.Minute)
		for _, l := range []*Ledger{l, b} {
			w.caughtUp(l)
			w.knows(l, "e1", known{attempted: 2})
		}
	})
}

func TestMetrics(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.events(4)
		l := w.ledger("a")
		reg := prometheus.NewRegistry()
		l.conf.Metrics = NewMetrics(reg)
		if err := l.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		w.caughtUp(l)
		if err := w.claims(l, "e9", "o1", alone()).Attempt(t.Context(), attemptAt(3)); err != nil {
			t.Fatal(err)
		}
		w.caughtUp(l)
		time.Sleep(time.Minute)
		m := l.conf.Metrics
		if got := testutil.ToFloat64(m.records); got != 4*4+1 {
			t.Errorf("%v records are counted, want attempts, tombstones, decisions and markers, and the attempt", got)
		}
		if got := testutil.ToFloat64(m.behind); got != 0 {
			t.Errorf("it is %v behind", got)
		}
		if got := testutil.ToFloat64(m.states.WithLabelValues(stateFollowing)); got != 1 {
			t.Error("it does not show that it follows")
		}
		if n := testutil.CollectAndCount(m.seconds); n != 1 {
			t.Errorf("%d histograms of attempts", n)
		}
	})
}

// Attempts that come together share requests; one that comes alone is sent at
// once.
func TestAttemptsShareRequests(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		l := w.started("a")
		// A batch may be cut into several requests, but they go out at one moment.
		var mu sync.Mutex
		moments := make(map[time.Time]bool)
		w.broker.Fake.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
			w.broker.Fake.KeepControl()
			mu.Lock()
			defer mu.Unlock()
			moments[time.Now().Round(0)] = true
			return nil, nil, false
		})
		const attempts = 200
		var noted sync.WaitGroup
		failed := make([]error, attempts)
		for i := range attempts {
			time.Sleep(100 * time.Microsecond) // by the virtual clock
			claim := w.claims(l, fmt.Sprintf("e%d", i), "o1", alone())
			noted.Go(func() { failed[i] = claim.Attempt(t.Context(), attemptAt(5)) })
		}
		noted.Wait()
		if at := slices.IndexFunc(failed, func(err error) bool { return err != nil }); at >= 0 {
			t.Fatal(failed[at])
		}
		mu.Lock()
		defer mu.Unlock()
		if n := len(moments); n > attempts/10 {
			t.Errorf("%d attempts were sent at %d moments", attempts, n)
		}
		w.caughtUp(l)
		for i := range attempts {
			w.knows(l, fmt.Sprintf("e%d", i), known{attempted: 5})
		}
	})
}
