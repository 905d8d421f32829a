package event

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// The headers of a parked record. Those of the reason and what follows it are
// added to the input's own; the two of a value's digest stand for the input.
const (
	headerParkedReason         = "parked_reason" // the first one
	headerParkedDetail         = "parked_detail"
	headerParkedTopic          = "parked_topic"
	headerParkedPartition      = "parked_partition"
	headerParkedOffset         = "parked_offset"
	headerParkedEventID        = "parked_event_id"
	headerParkedOrderID        = "parked_order_id"
	headerParkedClaimedEventID = "parked_claimed_event_id"
	headerParkedFirstAttempt   = "parked_first_attempt"
	headerParkedTries          = "parked_tries"
	headerParkedHTTPStatus     = "parked_http_status"
	headerParkedRequestID      = "parked_request_id"
	headerParkedBytes          = "parked_value_bytes"
	headerParkedSHA256         = "parked_value_sha256"
)

// Position is where an input record lies, and the id that the ledger has for it.
type Position struct {
	Topic     string
	Partition int32
	Offset    int64
	ID        string // the event's, or [RecordID] of an invalid record; "": not known
	// OrderID and ClaimedEventID are what the record says of itself, for an operator:
	// see [InvalidError]. Either is "" if it cannot be read, the latter also if it is ID.
	OrderID        string
	ClaimedEventID string
}

// EncodeParked returns the record for the parked topic: the input's key, value
// and headers as they were, and parked_* headers with the reason.
func EncodeParked(input Message, at Position, p *ParkInfo) Message {
	out := Message{Key: input.Key, Value: input.Value}
	out.Headers = append(make([]Header, 0, len(input.Headers)+12), input.Headers...)
	add := func(key, value string) {
		out.Headers = append(out.Headers, Header{Key: key, Value: []byte(value)})
	}
	add(headerParkedReason, string(p.Reason))
	add(headerParkedDetail, p.Detail)
	add(headerParkedTopic, at.Topic)
	add(headerParkedPartition, strconv.FormatInt(int64(at.Partition), 10))
	add(headerParkedOffset, strconv.FormatInt(at.Offset, 10))
	if at.ID != "" {
		add(headerParkedEventID, at.ID)
	}
	if at.OrderID != "" {
		add(headerParkedOrderID, at.OrderID)
	}
	if at.ClaimedEventID != "" {
		add(headerParkedClaimedEventID, at.ClaimedEventID)
	}
	if !p.FirstAttempt.IsZero() {
		add(headerParkedFirstAttempt, p.FirstAttempt.UTC().Format(time.RFC3339Nano))
	}
	add(headerParkedTries, strconv.Itoa(p.Tries))
	if p.HTTPStatus != 0 {
		add(headerParkedHTTPStatus, strconv.Itoa(p.HTTPStatus))
	}
	if p.RequestID != "" {
		add(headerParkedRequestID, p.RequestID)
	}
	return out
}

// Digest returns what stands for an input that is larger than the parked topic
// takes: the length and the SHA-256 of its value, in two headers, and nothing
// else. The record itself is where it was.
func Digest(input Message) Message {
	sum := sha256.Sum256(input.Value)
	return Message{Headers: []Header{
		{Key: headerParkedBytes, Value: []byte(strconv.Itoa(len(input.Value)))},
		{Key: headerParkedSHA256, Value: []byte(hex.EncodeToString(sum[:]))},
	}}
}

// ErrNotParked reports that a record is not a parked record of this service.
var ErrNotParked = errors.New("not a parked record")

// ParkedRecord is a record of the parked topic, decoded.
type ParkedRecord struct {
	// Input is the input record as it was, with the timestamp of the parked
	// record: its own is not in the parked topic.
	Input    Message
	Position Position
	Reason   ParkReason
	// FirstAttempt is when the event was first called for, to the millisecond;
	// zero: never.
	FirstAttempt time.Time
	// Digest stands for the value if that was too large for the parked topic;
	// Input has only the timestamp then. nil: Input is complete.
	Digest *ValueDigest
}

// ValueDigest identifies a value by its length and its SHA-256.
type ValueDigest struct {
	bytes  int
	sha256 string // in hexadecimal
}

// Matches reports whether the digest is that of a value.
func (d *ValueDigest) Matches(value []byte) bool {
	sum := sha256.Sum256(value)
	return len(value) == d.bytes && hex.EncodeToString(sum[:]) == d.sha256
}

// DecodeParked reverses [EncodeParked]. Only the headers from the last reason on
// belong to the service: the input may be a parked record itself that an operator
// sent again by hand. The error is [ErrNotParked] with the header that is missing
// or damaged; the result then has what could be read.
func DecodeParked(m Message) (ParkedRecord, error) {
	begin := -1
	for i, h := range m.Headers {
		if h.Key == headerParkedReason {
			begin = i
		}
	}
	if begin < 0 {
		return ParkedRecord{}, fmt.Errorf("%w: no header %s", ErrNotParked, headerParkedReason)
	}
	p := ParkedRecord{Input: m, Position: Position{Partition: -1, Offset: -1}, Reason: ParkReason(m.Headers[begin].Value)}
	p.Input.Headers = m.Headers[:begin:begin]
	p.Digest = decodeDigest(p.Input)
	if p.Digest != nil {
		p.Input = Message{Timestamp: m.Timestamp}
	}
	var failed error
	for _, h := range m.Headers[begin+1:] {
		if err := p.decodeHeader(h.Key, string(h.Value)); err != nil && failed == nil {
			failed = fmt.Errorf("%w: header %s: %w", ErrNotParked, h.Key, err)
		}
	}
	switch {
	case failed != nil:
	case p.Position.Topic == "":
		failed = fmt.Errorf("%w: no header %s", ErrNotParked, headerParkedTopic)
	case p.Position.Partition < 0:
		failed = fmt.Errorf("%w: no header %s, or a negative one", ErrNotParked, headerParkedPartition)
	case p.Position.Offset < 0:
		failed = fmt.Errorf("%w: no header %s, or a negative one", ErrNotParked, headerParkedOffset)
	}
	return p, failed
}

func (p *ParkedRecord) decodeHeader(key, value string) (err error) {
	switch key {
	case headerParkedTopic:
		p.Position.Topic = value
	case headerParkedPartition:
		var n int64
		n, err = strconv.ParseInt(value, 10, 32)
		p.Position.Partition = int32(n)
	case headerParkedOffset:
		p.Position.Offset, err = strconv.ParseInt(value, 10, 64)
	case headerParkedEventID:
		p.Position.ID = value
	case headerParkedOrderID:
		p.Position.OrderID = value
	case headerParkedClaimedEventID:
		p.Position.ClaimedEventID = value
	case headerParkedFirstAttempt:
		// A damaged time must not pass for "never called".
		var first time.Time
		first, err = time.Parse(time.RFC3339, value)
		p.FirstAttempt = first.Truncate(time.Millisecond)
	}
	return err
}

// decodeDigest reverses [Digest]; nil: the message is not a digest.
func decodeDigest(m Message) *ValueDigest {
	if m.Key != nil || m.Value != nil || len(m.Headers) != 2 || m.Headers[0].Key != headerParkedBytes ||
		m.Headers[1].Key != headerParkedSHA256 {
		return nil
	}
	n, err := strconv.Atoi(string(m.Headers[0].Value))
	if err != nil {
		return nil
	}
	return &ValueDigest{bytes: n, sha256: string(m.Headers[1].Value)}
}
