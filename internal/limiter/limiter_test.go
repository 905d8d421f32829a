package limiter_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"payment-capture/internal/limiter"
	"payment-capture/internal/mercadopago"
)

func newLimiter(maxInFlight int, changes ...func(*limiter.Config)) *limiter.Limiter {
	conf := limiter.Config{
		MaxInFlight: maxInFlight, Log: slog.New(slog.DiscardHandler), Metrics: limiter.NewMetrics(prometheus.NewRegistry()),
	}
	for _, change := range changes {
		change(&conf)
	}
	return limiter.New(conf)
}

// The results that the tests are made of.

func success() limiter.Result {
	return limiter.Result{Meaning: mercadopago.Captured, Cause: mercadopago.CauseApproved, Sent: true, Payment: true}
}

func failure() limiter.Result {
	return limiter.Result{Meaning: mercadopago.Retry, Cause: mercadopago.CauseServerError, Sent: true, Detail: "HTTP 500"}
}

func tokenRefused() limiter.Result {
	return limiter.Result{
		Meaning: mercadopago.Halt, Cause: mercadopago.CauseCredential, Certain: true, Sent: true, Detail: "the token is refused",
		RequestID: "request-1",
	}
}

func payerRefused() limiter.Result {
	return limiter.Result{Meaning: mercadopago.Rejected, Cause: mercadopago.CausePayer, Sent: true, Detail: "HTTP 400"}
}

// subject returns a subject with an order and a payer of its own.
func subject(i int) limiter.Subject {
	return limiter.Subject{Order: fmt.Sprintf("order-%d", i), Payer: [32]byte{byte(i), byte(i >> 8), 1}}
}

// caller is a goroutine that acquires one permit.
type caller struct {
	permit atomic.Pointer[limiter.Permit]
	err    error // once done is closed
	done   chan struct{}
	giveUp chan struct{}
}

// acquire starts a caller and waits until it has a permit or is in the queue. Only
// bubbles can call it.
func acquire(t *testing.T, l *limiter.Limiter, about limiter.Subject, read bool) *caller {
	t.Helper()
	c := &caller{done: make(chan struct{}), giveUp: make(chan struct{})}
	go func() {
		defer close(c.done)
		p, err := l.Acquire(t.Context(), c.giveUp, about, read)
		c.permit.Store(p)
		c.err = err
	}()
	synctest.Wait()
	return c
}

func (c *caller) has() bool {
	synctest.Wait()
	return c.permit.Load() != nil
}

func (c *caller) release(t *testing.T, l *limiter.Limiter, r limiter.Result) limiter.Scope {
	t.Helper()
	if !c.has() {
		t.Fatal("no permit to release")
	}
	return l.Release(c.permit.Load(), r)
}

// Permits are granted in the order of arrival, whichever of the two queues the
// callers are in, one for each permit that is released.
func TestPermitsInTheOrderOfArrival(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(3)
		var callers []*caller
		for i := range 15 {
			callers = append(callers, acquire(t, l, subject(i), i%4 == 1 || i%4 == 2))
		}
		for i := range 12 {
			if next := callers[i+3]; next.has() {
				t.Fatalf("caller %d has a permit before one was released", i+3)
			}
			callers[i].release(t, l, success())
			if !callers[i+3].has() {
				t.Fatalf("caller %d has no permit after one was released", i+3)
			}
			if h := l.Health(); h.Calls != 3 || h.Waiting != 11-i || l.Busy() != 3 {
				t.Fatalf("%d calls, %d waiting, %d busy; want 3, %d and 3", h.Calls, h.Waiting, l.Busy(), 11-i)
			}
		}
	})
}

// A caller that gave up leaves its turn to the next one.
func TestGiveUpWhileWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(1)
		first, second, third := acquire(t, l, subject(1), false), acquire(t, l, subject(2), false), acquire(t, l, subject(3), true)
		close(second.giveUp)
		<-second.done
		if second.err == nil || second.permit.Load() != nil {
			t.Error("no error for a caller that gave up")
		}
		first.release(t, l, success())
		if !third.has() {
			t.Error("the next caller has no permit")
		}
		l.Cancel(third.permit.Load())
		if h := l.Health(); h.Calls != 0 || h.Waiting != 0 {
			t.Errorf("afterwards: %+v", h)
		}
		errStop := errors.New("stop")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errStop)
		if _, err := l.Acquire(ctx, nil, subject(4), false); !errors.Is(err, errStop) {
			t.Errorf("got %v, want the context's cause", err)
		}
	})
}

// The rate limit counts each request, also those that a search makes under one
// permit.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(10, func(c *limiter.Config) { c.RateLimit = 2 })
		began := time.Now()
		for i, want := range []time.Duration{0, 500 * time.Millisecond, 2500 * time.Millisecond, 3 * time.Second} {
			p, err := l.Acquire(t.Context(), nil, subject(i), false)
			if err != nil {
				t.Fatal(err)
			}
			if at := time.Since(began); at != want {
				t.Errorf("permit %d after %s, want %s", i+1, at, want)
			}
			r := success()
			if i == 1 {
				r.Calls = 4
			}
			l.Release(p, r)
		}
	})
}

// An open circuit allows single probes, of another event each, and closes with the
// first answer. Failed reads do not open it.
func TestCircuitBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(4)
		for i := range 40 {
			acquire(t, l, subject(i), true).release(t, l, failure())
		}
		if !l.Health().Passing() {
			t.Fatal("failed reads opened the circuit")
		}
		for i := range 16 {
			acquire(t, l, subject(i), false).release(t, l, failure())
		}
		if h := l.Health(); h.State != "circuit_open" || !strings.Contains(l.Blocked(), "HTTP 500") || h.NextProbe.Before(time.Now()) {
			t.Fatalf("after 16 failures: %+v", h)
		}
		first, second := acquire(t, l, subject(1), false), acquire(t, l, subject(2), false)
		<-time.After(10 * time.Second)
		if !first.has() || second.has() || !first.permit.Load().Probe() {
			t.Fatal("the head of the queue does not probe alone")
		}
		first.release(t, l, failure())
		first = acquire(t, l, subject(1), false)
		<-time.After(10 * time.Second)
		if first.has() || !second.has() {
			t.Fatal("the second probe is not of the second event")
		}
		second.release(t, l, success())
		if !first.has() || first.permit.Load().Probe() || l.Blocked() != "" {
			t.Errorf("after an answer: %+v", l.Health())
		}
	})
}

// A refused token halts with one answer. The halt recovers with a payment, and a
// new token is probed at once.
func TestHaltRecovers(t *testing.T) {
	t.Parallel()
	for name, renewed := range map[string]bool{"fixed at the API": false, "new token": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var token atomic.Uint64
				l := newLimiter(4, func(c *limiter.Config) { c.Credential = token.Load })
				if scope := acquire(t, l, subject(1), false).release(t, l, tokenRefused()); scope != limiter.ScopeService {
					t.Errorf("a refused token is about %d, want the service", scope)
				}
				for wait := time.Second; wait <= 16*time.Second; wait *= 2 {
					probe, other := acquire(t, l, subject(1), false), acquire(t, l, subject(1), false)
					<-time.After(wait - time.Millisecond)
					if probe.has() || other.has() {
						t.Fatalf("a probe before %s", wait)
					}
					<-time.After(2 * time.Millisecond)
					if !probe.has() || other.has() {
						t.Fatalf("no single probe after %s", wait)
					}
					close(other.giveUp)
					if h := l.Health(); h.State != "halted" || h.Cause != "credential" || h.Reason != "the token is refused" ||
						h.RequestID != "request-1" {
						t.Errorf("halted: %+v", h)
					}
					probe.release(t, l, tokenRefused())
				}
				last, within := acquire(t, l, subject(1), false), 31*time.Second
				if renewed {
					token.Add(1)
					within = time.Second
				}
				<-time.After(within)
				last.release(t, l, success())
				if l.Blocked() != "" || acquire(t, l, subject(2), false).release(t, l, success()) != limiter.ScopeEvent {
					t.Errorf("after a payment: %+v", l.Health())
				}
			})
		})
	}
}

// A refused payer is unconfirmed until a payment, or a silence of five seconds,
// shows that the refusal is the payer's own. As many as the limit halt.
func TestConfirm(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		then []limiter.Result // one each second
		want limiter.Scope
		took time.Duration
	}{
		"silence":           {nil, limiter.ScopeEvent, 5 * time.Second},
		"payment":           {[]limiter.Result{success()}, limiter.ScopeEvent, time.Second},
		"refusal":           {[]limiter.Result{payerRefused()}, limiter.ScopeEvent, 6 * time.Second},
		"refusal, payment":  {[]limiter.Result{payerRefused(), success()}, limiter.ScopeEvent, 2 * time.Second},
		"too many refusals": {[]limiter.Result{payerRefused(), payerRefused()}, limiter.ScopeService, 2 * time.Second},
		"refused token":     {[]limiter.Result{tokenRefused()}, limiter.ScopeService, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newLimiter(4, func(c *limiter.Config) { c.RefusalRun = 3 })
				first := acquire(t, l, subject(0), false)
				if scope := first.release(t, l, payerRefused()); scope != limiter.ScopeUnconfirmed {
					t.Fatalf("a refused payer is about %d, want unconfirmed", scope)
				}
				for i, r := range test.then {
					time.AfterFunc(time.Duration(i+1)*time.Second, func() {
						p, err := l.Acquire(t.Context(), nil, subject(i+1), false)
						if err != nil {
							t.Error(err)
							return
						}
						l.Release(p, r)
					})
				}
				began := time.Now()
				scope, err := l.Confirm(t.Context(), nil, first.permit.Load())
				if took := time.Since(began); err != nil || scope != test.want || took != test.took {
					t.Errorf("got %d, %v after %s; want %d after %s", scope, err, took, test.want, test.took)
				}
			})
		})
	}
}

// A refusal that is answered after the halt that it belongs to has ended does not
// decide its event, because the cause may have been fixed since its call.
func TestRefusalAfterHalt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(8, func(c *limiter.Config) { c.RefusalRun = 3 })
		late := acquire(t, l, subject(9), false)
		for i := range 3 {
			acquire(t, l, subject(i), false).release(t, l, payerRefused())
		}
		probe := acquire(t, l, subject(8), false)
		<-time.After(2 * time.Second)
		probe.release(t, l, success())
		if scope := late.release(t, l, payerRefused()); l.Blocked() != "" || scope != limiter.ScopeService {
			t.Errorf("a late refusal is about %d, want the service; %+v", scope, l.Health())
		}
		if scope := acquire(t, l, subject(9), false).release(t, l, payerRefused()); scope != limiter.ScopeUnconfirmed {
			t.Errorf("a refusal after the halt is about %d, want unconfirmed", scope)
		}
	})
}

// An unconfirmed caller is busy until it leaves, and can leave at once.
func TestGiveUpWhileUnconfirmed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(4, func(c *limiter.Config) { c.RefusalRun = 3 })
		first := acquire(t, l, subject(0), false)
		first.release(t, l, payerRefused())
		time.AfterFunc(time.Second, func() {
			if l.Busy() != 1 {
				t.Errorf("%d are busy, want 1", l.Busy())
			}
			close(first.giveUp)
		})
		began := time.Now()
		if _, err := l.Confirm(t.Context(), first.giveUp, first.permit.Load()); err == nil || time.Since(began) != time.Second {
			t.Errorf("got %v after %s, want an error after a second", err, time.Since(began))
		}
		if l.Busy() != 0 {
			t.Errorf("%d are busy, want none", l.Busy())
		}
	})
}

// No caller is forgotten, and no permit is lost, in whatever order they come.
func TestLimiterUnderLoad(t *testing.T) {
	t.Parallel()
	const events, most = 2000, 5
	l := newLimiter(most)
	var out, over atomic.Int32
	var wg sync.WaitGroup
	for i := range events {
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() {
			defer cancel()
			for {
				p, err := l.Acquire(ctx, nil, limiter.Subject{}, i%7 == 0)
				switch {
				case err != nil:
					return
				case out.Add(1) > most:
					over.Add(1)
				}
				runtime.Gosched()
				out.Add(-1)
				if i%5 == 0 {
					l.Cancel(p)
					cancel() // the next Acquire ends with an error
					continue
				}
				l.Release(p, success())
				return
			}
		})
		if i%11 == 0 {
			wg.Go(cancel)
		}
	}
	wg.Wait()
	if over.Load() > 0 {
		t.Errorf("over %d calls at once", most)
	}
	if h := l.Health(); h.Calls != 0 || h.Waiting != 0 || h.CallLimit != most {
		t.Errorf("afterwards: %+v", h)
	}
}

// BenchmarkLimiter measures one permit, acquired and released, without other
// callers and with hundreds.
func BenchmarkLimiter(b *testing.B) {
	for name, goroutines := range map[string]int{"alone": 1, "crowd": 256} {
		b.Run(name, func(b *testing.B) {
			l := newLimiter(32)
			b.ReportAllocs()
			b.SetParallelism(goroutines)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					p, err := l.Acquire(b.Context(), nil, limiter.Subject{}, false)
					if err != nil {
						b.Error(err)
						return
					}
					runtime.Gosched() // the call
					l.Release(p, success())
				}
			})
		})
	}
}

// After a payment has disproved that our account is refused, a single answer that says so
// does not halt for ten minutes, or until the token changes. One that names the token does.
func TestDisprovedCauseNeedsMoreEvidence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var token atomic.Uint64
		l := newLimiter(64, func(c *limiter.Config) { c.Credential = token.Load })
		orders := 0
		result := func(r limiter.Result) {
			t.Helper()
			c := acquire(t, l, subject(orders), false)
			orders++
			<-c.done
			l.Release(c.permit.Load(), r)
		}
		wantHalted := func(when string, want bool) {
			t.Helper()
			if halted := !l.Health().Passing(); halted != want {
				t.Errorf("%s: halted is %t", when, halted)
			}
		}
		refused := limiter.Result{Meaning: mercadopago.Halt, Cause: mercadopago.CauseAccount, Certain: true, Sent: true}
		disprove := func() {
			t.Helper()
			result(refused)
			wantHalted("after the first refusal", true)
			result(success())
			wantHalted("after a payment", false)
		}
		disprove()
		for range 9 {
			result(refused)
		}
		wantHalted("after nine refusals of a disproved cause", false)
		result(refused)
		wantHalted("after ten", true)
		result(success())
		result(tokenRefused())
		wantHalted("after an answer that names the token", true)
		result(success())
		token.Add(1)
		disprove()
		<-time.After(9 * time.Minute)
		result(refused)
		wantHalted("nine minutes later", false)
		result(success()) // disproves it again
		<-time.After(9 * time.Minute)
		result(refused)
		wantHalted("nine minutes after the last payment", false)
		result(success())
		<-time.After(10 * time.Minute)
		disprove()
	})
}
