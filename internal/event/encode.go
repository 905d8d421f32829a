package event

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

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

// Encode writes the outcome of an input record. The key is the input's, or
// the order id where that has none.
func (o *Outcome) Encode(inputKey []byte, mode Mode) Message {
	m := Message{Key: inputKey}
	if m.Key == nil {
		m.Key = []byte(o.OrderID)
	}
	id := OutcomeID(o.EventID, o.Type)
	if mode == Binary {
		m.Headers = o.headers(id)
		m.Value = o.appendData(o.room())
		return m
	}
	m.Headers = []Header{{Key: "content-type", Value: []byte("application/cloudevents+json; charset=UTF-8")}}
	m.Value = o.appendEvent(o.room(), id)
	return m
}

// room gives what the outcome takes, as a rule.
func (o *Outcome) room() object { return make(object, 0, 704+160*len(o.Transactions)) }

// object is JSON that is being written: a member's comma is put before it, except
// for the first one's.
type object []byte

func (b object) begin() object { return append(b, '{') }

func (b object) end() object { return append(b, '}') }

func (b object) name(name string) object {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = append(b, '"')
	b = append(b, name...)
	return append(b, '"', ':')
}

// text writes a member. What is no valid UTF-8 is replaced, as in the ledger: a
// verdict must not fail by it.
func (b object) text(name, text string) object {
	b, _ = jsontext.AppendQuote(b.name(name), strings.ToValidUTF8(text, "\uFFFD")) // so there is no error
	return b
}

// given is text, where there is any.
func (b object) given(name, text string) object {
	if text == "" {
		return b
	}
	return b.text(name, text)
}

func (b object) time(name string, t time.Time) object {
	b = append(b.name(name), '"')
	return append(t.UTC().AppendFormat(b, timeFormat), '"')
}

func (b object) boolean(name string, is bool) object { return strconv.AppendBool(b.name(name), is) }

func (o *Outcome) appendEvent(b object, id uuid.UUID) object {
	b = b.begin().
		text("specversion", "1.0").
		text("id", id.String()).
		text("source", Source).
		text("type", o.Type).
		text("subject", o.Subject).
		time("time", o.Time).
		text("datacontenttype", "application/json").
		text("causationid", o.EventID).
		given("traceparent", o.TraceParent).
		name("data")
	return o.appendData(b).end()
}

func (o *Outcome) appendData(b object) object {
	b = b.begin().
		text("event_id", o.EventID).
		text("order_id", o.OrderID).
		text("amount", o.Amount.String()).
		text("currency", string(o.Amount.Currency())).
		text("external_reference", o.ExternalReference).
		text("provider", Provider).
		given("payment_id", o.PaymentID).
		given("reason", o.Reason).
		given("category", string(o.Category)).
		given("retry", string(o.Retry)).
		name("transactions")
	b = append(b, '[')
	for i, t := range o.Transactions {
		if i > 0 {
			b = append(b, ',')
		}
		b = b.begin().
			given("id", t.ID).
			given("status", t.Status).
			given("status_detail", t.StatusDetail).
			given("payment_method", t.PaymentMethod).
			given("amount", t.Amount).
			end()
	}
	b = append(b, ']')
	if !o.CapturedAt.IsZero() {
		b = b.time("captured_at", o.CapturedAt)
	}
	return b.boolean("provider_replayed", o.ProviderReplayed).boolean("replayed", o.Replayed).end()
}

func (o *Outcome) headers(id uuid.UUID) []Header {
	hs := []Header{
		{"ce_specversion", []byte("1.0")},
		{"ce_id", []byte(id.String())},
		{"ce_source", []byte(Source)},
		{"ce_type", []byte(o.Type)},
		{"ce_subject", []byte(o.Subject)},
		{"ce_time", o.Time.UTC().AppendFormat(nil, timeFormat)},
		{"ce_causationid", []byte(o.EventID)},
	}
	if o.TraceParent != "" {
		hs = append(hs, Header{"ce_traceparent", []byte(o.TraceParent)})
	}
	return append(hs, Header{"content-type", []byte("application/json")})
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
