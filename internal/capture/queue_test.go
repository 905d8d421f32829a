package capture

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"

	"payment-capture/internal/mercadopago"
)

func testGate(maxInFlight int) *gate {
	return newGate(Config{
		MaxInFlight: maxInFlight, Log: slog.New(slog.DiscardHandler), Metrics: NewMetrics(prometheus.NewRegistry()),
	})
}

// fill takes all passes of a gate.
func fill(t *testing.T, g *gate) []pass {
	t.Helper()
	var passes []pass
	for range g.limit.now() {
		p, w := g.join(subject{}, false, 0)
		if w != nil {
			t.Fatalf("pass %d of %d has to be waited for", len(passes)+1, g.limit.now())
		}
		passes = append(passes, p)
	}
	return passes
}

// wait takes a place in the queue.
func wait(t *testing.T, g *gate, read bool) *waiter {
	t.Helper()
	_, w := g.join(subject{}, read, 0)
	if w == nil {
		t.Fatal("a pass is there at once")
	}
	return w
}

func checkGate(t *testing.T, g *gate, calls, waiting int) {
	t.Helper()
	if h := g.health(); h.Calls != calls || h.Waiting != waiting {
		t.Errorf("%d calls and %d waiting, want %d and %d", h.Calls, h.Waiting, calls, waiting)
	}
}

func wentWell() mercadopago.Answer {
	return mercadopago.Answer{Meaning: mercadopago.Captured, Sent: true, Payment: &mercadopago.Payment{}}
}

func refused() mercadopago.Answer {
	return mercadopago.Answer{Meaning: mercadopago.Halt, Cause: mercadopago.CauseCredential, Certain: true, Sent: true, Reason: "the token is refused"}
}

// Charges and reads are let in as they came, whichever of the two queues they
// stand in, one for each pass that comes back.
func TestPassesInTheOrderOfArrival(t *testing.T) {
	t.Parallel()
	g := testGate(3)
	passes := fill(t, g)
	var came []*waiter
	for i := range 12 {
		came = append(came, wait(t, g, i%4 == 1 || i%4 == 2))
	}
	checkGate(t, g, 3, 12)
	for i, w := range came {
		if w.given {
			t.Fatalf("number %d has a pass before one came back", i)
		}
		g.leave(passes[i], subject{}, wentWell())
		if !w.given {
			t.Fatalf("number %d was not given the pass that came back", i)
		}
		checkGate(t, g, 3, 11-i)
		if i%2 == 1 { // some take theirs at once, some later
			continue
		}
		passes = append(passes, take(t, g, w))
		if i > 0 {
			passes = append(passes, take(t, g, came[i-1]))
		}
	}
}

func take(t *testing.T, g *gate, w *waiter) pass {
	t.Helper()
	p, ok, _ := g.admit(w, 0)
	if !ok || w.place != nil {
		t.Fatal("a pass that was given cannot be taken")
	}
	return p
}

// What was given and not taken is taken back where the gate shuts: those who have
// it stand at the head of the queue again.
func TestPassesAreTakenBack(t *testing.T) {
	t.Parallel()
	g := testGate(4)
	passes := fill(t, g)
	charge, read, other := wait(t, g, false), wait(t, g, true), wait(t, g, false)
	g.leave(passes[0], subject{}, wentWell())
	g.leave(passes[1], subject{}, wentWell())
	if !charge.given || !read.given || other.given {
		t.Fatalf("given: %t, %t, %t", charge.given, read.given, other.given)
	}
	g.leave(passes[2], subject{}, refused())
	checkGate(t, g, 1, 3)
	for i, w := range []*waiter{charge, read, other} {
		if _, ok, _ := g.admit(w, 0); ok || w.given {
			t.Errorf("number %d is let in while the service is halted", i)
		}
	}
	// A new token: one tries whether it is taken, and it is.
	p, ok, _ := g.admit(charge, 1)
	if !ok || p.kind != haltProbe {
		t.Fatalf("the head of the queue is not let in to try: %+v", p)
	}
	checkGate(t, g, 2, 2)
	g.leave(p, subject{}, wentWell())
	if !read.given || !other.given {
		t.Error("the others are not let in when the halt is over")
	}
	checkGate(t, g, 3, 0)
}

// Whoever gives up hands a pass on that was given to it.
func TestPassOfOneWhoGaveUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := testGate(1)
		passes := fill(t, g)
		ctx, cancel := context.WithCancel(t.Context())
		var left error
		var wg sync.WaitGroup
		wg.Go(func() { _, left = g.enter(ctx, nil, subject{}, false) })
		synctest.Wait()
		next := wait(t, g, false)
		cancel()
		wg.Wait()
		if left == nil {
			t.Error("no error for one that was cut short")
		}
		first, second := next, wait(t, g, true)
		g.leave(passes[0], subject{}, wentWell())
		if !first.given || second.given {
			t.Fatalf("given: %t, %t", first.given, second.given)
		}
		g.quit(first)
		if !second.given {
			t.Error("the pass was not handed on")
		}
		checkGate(t, g, 1, 0)
		g.quit(second)
		checkGate(t, g, 0, 0)
		if _, w := g.join(subject{}, false, 0); w != nil {
			t.Error("a pass is not there at once though nobody has one")
		}
	})
}

// Nobody is forgotten, and no pass is lost, whatever comes in whatever order.
func TestGateUnderLoad(t *testing.T) {
	t.Parallel()
	const events, most = 2000, 5
	g := testGate(most)
	var out, over atomic.Int32
	var wg sync.WaitGroup
	for i := range events {
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() {
			defer cancel()
			for {
				p, err := g.enter(ctx, nil, subject{}, i%7 == 0)
				switch {
				case err != nil:
					return
				case out.Add(1) > most:
					over.Add(1)
				}
				runtime.Gosched()
				out.Add(-1)
				if i%5 == 0 {
					g.abort(p)
					cancel() // it waits again, and gives up
					continue
				}
				g.leave(p, subject{}, wentWell())
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
	checkGate(t, g, 0, 0)
}

// BenchmarkGate is a pass, taken and given back: nobody waits, or hundreds do.
func BenchmarkGate(b *testing.B) {
	for name, goroutines := range map[string]int{"alone": 1, "crowd": 256} {
		b.Run(name, func(b *testing.B) {
			g := testGate(32)
			b.ReportAllocs()
			b.SetParallelism(goroutines)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					p, err := g.enter(b.Context(), nil, subject{}, false)
					if err != nil {
						b.Error(err)
						return
					}
					runtime.Gosched() // the call
					g.leave(p, subject{}, wentWell())
				}
			})
		})
	}
}
