package mercadopago

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"payment-capture/internal/event"
)

// listing is the results of one search, collected page by page.
type listing struct {
	results []exchange
	total   int                 // according to the pages
	whole   bool                // results has all of them
	foreign bool                // a result is of other references than the one asked for
	ids     map[identifier]bool // of the results; nil before the first page
}

// add adds the next page, or returns why the search cannot be trusted: a page that is
// mistaken for empty, or for the last one, would hide a charge.
func (l *listing) add(x exchange) (why string) {
	p, why := x.page()
	switch {
	case why != "":
		return why
	case p.offset != len(l.results):
		return fmt.Sprintf("the page begins at result %d, not %d", p.offset, len(l.results))
	case l.ids != nil && p.total != l.total:
		return fmt.Sprintf("there were %d results, then %d", l.total, p.total)
	case p.offset+len(p.results) > p.total:
		return fmt.Sprintf("there are %d results or more, of %d", p.offset+len(p.results), p.total)
	case len(p.results) == 0 && p.offset < p.total:
		return fmt.Sprintf("the page is empty, after %d results of %d", p.offset, p.total)
	}
	if l.ids == nil {
		l.ids = make(map[identifier]bool)
	}
	l.total = p.total
	for _, result := range p.results {
		if l.ids[result.body.ID] {
			// If one is there twice, another one may be missing.
			return "payment " + string(result.body.ID) + " is in it twice"
		}
		l.ids[result.body.ID] = true
		ours, others := result.namesReference()
		l.foreign = l.foreign || (others && !ours)
		l.results = append(l.results, result)
	}
	l.whole = len(l.results) == l.total
	return ""
}

// page is one page of a search.
type page struct {
	total, offset int
	results       []exchange // each as if it were the answer to a read
}

// page parses the answer as a page: {"paging":{"total":1,"limit":10,"offset":0},
// "results":[…]}, or returns why that is not possible.
func (x *exchange) page() (p page, why string) {
	var w struct {
		Paging  jsontext.Value `json:"paging"`
		Results jsontext.Value `json:"results"`
	}
	switch {
	case x.status != http.StatusOK:
		return page{}, "not a page of results"
	case len(x.raw) > maxBody:
		return page{}, fmt.Sprintf("a page of over %d bytes", maxBody)
	case !x.body.readable || x.body.problem.present || !unmarshal(x.raw, &w):
		return page{}, "an unreadable page"
	}
	var elements []jsontext.Value
	if w.Results.Kind() != jsontext.KindBeginArray || !unmarshal(w.Results, &elements) {
		return page{}, "a page without a list of results"
	}
	var paging struct {
		Total  string `json:"total"`
		Offset string `json:"offset"`
	}
	if w.Paging.Kind() != jsontext.KindBeginObject || !unmarshal(w.Paging, &paging) {
		return page{}, "a page without paging"
	}
	var err, err2 error
	p.total, err = strconv.Atoi(paging.Total)
	p.offset, err2 = strconv.Atoi(paging.Offset)
	if err != nil || err2 != nil {
		return page{}, "a page without numbers in paging"
	}
	for i, element := range elements {
		result := exchange{
			status: x.status, read: true, raw: element, body: parseBody(element), request: x.request, scrub: x.scrub,
			requestID: x.requestID,
		}
		// An unreadable result has no id either.
		if b := result.body; b.ID == "" || (b.isProblem() && len(b.Payments) == 0) {
			return page{}, fmt.Sprintf("result %d of the page is no payment", i+1)
		}
		p.results = append(p.results, result)
	}
	return p, ""
}

// unusable classifies a search whose answer is complete and cannot be used.
func (x *exchange) unusable(m Meaning, why string) Answer {
	return Answer{
		Meaning: m, Cause: CauseUnreadable, ParkReason: event.ParkUndecided, HTTPStatus: x.status, Read: true, Sent: true,
		RequestID: x.requestID, RetryAfter: x.retryAfter,
		Detail: x.scrub.text(fmt.Sprintf("HTTP %d, %s", x.status, why), maxDetail),
	}
}
