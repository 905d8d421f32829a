package mercadopago

import (
	"iter"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// maxBody is how much of an answer is read, in bytes; real ones have some two
// thousand. A larger one counts as unreadable.
const maxBody = 256 << 10

// usualBody is room for a real answer, in bytes.
const usualBody = 2 << 10

// body is the JSON of an answer in one shape. Texts and numbers alike are text (ids
// come as both, amounts must never be floats); absent and null are "".
type body struct {
	readable bool    // a JSON object of the shape of an answer
	problem  problem // made of the members Error to Errors

	ID       identifier `json:"id"`
	Status   string     `json:"status"` // a word in a payment, digits in an error
	Payments childList  `json:"payments"`
	Wallet   wallet     `json:"wallet_payment"`
	Payer    payer      `json:"payer"`
	Created  string     `json:"date_created"`
	Updated  string     `json:"date_last_updated"`
	// Reference and Site echo the request.
	Reference string `json:"external_reference"`
	Site      string `json:"site_id"`

	Error   string         `json:"error"`
	Message string         `json:"message"`
	Code    string         `json:"code"`
	Cause   jsontext.Value `json:"cause"`
	Errors  jsontext.Value `json:"errors"`
}

// child is one element of payments.
type child struct {
	ID        string `json:"id"`
	Status    string `json:"status"`
	Detail    string `json:"status_detail"`
	Method    string `json:"payment_method_id"`
	Amount    string `json:"transaction_amount"`
	Reference string `json:"external_reference"`
}

// wallet is wallet_payment.
type wallet struct {
	Amount    string `json:"transaction_amount"`
	Reference string `json:"external_reference"`
	Discount  struct {
		Amount string `json:"amount"`
	} `json:"discount"`
}

// parseBody parses an answer. A body that is no JSON object, or whose payments or
// wallet_payment are of a type that no payment can have, is not readable.
func parseBody(raw []byte) (b body) {
	b.parse(raw)
	return b
}

func (b *body) parse(raw []byte) {
	if len(raw) > maxBody || jsontext.Value(raw).Kind() != jsontext.KindBeginObject || !unmarshal(raw, b) {
		*b = body{}
		return
	}
	b.readable, b.problem = true, b.newProblem()
}

// pathSegment returns the id if it can stand in a URL's path, or "".
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

// numeric reports whether the status is digits, as in errors.
func (b *body) numeric() bool {
	return b.Status != "" && strings.Trim(b.Status, "0123456789") == ""
}

// httpStatus returns the error's own status, or 0 if it names no HTTP error.
func (b *body) httpStatus() int {
	n, err := strconv.Atoi(b.Status)
	if err != nil || !b.numeric() || n < 300 || n > 599 {
		return 0
	}
	return n
}

// isProblem reports whether the body is an error and not a payment.
func (b *body) isProblem() bool {
	return b.numeric() || (b.problem.present && len(b.Payments) == 0)
}

// isAPIError reports whether the body has what every documented error of the API has,
// and the usual ones of gateways have not: a message and a numeric status.
func (b *body) isAPIError() bool { return b.numeric() && b.Message != "" }

// references iterates over all places in which a payment has its reference; "" is
// none.
func (b *body) references() iter.Seq[string] {
	return func(yield func(string) bool) {
		if !yield(b.Reference) || !yield(b.Wallet.Reference) {
			return
		}
		for _, c := range b.Payments {
			if !yield(c.Reference) {
				return
			}
		}
	}
}
