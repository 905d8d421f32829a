package capture

import (
	"context"
	"fmt"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/mercadopago"
)

// barred says why an event that an earlier owner tried may not be asked for
// again under its key; it is looked for then, and parked. nil: it may.
func (c *Capturer) barred(a *attempt, before *event.Attempt) *event.ParkInfo {
	if a.event.Amount.Currency() != c.conf.Currency {
		return c.unfit(a)
	}
	if late := c.overdue(a); late != nil {
		return late
	}
	var differs string
	switch {
	case before.Body.IsZero(): // it is known only that it was tried
		return nil
	case before.Account != a.noted.Account:
		differs = fmt.Sprintf("for account %q; this is %q (MERCADOPAGO_ACCOUNT)", before.Account, a.noted.Account)
	case before.Encoding != a.noted.Encoding:
		differs = fmt.Sprintf("with a body of layout %d; this version writes %d", before.Encoding, a.noted.Encoding)
	case before.Body != a.noted.Body:
		differs = "with another body, of which the API may know the key"
	default:
		return nil
	}
	return &event.ParkInfo{Reason: event.ParkTriedOtherwise, Detail: fmt.Sprintf(
		"it was first tried at %s %s", before.First.UTC().Format(time.RFC3339), differs)}
}

// resume deals with what is known of an event before it is tried: that another
// one was captured for its reference, that it may not be tried any more, or that
// it was tried so long ago that its payment is looked for first.
func (c *Capturer) resume(ctx context.Context, a *attempt, lease Lease) (_ event.Result, decided bool, err error) {
	if c.conf.OncePerReference {
		parking, err := c.capturedBefore(ctx, a, lease)
		if err != nil {
			return event.Result{}, false, err
		}
		if parking != nil {
			a.late = parking
		}
	}
	switch {
	case a.late != nil:
		verdict, err := c.lookUp(ctx, a, lease, a.late.Reason, a.late.Detail)
		return verdict, true, err
	case a.inherited && passed(a.noted.First) > event.LookFirstAfter:
		return c.lookFirst(ctx, a, lease)
	}
	return event.Result{}, false, nil
}

// capturedBefore says which other event was captured for this one's reference.
func (c *Capturer) capturedBefore(ctx context.Context, a *attempt, lease Lease) (*event.ParkInfo, error) {
	known, err := lease.UnderReference(ctx)
	if err != nil {
		return nil, &AbandonedError{Cause: err}
	}
	for _, k := range known {
		if o := k.Captured(); o != nil && k.EventID != a.event.ID {
			return &event.ParkInfo{Reason: event.ParkReferenceCaptured, Detail: fmt.Sprintf(
				"event %s was captured for external_reference %s already (payment %s, %s %s), and CAPTURE_ONCE_PER is reference",
				o.EventID, o.ExternalReference, o.PaymentID, o.Amount, o.Amount.Currency())}, nil
		}
	}
	return nil, nil //nolint:nilnil // none was
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
