package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// values holds the figures of one contender and round, by name. The name ends in the
// unit of a time.
type values map[string]float64

// result is a line of the results.
type result struct {
	Run       time.Time `json:"run"` // when the command began
	Time      time.Time `json:"time"`
	Mix       string    `json:"mix"`
	Axis      string    `json:"axis"`
	Contender string    `json:"contender"`
	Round     int       `json:"round"`
	Values    values    `json:"values"`
	Machine   machine   `json:"machine"`
}

// report collects results. If there is a results file, it writes each at once, so
// that an interrupted run keeps its results.
type report struct {
	path    string
	began   time.Time
	machine machine
	results []result
}

func newReport(path string) (*report, error) {
	if path != "" {
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return nil, err
		}
	}
	return &report{path: path, began: time.Now().UTC(), machine: thisMachine()}, nil
}

func (r *report) add(s *stage, c contender, round int, axis string, v values) {
	one := result{Run: r.began, Time: time.Now().UTC(), Mix: s.mix, Axis: axis, Contender: c.name, Round: round, Values: v, Machine: r.machine}
	r.results = append(r.results, one)
	var said []string
	for _, col := range columns() {
		if x, ok := v[col.key]; ok {
			said = append(said, col.title+" "+col.show(x))
		}
	}
	s.say("round %d, %s, %s: %s", round+1, axis, c.name, strings.Join(said, ", "))
	if err := r.append(one); err != nil {
		s.say("the result could not be written: %v", err)
	}
}

func (r *report) append(one result) error {
	if r.path == "" {
		return nil
	}
	raw, err := json.Marshal(one)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(r.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644) //nolint:gosec // results are no secret
	if err != nil {
		return err
	}
	_, err = f.Write(append(raw, '\n'))
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// column is a figure in the tables.
type column struct {
	key, title string
	digits     int
	scale      float64
}

func (c column) show(x float64) string { return fmt.Sprintf("%.*f", c.digits, x*c.scale) }

func columns() []column {
	return []column{
		{"rate", "events/s", 0, 1},
		{"of_ideal", "of ideal %", 1, 100},
		{"of_bare", "of bare %", 1, 100},
		{"of_copy", "of copying %", 1, 100},
		{"backfill_rate", "backfill/s", 0, 1},
		{"records_s", "records/s", 0, 1},
		{"took_s", "took s", 2, 1},
		{"ready_s", "ready s", 2, 1},
		{"p50_ms", "p50 ms", 1, 1},
		{"p99_ms", "p99 ms", 1, 1},
		{"p999_ms", "p99.9 ms", 1, 1},
		{"beyond50_ms", "p50 beyond ms", 1, 1},
		{"beyond99_ms", "p99 beyond ms", 1, 1},
		{"cpu_us", "CPU µs/event", 1, 1},
		{"broker_cpu_us", "broker's", 1, 1},
		{"cpu_s", "CPU s", 1, 1},
		{"peak_mib", "peak MiB", 0, 1},
		{"rss_mib", "RSS MiB", 0, 1},
		{"size_mib", "store MiB", 0, 1},
		{"hit_us", "look-up µs, known", 1, 1},
		{"miss_us", "look-up µs, new", 1, 1},
		{"calls", "calls", 0, 1},
		{"repeated", "repeated keys", 0, 1},
		{"doubled", "doubled outcomes", 0, 1},
		{"first_s", "first outcome s", 2, 1},
		{"gap_s", "gap s", 2, 1},
	}
}

// printAll prints a table for each mix: medians over the rounds, with the minimum and
// maximum of the compared figures.
func (r *report) printAll(w io.Writer) {
	relate(r.results, "bare", "of_bare")
	relate(r.results, "copy", "of_copy")
	for _, mix := range inOrder(r.results, func(x result) string { return x.Mix }) {
		r.printMix(w, mix)
	}
	_, _ = fmt.Fprintln(w, r.machine) // for readers only
}

// relate sets a figure to its ratio to a contender's rate in the same round.
func relate(results []result, to, key string) {
	for _, one := range results {
		for _, other := range results {
			if other.Contender == to && other.Mix == one.Mix && other.Axis == one.Axis && other.Round == one.Round &&
				one.Contender != to && one.Values["rate"] > 0 && other.Values["rate"] > 0 {
				one.Values[key] = one.Values["rate"] / other.Values["rate"]
			}
		}
	}
}

func (r *report) printMix(w io.Writer, mix string) {
	var of []result
	for _, one := range r.results {
		if one.Mix == mix {
			of = append(of, one)
		}
	}
	t := table.NewWriter()
	t.SetStyle(table.StyleRounded)
	t.Style().Format.Header = text.FormatDefault
	rounds := 0
	for _, one := range of {
		rounds = max(rounds, one.Round+1)
	}
	t.SetTitle("%s: %s; median of %d rounds", mix, allMixes()[mix].what, rounds)
	head := table.Row{"", ""}
	var shown []column
	for _, c := range columns() {
		if slices.ContainsFunc(of, func(x result) bool { _, ok := x.Values[c.key]; return ok }) {
			shown = append(shown, c)
			head = append(head, c.title)
		}
	}
	t.AppendHeader(append(head, "least–most"))
	for _, axis := range inOrder(of, func(x result) string { return x.Axis }) {
		for _, c := range contenders() {
			if row := rowOf(of, axis, c, shown); row != nil {
				t.AppendRow(row)
			}
		}
		t.AppendSeparator()
	}
	configs := make([]table.ColumnConfig, 0, len(shown)+1)
	for i := range len(shown) + 1 {
		configs = append(configs, table.ColumnConfig{Number: i + 3, Align: text.AlignRight})
	}
	t.SetColumnConfigs(configs)
	_, _ = fmt.Fprintln(w, t.Render()) // for readers only
}

func rowOf(of []result, axis string, c contender, shown []column) table.Row {
	figures := medians(of, axis, c.name)
	if len(figures) == 0 {
		return nil
	}
	row := table.Row{axis, c.title}
	var spread string
	for _, col := range shown {
		cell := ""
		if x, ok := figures[col.key]; ok {
			cell = col.show(x)
			if spread == "" {
				spread = spreadOf(of, axis, c.name, col)
			}
		}
		row = append(row, cell)
	}
	return append(row, spread)
}

// spreadOf returns the minimum and maximum of a figure.
func spreadOf(of []result, axis, contender string, col column) string {
	var all []float64
	for _, one := range of {
		if x, ok := one.Values[col.key]; ok && one.Axis == axis && one.Contender == contender {
			all = append(all, x)
		}
	}
	return col.show(slices.Min(all)) + "–" + col.show(slices.Max(all))
}

func inOrder(results []result, of func(result) string) []string {
	var out []string
	for _, one := range results {
		if name := of(one); !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}
