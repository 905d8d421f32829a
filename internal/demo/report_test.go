package demo

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/config"
	"payment-capture/internal/simulator"
)

// good returns the report of a successful demo: one event was captured, one rejected,
// one parked.
func good() *report {
	r := newReport(&generated{expect: map[string]expectation{
		"a": {kind: "captured"},
		"b": {"rejected", "insufficient_money"},
		"c": {"parked", "invalid_event"},
	}})
	for id, want := range r.expect {
		r.decisions[id] = []seen{{id: id, kind: want.kind, reason: want.reason}}
		r.counts[want.kind]++
	}
	r.committed = true
	r.charges = simulator.Charges{
		List:  []simulator.Charge{{Key: "a"}},
		ByKey: map[string]simulator.Tally{"a": {Count: 1}},
	}
	return r
}

func TestProofFindsEveryViolation(t *testing.T) {
	t.Parallel()
	if r := good(); !r.proven() {
		t.Fatalf("a successful demo is not proven: %+v", r.tally())
	}
	slow := good()
	slow.expect["b"], slow.decisions["b"] = expectation{"rejected", "invalid_payer_token"}, []seen{{
		id: "b", kind: "parked",
		reason: "error_after_unknown",
	}}
	if !slow.proven() {
		t.Errorf("an event parked after an unanswered call counts as wrong: %+v", slow.tally())
	}
	for name, test := range map[string]struct {
		spoil func(*report)
		row   string // of the table
		value string
	}{
		"missing":        {func(r *report) { delete(r.decisions, "b") }, "lost", "1"},
		"doubled":        {func(r *report) { r.decisions["a"] = append(r.decisions["a"], r.decisions["a"]...) }, "doubled", "1"},
		"wrong decision": {func(r *report) { r.decisions["b"][0] = seen{id: "b", kind: "captured"} }, "wrong", "1"},
		"wrong reason":   {func(r *report) { r.decisions["b"][0].reason = "cc_rejected_high_risk" }, "wrong", "1"},
		"unknown":        {func(r *report) { r.decisions["x"] = []seen{{id: "x", kind: "captured"}} }, "wrong", "1"},
		"charged twice":  {func(r *report) { r.charges.ByKey["a"] = simulator.Tally{Count: 2} }, "double charges", "1"},
		"rejected but charged": {
			func(r *report) { r.charges.ByKey["b"] = simulator.Tally{Count: 1} }, "charges that do not match the decision",
			"1",
		},
		"captured but not charged": {
			func(r *report) { delete(r.charges.ByKey, "a") }, "charges that do not match the decision", "1",
		},
		"charged under another key": {
			func(r *report) { r.charges.ByKey["x"] = simulator.Tally{Count: 1} }, "charges that do not match the decision", "1",
		},
		"not committed": {func(r *report) { r.committed = false }, "committed offsets at the end of the topic", "no"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := good()
			test.spoil(r)
			if r.proven() {
				t.Errorf("proven: %+v", r.tally())
			}
			var out bytes.Buffer
			r.print(&out)
			wantRow(t, out.String(), test.row, test.value)
		})
	}
}

func TestSee(t *testing.T) {
	t.Parallel()
	conf := config.Config{TopicCaptured: "captured", TopicRejected: "rejected", TopicParked: "parked"}
	r := newReport(&generated{expect: map[string]expectation{"a": {kind: "captured"}, "b": {}, "c": {}}})
	for _, rec := range []*kgo.Record{
		{Topic: "captured", Value: []byte(`{"id":"x","data":{"event_id":"a","provider_replayed":true}}`)},
		{Topic: "captured", Value: []byte(`{"id":"x","data":{"event_id":"a"}}`)},
		{Topic: "rejected", Value: []byte(`{"id":"y","data":{"event_id":"b","reason":"insufficient_money"}}`)},
		{
			Topic: "parked", Value: []byte(`{"id":"c","data":{}}`),
			Headers: []kgo.RecordHeader{{Key: "parked_reason", Value: []byte("invalid_event")}},
		},
		{Topic: "captured", Value: []byte(`{"id":"z","data":{"event_id":"unknown"}}`)},
	} {
		if err := r.see(conf, rec); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string][]seen{
		"a":       {{"a", "captured", ""}, {"a", "captured", ""}},
		"b":       {{"b", "rejected", "insufficient_money"}},
		"c":       {{"c", "parked", "invalid_event"}},
		"unknown": {{"unknown", "captured", ""}},
	}
	if !reflect.DeepEqual(r.decisions, want) || r.decided != 3 || r.providerReplayed != 1 {
		t.Errorf("got %+v, %d decided, %d replayed", r.decisions, r.decided, r.providerReplayed)
	}
	if err := r.see(conf, &kgo.Record{Topic: "captured", Value: []byte("no JSON")}); err == nil {
		t.Error("a record that is not JSON causes no error")
	}
}

// The same seed generates the same orders, except their time.
func TestGenerateIsRepeatable(t *testing.T) {
	t.Parallel()
	orders := func(seed uint64) (expect map[string]expectation, values []map[string]any) {
		g, err := generate("orders", 300, seed)
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range g.records {
			var value map[string]any
			if err := json.Unmarshal(rec.Value, &value); err != nil {
				t.Fatal(err)
			}
			delete(value, "time")
			values = append(values, value)
		}
		return g.expect, values
	}
	expect1, values1 := orders(1)
	expect2, values2 := orders(1)
	_, values3 := orders(2)
	if !reflect.DeepEqual(expect1, expect2) || !reflect.DeepEqual(values1, values2) {
		t.Error("one seed generated two streams")
	}
	if reflect.DeepEqual(values1, values3) {
		t.Error("two seeds generated one stream")
	}
}
