package mercadopago

import (
	"errors"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// wireBody takes every member in whatever type it comes, so that one of an
// unexpected type spoils no other. Unknown members are ignored. The members
// read themselves, so an answer is read in one pass.
type wireBody struct {
	ID                wireID       `json:"id"`
	Status            wireText     `json:"status"`
	Payments          wireChildren `json:"payments"`
	WalletPayment     wireWallet   `json:"wallet_payment"`
	Payer             wirePayerID  `json:"payer"`
	ExternalReference wireText     `json:"external_reference"`
	SiteID            wireText     `json:"site_id"`
	DateCreated       wireText     `json:"date_created"`
	DateLastUpdated   wireText     `json:"date_last_updated"`
	wireProblem
}

// errShape says that a member is of a type that no payment can have.
var errShape = errors.New("of no type that a payment has here")

// unmarshal reads JSON with two choices of its own: a member that stands twice
// is an error, since nobody can say which of two statuses holds; bytes that
// are no UTF-8 are let through, since they are in texts that do not decide.
func unmarshal(raw []byte, into any) bool {
	return json.Unmarshal(raw, into, jsontext.AllowInvalidUTF8(true)) == nil
}

// wireText is the text of a string, or of a number or boolean as written; null
// and absent are "". An object or array in a scalar's place gives its opening
// bracket, which no check takes for a known word or for nothing.
type wireText string

// UnmarshalJSONFrom fails on what is no JSON only.
func (t *wireText) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	switch kind := d.PeekKind(); kind {
	case jsontext.KindBeginObject, jsontext.KindBeginArray:
		*t = wireText(kind.String())
		return d.SkipValue()
	case jsontext.KindNull:
		return d.SkipValue()
	default:
		token, err := d.ReadToken()
		if err != nil {
			return err
		}
		*t = wireText(token.String())
		return nil
	}
}

// wireID is an id, a text or a number, that can stand in a URL's path, or "".
type wireID string

// UnmarshalJSONFrom fails on what is no JSON only.
func (id *wireID) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	kind := d.PeekKind()
	if kind != jsontext.KindString && kind != jsontext.KindNumber {
		return d.SkipValue()
	}
	var text wireText
	if err := text.UnmarshalJSONFrom(d); err != nil {
		return err
	}
	*id = wireID(pathSegment(string(text)))
	return nil
}

// wireChildren is an array of objects, one object, null or nothing.
type wireChildren []child

// UnmarshalJSONFrom fails on all else.
func (c *wireChildren) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() != jsontext.KindBeginArray {
		return c.add(d)
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != jsontext.KindEndArray {
		if err := c.add(d); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

// add takes one object, or null.
func (c *wireChildren) add(d *jsontext.Decoder) error {
	var w struct {
		ID                wireText `json:"id"`
		Status            wireText `json:"status"`
		StatusDetail      wireText `json:"status_detail"`
		PaymentMethodID   wireText `json:"payment_method_id"`
		TransactionAmount wireText `json:"transaction_amount"`
		ExternalReference wireText `json:"external_reference"`
	}
	if there, err := object(d, &w); !there {
		return err
	}
	*c = append(*c, child{
		id: string(w.ID), status: string(w.Status), detail: string(w.StatusDetail),
		method: string(w.PaymentMethodID), amount: string(w.TransactionAmount),
		reference: string(w.ExternalReference),
	})
	return nil
}

// wireWallet is an object with an object in it, or null where either would be.
type wireWallet wallet

// UnmarshalJSONFrom fails on all else.
func (to *wireWallet) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	var w struct {
		TransactionAmount wireText     `json:"transaction_amount"`
		ExternalReference wireText     `json:"external_reference"`
		Discount          wireDiscount `json:"discount"`
	}
	if there, err := object(d, &w); !there {
		return err
	}
	*to = wireWallet{amount: string(w.TransactionAmount), reference: string(w.ExternalReference), discount: string(w.Discount)}
	return nil
}

// wireDiscount is the amount of an object, or null.
type wireDiscount wireText

// UnmarshalJSONFrom fails on all else.
func (to *wireDiscount) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	var w struct {
		Amount wireText `json:"amount"`
	}
	_, err := object(d, &w)
	*to = wireDiscount(w.Amount)
	return err
}

// wirePayerID is the id of an object; it decides nothing, so all else is "".
type wirePayerID wireText

// UnmarshalJSONFrom fails on what is no JSON only.
func (to *wirePayerID) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() != jsontext.KindBeginObject {
		return d.SkipValue()
	}
	var w struct {
		ID wireText `json:"id"`
	}
	_, err := object(d, &w)
	*to = wirePayerID(w.ID)
	return err
}

// object reads an object. Where null stands instead, there is nothing to take;
// all else is an error.
func object(d *jsontext.Decoder, into any) (there bool, err error) {
	switch d.PeekKind() {
	case jsontext.KindBeginObject:
		err = json.UnmarshalDecode(d, into)
		return err == nil, err
	case jsontext.KindNull:
		return false, d.SkipValue()
	}
	return false, errShape
}
