package mercadopago

import (
	"context"
	"fmt"
	"slices"
	"time"

	"payment-capture/internal/event"
)

// Found is what [Client.Find] found, and how far it could look. That nothing
// was found is never proof: how soon a payment can be searched is not
// documented.
type Found struct {
	// Payments are the advanced payments under the reference, each judged as
	// an answer to Get is: Captured, Rejected, Poll (read it by its id) or Park.
	// Each has a Payment with an id. They are sorted by creation, those without
	// a date first: they cannot be told from older ones by time.
	//
	// One that shows no reference at all is Park, with the reason
	// reference_duplicated: that it is ours is the word of the API's filter
	// alone.
	Payments []Answer
	// Inner names payments, as "id status", that only the search of the
	// Payments API has: money that may have moved under this reference without
	// an advanced payment to judge it by. It is evidence for a person. It is
	// asked for only where Payments is empty.
	Inner []string
	// Refused has a line for each search that the API does not offer.
	Refused []string
	// Searched says that nothing failed and that at least one search of
	// advanced payments was read to its end. Without it, Payments may be
	// incomplete and decides nothing.
	Searched bool
	// Failed is set where a search could not be made, or not be read to its
	// end; nothing was asked after it. Its meaning is as that of an answer to
	// Get: Retry, Wait or Halt; or Park where reading again will not help,
	// that is over a hundred results, or a request without a reference.
	Failed *Answer
	// Calls is the number of requests that went out.
	Calls int
}

// Find looks for the payments that the API holds under the request's reference
// and that were created at or after a time, by the API's clock: the caller
// allows for clocks that differ. It makes up to three searches (reference notes
// §9), one call for each page: by either filter of the advanced payments, since
// the reference at the top of a wallet payment is null and which filter looks
// inside is not documented, and then by the Payments API.
func (c *Client) Find(ctx context.Context, r Request, since time.Time) Found {
	if why := unsearchable(r, since); why != "" {
		return Found{Failed: &Answer{
			Meaning: Park, ParkReason: event.ParkInvalidEvent, Read: true, Detail: "not searched: " + why,
		}}
	}
	// The API's dates have milliseconds, cut off.
	f := finder{client: c, request: r, since: since.Truncate(time.Millisecond), places: make(map[string]int)}
	f.run(ctx, time.Now())
	return f.found
}

func unsearchable(r Request, since time.Time) string {
	switch {
	case r.ExternalReference == "":
		return "the request has no external_reference, and a search without one finds everybody's payments"
	case r.Amount.IsZero():
		return "the request has no amount to hold payments against"
	case since.IsZero():
		return "there is no time to search from"
	}
	return ""
}

// finder is one Find under way.
type finder struct {
	client  *Client
	request Request
	since   time.Time
	found   Found
	places  map[string]int // by payment id, in found.Payments
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

// createdBefore reports whether the payment is dated, and older.
func (x *exchange) createdBefore(since time.Time) bool {
	created := parseTime(x.body.created)
	return !created.IsZero() && created.Before(since)
}

// keep judges one advanced payment, as if it were the answer to Get.
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
			Detail: bounded("found by its reference, which it does not show: "+a.Detail, maxDetail),
		}
	}
	place, again := f.places[x.body.id]
	if !again {
		f.places[x.body.id] = len(f.found.Payments)
		f.found.Payments = append(f.found.Payments, a)
		return
	}
	if first := f.found.Payments[place]; first.Meaning != a.Meaning || first.Reason != a.Reason || first.ParkReason != a.ParkReason {
		// It changed meanwhile, or an index lags. The payment itself will tell.
		a.Detail = bounded(fmt.Sprintf("payment %s was %s in one search and %s in the next: read it by its id",
			orNone(a.Payment.ID), first.Meaning, a.Meaning), maxDetail)
		a.Meaning, a.Cause, a.Reason, a.ParkReason = Poll, CauseUnknownStatus, "", event.ParkContradictory
	}
	f.found.Payments[place] = a
}

// keepInner names one payment of the Payments API.
func (f *finder) keepInner(x exchange) {
	ours, others := x.namesReference()
	if (others && !ours) || x.createdBefore(f.since) {
		return
	}
	line := x.scrub.word(x.body.id) + " " + orNone(x.scrub.word(x.body.status))
	if !ours {
		line += " (shows no reference)"
	}
	f.found.Inner = append(f.found.Inner, line)
}

// namesReference reports which references the payment shows, in any of the
// places where one can stand: the request's, and others. What is no text is
// neither; contradiction finds it.
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
