package demo

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/jedib0t/go-pretty/v6/progress"
	"github.com/jedib0t/go-pretty/v6/table"

	"payment-capture/internal/simulator"
)

// seen is a decision as a read-committed consumer reads it.
type seen struct{ id, kind, reason string }

// report collects the decisions on the events.
type report struct {
	expect           map[string]expectation
	decisions        map[string][]seen
	decided          int // events of expect that have a decision
	counts           map[string]int
	providerReplayed int
	other            int
	began            time.Time
	took             time.Duration
	committed        bool
	charges          simulator.Charges
}

func newReport(orders *generated) *report {
	return &report{
		expect: orders.expect, other: orders.other, began: time.Now(),
		decisions: make(map[string][]seen), counts: make(map[string]int),
	}
}

// tally counts the results; all but the first two must be zero.
type tally struct {
	right      int // events with exactly one decision, the expected one
	rightMoney int // captured events charged once, and others not charged
	lost       int // events without a decision
	doubled    int // events with several decisions
	wrong      int // events with another decision than the expected one
	unknown    int // decisions on events that were not sent
	wrongMoney int // events whose charges do not match their decision, and charges without an event
	twice      int // keys charged more than once
}

func (r *report) tally() tally {
	var t tally
	for id, want := range r.expect {
		got := r.decisions[id]
		switch {
		case len(got) == 0:
			t.lost++
		case len(got) > 1:
			t.doubled++
		case !want.metBy(got[0]):
			t.wrong++
		default:
			t.right++
		}
		if charged := r.charges.ByKey[id].Count; (want.kind == "captured") == (charged == 1) && charged <= 1 {
			t.rightMoney++
		} else {
			t.wrongMoney++
		}
	}
	for id := range r.decisions {
		if _, ok := r.expect[id]; !ok {
			t.unknown++
		}
	}
	for key := range r.charges.ByKey {
		if _, ok := r.expect[key]; !ok {
			t.wrongMoney++
		}
	}
	t.twice = len(r.charges.DoubleCharges())
	return t
}

// proven reports whether the promises held.
func (r *report) proven() bool {
	t := r.tally()
	return r.committed && t == tally{right: len(r.expect), rightMoney: len(r.expect)}
}

// print writes the table.
func (r *report) print(w io.Writer) {
	t := r.tally()
	out := table.NewWriter()
	out.SetOutputMirror(w)
	out.SetStyle(table.StyleLight)
	out.AppendRows([]table.Row{
		{"events", len(r.expect)},
		{"  captured", r.counts["captured"]},
		{"  rejected", r.counts["rejected"]},
	})
	reasons := make(map[string]int)
	for _, vs := range r.decisions {
		for _, v := range vs {
			if v.kind != "captured" {
				reasons[v.kind+" "+v.reason]++
			}
		}
	}
	for _, kind := range []string{"rejected", "parked"} {
		if kind == "parked" {
			out.AppendRow(table.Row{"  parked", r.counts["parked"]})
		}
		for _, name := range slices.Sorted(maps.Keys(reasons)) {
			if reason, ok := cutKind(name, kind); ok {
				out.AppendRow(table.Row{"    " + reason, reasons[name]})
			}
		}
	}
	out.AppendRow(table.Row{"records of other types, skipped", r.other})
	out.AppendSeparator()
	out.AppendRows([]table.Row{
		{"API calls", r.charges.Calls},
		{"  replayed by the API for a repeated key", r.providerReplayed},
		{"real charges", len(r.charges.List)},
		{"double charges", t.twice},
	})
	out.AppendSeparator()
	out.AppendRows([]table.Row{
		{"events with exactly one decision, the right one", t.right},
		{"lost", t.lost},
		{"doubled", t.doubled},
		{"wrong", t.wrong + t.unknown},
		{"charges that do not match the decision", t.wrongMoney},
		{"committed offsets at the end of the topic", yesNo(r.committed)},
	})
	out.AppendSeparator()
	out.AppendRow(table.Row{"took", fmt.Sprintf("%.1f s, %.0f events/s", r.took.Seconds(), float64(len(r.expect))/r.took.Seconds())})
	out.Render()
}

func cutKind(name, kind string) (string, bool) {
	if len(name) > len(kind) && name[:len(kind)] == kind {
		return name[len(kind)+1:], true
	}
	return "", false
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// view shows the progress: bars on a terminal, else a line every few seconds.
type view struct {
	report *report
	out    io.Writer
	writer progress.Writer // nil if Out is no terminal
	all    *progress.Tracker
	bars   map[string]*progress.Tracker
	shown  time.Time
	ended  chan struct{}
}

func (s *stage) newView(r *report) *view {
	v := &view{report: r, out: s.opts.Out, shown: time.Now(), ended: make(chan struct{})}
	if !s.opts.Live {
		close(v.ended)
		return v
	}
	v.writer = progress.NewWriter()
	v.writer.SetOutputWriter(s.opts.Out)
	v.writer.SetUpdateFrequency(100 * time.Millisecond)
	v.writer.SetTrackerLength(30)
	v.writer.SetStyle(progress.StyleBlocks)
	// The style's own indicator keeps its position in a global variable, for which
	// two views would race.
	v.writer.Style().Chars.Indeterminate = progress.IndeterminateIndicatorMovingBackAndForth("▒█▒", progress.DefaultUpdateFrequency/2)
	v.writer.Style().Visibility.ETA = true
	v.writer.Style().Visibility.Speed = true
	events := int64(len(r.expect))
	v.all = &progress.Tracker{Message: "decisions", Total: events}
	v.writer.AppendTracker(v.all)
	v.bars = make(map[string]*progress.Tracker)
	for _, kind := range []string{"captured", "rejected", "parked", viewCalls, viewInFlight} {
		v.bars[kind] = &progress.Tracker{Message: kind, Units: progress.UnitsDefault}
		v.writer.AppendTracker(v.bars[kind])
	}
	go func() {
		defer close(v.ended)
		v.writer.Render()
	}()
	return v
}

// Other values that the view shows.
const (
	viewCalls    = "API calls"
	viewInFlight = "captures in flight"
)

// show updates the view.
func (v *view) show(calls, inFlight int) {
	if v.writer == nil {
		if time.Since(v.shown) >= 2*time.Second {
			v.shown = time.Now()
			v.line(calls, inFlight)
		}
		return
	}
	v.all.SetValue(int64(v.report.decided))
	for kind, bar := range v.bars {
		switch kind {
		case viewCalls:
			bar.SetValue(int64(calls))
		case viewInFlight:
			bar.SetValue(int64(inFlight))
		default:
			bar.SetValue(int64(v.report.counts[kind]))
		}
	}
}

func (v *view) line(calls, inFlight int) {
	_, _ = fmt.Fprintf(v.out, "%d of %d events decided; %d API calls, %d captures in flight\n",
		v.report.decided, len(v.report.expect), calls, inFlight) // an error of the terminal cannot be reported
}

// stop ends the view and waits until it has written everything.
func (v *view) stop() {
	if v.writer != nil {
		v.all.MarkAsDone()
		for _, bar := range v.bars {
			bar.MarkAsDone()
		}
	}
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		if v.writer != nil {
			// Stop has no effect before the writer has begun to draw.
			v.writer.Stop()
		}
		select {
		case <-v.ended:
			return
		case <-again.C:
		}
	}
}
