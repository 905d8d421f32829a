package verify

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

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
		{"  without a verdict", stateMissing},
		{"  verdict not held any more", stateUnknown},
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

// printRest adds what else was counted, where there is any of it.
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
		{"records read", s.records, fmt.Sprintf("in %.1f s, %.0f records/s", s.reading.Seconds(), float64(s.records)/max(s.reading.Seconds(), 1e-3))},
		{"entries kept for them", s.entries, fmt.Sprintf("%d MB, %d MB on the disk", s.entryBytes>>20, s.diskBytes>>20)},
		{"no valid events, among the above", invalid, ""},
		{"outcomes marked as replayed", s.replayed, ""},
		{"outcomes and parkings repeated unmarked", s.repeated, "of copies of a record, or of offsets that were set back"},
		{"events outside the range", s.outOfRange, ""},
		{"verdicts of events that are not held any more", s.notRetained, "nothing is concluded from them"},
		{"verdicts on events of other accounts", s.othersEvents, ""},
		{"records in outcome topics that are no outcomes of this service", s.skipped.otherOutcomes.Load(), ""},
		{"parked records of other topics", s.skipped.otherParked.Load(), ""},
		{"parked records of other accounts", s.skipped.othersParked.Load(), ""},
		{"parked records that this version skips", s.skipped.parkedSkips.Load(), ""},
		{"records in the parked topic that say nothing of a parking", s.skipped.noParking.Load(), ""},
		{"payments read from the API", s.asked, ""},
		{"payments that could not be read", s.unasked, ""},
	} {
		if r.n > 0 {
			out.AppendRow(table.Row{r.label, r.n, r.say})
		}
	}
}

// Shown collects the first findings for a person.
type Shown struct {
	most int
	out  table.Writer
	rows int
	left int
}

// NewShown makes a table of at most so many findings.
func NewShown(most int) *Shown {
	s := &Shown{most: most, out: table.NewWriter()}
	s.out.SetStyle(table.StyleLight)
	s.out.AppendHeader(table.Row{"kind", "event", "order", "amount", "what is found", "records"})
	s.out.SetColumnConfigs([]table.ColumnConfig{
		{Number: 1, WidthMax: 24, WidthMaxEnforcer: text.WrapSoft},
		{Number: 2, WidthMax: 36},
		{Number: 3, WidthMax: 24},
		{Number: 5, WidthMax: 60, WidthMaxEnforcer: text.WrapSoft},
		{Number: 6, WidthMax: 48, WidthMaxEnforcer: text.WrapSoft},
	})
	return s
}

// Add takes a finding.
func (s *Shown) Add(f Finding) {
	if s.rows == s.most {
		s.left++
		return
	}
	s.rows++
	kind := string(f.Kind)
	if f.Severity == Warning {
		kind += " (warning)"
	}
	s.out.AppendRow(table.Row{
		kind, f.EventID, f.OrderID, strings.TrimSpace(f.Amount + " " + f.Currency), f.Detail, strings.Join(f.Records, " "),
	})
}

// Print writes the table, if there is anything in it.
func (s *Shown) Print(w io.Writer) {
	if s.rows > 0 {
		s.out.SetOutputMirror(w)
		s.out.Render()
	}
	if s.left > 0 {
		_, _ = fmt.Fprintf(w, "%d more are not shown: --output writes all of them to a file, --max-shown shows more\n", s.left) // for people only
	}
}
