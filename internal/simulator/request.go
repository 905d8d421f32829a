package simulator

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/shopspring/decimal"
)

// maxRequest bounds a request body of the API, in bytes. Mercado Pago publishes
// no bound; a capture has well under one kibibyte.
const maxRequest = 64 << 10

// maxKey is the longest idempotency key: what the official Python SDK lets pass.
const maxKey = 64

// post is one POST of a capture, as it came in.
type post struct {
	authorization string
	key           string
	mediaType     string
	fingerprint   [sha256.Size]byte // of the body's bytes: a retry must be byte-identical
	tooLarge      bool
	request       captureRequest
	try           int // among the POSTs of its key, from one
}

// captureRequest is what a body says. It is filled as far as it can be read;
// refusal is the first thing wrong with it, nil when it is valid.
type captureRequest struct {
	amountText  string // as in the body, since that is what is echoed
	amount      decimal.Decimal
	description string
	reference   string
	payerToken  string
	reserveOnly bool // capture:false
	refusal     *problem
}

// readPost reads the whole request; the error is that of a client that went away.
func readPost(r *http.Request, scale int32) (*post, error) {
	body, tooLarge, err := readBody(r)
	if err != nil {
		return nil, err
	}
	p := &post{
		authorization: r.Header.Get("Authorization"),
		key:           r.Header.Get("X-Idempotency-Key"),
		fingerprint:   sha256.Sum256(body),
		tooLarge:      tooLarge,
	}
	p.mediaType, _, _ = mime.ParseMediaType(r.Header.Get("Content-Type"))
	if !tooLarge {
		p.request = parseCapture(body, scale)
	}
	return p, nil
}

func readBody(r *http.Request) (body []byte, tooLarge bool, err error) {
	if r.Body == nil {
		return nil, false, nil
	}
	body, err = io.ReadAll(io.LimitReader(r.Body, maxRequest+1))
	if len(body) > maxRequest {
		return nil, true, nil
	}
	return body, false, err
}

// object is a JSON object by its exact names: encoding/json would match the
// fields of a struct whatever their case, and hide a client's mistake.
type object map[string]json.RawMessage

func parseObject(raw json.RawMessage) (object, bool) {
	var o object
	err := json.Unmarshal(raw, &o)
	return o, err == nil && o != nil
}

// text returns a member that is a string; ok is false if it is anything else.
func (o object) text(name string) (value string, ok bool) {
	raw, present := o[name]
	if !present || bytes.Equal(raw, []byte("null")) {
		return "", true
	}
	err := json.Unmarshal(raw, &value)
	return value, err == nil
}

func (o object) present(name string) bool {
	raw, present := o[name]
	return present && !bytes.Equal(raw, []byte("null"))
}

// parseCapture reads a body. The codes are those of the service's list of causes;
// which of them binary_mode and type_token have is undocumented, 400039
// ("request invalid") is our choice.
func parseCapture(body []byte, scale int32) captureRequest {
	var c captureRequest
	refuse := func(message, code string) {
		if c.refusal == nil {
			p := badRequest(message, code)
			c.refusal = &p
		}
	}
	top, ok := parseObject(body)
	if !ok {
		refuse("The content is not a JSON object.", "400053")
		return c
	}
	wallet, ok := parseObject(top["wallet_payment"])
	if !ok {
		refuse("wallet_payment is required.", "400039")
	}
	c.parseAmount(wallet, scale, refuse)
	c.parseReference(wallet, refuse)
	if c.description, ok = wallet.text("description"); !ok {
		refuse("wallet_payment.description is invalid.", "400053")
	}
	if wallet.present("discount") {
		// Discounts are promised by another endpoint, which is not simulated.
		refuse("discount doesn't exist or amount is incorrect", "400136")
	}
	payer, _ := parseObject(top["payer"])
	if c.payerToken, ok = payer.text("token"); !ok || c.payerToken == "" {
		refuse("payer.token is required.", "400029")
	}
	if kind, ok := payer.text("type_token"); !ok || kind != "wallet-token" {
		refuse(`payer.type_token must be "wallet-token".`, "400039")
	}
	if string(top["binary_mode"]) != "true" {
		refuse("binary_mode must be true.", "400039")
	}
	c.reserveOnly = string(top["capture"]) == "false"
	return c
}

// parseAmount works on the text of the number: through a float 0.1 + 0.2 would pass.
func (c *captureRequest) parseAmount(wallet object, scale int32, refuse func(message, code string)) {
	if !wallet.present("transaction_amount") {
		refuse("transaction_amount is required.", "400017")
		return
	}
	text := string(wallet["transaction_amount"])
	amount, err := parseAmount(strings.TrimPrefix(text, "-"))
	switch {
	case err != nil: // a string, an exponent, true, …
		refuse("transaction_amount has an invalid format.", "400021")
		return
	case text[0] == '-' || !amount.IsPositive():
		refuse("transaction_amount must be greater than zero.", "400018")
	case -amount.Exponent() > scale:
		// The text counts: 100.00 pesos is refused if the currency has no cents.
		refuse("transaction_amount has too many decimals.", "400021")
	}
	c.amountText, c.amount = text, amount
}

// parseReference holds the reference to the narrowest rule of the host: 64 of
// letters, digits, hyphen and underscore.
func (c *captureRequest) parseReference(wallet object, refuse func(message, code string)) {
	var ok bool
	c.reference, ok = wallet.text("external_reference")
	switch {
	case ok && c.reference == "":
		refuse("external_reference is required.", "400055")
	case !ok || len(c.reference) > 64 || strings.ContainsFunc(c.reference, foreignToReference):
		refuse("external_reference is invalid.", "400046")
	}
}

func foreignToReference(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
}

// bearer returns the token of an Authorization header.
func bearer(header string) (string, error) {
	scheme, token, found := strings.Cut(header, " ")
	if !found || !strings.EqualFold(scheme, "Bearer") || strings.TrimSpace(token) == "" {
		return "", errors.New("no bearer")
	}
	return strings.TrimSpace(token), nil
}
