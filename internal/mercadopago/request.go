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

// EncodingVersion numbers the layout that [encodeBody] writes. It goes up when
// the same event would give other bytes, which the API takes for another
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

// encodeBody gives the body of the capture of an event. It is made of the
// event alone, no clock and no map, so the same event gives the same bytes for
// ever, as a key that is sent again needs. The amount is in the currency's
// main unit at its full scale, such as 700.50. The error says which part of
// the event cannot be sent; an event that [event.Decode] made has none.
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
			// The only value that the guide allows; the reference's sample says
			// wallet-tokens.
			TypeToken: "wallet-token",
		},
		// Approved or rejected, nothing between: the page demands it.
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

// Request is one capture to be made, the same for each of its tries, and what
// its answers are held against. Printing one shows its key alone: the body has
// the payer token in it.
type Request struct {
	Key               string // X-Idempotency-Key: the event's id
	Body              []byte
	SessionID         string // X-Meli-Session-Id: the buyer's device, or ""
	Amount            money.Amount
	ExternalReference string

	payer string // the payer token in Body, or "" where NewRequest did not put it there
}

// NewRequest makes the request for an event. The error says which part of the
// event cannot be sent.
func NewRequest(e *event.ReadyToCapture) (Request, error) {
	body, err := encodeBody(e)
	if err != nil {
		return Request{}, err
	}
	r := Request{
		Key: e.ID, Body: body, SessionID: e.DeviceSessionID,
		Amount: e.Amount, ExternalReference: e.ExternalReference, payer: e.PayerToken.Reveal(),
	}
	return r, r.check()
}

// check looks for what would make a charge without a key, or a header that
// cannot be written.
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

// Format prints the key, whatever the verb.
func (r Request) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "capture "+r.Key) // fmt.State keeps its own errors
}

// LogValue is the key, for log/slog.
func (r Request) LogValue() slog.Value { return slog.StringValue("capture " + r.Key) }

// payerToken gives the payer token in the body, to keep it out of texts. Of a
// request that was put together elsewhere the body is asked, not the caller, so
// that it cannot be forgotten.
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

// visible reports whether s is not empty and all printable ASCII, no spaces.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return s != ""
}
