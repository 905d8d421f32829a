package replay

import (
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/mercadopago"
)

// subject is a record as the service would see it.
type subject struct {
	message event.Message
	decoder event.Decoder
	event   *event.ReadyToCapture // nil where the record is no valid event of ours
	foreign Class                 // OtherType, OtherAccount, Tombstone, or "" where it is ours
	skipped event.SkipError       // why it is foreign, and its type or account
	// id is the event's, or what stands in for it where the record is invalid.
	id string
}

// look decodes a record as the service of those rules does.
func look(m event.Message, rules *Rules) subject {
	s := subject{message: m, decoder: rules.Decoder}
	e, err := s.decoder.Decode(m)
	switch {
	case err == nil && e.Account != "" && e.Account != rules.Account:
		s.foreign, s.skipped = OtherAccount, event.SkipError{Reason: event.SkipOtherAccount, Type: e.Account}
		return s
	case err == nil:
		s.event, s.id = e, e.ID
		return s
	}
	if skipped, ok := errors.AsType[*event.SkipError](err); ok {
		s.foreign, s.skipped = OtherType, *skipped
		if skipped.Reason == event.SkipTombstone {
			s.foreign = Tombstone
		}
		return s
	}
	s.id = event.RecordID(m)
	return s
}

// ours reports whether the service would not skip it.
func (s *subject) ours() bool { return s.foreign == "" }

// ownTime reports whether the event says when it happened. Else its record's
// time stands for that.
func (s *subject) ownTime() bool { return s.event != nil && !s.event.TimeFromRecord }

// ageless reports whether the record is invalid and would be valid if it had a
// timestamp.
func (s *subject) ageless(now time.Time) bool {
	if s.event != nil || !s.message.Timestamp.IsZero() {
		return false
	}
	m := s.message
	m.Timestamp = now
	_, err := s.decoder.Decode(m)
	return err == nil
}

// body is the mark of the request that this version would send.
func (s *subject) body() event.Fingerprint {
	request, err := mercadopago.NewRequest(s.event)
	if err != nil {
		return event.Fingerprint{} // of no request; a decoded event has one
	}
	return event.FingerprintOf(request.Body)
}

// content tells the contents of one event id apart.
func (s *subject) content() event.Fingerprint {
	if s.event == nil {
		return event.Fingerprint{} // its id is that of its content
	}
	return s.event.Content()
}

// identity tells apart what the events of one id are for.
func (s *subject) identity() event.Fingerprint {
	if s.event == nil {
		return event.Fingerprint{}
	}
	return s.event.Fingerprint()
}

// messageOf gives a record as far as events are concerned.
func messageOf(r *kgo.Record) event.Message {
	m := event.Message{Key: r.Key, Value: r.Value, Headers: make([]event.Header, 0, len(r.Headers))}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, event.Header{Key: h.Key, Value: h.Value})
	}
	if timed(r) {
		m.Timestamp = r.Timestamp
	}
	return m
}
