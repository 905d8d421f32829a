package event_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"payment-capture/internal/event"
	"payment-capture/internal/event/hostile"
	"payment-capture/schemas"
)

// seedSize limits the seeds, because changes of a short text have more effect.
const seedSize = 4 << 10

// checkTwice compares the decoder with the schema, and checks that decoding a record
// twice has the same result. The outcome of a valid event must be a valid event, too.
func checkTwice(t *testing.T, c candidate) {
	t.Helper()
	if _, err := compare(t, c); err != nil {
		t.Fatal(err)
	}
	e, err := event.Decode(c.message)
	again, errAgain := event.Decode(copyOf(c.message))
	if err != nil {
		if errAgain == nil || err.Error() != errAgain.Error() {
			t.Fatalf("read twice: %v, and %v", err, errAgain)
		}
		return
	}
	if diff := cmp.Diff(e, again, cmp.Comparer(sameSecret), cmp.Comparer(sameAmount)); diff != "" || errAgain != nil {
		t.Fatalf("read twice: %v\n%s", errAgain, diff)
	}
	o := &event.Outcome{
		Type: event.TypeCaptured, Subject: e.OrderID, Time: recordTime, TraceParent: e.TraceParent,
		EventID: e.ID, OrderID: e.OrderID, Amount: e.Amount, ExternalReference: e.ExternalReference, PaymentID: "1", CapturedAt: recordTime,
	}
	m := o.Encode(c.message.Key, event.Structured)
	if err := validate(t, schemas.Envelope(event.TypeCaptured), m.Value); err != nil {
		t.Fatalf("the outcome is no valid event: %v\n%s", err, m.Value)
	}
}

func FuzzDecode(f *testing.F) {
	for _, n := range bases(f) {
		f.Add([]byte(n.String()))
	}
	for _, example := range examples(f, "invalid") {
		f.Add(example)
	}
	for _, r := range beyondTheSchema() {
		f.Add(r.example.message.Value)
	}
	for _, r := range hostile.Records(recordTime, planted) {
		if len(r.Message.Value) < seedSize {
			f.Add(r.Message.Value)
		}
	}
	for _, o := range hostile.Odd(recordTime, planted) {
		if len(o.Message.Value) < seedSize {
			f.Add(o.Message.Value)
		}
	}
	f.Fuzz(func(t *testing.T, value []byte) { checkTwice(t, structuredCandidate(value)) })
}

func FuzzDecodeBinary(f *testing.F) {
	add := func(id, source, when, contentType, key, text string, value []byte) {
		f.Add(id, source, when, contentType, key, text, value)
	}
	for _, n := range bases(f) {
		add("e-1", "/orders", "2026-11-23T10:00:00Z", "application/json", "ce_subject", "order-1", []byte(n.get("data").String()))
	}
	add("e 1", "", "2026-11-23", "text/plain", "ce_id", "e-2", []byte("null"))
	for _, r := range hostile.Records(recordTime, planted) {
		seed := map[string]string{"ce_id": "e-1", "ce_source": "/orders", "ce_time": "2026-11-23T10:00:00Z", "content-type": "application/json"}
		key := ""
		for _, h := range r.Message.Headers {
			if _, known := seed[h.Key]; known {
				seed[h.Key] = string(h.Value)
			} else {
				key = h.Key
			}
		}
		if len(r.Message.Value) < seedSize && len(seed["ce_id"]) < seedSize {
			add(seed["ce_id"], seed["ce_source"], seed["ce_time"], seed["content-type"], key, key, r.Message.Value)
		}
	}
	f.Fuzz(func(t *testing.T, id, source, when, contentType, key, text string, value []byte) {
		if strings.HasPrefix(strings.ToLower(contentType), "application/cloudevents") || strings.EqualFold(key, "content-type") {
			return // because the mode is another one or unknown
		}
		c := binaryCandidate(event.Message{
			Value: value,
			Headers: []event.Header{
				{Key: "ce_specversion", Value: []byte("1.0")},
				{Key: "ce_type", Value: []byte(event.TypeReadyToCapture)},
				{Key: "ce_id", Value: []byte(id)},
				{Key: "ce_source", Value: []byte(source)},
				{Key: "ce_time", Value: []byte(when)},
				{Key: "content-type", Value: []byte(contentType)},
				{Key: key, Value: []byte(text)},
			},
			Timestamp: recordTime,
		})
		checkTwice(t, c)
	})
}

// FuzzModes decodes a value with arbitrary headers. Whatever its mode, decoding it twice has
// the same result, and an error keeps its promises.
func FuzzModes(f *testing.F) {
	f.Add("application/cloudevents+json", "ce_id", "evt-1", "", "", []byte(plain))
	f.Add("application/json", "ce_id", "evt-1", "ce_type", event.TypeReadyToCapture, []byte(plainData))
	f.Add("", "content-type", "application/cloudevents+json", "Content-Type", "application/json", []byte(plain))
	for _, r := range hostile.Records(recordTime, planted) {
		var contentType string
		others := make([]event.Header, 0, 2)
		for _, h := range r.Message.Headers {
			if h.Key == "content-type" && contentType == "" {
				contentType = string(h.Value)
			} else if len(h.Value) < seedSize {
				others = append(others, h)
			}
		}
		others = append(others, event.Header{}, event.Header{})
		if len(r.Message.Value) < seedSize && len(contentType) < seedSize {
			f.Add(contentType, others[0].Key, string(others[0].Value), others[1].Key, string(others[1].Value), r.Message.Value)
		}
	}
	f.Fuzz(func(t *testing.T, contentType, key1, text1, key2, text2 string, value []byte) {
		m := event.Message{Value: value, Timestamp: recordTime, Headers: []event.Header{
			{Key: "content-type", Value: []byte(contentType)}, {Key: key1, Value: []byte(text1)}, {Key: key2, Value: []byte(text2)},
		}}
		e, err := event.Decode(m)
		if err != nil {
			if err := checkError(structuredCandidate(value), err); err != nil {
				t.Fatal(err)
			}
			_, again := event.Decode(copyOf(m))
			if again == nil || again.Error() != err.Error() {
				t.Fatalf("read twice: %v, and %v", err, again)
			}
			return
		}
		if err := checkDecoded(e); err != nil {
			t.Fatal(err)
		}
		// No header may name another event than the one that is charged,
		// or another mode.
		mode := ""
		for _, h := range m.Headers {
			text := string(h.Value)
			if text == "" {
				continue // absent
			}
			if strings.EqualFold(h.Key, "content-type") {
				if mode != "" && mode != text {
					t.Fatalf("event %s is accepted as %q and as %q", e.ID, mode, text)
				}
				mode = text
			}
			if (h.Key == "ce_id" && text != e.ID) || (h.Key == "ce_type" && text != event.TypeReadyToCapture) ||
				(h.Key == "ce_source" && text != e.Source) || (h.Key == "ce_specversion" && text != "1.0") {
				t.Fatalf("event %s is accepted beside the header %s: %q", e.ID, h.Key, h.Value)
			}
		}
	})
}
