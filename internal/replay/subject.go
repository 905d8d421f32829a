package replay

import (
	"errors"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/mercadopago"
)

// subject is a record as the service would decode it.
type subject struct {
	message event.Message
	decoder event.Decoder
	event   *event.ReadyToCapture // nil: not a valid event of ours
	foreign Class                 // OtherType, OtherAccount, Tombstone, or "" if it is ours
	skipped event.SkipError       // why it is foreign, and its type or account
	// id is the event's, or the record id if the record is invalid.
	id string
}

// look decodes a record as the service with these rules does.
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

// ours reports whether the service would process the record.
func (s *subject) ours() bool { return s.foreign == "" }

// ownTime reports whether the event has its own time. Otherwise its record's time
// counts.
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

// body returns the fingerprint of the request that this version would send.
func (s *subject) body() event.Fingerprint {
	request, err := mercadopago.NewRequest(s.event)
	if err != nil {
		return event.Fingerprint{} // a decoded event always has a request
	}
	return event.FingerprintOf(request.Body)
}

// content distinguishes the contents of one event id.
func (s *subject) content() event.Fingerprint {
	if s.event == nil {
		return event.Fingerprint{} // its id is that of its content
	}
	return s.event.Content()
}

// identity distinguishes what the events of one id are for.
func (s *subject) identity() event.Fingerprint {
	if s.event == nil {
		return event.Fingerprint{}
	}
	return s.event.Fingerprint()
}
