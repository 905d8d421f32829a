package event

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"payment-capture/internal/money"
)

// OtherSourceError reports that a record has the type of an outcome, but another
// service wrote it.
type OtherSourceError struct{ Type, Source string }

func (e *OtherSourceError) Error() string {
	return fmt.Sprintf("%s of source %q", e.Type, printable(e.Source, 128))
}

// outcomeEvent is an outcome in structured mode. Its data are encoded when the outcome is decoded.
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
			// A broken record is an outcome only if its type is readable and that of an outcome.
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
		return invalid("time", "is no RFC 3339 time")
	}
	if d.CapturedAt == "" && o.Type == TypeCaptured {
		return invalid("data.captured_at", "is missing")
	}
	if d.CapturedAt != "" {
		if o.CapturedAt, ok = parseTime(d.CapturedAt); !ok {
			return invalid("data.captured_at", "is no RFC 3339 time")
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
	case d.Provider != Provider:
		return invalid("data.provider", "is not %s", Provider)
	case o.Type == TypeCaptured && d.PaymentID == "":
		return invalid("data.payment_id", "is missing")
	case o.Type == TypeCaptured && (d.Reason != "" || d.Category != "" || d.Retry != ""):
		return invalid("data.reason", "belongs to a rejection")
	case o.Type == TypeRejected && d.Reason == "":
		return invalid("data.reason", "is missing")
	case o.Type == TypeRejected && !d.Category.known():
		return invalid("data.category", "is none of the list")
	case o.Type == TypeRejected && !d.Retry.known():
		return invalid("data.retry", "is none of the list")
	}
	o.EventID, o.OrderID, o.ExternalReference, o.PaymentID = d.EventID, d.OrderID, d.ExternalReference, d.PaymentID
	o.Transactions, o.ProviderReplayed, o.Replayed = d.Transactions, d.ProviderReplayed, d.Replayed
	o.Reason, o.Category, o.Retry = d.Reason, d.Category, d.Retry
	return nil
}

func (c Category) known() bool {
	switch c {
	case CategoryInsufficientFunds, CategoryDeclined, CategoryFraud, CategoryAgreementCancelled, CategoryInvalidPaymentMethod, CategoryOther:
		return true
	}
	return false
}

func (r Retry) known() bool {
	switch r {
	case RetryNever, RetryLater, RetryBuyerAction:
		return true
	}
	return false
}
