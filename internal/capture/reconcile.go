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
func (c *Capturer) lookUp(ctx context.Context, a *attempt, lease Lease, reason event.ParkReason, detail string) (event.Result, error) {
	if a.calls > 0 && a.last.Detail != detail {
		detail += "; the last answer: " + a.last.Detail
	}
	if a.noted.First.IsZero() || a.untried() { // no call can have made one
		return c.park(a, reason, detail), nil
	}
	s := search{began: time.Now()}
	for {
		lease.SetWaiting("looks for a payment under its reference: "+detail, a.calls)
		found, p, err := c.find(ctx, a, lease, &s)
		if err != nil {
			return event.Result{}, err
		}
		wait := c.nextLook(&s, found, p)
		others, err := c.others(ctx, a, lease, found)
		if err != nil {
			return event.Result{}, err
		}
		verdict, decided, note := c.attribute(ctx, a, found, others, wait < 0)
		if decided {
			return verdict, nil
		}
		if wait < 0 {
			return c.park(a, reason, detail+"; "+note), nil
		}
		if err := c.rest(ctx, lease, wait); err != nil {
			return event.Result{}, err
		}
	}
}

// search is the state of the looks for one event's payment.
type search struct {
	began    time.Time
	looked   time.Time // when the first look that was answered ended
	looks    int       // that were answered
	failures int       // in a row
	failed   budget    // what failed searches used
}

// nextLook gives the wait before another look, negative where the last one was
// made. Those that are answered are at 0, 1/16, 1/8, 1/4, 1/2 and the whole of
// ReconcileFor; one that failed is made again until that has gone on for too
// long, an outage not counted, or would not help.
func (c *Capturer) nextLook(s *search, found mercadopago.Found, p pass) time.Duration {
	const all = 6
	if f := found.Failed; f != nil {
		s.failures++
		wait := backoff(s.failures, f.RetryAfter)
		if p.kind == usual {
			s.failed.used += wait - f.RetryAfter
		}
		if f.Meaning == mercadopago.Park || s.failed.used > c.conf.ReconcileFor+c.conf.Deadline || s.failures >= maxSearches ||
			passed(s.began) > c.conf.KeyRetention {
			return -1
		}
		return wait
	}
	s.failures = 0
	if s.looks++; s.looks == 1 {
		s.looked = time.Now()
	}
	if s.looks >= all || c.conf.ReconcileFor <= 0 {
		return -1
	}
	return max(0, c.conf.ReconcileFor>>(all-1-s.looks)-time.Since(s.looked))
}

// maxSearches bounds how often in a row a search that fails is made again.
const maxSearches = 100

// find makes one look, when its time has come.
func (c *Capturer) find(ctx context.Context, a *attempt, lease Lease, s *search) (mercadopago.Found, pass, error) {
	p, err := c.enter(ctx, a, lease, true)
	if err != nil {
		return mercadopago.Found{}, p, err
	}
	began := time.Now()
	found := c.api.Find(ctx, a.request, a.noted.First.Add(-clockSkew))
	answer := mercadopago.Answer{Meaning: mercadopago.Poll, Read: true, Sent: true}
	if found.Failed != nil {
		answer = ofARead(*found.Failed)
	}
	c.conf.Metrics.searched(answer, time.Since(began))
	if ctx.Err() != nil {
		c.gate.abort(p)
		return found, p, &AbandonedError{Cause: context.Cause(ctx)}
	}
	c.gate.take(found.Calls - 1)
	if bearing, _ := c.gate.leave(p, a.subject, answer); bearing == ofTheService {
		s.failures = 0 // it is the token's fault; the gate makes it wait
		p.kind = haltProbe
	} else if found.Failed != nil && p.kind == usual {
		s.failed.used += time.Since(began)
	}
	return found, p, nil
}

// attribute says whether what was found decides the event. A payment counts
// only where it was created after the event's first call, its reference and
// amount are ours (the client has judged that), its payer is, as far as he is
// known, and no other event has it. One that was taken decides at once; a
// declined one only at the last look, for one that was taken may come into
// sight later. A search that broke off may have left out another payment.
//
// None decides while it may be a rival's as well. The rival may be decided until
// the next look.
func (c *Capturer) attribute(ctx context.Context, a *attempt, found mercadopago.Found, of others, last bool) (_ event.Result, decided bool, note string) {
	var taken, declined, other []mercadopago.Answer
	var rivals []string
	for _, p := range found.Payments {
		switch {
		case !c.isOurs(a, p, of.owners):
		case p.Meaning == mercadopago.Captured:
			taken, rivals = append(taken, p), append(rivals, of.rivalsFor(p)...)
		case p.Meaning == mercadopago.Rejected:
			declined, rivals = append(declined, p), append(rivals, of.rivalsFor(p)...)
		default:
			other = append(other, p)
		}
	}
	switch {
	case len(rivals) > 0:
		return event.Result{}, false, fmt.Sprintf(
			"payment %s was found, which may be of event %s as well: that was tried under the same reference, and it is not known what came of it",
			paymentIDs(slices.Concat(taken, declined)), strings.Join(unique(rivals), ", "))
	case len(taken) > 1:
		detail := "several payments were taken under its reference since its first try (" + paymentIDs(taken) + "): look whether the buyer paid twice"
		c.conf.Log.LogAttrs(ctx, slog.LevelError, "several payments under one reference", slog.String("event_id", a.event.ID),
			slog.String("order_id", a.event.OrderID), slog.String("payments", paymentIDs(taken)))
		return c.park(a, event.ParkContradictory, detail), true, ""
	case len(taken) == 1 && found.Searched:
		a.last = taken[0]
		return c.settle(ctx, a, event.TypeCaptured), true, ""
	case len(other) > 0:
		return event.Result{}, false, "payment " + paymentIDs(other) + " was found, and does not decide: " + other[0].Detail
	case slices.ContainsFunc(declined, isDuplicate):
		// See mercadopago.ReasonDuplicatedPayment: what it is a duplicate of is the
		// payment to be found, and may be of this event's first try.
		note = "payment " + paymentIDs(declined) + " was declined as a duplicate, so another one was taken; it was not found"
		return event.Result{}, false, note
	case len(declined) > 0 && found.Searched && last:
		a.last = declined[len(declined)-1]
		return c.settle(ctx, a, event.TypeRejected), true, ""
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
	return event.Result{}, false, note
}

func isDuplicate(a mercadopago.Answer) bool { return a.Reason == mercadopago.ReasonDuplicatedPayment }

// others is what the ledger has of the other events under an event's reference:
// a payment that is found by the reference has that one too.
type others struct {
	owners map[string]string         // the event that has a payment, by payment id
	rivals map[string]*event.Attempt // of events of which it is not known whether they have one, by event id
}

// rivalsFor gives the events whose attempt may have made a payment: all but
// those that were first tried after it was created, by whatever clock.
func (of others) rivalsFor(p mercadopago.Answer) (ids []string) {
	for id, a := range of.rivals {
		if !p.Payment.CreatedAt.Before(a.First.Add(-event.ClockTolerance)) {
			ids = append(ids, id)
		}
	}
	return ids
}

// createdBefore reports whether a payment is older than our first call. Where our
// clock is too far ahead it says so of our own, which then decides nothing.
func createdBefore(p *mercadopago.Payment, first time.Time) bool {
	return p.CreatedAt.Before(first.Add(-clockSkew))
}

// others asks the ledger, as far as it goes after the search was answered: each
// payment that was found was noted before it was made, by whichever instance.
func (c *Capturer) others(ctx context.Context, a *attempt, lease Lease, found mercadopago.Found) (others, error) {
	of := others{owners: make(map[string]string), rivals: make(map[string]*event.Attempt)}
	if len(found.Payments) == 0 {
		return of, nil
	}
	if err := lease.CatchUp(ctx); err != nil {
		return of, &AbandonedError{Cause: err}
	}
	known, err := lease.UnderReference(ctx)
	if err != nil {
		return of, &AbandonedError{Cause: err}
	}
	for _, k := range known {
		open, d := k.Open(), k.Decision
		switch {
		case k.EventID == a.event.ID:
		case open != nil:
			of.rivals[k.EventID] = open
		case d != nil && d.Outcome != nil && d.Outcome.PaymentID != "":
			of.owners[d.Outcome.PaymentID] = k.EventID
		}
	}
	return of, nil
}

func (c *Capturer) isOurs(a *attempt, found mercadopago.Answer, owners map[string]string) bool {
	p := found.Payment
	if p == nil || p.ID == "" || p.CreatedAt.IsZero() || createdBefore(p, a.noted.First) {
		return false
	}
	if _, anothers := owners[p.ID]; anothers {
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

// unique gives each text once, in order.
func unique(texts []string) []string {
	slices.Sort(texts)
	return slices.Compact(texts)
}
