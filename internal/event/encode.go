package event

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"
)

// Position is where a record lay, and what the ledger knows it by.
type Position struct {
	Topic     string
	Partition int32
	Offset    int64
	ID        string // the event's, or of no valid event [RecordID]; "": not given
	// OrderID and ClaimedEventID are what the record says of itself, for an operator:
	// see [InvalidError]. Either is "" if it cannot be read, the latter also if it is ID.
	OrderID        string
	ClaimedEventID string
}

// EncodeParked gives the record for the parked topic: the input's key, value
// and headers as they were, and parked_* headers with the reason.
func EncodeParked(input Message, at Position, p *ParkInfo) Message {
	out := Message{Key: input.Key, Value: input.Value}
	out.Headers = append(make([]Header, 0, len(input.Headers)+12), input.Headers...)
	add := func(key, value string) {
		out.Headers = append(out.Headers, Header{Key: "parked_" + key, Value: []byte(value)})
	}
	add("reason", string(p.Reason))
	add("detail", p.Detail)
	add("topic", at.Topic)
	add("partition", strconv.FormatInt(int64(at.Partition), 10))
	add("offset", strconv.FormatInt(at.Offset, 10))
	if at.ID != "" {
		add("event_id", at.ID)
	}
	if at.OrderID != "" {
		add("order_id", at.OrderID)
	}
	if at.ClaimedEventID != "" {
		add("claimed_event_id", at.ClaimedEventID)
	}
	if !p.FirstAttempt.IsZero() {
		add("first_attempt", p.FirstAttempt.UTC().Format(time.RFC3339Nano))
	}
	add("tries", strconv.Itoa(p.Tries))
	if p.HTTPStatus != 0 {
		add("http_status", strconv.Itoa(p.HTTPStatus))
	}
	if p.RequestID != "" {
		add("request_id", p.RequestID)
	}
	return out
}

// Digest stands for an input that is larger than the parked topic takes: the
// length and the SHA-256 of its value, in two headers, and nothing else. The
// record itself is where it was.
func Digest(input Message) Message {
	sum := sha256.Sum256(input.Value)
	return Message{Headers: []Header{
		{Key: "parked_value_bytes", Value: []byte(strconv.Itoa(len(input.Value)))},
		{Key: "parked_value_sha256", Value: []byte(hex.EncodeToString(sum[:]))},
	}}
}
