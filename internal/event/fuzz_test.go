package event_test

import (
	"strings"
	"testing"

	"payment-capture/internal/event"
)

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
	f.Fuzz(func(t *testing.T, value []byte) {
		if _, err := compare(t, structuredCandidate(value)); err != nil {
			t.Error(err)
		}
	})
}

func FuzzDecodeBinary(f *testing.F) {
	for _, n := range bases(f) {
		f.Add("e-1", "/orders", "2026-11-23T10:00:00Z", "application/json", []byte(n.get("data").String()))
	}
	f.Add("e 1", "", "2026-11-23", "text/plain", []byte("null"))
	f.Fuzz(func(t *testing.T, id, source, when, contentType string, value []byte) {
		if strings.HasPrefix(strings.ToLower(contentType), "application/cloudevents") {
			t.Skip("this is another mode")
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
			},
			Timestamp: recordTime,
		})
		if _, err := compare(t, c); err != nil {
			t.Error(err)
		}
	})
}
