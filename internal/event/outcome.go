package event

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"payment-capture/internal/money"
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

// outcomeEvent is an outcome in structured mode. D is [outcomeData] for encoding, and their JSON for
// decoding, because the attributes are checked first.
type outcomeEvent[D any] struct {
	SpecVersion     string `json:"specversion"`
	ID              string `json:"id"`
	Source          string `json:"source"`
	Type            string `json:"type"`
	Subject         string `json:"subject"`
	Time            string `json:"time"`
	DataContentType string `json:"datacontenttype"`
	CausationID     string `json:"causationid"`
	TraceParent     string `json:"traceparent,omitzero"`
	Data            D      `json:"data"`
}

// outcomeData is the data of an outcome.
type outcomeData struct {
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

// Encode returns the record of the outcome. Its key is the key of the input record, or the order id if
// that has none. Equal outcomes have equal bytes.
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
		ExternalReference: o.ExternalReference, Provider: provider, PaymentID: validText(o.PaymentID),
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

// validText replaces what is not UTF-8 in a text of the API. The ledger does the same, so an outcome
// that is published again has the same bytes.
func validText(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// encodeJSON returns the JSON of an outcome. It panics on an error, which structs of texts and booleans
// cannot cause.
func encodeJSON(outcome any) []byte {
	b, err := json.Marshal(outcome, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		panic(fmt.Errorf("encode outcome: %w", err))
	}
	return b
}

// DecodeOutcome decodes what [Outcome.Encode] returns, in structured or binary
// mode. It also returns the id of the record, which should be [OutcomeID]. It
// ignores unknown members. Its errors are [*SkipError], [*OtherSourceError]
// and [*InvalidError].
func DecodeOutcome(m Message) (o *Outcome, id string, err error) {
	e, err := readOutcomeEvent(m)
	if err != nil {
		return nil, "", err
	}
	switch {
	case !isOutcomeType(e.Type):
		return nil, "", &SkipError{Reason: SkipOtherType, Type: e.Type}
	case e.Source != Source:
		return nil, "", &OtherSourceError{Type: e.Type, Source: e.Source}
	case e.SpecVersion != "1.0":
		return nil, "", invalid("specversion", "is %s: 1.0 is expected", quotedIf(isVersion, e.SpecVersion))
	case e.ID == "":
		return nil, "", invalid("id", "is missing")
	case e.DataContentType != "" && !isJSONType(e.DataContentType):
		return nil, "", invalid("datacontenttype", "is %s: application/json is expected", quotedIf(isMediaType, e.DataContentType))
	case len(e.Data) == 0 || string(e.Data) == "null":
		return nil, "", invalid("data", "is missing")
	}
	var d outcomeData
	if err := json.Unmarshal(e.Data, &d); err != nil {
		return nil, "", notJSON("data", e.Data, err)
	}
	o = &Outcome{Type: e.Type, Subject: e.Subject, TraceParent: e.TraceParent}
	if err := o.setTimes(e.Time, &d); err != nil {
		return nil, "", err
	}
	if err := o.setData(e.CausationID, &d); err != nil {
		return nil, "", err
	}
	return o, e.ID, nil
}

func isOutcomeType(eventType string) bool {
	return eventType == TypeCaptured || eventType == TypeRejected
}

func readOutcomeEvent(m Message) (*outcomeEvent[jsontext.Value], error) {
	h := readHeaders(m.Headers)
	e := &outcomeEvent[jsontext.Value]{}
	if h.inValue() {
		if err := json.Unmarshal(m.Value, e); err != nil {
			// Only a record whose type can be read, and is that of an outcome, is a broken outcome.
			if t := outlineOf(m.Value).otherType; !isOutcomeType(t) {
				return nil, &SkipError{Reason: SkipOtherType, Type: t}
			}
			return nil, notJSON("", m.Value, err)
		}
		return e, nil
	}
	*e = outcomeEvent[jsontext.Value]{
		SpecVersion:     string(h.values[attrSpecVersion]),
		ID:              string(h.values[attrID]),
		Source:          string(h.values[attrSource]),
		Type:            string(h.values[attrType]),
		Subject:         string(h.values[attrSubject]),
		Time:            string(h.values[attrTime]),
		DataContentType: string(h.contentType),
		CausationID:     string(h.values[attrCausationID]),
		TraceParent:     string(h.values[attrTraceParent]),
		Data:            m.Value,
	}
	if isOutcomeType(e.Type) {
		return e, h.checkOnce(attrCount)
	}
	return e, nil
}

func (o *Outcome) setTimes(time string, d *outcomeData) error {
	var ok bool
	if o.Time, ok = parseTime(time); !ok {
		return invalid("time", "is not an RFC 3339 time")
	}
	if d.CapturedAt == "" && o.Type == TypeCaptured {
		return invalid("data.captured_at", "is missing")
	}
	if d.CapturedAt != "" {
		if o.CapturedAt, ok = parseTime(d.CapturedAt); !ok {
			return invalid("data.captured_at", "is not an RFC 3339 time")
		}
	}
	return nil
}

func (o *Outcome) setData(causationID string, d *outcomeData) error {
	currency, err := money.ParseCurrency(d.Currency)
	if err != nil {
		return invalid("data.currency", "%v", err)
	}
	if o.Amount, err = money.Parse(d.Amount, currency); err != nil {
		return invalid("data.amount", "%v", err)
	}
	switch {
	case o.Amount.String() != d.Amount:
		return invalid("data.amount", "must have exactly the decimal places of its currency")
	case !isToken(d.EventID, 64):
		return invalid("data.event_id", "must be 1 to 64 printable ASCII characters without spaces")
	case causationID != d.EventID:
		return invalid("causationid", "is not data.event_id")
	case !isText(d.OrderID, 256):
		return invalid("data.order_id", "must be 1 to 256 characters, none of them a control character")
	case o.Subject != d.OrderID:
		return invalid("subject", "is not data.order_id")
	case !isReference(d.ExternalReference):
		return invalid("data.external_reference", "must be 1 to 64 of A-Z a-z 0-9 _ -")
	case d.Provider != provider:
		return invalid("data.provider", "is not %s", provider)
	case o.Type == TypeCaptured && d.PaymentID == "":
		return invalid("data.payment_id", "is missing")
	case o.Type == TypeCaptured && (d.Reason != "" || d.Category != "" || d.Retry != ""):
		return invalid("data.reason", "belongs to a rejection")
	case o.Type == TypeRejected && d.Reason == "":
		return invalid("data.reason", "is missing")
	case o.Type == TypeRejected && !slices.Contains(categories(), d.Category):
		return invalid("data.category", "is not in the list of the schema")
	case o.Type == TypeRejected && !slices.Contains(retries(), d.Retry):
		return invalid("data.retry", "is not in the list of the schema")
	}
	o.EventID, o.OrderID, o.ExternalReference, o.PaymentID = d.EventID, d.OrderID, d.ExternalReference, d.PaymentID
	o.Transactions, o.ProviderReplayed, o.Replayed = d.Transactions, d.ProviderReplayed, d.Replayed
	o.Reason, o.Category, o.Retry = d.Reason, d.Category, d.Retry
	return nil
}

func categories() []Category {
	return []Category{
		CategoryInsufficientFunds, CategoryDeclined, CategoryFraud, CategoryAgreementCancelled, CategoryInvalidPaymentMethod, CategoryOther,
	}
}

func retries() []Retry { return []Retry{RetryNever, RetryLater, RetryBuyerAction} }
