package event

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"payment-capture/internal/money"
)

// OtherSourceError says that a record is an event of an outcome's type that
// another service wrote.
type OtherSourceError struct{ Type, Source string }

func (e *OtherSourceError) Error() string {
	return fmt.Sprintf("%s of source %q", e.Type, printable(e.Source, 128))
}

// wireEnvelope holds the attributes of an outcome in either mode.
type wireEnvelope struct {
	SpecVersion     string         `json:"specversion"`
	ID              string         `json:"id"`
	Source          string         `json:"source"`
	Type            string         `json:"type"`
	Subject         string         `json:"subject"`
	Time            string         `json:"time"`
	DataContentType string         `json:"datacontenttype"`
	CausationID     string         `json:"causationid"`
	TraceParent     string         `json:"traceparent"`
	Data            jsontext.Value `json:"data"`
}

// wireOutcomeData is the data of an outcome as it is read; see [Outcome.appendData]
// for how it is written.
type wireOutcomeData struct {
	EventID           string        `json:"event_id"`
	OrderID           string        `json:"order_id"`
	Amount            string        `json:"amount"`
	Currency          string        `json:"currency"`
	ExternalReference string        `json:"external_reference"`
	Provider          string        `json:"provider"`
	PaymentID         string        `json:"payment_id"`
	Reason            string        `json:"reason"`
	Category          Category      `json:"category"`
	Retry             Retry         `json:"retry"`
	Transactions      []Transaction `json:"transactions"`
	CapturedAt        string        `json:"captured_at"`
	ProviderReplayed  bool          `json:"provider_replayed"`
	Replayed          bool          `json:"replayed"`
}

// DecodeOutcome reads what [Outcome.Encode] writes, in structured or binary
// mode, and gives the id that the record has: [OutcomeID] says what it should
// be. Members that are not known are ignored. Its errors are [*SkipError],
// [*OtherSourceError] and [*InvalidError].
func DecodeOutcome(m Message) (o *Outcome, id string, err error) {
	w, err := readOutcomeEnvelope(m)
	if err != nil {
		return nil, "", err
	}
	switch {
	case !isOutcomeType(w.Type):
		return nil, "", &SkipError{Reason: SkipOtherType, Type: w.Type}
	case w.Source != Source:
		return nil, "", &OtherSourceError{Type: w.Type, Source: w.Source}
	case w.SpecVersion != "1.0":
		return nil, "", invalid("specversion", "is %s: 1.0 is expected", quotedIf(isVersion, w.SpecVersion))
	case w.ID == "":
		return nil, "", invalid("id", "is missing")
	case w.DataContentType != "" && !isJSONType(w.DataContentType):
		return nil, "", invalid("datacontenttype", "is %s: application/json is expected", quotedIf(isMediaType, w.DataContentType))
	case len(w.Data) == 0 || string(w.Data) == "null":
		return nil, "", invalid("data", "is missing")
	}
	var d wireOutcomeData
	if err := json.Unmarshal(w.Data, &d); err != nil {
		return nil, "", notJSON("data", w.Data, err)
	}
	o = &Outcome{Type: w.Type, Subject: w.Subject, TraceParent: w.TraceParent}
	if err := o.takeTimes(w, &d); err != nil {
		return nil, "", err
	}
	if err := o.take(w, &d); err != nil {
		return nil, "", err
	}
	return o, w.ID, nil
}

func isOutcomeType(eventType string) bool {
	return eventType == TypeCaptured || eventType == TypeRejected
}

func readOutcomeEnvelope(m Message) (*wireEnvelope, error) {
	binary, contentType := false, ""
	for _, h := range m.Headers {
		switch {
		case strings.HasPrefix(h.Key, "ce_"):
			binary = true
		case strings.EqualFold(h.Key, "content-type"):
			contentType = string(h.Value)
		}
	}
	if binary && !strings.HasPrefix(strings.ToLower(contentType), "application/cloudevents") {
		return binaryOutcome(m, contentType)
	}
	w := &wireEnvelope{}
	if err := json.Unmarshal(m.Value, w); err != nil {
		// Only what says that it is an outcome is one that is broken.
		if t := glanceAt(m.Value).other; !isOutcomeType(t) {
			return nil, &SkipError{Reason: SkipOtherType, Type: t}
		}
		return nil, notJSON("", m.Value, err)
	}
	return w, nil
}

func binaryOutcome(m Message, contentType string) (*wireEnvelope, error) {
	w := &wireEnvelope{DataContentType: contentType, Data: m.Value}
	attributes := map[string]*string{
		"ce_specversion": &w.SpecVersion, "ce_id": &w.ID, "ce_source": &w.Source, "ce_type": &w.Type, "ce_subject": &w.Subject,
		"ce_time": &w.Time, "ce_causationid": &w.CausationID, "ce_traceparent": &w.TraceParent,
	}
	doubled := ""
	for _, h := range m.Headers {
		if into, ok := attributes[h.Key]; ok {
			if *into != "" {
				doubled = h.Key
			}
			*into = string(h.Value)
		}
	}
	if doubled != "" && isOutcomeType(w.Type) {
		return nil, invalid(doubled, "stands twice in the headers")
	}
	return w, nil
}

func (o *Outcome) takeTimes(w *wireEnvelope, d *wireOutcomeData) error {
	var ok bool
	if o.Time, ok = parseTime(w.Time); !ok {
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

func (o *Outcome) take(w *wireEnvelope, d *wireOutcomeData) error {
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
	case !token(d.EventID, 64):
		return invalid("data.event_id", "must be 1 to 64 printable ASCII characters without spaces")
	case w.CausationID != d.EventID:
		return invalid("causationid", "is not data.event_id")
	case !text(d.OrderID, 256):
		return invalid("data.order_id", "must be 1 to 256 characters, none of them a control character")
	case w.Subject != d.OrderID:
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
