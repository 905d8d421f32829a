//go:build synctests || integration

package acceptance

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// workIsMeasured checks the metrics of what is left to do, while an order is stuck and
// after it, and the names of all metrics.
func workIsMeasured(w *world) {
	w.stick()
	in := w.start("a", oncePerEvent)
	const backlog, oldest, amount = `payment_capture_workable_backlog_records{partition="0"}`,
		`payment_capture_oldest_event_seconds{partition="0"}`, `payment_capture_undecided_amount{currency="MXN"}`
	w.send(append(numbered(50, nil), order{id: "bad", raw: "no event", skipped: true},
		order{id: "stuck", order: "o-stuck"}, order{id: "behind", order: "o-stuck"})...)
	w.eventually("two events are left", func() bool {
		text := in.metrics()
		return strings.Contains(text, backlog+" 2\n") && strings.Contains(text, amount+" 1401\n") && !strings.Contains(text, oldest+" 0\n")
	})
	text := in.metrics()
	w.checkMetrics(text)
	for _, client := range []string{"consumer", "producer", "ledger_reader", "ledger_writer"} {
		if !strings.Contains(text, `payment_capture_kafka_connects_total{client="`+client+`"`) {
			w.t.Errorf("there are no metrics of the client %q", client)
		}
	}
	w.want(w.awaitDecisions(), map[string]int{"captured": 52, "parked invalid_event": 1})
	w.eventually("nothing is left", func() bool {
		text := in.metrics()
		return strings.Contains(text, backlog+" 0\n") && !strings.Contains(text, amount) && strings.Contains(text, oldest+" 0\n") &&
			strings.Contains(text, "payment_capture_decision_seconds_count 53\n") &&
			strings.Contains(text, `payment_capture_parked_records{reason="invalid_event"} 1`+"\n")
	})
}

// checkMetrics compares metrics with Prometheus' rules and with docs/operating.md.
func (w *world) checkMetrics(text string) {
	w.t.Helper()
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, p := range problems {
		w.t.Errorf("metric %s: %s", p.Metric, p.Text)
	}
	documented := documentedMetrics(w.t)
	shown := make(map[string][]string)
	for _, m := range regexp.MustCompile(`(?m)^# TYPE payment_capture_(\w+)`).FindAllStringSubmatch(text, -1) {
		shown[m[1]] = labelsOf(text, m[1])
	}
	for name, labels := range documented {
		if got, ok := shown[name]; ok && got != nil && !slices.Equal(got, labels) {
			w.t.Errorf("metric %s has the labels %v, docs/operating.md has %v", name, got, labels)
		}
	}
	for name := range shown {
		if _, ok := documented[name]; !ok && !strings.HasPrefix(name, "kafka_") {
			w.t.Errorf("metric %s is not in docs/operating.md", name)
		}
	}
	for name := range documented {
		if _, ok := shown[name]; !ok && !slices.Contains(occasional(), name) {
			w.t.Errorf("metric %s is in docs/operating.md and not shown", name)
		}
	}
}

// occasional returns the metrics without series before their first event, or in memory.
func occasional() []string {
	return []string{
		"certificate_expires_in_seconds", "parked_records", "parked_amount", "invalid_events_held", "ledger_disk_free_bytes", "input_open_transaction_seconds",
	}
}

// documentedMetrics returns the labels of the metrics in docs/operating.md.
func documentedMetrics(t testing.TB) map[string][]string {
	t.Helper()
	doc, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(doc), "\n## Metrics\n")
	section, _, _ = strings.Cut(section, "\nTake the consumer lag")
	all := make(map[string][]string)
	for line := range strings.Lines(section) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		first, _, _ := strings.Cut(line[2:], " | ")
		for _, m := range regexp.MustCompile("`(\\w+)(?:\\{([\\w,]+)\\})?`").FindAllStringSubmatch(first, -1) {
			all[m[1]] = nil
			if m[2] != "" {
				all[m[1]] = strings.Split(m[2], ",")
				slices.Sort(all[m[1]])
			}
		}
	}
	if len(all) < 30 {
		t.Fatalf("docs/operating.md has %d metrics: its section was not found", len(all))
	}
	return all
}

// labelsOf returns the labels of the first series of a metric but le; nil: it has none.
func labelsOf(text, name string) []string {
	m := regexp.MustCompile(`(?m)^payment_capture_` + name + `(?:_count|_bucket)?\{(.*)\} `).FindStringSubmatch(text)
	if m == nil {
		return nil
	}
	var labels []string
	for _, l := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(m[1], -1) {
		if l[1] != "le" {
			labels = append(labels, l[1])
		}
	}
	return labels
}
