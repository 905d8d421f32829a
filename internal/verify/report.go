package verify

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"payment-capture/internal/money"
	"payment-capture/internal/skips"
)

// Print writes the summary as a table.
func (s *Summary) Print(w io.Writer) {
	out := table.NewWriter()
	out.SetOutputMirror(w)
	out.SetStyle(table.StyleLight)
	out.SetColumnConfigs([]table.ColumnConfig{{Number: 2, Align: text.AlignRight}, {Number: 3, WidthMax: 60, WidthMaxEnforcer: text.WrapSoft}})
	out.AppendRow(table.Row{"events", s.Events(), ""})
	for _, r := range []struct {
		label string
		state state
	}{
		{"  captured", stateCaptured},
		{"  rejected", stateRejected},
		{"  parked", stateParked},
		{"  under way", statePending},
		{"  without a decision", stateMissing},
		{"  decision not kept any more", stateUnknown},
	} {
		if n := s.events(r.state); n > 0 || r.state == stateCaptured {
			out.AppendRow(table.Row{r.label, n, s.money(r.state)})
		}
	}
	out.AppendSeparator()
	s.printRest(out)
	out.AppendSeparator()
	if lines := skips.Lines(s.Skipped()); len(lines) > 0 {
		for _, l := range lines {
			out.AppendRow(table.Row{l.Label, l.Records, ""})
		}
		out.AppendSeparator()
	}
	for _, k := range Kinds() {
		if n := s.kinds[k]; n > 0 {
			severity := ""
			if s.warnings[k] {
				severity = "warning"
			}
			out.AppendRow(table.Row{string(k), n, severity})
		}
	}
	out.AppendRow(table.Row{"differences", s.Differences(), ""})
	out.Render()
	for _, n := range s.notes {
		_, _ = fmt.Fprintln(w, "note:", n) // for people only
	}
}

// printRest adds the other counters that are not zero.
func (s *Summary) printRest(out table.Writer) {
	invalid := int64(0)
	for _, n := range s.invalid {
		invalid += n
	}
	for _, r := range []struct {
		label string
		n     int64
		say   string
	}{
		{"records read", s.records, fmt.Sprintf("in %.1f s, %.0f records/s", s.reading.Seconds(),
			float64(s.records)/max(s.reading.Seconds(), 1e-3))},
		{"entries stored for them", s.entries, fmt.Sprintf("%d MB, %d MB on the disk", s.entryBytes>>20, s.diskBytes>>20)},
		{"invalid events, among the above", invalid, ""},
		{"outcomes marked as replayed", s.replayed, ""},
		{"outcomes and parked records repeated unmarked", s.repeated, "copies of a record, or offsets that were reset"},
		{"events outside the range", s.outOfRange, ""},
		{"decisions on events that are not kept any more", s.notRetained, "nothing is concluded from them"},
		{"decisions on events of other accounts", s.othersEvents, ""},
		{"records in outcome topics that are not outcomes of this service", s.skipped.otherOutcomes.Load(), ""},
		{"parked records of other topics", s.skipped.otherParked.Load(), ""},
		{"parked records of other accounts", s.skipped.othersParked.Load(), ""},
		{"parked records that this version skips", s.skipped.parkedSkips.Load(), ""},
		{"records in the parked topic that are not parked records", s.skipped.noParking.Load(), ""},
		{"payments read from the API", s.readPayments, ""},
		{"payments that could not be read", s.unread, ""},
	} {
		if r.n > 0 {
			out.AppendRow(table.Row{r.label, r.n, r.say})
		}
	}
}

// Shown collects the first findings for printing.
type Shown struct {
	Most int // how many to print
	rows []table.Row
	left int
}

// Add adds a finding.
func (s *Shown) Add(f Finding) {
	if len(s.rows) == s.Most {
		s.left++
		return
	}
	kind := string(f.Kind)
	if f.Severity == severityWarning {
		kind += " (warning)"
	}
	s.rows = append(s.rows, table.Row{
		kind, f.EventID, f.OrderID, strings.TrimSpace(f.Amount + " " + f.Currency), f.Detail, strings.Join(f.Records, " "),
	})
}

// Print writes the table, if there is anything in it.
func (s *Shown) Print(w io.Writer) {
	if len(s.rows) > 0 {
		out := table.NewWriter()
		out.SetOutputMirror(w)
		out.SetStyle(table.StyleLight)
		out.AppendHeader(table.Row{"kind", "event", "order", "amount", "finding", "records"})
		out.SetColumnConfigs([]table.ColumnConfig{
			{Number: 1, WidthMax: 24, WidthMaxEnforcer: text.WrapSoft},
			{Number: 2, WidthMax: 36},
			{Number: 3, WidthMax: 24},
			{Number: 5, WidthMax: 60, WidthMaxEnforcer: text.WrapSoft},
			{Number: 6, WidthMax: 48, WidthMaxEnforcer: text.WrapSoft},
		})
		out.AppendRows(s.rows)
		out.Render()
	}
	if s.left > 0 {
		_, _ = fmt.Fprintf(w, "%d more are not shown: --output writes all of them to a file, --max-shown shows more\n", s.left) // for people only
	}
}

// name returns the name of a state in JSON.
func (st state) name() string {
	switch st {
	case stateCaptured:
		return "captured"
	case stateRejected:
		return "rejected"
	case stateParked:
		return "parked"
	case statePending:
		return "under_way"
	case stateMissing:
		return "without_decision"
	case stateUnknown:
		return "decision_not_held"
	}
	return "unknown"
}

// stateView is the events of a state.
type stateView struct {
	Events  int64             `json:"events"`
	Invalid int64             `json:"invalid,omitempty"` // of them: records that are not valid events
	Money   map[string]string `json:"money,omitempty"`   // by currency
}

// JSON writes the summary as one JSON document.
func (s *Summary) JSON(w io.Writer) error {
	view := struct {
		Events      int64                `json:"events"`
		States      map[string]stateView `json:"states"`
		Differences int64                `json:"differences"`
		Warnings    int64                `json:"warnings"`
		Findings    map[Kind]int64       `json:"findings"`
		Skipped     []skips.Count        `json:"skipped"`
		OutOfRange  int64                `json:"events_outside_the_range"`
		Records     int64                `json:"records_read"`
		Asked       int64                `json:"payments_read"`
		Unread      int64                `json:"payments_not_read"`
		Notes       []string             `json:"notes"`
	}{
		Events: s.Events(), States: make(map[string]stateView), Differences: s.Differences(), Warnings: s.Warnings(), Findings: s.kinds,
		Skipped: s.Skipped(), OutOfRange: s.outOfRange, Records: s.records, Asked: s.readPayments, Unread: s.unread, Notes: append([]string{},
			s.notes...),
	}
	for _, st := range states() {
		of := stateView{Events: s.events(st), Invalid: s.invalid[st], Money: make(map[string]string)}
		for _, site := range money.Sites() {
			if n := s.sums[st][site.Currency]; n != nil {
				of.Money[string(site.Currency)] = decimalOf(&n.minor, site)
			}
		}
		view.States[st.name()] = of
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(view)
}
