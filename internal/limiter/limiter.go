// Package limiter decides when a call to the payment API may be made. All events
// of a process share one [Limiter].
//
// Each call needs a permit. Acquire grants permits in the order of the callers, as
// many at once as the API takes: 429 and 503 halve that number, successes raise it
// again. Release returns a permit with the result of its call.
//
// The circuit breaker stops calls while nearly none of them is answered. Then one
// call at a time, a probe, finds out whether the API is back. Probes are real
// charges, or reads if no charge waits, each of another event, so an event for which
// the API always fails does not keep the circuit open.
//
// The service is halted while our own credential or configuration is wrong, because
// then no event can be captured. Single calls probe this too, at growing intervals.
// A halt recovers by itself: a payment ends it, and a new token is probed at once.
//
// The misconfiguration detector counts refusals over different payers or orders
// without a payment between them; enough of them halt the service. Until then a
// refusal is unconfirmed: it decides its event only when a payment shows that others
// are not refused, or when no more refusals follow.
package limiter

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"golang.org/x/time/rate"

	"payment-capture/internal/mercadopago"
)

const (
	// The circuit opens when so many of the last calls, of whatever events, were not
	// answered: an API that fails every third call is slow, one that fails nearly
	// all is down.
	circuitFailures, circuitCalls = 16, 20
	// circuitDelay is the time between two probes of an API that is down.
	circuitDelay = 5 * time.Second
)

// Config configures a Limiter.
type Config struct {
	MaxInFlight int     // calls at once
	RateLimit   float64 // calls a second; 0: no limit
	// RefusalRun is how many consecutive refusals, over different payers or orders,
	// halt the service; 0: refusals never do.
	RefusalRun int
	// Credential returns a number that changes with the access token; nil: the token
	// never changes.
	Credential func() uint64
	Log        *slog.Logger
	Metrics    *Metrics
}

// Limiter grants permits for calls to the API. It is safe for concurrent use.
type Limiter struct {
	pace       *rate.Limiter // nil: no limit
	credential func() uint64
	metrics    *Metrics
	log        *slog.Logger
	changes    chan struct{} // has room for one
	resting    atomic.Int64  // events between two calls

	// mu guards all that follows.
	mu sync.Mutex
	// Reads have a queue of their own. They show little of whether charges are
	// taken, so they do not open the circuit, and probe only while no charge waits.
	charges, reads queue
	arrivals       uint64 // callers that had to wait
	calls          int    // permits that are in use, or granted to a waiter
	limit          callLimit
	breaker        circuitbreaker.CircuitBreaker[any]
	epoch          int    // how often the circuit closed
	probing        bool   // a circuit probe is in flight
	openedBy       string // the last answer that counted against the circuit
	halt           *halt  // nil: the service is not halted
	halts          uint64 // how often the service was halted
	detector       detector
	stoppedAt      time.Time // when calls stopped; zero: they did not
	shown          struct{ state, cause string }
}

// Permit allows one call. Each one ends with Release or Cancel.
type Permit struct {
	kind       permitKind
	about      Subject
	read       bool
	epoch      int     // the Limiter's when it was granted
	credential uint64  // the access token's number then
	halts      uint64  // the Limiter's then
	halt       *halt   // of a haltProbe: what it probes
	series     *series // of an unconfirmed result: the evidence that it is part of
	result     Result  // once it was released
}

// Probe reports whether the call finds out if an outage or a halt is over, rather
// than being the event's usual call.
func (p *Permit) Probe() bool { return p.kind != usual }

type permitKind uint8

const (
	usual        permitKind = iota
	circuitProbe            // finds out whether the API is back
	haltProbe               // finds out whether the halt is over
)

// Result is what the Limiter has to know of a call.
type Result struct {
	Meaning    mercadopago.Meaning
	Cause      mercadopago.Cause
	Certain    bool   // the API itself names the Cause of a Halt
	Sent       bool   // the request may have reached the API
	Payment    bool   // the answer has a payment
	Overloaded bool   // the API asks for fewer calls
	Calls      int    // HTTP requests made under the permit; 0 counts as 1
	Detail     string // describes the answer; of a Halt, with the remedy
	RequestID  string
}

// Scope is what a result is about.
type Scope uint8

// The scopes.
const (
	ScopeEvent       Scope = iota + 1 // the event: the result may decide it
	ScopeService                      // the service as a whole: the event has to be called again
	ScopeUnconfirmed                  // either of them: Confirm waits until it is known
)

// New returns a Limiter.
func New(conf Config) *Limiter {
	l := &Limiter{
		credential: conf.Credential,
		metrics:    conf.Metrics,
		log:        conf.Log,
		changes:    make(chan struct{}, 1),
		limit:      newCallLimit(conf.MaxInFlight),
		detector:   newDetector(conf.RefusalRun),
		breaker: circuitbreaker.NewBuilder[any]().
			WithFailureThresholdRatio(circuitFailures, circuitCalls).
			WithSuccessThreshold(1). // so there is one probe at a time
			// Instances that saw the API go down together do not come back to it together.
			WithDelay(circuitDelay).WithJitterFactor(0.2).
			Build(),
	}
	l.shown.state = statePassing
	l.metrics.state(statePassing, "")
	l.metrics.calling(0, l.limit.now())
	if l.credential == nil {
		l.credential = func() uint64 { return 0 }
	}
	l.detector.credential = l.credential()
	if conf.RateLimit > 0 {
		// A burst of one, so that callers who waited for an outage do not all call at once.
		l.pace = rate.NewLimiter(rate.Limit(conf.RateLimit), 1)
	}
	return l
}

var errGivenUp = errors.New("given up by the caller")

// stopped returns an error if ctx has ended or giveUp is closed.
func stopped(ctx context.Context, giveUp <-chan struct{}) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-giveUp:
		return errGivenUp
	default:
		return nil
	}
}

// Acquire waits for a permit to charge, or to read, for a subject. It returns an
// error only if ctx ends or giveUp is closed.
func (l *Limiter) Acquire(ctx context.Context, giveUp <-chan struct{}, about Subject, read bool) (*Permit, error) {
	if err := stopped(ctx, giveUp); err != nil {
		return nil, err
	}
	p, w := l.acquireOrQueue(about, read, l.credential())
	if w == nil {
		return p, nil
	}
	defer l.dequeue(w)
	for {
		p, wait := l.tryAcquire(w, l.credential())
		if p != nil {
			return p, nil
		}
		var timer <-chan time.Time
		if wait > 0 {
			timer = time.After(wait)
		}
		select {
		case <-w.wake:
		case <-timer:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-giveUp:
			return nil, errGivenUp
		}
	}
}

// probesOnlyLocked reports whether the API is down or the service halted, so that
// only probes are allowed.
func (l *Limiter) probesOnlyLocked() bool { return l.halt != nil || !l.breaker.IsClosed() }

// freeLocked reports whether callers wait only for each other.
func (l *Limiter) freeLocked() bool { return l.pace == nil && !l.probesOnlyLocked() }

// tryAcquire returns a permit if it is w's turn and a call is allowed. If only time
// is missing, it returns how much.
func (l *Limiter) tryAcquire(w *waiter, credential uint64) (p *Permit, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	stopped := l.probesOnlyLocked()
	switch {
	case w.granted:
		w.leave()
		return l.permitLocked(w.about, w.read, credential), 0
	case l.halt != nil && l.proberLocked() != w, l.halt == nil && w.queue.head() != w:
		return nil, 0
	case stopped && w.queue == &l.reads && l.charges.head() != nil: // a charge shows more
		return nil, 0
	case !stopped && l.calls >= l.limit.now():
		return nil, 0
	case l.halt != nil:
		if wait = l.halt.probeIn(credential); wait > 0 || l.halt.probing {
			return nil, wait
		}
	case stopped:
		if wait = l.breaker.RemainingDelay(); wait > 0 || l.probing {
			return nil, wait
		}
	}
	if wait = l.reserve(); wait > 0 {
		return nil, wait
	}
	p = l.permitLocked(w.about, w.read, credential)
	switch {
	case l.halt != nil:
		l.halt.probing = true
		l.halt.newest = !l.halt.newest
		p.kind, p.halt = haltProbe, l.halt
	case stopped:
		if !l.breaker.TryAcquirePermit() {
			return nil, time.Millisecond // its delay is about to end
		}
		l.probing = true
		p.kind = circuitProbe
	}
	w.leave()
	l.calls++
	l.updateLocked()
	l.signalChange() // another event may start
	return p, 0
}

func (l *Limiter) permitLocked(about Subject, read bool, credential uint64) *Permit {
	return &Permit{about: about, read: read, epoch: l.epoch, credential: credential, halts: l.halts}
}

// reserve takes a call from the rate limit, or returns the time until it allows one.
func (l *Limiter) reserve() time.Duration {
	if l.pace == nil {
		return 0
	}
	reservation := l.pace.Reserve()
	wait := reservation.Delay()
	if wait > 0 {
		reservation.Cancel()
	}
	return wait
}

// Cancel returns a permit that was not used, or whose call was broken off.
func (l *Limiter) Cancel(p *Permit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls--
	switch p.kind {
	case circuitProbe:
		l.probing = false
		// The library takes no permit back; the next one may probe at once.
		l.breaker.RecordFailure()
		l.breaker.HalfOpen()
	case haltProbe:
		p.halt.probing = false
	case usual:
	}
	l.updateLocked()
}

// Release ends a permit with the result of its call, and returns what the result is
// about.
func (l *Limiter) Release(p *Permit, r Result) Scope {
	if l.pace != nil {
		for range r.Calls - 1 {
			l.pace.Reserve()
		}
	}
	credential := l.credential()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls--
	l.limit.learn(r)
	l.recordLocked(p, r)
	l.detector.setCredential(credential)
	p.result = r
	scope, found := l.detector.examine(p, l.halt, l.halt == nil && p.halts != l.halts)
	if found != nil {
		l.haltLocked(found, p.credential)
	}
	if r.Payment && !p.read && r.Cause != mercadopago.CauseContradiction {
		l.paymentLocked(p)
	}
	if p.kind == haltProbe {
		l.probedLocked(p)
		l.signalChange() // another event may start
	}
	if l.postponesLocked(r) {
		scope = ScopeService
	}
	l.updateLocked()
	return scope
}

// postponesLocked reports whether a result is not to decide its event while the
// service is halted: only the refusal of a payer. It is a rejection, which is final, and the halt may explain
// it: with the token of another application every payer is refused. A refused
// request is parked also during a halt for another cause, because an operator can
// retry it, and the API processed the request.
func (l *Limiter) postponesLocked(r Result) bool {
	return l.halt != nil && r.Cause == mercadopago.CausePayer && r.Meaning == mercadopago.Rejected
}

// Confirm waits until it is known what an unconfirmed result is about. It returns
// an error only if ctx ends or giveUp is closed.
func (l *Limiter) Confirm(ctx context.Context, giveUp <-chan struct{}, p *Permit) (Scope, error) {
	defer l.Rest()()
	for {
		scope, over, wait := l.confirmed(p)
		if scope != ScopeUnconfirmed {
			return scope, nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-over:
		case <-ctx.Done():
		case <-giveUp:
		}
		timer.Stop()
		if err := stopped(ctx, giveUp); err != nil {
			return 0, err
		}
	}
}

// confirmed returns what a result is about. If that is unconfirmed still, it
// returns how long to wait, and a channel that ends the wait.
func (l *Limiter) confirmed(p *Permit) (_ Scope, over <-chan struct{}, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := p.series
	switch wait = confirmAfter - time.Since(s.last); {
	case s.ended && s.proven:
		return ScopeEvent, nil, 0
	case s.ended, l.postponesLocked(p.result):
		return ScopeService, nil, 0
	case wait > 0:
		return ScopeUnconfirmed, s.over, wait
	case !l.breaker.IsClosed(): // nobody is answered, so nothing can confirm it
		return ScopeUnconfirmed, s.over, confirmAfter
	}
	return ScopeEvent, nil, 0
}

// Rest counts an event as waiting between two calls until the returned function is
// called.
func (l *Limiter) Rest() (done func()) {
	l.resting.Add(1)
	l.signalChange()
	return func() { l.resting.Add(-1) }
}

// recordLocked records the result of a call in the circuit breaker. A call that began
// before the circuit changed shows an earlier state, and a failed read shows that
// of reads.
func (l *Limiter) recordLocked(p *Permit, r Result) {
	switch {
	case p.kind == circuitProbe:
		l.probing = false
	case p.kind == haltProbe, p.epoch != l.epoch, !l.breaker.IsClosed(), p.read:
		return
	}
	if r.Meaning == mercadopago.Retry {
		l.openedBy = r.Detail
		l.breaker.RecordFailure()
		return
	}
	l.breaker.RecordSuccess()
	if p.kind == circuitProbe {
		l.epoch++
		l.detector.shift(time.Since(l.stoppedAt)) // nobody was answered meanwhile
	}
}
