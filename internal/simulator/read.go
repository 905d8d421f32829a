package simulator

import (
	"net/http"
	"strconv"
	"time"
)

// readAdvancedPayment is GET /v1/advanced_payments/{id}.
func (s *Simulator) readAdvancedPayment(r *http.Request, now time.Time) plan {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, wrong := s.findAdvanced(r.PathValue("id"))
	if wrong != nil {
		return s.readPlan(OnGet, "", wrong.reply(s.switches.CauseCodes))
	}
	s.countRead(p, now)
	body := s.render(p, asRead, now)
	if s.switches.GetShape == "documented" {
		body.Status = ""
		for i := range body.Payments {
			body.Payments[i].Status = ""
		}
	}
	return s.readPlan(OnGet, p.reference, s.garbled(jsonReply(http.StatusOK, body)))
}

// readPayment is GET /v1/payments/{id}, of an inner payment.
func (s *Simulator) readPayment(r *http.Request, now time.Time) plan {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	p := s.payments.byChild[id]
	if err != nil || p == nil {
		return s.readPlan(OnGet, "", paymentNotFound().reply(CodeInt))
	}
	s.countRead(p, now)
	for _, c := range p.children {
		if c.id == id {
			return s.readPlan(OnGet, p.reference, jsonReply(http.StatusOK, p.renderInner(c, now)))
		}
	}
	return s.readPlan(OnGet, p.reference, paymentNotFound().reply(CodeInt))
}

// searchAdvancedPayments is GET /v1/advanced_payments/search.
func (s *Simulator) searchAdvancedPayments(r *http.Request, now time.Time) plan {
	q, wrong := parseQuery(r.URL.Query(), advancedFilters())
	s.mu.Lock()
	defer s.mu.Unlock()
	if wrong != nil {
		return s.readPlan(OnSearch, q.anyReference(), wrong.reply(s.switches.CauseCodes))
	}
	page := newPage(q)
	for p := range s.candidates(q) {
		if q.wants(p, now, s.switches.SearchBy) {
			page.add(func() any { return s.render(p, asRead, now) })
		}
	}
	return s.readPlan(OnSearch, q.anyReference(), s.garbled(jsonReply(http.StatusOK, page.body)))
}

// searchPayments is GET /v1/payments/search, over the inner payments.
func (s *Simulator) searchPayments(r *http.Request, now time.Time) plan {
	q, wrong := parseQuery(r.URL.Query(), innerFilters())
	if wrong == nil {
		// Both are required by the OpenAPI description.
		if q.values.Get("sort") == "" || (q.criteria != "asc" && q.criteria != "desc") {
			wrong = new(badSearch())
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if wrong != nil {
		return s.readPlan(OnSearch, q.anyReference(), wrong.reply(CodeInt))
	}
	page := newPage(q)
	for p := range s.candidates(q) {
		for _, c := range p.children {
			if c.id != 0 && q.wantsInner(p, c, now) {
				page.add(func() any { return p.renderInner(c, now) })
			}
		}
	}
	return s.readPlan(OnSearch, q.anyReference(), jsonReply(http.StatusOK, page.body))
}

// page collects the results between offset and offset+limit and counts them all.
type page struct {
	query query
	body  pageJSON
}

type pageJSON struct {
	Paging  pagingJSON `json:"paging"`
	Results []any      `json:"results"`
}

type pagingJSON struct {
	Total  int `json:"total"`
	Limit  int `json:"limit"`
	Offset int `json:"offset"`
}

func newPage(q query) *page {
	return &page{query: q, body: pageJSON{
		Paging:  pagingJSON{Limit: q.limit, Offset: q.offset},
		Results: []any{},
	}}
}

func (g *page) add(render func() any) {
	g.body.Paging.Total++
	if g.body.Paging.Total > g.query.offset && len(g.body.Results) < g.query.limit {
		g.body.Results = append(g.body.Results, render())
	}
}
