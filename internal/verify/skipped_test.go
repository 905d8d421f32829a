package verify_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/skips"
)

// TestSkippedRecordsAreListed by reason, and by type or account, in the table and in
// JSON.
func TestSkippedRecordsAreListed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(3)
	other := func(eventType string, times int) {
		for range times {
			w.sendRaw(fmt.Sprintf(`{"specversion":"1.0","id":"x","source":"/orders","type":%s,"data":{}}`, mustJSON(t, eventType)))
		}
	}
	other("order.shipped", 3)
	other("order.cancelled\t\u001b[2J", 2)
	for i := range 25 {
		other(fmt.Sprintf("rare.%02d", i), 1)
	}
	w.produce(&kgo.Record{Topic: input, Key: []byte("k")})
	w.produce(&kgo.Record{Topic: input, Key: []byte("k")})
	w.send(order{id: "theirs", account: "north"})
	foreign := w.send(order{id: "parked", account: "south"})
	w.park(foreign.record, event.ParkInfo{Reason: event.ParkUndecided}) // of the parked topic: counted there
	w.commit()
	_, sum := w.expect()

	var rare []skips.Name
	for i := range 18 {
		rare = append(rare, skips.Name{Name: fmt.Sprintf("rare.%02d", i), Records: 1})
	}
	want := []skips.Count{
		{
			Reason: event.SkipOtherType, Records: 30, Rest: 7,
			Names: append([]skips.Name{{Name: "order.shipped", Records: 3}, {Name: "order.cancelled??[2J", Records: 2}}, rare...),
		},
		{Reason: event.SkipTombstone, Records: 2, Names: []skips.Name{}},
		{Reason: event.SkipOtherAccount, Records: 2, Names: []skips.Name{{Name: "north", Records: 1}, {Name: "south", Records: 1}}},
	}
	if diff := cmp.Diff(want, sum.Skipped()); diff != "" {
		t.Errorf("skipped others (-want +got):\n%s", diff)
	}

	var buf bytes.Buffer
	sum.Print(&buf)
	text := strings.Join(strings.Fields(buf.String()), " ")
	for _, row := range []string{
		"│ skipped: records of other types │ 30 │", "│ order.shipped │ 3 │", "│ order.cancelled??[2J │ 2 │", "│ rare.17 │ 1 │",
		"│ further types │ 7 │",
		"│ skipped: records without a value (tombstones) │ 2 │", "│ skipped: records of other accounts │ 2 │", "│ north │ 1 │",
		"│ parked records of other accounts │ 1 │",
	} {
		if !strings.Contains(text, row) {
			t.Errorf("no %q in\n%s", row, buf.String())
		}
	}

	buf.Reset()
	if err := sum.JSON(&buf); err != nil {
		t.Fatal(err)
	}
	var doc struct{ Skipped []skips.Count }
	if err := json.Unmarshal(buf.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	for i := range doc.Skipped {
		if doc.Skipped[i].Names == nil {
			doc.Skipped[i].Names = []skips.Name{} // omitted
		}
	}
	if diff := cmp.Diff(want, doc.Skipped); diff != "" {
		t.Errorf("the JSON has others (-want +got):\n%s", diff)
	}
}

// TestSummaryAsJSON has the numbers of the table.
func TestSummaryAsJSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(3)
	w.process(w.send(order{id: "c1", currency: "CLP", amount: "15000"}), event.TypeCaptured)
	w.sendRaw("{}")
	w.send(order{id: "lost"})
	w.process(w.send(order{id: "e1", reference: "r"}), event.TypeCaptured)
	w.process(w.send(order{id: "e2", reference: "r"}), event.TypeCaptured)
	w.commit()
	w.send(order{id: "pending"})
	_, sum := w.run()
	var buf bytes.Buffer
	if err := sum.JSON(&buf); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(buf.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	none := map[string]any{"events": 0.0}
	want := map[string]any{
		"events": 9.0, "differences": 2.0, "warnings": 1.0, "findings": map[string]any{"missing_outcome": 2.0, "shared_reference": 1.0},
		"states": map[string]any{
			"captured":          map[string]any{"events": 5.0, "money": map[string]any{"MXN": "2802.00", "CLP": "15000"}},
			"rejected":          map[string]any{"events": 1.0, "money": map[string]any{"MXN": "700.50"}},
			"under_way":         map[string]any{"events": 1.0, "money": map[string]any{"MXN": "700.50"}},
			"without_decision":  map[string]any{"events": 2.0, "invalid": 1.0, "money": map[string]any{"MXN": "700.50"}},
			"decision_not_held": none, "parked": none,
		},
		"skipped": []any{}, "notes": []any{}, "events_outside_the_range": 0.0, "payments_read": 0.0, "payments_not_read": 0.0,
		"records_read": got["records_read"],
	}
	if diff := cmp.Diff(want, got); diff != "" || got["records_read"].(float64) < 20 {
		t.Errorf("the JSON is another (-want +got):\n%s\n%s", diff, buf.String())
	}
}
