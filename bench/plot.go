package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// chart is a plot of horizontal bars in groups.
type chart struct {
	title, below string
	groups       []barGroup
	most         float64 // the longest bar's value
}

type barGroup struct {
	label string
	bars  []bar
}

type bar struct {
	label, text string
	value       float64
	ours        bool
}

// drawPlots draws the results.
func drawPlots(path, dir string) error {
	results, err := readResults(path)
	if err != nil {
		return fmt.Errorf("-results: %w", err)
	}
	results = newest(results)
	relate(results, "bare", "of_bare")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	throughput := chartOf(results, "Throughput, as a share of an HTTP loop without Kafka", "of_bare", func(v values) string {
		return fmt.Sprintf("%.0f %%, %.0f events/s, %.0f µs of CPU each", 100*v["of_bare"], v["rate"], v["cpu_us"])
	})
	latency := chartOf(results, "From append to visible outcome, beyond the API's latency: p99", "beyond99_ms", func(v values) string {
		return fmt.Sprintf("%.0f ms, p50 %.0f ms", v["beyond99_ms"], v["beyond50_ms"])
	}, "visible")
	live := chartOf(results, "Live p99 beside a backfill", "p99_ms", func(v values) string {
		return fmt.Sprintf("%.0f ms, p50 %.0f ms", v["p99_ms"], v["p50_ms"])
	}, "backfill")
	for name, c := range map[string]chart{"bench-throughput.svg": throughput, "bench-latency.svg": latency, "bench-backfill.svg": live} {
		if len(c.groups) > 0 {
			err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), []byte(c.svg()), 0o644)) //nolint:gosec // for everybody
		}
	}
	return err
}

// newest keeps the last results of each mix, because results are appended.
func newest(results []result) []result {
	last := make(map[string]time.Time)
	for _, r := range results {
		if r.Run.After(last[r.Mix]) {
			last[r.Mix] = r.Run
		}
	}
	return only(results, func(r result) bool { return r.Run.Equal(last[r.Mix]) })
}

func readResults(path string) ([]result, error) {
	f, err := os.Open(path) //nolint:gosec // the caller's own
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	var all []result
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var one result
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, lines.Err()
}

// chartOf returns a chart of the medians of a figure, of all mixes or some, by axis
// and contender.
func chartOf(results []result, title, key string, tell func(values) string, mixes ...string) chart {
	c := chart{title: title}
	for _, mix := range inOrder(results, func(r result) string { return r.Mix }) {
		if len(mixes) > 0 && mix != mixes[0] {
			continue
		}
		of := only(results, func(r result) bool { return r.Mix == mix })
		for _, axis := range inOrder(of, func(r result) string { return r.Axis }) {
			g := barGroup{label: axis}
			for _, who := range contenders() {
				v := medians(of, axis, who.name)
				if _, ok := v[key]; !ok {
					continue
				}
				g.bars = append(g.bars, bar{label: who.title, text: tell(v), value: max(v[key], 0), ours: who.role == roleService})
				c.most = max(c.most, v[key])
			}
			if len(g.bars) > 0 {
				c.groups = append(c.groups, g)
			}
		}
	}
	if len(results) > 0 {
		c.below = results[len(results)-1].Machine.String()
	}
	return c
}

func only(results []result, keep func(result) bool) []result {
	var out []result
	for _, r := range results {
		if keep(r) {
			out = append(out, r)
		}
	}
	return out
}

// medians returns the medians over the rounds.
func medians(results []result, axis, contender string) values {
	all := make(map[string][]float64)
	for _, r := range results {
		if r.Axis == axis && r.Contender == contender {
			for k, v := range r.Values {
				all[k] = append(all[k], v)
			}
		}
	}
	out := make(values, len(all))
	for k, v := range all {
		out[k] = median(v)
	}
	return out
}

// The measures of a chart, in pixels.
const (
	chartWidth, chartMargin = 920, 16
	barHeight, barGap       = 18, 4
	groupLabel, groupGap    = 24, 12
	labelWidth, barWidth    = 250, 330
)

func (c chart) svg() string {
	var b strings.Builder
	y := chartMargin + 20
	text := func(x, y int, class, s string) {
		fmt.Fprintf(&b, `<text x="%d" y="%d" class="%s">%s</text>`+"\n", x, y, class, html.EscapeString(s))
	}
	text(chartMargin, y, "title", c.title)
	y += groupGap
	for _, g := range c.groups {
		y += groupLabel
		text(chartMargin, y, "group", g.label)
		y += barGap * 2
		for _, one := range g.bars {
			width := 1
			if c.most > 0 {
				width = max(int(one.value/c.most*barWidth), 1)
			}
			class := "other"
			if one.ours {
				class = "ours"
			}
			text(chartMargin*2, y+barHeight-5, "label", one.label)
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="%d" class="%s"/>`+"\n", labelWidth, y, width, barHeight, class)
			text(labelWidth+width+6, y+barHeight-5, "value", one.text)
			y += barHeight + barGap
		}
		y += groupGap
	}
	y += groupLabel
	text(chartMargin, y, "below", c.below)
	y += chartMargin
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%[1]d" height="%[2]d" viewBox="0 0 %[1]d %[2]d">
<style>
text { font: 12px sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: bold }
.group { font-weight: bold }
.below { font-size: 10px; fill: #6e7781 }
.ours { fill: #0969da }
.other { fill: #afb8c1 }
</style>
<rect width="%[1]d" height="%[2]d" fill="#ffffff"/>
`, chartWidth, y) + b.String() + "</svg>\n"
}
