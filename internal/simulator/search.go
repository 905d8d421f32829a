package simulator

import (
	"cmp"
	"iter"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// query is a search as asked.
type query struct {
	values        url.Values
	limit, offset int
	criteria      string
	byUpdate      bool      // range=date_last_updated
	begin, end    time.Time // zero: unbounded; end is exclusive
}

// The default and greatest page; the default is that of the SDKs.
const (
	defaultLimit = 30
	maxLimit     = 100
)

// advancedFilters are the filters of the advanced search that are simulated.
// Others exist (payer.email, disbursement.collector_id, date_created,
// attributes); they are answered as unknown ones, so nobody relies on them.
func advancedFilters() []string {
	return []string{
		"status", "external_reference", "payment.id", "payment.external_reference",
		"payment.payment_method_id", "payment.transaction_amount", "payer.id", "client.id",
	}
}

func innerFilters() []string {
	return []string{"status", "external_reference", "payer.id", "collector.id", "sort", "criteria"}
}

func parseQuery(values url.Values, filters []string) (query, *problem) {
	q := query{values: values, limit: defaultLimit, criteria: values.Get("criteria")}
	for name := range values {
		common := slices.Contains([]string{"limit", "offset", "range", "begin_date", "end_date"}, name)
		if !common && !slices.Contains(filters, name) {
			return q, new(badSearch())
		}
	}
	var ok bool
	if q.limit, ok = number(values, "limit", defaultLimit); !ok || q.limit > maxLimit {
		return q, new(badSearch())
	}
	if q.offset, ok = number(values, "offset", 0); !ok {
		return q, new(badSearch())
	}
	if status := values.Get("status"); status != "" && !slices.Contains(knownStatuses(), status) {
		return q, new(badRequest("Invalid status.", "400040"))
	}
	switch values.Get("range") {
	case "", "date", "date_created":
	case "date_last_updated":
		q.byUpdate = true
	default:
		return q, new(badSearch())
	}
	if q.begin, _, ok = date(values.Get("begin_date")); !ok {
		return q, new(badRequest("Invalid begin_date.", "400041"))
	}
	var wholeDay bool
	if q.end, wholeDay, ok = date(values.Get("end_date")); !ok {
		return q, new(badRequest("Invalid end_date.", "400042"))
	}
	switch {
	case wholeDay:
		q.end = q.end.AddDate(0, 0, 1)
	case !q.end.IsZero():
		q.end = q.end.Add(time.Millisecond) // the unit of the dates shown
	}
	return q, nil
}

func knownStatuses() []string {
	return []string{
		"authorized", "in_process", "pending", "approved", "rejected", "cancelled",
		"refunded", "partially_refunded", "charged_back", "in_mediation",
	}
}

func number(values url.Values, name string, fallback int) (n int, ok bool) {
	text := values.Get(name)
	if text == "" {
		return fallback, true
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 0
}

// date reads 2026-11-23, a day in the account's zone, or an RFC 3339 time.
func date(text string) (t time.Time, wholeDay, ok bool) {
	if text == "" {
		return time.Time{}, false, true
	}
	if t, err := time.ParseInLocation(time.DateOnly, text, accountZone()); err == nil {
		return t, true, true
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	return t, false, err == nil
}

// anyReference is what rules for searches are matched by.
func (q query) anyReference() string {
	return cmp.Or(q.values.Get("external_reference"), q.values.Get("payment.external_reference"))
}

// candidates returns the payments that a search may find: newest first unless the query
// says otherwise, and only those of the reference if it names one. The caller holds the
// lock.
func (s *Simulator) candidates(q query) iter.Seq[*payment] {
	among := s.payments.all
	if reference := q.anyReference(); reference != "" {
		among = s.payments.byReference[reference]
	}
	if q.criteria == "asc" {
		return slices.Values(among)
	}
	return func(yield func(*payment) bool) {
		for _, p := range slices.Backward(among) {
			if !yield(p) {
				return
			}
		}
	}
}

// inTime reports whether the payment is in the index already and in the range.
func (q query) inTime(p *payment, now time.Time) bool {
	at := p.created
	if q.byUpdate {
		at = p.updated
	}
	return !now.Before(p.visibleAt) &&
		(q.begin.IsZero() || !at.Before(q.begin)) &&
		(q.end.IsZero() || at.Before(q.end))
}

// is reports whether a filter is absent or has the value.
func (q query) is(name, value string) bool {
	wanted := q.values.Get(name)
	return wanted == "" || wanted == value
}

func (q query) wants(p *payment, now time.Time, searchBy string) bool {
	status, _ := p.statusAt(now)
	outer, inner := p.reference, p.reference
	switch searchBy {
	case "inner":
		outer = ""
	case "outer":
		inner = ""
	case "none":
		outer, inner = "", ""
	}
	if !q.inTime(p, now) || !q.is("status", status) ||
		!q.is("external_reference", outer) || !q.is("payment.external_reference", inner) ||
		!q.is("payer.id", strconv.FormatInt(p.payerID, 10)) {
		return false
	}
	if wanted := q.values.Get("payment.transaction_amount"); wanted != "" {
		amount, err := parseAmount(wanted)
		if err != nil || !amount.Equal(p.amount) {
			return false
		}
	}
	return slices.ContainsFunc(p.children, func(c child) bool {
		return q.is("payment.id", strconv.FormatInt(c.id, 10)) && q.is("payment.payment_method_id", c.method)
	})
}

func (q query) wantsInner(p *payment, c child, now time.Time) bool {
	_, refunded := p.statusAt(now)
	return q.inTime(p, now) &&
		q.is("status", p.renderChild(c, true, refunded).Status) &&
		q.is("external_reference", p.reference) &&
		q.is("collector.id", collector) &&
		q.is("payer.id", strconv.FormatInt(p.payerID, 10))
}
