package mercadopago

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
)

// EncodingVersion is the version of the request body's layout. It increases when
// the same event would have another body, which the API would take for another
// request under a used key.
const EncodingVersion = 1

// wireRequest is the body of a capture, its members in the order of the page
// wallet-connect/capture-payment.
type wireRequest struct {
	WalletPayment wireWalletPayment `json:"wallet_payment"`
	Payer         wirePayer         `json:"payer"`
	BinaryMode    bool              `json:"binary_mode"`
}

type wireWalletPayment struct {
	TransactionAmount jsontext.Value   `json:"transaction_amount"`
	Description       string           `json:"description"`
	ExternalReference string           `json:"external_reference"`
	ForwardData       *wireForwardData `json:"forward_data,omitzero"`
}

type wireForwardData struct {
	SubMerchant *event.SubMerchant `json:"sub_merchant"`
}

type wirePayer struct {
	Token     string `json:"token"`
	TypeToken string `json:"type_token"`
}

// encodeBody returns the body of the capture of an event. It depends on the event
// alone, no clock and no map, so the same event always has the same bytes, as a
// retry under its key needs. The amount is in the currency's main unit at its full
// scale, such as 700.50. The error names the part of the event that cannot be sent;
// events from [event.Decode] have none.
func encodeBody(e *event.ReadyToCapture) ([]byte, error) {
	switch {
	case e == nil:
		return nil, errors.New("encode capture: no event")
	case e.Amount.IsZero():
		return nil, errors.New("encode capture: amount is missing")
	case e.PayerToken.IsZero():
		return nil, errors.New("encode capture: payer token is missing")
	}
	w := wireRequest{
		WalletPayment: wireWalletPayment{
			TransactionAmount: jsontext.Value(e.Amount.String()),
			Description:       e.Description,
			ExternalReference: e.ExternalReference,
		},
		Payer: wirePayer{
			Token: e.PayerToken.Reveal(),
			// The only value that the guide allows; the reference's sample has
			// wallet-tokens.
			TypeToken: "wallet-token",
		},
		// Approved or rejected, nothing between: the page requires it.
		BinaryMode: true,
	}
	if e.SubMerchant != nil {
		w.WalletPayment.ForwardData = &wireForwardData{SubMerchant: e.SubMerchant}
	}
	body, err := json.Marshal(&w)
	if err != nil {
		// The library's error may quote a member's text, so it stays behind.
		return nil, errors.New("encode capture: a text of the event is not valid UTF-8")
	}
	return body, nil
}

// Request is one capture, the same for each of its calls, with which the answers
// are compared. It prints as its key alone, because the body has the payer token.
type Request struct {
	Key               string // X-Idempotency-Key: the event's id
	Body              []byte
	SessionID         string // X-Meli-Session-Id: the buyer's device, or ""
	Amount            money.Amount
	ExternalReference string
	Resends           int // how often the same call was made before

	// The payer token and the description in Body; "" if NewRequest did not make it.
	payer, description string
}

// NewRequest returns the request for an event. The error names the part of the event
// that cannot be sent.
func NewRequest(e *event.ReadyToCapture) (Request, error) {
	body, err := encodeBody(e)
	if err != nil {
		return Request{}, err
	}
	r := Request{
		Key: e.ID, Body: body, SessionID: e.DeviceSessionID,
		Amount: e.Amount, ExternalReference: e.ExternalReference, payer: e.PayerToken.Reveal(), description: e.Description,
	}
	return r, r.check()
}

// check returns an error for a request that would charge without a key, or with a
// header that cannot be written.
func (r *Request) check() error {
	switch {
	case !visible(r.Key):
		return errors.New("the idempotency key is empty or not printable ASCII without spaces")
	case r.SessionID != "" && !visible(r.SessionID):
		return errors.New("the device session id is not printable ASCII without spaces")
	case len(r.Body) == 0:
		return errors.New("the body is empty")
	case r.Amount.IsZero():
		return errors.New("the amount is missing")
	}
	return nil
}

// Format implements [fmt.Formatter]: it prints the key, whatever the verb.
func (r Request) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "capture "+r.Key) // fmt.State reports its own errors
}

// LogValue implements [slog.LogValuer]: it returns the key.
func (r Request) LogValue() slog.Value { return slog.StringValue("capture " + r.Key) }

// payerToken returns the payer token in the body, to keep it out of texts. For a
// request that was not made by NewRequest it reads the body, so that no caller can
// forget the token.
func (r *Request) payerToken() string {
	if r.payer != "" {
		return r.payer
	}
	var w struct {
		Payer struct {
			Token string `json:"token"`
		} `json:"payer"`
	}
	if err := json.Unmarshal(r.Body, &w); err != nil {
		return ""
	}
	return w.Payer.Token
}

// visible reports whether s is printable ASCII without spaces, and not empty.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return s != ""
}
