//go:build synctests || integration

package acceptance

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// observability has the rules and dashboards, seen from this package.
const observability = repository + "/deploy/observability"

// alertName matches the name of an alert in the rules.
var alertName = regexp.MustCompile(`(?m)^ +- alert: PaymentCapture(\w+)$`)

// Every alert has its own section in the runbook, which its URL names, and a case that raises it.
func TestAlertsHaveRunbookAndCase(t *testing.T) {
	t.Parallel()
	rules := readText(t, filepath.Join(observability, "rules", "payment-capture.yaml"))
	cases := readText(t, filepath.Join(observability, "tests", "payment-capture.yaml"))
	runbook := readText(t, filepath.Join(repository, "docs", "runbook.md"))
	alerts := firstGroups(alertName, rules)
	if len(alerts) < 14 {
		t.Fatalf("found %d alerts", len(alerts))
	}
	for _, name := range alerts {
		_, rule, _ := strings.Cut(rules, "- alert: PaymentCapture"+name+"\n")
		rule, _, _ = strings.Cut(rule, "- alert:")
		for _, part := range []string{"expr:", "for:", "severity:", "summary:", "runbook.md#alert-" + strings.ToLower(name) + "\n"} {
			if !strings.Contains(rule, part) {
				t.Errorf("the rule of %s has no %s", name, part)
			}
		}
		_, section, _ := strings.Cut(runbook, "\n### Alert: "+name+"\n")
		section, _, _ = strings.Cut(section, "\n##")
		for _, part := range []string{"Meaning", "Impact", "Diagnosis", "Mitigation"} {
			if !strings.Contains(section, "- **"+part+"**: ") {
				t.Errorf("docs/runbook.md has no %s of the alert %s", part, name)
			}
		}
		if !regexp.MustCompile(`alertname: PaymentCapture` + name + `\n +eval_time: \w+\n +exp_alerts:\n +- exp_labels`).MatchString(cases) {
			t.Errorf("no case raises the alert %s", name)
		}
	}
	sections := firstGroups(regexp.MustCompile(`(?m)^### Alert: (\w+)$`), runbook)
	if diff := cmp.Diff(alerts, sections); diff != "" {
		t.Errorf("alerts of the rules (-) and of docs/runbook.md (+) differ:\n%s", diff)
	}
}

// selector matches a metric with its label matchers in a query.
var selector = regexp.MustCompile(`payment_capture_(\w+)(?:\{([^}]*)\})?`)

// matcher matches a label matcher, in YAML or in JSON.
var matcher = regexp.MustCompile(`(\w+)(?:=|!=|=~|!~)\\?"`)

// Every query of a rule or a dashboard names documented metrics and their labels. Another test compares the documented
// ones with those of a running service.
func TestQueriesNameExistingMetrics(t *testing.T) {
	t.Parallel()
	documented := documentedMetrics(t)
	files, err := filepath.Glob(filepath.Join(observability, "*", "*"))
	if err != nil || len(files) < 2 {
		t.Fatalf("found the files %q: %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range selector.FindAllStringSubmatch(string(text), -1) {
			labels, ok := documented[m[1]]
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				if base, cut := strings.CutSuffix(m[1], suffix); cut && !ok {
					labels, ok = documented[base]
				}
			}
			if !ok {
				t.Errorf("%s names the metric %s, which docs/operating.md does not have", file, m[1])
			}
			for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
				// The scrape adds these labels.
				if !slices.Contains(labels, l[1]) && !slices.Contains([]string{"namespace", "job", "pod", "instance"}, l[1]) {
					t.Errorf("%s selects %s by the label %s, which it does not have", file, m[1], l[1])
				}
			}
		}
	}
}
