package capture

import (
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
// halted, but for single ones that try whether that is over. These are charges,
// each for another event, so that one that fails by itself does not keep the gate
// shut: while the API is down from the head of the queue, and whoever got no answer
// goes to its end; while the service is halted as [gate.prober] chooses.
//
// Reads have a queue of their own: they tell little of whether charges are
// taken, so they open no circuit, and try nothing while a charge waits.
type gate struct {
	pace       *rate.Limiter // nil: no limit
	credential func() uint64 // a number that changes with the access token
	metrics    *Metrics
	log        *slog.Logger
	// changes has room for one: something that the pipeline looks at changed.
	changes chan struct{}

	mu       sync.Mutex
	charges  queue
	reads    queue
	arrivals uint64 // at the queues
	calls    int    // passes that are out, or given to one in a queue
	limit    inFlight
	breaker  circuitbreaker.CircuitBreaker[any]
	epoch    int  // counts how often the circuit closed
	probing  bool // a call is out that asks whether the API is back
	halt     *halt
	halts    uint64 // counts how often the service was halted
	detector detector
	shutAt   time.Time // since when it is shut; zero: it is not
	openedBy string    // the last answer that counted against the circuit
	shown    struct{ state, cause string }
}

// pass is leave to make one call.
type pass struct {
	kind       passKind
	epoch      int    // the gate's when it was given
	credential uint64 // the access token's number then
	halts      uint64 // the gate's then
	halt       *halt  // of a haltProbe: what it tries
}

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
		detector:   newDetector(conf.RefusalRun),
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
	g.detector.credential = g.credential()
	if conf.RateLimit > 0 {
		// One at a time: what was held up by an outage must not come all at once.
		g.pace = rate.NewLimiter(rate.Limit(conf.RateLimit), 1)
	}
	return g
}

// enter waits for leave to make a call, a charge or a read, about a subject. The
// error is an [*AbandonedError].
func (g *gate) enter(ctx context.Context, giveUp <-chan struct{}, about subject, read bool) (pass, error) {
	if err := stopped(ctx, giveUp); err != nil {
		return pass{}, err
	}
	p, w := g.join(about, read, g.credential())
	if w == nil {
		return p, nil
	}
	defer g.quit(w)
	for {
		p, ok, again := g.admit(w, g.credential())
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

// shut reports whether the API is down or the service halted: no more than
// single calls go out.
func (g *gate) shut() bool { return g.halt != nil || !g.breaker.IsClosed() }

// open reports whether all that calls have to wait for is each other.
func (g *gate) open() bool { return g.pace == nil && !g.shut() }

// admit gives w its pass if it is its turn and the gate is open. Where only
// time is missing, it says how much.
func (g *gate) admit(w *waiter, credential uint64) (p pass, ok bool, again time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	shut := g.shut()
	switch {
	case w.given:
		w.leave()
		return g.usualPass(credential), true, 0
	case g.halt != nil && g.prober() != w:
		return pass{}, false, 0
	case g.halt == nil && w.queue.head() != w:
		return pass{}, false, 0
	case shut && w.queue == &g.reads && g.charges.head() != nil: // a charge tells more
		return pass{}, false, 0
	case !shut && g.calls >= g.limit.now():
		return pass{}, false, 0
	case g.halt != nil:
		if again = g.halt.probeIn(credential); again > 0 || g.halt.probing {
			return pass{}, false, again
		}
	case shut:
		if again = g.breaker.RemainingDelay(); again > 0 || g.probing {
			return pass{}, false, again
		}
	}
	if again = g.turnIn(); again > 0 {
		return pass{}, false, again
	}
	p = g.usualPass(credential)
	switch {
	case g.halt != nil:
		g.halt.probing = true
		g.halt.newest = !g.halt.newest
		p.kind, p.halt = haltProbe, g.halt
	case shut:
		if !g.breaker.TryAcquirePermit() {
			return pass{}, false, time.Millisecond // its time is as good as come
		}
		g.probing = true
		p.kind = circuitProbe
	}
	w.leave()
	g.calls++
	g.look()
	g.changed() // another one may be begun
	return p, true, 0
}

func (g *gate) usualPass(credential uint64) pass {
	return pass{kind: usual, epoch: g.epoch, credential: credential, halts: g.halts}
}

// turnIn gives the time until the rate allows a call, and takes the turn where
// that is now.
func (g *gate) turnIn() time.Duration {
	if g.pace == nil {
		return 0
	}
	turn := g.pace.Reserve()
	again := turn.Delay()
	if again > 0 {
		turn.Cancel()
	}
	return again
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

// abort gives a pass back that was not used, or whose call was broken off: it
// told nothing.
func (g *gate) abort(p pass) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls--
	switch p.kind {
	case circuitProbe:
		g.probing = false
		// The library takes no permit back; the next one may try at once.
		g.breaker.RecordFailure()
		g.breaker.HalfOpen()
	case haltProbe:
		p.halt.probing = false
	case usual:
	}
	g.look()
}

// leave gives a pass back with what the call gave, and returns what that has to do
// with the service as a whole. For a suspect, the run is the evidence that it is
// part of.
func (g *gate) leave(p pass, about subject, a mercadopago.Answer) (bearing, *run) {
	credential := g.credential()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls--
	g.limit.learn(a)
	g.record(p, a)
	g.detector.follow(credential)
	b, r, found := g.detector.judge(about, a, g.halt, p.credential)
	if found != nil {
		g.halted(found, p.credential)
	}
	if a.Payment != nil && !a.Read && a.Cause != mercadopago.CauseContradiction {
		g.paid(p, about)
	}
	if p.kind == haltProbe {
		g.probed(p, a)
		g.changed() // another one may be begun
	}
	if g.putsOff(a) {
		b = ofTheService
	}
	g.look()
	return b, r
}

// putsOff reports whether an answer decides nothing while the service is halted.
// That the payer is refused is a rejection, which is final, and may come of the
// very thing that is wrong: with the token of another application every payer is
// refused. A request that the API finds fault with is parked during a halt for
// another cause: an operator can have it tried again, and the API looked at the
// request, whoever asked.
func (g *gate) putsOff(a mercadopago.Answer) bool {
	return g.halt != nil && a.Cause == mercadopago.CausePayer && a.Meaning == mercadopago.Rejected
}

// standing returns what has become of a suspect answer that is evidence in a run;
// if it is suspect still, when to look again.
func (g *gate) standing(r *run, a mercadopago.Answer) (b bearing, again time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch again = confirmAfter - time.Since(r.last); {
	case r.ended && r.proven:
		return ofTheEvent, 0
	case r.ended, g.putsOff(a):
		return ofTheService, 0
	case again > 0:
		return suspect, again
	case !g.breaker.IsClosed(): // nobody is answered, so nothing can confirm it
		return suspect, confirmAfter
	}
	return ofTheEvent, 0
}

// record tells the circuit. What was under way when it changed tells of an
// earlier time, and a read that fails, of reads.
func (g *gate) record(p pass, a mercadopago.Answer) {
	failed := a.Meaning == mercadopago.Retry
	switch {
	case p.kind == circuitProbe:
		g.probing = false
	case p.kind == haltProbe, p.epoch != g.epoch, !g.breaker.IsClosed(), a.Read:
		return
	}
	if failed {
		g.openedBy = a.Detail
		g.breaker.RecordFailure()
		return
	}
	g.breaker.RecordSuccess()
	if p.kind == circuitProbe {
		g.epoch++
		g.detector.shift(time.Since(g.shutAt)) // nobody was answered meanwhile
	}
}
