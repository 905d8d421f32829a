package event

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"payment-capture/internal/money"
	"payment-capture/internal/secret"
)

// wireData is the data of order.ready_to_capture as it is written. A pointer
// is nil where the member is absent or null.
type wireData struct {
	OrderID           *string          `json:"order_id"`
	Amount            jsontext.Value   `json:"amount"`
	Currency          *string          `json:"currency"`
	Description       *string          `json:"description"`
	ExternalReference *string          `json:"external_reference"`
	Payer             *wirePayer       `json:"payer"`
	Account           *string          `json:"account"`
	DeviceSessionID   *string          `json:"device_session_id"`
	SubMerchant       *wireSubMerchant `json:"sub_merchant"`
}

type wirePayer struct {
	Token *secret.Text `json:"token"`
}

func (e *ReadyToCapture) takeData(value jsontext.Value) error {
	if len(value) == 0 || string(value) == "null" {
		return invalid("data", "is missing")
	}
	var d wireData
	if err := json.Unmarshal(value, &d); err != nil {
		return notJSON("data", value, err)
	}
	return e.takeMembers(&d)
}

func (e *ReadyToCapture) takeMembers(d *wireData) error {
	if err := e.takeOrder(d); err != nil {
		return err
	}
	if err := e.takeMoney(d); err != nil {
		return err
	}
	if err := e.takePayer(d); err != nil {
		return err
	}
	sub, err := d.SubMerchant.check()
	e.SubMerchant = sub
	return err
}

func (e *ReadyToCapture) takeOrder(d *wireData) error {
	switch {
	case d.OrderID == nil:
		return invalid("data.order_id", "is missing")
	case !text(*d.OrderID, 256):
		return invalid("data.order_id", "must be 1 to 256 characters, none of them a control character")
	case d.Description == nil:
		return invalid("data.description", "is missing: the buyer sees it")
	case !text(*d.Description, 256):
		return invalid("data.description", "must be 1 to 256 characters, none of them a control character")
	case d.Account != nil && !token(*d.Account, 64):
		return invalid("data.account", "must be 1 to 64 printable ASCII characters without spaces")
	case d.DeviceSessionID != nil && !token(*d.DeviceSessionID, 256):
		return invalid("data.device_session_id", "must be 1 to 256 printable ASCII characters without spaces")
	}
	e.OrderID, e.Description = *d.OrderID, *d.Description
	if d.Account != nil {
		e.Account = *d.Account
	}
	if d.DeviceSessionID != nil {
		e.DeviceSessionID = *d.DeviceSessionID
	}
	switch {
	case d.ExternalReference != nil && !isReference(*d.ExternalReference):
		return invalid("data.external_reference", "must be 1 to 64 of A-Z a-z 0-9 _ -")
	case d.ExternalReference != nil:
		e.ExternalReference = *d.ExternalReference
	case !isReference(e.OrderID):
		return invalid("data.external_reference", "is missing, and order_id cannot stand in: it is not 1 to 64 of A-Z a-z 0-9 _ -")
	default:
		e.ExternalReference = e.OrderID
	}
	return nil
}

func (e *ReadyToCapture) takeMoney(d *wireData) error {
	if d.Currency == nil {
		return invalid("data.currency", "is missing")
	}
	currency, err := money.ParseCurrency(*d.Currency)
	if err != nil {
		return invalid("data.currency", "%v", err)
	}
	var number string
	switch byte(d.Amount.Kind()) {
	case '0':
		number = string(d.Amount)
	case '"':
		if bytes.IndexByte(d.Amount, '\\') < 0 {
			number = string(d.Amount[1 : len(d.Amount)-1])
		} else if err := json.Unmarshal([]byte(string(d.Amount)), &number); err != nil { // of a copy, or all of d would escape to the heap
			return notJSON("data.amount", nil, err)
		}
		if !isDecimal(number) {
			return invalid("data.amount", "must be plain decimal digits when it is a string, such as \"700.50\"")
		}
	default:
		if len(d.Amount) == 0 || d.Amount.Kind() == 'n' {
			return invalid("data.amount", "is missing")
		}
		return invalid("data.amount", "must be a decimal string or a number")
	}
	e.Amount, err = money.Parse(number, currency)
	if err != nil {
		return invalid("data.amount", "%v", err)
	}
	return nil
}

func (e *ReadyToCapture) takePayer(d *wireData) error {
	if d.Payer == nil || d.Payer.Token == nil {
		return invalid("data.payer.token", "is missing")
	}
	if !token(d.Payer.Token.Reveal(), 512) {
		return invalid("data.payer.token", "must be 1 to 512 printable ASCII characters without spaces")
	}
	e.PayerToken = *d.Payer.Token
	return nil
}

// wireSubMerchant mirrors [SubMerchant], with absence told from emptiness.
type wireSubMerchant struct {
	ID                *string        `json:"sub_merchant_id"`
	MCC               *string        `json:"mcc"`
	Country           *string        `json:"country"`
	AddressDoorNumber jsontext.Value `json:"address_door_number"`
	Zip               *string        `json:"zip"`
	DocumentNumber    *string        `json:"document_number"`
	City              *string        `json:"city"`
	AddressStreet     *string        `json:"address_street"`
	LegalName         *string        `json:"legal_name"`
	RegionCodeISO     *string        `json:"region_code_iso"`
	RegionCode        *string        `json:"region_code"`
	DocumentType      *string        `json:"document_type"`
	Phone             *string        `json:"phone"`
	URL               *string        `json:"url"`
}

func (w *wireSubMerchant) check() (*SubMerchant, error) {
	if w == nil {
		return nil, nil //nolint:nilnil // absent is fine: the field is optional
	}
	s := &SubMerchant{}
	for _, f := range []struct {
		name string
		from *string
		to   *string
	}{
		{"sub_merchant_id", w.ID, &s.ID},
		{"mcc", w.MCC, &s.MCC},
		{"country", w.Country, &s.Country},
		{"zip", w.Zip, &s.Zip},
		{"document_number", w.DocumentNumber, &s.DocumentNumber},
		{"city", w.City, &s.City},
		{"address_street", w.AddressStreet, &s.AddressStreet},
		{"legal_name", w.LegalName, &s.LegalName},
		{"region_code_iso", w.RegionCodeISO, &s.RegionCodeISO},
		{"region_code", w.RegionCode, &s.RegionCode},
		{"document_type", w.DocumentType, &s.DocumentType},
		{"phone", w.Phone, &s.Phone},
		{"url", w.URL, &s.URL},
	} {
		if f.from == nil {
			return nil, invalid("data.sub_merchant."+f.name, "is missing: all fourteen fields are required")
		}
		if !text(*f.from, 256) {
			return nil, invalid("data.sub_merchant."+f.name, "must be 1 to 256 characters, none of them a control character")
		}
		*f.to = *f.from
	}
	number, err := strconv.ParseUint(string(w.AddressDoorNumber), 10, 31)
	if err != nil {
		return nil, invalid("data.sub_merchant.address_door_number", "must be a whole number, 0 to 2147483647, written plainly")
	}
	s.AddressDoorNumber = uint32(number)
	return s, nil
}

// token reports whether s is 1 to limit printable ASCII characters, no spaces.
func token(s string, limit int) bool {
	if s == "" || len(s) > limit {
		return false
	}
	for i := range len(s) {
		if s[i] <= 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// text reports whether s is 1 to limit characters without control characters.
func text(s string, limit int) bool {
	return s != "" && utf8.RuneCountInString(s) <= limit && !hasControl(s)
}

// hasControl looks for C0 and C1 control characters.
func hasControl(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < 0x20 || (r >= 0x7f && r < 0xa0) }) >= 0 || !utf8.ValidString(s)
}

// isReference reports whether s is 1 to 64 of A-Z a-z 0-9 _ -.
func isReference(s string) bool {
	return s != "" && len(s) <= 64 && strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
	}) < 0
}

// isDecimal reports whether s is digits with at most one point between them
// and no needless leading zero: 700, 700.50, 0.5.
func isDecimal(s string) bool {
	whole, fraction, pointed := strings.Cut(s, ".")
	digits := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
	if !digits(whole) || (len(whole) > 1 && whole[0] == '0') || len(s) > money.MaxText {
		return false
	}
	return !pointed || digits(fraction)
}

// isTraceParent reports whether s is a W3C traceparent of version 00.
func isTraceParent(s string) bool {
	if len(s) != 55 || s[:3] != "00-" || s[35] != '-' || s[52] != '-' {
		return false
	}
	hex := func(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }
	trace, span := s[3:35], s[36:52]
	return hex(trace) && hex(span) && hex(s[53:]) && strings.Trim(trace, "0") != "" && strings.Trim(span, "0") != ""
}
