package capture

import (
	"container/list"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"golang.org/x/time/rate"

	"payment-capture/internal/mercadopago"
)

const (
	// The circuit opens when so many of the last calls, of whatever events,
	// did not get an answer that says anything: an API that fails for every
	// third call is slow work, one that fails for nearly all is down.
	circuitFailures, circuitCalls = 16, 20
	// circuitDelay is between two calls that ask whether the API is back.
	circuitDelay = 5 * time.Second
)

// gate is what every call to the API has to pass. It lets calls out in the
// order in which they came to it, as many at once as the API is known to take,
// and none while the API is down (the circuit is open) or the service is
// halted, but for single ones that try whether that is over. These are taken
// from the head of the queue, and whoever was refused goes to its end: so each
// is for another event, and one that fails by itself does not keep it shut.
type gate struct {
	pace       *rate.Limiter // nil: no limit
	credential func() uint64 // a number that changes with the access token
	metrics    *Metrics
	log        *slog.Logger
	// changes has room for one: something that the pipeline looks at changed.
	changes chan struct{}

	mu       sync.Mutex
	queue    list.List // of *waiter
	calls    int       // passes that are out
	limit    inFlight
	breaker  circuitbreaker.CircuitBreaker[any]
	halt     *halt // nil: not halted
	guard    guard
	shutAt   time.Time     // since when it is shut; zero: it is not
	shutFor  time.Duration // how long it was shut before, in all
	openedBy string        // the last answer that counted against the circuit
	shown    struct{ state, cause string }
}

type waiter struct {
	place *list.Element
	wake  chan struct{} // has room for one
}

// pass is leave to make one call.
type pass struct{ kind passKind }

type passKind uint8

const (
	usual        passKind = iota + 1
	circuitProbe          // tries whether the API is back
	haltProbe             // tries whether the halt is over
)

func newGate(conf Config) *gate {
	g := &gate{
		credential: conf.Credential,
		metrics:    conf.Metrics,
		log:        conf.Log,
		changes:    make(chan struct{}, 1),
		limit:      newInFlight(conf.MaxInFlight),
		guard:      guard{limit: conf.RefusalRun},
		breaker: circuitbreaker.NewBuilder[any]().
			WithFailureThresholdRatio(circuitFailures, circuitCalls).
			WithSuccessThreshold(1). // so one call at a time asks whether it is back
			// Instances that saw the API go down together do not come back to it together.
			WithDelay(circuitDelay).WithJitterFactor(0.2).
			Build(),
	}
	g.shown.state = statePassing
	g.metrics.state(statePassing, "")
	g.metrics.calling(0, g.limit.now())
	if g.credential == nil {
		g.credential = func() uint64 { return 0 }
	}
	if conf.RateLimit > 0 {
		// One at a time: what was held up by an outage must not come all at once.
		g.pace = rate.NewLimiter(rate.Limit(conf.RateLimit), 1)
	}
	return g
}

// enter waits for leave to make a call. The error is an [*AbandonedError].
func (g *gate) enter(ctx context.Context, giveUp <-chan struct{}) (pass, error) {
	for {
		p, err := g.wait(ctx, giveUp)
		if err != nil || g.pace == nil {
			return p, err
		}
		turn := g.pace.Reserve()
		if err := sleep(ctx, giveUp, turn.Delay()); err != nil {
			turn.Cancel()
			g.abort(p)
			return pass{}, err
		}
		if g.holds(p) {
			return p, nil
		}
		g.abort(p) // it was shut meanwhile
	}
}

func (g *gate) wait(ctx context.Context, giveUp <-chan struct{}) (pass, error) {
	if err := stopped(ctx, giveUp); err != nil {
		return pass{}, err
	}
	w := g.join()
	defer g.quit(w)
	for {
		p, ok, again := g.admit(w)
		if ok {
			return p, nil
		}
		var timer <-chan time.Time
		if again > 0 {
			timer = time.After(again)
		}
		select {
		case <-w.wake:
		case <-timer:
		case <-ctx.Done():
			return pass{}, &AbandonedError{Cause: context.Cause(ctx)}
		case <-giveUp:
			return pass{}, &AbandonedError{Cause: errHandOver}
		}
	}
}

func (g *gate) join() *waiter {
	g.mu.Lock()
	defer g.mu.Unlock()
	w := &waiter{wake: make(chan struct{}, 1)}
	w.place = g.queue.PushBack(w)
	return w
}

func (g *gate) quit(w *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.queue.Remove(w.place)
	g.wakeHead()
}

// admit gives w its pass if it is its turn and the gate is open. Where only
// time is missing, it says how much.
func (g *gate) admit(w *waiter) (p pass, ok bool, again time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.queue.Front() != w.place {
		return pass{}, false, 0
	}
	if g.halt != nil {
		if again = g.halt.probeIn(g.credential()); again > 0 || g.halt.probing {
			return pass{}, false, again
		}
		g.halt.probing = true
		g.calls++
		return pass{haltProbe}, true, 0
	}
	if g.calls >= g.limit.now() {
		return pass{}, false, 0
	}
	if !g.breaker.TryAcquirePermit() {
		return pass{}, false, g.breaker.RemainingDelay()
	}
	g.calls++
	p = pass{usual}
	if g.breaker.IsHalfOpen() {
		p = pass{circuitProbe}
	}
	g.look()
	return p, true, 0
}

// take counts calls that were made under one pass against the rate limit.
func (g *gate) take(more int) {
	if g.pace == nil {
		return
	}
	for range more {
		g.pace.Reserve()
	}
}

// holds reports whether a pass that was given some time ago is still good.
func (g *gate) holds(p pass) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return p.kind != usual || (g.halt == nil && g.breaker.IsClosed())
}

// abort gives a pass back that was not used, or whose call was broken off.
func (g *gate) abort(p pass) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls--
	switch p.kind {
	case circuitProbe:
		g.breaker.RecordFailure() // the library has no other way to take a probe back
	case haltProbe:
		g.halt.probing = false
	case usual:
	}
	g.look()
}

// leave gives a pass back with what the call gave. It reports whether that is
// a matter of the service's as a whole: then it says nothing about the event,
// which waits at the gate again.
func (g *gate) leave(p pass, about subject, a mercadopago.Answer) (halted bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls--
	g.limit.learn(a)
	// What was under way when the circuit changed tells of an earlier time.
	if p.kind == circuitProbe || (p.kind == usual && g.breaker.IsClosed()) {
		if a.Meaning == mercadopago.Retry {
			g.openedBy = a.Detail
			g.breaker.RecordFailure()
		} else {
			g.breaker.RecordSuccess()
		}
	}
	found := haltOf(a)
	if found == nil {
		found = g.guard.judge(about, a, g.halt)
	}
	if found != nil {
		g.halted(found)
	}
	if p.kind == haltProbe {
		g.probed(found, a)
	}
	g.look()
	return found != nil
}

func (g *gate) wakeHead() {
	if head := g.queue.Front(); head != nil {
		select {
		case head.Value.(*waiter).wake <- struct{}{}: //nolint:forcetypeassert // nothing else is put in
		default:
		}
	}
}
