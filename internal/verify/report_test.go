package verify_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"payment-capture/internal/event"
	"payment-capture/internal/verify"
)

func aFinding() verify.Finding {
	return verify.Finding{
		Severity: "difference", Kind: verify.WrongAmount, EventID: "e1", OrderID: `order, "1" <b>`, Reference: "r", Amount: "700.50",
		Currency:  "MXN",
		PaymentID: "p", Detail: "its amount is 1.00, the event's is 700.50", Records: []string{"orders/0@1", "captured/0@2"},
	}
}

func TestFindingsInAFile(t *testing.T) {
	t.Parallel()
	want := aFinding()
	var buf bytes.Buffer
	write := func(format string) {
		buf.Reset()
		w, err := verify.NewWriter(&buf, format)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := w.Write(want); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	write("json")
	lines := strings.Split(strings.TrimSpace(buf.String()), "\n")
	var got verify.Finding
	if err := json.Unmarshal([]byte(lines[1]), &got); err != nil || len(lines) != 2 || !strings.Contains(lines[0], "<b>") {
		t.Fatalf("%v\n%s", err, buf.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("it came back otherwise (-want +got):\n%s", diff)
	}
	write("csv")
	rows, err := csv.NewReader(&buf).ReadAll()
	if err != nil || len(rows) != 3 {
		t.Fatalf("%v, %q", err, rows)
	}
	wantRow := []string{
		"difference", "wrong_amount", "e1", `order, "1" <b>`, "r", "700.50", "MXN", "p", want.Detail,
		"orders/0@1 captured/0@2",
	}
	if diff := cmp.Diff(wantRow, rows[2]); diff != "" || rows[0][0] != "severity" {
		t.Errorf("the rows are %q (-want +got):\n%s", rows, diff)
	}
	if _, err := verify.NewWriter(&buf, "xml"); err == nil {
		t.Error("xml: no error")
	}
}

// A program that a spreadsheet runs must not come out of an order's id.
func TestFormulasInACSVFileAreTexts(t *testing.T) {
	t.Parallel()
	f := aFinding()
	f.OrderID = `=HYPERLINK("http://example.com")`
	var buf bytes.Buffer
	w, err := verify.NewWriter(&buf, "csv")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(f); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&buf).ReadAll()
	if err != nil || rows[1][3] != "'"+f.OrderID {
		t.Errorf("%v, %q", err, rows)
	}
}

func TestFindingsComeInTheirOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(3)
	for _, id := range []string{"b", "a", "c", "B", "aa"} {
		w.send(order{id: id})
	}
	w.commit()
	var before []verify.Finding
	for range 3 {
		found, _ := w.expect(
			want{verify.MissingOutcome, "B"}, want{verify.MissingOutcome, "a"}, want{verify.MissingOutcome, "aa"},
			want{verify.MissingOutcome, "b"}, want{verify.MissingOutcome, "c"},
		)
		if before != nil && cmp.Diff(before, found) != "" {
			t.Errorf("another run says otherwise:\n%s", cmp.Diff(before, found))
		}
		before = found
	}
}

func TestTheTable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(3)
	w.process(w.send(order{id: "b1", currency: "BRL", amount: "0.07"}), event.TypeCaptured)
	w.process(w.send(order{id: "c1", currency: "CLP", amount: "15000"}), event.TypeCaptured)
	w.send(order{id: "e1"})
	w.sendRaw("{}")
	w.commit()
	w.send(order{id: "e2"})
	found, sum := w.expect(want{verify.MissingOutcome, "e1"}, want{verify.MissingOutcome, recordID()})
	var buf bytes.Buffer
	sum.Print(&buf)
	shown := &verify.Shown{Most: 1}
	for _, f := range found {
		shown.Add(f)
	}
	shown.Print(&buf)
	text := strings.Join(strings.Fields(buf.String()), " ")
	for _, want := range []string{
		"│ events │ 8 │ │", "│ captured │ 4 │ 0.07 BRL, 15000 CLP, 1401.00 MXN │", "│ rejected │ 1 │ 700.50 MXN │",
		"│ under way │ 1 │ 700.50 MXN │",
		"│ without a decision │ 2 │ 700.50 MXN │", "│ invalid events, among the above │ 1 │", "│ missing_outcome │ 2 │", "│ differences │ 2 │",
		"│ e1 │ order-e1 │ 700.50 MXN │", "1 more are not shown",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, buf.String())
		}
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(30)
	w.commit()
	last, totals := make(map[string]int64), make(map[string]int64)
	w.conf.Progress = func(phase string, done, total int64) {
		if done < last[phase] || done > total {
			t.Errorf("%s: %d of %d after %d", phase, done, total, last[phase])
		}
		last[phase], totals[phase] = done, total
	}
	w.expect()
	if len(last) != 2 || !maps.Equal(last, totals) || last["reading the topics"] == 0 || last["checking the events"] == 0 {
		t.Errorf("ended at %v of %v", last, totals)
	}
}

// TestEveryKindIsDocumented holds docs/verifying.md to the code.
func TestEveryKindIsDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/verifying.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		if kind, ok := strings.CutPrefix(line, "| `"); ok {
			kind, _, _ = strings.Cut(kind, "`")
			documented[kind] = true
		}
	}
	for _, k := range verify.Kinds() {
		if !documented[string(k)] {
			t.Errorf("%s has no row", k)
		}
		delete(documented, string(k))
	}
	if len(documented) > 0 {
		t.Errorf("rows of kinds that are not there: %v", documented)
	}
}

func TestUnreachableBrokerIsAnError(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.conf.Topics.Ledger = "not.there"
	_, _, err := w.try()
	if err == nil || !strings.Contains(err.Error(), "not.there") || !strings.Contains(err.Error(), "--no-ledger") {
		t.Errorf("a topic that is not there: %v", err)
	}
	w = newWorld(t)
	w.conf.ScratchDir = filepath.Join(t.TempDir(), "missing")
	if _, _, err := w.try(); err == nil || !strings.Contains(err.Error(), "--scratch-dir") {
		t.Errorf("no scratch directory: %v", err)
	}
}
