package limiter

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"payment-capture/internal/mercadopago"
)

// A permit that was granted but not used is revoked when calls stop: its waiter is
// at the head of the queue again. External tests cannot stop a waiter between the
// two.
func TestUnusedPermitsAreRevoked(t *testing.T) {
	t.Parallel()
	l := New(Config{MaxInFlight: 4, Log: slog.New(slog.DiscardHandler), Metrics: NewMetrics(prometheus.NewRegistry())})
	success := Result{Meaning: mercadopago.Captured, Sent: true, Payment: true}
	checkCalls := func(calls, waiting int) {
		t.Helper()
		if h := l.Health(); h.Calls != calls || h.Waiting != waiting {
			t.Errorf("%d calls and %d waiting, want %d and %d", h.Calls, h.Waiting, calls, waiting)
		}
	}
	var permits []*Permit
	for range l.limit.now() {
		p, w := l.acquireOrQueue(Subject{}, false, 0)
		if w != nil {
			t.Fatalf("no permit for caller %d", len(permits)+1)
		}
		permits = append(permits, p)
	}
	wait := func(read bool) *waiter {
		_, w := l.acquireOrQueue(Subject{}, read, 0)
		if w == nil {
			t.Fatal("a permit over the limit")
		}
		return w
	}
	charge, read, other := wait(false), wait(true), wait(false)
	l.Release(permits[0], success)
	l.Release(permits[1], success)
	if !charge.granted || !read.granted || other.granted {
		t.Fatalf("granted: %t, %t, %t", charge.granted, read.granted, other.granted)
	}
	l.Release(permits[2], Result{Meaning: mercadopago.Halt, Cause: mercadopago.CauseCredential, Certain: true, Sent: true})
	checkCalls(1, 3)
	for i, w := range []*waiter{charge, read, other} {
		if p, _ := l.tryAcquire(w, 0); p != nil || w.granted {
			t.Errorf("waiter %d has a permit while the service is halted", i+1)
		}
	}
	p, _ := l.tryAcquire(charge, 1) // under a new token
	if p == nil || !p.Probe() {
		t.Fatalf("the head of the queue does not probe: %+v", p)
	}
	checkCalls(2, 2)
	l.Release(p, success)
	if !read.granted || !other.granted {
		t.Error("the halt ended, and the others have no permit")
	}
	checkCalls(3, 0)
}
