// Package capture takes one event to its verdict: it asks the API, under the
// event's id as the idempotency key and with a body that is the same each
// time, until an answer decides or the budget is spent. It never guesses: what
// cannot be known is looked up, and parked if that does not tell either.
//
// All captures of a process share one gate: the circuit breaker over the API's
// health, the halt when the credential or the configuration is refused, the
// rate limit and the number of calls at once.
package capture

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/mercadopago"
	"payment-capture/internal/rules"
)

// API makes single calls; [mercadopago.Client] does.
type API interface {
	// Capture sends the charge once. It never sends it twice by itself.
	Capture(ctx context.Context, r mercadopago.Request) mercadopago.Answer
	// Get reads a payment that the API named in an answer to r.
	Get(ctx context.Context, r mercadopago.Request, paymentID string) mercadopago.Answer
	// Find looks for payments under r's reference that were made since a time.
	Find(ctx context.Context, r mercadopago.Request, since time.Time) mercadopago.Found
}

// Lease is the caller's claim to an event.
type Lease interface {
	Journal
	// GiveUp is closed when no further call shall begin; one under way is
	// finished.
	GiveUp() <-chan struct{}
	// Current reports whether the claim is still known to be good; it is asked
	// before every call. One that was lost ends the context.
	Current() bool
	// SetWaiting is told what the event waits for, in words for a person, after so
	// many calls.
	SetWaiting(waitsFor string, calls int)
}

// Journal is what is noted of an event, by this owner and earlier ones: the
// ledger.
type Journal interface {
	// PriorAttempt returns the earliest attempt that was noted before and not decided;
	// nil: the event was never tried.
	PriorAttempt() *event.Attempt
	// Resent reports whether a person sent the event again, after it was parked.
	Resent() bool
	// Attempt notes durably that the event is about to be tried. After an error
	// it may be noted or not.
	Attempt(ctx context.Context, a event.Attempt) error
	// Withdraw takes the attempt back: it had no effect, for certain. It waits for
	// that, some seconds at most.
	Withdraw(ctx context.Context) error
	// UnderReference gives what is known of every event under this one's reference, this
	// one among them.
	UnderReference(ctx context.Context) ([]event.Known, error)
	// CatchUp returns when all is known that any instance had noted when it was
	// called.
	CatchUp(ctx context.Context) error
}

// Config fixes a Capturer.
type Config struct {
	rules.Rules
	Deadline    time.Duration // how long one event is tried
	MaxTries    int           // how often one event is tried
	MaxInFlight int           // calls at once
	RateLimit   float64       // calls a second; 0: no limit
	RefusalRun  int           // how many refusals in a row halt; 0: none do
	// ReconcileFor is how long a payment is searched for before an event is
	// parked whose tries may have made one; 0: it is searched for once.
	ReconcileFor time.Duration
	// Credential gives a number that changes with the access token; nil: it
	// never does.
	Credential func() uint64
	Log        *slog.Logger
	Metrics    *Metrics
}

// AbandonedError says that the event is left undecided for its next owner.
type AbandonedError struct{ Cause error }

func (e *AbandonedError) Error() string { return "left to the next owner: " + e.Cause.Error() }

func (e *AbandonedError) Unwrap() error { return e.Cause }

// Capturer takes events to their verdicts.
type Capturer struct {
	conf Config
	api  API
	gate *gate
	seen *seen

	resting atomic.Int64 // captures between two tries
}

// New makes a Capturer.
func New(conf Config, api API) *Capturer {
	return &Capturer{conf: conf, api: api, gate: newGate(conf), seen: newSeen()}
}

// Capture returns how the event ended, or an [*AbandonedError] when ctx ended
// or hold was given up. While the API is down or the service halted it waits.
func (c *Capturer) Capture(ctx context.Context, e *event.ReadyToCapture, lease Lease) (*event.Decision, error) {
	a, parking := c.begin(e, lease)
	if parking != nil {
		return c.decision(a, event.Result{ParkInfo: parking}), nil
	}
	verdict, err := c.capture(ctx, a, lease)
	if err != nil {
		c.takeBack(ctx, a, lease)
		return nil, err
	}
	return c.decision(a, verdict), nil
}

// decision is what the ledger keeps of a verdict.
func (c *Capturer) decision(a *attempt, v event.Result) *event.Decision {
	return &event.Decision{Result: v, At: event.Now(), Attempt: a.noted}
}

func (c *Capturer) capture(ctx context.Context, a *attempt, lease Lease) (event.Result, error) {
	if verdict, decided, err := c.resume(ctx, a, lease); decided || err != nil {
		return verdict, err
	}
	for {
		what, err := c.try(ctx, a, lease)
		switch {
		case err != nil:
			return event.Result{}, err
		case what == tooLate:
			return c.lookUp(ctx, a, lease, a.late.Reason, a.late.Detail)
		case what == notOfTheEvent:
			continue
		}
		verdict, decided, err := c.judge(ctx, a, lease)
		if decided || err != nil {
			return verdict, err
		}
		wait := backoff(a.calls, a.last.RetryAfter)
		if c.exhausted(a, wait) {
			return c.lookUp(ctx, a, lease, undecidedReason(a.last), "the budget is spent and the answers did not decide")
		}
		lease.SetWaiting("waits to try again: "+a.last.Detail, a.calls)
		if err := c.rest(ctx, lease, wait); err != nil {
			return event.Result{}, err
		}
		if a.drew {
			a.budget.used += wait - a.last.RetryAfter
		}
	}
}

// tried is what came of a try.
type tried uint8

const (
	answered      tried = iota + 1 // to be judged
	notOfTheEvent                  // the answer is about the service as a whole
	tooLate                        // no call was made: none may be any more
)

// try makes one call, when its time has come.
func (c *Capturer) try(ctx context.Context, a *attempt, lease Lease) (tried, error) {
	p, err := c.enterNoted(ctx, a, lease)
	if err != nil {
		return 0, err
	}
	if a.late != nil {
		return tooLate, nil
	}
	began := time.Now()
	if a.calls > 0 {
		lease.SetWaiting("is asked for again", a.calls)
	}
	a.idle = false
	if a.pollID != "" {
		a.last = ofARead(c.api.Get(ctx, a.request, a.pollID))
	} else {
		a.last = c.api.Capture(ctx, a.request)
	}
	a.calls++
	c.called(ctx, a, began)
	if ctx.Err() != nil && !a.decided() {
		c.gate.abort(p)
		return 0, &AbandonedError{Cause: context.Cause(ctx)}
	}
	a.doubtful = a.unknown
	a.unknown = a.unknown || a.last.EffectUnknown()
	a.drew = false
	bearing, run := c.gate.leave(p, a.subject, a.last)
	if a.harmless() {
		c.withdraw(ctx, a, lease)
	}
	if bearing != ofTheService {
		a.drew = a.budget.count(p, time.Since(began))
	}
	if bearing == suspect {
		if bearing, err = c.confirm(ctx, a, lease, run); err != nil {
			return 0, err
		}
	}
	if bearing == ofTheService {
		lease.SetWaiting("waits for the end of a halt: "+a.last.Detail, a.calls)
		if a.uncharged() { // its next call may be hours away
			c.withdraw(ctx, a, lease)
		}
		return notOfTheEvent, nil
	}
	return answered, nil
}

// confirm holds a refusal that would decide the event back until a payment of
// another event shows that it is not our own fault, or no more such refusals come,
// or so many come that the service halts.
func (c *Capturer) confirm(ctx context.Context, a *attempt, lease Lease, r *run) (bearing, error) {
	lease.SetWaiting("waits for a payment to show that it alone is refused: "+a.last.Detail, a.calls)
	c.resting.Add(1)
	defer c.resting.Add(-1)
	c.gate.changed()
	for {
		b, again := c.gate.standing(r, a.last)
		if b != suspect {
			return b, nil
		}
		timer := time.NewTimer(again)
		select {
		case <-timer.C:
		case <-r.over:
		case <-ctx.Done():
		case <-lease.GiveUp():
		}
		timer.Stop()
		if err := stopped(ctx, lease.GiveUp()); err != nil {
			return 0, err
		}
	}
}

func (c *Capturer) called(ctx context.Context, a *attempt, began time.Time) {
	c.conf.Metrics.called(a.last, time.Since(began))
	c.conf.Log.LogAttrs(ctx, slog.LevelDebug, "call",
		slog.String("event_id", a.event.ID), slog.String("order_id", a.event.OrderID), slog.Int("try", a.calls),
		slog.String("cause", a.last.Cause.String()), slog.String("meaning", a.last.Meaning.String()),
		slog.Int("http_status", a.last.HTTPStatus), slog.String("request_id", a.last.RequestID))
}

// enter waits for leave to make a call, and for the group to be heard of:
// without it another instance may have the event already.
func (c *Capturer) enter(ctx context.Context, a *attempt, lease Lease, read bool) (pass, error) {
	for {
		if err := c.current(ctx, a, lease); err != nil {
			return pass{}, err
		}
		p, err := c.gate.enter(ctx, lease.GiveUp(), a.subject, read)
		if err != nil || lease.Current() {
			return p, err
		}
		c.gate.abort(p)
	}
}

// current waits for the claim to be known to be good.
func (c *Capturer) current(ctx context.Context, a *attempt, lease Lease) error {
	for !lease.Current() {
		lease.SetWaiting("waits to hear from the consumer group: until then another instance may have it", a.calls)
		if err := c.rest(ctx, lease, holdEvery); err != nil {
			return err
		}
	}
	return stopped(ctx, lease.GiveUp())
}

// ofARead judges what an answer to a read says of the service: that reading, or
// searching, is refused is no reason to capture nothing, unless it is the token
// that is.
func ofARead(a mercadopago.Answer) mercadopago.Answer {
	if a.Meaning == mercadopago.Halt && !a.Cause.RefusesToken() {
		a.Meaning = mercadopago.Wait
	}
	return a
}

// holdEvery is how often a claim that is in doubt is asked for again.
const holdEvery = 200 * time.Millisecond

// decided reports whether the last answer decides whatever happens around it.
func (a *attempt) decided() bool {
	return a.last.Meaning == mercadopago.Captured || (a.last.Meaning == mercadopago.Rejected && a.doubt() == "")
}

// judge turns the last answer into a verdict, if it decides.
func (c *Capturer) judge(ctx context.Context, a *attempt, lease Lease) (verdict event.Result, decided bool, err error) {
	answer := a.last
	switch answer.Meaning {
	case mercadopago.Captured:
		return c.settle(ctx, a, event.TypeCaptured), true, nil
	case mercadopago.Rejected:
		if why := a.doubt(); why != "" {
			verdict, err := c.lookUp(ctx, a, lease, event.ParkErrorAfterUnknown, why)
			return verdict, true, err
		}
		return c.settle(ctx, a, event.TypeRejected), true, nil
	case mercadopago.Park:
		// The guide's own sample of a read has no status: a search shows it. And
		// an answer without a payment does not tell what an earlier try did.
		if (answer.Read && answer.Cause == mercadopago.CauseUnknownStatus) || (a.doubtful && answer.Payment == nil) {
			verdict, err := c.lookUp(ctx, a, lease, answer.ParkReason, answer.Detail)
			return verdict, true, err
		}
		return c.park(a, answer.ParkReason, answer.Detail), true, nil
	case mercadopago.Poll:
		if a.pollID == "" && answer.Payment != nil {
			a.pollID = answer.Payment.ID
		}
	case mercadopago.Retry, mercadopago.Wait:
	case mercadopago.Halt: // the gate takes it for this event's own
	}
	return event.Result{}, false, nil
}

// settle makes the outcome that the last answer decides. A payment is one
// event's: where another one of this process has it, one of the two is wrong.
func (c *Capturer) settle(ctx context.Context, a *attempt, outcomeType string) event.Result {
	if p := a.last.Payment; p != nil {
		if owner, ours := c.seen.claim(p.ID, a.event.ID); !ours {
			c.conf.Log.LogAttrs(ctx, slog.LevelError, "one payment for two events", slog.String("payment_id", p.ID),
				slog.String("event_id", a.event.ID), slog.String("other_event_id", owner))
			return c.park(a, event.ParkContradictory, fmt.Sprintf("payment %s is that of event %s already", p.ID, owner))
		}
		c.seen.payerOf(a.subject.payer, p.PayerID)
	}
	return c.outcome(ctx, a, outcomeType)
}

func (c *Capturer) outcome(ctx context.Context, a *attempt, outcomeType string) event.Result {
	e, answer := a.event, a.last
	o := &event.Outcome{
		Type: outcomeType, Subject: e.OrderID, Time: time.Now(), TraceParent: e.TraceParent,
		EventID: e.ID, OrderID: e.OrderID, Amount: e.Amount, ExternalReference: e.ExternalReference,
	}
	if p := answer.Payment; p != nil {
		o.PaymentID, o.Transactions, o.ProviderReplayed = p.ID, p.Transactions, p.Replayed
		// The API's own time, so that a replay says the same.
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
	c.conf.Log.LogAttrs(ctx, slog.LevelInfo, "verdict", slog.String("type", outcomeType),
		slog.String("event_id", e.ID), slog.String("order_id", e.OrderID), slog.String("payment_id", o.PaymentID),
		slog.String("reason", o.Reason), slog.Int("tries", a.calls), slog.Float64("seconds", time.Since(a.began).Seconds()),
		slog.Bool("provider_replayed", o.ProviderReplayed))
	return event.Result{Outcome: o}
}

func (c *Capturer) park(a *attempt, reason event.ParkReason, detail string) event.Result {
	if reason == "" {
		reason = event.ParkUndecided
	}
	return event.Result{ParkInfo: &event.ParkInfo{
		Reason: reason, Detail: detail, FirstAttempt: a.noted.First, Tries: a.calls,
		HTTPStatus: a.last.HTTPStatus, RequestID: a.last.RequestID,
	}}
}

func undecidedReason(last mercadopago.Answer) event.ParkReason {
	if last.ParkReason != "" {
		return last.ParkReason
	}
	return event.ParkUndecided
}
