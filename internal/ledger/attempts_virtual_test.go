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

// An attempt that is refused is an error, is shown, and counts as attempted: it
// may have been written.
func TestRefusedAttempt(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		l := w.started("a")
		fault := w.broker.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed, Count: -1})
		err := l.Attempt(t.Context(), 0, "e1", attemptAt(5))
		if !errors.Is(err, kerr.TopicAuthorizationFailed) || !strings.Contains(err.Error(), "e1") {
			t.Errorf("got %v", err)
		}
		if h := l.Health(); h.State != stateFollowing || !strings.HasPrefix(h.Reason, "attempts cannot be written") {
			t.Errorf("health %+v", h)
		}
		w.knows(l, "e1", known{attempted: 5})
		fault.Remove()
		if err := l.Attempt(t.Context(), 0, "e1", attemptAt(5)); err != nil {
			t.Fatal(err)
		}
		w.caughtUp(l)
		if h := l.Health(); h.Reason != "" {
			t.Errorf("health %+v", h)
		}
		w.knows(l, "e1", known{attempted: 5})
		if n := l.pending.events.Load(); n != 0 {
			t.Errorf("%d events are not read back", n)
		}
	})
}

// A caller that stops waiting gets an error; the attempt is written all the same when it
// can be, and known meanwhile.
func TestAttemptThatIsNotWaitedFor(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		l := w.started("a")
		if err := l.Attempt(t.Context(), 0, "e0", attemptAt(1)); err != nil {
			t.Fatal(err)
		}
		mend := w.cut(l)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := l.Attempt(ctx, 0, "e1", attemptAt(5)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		w.knows(l, "e1", known{attempted: 5})
		mend()
		time.Sleep(time.Minute)
		w.caughtUp(l)
		w.knows(w.started("b"), "e1", known{attempted: 5})
		if n := l.pending.events.Load(); n != 0 {
			t.Errorf("%d events are not read back", n)
		}
	})
}

// A withdrawal that cannot be written in time never is: by then another instance
// may have the event, and its attempt must not be erased.
func TestLateWithdrawalIsGivenUp(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		l := w.ledger("a")
		l.conf.Metrics = NewMetrics(prometheus.NewRegistry())
		if err := l.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		other := w.started("b")
		if err := l.Attempt(t.Context(), 0, "e1", attemptAt(1)); err != nil {
			t.Fatal(err)
		}
		w.caughtUp(l)
		mend := w.cut(l)
		began := time.Now()
		if err := l.Withdraw(t.Context(), 0, "e1"); err == nil || time.Since(began) > withdrawFor+5*time.Second {
			t.Errorf("a withdrawal that cannot be written gave %v after %s", err, time.Since(began))
		}
		w.knows(l, "e1", known{attempted: 1})
		if n := testutil.ToFloat64(l.conf.Metrics.withdrawn); n != 1 {
			t.Errorf("%v withdrawals are counted as lost", n)
		}
		w.plain(w.attempt(0, "e1", attemptAt(2))) // the other instance has it now
		mend()
		time.Sleep(time.Minute)
		w.caughtUp(l)
		w.caughtUp(other)
		w.knows(l, "e1", known{attempted: 2})
		w.knows(other, "e1", known{attempted: 2})
		// What follows is written as ever.
		if err := l.Attempt(t.Context(), 0, "e2", attemptAt(3)); err != nil {
			t.Fatal(err)
		}
		if err := l.Withdraw(t.Context(), 0, "e2"); err != nil {
			t.Fatal(err)
		}
		w.caughtUp(l)
		time.Sleep(time.Second)
		w.caughtUp(other)
		w.knows(other, "e2", known{})
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
		if err := l.Attempt(t.Context(), 0, "e9", attemptAt(3)); err != nil {
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

// A withdrawal that was given up may lie at a broker still: it must not erase the
// event's next note, so that one waits.
func TestNoNoteBeforeALostWithdrawalIsOver(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		l := w.started("a")
		if err := l.Attempt(t.Context(), 0, "e1", attemptAt(1)); err != nil {
			t.Fatal(err)
		}
		mend := w.cut(l)
		if err := l.Withdraw(t.Context(), 0, "e1"); err == nil {
			t.Fatal("a withdrawal that cannot be written is acknowledged")
		}
		mend()
		if err := l.Attempt(t.Context(), 0, "e1", attemptAt(2)); err == nil || !strings.Contains(err.Error(), "e1") {
			t.Errorf("the next note gave %v", err)
		}
		if err := l.Attempt(t.Context(), 0, "e2", attemptAt(2)); err != nil {
			t.Errorf("another event's gave %v", err)
		}
		time.Sleep(arrivesWithin)
		if err := l.Attempt(t.Context(), 0, "e1", attemptAt(3)); err != nil {
			t.Errorf("after %s it gave %v", arrivesWithin, err)
		}
		w.caughtUp(l)
		w.knows(l, "e1", known{attempted: 3})
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
			noted.Go(func() { failed[i] = l.Attempt(t.Context(), 0, fmt.Sprintf("e%d", i), attemptAt(5)) })
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
