package event

import (
	"strings"
	"time"
)

// A parked record that is sent again carries what it answers to, so that only
// that parking is undone, and only once: when the topic is replayed from the
// start, the record that was sent again passes too.
const (
	resendPrefix       = "payment-capture-"
	headerResend       = resendPrefix + "resend"        // when the event was parked, to the millisecond
	headerFirstAttempt = resendPrefix + "first-attempt" // when it was first tried; absent: never
)

// Resend marks a record as a parked one that a person sends again: it is tried
// once more, under the same key.
type Resend struct {
	ParkedAt     time.Time // by the ledger; in milliseconds
	FirstAttempt time.Time // of the parked record; zero: it was never tried
}

// Undoes reports whether the record is sent again to undo that very parking. No
// mark undoes nothing.
func (r *Resend) Undoes(d *Decision) bool { return r != nil && r.ParkedAt.Equal(d.At) }

// IsResendHeader reports whether a header is one that a resend adds.
func IsResendHeader(key string) bool { return strings.HasPrefix(key, resendPrefix) }

// Headers gives the mark.
func (r Resend) Headers() []Header {
	hs := []Header{{Key: headerResend, Value: []byte(r.ParkedAt.UTC().Format(timeFormat))}}
	if !r.FirstAttempt.IsZero() {
		hs = append(hs, Header{Key: headerFirstAttempt, Value: []byte(r.FirstAttempt.UTC().Format(timeFormat))})
	}
	return hs
}

// ResendOf reads the mark of a record; nil: it has none. One that cannot be read
// is none: without it the record is what it was, and calls nobody.
func ResendOf(m Message) *Resend {
	var r Resend
	for _, h := range m.Headers {
		var into *time.Time
		switch h.Key {
		case headerResend:
			into = &r.ParkedAt
		case headerFirstAttempt:
			into = &r.FirstAttempt
		default:
			continue
		}
		t, err := time.Parse(time.RFC3339, string(h.Value))
		if err != nil {
			return nil
		}
		*into = t
	}
	if r.ParkedAt.IsZero() {
		return nil
	}
	return &r
}
