package replay

import (
	"time"

	"payment-capture/internal/event"
)

// parked is a record of the parked topic, decoded.
type parked struct {
	message event.Message // the record that was parked; empty if there is a digest
	reason  event.ParkReason
	since   time.Time // when the record came to the parked topic
	first   time.Time // the first attempt; zero: none
	at      event.Position
	// digest stands for a value that was too large for the parked topic.
	digest *event.ValueDigest
}

// restore decodes a parked record; ok is false if it is not one. The marks of an
// earlier resend are left out, because a new one takes their place. The time is
// that of the parked record: the input's own is not in it.
func restore(m event.Message) (p parked, ok bool) {
	r, err := event.DecodeParked(m)
	return parked{
		message: withoutMarks(r.Input), reason: r.Reason, since: m.Timestamp, first: r.FirstAttempt, at: r.Position, digest: r.Digest,
	}, err == nil
}

// timeMatters reports whether the service's decision may depend on the record's time.
// It does if the event id is not trusted or the event has no time of its own.
func (p *parked) timeMatters(s *subject) bool {
	return s.event == nil || p.reason == event.ParkInvalidEvent || p.reason == event.ParkConflicting || !s.ownTime()
}

// untimed reports whether the parked record had no timestamp: the id under which
// the service parked it shows that.
func (p *parked) untimed() bool {
	m := p.message
	m.Timestamp = time.Time{}
	return p.at.ID == event.RecordID(m)
}

// mark returns the mark that undoes the decision to park. If the ledger has no decision,
// because there was no ledger then, the mark is made from the parked record.
func (p *parked) mark(d *event.Decision) *event.Resend {
	if d == nil {
		return &event.Resend{ParkedAt: p.since, FirstAttempt: p.first}
	}
	first := d.Attempt.First
	if t := d.ParkInfo.FirstAttempt; first.IsZero() || (!t.IsZero() && t.Before(first)) {
		first = t
	}
	return &event.Resend{ParkedAt: d.At, FirstAttempt: first}
}
