package capture

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/mercadopago"
)

// clockSkew is how much earlier than by our clock the API's may date a payment.
const clockSkew = 5 * time.Second

// lookUp searches for the payment that a try may have made, before the event
// is parked for a reason. How soon the API's index shows a payment is nowhere
// documented, so it looks several times; nothing found proves nothing.
func (c *Capturer) lookUp(ctx context.Context, a *attempt, hold Hold, reason event.ParkReason, detail string) (event.Verdict, error) {
	if a.calls == 0 {
		return c.park(a, reason, detail), nil
	}
	detail += "; the last answer: " + a.last.Detail
	tries := a.tries
	a.budget, a.tries = c.gate.newBudget(), 0
	for looks := 0; ; {
		hold.Tell("looks for a payment under its reference: "+detail, a.calls)
		found, again, err := c.find(ctx, a, hold)
		if err != nil {
			return event.Verdict{}, err
		}
		if again {
			continue
		}
		wait := a.backoff()
		if found.Failed == nil {
			looks++
			wait = c.nextLook(a, looks)
		}
		last := wait < 0 || (found.Failed != nil && c.noMore(a, found, wait))
		verdict, decided, note := c.attribute(ctx, a, found, last)
		if decided {
			return verdict, nil
		}
		if last {
			a.tries = tries
			return c.park(a, reason, detail+"; "+note), nil
		}
		if err := sleep(ctx, hold.GiveUp(), wait); err != nil {
			return event.Verdict{}, err
		}
	}
}

// noMore reports whether a search that failed is not repeated: because it would
// fail in the same way, or because it has failed for too long.
func (c *Capturer) noMore(a *attempt, found mercadopago.Found, wait time.Duration) bool {
	return found.Failed.Meaning == mercadopago.Park || c.gate.spent(a.budget)+wait > c.conf.ReconcileFor+c.conf.Deadline
}

// nextLook gives the wait before another look, negative where the last one was
// made. They are at 0, 1/16, 1/8, 1/4, 1/2 and the whole of ReconcileFor.
func (c *Capturer) nextLook(a *attempt, looks int) time.Duration {
	const all = 6
	if looks >= all || c.conf.ReconcileFor <= 0 {
		return -1
	}
	return max(0, c.conf.ReconcileFor>>(all-1-looks)-c.gate.spent(a.budget))
}

// find makes one look, when its time has come. again says that it has to be
// made again, since the access token is refused.
func (c *Capturer) find(ctx context.Context, a *attempt, hold Hold) (found mercadopago.Found, again bool, err error) {
	p, err := c.enter(ctx, a, hold)
	if err != nil {
		return found, false, err
	}
	began := time.Now()
	found = c.api.Find(ctx, a.request, a.first.Add(-clockSkew))
	answer := mercadopago.Answer{Meaning: mercadopago.Poll, Read: true}
	if found.Failed != nil {
		answer = *found.Failed
		// That searching alone is refused is no reason to capture nothing.
		if answer.Meaning == mercadopago.Halt && answer.Row != rowCredential {
			answer.Meaning = mercadopago.Wait
		}
	}
	c.conf.Metrics.searched(answer, time.Since(began))
	if ctx.Err() != nil {
		c.gate.abort(p)
		return found, false, &AbandonedError{Cause: context.Cause(ctx)}
	}
	c.gate.take(found.Calls - 1)
	return found, c.gate.leave(p, a.subject, answer), nil
}

// attribute says whether what was found decides the event. A payment counts
// only where it was created after the event's first call, its reference and
// amount are ours (the client has judged that), its payer is, as far as he is
// known, and no other event has it. One that was taken decides at once; a
// declined one only at the last look, for one that was taken may come into
// sight later. A search that broke off may have left out another payment.
func (c *Capturer) attribute(ctx context.Context, a *attempt, found mercadopago.Found, last bool) (_ event.Verdict, decided bool, note string) {
	var taken, declined, other []mercadopago.Answer
	for _, p := range found.Payments {
		switch {
		case !c.isOurs(a, p):
		case p.Meaning == mercadopago.Captured:
			taken = append(taken, p)
		case p.Meaning == mercadopago.Rejected:
			declined = append(declined, p)
		default:
			other = append(other, p)
		}
	}
	switch {
	case len(taken) > 1:
		detail := "several payments were taken under its reference since its first try (" + paymentIDs(taken) + "): look whether the buyer paid twice"
		c.conf.Log.LogAttrs(ctx, slog.LevelError, "several payments under one reference", slog.String("event_id", a.event.ID),
			slog.String("order_id", a.event.OrderID), slog.String("payments", paymentIDs(taken)))
		return c.park(a, event.ParkContradictory, detail), true, ""
	case len(taken) == 1 && found.Searched:
		a.last = taken[0]
		return c.outcome(ctx, a, event.TypeCaptured), true, ""
	case len(other) > 0:
		return event.Verdict{}, false, "payment " + paymentIDs(other) + " was found, and does not decide: " + other[0].Detail
	case len(declined) > 0 && found.Searched && last:
		a.last = declined[len(declined)-1]
		return c.outcome(ctx, a, event.TypeRejected), true, ""
	case found.Failed != nil:
		note = "the search for a payment failed: " + found.Failed.Detail
	case !found.Searched:
		note = "the API does not offer to search: " + strings.Join(found.Refused, "; ")
	case len(found.Payments) > 0:
		note = "of the payments under its reference (" + paymentIDs(found.Payments) + ") none is of this event"
	default:
		note = "no payment was found under its reference"
	}
	if len(found.Inner) > 0 {
		note += ", but among single payments there is " + strings.Join(found.Inner, ", ")
	}
	return event.Verdict{}, false, note
}

func (c *Capturer) isOurs(a *attempt, found mercadopago.Answer) bool {
	p := found.Payment
	if p == nil || p.ID == "" || p.CreatedAt.IsZero() || p.CreatedAt.Before(a.first.Add(-clockSkew)) {
		return false
	}
	if owner, known := c.seen.owner(p.ID); known && owner != a.event.ID {
		return false
	}
	payer, known := c.seen.payerID(a.subject.payer)
	return !known || p.PayerID == "" || p.PayerID == payer
}

func paymentIDs(answers []mercadopago.Answer) string {
	var ids []string
	for _, a := range answers {
		if a.Payment != nil {
			ids = append(ids, fmt.Sprintf("%s %s", a.Payment.ID, a.Payment.Status))
		}
	}
	slices.Sort(ids)
	return strings.Join(ids, ", ")
}
