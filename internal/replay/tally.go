package replay

import (
	"maps"
	"slices"
	"strings"

	"github.com/shopspring/decimal"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
	"payment-capture/internal/skips"
)

// Plan is what a run would send, and what would come of it.
type Plan struct {
	// Rows has a row for each class that occurs, in the order of [Classes].
	Rows []Row
	// Scanned counts the records that were read, chosen or not.
	Scanned int64
	// Send counts the records that would be sent.
	Send int64
	// Elsewhere counts those of them that would go to the partition of their
	// key, for theirs is not in the topic.
	Elsewhere int64
	// Restamped counts those of them that would have the present time, for the
	// topic does not keep, or take, records as old as they are.
	Restamped int64
	// Skipped counts the records that the service skips, by reason and by type or
	// account.
	Skipped []skips.Count
}

// Row is a class: how many records, of how many events, for how much money.
// Copies of an event count once as an event, and for the money.
type Row struct {
	Class   Class
	Records int64
	Events  int64
	Sent    int64 // of the records
	Money   map[money.Currency]decimal.Decimal
}

// Charges sums up the events that are sent and for which the API would be
// called: a row of no class.
func (p *Plan) Charges() Row {
	sum := newRow("")
	for _, r := range p.Rows {
		if !r.Class.Calls() || r.Sent == 0 {
			continue
		}
		sum.Records += r.Records
		sum.Events += r.Events
		sum.Sent += r.Sent
		for c, amount := range r.Money {
			sum.Money[c] = sum.Money[c].Add(amount)
		}
	}
	return *sum
}

func newRow(c Class) *Row { return &Row{Class: c, Money: make(map[money.Currency]decimal.Decimal)} }

// MoneyText gives the sums by currency, as "BRL 10.00, MXN 700.50".
func (r Row) MoneyText() string {
	var sums []string
	for _, c := range slices.Sorted(maps.Keys(r.Money)) {
		sums = append(sums, string(c)+" "+r.text(c))
	}
	return strings.Join(sums, ", ")
}

func (r Row) text(c money.Currency) string {
	site, _ := money.SiteOf(c)
	return r.Money[c].StringFixed(site.Scale)
}

// tally adds a plan up.
type tally struct {
	rows    map[Class]*Row
	skipped skips.Counter
	plan    Plan
}

func newTally() *tally { return &tally{rows: make(map[Class]*Row)} }

// add counts a record. The first of its copies counts for the event.
func (t *tally) add(c Class, e *event.ReadyToCapture, first, sent bool) {
	row := t.rows[c]
	if row == nil {
		row = newRow(c)
		t.rows[c] = row
	}
	row.Records++
	if sent {
		row.Sent++
		t.plan.Send++
	}
	if !first {
		return
	}
	row.Events++
	if e != nil {
		currency := e.Amount.Currency()
		site, _ := money.SiteOf(currency)
		row.Money[currency] = row.Money[currency].Add(decimal.New(e.Amount.Minor(), -site.Scale))
	}
}

// done gives the plan.
func (t *tally) done() *Plan {
	for _, c := range Classes() {
		if row := t.rows[c]; row != nil {
			t.plan.Rows = append(t.plan.Rows, *row)
		}
	}
	t.plan.Skipped = t.skipped.Counts()
	return &t.plan
}
