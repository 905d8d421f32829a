package event

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
)

// OutcomeNamespace is the UUIDv5 namespace of outcome ids. It is stated in
// schemas/ and never changes: consumers drop repeated outcomes by their id.
const OutcomeNamespace = "6f2c7a52-57a0-5c0e-9d6c-2b1f4a3e8d11"

// OutcomeID gives the id of the outcome of a type for an event: UUIDv5 of
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

// wireOutcomeData is the data of an outcome, its members in this order.
type wireOutcomeData struct {
	EventID           string        `json:"event_id"`
	OrderID           string        `json:"order_id"`
	Amount            string        `json:"amount"`
	Currency          string        `json:"currency"`
	ExternalReference string        `json:"external_reference"`
	Provider          string        `json:"provider"`
	PaymentID         string        `json:"payment_id,omitzero"`
	Reason            string        `json:"reason,omitzero"`
	Category          Category      `json:"category,omitzero"`
	Retry             Retry         `json:"retry,omitzero"`
	Transactions      []Transaction `json:"transactions"`
	CapturedAt        string        `json:"captured_at,omitzero"`
	ProviderReplayed  bool          `json:"provider_replayed"`
	Replayed          bool          `json:"replayed"`
}

type wireOutcome struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Source          string          `json:"source"`
	Type            string          `json:"type"`
	Subject         string          `json:"subject"`
	Time            string          `json:"time"`
	DataContentType string          `json:"datacontenttype"`
	CausationID     string          `json:"causationid"`
	TraceParent     string          `json:"traceparent,omitzero"`
	Data            wireOutcomeData `json:"data"`
}

// Encode writes the outcome of an input record. The key is the input's, or
// the order id where that has none.
func (o *Outcome) Encode(inputKey []byte, mode Mode) (Message, error) {
	w := wireOutcome{
		SpecVersion:     "1.0",
		ID:              OutcomeID(o.EventID, o.Type).String(),
		Source:          Source,
		Type:            o.Type,
		Subject:         o.Subject,
		Time:            o.Time.UTC().Format(timeFormat),
		DataContentType: "application/json",
		CausationID:     o.EventID,
		TraceParent:     o.TraceParent,
		Data: wireOutcomeData{
			EventID:           o.EventID,
			OrderID:           o.OrderID,
			Amount:            o.Amount.String(),
			Currency:          string(o.Amount.Currency()),
			ExternalReference: o.ExternalReference,
			Provider:          Provider,
			PaymentID:         o.PaymentID,
			Reason:            o.Reason,
			Category:          o.Category,
			Retry:             o.Retry,
			Transactions:      o.Transactions,
			ProviderReplayed:  o.ProviderReplayed,
			Replayed:          o.Replayed,
		},
	}
	if !o.CapturedAt.IsZero() {
		w.Data.CapturedAt = o.CapturedAt.UTC().Format(timeFormat)
	}
	m := Message{Key: inputKey}
	if m.Key == nil {
		m.Key = []byte(o.OrderID)
	}
	// The API's texts may hold invalid UTF-8; a verdict must not fail by it.
	lenient := jsontext.AllowInvalidUTF8(true)
	var err error
	if mode == Binary {
		m.Headers = w.headers()
		m.Value, err = json.Marshal(&w.Data, lenient)
	} else {
		m.Headers = []Header{{Key: "content-type", Value: []byte("application/cloudevents+json; charset=UTF-8")}}
		m.Value, err = json.Marshal(&w, lenient)
	}
	if err != nil {
		return Message{}, fmt.Errorf("encode %s of event %s: %w", o.Type, o.EventID, err)
	}
	return m, nil
}

func (w *wireOutcome) headers() []Header {
	hs := []Header{
		{"ce_specversion", []byte(w.SpecVersion)},
		{"ce_id", []byte(w.ID)},
		{"ce_source", []byte(w.Source)},
		{"ce_type", []byte(w.Type)},
		{"ce_subject", []byte(w.Subject)},
		{"ce_time", []byte(w.Time)},
		{"ce_causationid", []byte(w.CausationID)},
	}
	if w.TraceParent != "" {
		hs = append(hs, Header{"ce_traceparent", []byte(w.TraceParent)})
	}
	return append(hs, Header{"content-type", []byte(w.DataContentType)})
}

// Position is where a record lay.
type Position struct {
	Topic     string
	Partition int32
	Offset    int64
}

// EncodeParked gives the record for the parked topic: the input's key, value
// and headers as they were, and parked_* headers with the reason.
func EncodeParked(input Message, at Position, p *Parking) Message {
	out := Message{Key: input.Key, Value: input.Value}
	out.Headers = append(make([]Header, 0, len(input.Headers)+9), input.Headers...)
	add := func(key, value string) {
		out.Headers = append(out.Headers, Header{Key: "parked_" + key, Value: []byte(value)})
	}
	add("reason", string(p.Reason))
	add("detail", p.Detail)
	add("topic", at.Topic)
	add("partition", strconv.FormatInt(int64(at.Partition), 10))
	add("offset", strconv.FormatInt(at.Offset, 10))
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
