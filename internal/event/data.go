package event

import (
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"payment-capture/internal/money"
	"payment-capture/internal/secret"
)

// orderData is the data of order.ready_to_capture. A pointer is nil if the member is absent or null.
type orderData struct {
	OrderID           *string        `json:"order_id"`
	Amount            jsontext.Value `json:"amount"`
	Currency          *string        `json:"currency"`
	Description       *string        `json:"description"`
	ExternalReference *string        `json:"external_reference"`
	Payer             struct {
		Token *secret.Text `json:"token"`
	} `json:"payer"`
	Account         *string          `json:"account"`
	DeviceSessionID *string          `json:"device_session_id"`
	SubMerchant     *subMerchantData `json:"sub_merchant"`
}

// setData checks the data and copies them to the event.
func (e *ReadyToCapture) setData(value jsontext.Value) error {
	if len(value) == 0 || string(value) == "null" {
		return invalid("data", "is missing")
	}
	d := &orderData{}
	if err := json.Unmarshal(value, d); err != nil {
		return notJSON("data", value, err)
	}
	if err := e.setOrder(d); err != nil {
		return err
	}
	if err := e.setAmount(d); err != nil {
		return err
	}
	switch {
	case d.Payer.Token == nil:
		return invalid("data.payer.token", "is missing")
	case !isToken(d.Payer.Token.Reveal(), 512):
		return invalid("data.payer.token", "must be 1 to 512 printable ASCII characters without spaces")
	}
	e.PayerToken = *d.Payer.Token
	if d.SubMerchant == nil {
		return nil
	}
	var err error
	e.SubMerchant, err = d.SubMerchant.check()
	return err
}

func (e *ReadyToCapture) setOrder(d *orderData) error {
	switch {
	case d.OrderID == nil:
		return invalid("data.order_id", "is missing")
	case !isText(*d.OrderID, 256):
		return invalid("data.order_id", "must be 1 to 256 characters, none of them a control character")
	case d.Description == nil:
		return invalid("data.description", "is missing: the buyer sees it")
	case !isText(*d.Description, 256):
		return invalid("data.description", "must be 1 to 256 characters, none of them a control character")
	case d.Account != nil && !isToken(*d.Account, 64):
		return invalid("data.account", "must be 1 to 64 printable ASCII characters without spaces")
	case d.DeviceSessionID != nil && !isToken(*d.DeviceSessionID, 256):
		return invalid("data.device_session_id", "must be 1 to 256 printable ASCII characters without spaces")
	case d.ExternalReference != nil && !isReference(*d.ExternalReference):
		return invalid("data.external_reference", "must be 1 to 64 of A-Z a-z 0-9 _ -")
	case d.ExternalReference == nil && !isReference(*d.OrderID):
		return invalid("data.external_reference", "is missing, and order_id cannot stand in: it is not 1 to 64 of A-Z a-z 0-9 _ -")
	}
	e.OrderID, e.Description, e.ExternalReference = *d.OrderID, *d.Description, *d.OrderID
	if d.ExternalReference != nil {
		e.ExternalReference = *d.ExternalReference
	}
	if d.Account != nil {
		e.Account = *d.Account
	}
	if d.DeviceSessionID != nil {
		e.DeviceSessionID = *d.DeviceSessionID
	}
	return nil
}

func (e *ReadyToCapture) setAmount(d *orderData) error {
	if d.Currency == nil {
		return invalid("data.currency", "is missing")
	}
	currency, err := money.ParseCurrency(*d.Currency)
	if err != nil {
		return invalid("data.currency", "%v", err)
	}
	number := []byte(d.Amount)
	switch kind := d.Amount.Kind(); {
	case len(d.Amount) == 0 || kind == 'n':
		return invalid("data.amount", "is missing")
	case kind == '"':
		if number, err = jsontext.AppendUnquote(nil, d.Amount); err != nil {
			return notJSON("data.amount", d.Amount, err)
		}
		if !isDecimal(string(number)) {
			return invalid("data.amount", "must be plain decimal digits when it is a string, such as \"700.50\"")
		}
	case kind != '0':
		return invalid("data.amount", "must be a decimal string or a number")
	}
	e.Amount, err = money.Parse(string(number), currency)
	if err != nil {
		return invalid("data.amount", "%v", err)
	}
	return nil
}

// subMerchantData is the sub-merchant of the data. A text is empty if the member is absent, null or empty.
type subMerchantData struct {
	SubMerchant

	AddressDoorNumber jsontext.Value `json:"address_door_number"` // as it is written; hides the number of SubMerchant
}

func (d *subMerchantData) check() (*SubMerchant, error) {
	s := &d.SubMerchant
	for _, f := range [...]struct{ name, value string }{
		{"sub_merchant_id", s.ID},
		{"mcc", s.MCC},
		{"country", s.Country},
		{"zip", s.Zip},
		{"document_number", s.DocumentNumber},
		{"city", s.City},
		{"address_street", s.AddressStreet},
		{"legal_name", s.LegalName},
		{"region_code_iso", s.RegionCodeISO},
		{"region_code", s.RegionCode},
		{"document_type", s.DocumentType},
		{"phone", s.Phone},
		{"url", s.URL},
	} {
		switch {
		case f.value == "":
			return nil, invalid("data.sub_merchant."+f.name, "is missing or empty: all fourteen fields are required")
		case !isText(f.value, 256):
			return nil, invalid("data.sub_merchant."+f.name, "must be 1 to 256 characters, none of them a control character")
		}
	}
	number, err := strconv.ParseUint(string(d.AddressDoorNumber), 10, 31)
	if err != nil {
		return nil, invalid("data.sub_merchant.address_door_number", "must be a whole number, 0 to 2147483647, written plainly")
	}
	s.AddressDoorNumber = uint32(number)
	return s, nil
}
