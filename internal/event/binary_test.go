package event_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"payment-capture/internal/event"
)

func binaryMessage(headers ...string) event.Message {
	m := event.Message{Value: []byte(plainData), Timestamp: recordTime}
	for i := 0; i < len(headers); i += 2 {
		m.Headers = append(m.Headers, event.Header{Key: headers[i], Value: []byte(headers[i+1])})
	}
	return m
}

// required are the headers of a minimal event in binary mode.
var required = []string{"ce_specversion", "1.0", "ce_id", "evt-1", "ce_source", "/orders", "ce_type", event.TypeReadyToCapture}

func TestBinaryModeMeansTheSame(t *testing.T) {
	t.Parallel()
	for name, example := range examples(t, "valid") {
		structured, err := event.Decode(structuredMessage(example))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		binary, err := event.Decode(inBinary(t, parseNode(t, example)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(structured, binary, cmp.Comparer(sameSecret), cmp.Comparer(sameAmount)); diff != "" {
			t.Errorf("%s (-structured +binary):\n%s", name, diff)
		}
	}
}

func TestInvalidExamplesAreInvalidInBinaryMode(t *testing.T) {
	t.Parallel()
	// Binary mode cannot express these, because it has no document around the data, no
	// base64 and no numbers in headers.
	structuredOnly := []string{"not-an-object", "data-in-base64", "id-is-a-number", "data-missing"}
	for name, example := range examples(t, "invalid") {
		if !slices.Contains(structuredOnly, name) {
			wantInvalid(t, name, inBinary(t, parseNode(t, example)), fieldOf[name], "")
		}
	}
}

func TestBinaryHeaders(t *testing.T) {
	t.Parallel()
	for name, extra := range map[string][]string{
		"the least":             nil,
		"a content-type":        {"content-type", "application/json; charset=utf-8"},
		"in capitals":           {"Content-Type", "Application/JSON"},
		"an empty content-type": {"content-type", ""},
		"extensions":            {"ce_partitionkey", "x", "ce_partitionkey", "y", "other", "z"},
		"an odd traceparent":    {"ce_traceparent", "\xff"},
	} {
		if _, err := event.Decode(binaryMessage(append(slices.Clone(required), extra...)...)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, tc := range []struct {
		name    string
		headers []string
		field   string
		problem string
	}{
		{"id twice", append(slices.Clone(required), "ce_id", "evt-2"), "ce_id", "twice"},
		{"time twice", append(slices.Clone(required), "ce_time", "x", "ce_time", "y"), "ce_time", "twice"},
		{"type twice, ours first", append(slices.Clone(required), "ce_type", "order.cancelled"), "ce_type", "twice"},
		{"type twice, ours last", append([]string{"ce_type", "order.cancelled"}, required...), "ce_type", "twice"},
		{"no type", required[:6], "type", "missing"},
		{"no id", append(slices.Clone(required[:2]), required[4:]...), "id", "missing"},
		{"no source", append(slices.Clone(required[:4]), required[6:]...), "source", "missing"},
		{"no version", required[2:], "specversion", "missing"},
		{"an empty id", append(slices.Clone(required[4:]), "ce_specversion", "1.0", "ce_id", ""), "id", "missing"},
		{"invalid UTF-8", append(slices.Clone(required), "ce_subject", "\xff"), "subject", "control"},
		{"another content-type", append(slices.Clone(required), "content-type", "text/plain"), "datacontenttype", "text/plain"},
		{"a Turkish content-type", append(slices.Clone(required), "content-type", "applİcation/json"), "datacontenttype", "appl?cation"},
	} {
		wantInvalid(t, tc.name, binaryMessage(tc.headers...), tc.field, tc.problem)
	}
	for name, want := range map[string]struct{ value, field, problem string }{
		"no value":          {"", "data", "empty"},
		"null":              {"null", "data", "missing"},
		"no JSON":           {"x", "data", "not JSON"},
		"an array":          {"[]", "data", "JSON array"},
		"a whole event":     {plain, "data.order_id", "missing"},
		"a schema registry": {"\x00\x00\x00\x00\x01{}", "data", "schema registry"},
		"a number twice":    {`{"amount":1,"amount":2}`, "data.amount", "twice"},
	} {
		m := binaryMessage(required...)
		m.Value = []byte(want.value)
		wantInvalid(t, name, m, want.field, want.problem)
	}
	// A content-type of structured mode decides.
	m := binaryMessage(append(slices.Clone(required), "content-type", "application/cloudevents+json")...)
	wantInvalid(t, "structured after all", m, "type", "missing")
}

func TestBinaryOtherTypesAreSkipped(t *testing.T) {
	t.Parallel()
	other := append(slices.Clone(required[:6]), "ce_type", "order.cancelled")
	avro := binaryMessage(other...)
	avro.Value = []byte{0, 1, 2}
	for name, m := range map[string]event.Message{
		"plain":           binaryMessage(other...),
		"doubled headers": binaryMessage(append(slices.Clone(other), "ce_id", "2", "ce_type", "order.cancelled")...),
		"avro":            avro,
	} {
		_, err := event.Decode(m)
		if skipped, ok := errors.AsType[*event.SkipError](err); !ok || skipped.Type != "order.cancelled" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTombstonesAreSkippedUnlessTheyClaimOurType(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]event.Message{
		"no headers":    {Key: []byte("order-1001")},
		"another type":  {Headers: []event.Header{{Key: "ce_type", Value: []byte("order.cancelled")}}},
		"other headers": {Headers: []event.Header{{Key: "trace", Value: []byte("1")}}},
	} {
		_, err := event.Decode(m)
		if skipped, ok := errors.AsType[*event.SkipError](err); !ok || skipped.Reason != event.SkipTombstone {
			t.Errorf("%s: %v", name, err)
		}
	}
	ours := binaryMessage("ce_specversion", "1.0", "ce_id", "1", "ce_source", "/s", "ce_type", event.TypeReadyToCapture)
	ours.Value = nil
	wantInvalid(t, "our type", ours, "data", "is empty")
	wantInvalid(t, "an empty value is no tombstone", event.Message{Value: []byte{}}, "", "is empty")
}
