package mercadopago

import (
	"iter"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// maxBody is the most of an answer that is read, in bytes; real ones have some
// two thousand. A larger one counts as unreadable.
const maxBody = 256 << 10

// usualBody is room for a real answer, in bytes.
const usualBody = 2 << 10

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

// parseBody reads an answer. A body that is no JSON object, or whose payments
// or wallet_payment are of a type that no payment can have, is not readable.
func parseBody(raw []byte) (b body) {
	b.parse(raw)
	return b
}

func (b *body) parse(raw []byte) {
	if len(raw) > maxBody || !unmarshal(raw, b) {
		*b = body{}
	}
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

// numeric reports whether the status is digits, as errors have it.
func (b *body) numeric() bool {
	return b.status != "" && strings.Trim(b.status, "0123456789") == ""
}

// httpStatus is the error's own status, or 0 where it names no HTTP error.
func (b *body) httpStatus() int {
	n, err := strconv.Atoi(b.status)
	if err != nil || !b.numeric() || n < 300 || n > 599 {
		return 0
	}
	return n
}

// isProblem reports whether the body is an error and no payment.
func (b *body) isProblem() bool {
	return b.numeric() || (b.problem.present && len(b.children) == 0)
}

// references gives what stands in the places where a payment shows its
// reference; "" is none.
func (b *body) references() iter.Seq[string] {
	return func(yield func(string) bool) {
		if !yield(b.reference) || !yield(b.wallet.reference) {
			return
		}
		for _, c := range b.children {
			if !yield(c.reference) {
				return
			}
		}
	}
}
