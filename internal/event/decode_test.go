package event_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
)

// plain is a valid event with the planted token, and plainData its data.
const (
	plainData = `{"order_id":"order-1001","amount":"700.50","currency":"MXN","description":"Order 1001",` +
		`"payer":{"token":"` + planted + `"}}`
	plain = `{"specversion":"1.0","id":"evt-1","source":"/orders","type":"order.ready_to_capture",` +
		`"time":"2026-11-23T10:00:00Z","data":` + plainData + `}`
)

// with replaces old in the text, which must contain it once.
func with(t *testing.T, text, old, changed string) string {
	t.Helper()
	if strings.Count(text, old) != 1 {
		t.Fatalf("%q is not in the text once", old)
	}
	return strings.Replace(text, old, changed, 1)
}

// wantInvalid checks that the record is invalid, with this field and this part of the problem.
func wantInvalid(t *testing.T, name string, m event.Message, field, problem string) {
	t.Helper()
	_, err := event.Decode(m)
	wrong, ok := errors.AsType[*event.InvalidError](err)
	if !ok || wrong.Field != field || !strings.Contains(wrong.Problem, problem) {
		t.Errorf("%s: %v; want a fault of field %q with %q", name, err, field, problem)
		return
	}
	if err := checkError(candidate{message: m, notJSON: errors.New("unknown")}, err); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

func TestContentTypes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, contentType string
		accepted          bool
	}{
		{"none, as kcat writes", "", true},
		{"plain JSON", "application/json", true},
		{"structured", "application/cloudevents+json", true},
		{"structured, with a parameter", "application/cloudevents+json; charset=UTF-8", true},
		{"structured, in capitals", "Application/CloudEvents+JSON", true},
		{"structured, without a format", "application/cloudevents", true},
		{"avro", "application/cloudevents+avro", false},
		{"protobuf", "application/cloudevents+protobuf; x=y", false},
		{"a batch", "application/cloudevents-batch+json", false},
	} {
		m := event.Message{Value: []byte(plain), Timestamp: recordTime}
		if tc.contentType != "" {
			m.Headers = []event.Header{{Key: "Content-Type", Value: []byte(tc.contentType)}}
		}
		if tc.accepted {
			if _, err := event.Decode(m); err != nil {
				t.Errorf("%s: %v", tc.name, err)
			}
			continue
		}
		wantInvalid(t, tc.name, m, "content-type", "only application/cloudevents+json is read")
	}
	hostile := event.Header{Key: "content-type", Value: []byte("application/cloudevents+\r\n\xff" + strings.Repeat("x", 10_000))}
	wantInvalid(t, "a hostile one", event.Message{Value: []byte(plain), Headers: []event.Header{hostile}, Timestamp: recordTime},
		"content-type", "+??")
}

func TestOtherTypesAreSkippedHoweverOdd(t *testing.T) {
	t.Parallel()
	other := with(t, plain, event.TypeReadyToCapture, "order.cancelled")
	_, err := event.Decode(structuredMessage([]byte(with(t, plain, event.TypeReadyToCapture, strings.Repeat("x", 1<<20)))))
	if skipped, ok := errors.AsType[*event.SkipError](err); !ok || len(skipped.Error()) > 256 {
		t.Errorf("a long type: %.80v", err)
	}
	for name, value := range map[string]string{
		"plain":                       other,
		"no data":                     `{"specversion":"1.0","id":"1","source":"/s","type":"order.cancelled"}`,
		"duplicates in the data":      with(t, other, `"amount"`, `"amount":1,"amount"`),
		"duplicates in the envelope":  with(t, other, `"id"`, `"id":1,"id"`),
		"type twice":                  with(t, other, `"id"`, `"type":"order.cancelled","id"`),
		"invalid UTF-8":               with(t, other, "Order 1001", "\xff\xfe"),
		"a time of another kind":      with(t, other, `"2026-11-23T10:00:00Z"`, `1795428000`),
		"data in base64":              `{"specversion":"1.0","id":"1","source":"/s","type":"order.cancelled","data_base64":"e30="}`,
		"the type last, after oddity": `{"specversion":"1.0","source":"/s","id":1,"id":"2","data":"` + "\xff" + `","type":"order.cancelled"}`,
	} {
		_, err := event.Decode(structuredMessage([]byte(value)))
		if skipped, ok := errors.AsType[*event.SkipError](err); !ok || skipped.Type != "order.cancelled" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTime(t *testing.T) {
	t.Parallel()
	own := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	timeless := with(t, plain, `"time":"2026-11-23T10:00:00Z",`, "")
	for _, tc := range []struct {
		name, value string
		timestamp   time.Time
		want        time.Time
	}{
		{"of the event", plain, recordTime, own},
		{"of the event alone", plain, time.Time{}, own},
		{"of the record", timeless, recordTime, recordTime},
		{"of the record, null in the event", with(t, plain, `"2026-11-23T10:00:00Z"`, `null`), recordTime, recordTime},
		{"with an offset", with(t, plain, `10:00:00Z`, `07:00:00-03:00`), recordTime, own},
	} {
		got, err := event.Decode(event.Message{Value: []byte(tc.value), Timestamp: tc.timestamp})
		if err != nil || !got.Time.Equal(tc.want) {
			t.Errorf("%s: %v, %v; want %v", tc.name, got, err, tc.want)
		}
	}
	wantInvalid(t, "neither", event.Message{Value: []byte(timeless)}, "time", "no timestamp")
	wantInvalid(t, "a record with a negative timestamp", event.Message{Value: []byte(timeless), Timestamp: time.UnixMilli(-1)}, "time",
		"no timestamp")
	for _, text := range []string{
		"2026-11-23T1:00:00Z", "2026-11-23T10:00:00,5Z", "2026-11-23T10:00:00+24:00", "2026-11-23T10:00:00+10:60", "2026-11-23T10:00:00",
		"2026-11-23", "2026-02-30T10:00:00Z", "2026-11-23t10:00:00Z", "2026-11-23T23:59:60Z", "", "now",
	} {
		m := event.Message{Value: []byte(with(t, plain, "2026-11-23T10:00:00Z", text)), Timestamp: recordTime}
		wantInvalid(t, text, m, "time", "RFC 3339")
	}
	for _, text := range []string{"1969-12-31T23:59:59Z", "1970-01-01T00:00:00+00:01", "0001-01-01T00:00:00Z"} {
		m := event.Message{Value: []byte(with(t, plain, "2026-11-23T10:00:00Z", text)), Timestamp: recordTime}
		wantInvalid(t, text, m, "time", "before 1970")
	}
}

func TestAmountSpellings(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		spelling string
		currency money.Currency
		want     string
	}{
		{`"700.50"`, "MXN", "700.50"},
		{`"700.5"`, "MXN", "700.50"},
		{`"700"`, "MXN", "700.00"},
		{`"700.5000"`, "MXN", "700.50"},
		{`"\u0037\u0030\u0030"`, "MXN", "700.00"},
		{`700.50`, "BRL", "700.50"},
		{`700.5`, "BRL", "700.50"},
		{`7.005e2`, "BRL", "700.50"},
		{`70050E-2`, "BRL", "700.50"},
		{`7005e-1`, "BRL", "700.50"},
		{`0.07`, "BRL", "0.07"},
		{`1.1`, "BRL", "1.10"},
		{`999999999999.99`, "BRL", "999999999999.99"},
		{`"15000"`, "CLP", "15000"},
		{`"15000.00"`, "CLP", "15000"},
		{`1.5e4`, "COP", "15000"},
	} {
		value := with(t, with(t, plain, `"700.50"`, tc.spelling), "MXN", string(tc.currency))
		got, err := event.Decode(structuredMessage([]byte(value)))
		if err != nil {
			t.Errorf("%s %s: %v", tc.spelling, tc.currency, err)
			continue
		}
		if got.Amount.String() != tc.want || got.Amount.Currency() != tc.currency {
			t.Errorf("%s %s = %s %s, want %s", tc.spelling, tc.currency, got.Amount, got.Amount.Currency(), tc.want)
		}
	}
}

func TestTraceParent(t *testing.T) {
	t.Parallel()
	const (
		own    = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
		header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
	)
	traced := with(t, plain, `"data"`, `"traceparent":"`+own+`","data"`)
	for _, tc := range []struct{ name, value, header, want string }{
		{"of the event", traced, "", own},
		{"of the event, before the header", traced, header, own},
		{"of the header", plain, header, header},
		{"none", plain, "", ""},
		{"not well formed", plain, "00-xyz", ""},
		{"all zeros", plain, "00-00000000000000000000000000000000-b7ad6b7169203331-00", ""},
		{"another version", plain, "01" + header[2:], ""},
		{"capitals", plain, strings.ToUpper(header), ""},
	} {
		m := structuredMessage([]byte(tc.value))
		if tc.header != "" {
			m.Headers = append(m.Headers, event.Header{Key: "traceparent", Value: []byte(tc.header)})
		}
		got, err := event.Decode(m)
		if err != nil || got.TraceParent != tc.want {
			t.Errorf("%s: %v, %v; want %q", tc.name, got, err, tc.want)
		}
	}
}
