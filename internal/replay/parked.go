package replay

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"

	"payment-capture/internal/event"
)

// parked is what a record of the parked topic says: the record that was parked,
// as it was, and why.
type parked struct {
	message event.Message
	reason  event.ParkReason
	since   time.Time // when the record came to the parked topic
	first   time.Time // the first attempt; zero: none
	at      event.Position
	// digest stands for the value where that was too large for the parked
	// topic; the message is empty then.
	digest *digest
}

type digest struct {
	bytes  int
	sha256 string // in hexadecimal
}

// The headers that [event.EncodeParked] and [event.Digest] add.
const (
	parkedReason    = "parked_reason" // the first of those of a parking
	parkedTopic     = "parked_topic"
	parkedPartition = "parked_partition"
	parkedOffset    = "parked_offset"
	parkedEventID   = "parked_event_id"
	parkedFirst     = "parked_first_attempt"
	parkedBytes     = "parked_value_bytes" // before it, where there is a digest
	parkedSHA256    = "parked_value_sha256"
)

// restore takes the parking off a parked record; ok is false where it is none.
// Only the headers of the last parking are its: an input record may have been a
// parked one that somebody sent again by hand. The marks of an earlier resend
// are left out; a new one takes their place. The time is that of the parked
// record, for the other one's is not in it.
func restore(m event.Message) (p parked, ok bool) {
	from := -1
	for i, h := range m.Headers {
		if h.Key == parkedReason {
			from = i
		}
	}
	if from < 0 {
		return parked{}, false
	}
	p.reason, p.since = event.ParkReason(m.Headers[from].Value), m.Timestamp
	ok = p.readPosition(m.Headers[from:])
	p.message = event.Message{Key: m.Key, Value: m.Value, Timestamp: m.Timestamp}
	for _, h := range m.Headers[:from] {
		if !event.IsResendHeader(h.Key) {
			p.message.Headers = append(p.message.Headers, h)
		}
	}
	p.digest = digestOf(p.message)
	return p, ok
}

// readPosition reads where the record lay and when it was first tried.
func (p *parked) readPosition(headers []event.Header) bool {
	var topic, partition, offset bool
	for _, h := range headers {
		text := string(h.Value)
		switch h.Key {
		case parkedTopic:
			p.at.Topic, topic = text, text != ""
		case parkedPartition:
			n, err := strconv.ParseInt(text, 10, 32)
			p.at.Partition, partition = int32(n), err == nil && n >= 0
		case parkedEventID:
			p.at.ID = text
		case parkedOffset:
			n, err := strconv.ParseInt(text, 10, 64)
			p.at.Offset, offset = n, err == nil && n >= 0
		case parkedFirst:
			// One that cannot be read must not pass for "never tried".
			t, err := time.Parse(time.RFC3339, text)
			if err != nil {
				return false
			}
			p.first = t.Truncate(time.Millisecond)
		}
	}
	return topic && partition && offset
}

func digestOf(m event.Message) *digest {
	if m.Key != nil || m.Value != nil || len(m.Headers) != 2 || m.Headers[0].Key != parkedBytes || m.Headers[1].Key != parkedSHA256 {
		return nil
	}
	n, err := strconv.Atoi(string(m.Headers[0].Value))
	if err != nil {
		return nil
	}
	return &digest{bytes: n, sha256: string(m.Headers[1].Value)}
}

// fits reports whether a value is the one that the digest stands for.
func (d *digest) fits(value []byte) bool {
	sum := sha256.Sum256(value)
	return len(value) == d.bytes && hex.EncodeToString(sum[:]) == d.sha256
}

// timeMatters reports whether what the service makes of the record may depend on
// the record's time: that of a record without a trusted event id, and of an
// event that does not say when it happened.
func (p *parked) timeMatters(s *subject) bool {
	return s.event == nil || p.reason == event.ParkInvalidEvent || p.reason == event.ParkConflicting || !s.ownTime()
}

// untimed reports whether the parked record had no timestamp: the service took it
// under an id that tells.
func (p *parked) untimed() bool {
	m := p.message
	m.Timestamp = time.Time{}
	return p.at.ID == event.RecordID(m)
}

// mark is the one that undoes a parking, by the ledger's decision; where the
// ledger has none, for there was none when the record was parked, by the parked
// record.
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
