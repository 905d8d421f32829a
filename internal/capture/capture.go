// Package capture takes one event to its verdict: it asks the API, under the
// event's id as the idempotency key and with a body that is the same each
// time, until an answer decides or the budget is spent. It never guesses: what
// cannot be known is parked.
package capture

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/mercadopago"
	"payment-capture/internal/money"
)

// API makes single calls; [mercadopago.Client] does.
type API interface {
	// Capture sends the charge once. It never sends it twice by itself.
	Capture(ctx context.Context, r mercadopago.Request) mercadopago.Answer
	// Get reads a payment that the API named in an answer to r.
	Get(ctx context.Context, r mercadopago.Request, paymentID string) mercadopago.Answer
}

// Config fixes a Capturer.
type Config struct {
	Currency    money.Currency // that of the account's site
	MaxEventAge time.Duration  // older events are parked; 0: none is too old
	Deadline    time.Duration  // how long one event is tried
	MaxTries    int            // how often one event is tried
	Log         *slog.Logger
	Metrics     *Metrics
}

const (
	// firstBackoff and maxBackoff bound the wait before another try; the wait
	// is drawn evenly from zero to the bound, which doubles (full jitter).
	firstBackoff = 200 * time.Millisecond
	maxBackoff   = 30 * time.Second
	// clockTolerance is how far an event's time may be ahead of our clock.
	clockTolerance = 5 * time.Minute
)

// HaltedError says that no event at all can be captured until somebody mends
// the credential or the configuration. Nothing was decided.
type HaltedError struct {
	Reason     string // what is wrong and what to do
	HTTPStatus int
	RequestID  string
}

func (e *HaltedError) Error() string {
	return fmt.Sprintf("the payment API refuses this service (HTTP %d, request id %q): %s", e.HTTPStatus, e.RequestID, e.Reason)
}

// AbandonedError says that the event is left undecided for its next owner.
type AbandonedError struct{ Cause error }

func (e *AbandonedError) Error() string { return "left to the next owner: " + e.Cause.Error() }

func (e *AbandonedError) Unwrap() error { return e.Cause }

// Capturer takes events to their verdicts.
type Capturer struct {
	conf Config
	api  API
}

// New makes a Capturer.
func New(conf Config, api API) *Capturer { return &Capturer{conf: conf, api: api} }

// attempt is the state of one event's tries.
type attempt struct {
	event   *event.ReadyToCapture
	request mercadopago.Request
	began   time.Time
	tries   int
	// unknown: one of the tries may have charged without telling. From then on
	// an error does not decide any more, only an answer with a payment does.
	unknown bool
	// askedToWait is the time that the API asked for. It does not count toward
	// the budget: an API that is short of capacity must not park everybody.
	askedToWait time.Duration
	pollID      string // the payment to read instead of charging again
	last        mercadopago.Answer
}

// Capture returns the event's verdict, or a [*HaltedError], or an
// [*AbandonedError] when ctx ended or giveUp was closed.
func (c *Capturer) Capture(ctx context.Context, e *event.ReadyToCapture, giveUp <-chan struct{}) (event.Verdict, error) {
	a, parking := c.begin(e)
	if parking != nil {
		return event.Verdict{Parking: parking}, nil
	}
	for {
		if err := stopped(ctx, giveUp); err != nil {
			return event.Verdict{}, err
		}
		c.try(ctx, a)
		if ctx.Err() != nil && a.last.Meaning != mercadopago.Captured && a.last.Meaning != mercadopago.Rejected {
			return event.Verdict{}, &AbandonedError{Cause: context.Cause(ctx)}
		}
		verdict, decided, err := c.judge(ctx, a)
		if decided || err != nil {
			return verdict, err
		}
		wait := c.backoff(a)
		if a.tries >= c.conf.MaxTries || time.Since(a.began)-a.askedToWait+wait-a.last.RetryAfter > c.conf.Deadline {
			return c.park(a, undecidedReason(a.last), "the budget is spent and the answers did not decide: "+a.last.Detail), nil
		}
		if err := sleep(ctx, giveUp, wait); err != nil {
			return event.Verdict{}, err
		}
		a.askedToWait += a.last.RetryAfter
		// Not only the first try: an earlier owner may have used the key when
		// the event was young, and what the API has forgotten it charges again.
		if old := c.unfit(e); old != nil {
			return c.park(a, old.Reason, old.Detail+"; the last answer: "+a.last.Detail), nil
		}
	}
}

// begin prepares the tries of an event, or says why it is parked without one.
func (c *Capturer) begin(e *event.ReadyToCapture) (*attempt, *event.Parking) {
	if parking := c.unfit(e); parking != nil {
		return nil, parking
	}
	request, err := mercadopago.NewRequest(e)
	if err != nil {
		return nil, &event.Parking{Reason: event.ParkInvalidEvent, Detail: err.Error()}
	}
	return &attempt{event: e, request: request, began: time.Now()}, nil
}

// unfit parks what must not be charged whatever the API would say.
func (c *Capturer) unfit(e *event.ReadyToCapture) *event.Parking {
	age := time.Since(e.Time)
	switch {
	case e.Amount.Currency() != c.conf.Currency:
		return &event.Parking{Reason: event.ParkWrongCurrency, Detail: fmt.Sprintf(
			"data.currency is %s, and this account charges in %s: the API would take the same number in the other currency",
			e.Amount.Currency(), c.conf.Currency)}
	case c.conf.MaxEventAge > 0 && age > c.conf.MaxEventAge:
		return &event.Parking{Reason: event.ParkTooOld, Detail: fmt.Sprintf(
			"the event is of %s, more than CAPTURE_MAX_EVENT_AGE (%s) ago", e.Time.UTC().Format(time.RFC3339), c.conf.MaxEventAge)}
	case age < -clockTolerance:
		return &event.Parking{Reason: event.ParkTimeInFuture, Detail: fmt.Sprintf(
			"the event is of %s, which is still to come: its age cannot be told", e.Time.UTC().Format(time.RFC3339))}
	}
	return nil
}

func (c *Capturer) try(ctx context.Context, a *attempt) {
	a.tries++
	began := time.Now()
	if a.pollID != "" {
		a.last = c.api.Get(ctx, a.request, a.pollID)
	} else {
		a.last = c.api.Capture(ctx, a.request)
	}
	c.conf.Metrics.called(a.last, time.Since(began))
	c.conf.Log.LogAttrs(ctx, slog.LevelDebug, "call",
		slog.String("event_id", a.event.ID), slog.String("order_id", a.event.OrderID), slog.Int("try", a.tries),
		slog.Int("row", a.last.Row), slog.String("meaning", a.last.Meaning.String()),
		slog.Int("http_status", a.last.HTTPStatus), slog.String("request_id", a.last.RequestID))
}

// judge turns the last answer into a verdict, if it decides.
func (c *Capturer) judge(ctx context.Context, a *attempt) (verdict event.Verdict, decided bool, err error) {
	answer := a.last
	switch answer.Meaning {
	case mercadopago.Captured:
		return c.outcome(ctx, a, event.TypeCaptured), true, nil
	case mercadopago.Rejected:
		if why := a.doubt(); why != "" {
			return c.park(a, event.ParkErrorAfterUnknown, why), true, nil
		}
		return c.outcome(ctx, a, event.TypeRejected), true, nil
	case mercadopago.Halt:
		return event.Verdict{}, false, &HaltedError{Reason: answer.Reason, HTTPStatus: answer.HTTPStatus, RequestID: answer.RequestID}
	case mercadopago.Park:
		return c.park(a, answer.ParkReason, answer.Detail), true, nil
	case mercadopago.Poll:
		if answer.Payment != nil && answer.Payment.ID != "" {
			a.pollID = answer.Payment.ID
		}
	case mercadopago.Retry, mercadopago.Wait:
	}
	a.unknown = a.unknown || answer.EffectUnknown()
	return event.Verdict{}, false, nil
}

// doubt says why a rejection does not decide: after a try that may have
// charged, an error without a payment may come of what happened since (the
// buyer cancelled the agreement, say), and a duplicate may be that very try.
func (a *attempt) doubt() string {
	switch {
	case !a.unknown:
		return ""
	case a.last.Payment == nil || a.last.Payment.ID == "": // nothing ties it to what was tried before
		return "refused with " + a.last.Reason + " after a try that may have charged: look for a payment under this reference"
	case a.last.Reason == mercadopago.ReasonDuplicatedPayment:
		return "called a duplicate after a try that may have charged: look for a payment under this reference"
	}
	return ""
}

func (c *Capturer) outcome(ctx context.Context, a *attempt, outcomeType string) event.Verdict {
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
		slog.String("reason", o.Reason), slog.Int("tries", a.tries), slog.Float64("seconds", time.Since(a.began).Seconds()),
		slog.Bool("provider_replayed", o.ProviderReplayed))
	return event.Verdict{Outcome: o}
}

func (c *Capturer) park(a *attempt, reason event.ParkReason, detail string) event.Verdict {
	if reason == "" {
		reason = event.ParkUndecided
	}
	return event.Verdict{Parking: &event.Parking{
		Reason: reason, Detail: detail, FirstAttempt: a.began, Tries: a.tries,
		HTTPStatus: a.last.HTTPStatus, RequestID: a.last.RequestID,
	}}
}

func undecidedReason(last mercadopago.Answer) event.ParkReason {
	if last.ParkReason != "" {
		return last.ParkReason
	}
	return event.ParkUndecided
}

// backoff gives the wait before the next try. What the API asks for is obeyed,
// and spread a little upwards so that not everybody comes at once.
func (c *Capturer) backoff(a *attempt) time.Duration {
	bound := maxBackoff
	if shift := a.tries - 1; shift < 8 {
		bound = min(firstBackoff<<shift, maxBackoff)
	}
	jitter := rand.N(bound) //nolint:gosec // G404: spreading load needs no secrecy
	if after := a.last.RetryAfter; after > 0 {
		return after + min(jitter, time.Second)
	}
	return jitter
}

func stopped(ctx context.Context, giveUp <-chan struct{}) error {
	select {
	case <-ctx.Done():
		return &AbandonedError{Cause: context.Cause(ctx)}
	case <-giveUp:
		return &AbandonedError{Cause: errHandOver}
	default:
		return nil
	}
}

func sleep(ctx context.Context, giveUp <-chan struct{}, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return &AbandonedError{Cause: context.Cause(ctx)}
	case <-giveUp:
		return &AbandonedError{Cause: errHandOver}
	}
}

var errHandOver = errors.New("the partition is handed over")
