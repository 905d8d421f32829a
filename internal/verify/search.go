package verify

import (
	"context"
	"fmt"
	"time"

	"payment-capture/internal/mercadopago"
	"payment-capture/internal/scratch"
)

// find looks for a payment whose status a read does not show, and gives what was
// found, else the answer to the read.
func (a *asking) find(ctx context.Context, w wanted, read mercadopago.Answer) mercadopago.Answer {
	if w.Since <= 0 || a.limit.Wait(ctx) != nil {
		return read
	}
	for _, p := range a.conf.API.API.Find(ctx, w.request, time.UnixMilli(w.Since).Add(-searchSkew)).Payments {
		if p.Payment.ID == w.Payment {
			return p
		}
	}
	return read
}

// search looks for a payment of an event that has no outcome.
func (a *asking) search(ctx context.Context, b batch, w wanted) error {
	since := time.UnixMilli(w.Since).Add(-searchSkew)
	for try := 1; ; try++ {
		if err := a.limit.Wait(ctx); err != nil {
			return err
		}
		found := a.conf.API.API.Find(ctx, w.request, since)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for range found.Calls - 1 { // it made more than one call
			if err := a.limit.Wait(ctx); err != nil {
				return err
			}
		}
		if found.Searched {
			return a.holdFound(b, w, found)
		}
		failure, detail := errUnread, "the API offers no search"
		if found.Failed != nil {
			if found.Failed.Meaning == mercadopago.Halt {
				return fmt.Errorf("%w: %s", errHalt, found.Failed.Reason)
			}
			failure, detail = unread(found.Failed.Meaning), found.Failed.Detail
		}
		if try == apiTries || found.Failed == nil {
			return fmt.Errorf("payments of event %s: %w: %s", w.event.EventID, failure, detail)
		}
		if err := pause(ctx, max(found.Failed.RetryAfter, a.conf.API.pause(try))); err != nil {
			return err
		}
	}
}

// holdFound notes payments that were taken and are no event's.
func (a *asking) holdFound(b batch, w wanted, found mercadopago.Found) error {
	for _, p := range found.Payments {
		if p.Meaning != mercadopago.Captured {
			continue
		}
		owned := false
		err := a.store.Each(append(append([]byte{spacePayment}, p.Payment.ID...), 0), func([]byte, scratch.Value) error {
			owned = true
			return nil
		})
		if err != nil {
			return err
		}
		if owned {
			continue // another event of this reference has it
		}
		f := w.event
		f.PaymentID = p.Payment.ID
		f.Detail = "the API has taken money under the event's reference since it was first tried, and no event has an outcome with this payment: " + p.Detail
		b.finding(a.finding(APIPaid, f))
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
