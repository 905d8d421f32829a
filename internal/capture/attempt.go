package capture

import (
	"context"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/limiter"
	"payment-capture/internal/mercadopago"
	"payment-capture/internal/rules"
)

const (
	// firstBackoff and maxBackoff bound the wait before another try; the wait
	// is drawn evenly from zero to the bound, which doubles (full jitter).
	firstBackoff = 200 * time.Millisecond
	maxBackoff   = 30 * time.Second
)

// attempt is the state of one event's tries.
type attempt struct {
	event   *event.ReadyToCapture
	request mercadopago.Request
	subject limiter.Subject
	noted   event.Attempt  // as the ledger has it; its First is zero while it has none
	prior   *event.Attempt // of an earlier owner; nil: none
	began   time.Time      // when the event came
	budget  budget

	calls     int             // made so far
	inherited bool            // an earlier owner noted the attempt: it may have called
	resent    bool            // by a person, after it was parked
	written   bool            // the attempt is noted for this owner's calls
	idle      bool            // and no call was made since
	drew      bool            // the last one drew on the budget
	late      *event.ParkInfo // why no further call may be made, once that is so
	// unknown: one of the tries may have charged without telling. From then on
	// an error does not decide any more, only an answer with a payment does.
	unknown  bool
	doubtful bool   // as unknown, before the last call
	pollID   string // the payment to read instead of charging again
	last     mercadopago.Answer
}

// budget measures the time that an event is tried: its usual calls and the
// waits of our own between them. So what does not count needs no subtraction:
// the queue, an outage, a halt, and the time that the API asks for. None of
// these must park anybody.
type budget struct {
	used  time.Duration
	tries int
}

// count adds a call. What asks whether an outage or a halt is over is no try of
// the event.
func (b *budget) count(p *limiter.Permit, took time.Duration) (counts bool) {
	if p.Probe() {
		return false
	}
	b.used += took
	b.tries++
	return true
}

// begin prepares the calls for an event, or returns why it is parked without one.
func (c *Capturer) begin(e *event.ReadyToCapture, lease Lease) (*attempt, *event.ParkInfo) {
	a := &attempt{
		event: e, began: time.Now(), resent: lease.Resent(), prior: lease.PriorAttempt(),
		subject: limiter.Subject{Order: e.OrderID, Payer: sha256.Sum256([]byte(e.PayerToken.Reveal()))},
		noted:   event.AttemptOf(e),
	}
	a.noted.Encoding, a.noted.Account = c.conf.Encoding, c.conf.Account
	if a.prior != nil {
		a.inherited, a.unknown, a.doubtful = true, true, true
		a.noted.First = a.prior.First
	} else if unfit := c.overdue(a); unfit != nil {
		return a, unfit
	}
	var err error
	if a.request, err = mercadopago.NewRequest(e); err != nil {
		why := &event.ParkInfo{Reason: event.ParkInvalidEvent, Detail: err.Error()}
		if a.prior != nil {
			why.Reason, why.FirstAttempt = event.ParkTriedOtherwise, a.prior.First
		}
		return a, why
	}
	a.noted.Body = event.FingerprintOf(a.request.Body)
	return a, nil
}

// untried reports whether the attempt is noted and nobody can have called.
func (a *attempt) untried() bool { return a.idle && !a.inherited }

// overdue returns why no call may be made for an event any more, or nil if one may.
// It is asked right before each call: meanwhile the event has grown old, or the API
// may have forgotten its key.
func (c *Capturer) overdue(a *attempt) *event.ParkInfo {
	d := rules.Disposition{Resent: a.resent}
	if !a.noted.First.IsZero() && !a.untried() {
		d.Prior = &a.noted
	}
	return c.conf.Evaluate(a.event, a.noted.Body, d, nil, time.Now()).Why
}

// passed gives the time since t by the clock that shows more: of a machine
// that was suspended one stands still.
func passed(t time.Time) time.Duration {
	return max(time.Since(t), time.Now().Round(0).Sub(t.Round(0)))
}

// exhausted reports whether the budget does not allow another try after wait.
func (c *Capturer) exhausted(a *attempt, wait time.Duration) bool {
	return a.budget.tries >= c.conf.MaxTries || a.budget.used+wait-a.last.RetryAfter > c.conf.Deadline
}

// doubt says why a rejection does not decide: after a try that may have
// charged, an error without a payment may come of what happened since (the
// buyer cancelled the agreement, say), and a duplicate may be that very try.
func (a *attempt) doubt() string {
	switch {
	case !a.unknown:
		return ""
	case a.last.Payment == nil || a.last.Payment.ID == "": // nothing ties it to what was tried before
		return "refused with " + a.last.Reason + " after a try that may have charged"
	case a.last.Reason == mercadopago.ReasonDuplicatedPayment:
		return "called a duplicate after a try that may have charged"
	}
	return ""
}

// backoff gives the wait before another call, after so many. What the API asks
// for is obeyed, and spread a little upwards so that not everybody comes at once.
func backoff(calls int, retryAfter time.Duration) time.Duration {
	bound := maxBackoff
	if shift := calls - 1; shift < 8 {
		bound = min(firstBackoff<<shift, maxBackoff)
	}
	jitter := rand.N(bound) //nolint:gosec // G404: spreading load needs no secrecy
	if retryAfter > 0 {
		return retryAfter + min(jitter, time.Second)
	}
	return jitter
}

var errHandOver = errors.New("the partition is handed over")

// stopped gives an [*AbandonedError] when no further call shall be made.
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

// rest is sleep for a capture: it takes nobody's place meanwhile.
func (c *Capturer) rest(ctx context.Context, lease Lease, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	defer c.limiter.Rest()()
	return sleep(ctx, lease.GiveUp(), d)
}

// sleep waits, or gives an [*AbandonedError] when that is cut short.
func sleep(ctx context.Context, giveUp <-chan struct{}, d time.Duration) error {
	if d <= 0 {
		return nil
	}
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
