// Package capture takes one event to its decision. It calls the API, under the
// event's id as the idempotency key and with a body that is the same each time,
// until an answer decides or the budget is spent. It never guesses: a payment whose
// result is unknown is looked up, and the event is parked if the lookup does not
// decide either.
//
// Before the first call it writes an attempt to the ledger, so that the next owner
// of the event knows that the buyer may have paid. Each call needs a permit of the
// [limiter.Limiter] and the lease on the event.
//
// capture.go has the calls, attempt.go the state and budget of one event,
// writeattempt.go the attempts in the ledger, and reconcile.go the lookup.
package capture

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/limiter"
	"payment-capture/internal/mercadopago"
	"payment-capture/internal/rules"
)

// API makes single calls; [mercadopago.Client] implements it.
type API interface {
	// Capture charges once. It never repeats the call by itself.
	Capture(ctx context.Context, r mercadopago.Request) mercadopago.Answer
	// Get reads a payment that the API named in an answer to r.
	Get(ctx context.Context, r mercadopago.Request, paymentID string) mercadopago.Answer
	// Find searches for payments under r's reference that were made since a time.
	Find(ctx context.Context, r mercadopago.Request, since time.Time) mercadopago.Found
}

// Lease is the right to call the API for an event, and what the ledger has of it,
// from this owner and earlier ones.
type Lease interface {
	// GiveUp returns a channel that is closed when no further call may begin; the
	// call in flight is finished.
	GiveUp() <-chan struct{}
	// Current reports whether the lease is still known to be good. It is checked
	// before every call. A lost lease ends the context.
	Current() bool
	// SetWaiting sets what the event waits for, in words for an operator, and the
	// number of its calls so far.
	SetWaiting(waitsFor string, calls int)
	// StepAside lets other orders with the event's record key go first, because the event
	// waits for the end of a halt, which one of them may bring.
	StepAside()
	// Turn returns a channel that is closed once the events before this one are decided.
	// Until then it must not be called for.
	Turn() <-chan struct{}
	// PriorAttempt returns the earliest attempt without a decision from an earlier
	// owner; nil: there is none.
	PriorAttempt() *event.Attempt
	// Resent returns why the event was parked before an operator resent it; nil: it was
	// not resent.
	Resent() *event.ParkInfo
	// Bar returns why the event must not be charged, whatever the rules say; nil: nothing
	// bars it.
	Bar() *event.ParkInfo
	// Attempt writes an attempt durably. After an error it may be written or not.
	// [event.ErrStartOver] means that the event must be looked up again.
	Attempt(ctx context.Context, a event.Attempt) error
	// Withdraw removes the attempt, because it had no effect for certain. It waits for
	// that, some seconds at most.
	Withdraw(ctx context.Context) error
	// Under returns what is known of every event with an attempt or a payment for a charge,
	// this one included. There may be others of its reference among them.
	Under(ctx context.Context, charge event.Charge) ([]event.Known, error)
	// CatchUp returns when all is known that any instance had written when it was
	// called.
	CatchUp(ctx context.Context) error
}

// Config configures a Capturer.
type Config struct {
	rules.Rules
	Deadline time.Duration // how long an event may be tried
	MaxTries int           // how many calls an event may have
	// ReconcileFor is how long a payment is searched for before an event is parked
	// whose calls may have made one; 0: one search.
	ReconcileFor time.Duration
	Log          *slog.Logger
	Metrics      *Metrics
}

// AbandonedError reports that the event is left undecided for its next owner.
type AbandonedError struct{ Cause error }

func (e *AbandonedError) Error() string { return "left to the next owner: " + e.Cause.Error() }

func (e *AbandonedError) Unwrap() error { return e.Cause }

// Capturer captures events: it calls the API until there is a decision.
type Capturer struct {
	conf    Config
	api     API
	limiter *limiter.Limiter
	known   *known
}

// New returns a Capturer.
func New(conf Config, api API, calls *limiter.Limiter) *Capturer {
	return &Capturer{conf: conf, api: api, limiter: calls, known: newKnown()}
}

// Capture returns the decision of an event, an [*AbandonedError] if ctx ended or the
// lease was given up, or [event.ErrStartOver]. While the API is down or the service
// halted it waits.
func (c *Capturer) Capture(ctx context.Context, e *event.ReadyToCapture, lease Lease) (*event.Decision, error) {
	a, parking := c.begin(e, lease)
	result := event.Result{ParkInfo: parking}
	if parking == nil {
		var err error
		if result, err = c.capture(ctx, a, lease); err != nil {
			c.withdrawUncharged(ctx, a, lease)
			return nil, err
		}
	}
	return &event.Decision{Result: result, At: event.Now(), Attempt: a.entry}, nil
}

func (c *Capturer) capture(ctx context.Context, a *captureState, lease Lease) (event.Result, error) {
	if err := c.awaitTurn(ctx, a, lease); err != nil {
		return event.Result{}, err
	}
	if result, decided, err := c.resume(ctx, a, lease); decided || err != nil {
		return result, err
	}
	for {
		scope, err := c.call(ctx, a, lease)
		switch {
		case err != nil:
			return event.Result{}, err
		case a.noCall != nil:
			return c.lookUp(ctx, a, lease, a.noCall.Reason, a.noCall.Detail)
		case scope == limiter.ScopeService:
			continue
		}
		result, decided, err := c.decide(ctx, a, lease)
		if decided || err != nil {
			return result, err
		}
		wait := backoff(a.calls, a.last.RetryAfter)
		if c.exhausted(a, wait) {
			return c.lookUp(ctx, a, lease, a.last.ParkReason, "the budget is spent and no answer decided")
		}
		lease.SetWaiting("waits to retry: "+a.last.Detail, a.calls)
		if err := c.rest(ctx, lease, wait); err != nil {
			return event.Result{}, err
		}
		if a.counted {
			a.budget.used += wait - a.last.RetryAfter
		}
	}
}

// resume applies the rules to an event before its first call by this owner. They
// may decide it, or have its payment looked up first.
func (c *Capturer) resume(ctx context.Context, a *captureState, lease Lease) (_ event.Result, decided bool, err error) {
	under := rules.Case{Event: a.event, Body: a.entry.Body}
	if charge, compares := c.conf.Guard.Compared(a.event); compares {
		if under.Known, err = lease.Under(ctx, charge); err != nil {
			return event.Result{}, false, &AbandonedError{Cause: err}
		}
	}
	d := c.conf.Evaluate(under, rules.Disposition{Prior: a.prior, Resent: a.resent, Bar: lease.Bar()}, time.Now())
	if a.prior != nil && d.Action != rules.Charge {
		if err := c.writePrior(ctx, a, lease); err != nil {
			return event.Result{}, false, err
		}
	}
	switch {
	case d.Why != nil:
		if a.untried() {
			c.withdraw(ctx, a, lease)
		}
		result, err := c.lookUp(ctx, a, lease, d.Why.Reason, d.Why.Detail)
		return result, true, err
	case d.Action == rules.LookUpThenCharge:
		// Only a captured payment decides here. Otherwise the charge is retried under its
		// key, which the API still knows.
		waiting := "searches for the payment of an attempt of " + a.entry.First.UTC().Format(time.RFC3339)
		result, decided, _, err := c.search(ctx, a, lease, waiting, true)
		return result, decided, err
	}
	return event.Result{}, false, nil
}

// call makes one call, as soon as it is allowed, and returns what its answer is
// about. If no call may be made any more, a.noCall is set.
func (c *Capturer) call(ctx context.Context, a *captureState, lease Lease) (limiter.Scope, error) {
	p, err := c.acquire(ctx, a, lease)
	if err != nil || a.noCall != nil {
		return 0, err
	}
	began := time.Now()
	if a.calls > 0 {
		lease.SetWaiting("is being retried", a.calls)
	}
	a.uncalled = false
	a.request.Resends = a.resends
	if a.pollID != "" {
		a.last = ofRead(c.api.Get(ctx, a.request, a.pollID))
	} else {
		a.last = c.api.Capture(ctx, a.request)
	}
	a.calls++
	a.resends++
	c.called(ctx, a, began)
	if ctx.Err() != nil && !a.decided() {
		c.limiter.Cancel(p)
		return 0, &AbandonedError{Cause: context.Cause(ctx)}
	}
	a.mayHaveChargedBefore = a.mayHaveCharged
	a.mayHaveCharged = a.mayHaveCharged || a.last.EffectUnknown()
	a.counted = false
	scope := c.limiter.Release(p, resultOf(a.last))
	if a.harmless() {
		c.withdraw(ctx, a, lease)
	}
	if scope != limiter.ScopeService {
		a.counted = a.budget.count(p, time.Since(began))
	}
	if scope == limiter.ScopeUnconfirmed {
		lease.SetWaiting("refusal unconfirmed, waits for a payment of another event: "+a.last.Detail, a.calls)
		if scope, err = c.limiter.Confirm(ctx, lease.GiveUp(), p); err != nil {
			return 0, stopped(ctx, lease.GiveUp())
		}
	}
	if scope == limiter.ScopeService {
		lease.SetWaiting("waits for the end of a halt: "+a.last.Detail, a.calls)
		lease.StepAside()
		if a.uncharged() { // its next call may be hours away
			c.withdraw(ctx, a, lease)
		}
	}
	return scope, nil
}

// resultOf returns what the limiter has to know of an answer.
func resultOf(a mercadopago.Answer) limiter.Result {
	r := limiter.Result{
		Meaning: a.Meaning, Cause: a.Cause, Certain: a.Certain, Sent: a.Sent, Payment: a.Payment != nil,
		Overloaded: a.Overloaded(), Detail: a.Detail, RequestID: a.RequestID,
	}
	if a.Meaning == mercadopago.Halt {
		r.Detail = a.Reason
	}
	return r
}

func (c *Capturer) called(ctx context.Context, a *captureState, began time.Time) {
	c.conf.Metrics.called(ctx, a.last, time.Since(began))
	c.conf.Log.LogAttrs(ctx, slog.LevelDebug, "call",
		slog.String("event_id", a.event.ID), slog.String("order_id", a.event.OrderID), slog.Int("try", a.calls),
		slog.String("cause", a.last.Cause.String()), slog.String("meaning", a.last.Meaning.String()),
		slog.Int("http_status", a.last.HTTPStatus), slog.String("request_id", a.last.RequestID))
}

// acquirePermit waits for a permit and for the lease to be current: otherwise
// another instance may own the event already.
func (c *Capturer) acquirePermit(ctx context.Context, a *captureState, lease Lease, read bool) (*limiter.Permit, error) {
	for {
		if err := c.awaitLease(ctx, a, lease); err != nil {
			return nil, err
		}
		p, err := c.limiter.Acquire(ctx, lease.GiveUp(), a.subject, read)
		if err != nil {
			return nil, stopped(ctx, lease.GiveUp())
		}
		if lease.Current() {
			return p, nil
		}
		c.limiter.Cancel(p)
	}
}

// leaseCheck is how often a lease that is not current is checked again.
const leaseCheck = 200 * time.Millisecond

// awaitLease waits until the lease is current.
func (c *Capturer) awaitLease(ctx context.Context, a *captureState, lease Lease) error {
	for !lease.Current() {
		lease.SetWaiting("waits for the consumer group: another instance may own the partition", a.calls)
		if err := c.rest(ctx, lease, leaseCheck); err != nil {
			return err
		}
	}
	return stopped(ctx, lease.GiveUp())
}

// ofRead weakens an answer to a read or a search. If the API refuses them, that is
// no reason to stop charging, unless it refuses the token.
func ofRead(a mercadopago.Answer) mercadopago.Answer {
	if a.Meaning == mercadopago.Halt && !a.Cause.RefusesToken() {
		a.Meaning = mercadopago.Wait
	}
	return a
}

// decided reports whether the last answer decides even if the context has ended.
func (a *captureState) decided() bool {
	return a.last.Meaning == mercadopago.Captured || (a.last.Meaning == mercadopago.Rejected && a.doubt() == "")
}

// decide makes the decision of the last answer, if it decides.
func (c *Capturer) decide(ctx context.Context, a *captureState, lease Lease) (result event.Result, decided bool, err error) {
	answer := a.last
	switch answer.Meaning {
	case mercadopago.Captured:
		return c.outcome(ctx, a, event.TypeCaptured), true, nil
	case mercadopago.Rejected:
		if why := a.doubt(); why != "" {
			result, err := c.lookUp(ctx, a, lease, event.ParkErrorAfterUnknown, why)
			return result, true, err
		}
		return c.outcome(ctx, a, event.TypeRejected), true, nil
	case mercadopago.Park:
		// A search shows the status that the documented sample of a read lacks. And
		// an answer without a payment does not show what an earlier call did.
		reason, late := answer.ParkReason, a.mayHaveChargedBefore && answer.Payment == nil
		if late && reason == event.ParkRefusedRequest { // which says that nothing was charged
			reason = event.ParkErrorAfterUnknown
		}
		if late || (answer.Read && answer.Cause == mercadopago.CauseUnknownStatus) {
			result, err := c.lookUp(ctx, a, lease, reason, answer.Detail)
			return result, true, err
		}
		return c.park(a, answer.ParkReason, answer.Detail), true, nil
	case mercadopago.Poll:
		if a.pollID == "" && answer.Payment != nil {
			a.pollID, a.resends = answer.Payment.ID, 0
		}
	case mercadopago.Retry, mercadopago.Wait:
	case mercadopago.Halt: // of this event alone, by the limiter's conclusion
	}
	return event.Result{}, false, nil
}

// outcome makes the outcome that the last answer decides. A payment belongs to one
// event: if another event of this process has it, one of the two is wrong.
func (c *Capturer) outcome(ctx context.Context, a *captureState, outcomeType string) event.Result {
	e, answer := a.event, a.last
	o := &event.Outcome{
		Type: outcomeType, Subject: e.OrderID, Time: time.Now(), TraceParent: e.TraceParent,
		EventID: e.ID, OrderID: e.OrderID, Amount: e.Amount, ExternalReference: e.ExternalReference,
	}
	if p := answer.Payment; p != nil {
		if owner, ours := c.known.claim(p.ID, e.ID); !ours {
			c.conf.Log.LogAttrs(ctx, slog.LevelError, "one payment for two events", slog.String("payment_id", p.ID),
				slog.String("event_id", e.ID), slog.String("other_event_id", owner))
			return c.park(a, event.ParkContradictory, fmt.Sprintf("payment %s already belongs to event %s", p.ID, owner))
		}
		c.known.addPayer(a.subject.Payer, p.PayerID)
		o.PaymentID, o.Transactions, o.ProviderReplayed = p.ID, p.Transactions, p.Replayed
		// The API's own time, so that a replay has the same.
		if t := p.UpdatedAt; !t.IsZero() {
			o.Time = t
		}
		if outcomeType == event.TypeCaptured {
			if o.CapturedAt = p.CreatedAt; o.CapturedAt.IsZero() {
				o.CapturedAt = o.Time
			}
		}
	}
	if outcomeType == event.TypeRejected {
		o.Reason = answer.Reason
		o.Category, o.Retry = mercadopago.Classify(answer.Reason)
	}
	c.conf.Log.LogAttrs(ctx, slog.LevelInfo, "event decided", slog.String("type", outcomeType),
		slog.String("event_id", e.ID), slog.String("order_id", e.OrderID), slog.String("payment_id", o.PaymentID),
		slog.String("reason", o.Reason), slog.Int("tries", a.calls), slog.Float64("seconds", time.Since(a.began).Seconds()),
		slog.Bool("provider_replayed", o.ProviderReplayed))
	return event.Result{Outcome: o}
}

func (c *Capturer) park(a *captureState, reason event.ParkReason, detail string) event.Result {
	return event.Result{ParkInfo: &event.ParkInfo{
		Reason: cmp.Or(reason, event.ParkUndecided), Detail: detail, FirstAttempt: a.entry.First, Tries: a.calls,
		HTTPStatus: a.last.HTTPStatus, RequestID: a.last.RequestID,
	}}
}
