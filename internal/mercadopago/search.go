package mercadopago

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"payment-capture/internal/event"
)

const (
	// pageSize is less than the API's default of 30: a page of single payments, of
	// some six thousand bytes each, stays well under maxBody.
	pageSize = 20
	// maxPages bounds a search. More payments than that under one reference, in a few
	// days, are for an operator.
	maxPages = 5
)

// query is one search.
type query struct {
	name, path string
	values     url.Values
}

// advancedQueries returns the searches of advanced payments. They are bounded by
// days (page advanced-payments/search-and-conciliation) of an undocumented time zone,
// so there is one more day at either end.
func (f *finder) advancedQueries(now time.Time) []query {
	begin, end := f.span(now)
	var queries []query
	for _, filter := range []string{"external_reference", "payment.external_reference"} {
		queries = append(queries, query{
			name: "advanced payments by " + filter, path: path + "/search",
			values: url.Values{
				filter:  {f.request.ExternalReference},
				"range": {"date"}, "begin_date": {begin.Format(time.DateOnly)}, "end_date": {end.Format(time.DateOnly)},
			},
		})
	}
	return queries
}

// innerQuery returns the search of single payments. It requires sort and criteria
// (OpenAPI) and takes times.
func (f *finder) innerQuery(now time.Time) query {
	const layout = "2006-01-02T15:04:05.000Z07:00"
	begin, end := f.span(now)
	return query{
		name: "payments by external_reference", path: "/v1/payments/search",
		values: url.Values{
			"sort": {"date_created"}, "criteria": {"desc"}, "external_reference": {f.request.ExternalReference},
			"range": {"date_created"}, "begin_date": {begin.Format(layout)}, "end_date": {end.Format(layout)},
		},
	}
}

func (f *finder) span(now time.Time) (begin, end time.Time) {
	if now.Before(f.since) {
		now = f.since
	}
	return f.since.UTC().AddDate(0, 0, -1), now.UTC().AddDate(0, 0, 1)
}

func (q query) at(offset int) string {
	q.values.Set("limit", strconv.Itoa(pageSize))
	q.values.Set("offset", strconv.Itoa(offset))
	return q.path + "?" + q.values.Encode()
}

// read makes a search, page by page. If the API does not offer it or it fails, whole
// is false and f.found has the reason.
func (f *finder) read(ctx context.Context, q query) (results []exchange, whole bool) {
	var l listing
	for range maxPages {
		x, none := f.client.call(ctx, &f.request, http.MethodGet, q.at(len(l.results)))
		if none == nil || none.Sent {
			f.found.Calls++
		}
		if none != nil {
			f.fail(q, *none)
			return nil, false
		}
		more := f.take(q, &l, *x)
		switch {
		case l.whole:
			return l.results, true
		case !more:
			return nil, false
		}
	}
	f.fail(q, Answer{
		Meaning: Park, Cause: CauseUnreadable, ParkReason: event.ParkUndecided, HTTPStatus: http.StatusOK, Read: true, Sent: true,
		Detail: fmt.Sprintf("%d results on over %d pages are too many to compare", l.total, maxPages),
	})
	return nil, false
}

// take adds a complete answer to the search's listing. It reports whether to read
// the next page.
func (f *finder) take(q query, l *listing, x exchange) (more bool) {
	if x.status < 200 || x.status > 299 || x.body.isProblem() {
		f.searchError(q, x)
		return false
	}
	if why := l.add(x); why != "" {
		f.fail(q, x.unusable(Retry, why))
		return false
	}
	switch {
	case l.whole:
		return false
	case l.foreign:
		// The API ignores this filter, so the further pages have payments of all
		// references.
		f.refuse(q, "it is answered with payments of other references")
		return false
	case l.total > maxPages*pageSize:
		f.fail(q, x.unusable(Park, fmt.Sprintf("%d results are too many to compare", l.total)))
		return false
	}
	return true
}

// searchError classifies an error, of the search itself or of the service. It means
// the same as for Get, but instead of reading the payment again, or doubting it, the
// caller can only repeat the search.
func (f *finder) searchError(q query, x exchange) {
	a := decide(x)
	if x.notOffered(a) {
		f.refuse(q, a.Detail)
		return
	}
	if a.Meaning != Retry && a.Meaning != Wait && a.Meaning != Halt {
		a.Meaning, a.Reason, a.ParkReason = Retry, "", event.ParkUndecided
	}
	a.Payment = nil
	f.fail(q, a)
}

func (f *finder) fail(q query, a Answer) {
	a.Detail = bounded("search of "+q.name+": "+a.Detail, maxDetail)
	f.found.Failed = &a
}

func (f *finder) refuse(q query, why string) {
	f.found.Refused = append(f.found.Refused, bounded("search of "+q.name+": "+why, maxDetail))
}

// notOffered reports whether the error a means that the API has no such search: it
// refuses the parameters, or takes "search" for the id of a payment, or does not
// serve the path. That is no fault of our credential, so it is no halt.
func (x *exchange) notOffered(a Answer) bool {
	status := x.status
	if status >= 200 && status <= 299 {
		status = x.body.httpStatus()
	}
	p := &x.body.problem
	switch status {
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	case http.StatusBadRequest:
		// 400047 also without a cause (page advanced-payments/
		// search-and-conciliation); 400048 is an invalid id.
		return a.Meaning != Halt &&
			(p.anyCode("400047", "400048") || p.says("some parameters are invalid for search"))
	case http.StatusNotFound:
		// If nothing is found, the page is empty. Without an error object of the API
		// the answer may be any proxy's.
		return a.Meaning != Halt && x.body.readable && x.body.isProblem()
	}
	return false
}
