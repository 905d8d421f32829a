package event_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"payment-capture/internal/event"
	"payment-capture/internal/event/hostile"
)

// wantSkipped checks that a record is skipped as one of another type.
func wantSkipped(t *testing.T, name string, m event.Message) {
	t.Helper()
	_, err := event.Decode(m)
	if skipped, ok := errors.AsType[*event.SkipError](err); !ok || skipped.Reason != event.SkipOtherType {
		t.Errorf("%s: %v; want it skipped as another type", name, err)
	}
}

// otherTypes returns types of others that contain the name of our type or look like it.
func otherTypes() []string {
	types := []string{
		"order.cancelled", "order.ready_to_capture.v2", "com.acme.order.ready_to_capture", "order.ready-to-capture", "xorder.ready_to_capture",
		"order.ready_to_capture_cancelled", "order.ready_to_capture2", "order.ready_to_capturé", "оrder.ready_to_capture",
		"pre-order.ready_to_capture", "order.ready_to_capture/v2", "order.ready_to_capture:v2", "order.ready_to_capture@2",
		"order.ready_to_capture#2", "order.ready_to_capture+json", "order.ready_to_capture~draft", "urn:acme:order.ready_to_capture",
		"https://example.com/order.ready_to_capture",
		"order.ready_to_capturE.v2", "order", ".", "7", "null", strings.Repeat("a", 4_000), strings.Repeat("b3Jk", 4_000),
		strings.Repeat("6f", 4_000),
	}
	for _, text := range []string{
		"order.ready_to_capture.v2", "com.acme.order.ready_to_capture", "order.ready_to_capture/v2", "urn:acme:order.ready_to_capture",
	} {
		types = append(types, `"`+text+`"`, `'`+text+`'`, "["+text+"]", `{"schema":{"type":"string"},"payload":"`+text+`"}`,
			base64.StdEncoding.EncodeToString([]byte(text)), fmt.Sprintf("% x", text),
			"\xac\xed\x00\x05t\x00"+string(rune(len(text)))+text, "%22"+text+"%22")
	}
	return types
}

func TestOtherTypesAreSkippedWhateverTheyLookLike(t *testing.T) {
	t.Parallel()
	for _, other := range otherTypes() {
		name := fmt.Sprintf("%.60q", other)
		wantSkipped(t, name+" in binary mode", binaryMessage(append(slices.Clone(required[:6]), "ce_type", other)...))
		if !strings.Contains(other, "\x00") { // because JSON cannot contain it
			wantSkipped(t, name+" in structured mode", structuredMessage([]byte(with(t, plain, `"`+event.TypeReadyToCapture+`"`, quoted(other)))))
		}
	}
}

func TestAnotherTypeThatMentionsOursIsSkipped(t *testing.T) {
	t.Parallel()
	other := append(slices.Clone(required[:6]), "ce_type", "com.acme.audit")
	whole := with(t, plain, event.TypeReadyToCapture, "com.acme.audit")
	for name, value := range map[string]string{
		"in its data":               with(t, whole, plainData, plain),
		"in an extension":           with(t, whole, `"data"`, `"causetype":"order.ready_to_capture","data"`),
		"in the subject":            with(t, whole, `"data"`, `"subject":"order.ready_to_capture","data"`),
		"in an extension's payload": with(t, whole, `"data"`, `"payload":`+plain+`,"data"`),
		"in an extension's envelope": with(t, whole, `"data"`,
			`"schema":{},"payload":{"specversion":"1.0","type":"order.ready_to_capture"},"data"`),
	} {
		wantSkipped(t, name, structuredMessage([]byte(value)))
	}
	for name, value := range map[string]string{
		"a type without a version": `{"type":"order.ready_to_capture","order_id":"1"}`,
		"a list of types":          `["order.ready_to_capture"]`,
		"text":                     "order.ready_to_capture was seen",
		"an event in its data":     `{"failed":` + plain + `}`,
		"an event in a text":       `{"failed":` + quoted(plain) + `}`,
		"a text of an audit":       quoted(`{"failed":` + plain + `}`),
		"a list of audits":         `[{"failed":` + plain + `}, ` + quoted(`{"failed":`+plain+`}`) + `]`,
		"an audit in an envelope":  `{"schema":{},"payload":` + quoted(`{"failed":`+plain+`}`) + `}`,
		"another in an envelope":   `{"schema":{},"payload":` + quoted(whole) + `}`,
		"an event of an event":     `{"payload":` + with(t, whole, plainData, `{"payload":`+plain+`}`) + `,"specversion":"1.0"}`,
		"a row with our type":      `{"after":{"type":"order.ready_to_capture","payload":` + quoted(plainData) + `}}`,
		"nothing":                  "",
		"a null":                   "null",
		"base64 of something":      base64.StdEncoding.EncodeToString([]byte(strings.Repeat("order.cancelled ", 5))),
		"bytes":                    "\x00\x01\x02{\xff",
		"a quote":                  `"`,
	} {
		m := binaryMessage(other...)
		m.Value = []byte(value)
		wantSkipped(t, name, m)
	}
	m := binaryMessage(append(slices.Clone(other), "causation-type", event.TypeReadyToCapture, "resource_type", event.TypeReadyToCapture)...)
	wantSkipped(t, "in a header that is no type of the event", m)
	m = binaryMessage(append(slices.Clone(other), "type", "ORDER", "id", "7", "ce_Type", "order.cancelled")...)
	wantSkipped(t, "beside headers of other types", m)
}

// TestAWrappedEventIsNeverSkipped puts an event of ours in every wrapping, in two and in three, beside
// headers of another type.
func TestAWrappedEventIsNeverSkipped(t *testing.T) {
	t.Parallel()
	other := append(slices.Clone(required[:6]), "ce_type", "com.bridge.forwarded")
	check := func(name, value string) {
		_, err := event.Decode(valued(value, other...))
		if _, ok := errors.AsType[*event.InvalidError](err); !ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	check("behind others in an array", `[7, "text", [{"a":1}], {"type":"order.cancelled"}, [`+plain+`]]`)
	wrappings := hostile.Wrappings()
	for a, wrapA := range wrappings {
		one := wrapA(plain)
		check(a, one)
		for b, wrapB := range wrappings {
			two := wrapB(one)
			check(a+" in "+b, two)
			for c, wrapC := range wrappings {
				check(a+" in "+b+" in "+c, wrapC(two))
			}
		}
	}
}

// TestNullAndEmptyHeadersAreAbsent checks that headers without a value change nothing,
// whether they are before or after the others.
func TestNullAndEmptyHeadersAreAbsent(t *testing.T) {
	t.Parallel()
	names := []string{
		"content-type", "Content-Type", "ce_type", "ce_id", "ce_source", "ce_specversion", "ce_time", "ce_subject", "ce_traceparent", "ce_x",
		"traceparent", "ce-type", "CE_TYPE", "cloudEvents:type",
	}
	cases := map[string]event.Message{
		"structured":          structuredMessage([]byte(plain)),
		"without a header":    {Value: []byte(plain), Timestamp: recordTime},
		"binary":              binaryMessage(append(slices.Clone(required), "content-type", "application/json")...),
		"another type":        binaryMessage(append(slices.Clone(required[:6]), "ce_type", "order.cancelled")...),
		"another, structured": structuredMessage([]byte(with(t, plain, event.TypeReadyToCapture, "order.cancelled"))),
		"a tombstone":         {Key: []byte("k")},
		"no type":             binaryMessage(required[:6]...),
		"two content-types":   binaryMessage(append(slices.Clone(required), "content-type", "a/b", "content-type", "application/json")...),
		"a content-type twice": binaryMessage(append(slices.Clone(required), "content-type", "application/json", "content-type",
			"application/json")...),
		"an attribute repeated": binaryMessage(append(slices.Clone(required), required...)...),
	}
	for name, m := range cases {
		want, wantErr := event.Decode(m)
		for _, header := range names {
			for _, value := range [][]byte{nil, {}} {
				for _, at := range []int{0, len(m.Headers)} {
					changed := copyOf(m)
					changed.Headers = slices.Insert(changed.Headers, at, event.Header{Key: header, Value: value})
					got, err := event.Decode(changed)
					if fmt.Sprint(err) != fmt.Sprint(wantErr) || !cmp.Equal(got, want, cmp.Comparer(sameSecret), cmp.Comparer(sameAmount)) {
						t.Errorf("%s, with %s %v at %d: %v, %v; want %v, %v", name, header, value, at, got, err, want, wantErr)
					}
				}
			}
		}
	}
	for _, name := range []string{"structured", "without a header", "binary", "a content-type twice", "an attribute repeated"} {
		if _, err := event.Decode(cases[name]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTheOrderOfHeadersNeverMatters decodes records with the headers of the corpus, and
// with random headers, in several orders.
func TestTheOrderOfHeadersNeverMatters(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(12, 2026))
	check := func(name string, m event.Message) {
		want, wantErr := event.Decode(m)
		for range 6 {
			shuffled := event.Message{Key: m.Key, Value: m.Value, Timestamp: m.Timestamp, Headers: slices.Clone(m.Headers)}
			draw.Shuffle(len(shuffled.Headers), func(i, j int) {
				shuffled.Headers[i], shuffled.Headers[j] = shuffled.Headers[j], shuffled.Headers[i]
			})
			got, err := event.Decode(shuffled)
			if !sameError(err, wantErr) || !cmp.Equal(got, want, cmp.Comparer(sameSecret), cmp.Comparer(sameAmount)) {
				t.Fatalf("%s: %v, %+v; in another order %v, %+v\n%q", name, want, wantErr, got, err, m.Headers)
			}
		}
	}
	for _, r := range hostile.Records(recordTime, planted) {
		if len(r.Message.Headers) < 100 {
			check(r.Name, r.Message)
		}
	}
	for _, o := range hostile.Odd(recordTime, planted) {
		check(o.Name, o.Message)
	}
	keys := []string{
		"ce_type", "ce_type", "ce_id", "ce_source", "ce_specversion", "ce_time", "ce_traceparent", "ce_subject", "content-type",
		"Content-Type", "traceparent",
		"ce-type", "CE_ID", "cloudEvents:source", "ce_Type", "type", "id", "kafka_ce_id", "ce_specVersion",
	}
	values := []string{
		"", "1.0", "evt-1", "evt-2", "/orders", event.TypeReadyToCapture, "order.cancelled", `"order.ready_to_capture"`, "application/json",
		"application/cloudevents+json", "application/cloudevents+avro", "2026-11-23T10:00:00Z",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	}
	payloads := []string{plain, plainData, with(t, plain, event.TypeReadyToCapture, "order.cancelled"), "{", ""}
	accepted := 0
	for range 4_000 {
		m := event.Message{Value: []byte(payloads[draw.IntN(len(payloads))]), Timestamp: recordTime}
		for i := 0; i < len(required) && draw.IntN(4) > 0; i += 2 {
			m.Headers = append(m.Headers, event.Header{Key: required[i], Value: []byte(required[i+1])})
		}
		for range draw.IntN(5) {
			m.Headers = append(m.Headers, event.Header{Key: keys[draw.IntN(len(keys))], Value: []byte(values[draw.IntN(len(values))])})
		}
		if _, err := event.Decode(m); err == nil {
			accepted++
		}
		check("random", m)
	}
	if accepted < 100 {
		t.Errorf("only %d of the random records are events", accepted)
	}
}

func sameError(a, b error) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	if _, ok := errors.AsType[*event.SkipError](a); ok {
		return fmt.Sprintf("%T %+v", a, a) == fmt.Sprintf("%T %+v", b, b)
	}
	one, ok := errors.AsType[*event.InvalidError](a)
	two, okToo := errors.AsType[*event.InvalidError](b)
	return ok && okToo && *one == *two
}

// TestHeadersThatRepeatAStructuredEvent checks that headers which repeat the value are
// accepted, and that the time may have another spelling.
func TestHeadersThatRepeatAStructuredEvent(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"2026-11-23T10:00:00Z", "2026-11-23T11:00:00+01:00", "2026-11-23T10:00:00.000Z"} {
		m := binaryMessage(append(slices.Clone(required), "ce_time", when, "content-type", "application/cloudevents+json", "ce_subject", "x")...)
		m.Value = []byte(plain)
		if _, err := event.Decode(m); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
}
