package replay

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/shopspring/decimal"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
	"payment-capture/internal/rules"
	"payment-capture/internal/skips"
)

// Plan returns which of the remaining records would be sent, and what the service would
// do with them according to the ledger and the clock now. It sends nothing. If ctx ends
// the error is [ErrInterrupted].
func (r *Run) Plan(ctx context.Context) (*Plan, error) {
	plan, err := r.plan(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("%w; nothing was sent", ErrInterrupted)
	}
	return plan, err
}

func (r *Run) plan(ctx context.Context) (*Plan, error) {
	if r.state.Selection.Parked {
		// The whole spans, also the part that is done: a record that was parked again is
		// sent from its last place, which may be before this one.
		if err := r.findNewest(ctx); err != nil {
			return nil, err
		}
	}
	t := newTally()
	err := r.scan(ctx, "planning", r.state.Spans, func(rec *kgo.Record) error {
		t.plan.Scanned++
		return r.planRecord(ctx, t, rec)
	})
	if err != nil {
		return nil, err
	}
	return t.done(), nil
}

// scan calls a function with every record of the spans, and shows the progress.
func (r *Run) scan(ctx context.Context, phase string, spans []span, use func(*kgo.Record) error) error {
	m := r.merged(spans)
	defer m.close()
	total, read := steps(spans), int64(0)
	for {
		rec, err := m.next(ctx)
		if rec == nil || err != nil {
			return err
		}
		if err := use(rec); err != nil {
			return err
		}
		read++
		r.conf.Progress(phase, read, total)
	}
}

// steps returns how many offsets there are to read.
func steps(spans []span) int64 {
	var n int64
	for _, s := range spans {
		n += s.End - s.Next
	}
	return n
}

// findNewest stores where each event was parked last.
func (r *Run) findNewest(ctx context.Context) error {
	whole := make([]span, 0, len(r.state.Spans))
	for _, s := range r.state.Spans {
		s.Next = s.Start
		whole = append(whole, s)
	}
	return r.scan(ctx, "finding records parked again", whole, func(rec *kgo.Record) error {
		j, err := r.candidate(ctx, rec)
		if err != nil || j == nil || j.subject.id == "" {
			return err
		}
		return r.seen.parkedAt(j.subject.id, j.subject.content(), placeIn(rec))
	})
}

func placeIn(rec *kgo.Record) place {
	p := place{Partition: rec.Partition, Offset: rec.Offset}
	if timed(rec) {
		p.At = rec.Timestamp.UnixMilli()
	}
	return p
}

// superseded reports whether an event is sent from another place of the parked
// topic than this one.
func (r *Run) superseded(j *candidate, rec *kgo.Record) (bool, error) {
	if !r.state.Selection.Parked || j.subject.id == "" {
		return false, nil
	}
	newest, err := r.seen.newest(j.subject.id, j.subject.content())
	return newest != placeIn(rec), err
}

// planRecord adds a record to the plan.
func (r *Run) planRecord(ctx context.Context, t *tally, rec *kgo.Record) error {
	j, err := r.candidate(ctx, rec)
	if err != nil || j == nil {
		return err
	}
	old, err := r.superseded(j, rec)
	if err != nil {
		return err
	}
	if old {
		t.add(Superseded, nil, false, false)
		return nil
	}
	first := true
	if j.subject.id != "" {
		if first, err = r.classify(ctx, j); err != nil {
			return err
		}
	}
	if err := r.claim(j); err != nil {
		return err
	}
	if !j.subject.ours() {
		t.skipped.Add(j.subject.skipped.Reason, j.subject.skipped.Type)
	}
	t.add(j.class, j.subject.event, first, j.send)
	if j.send {
		_, moved, restamped := r.record(j)
		if moved {
			t.plan.Elsewhere++
		}
		if restamped {
			t.plan.Restamped++
		}
	}
	return nil
}

// claim changes the class of an event if a duplicate of it comes before it: the first
// is captured, as far as the plan can tell, and the others are parked.
func (r *Run) claim(j *candidate) error {
	guard := r.conf.Rules.Guard
	if !j.class.Calls() {
		return nil
	}
	charge, compares := guard.Compared(j.subject.event)
	if !compares {
		return nil
	}
	holder, err := r.seen.claim(j.subject.id,
		charge.Reference, charge.Amount.String(), string(charge.Amount.Currency()), string(charge.Payer[:]))
	if err != nil || holder == j.subject.id || (guard == rules.GuardPayment && j.releases()) {
		return err
	}
	if j.class == First || j.class == Waits {
		j.class = ParkReference
		if guard == rules.GuardPayment {
			j.class = ParkDuplicate
		}
	} else {
		j.class = LookUpThenPark
	}
	return nil
}

// Plan is what a run would send, and what the service would do.
type Plan struct {
	// Rows has a row for each class that occurs, in the order of [Classes].
	Rows []Row
	// Scanned counts the records that were read, chosen or not.
	Scanned int64
	// Send counts the records that would be sent.
	Send int64
	// Elsewhere counts those of them that would go to the partition of their
	// key, because theirs does not exist in the topic.
	Elsewhere int64
	// Restamped counts those of them that would have the present time, because the
	// topic does not keep, or refuses, records of their age.
	Restamped int64
	// Skipped counts the records that the service skips, by reason and by type or
	// account.
	Skipped []skips.Count
}

// Row counts the records, events and money of a class.
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

// MoneyText returns the sums by currency, as "BRL 10.00, MXN 700.50".
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

// tally counts records into a plan.
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

// done returns the plan.
func (t *tally) done() *Plan {
	for _, c := range Classes() {
		if row := t.rows[c]; row != nil {
			t.plan.Rows = append(t.plan.Rows, *row)
		}
	}
	t.plan.Skipped = t.skipped.Counts()
	return &t.plan
}
