package event

import (
	"strings"
	"time"
)

// A record that an operator sends again names the park decision that it supersedes. So it
// supersedes only that decision, and only once, although a replay of the topic from its
// start reads it again.
const (
	resendPrefix       = "payment-capture-"
	headerResend       = resendPrefix + "resend"        // when the event was parked, in milliseconds
	headerFirstAttempt = resendPrefix + "first-attempt" // when the first call was made; absent: never
)

// Resend marks a parked record that an operator sends again. The service calls the
// API once more for it, under the same idempotency key.
type Resend struct {
	ParkedAt     time.Time // the time of the decision in the ledger; in milliseconds
	FirstAttempt time.Time // of the parked record; zero: there was no call
}

// Undoes reports whether the record was sent again because of that park decision. A nil
// Resend undoes none.
func (r *Resend) Undoes(d *Decision) bool { return r != nil && r.ParkedAt.Equal(d.At) }

// IsResendHeader reports whether the key is one of a header of a [Resend].
func IsResendHeader(key string) bool { return strings.HasPrefix(key, resendPrefix) }

// Headers returns the headers that mark the record.
func (r Resend) Headers() []Header {
	hs := []Header{{Key: headerResend, Value: []byte(r.ParkedAt.UTC().Format(timeFormat))}}
	if !r.FirstAttempt.IsZero() {
		hs = append(hs, Header{Key: headerFirstAttempt, Value: []byte(r.FirstAttempt.UTC().Format(timeFormat))})
	}
	return hs
}

// ResendOf returns the mark of a record, or nil if it has none. A mark that cannot be read
// counts as none, because then the service makes no call.
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
