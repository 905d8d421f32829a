package mercadopago

import (
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxBody is the most of an answer that is read, in bytes; real ones have some
// two thousand. A larger one counts as unreadable.
const maxBody = 256 << 10

// body is an answer's JSON in one shape, whatever spelling it came in: texts
// and numbers alike are text (ids come as both, amounts must never be floats),
// absent and null are "".
type body struct {
	readable bool // a JSON object of the shape that an answer can have
	id       string
	status   string // a word in a payment, digits in an error
	children []child
	wallet   wallet
	// reference and site are the echo of what was asked.
	reference string
	site      string
	payerID   string
	created   string
	updated   string
	problem   problem
}

// child is one element of payments.
type child struct {
	id, status, detail, method, amount, reference string
}

// wallet is wallet_payment.
type wallet struct {
	amount, discount, reference string
}

// wireBody takes every member as it is, so that a member of an unexpected type
// spoils no other. Unknown members are ignored.
type wireBody struct {
	ID                jsontext.Value `json:"id"`
	Status            jsontext.Value `json:"status"`
	Payments          jsontext.Value `json:"payments"`
	WalletPayment     jsontext.Value `json:"wallet_payment"`
	Payer             jsontext.Value `json:"payer"`
	ExternalReference jsontext.Value `json:"external_reference"`
	SiteID            jsontext.Value `json:"site_id"`
	DateCreated       jsontext.Value `json:"date_created"`
	DateLastUpdated   jsontext.Value `json:"date_last_updated"`
	wireProblem
}

type wireChild struct {
	ID                jsontext.Value `json:"id"`
	Status            jsontext.Value `json:"status"`
	StatusDetail      jsontext.Value `json:"status_detail"`
	PaymentMethodID   jsontext.Value `json:"payment_method_id"`
	TransactionAmount jsontext.Value `json:"transaction_amount"`
	ExternalReference jsontext.Value `json:"external_reference"`
}

type wireWallet struct {
	TransactionAmount jsontext.Value `json:"transaction_amount"`
	ExternalReference jsontext.Value `json:"external_reference"`
	Discount          jsontext.Value `json:"discount"`
}

// unmarshal reads JSON with two choices of its own: a member that stands twice
// is an error, since nobody can say which of two statuses holds; bytes that
// are no UTF-8 are let through, since they are in texts that do not decide.
func unmarshal(raw []byte, into any) bool {
	return json.Unmarshal(raw, into, jsontext.AllowInvalidUTF8(true)) == nil
}

// parseBody reads an answer. A body that is no JSON object, or whose payments
// or wallet_payment are of a type that no payment can have, is not readable.
func parseBody(raw []byte) body {
	var w wireBody
	if len(raw) > maxBody || !unmarshal(raw, &w) || firstByte(raw) != '{' {
		return body{}
	}
	b := body{
		readable: true,
		id:       identifier(w.ID), status: scalar(w.Status),
		reference: scalar(w.ExternalReference), site: scalar(w.SiteID),
		created: scalar(w.DateCreated), updated: scalar(w.DateLastUpdated),
		problem: w.problem(),
	}
	var ok bool
	if b.children, ok = parseChildren(w.Payments); !ok {
		return body{}
	}
	if b.wallet, ok = parseWallet(w.WalletPayment); !ok {
		return body{}
	}
	var payer struct {
		ID jsontext.Value `json:"id"`
	}
	if w.Payer.Kind() == '{' && unmarshal(w.Payer, &payer) {
		b.payerID = scalar(payer.ID)
	}
	return b
}

// parseChildren takes an array of objects, one object, null or nothing.
func parseChildren(raw jsontext.Value) ([]child, bool) {
	var elements []jsontext.Value
	switch byte(raw.Kind()) {
	case '[':
		if !unmarshal(raw, &elements) {
			return nil, false
		}
	case '{':
		elements = []jsontext.Value{raw}
	default:
		return nil, absent(raw)
	}
	var children []child
	for _, element := range elements {
		var w wireChild
		if absent(element) {
			continue
		}
		if element.Kind() != '{' || !unmarshal(element, &w) {
			return nil, false
		}
		children = append(children, child{
			id: scalar(w.ID), status: scalar(w.Status), detail: scalar(w.StatusDetail),
			method: scalar(w.PaymentMethodID), amount: scalar(w.TransactionAmount),
			reference: scalar(w.ExternalReference),
		})
	}
	return children, true
}

func parseWallet(raw jsontext.Value) (wallet, bool) {
	if absent(raw) {
		return wallet{}, true
	}
	var w wireWallet
	if raw.Kind() != '{' || !unmarshal(raw, &w) {
		return wallet{}, false
	}
	out := wallet{amount: scalar(w.TransactionAmount), reference: scalar(w.ExternalReference)}
	if absent(w.Discount) {
		return out, true
	}
	var discount struct {
		Amount jsontext.Value `json:"amount"`
	}
	if w.Discount.Kind() != '{' || !unmarshal(w.Discount, &discount) {
		return wallet{}, false
	}
	out.discount = scalar(discount.Amount)
	return out, true
}

// absent reports whether a member is missing or null.
func absent(v jsontext.Value) bool {
	k := v.Kind()
	return len(v) == 0 || k == 'n'
}

// scalar gives the text of a string, or of a number or boolean as written. An
// object or array in a scalar's place gives its opening bracket, which no
// check takes for a known word or for nothing.
func scalar(v jsontext.Value) string {
	switch byte(v.Kind()) {
	case '"':
		var text string
		if !unmarshal(v, &text) {
			return "?"
		}
		return text
	case '0', 't', 'f':
		return string(v)
	case '{', '[':
		return string(v[:1])
	}
	return ""
}

// identifier gives an id, a text or a number, that can stand in a URL's path, or
// "".
func identifier(v jsontext.Value) string {
	if k := byte(v.Kind()); k != '"' && k != '0' {
		return ""
	}
	return pathSegment(scalar(v))
}

// pathSegment gives the id if it can stand in a URL's path, or "".
func pathSegment(id string) string {
	if len(id) > 64 {
		return ""
	}
	for i := range len(id) {
		c := id[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return ""
		}
	}
	return id
}

func firstByte(raw []byte) byte {
	text := strings.TrimLeft(string(raw[:min(len(raw), 1024)]), " \t\r\n")
	if text == "" {
		return 0
	}
	return text[0]
}

// numeric reports whether the status is digits, as errors have it.
func (b body) numeric() bool {
	return b.status != "" && strings.Trim(b.status, "0123456789") == ""
}

// httpStatus is the error's own status, or 0 where it names no HTTP error.
func (b body) httpStatus() int {
	n, err := strconv.Atoi(b.status)
	if err != nil || !b.numeric() || n < 300 || n > 599 {
		return 0
	}
	return n
}

// isProblem reports whether the body is an error and no payment.
func (b body) isProblem() bool {
	return b.numeric() || (b.problem.present && len(b.children) == 0)
}
