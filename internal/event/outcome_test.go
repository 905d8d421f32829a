package event_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
	"payment-capture/schemas"
)

// asWritten returns an outcome as a record can represent it: times in UTC and
// milliseconds, texts that are valid UTF-8.
func asWritten(o *event.Outcome) *event.Outcome {
	w := *o
	w.Time = w.Time.UTC().Truncate(time.Millisecond)
	w.CapturedAt = w.CapturedAt.UTC().Truncate(time.Millisecond)
	w.Reason = strings.ToValidUTF8(w.Reason, "\uFFFD")
	w.Transactions = slices.Clone(w.Transactions)
	for i := range w.Transactions {
		w.Transactions[i].StatusDetail = strings.ToValidUTF8(w.Transactions[i].StatusDetail, "\uFFFD")
	}
	return &w
}

func TestOutcomesComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	for name, o := range outcomes(t) {
		for _, mode := range []event.Mode{event.Structured, event.Binary} {
			m := o.Encode(nil, mode)
			got, id, err := event.DecodeOutcome(m)
			if err != nil {
				t.Errorf("%s, %s: %v\n%s", name, mode, err, m.Value)
				continue
			}
			if diff := cmp.Diff(asWritten(o), got, cmp.AllowUnexported(money.Amount{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s, %s: it came back changed (-want +got):\n%s", name, mode, diff)
			}
			if want := event.OutcomeID(o.EventID, o.Type).String(); id != want {
				t.Errorf("%s, %s: id %s, want %s", name, mode, id, want)
			}
			again := got.Encode(nil, mode)
			if diff := cmp.Diff(m, again); diff != "" {
				t.Errorf("%s, %s: written again it differs (-first +again):\n%s", name, mode, diff)
			}
		}
	}
}

// The valid examples of the schemas are outcomes. The invalid ones are not, except those
// whose fault the decoder tolerates.
func TestOutcomeExamples(t *testing.T) {
	t.Parallel()
	tolerated := []string{
		"replayed-missing.json", "time-without-milliseconds.json", "transactions-missing.json", "id-is-not-a-uuidv5.json",
		"payment_id-empty.json",
	}
	for _, eventType := range []string{event.TypeCaptured, event.TypeRejected} {
		valid, invalid := outcomeExamples(t, eventType, "valid"), outcomeExamples(t, eventType, "invalid")
		if len(valid) == 0 || len(invalid) == 0 {
			t.Fatalf("%s has %d valid and %d invalid examples", eventType, len(valid), len(invalid))
		}
		for name, value := range valid {
			if _, _, err := event.DecodeOutcome(event.Message{Value: value}); err != nil {
				t.Errorf("%s, valid %s: %v", eventType, name, err)
			}
		}
		for name, value := range invalid {
			if _, _, err := event.DecodeOutcome(event.Message{Value: value}); (err == nil) != slices.Contains(tolerated, name) {
				t.Errorf("%s, invalid %s: %v", eventType, name, err)
			}
		}
	}
}

func outcomeExamples(t *testing.T, eventType, kind string) map[string][]byte {
	t.Helper()
	dir := "examples/" + eventType + "/" + kind
	files, err := schemas.FS.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]byte)
	for _, f := range files {
		value, err := schemas.FS.ReadFile(dir + "/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		all[f.Name()] = value
	}
	return all
}

// changed returns a valid outcome with a change.
func changed(t *testing.T, of string, change func(envelope, data map[string]any)) event.Message {
	t.Helper()
	m := outcomes(t)[of].Encode(nil, event.Structured)
	var envelope map[string]any
	if err := json.Unmarshal(m.Value, &envelope); err != nil {
		t.Fatal(err)
	}
	change(envelope, envelope["data"].(map[string]any))
	var err error
	if m.Value, err = json.Marshal(envelope); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestInvalidOutcomesNameTheirField(t *testing.T) {
	t.Parallel()
	type edit struct {
		of     string
		change func(envelope, data map[string]any)
	}
	data := func(of, name string, value any) edit {
		return edit{of, func(_, d map[string]any) { d[name] = value }}
	}
	attribute := func(of, name string, value any) edit {
		return edit{of, func(e, _ map[string]any) { e[name] = value }}
	}
	for want, edits := range map[string][]edit{
		"specversion":             {attribute("captured", "specversion", "0.3"), attribute("captured", "specversion", nil)},
		"id":                      {attribute("captured", "id", "")},
		"subject":                 {attribute("captured", "subject", "another")},
		"time":                    {attribute("captured", "time", "soon"), attribute("captured", "time", nil)},
		"datacontenttype":         {attribute("captured", "datacontenttype", "text/plain")},
		"causationid":             {attribute("captured", "causationid", "another")},
		"data":                    {attribute("captured", "data", nil), attribute("captured", "data", "text")},
		"data.event_id":           {data("captured", "event_id", "two words"), data("captured", "event_id", nil)},
		"data.order_id":           {data("captured", "order_id", "")},
		"data.amount":             {data("captured", "amount", "700.5"), data("captured", "amount", "-1.00"), data("captured", "amount", 700.5)},
		"data.currency":           {data("captured", "currency", "EUR")},
		"data.external_reference": {data("captured", "external_reference", "no spaces")},
		"data.provider":           {data("captured", "provider", "another provider")},
		"data.payment_id":         {data("captured", "payment_id", "")},
		"data.captured_at":        {data("captured", "captured_at", ""), data("captured", "captured_at", "then")},
		"data.reason":             {data("rejected", "reason", ""), data("captured", "reason", "why")},
		"data.category":           {data("rejected", "category", "bad_luck"), data("rejected", "category", nil)},
		"data.retry":              {data("rejected", "retry", "soon")},
	} {
		for _, e := range edits {
			m := changed(t, e.of, e.change)
			_, _, err := event.DecodeOutcome(m)
			if invalid, ok := errors.AsType[*event.InvalidError](err); !ok || invalid.Field != want {
				t.Errorf("%s: got %v\n%s", want, err, m.Value)
			}
		}
	}
}

func TestOutcomesOfOtherServices(t *testing.T) {
	t.Parallel()
	foreign := changed(t, "captured", func(e, _ map[string]any) { e["source"] = "/another-service" })
	_, _, err := event.DecodeOutcome(foreign)
	if other, ok := errors.AsType[*event.OtherSourceError](err); !ok || other.Source != "/another-service" {
		t.Errorf("another source: got %v", err)
	}
	order := []byte(`{"specversion":"1.0","id":"1","source":"/orders","type":"order.ready_to_capture","data":{}}`)
	for name, m := range map[string]event.Message{
		"an order":               {Value: order},
		"an order, binary":       {Value: []byte(`{}`), Headers: []event.Header{{Key: "ce_type", Value: []byte("order.ready_to_capture")}}},
		"no event":               {Value: []byte("\x00\x00\x01avro")},
		"a tombstone":            {Key: []byte("k")},
		"broken, of another":     {Value: []byte(`{"type":"order.shipped","id":`)},
		"broken, without a type": {Value: []byte(`{"id":"1","id":"2"}`)},
	} {
		_, _, err := event.DecodeOutcome(m)
		if _, ok := errors.AsType[*event.SkipError](err); !ok {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// A record with the type of an outcome that cannot be decoded is not skipped.
func TestBrokenOutcomesAreInvalid(t *testing.T) {
	t.Parallel()
	m := outcomes(t)["captured"].Encode(nil, event.Binary)
	doubled := m
	doubled.Headers = append(slices.Clone(m.Headers), event.Header{Key: "ce_id", Value: []byte("another")})
	empty := m
	empty.Value = nil
	for name, m := range map[string]event.Message{
		"a member twice":     {Value: []byte(`{"type":"payment.captured","id":"1","id":"2"}`)},
		"a header twice":     doubled,
		"binary and empty":   empty,
		"a text for a truth": changed(t, "captured", func(_, d map[string]any) { d["replayed"] = "yes" }),
	} {
		_, _, err := event.DecodeOutcome(m)
		if _, ok := errors.AsType[*event.InvalidError](err); !ok {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func FuzzDecodeOutcome(f *testing.F) {
	t := &testing.T{}
	for _, name := range slices.Sorted(maps.Keys(outcomes(t))) {
		m := outcomes(t)[name].Encode(nil, event.Structured)
		f.Add(m.Value)
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		o, _, err := event.DecodeOutcome(event.Message{Value: value})
		if err != nil {
			return
		}
		// A decoded outcome can be encoded again, with the same content.
		m := o.Encode(nil, event.Structured)
		again, _, err := event.DecodeOutcome(m)
		if err != nil {
			t.Fatalf("%v\n%s\n%s", err, value, m.Value)
		}
		if diff := cmp.Diff(asWritten(o), again, cmp.AllowUnexported(money.Amount{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("it came back changed (-want +got):\n%s", diff)
		}
	})
}
