package capture

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/limiter"
	"payment-capture/internal/mercadopago"
)

const (
	// clockSkew is how much earlier than our clock the API's clock may date a payment.
	clockSkew = 5 * time.Second
	// maxSearches is how many searches that were answered a lookup makes.
	maxSearches = 6
	// maxFailures bounds the consecutive searches that fail.
	maxFailures = 100
)

// lookUp searches for the payment that a call may have made, before the event is
// parked for a reason. No page documents how soon a search shows a payment, so it
// searches several times, and a payment that is not found may exist nevertheless.
func (c *Capturer) lookUp(ctx context.Context, a *captureState, lease Lease, reason event.ParkReason, detail string) (event.Result, error) {
	if a.calls > 0 && a.last.Detail != detail {
		detail += "; the last answer: " + a.last.Detail
	}
	if a.entry.First.IsZero() || a.untried() { // no call can have made a payment
		return c.park(a, reason, detail), nil
	}
	if keep := c.conf.LedgerRetention; keep > 0 && passed(a.entry.First) > keep-event.ClockTolerance {
		return c.park(a, reason, detail+fmt.Sprintf("; its payment was not searched for, because the ledger may have forgotten "+
			"which payments belong to other events (LEDGER_RETENTION is %s)", keep)), nil
	}
	result, decided, why, err := c.search(ctx, a, lease, "searches for its payment: "+detail, false)
	if decided || err != nil {
		return result, err
	}
	return c.park(a, reason, detail+"; "+why), nil
}

// search searches for the payment of an event until one decides it, or until the
// last search; once: until the first search that is answered. If nothing decides, it
// returns why.
func (c *Capturer) search(
	ctx context.Context, a *captureState, lease Lease, waiting string, once bool,
) (result event.Result, decided bool, why string, err error) {
	s := searches{began: time.Now()}
	for {
		lease.SetWaiting(waiting, a.calls)
		found, usual, err := c.find(ctx, a, lease, &s)
		if err != nil {
			return event.Result{}, false, "", err
		}
		wait := c.nextSearch(&s, found, usual)
		if once && found.Failed == nil {
			wait = -1
		}
		others, err := c.others(ctx, a, lease, found)
		if err != nil {
			return event.Result{}, false, "", err
		}
		if f := found.Failed; !once || f == nil || f.Meaning == mercadopago.Park {
			result, decided, why = c.attribute(ctx, a, found, others, wait < 0 && !once)
		}
		if decided || wait < 0 {
			return result, decided, why, nil
		}
		if err := c.rest(ctx, lease, wait); err != nil {
			return event.Result{}, false, "", err
		}
	}
}

// searches is the state of the searches for one event's payment.
type searches struct {
	began    time.Time
	answered time.Time // when the first search was answered
	answers  int
	failures int    // consecutive
	failed   budget // what failed searches used
}

// nextSearch returns the wait before another search, negative if there is none.
// Those that are answered are made at 0, 1/16, 1/8, 1/4, 1/2 and the whole of
// ReconcileFor. A failed one is retried, unless that would not help or has gone on
// for too long, outages not counted.
func (c *Capturer) nextSearch(s *searches, found mercadopago.Found, usual bool) time.Duration {
	if f := found.Failed; f != nil {
		s.failures++
		wait := backoff(s.failures, f.RetryAfter)
		if usual {
			s.failed.used += wait - f.RetryAfter
		}
		if f.Meaning == mercadopago.Park || s.failed.used > c.conf.ReconcileFor+c.conf.Deadline || s.failures >= maxFailures ||
			passed(s.began) > c.conf.KeyRetention {
			return -1
		}
		return wait
	}
	s.failures = 0
	if s.answers++; s.answers == 1 {
		s.answered = time.Now()
	}
	if s.answers >= maxSearches || c.conf.ReconcileFor <= 0 {
		return -1
	}
	return max(0, c.conf.ReconcileFor>>(maxSearches-1-s.answers)-time.Since(s.answered))
}

// find searches once, as soon as it is allowed. It reports whether that was a usual
// call: not a probe, and not refused for a fault of the service.
func (c *Capturer) find(ctx context.Context, a *captureState, lease Lease, s *searches) (found mercadopago.Found, usual bool, err error) {
	p, err := c.acquirePermit(ctx, a, lease, true)
	if err != nil {
		return found, false, err
	}
	began := time.Now()
	a.request.Resends = 0 // a search is made anew
	found = c.api.Find(ctx, a.request, a.entry.First.Add(-clockSkew))
	answer := mercadopago.Answer{Meaning: mercadopago.Poll, Read: true, Sent: true}
	if found.Failed != nil {
		answer = ofRead(*found.Failed)
	}
	c.conf.Metrics.searched(ctx, answer, time.Since(began))
	if ctx.Err() != nil {
		c.limiter.Cancel(p)
		return found, false, &AbandonedError{Cause: context.Cause(ctx)}
	}
	result := resultOf(answer)
	result.Calls = found.Calls
	if c.limiter.Release(p, result) == limiter.ScopeService {
		s.failures = 0 // the token is refused; the next permit comes after the halt
		return found, false, nil
	}
	if found.Failed != nil && !p.Probe() {
		s.failed.used += time.Since(began)
	}
	return found, !p.Probe(), nil
}

// attribute decides the event if a payment that was found is this event's. It has
// to be created after the event's first call, with our reference and amount (the
// client has checked that) and the event's payer, as far as the payer is known, and
// no other event may have it. A captured payment decides at once; a declined one
// only at the last search, because a captured one may appear later. A search that
// broke off may have left out another payment.
//
// No payment decides while it may be of a competing attempt, which may be decided
// until the next search. Otherwise attribute returns why nothing is decided.
func (c *Capturer) attribute(
	ctx context.Context, a *captureState, found mercadopago.Found, of others, last bool,
) (_ event.Result, decided bool, why string) {
	var captured, declined, unclear []mercadopago.Answer
	var competing []string
	for _, p := range found.Payments {
		switch {
		case !c.isOurs(a, p, of.owners):
			continue
		case p.Meaning == mercadopago.Captured:
			captured = append(captured, p)
		case p.Meaning == mercadopago.Rejected:
			declined = append(declined, p)
		default:
			unclear = append(unclear, p)
			continue
		}
		competing = append(competing, of.competingFor(p)...)
	}
	switch {
	case len(competing) > 0:
		slices.Sort(competing)
		return event.Result{}, false, fmt.Sprintf(
			"payment %s was found, which may be of event %s as well: its attempt under the same reference has no known result",
			paymentIDs(slices.Concat(captured, declined)), strings.Join(slices.Compact(competing), ", "))
	case len(captured) > 1:
		detail := "several payments were taken under its reference since its first call (" + paymentIDs(captured) +
			"): check whether the buyer paid twice"
		c.conf.Log.LogAttrs(ctx, slog.LevelError, "several payments under one reference", slog.String("event_id", a.event.ID),
			slog.String("order_id", a.event.OrderID), slog.String("payments", paymentIDs(captured)))
		return c.park(a, event.ParkContradictory, detail), true, ""
	case len(captured) == 1 && found.Searched:
		a.last = captured[0]
		return c.outcome(ctx, a, event.TypeCaptured), true, ""
	case len(unclear) > 0:
		return event.Result{}, false, "payment " + paymentIDs(unclear) + " was found, and does not decide: " + unclear[0].Detail
	case slices.ContainsFunc(declined, isDuplicate):
		// See mercadopago.ReasonDuplicatedPayment: the payment that it duplicates is
		// the one to find, and may be of this event's first call.
		return event.Result{}, false, "payment " + paymentIDs(declined) +
			" was declined as a duplicate, so another one was taken; it was not found"
	case len(declined) > 0 && found.Searched && last:
		a.last = declined[len(declined)-1]
		return c.outcome(ctx, a, event.TypeRejected), true, ""
	case found.Failed != nil:
		why = "the search for a payment failed: " + found.Failed.Detail
	case !found.Searched:
		why = "the API does not offer to search: " + strings.Join(found.Refused, "; ")
	case len(found.Payments) > 0:
		why = "of the payments under its reference (" + paymentIDs(found.Payments) + ") none is of this event"
	default:
		why = "no payment was found under its reference"
	}
	if len(found.Inner) > 0 {
		why += ", but single payments exist: " + strings.Join(found.Inner, ", ")
	}
	return event.Result{}, false, why
}

func isDuplicate(a mercadopago.Answer) bool { return a.Reason == mercadopago.ReasonDuplicatedPayment }

// others is what the ledger has of the other events under an event's reference. A
// payment that is found by the reference may be theirs.
type others struct {
	owners    map[string]string         // the event that has a payment, by payment id
	competing map[string]*event.Attempt // attempts without a decision, by event id
}

// competingFor returns the events whose attempt may have made a payment: all but
// those that were first tried after it was created, by whatever clock.
func (of others) competingFor(p mercadopago.Answer) (ids []string) {
	for id, a := range of.competing {
		if !p.Payment.CreatedAt.Before(a.First.Add(-event.ClockTolerance)) {
			ids = append(ids, id)
		}
	}
	return ids
}

// others reads the ledger, as far as it goes after the search was answered: each
// payment that was found has an attempt that was written before, by whichever
// instance.
func (c *Capturer) others(ctx context.Context, a *captureState, lease Lease, found mercadopago.Found) (others, error) {
	of := others{owners: make(map[string]string), competing: make(map[string]*event.Attempt)}
	if len(found.Payments) == 0 {
		return of, nil
	}
	if err := lease.CatchUp(ctx); err != nil {
		return of, &AbandonedError{Cause: err}
	}
	known, err := lease.Under(ctx, event.Charge{Reference: a.event.ExternalReference})
	if err != nil {
		return of, &AbandonedError{Cause: err}
	}
	for _, k := range known {
		open, d := k.Open(), k.Decision
		switch {
		case k.EventID == a.event.ID:
		case open != nil:
			of.competing[k.EventID] = open
		case d != nil && d.Outcome != nil && d.Outcome.PaymentID != "":
			of.owners[d.Outcome.PaymentID] = k.EventID
		}
	}
	return of, nil
}

func (c *Capturer) isOurs(a *captureState, found mercadopago.Answer, owners map[string]string) bool {
	p := found.Payment
	// If our clock is too far ahead, this excludes our own payment, which then decides
	// nothing.
	if p == nil || p.ID == "" || p.CreatedAt.IsZero() || p.CreatedAt.Before(a.entry.First.Add(-clockSkew)) {
		return false
	}
	_, taken := owners[p.ID]
	return !taken && !c.known.contradicts(p.ID, p.PayerID, a.event.ID, a.subject.Payer)
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
