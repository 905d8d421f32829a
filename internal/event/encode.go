package event

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
)

// OutcomeNamespace is the UUIDv5 namespace of outcome ids. It is stated in
// schemas/ and never changes: consumers drop repeated outcomes by their id.
const OutcomeNamespace = "6f2c7a52-57a0-5c0e-9d6c-2b1f4a3e8d11"

// OutcomeID returns the id of the outcome of a type for an event: UUIDv5 of
// "<event id>/<type>" in [OutcomeNamespace].
func OutcomeID(eventID, outcomeType string) uuid.UUID {
	return uuid.NewSHA1(uuid.MustParse(OutcomeNamespace), []byte(eventID+"/"+outcomeType))
}

// Mode is how a CloudEvent is laid out in a Kafka record.
type Mode string

// The modes of the CloudEvents Kafka binding.
const (
	Structured Mode = "structured" // one JSON document
	Binary     Mode = "binary"     // attributes in ce_* headers, the data as the value
)

// Encode returns the record of the outcome of an input record. Its key is the key of the input, or the
// order id if the input has no key. Its bytes are the same whenever the same outcome is encoded.
func (o *Outcome) Encode(inputKey []byte, mode Mode) Message {
	m := Message{Key: inputKey}
	if m.Key == nil {
		m.Key = []byte(o.OrderID)
	}
	id, when, data := OutcomeID(o.EventID, o.Type).String(), o.Time.UTC().Format(timeFormat), o.data()
	if mode == Binary {
		m.Headers = []Header{
			{"ce_specversion", []byte("1.0")},
			{"ce_id", []byte(id)},
			{"ce_source", []byte(Source)},
			{"ce_type", []byte(o.Type)},
			{"ce_subject", []byte(o.Subject)},
			{"ce_time", []byte(when)},
			{"ce_causationid", []byte(o.EventID)},
		}
		if o.TraceParent != "" {
			m.Headers = append(m.Headers, Header{"ce_traceparent", []byte(o.TraceParent)})
		}
		m.Headers = append(m.Headers, Header{"content-type", []byte("application/json")})
		m.Value = encodeJSON(&data)
		return m
	}
	m.Headers = []Header{{Key: "content-type", Value: []byte("application/cloudevents+json; charset=UTF-8")}}
	m.Value = encodeJSON(&outcomeEvent[outcomeData]{
		SpecVersion: "1.0", ID: id, Source: Source, Type: o.Type, Subject: o.Subject, Time: when,
		DataContentType: "application/json", CausationID: o.EventID, TraceParent: o.TraceParent, Data: data,
	})
	return m
}

func (o *Outcome) data() outcomeData {
	d := outcomeData{
		EventID: o.EventID, OrderID: o.OrderID, Amount: o.Amount.String(), Currency: string(o.Amount.Currency()),
		ExternalReference: o.ExternalReference, Provider: Provider, PaymentID: validText(o.PaymentID),
		Reason: validText(o.Reason), Category: o.Category, Retry: o.Retry, Transactions: slices.Clone(o.Transactions),
		ProviderReplayed: o.ProviderReplayed, Replayed: o.Replayed,
	}
	for i := range d.Transactions {
		t := &d.Transactions[i]
		t.ID, t.Status, t.StatusDetail = validText(t.ID), validText(t.Status), validText(t.StatusDetail)
		t.PaymentMethod, t.Amount = validText(t.PaymentMethod), validText(t.Amount)
	}
	if !o.CapturedAt.IsZero() {
		d.CapturedAt = o.CapturedAt.UTC().Format(timeFormat)
	}
	return d
}

// validText replaces what is not UTF-8 in a text of the API, exactly as the ledger does: an outcome
// that is published again has to have the same bytes.
func validText(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// encodeJSON returns the JSON of an outcome. It panics on an error, because structs of texts and booleans
// cannot cause one.
func encodeJSON(outcome any) []byte {
	b, err := json.Marshal(outcome, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		panic(fmt.Errorf("encode outcome: %w", err))
	}
	return b
}

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
