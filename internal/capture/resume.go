package capture

import (
	"context"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/mercadopago"
	"payment-capture/internal/rules"
)

// resume applies the rules to an event before its first call by this owner. They
// may decide it, or have its payment looked up first.
func (c *Capturer) resume(ctx context.Context, a *attempt, lease Lease) (_ event.Result, decided bool, err error) {
	var captured *event.Outcome
	if c.conf.OncePerReference {
		known, err := lease.UnderReference(ctx)
		if err != nil {
			return event.Result{}, false, &AbandonedError{Cause: err}
		}
		captured = rules.CapturedByAnother(a.event.ID, known)
	}
	d := c.conf.Evaluate(a.event, a.noted.Body, rules.Disposition{Prior: a.prior, Resent: a.resent}, captured, time.Now())
	switch {
	case d.Why != nil:
		result, err := c.lookUp(ctx, a, lease, d.Why.Reason, d.Why.Detail)
		return result, true, err
	case d.Action == rules.LookUpThenCharge:
		return c.lookFirst(ctx, a, lease)
	}
	return event.Result{}, false, nil
}

// lookFirst looks once for the payment of an attempt that is over an hour old.
// Only one that was taken decides: without it the event is asked for under its
// key, which the API still knows; so it is where the payment may be a rival's.
func (c *Capturer) lookFirst(ctx context.Context, a *attempt, lease Lease) (_ event.Result, decided bool, err error) {
	s := search{began: time.Now()}
	for {
		lease.SetWaiting("looks for the payment of an attempt of "+a.noted.First.UTC().Format(time.RFC3339), a.calls)
		found, p, err := c.find(ctx, a, lease, &s)
		if err != nil {
			return event.Result{}, false, err
		}
		others, err := c.others(ctx, a, lease, found)
		if err != nil {
			return event.Result{}, false, err
		}
		if found.Failed == nil || found.Failed.Meaning == mercadopago.Park {
			verdict, decided, _ := c.attribute(ctx, a, found, others, false)
			return verdict, decided, nil
		}
		wait := c.nextLook(&s, found, p)
		if wait < 0 {
			return event.Result{}, false, nil // a charge under its key tells more
		}
		if err := c.rest(ctx, lease, wait); err != nil {
			return event.Result{}, false, err
		}
	}
}
