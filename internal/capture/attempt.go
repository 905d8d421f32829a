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
	// firstBackoff and maxBackoff bound the wait before a retry. The wait is uniformly
	// random from zero to the bound, which doubles (full jitter).
	firstBackoff = 200 * time.Millisecond
	maxBackoff   = 30 * time.Second
)

// captureState is the state of the calls for one event.
type captureState struct {
	event   *event.ReadyToCapture
	request mercadopago.Request
	subject limiter.Subject
	entry   event.Attempt   // as in the ledger; its First is zero while the ledger has none
	prior   *event.Attempt  // of an earlier owner; nil: none
	resent  *event.ParkInfo // why it was parked before an operator resent it; nil: it was not resent
	began   time.Time       // when the event arrived
	budget  budget

	calls     int             // made so far
	resends   int             // of the present request: charges, or reads of a payment
	inherited bool            // an earlier owner wrote the attempt: it may have called
	written   bool            // the attempt is in the ledger for this owner's calls
	uncalled  bool            // it is, and no call was made since
	counted   bool            // the last call counted against the budget
	noCall    *event.ParkInfo // why no further call may be made; nil: one may
	// mayHaveCharged: one of the calls may have charged without the answer showing it. From
	// then on an error does not decide, only an answer with a payment does.
	mayHaveCharged       bool
	mayHaveChargedBefore bool   // as mayHaveCharged, before the last call
	pollID               string // the payment to read instead of charging again
	last                 mercadopago.Answer
}

// budget measures the usual calls of an event and our own waits between them. It
// leaves out the wait for a permit, outages, halts and the time that the API asks
// for, because none of these may park an event.
type budget struct {
	used  time.Duration
	tries int
}

// count adds a call, unless it is a probe. It reports whether it did.
func (b *budget) count(p *limiter.Permit, took time.Duration) bool {
	if p.Probe() {
		return false
	}
	b.used += took
	b.tries++
	return true
}

// begin prepares the calls for an event, or returns why it is parked without one.
func (c *Capturer) begin(e *event.ReadyToCapture, lease Lease) (*captureState, *event.ParkInfo) {
	a := &captureState{
		event: e, began: time.Now(), resent: lease.Resent(), prior: lease.PriorAttempt(),
		subject: limiter.Subject{Order: e.OrderID, Payer: sha256.Sum256([]byte(e.PayerToken.Reveal()))},
		entry:   event.AttemptOf(e),
	}
	a.entry.Encoding, a.entry.Account = c.conf.Encoding, c.conf.Account
	if a.prior != nil {
		a.inherited, a.mayHaveCharged, a.mayHaveChargedBefore = true, true, true
		a.entry.First = a.prior.First
	} else if unfit := c.whyNoCall(a); unfit != nil {
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
	a.entry.Body = event.FingerprintOf(a.request.Body)
	return a, nil
}

// untried reports whether the attempt is in the ledger and no owner can have called.
func (a *captureState) untried() bool { return a.uncalled && !a.inherited }

// whyNoCall returns why no call may be made for an event any more, or nil if one may.
// It is checked right before each call, because the event grows older and the API may
// forget its key.
func (c *Capturer) whyNoCall(a *captureState) *event.ParkInfo {
	d := rules.Disposition{Resent: a.resent}
	if !a.entry.First.IsZero() && !a.untried() {
		d.Prior = &a.entry
	}
	return c.conf.Evaluate(rules.Case{Event: a.event, Body: a.entry.Body}, d, time.Now()).Why
}

// passed returns the time since t by the clock that shows more: while a machine is
// suspended, one of the two stands still.
func passed(t time.Time) time.Duration {
	return max(time.Since(t), time.Now().Round(0).Sub(t.Round(0)))
}

// exhausted reports whether the budget does not allow another call after wait.
func (c *Capturer) exhausted(a *captureState, wait time.Duration) bool {
	return a.budget.tries >= c.conf.MaxTries || a.budget.used+wait-a.last.RetryAfter > c.conf.Deadline
}

// doubt returns why a rejection does not decide, or "". After a call that may have
// charged, an error without a payment may have a later cause (the buyer cancelled
// the agreement, say), and a duplicate may be of that very call.
func (a *captureState) doubt() string {
	switch {
	case !a.mayHaveCharged:
		return ""
	case a.last.Payment == nil || a.last.Payment.ID == "": // nothing connects it with the earlier call
		return "refused with " + a.last.Reason + " after a call that may have charged"
	case a.last.Reason == mercadopago.ReasonDuplicatedPayment:
		return "declined as a duplicate after a call that may have charged"
	}
	return ""
}

// backoff returns the wait before another call, after so many. A wait that the API
// asks for is observed, with a little jitter so that not all events call at once.
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

var errHandover = errors.New("the partition is handed over")

// stopped returns an [*AbandonedError] if no further call may be made.
func stopped(ctx context.Context, giveUp <-chan struct{}) error {
	select {
	case <-ctx.Done():
		return &AbandonedError{Cause: context.Cause(ctx)}
	case <-giveUp:
		return &AbandonedError{Cause: errHandover}
	default:
		return nil
	}
}

// rest waits between two calls. It returns an [*AbandonedError] if no further call
// may be made.
func (c *Capturer) rest(ctx context.Context, lease Lease, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	defer c.limiter.Rest()()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
	case <-lease.GiveUp():
	}
	return stopped(ctx, lease.GiveUp())
}
