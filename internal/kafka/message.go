package kafka

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
)

// MessageOf returns a record as package event decodes it. A timestamp before 1970
// means that the record has none.
func MessageOf(r *kgo.Record) event.Message {
	m := event.Message{Key: r.Key, Value: r.Value, Headers: make([]event.Header, 0, len(r.Headers))}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, event.Header{Key: h.Key, Value: h.Value})
	}
	if r.Timestamp.UnixMilli() >= 0 {
		m.Timestamp = r.Timestamp
	}
	return m
}
