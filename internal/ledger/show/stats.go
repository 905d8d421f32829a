package show

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/shopspring/decimal"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
	"payment-capture/internal/rules"
)

// Stats counts all events of a ledger. Its memory does not depend on their number.
type Stats struct {
	Events    int64              `json:"events"`
	Decisions map[Decision]int64 `json:"decisions"`
	// Parked counts those that wait for an operator, by reason.
	Parked map[event.ParkReason]int64 `json:"parked"`
	// Open counts attempts whose effect is not known, by the age of the first.
	Open map[Age]int64 `json:"open_attempts"`
	// Sums has the captured money by currency, as decimals.
	Sums map[money.Currency]Sum `json:"captured_sums"`
	// Oldest and Newest are the times of the first and last decision; zero: none.
	Oldest time.Time `json:"oldest_decision,omitzero"`
	Newest time.Time `json:"newest_decision,omitzero"`

	rules Rules
	now   time.Time
}

// NewStats returns empty Stats; now is the time for the ages of attempts.
func NewStats(r Rules, now time.Time) *Stats {
	return &Stats{
		Decisions: map[Decision]int64{Captured: 0, Rejected: 0, Parked: 0, Undecided: 0},
		Parked:    make(map[event.ParkReason]int64),
		Open:      map[Age]int64{Young: 0, Aged: 0, PastHorizon: 0, Future: 0},
		Sums:      make(map[money.Currency]Sum),
		rules:     r, now: now,
	}
}

// Add counts an event.
func (s *Stats) Add(h event.History) {
	decision := DecisionOf(h)
	if decision == Unknown {
		return
	}
	s.Events++
	s.Decisions[decision]++
	if h.Attempt != nil {
		s.Open[s.rules.age(*h.Attempt, s.now)]++
	}
	d := h.Decision
	if d == nil {
		return
	}
	if s.Oldest.IsZero() || d.At.Before(s.Oldest) {
		s.Oldest = d.At
	}
	if d.At.After(s.Newest) {
		s.Newest = d.At
	}
	if d.ParkInfo != nil {
		s.Parked[d.ParkInfo.Reason]++
	}
	if decision == Captured {
		amount := d.Outcome.Amount
		s.Sums[amount.Currency()] = s.Sums[amount.Currency()].plus(amount)
	}
}

// Age is how old an attempt is, by what the rules do with it.
type Age string

// The ages.
const (
	Young       Age = "young"        // called again
	Aged        Age = "aged"         // looked up first
	PastHorizon Age = "past_horizon" // looked up, and then parked
	Future      Age = "future"       // likewise: a clock is wrong
)

func (r Rules) age(a event.Attempt, now time.Time) Age {
	switch age := now.Sub(a.First); {
	case age < -event.ClockTolerance:
		return Future
	case age > r.KeyRetention:
		return PastHorizon
	case age > rules.LookUpAfter:
		return Aged
	}
	return Young
}

func (r Rules) ageText(a Age) string {
	switch a {
	case Young:
		return fmt.Sprintf("up to %s old", short(rules.LookUpAfter))
	case Aged:
		return fmt.Sprintf("up to %s old", short(r.KeyRetention))
	case PastHorizon:
		return "older"
	case Future:
	}
	return "from the future"
}

// Sum is money of one currency, without the bound that an amount has.
type Sum struct {
	total decimal.Decimal
	scale int32
}

func (s Sum) plus(a money.Amount) Sum {
	site, _ := money.SiteOf(a.Currency()) // an amount is of a currency that has one
	return Sum{s.total.Add(decimal.New(a.Minor(), -site.Scale)), site.Scale}
}

// String returns the sum with exactly its currency's decimal places.
func (s Sum) String() string { return s.total.StringFixed(s.scale) }

// MarshalText returns the same.
func (s Sum) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Print writes the counts as a table.
func (s *Stats) Print(w io.Writer) {
	out := table.NewWriter()
	out.SetOutputMirror(w)
	out.SetColumnConfigs([]table.ColumnConfig{{Number: 2, Align: text.AlignRight}})
	out.AppendRow(table.Row{"events", s.Events})
	out.AppendSeparator()
	for _, v := range []Decision{Captured, Rejected, Parked, Undecided} {
		out.AppendRow(table.Row{string(v), s.Decisions[v]})
	}
	out.AppendSeparator()
	for _, reason := range slices.Sorted(maps.Keys(s.Parked)) {
		out.AppendRow(table.Row{"parked: " + plain(string(reason)), s.Parked[reason]})
	}
	out.AppendSeparator()
	for _, age := range []Age{Young, Aged, PastHorizon, Future} {
		out.AppendRow(table.Row{"open attempts, " + s.rules.ageText(age), s.Open[age]})
	}
	out.AppendSeparator()
	for _, currency := range slices.Sorted(maps.Keys(s.Sums)) {
		out.AppendRow(table.Row{"captured, " + string(currency), s.Sums[currency]})
	}
	out.AppendSeparator()
	if s.Oldest.IsZero() {
		out.AppendRow(table.Row{"decisions", "none"})
	} else {
		out.AppendRow(table.Row{"oldest decision", format(s.Oldest)})
		out.AppendRow(table.Row{"newest decision", format(s.Newest)})
	}
	out.Render()
}
