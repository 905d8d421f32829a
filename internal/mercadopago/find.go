package mercadopago

import (
	"context"
	"fmt"
	"slices"
	"time"

	"payment-capture/internal/event"
)

// Found is the result of [Client.Find]. A payment that was not found may exist
// nevertheless: how soon a search shows a payment is not documented.
type Found struct {
	// Payments are the advanced payments under the reference, each classified like
	// an answer to Get: Captured, Rejected, Poll (read it by its id) or Park. Each has
	// a Payment with an id. They are sorted by creation, those without a date first.
	//
	// A payment without any reference is Park, with the reason
	// reference_duplicated: only the API's filter says that it is ours.
	Payments []Answer
	// Inner names the payments, as "id status", that only the search of the Payments
	// API has: money that may have moved under this reference without an advanced
	// payment that shows it. It is evidence for an operator. Find searches for it only
	// if Payments is empty.
	Inner []string
	// Refused has a line for each search that the API does not offer.
	Refused []string
	// Searched reports that nothing failed and that at least one search of advanced
	// payments was read to its end. Otherwise Payments may be incomplete, and decides
	// nothing.
	Searched bool
	// Failed is set if a search could not be made, or not be read to its end; it was
	// the last one. Its meaning is that of an answer to Get: Retry, Wait or Halt; or
	// Park if another search does not help, because there are over a hundred results,
	// or the request has no reference.
	Failed *Answer
	// Calls is the number of requests that were sent.
	Calls int
}

// Find searches for the payments under the request's reference that were created at
// or after a time, by the API's clock: the caller allows for clocks that differ. It
// makes up to three searches, one call for each page: by either filter of the
// advanced payments, because the top-level reference of a wallet payment is null and
// no page documents which filter looks inside, and then by the Payments API.
func (c *Client) Find(ctx context.Context, r Request, since time.Time) Found {
	if why := unsearchable(r, since); why != "" {
		return Found{Failed: &Answer{
			Meaning: Park, ParkReason: event.ParkInvalidEvent, Read: true, Detail: "not searched: " + why,
		}}
	}
	// The API's dates have milliseconds, cut off.
	f := finder{client: c, request: r, since: since.Truncate(time.Millisecond), places: make(map[identifier]int)}
	f.run(ctx, time.Now())
	return f.found
}

func unsearchable(r Request, since time.Time) string {
	switch {
	case r.ExternalReference == "":
		return "the request has no external_reference, without which a search finds all payments"
	case r.Amount.IsZero():
		return "the request has no amount to compare payments with"
	case since.IsZero():
		return "the time to search from is missing"
	}
	return ""
}

// finder is the state of one Find.
type finder struct {
	client  *Client
	request Request
	since   time.Time
	found   Found
	places  map[identifier]int // by payment id, in found.Payments
}

func (f *finder) run(ctx context.Context, now time.Time) {
	whole := false
	for _, q := range f.advancedQueries(now) {
		results, ok := f.read(ctx, q)
		if f.found.Failed != nil {
			break
		}
		whole = whole || ok
		for _, x := range results {
			f.keep(x)
		}
	}
	if f.found.Failed == nil && len(f.found.Payments) == 0 {
		results, _ := f.read(ctx, f.innerQuery(now))
		for _, x := range results {
			f.keepInner(x)
		}
	}
	f.found.Searched = whole && f.found.Failed == nil
	slices.SortStableFunc(f.found.Payments, func(a, b Answer) int {
		return a.Payment.CreatedAt.Compare(b.Payment.CreatedAt)
	})
}

// createdBefore reports whether the payment has a date before since.
func (x *exchange) createdBefore(since time.Time) bool {
	created := parseTime(x.body.Created)
	return !created.IsZero() && created.Before(since)
}

// keep classifies one advanced payment, as if it were the answer to Get.
func (f *finder) keep(x exchange) {
	ours, others := x.namesReference()
	if (others && !ours) || x.createdBefore(f.since) {
		return
	}
	a := decide(x)
	if !ours && a.Meaning != Park {
		a = Answer{
			Meaning: Park, Cause: CauseDuplicateReference, ParkReason: event.ParkDuplicateRefer, Payment: a.Payment,
			Read: true, Sent: true, HTTPStatus: a.HTTPStatus, RequestID: a.RequestID,
			Detail: bounded("found by its reference, but without a reference itself: "+a.Detail, maxDetail),
		}
	}
	place, again := f.places[x.body.ID]
	if !again {
		f.places[x.body.ID] = len(f.found.Payments)
		f.found.Payments = append(f.found.Payments, a)
		return
	}
	if first := f.found.Payments[place]; first.Meaning != a.Meaning || first.Reason != a.Reason || first.ParkReason != a.ParkReason {
		// It changed meanwhile, or an index lags. The payment itself shows which.
		a.Detail = bounded(fmt.Sprintf("payment %s was %s in one search and %s in the next: read it by its id",
			orNone(a.Payment.ID), first.Meaning, a.Meaning), maxDetail)
		a.Meaning, a.Cause, a.Reason, a.ParkReason = Poll, CauseUnknownStatus, "", event.ParkContradictory
	}
	f.found.Payments[place] = a
}

// keepInner adds the name of one payment of the Payments API.
func (f *finder) keepInner(x exchange) {
	ours, others := x.namesReference()
	if (others && !ours) || x.createdBefore(f.since) {
		return
	}
	line := x.scrub.word(string(x.body.ID)) + " " + orNone(x.scrub.word(x.body.Status))
	if !ours {
		line += " (without a reference)"
	}
	f.found.Inner = append(f.found.Inner, line)
}

// namesReference reports whether the payment has the request's reference, and
// whether it has others, in any place of a reference. A reference that is not a text
// is neither; contradiction finds it.
func (x *exchange) namesReference() (ours, others bool) {
	for r := range x.body.references() {
		switch r {
		case "", "[", "{":
		case x.request.ExternalReference:
			ours = true
		default:
			others = true
		}
	}
	return ours, others
}
