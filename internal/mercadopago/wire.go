package mercadopago

import (
	"errors"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// unmarshal reads JSON with two choices of its own: a member that stands twice
// is an error, since nobody can say which of two statuses holds; bytes that
// are no UTF-8 are let through, since they are in texts that do not decide.
func unmarshal(raw []byte, into any) bool {
	return json.Unmarshal(raw, into, jsontext.AllowInvalidUTF8(true)) == nil
}

// UnmarshalJSONFrom reads an object member by member, in one pass: a member of
// an unexpected type spoils no other, and those that are not known are passed
// over. It fails where payments or wallet_payment are of a type that no payment
// can have.
func (b *body) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	r := reader{d: d}
	var p wireProblem
	r.begin()
	for name, ok := r.next(); ok; name, ok = r.next() {
		switch name.String() {
		case "id":
			b.id = r.id()
		case "status":
			b.status = r.text()
		case "payments":
			b.children = r.children()
		case "wallet_payment":
			b.wallet = r.wallet()
		case "payer":
			b.payerID = r.payerID()
		case "external_reference":
			b.reference = r.text()
		case "site_id":
			b.site = r.text()
		case "date_created":
			b.created = r.text()
		case "date_last_updated":
			b.updated = r.text()
		case "error":
			p.err = r.text()
		case "message":
			p.message = r.text()
		case "code":
			p.code = r.text()
		case "cause":
			p.cause = r.value()
		case "errors":
			p.errs = r.value()
		default:
			r.skip()
		}
	}
	b.readable, b.problem = r.err == nil, p.problem()
	return r.err
}

// reader reads JSON from front to back. After an error there is nothing more to
// read: all it gives is empty.
type reader struct {
	d   *jsontext.Decoder
	err error
}

// errShape says that something is of a type that it has in no payment.
var errShape = errors.New("of another type than in any payment")

// begin goes into the object that has to come next.
func (r *reader) begin() {
	if r.err == nil && r.d.PeekKind() != jsontext.KindBeginObject {
		r.err = errShape
	}
	r.token()
}

// next gives the name of an object's next member, whose value is to be read
// then, or goes out of the object.
func (r *reader) next() (name jsontext.Token, ok bool) {
	name = r.token()
	return name, r.err == nil && name.Kind() == jsontext.KindString
}

func (r *reader) token() (token jsontext.Token) {
	if r.err == nil {
		token, r.err = r.d.ReadToken()
	}
	return token
}

func (r *reader) skip() {
	if r.err == nil {
		r.err = r.d.SkipValue()
	}
}

// absent passes over a null, if that is what comes next.
func (r *reader) absent() bool {
	if r.err == nil && r.d.PeekKind() != jsontext.KindNull {
		return false
	}
	r.skip()
	return true
}

// value gives a copy of the JSON.
func (r *reader) value() jsontext.Value {
	if r.err != nil {
		return nil
	}
	var v jsontext.Value
	v, r.err = r.d.ReadValue()
	return v.Clone()
}

// text gives the text of a string, or of a number or boolean as written; null
// is "". An object or array in a scalar's place gives its opening bracket, which
// no check takes for a known word or for nothing.
func (r *reader) text() string {
	switch kind := r.d.PeekKind(); kind {
	case jsontext.KindBeginObject, jsontext.KindBeginArray:
		r.skip()
		return kind.String()
	case jsontext.KindString, jsontext.KindNumber, jsontext.KindTrue, jsontext.KindFalse:
		if token := r.token(); r.err == nil {
			return token.String()
		}
	default:
		r.skip()
	}
	return ""
}

// id gives a text or a number that can stand in a URL's path, or "".
func (r *reader) id() string {
	if kind := r.d.PeekKind(); kind != jsontext.KindString && kind != jsontext.KindNumber {
		r.skip()
		return ""
	}
	return pathSegment(r.text())
}

// children takes an array of objects, one object, or null; null in the array is
// none.
func (r *reader) children() []child {
	var all []child
	switch {
	case r.absent():
	case r.d.PeekKind() != jsontext.KindBeginArray:
		all = append(all, r.child())
	default:
		r.token()
		for r.err == nil && r.d.PeekKind() != jsontext.KindEndArray {
			if !r.absent() {
				all = append(all, r.child())
			}
		}
		r.token()
	}
	return all
}

func (r *reader) child() (c child) {
	r.begin()
	for name, ok := r.next(); ok; name, ok = r.next() {
		switch name.String() {
		case "id":
			c.id = r.text()
		case "status":
			c.status = r.text()
		case "status_detail":
			c.detail = r.text()
		case "payment_method_id":
			c.method = r.text()
		case "transaction_amount":
			c.amount = r.text()
		case "external_reference":
			c.reference = r.text()
		default:
			r.skip()
		}
	}
	return c
}

// wallet takes an object, with an object for the discount in it, or null where
// either would be.
func (r *reader) wallet() (w wallet) {
	if r.absent() {
		return wallet{}
	}
	r.begin()
	for name, ok := r.next(); ok; name, ok = r.next() {
		switch name.String() {
		case "transaction_amount":
			w.amount = r.text()
		case "external_reference":
			w.reference = r.text()
		case "discount":
			if !r.absent() {
				w.discount = r.member("amount")
			}
		default:
			r.skip()
		}
	}
	return w
}

// payerID takes anything: it decides nothing.
func (r *reader) payerID() string {
	if r.d.PeekKind() != jsontext.KindBeginObject {
		r.skip()
		return ""
	}
	return r.member("id")
}

// member gives the one member's text of an object.
func (r *reader) member(wanted string) (text string) {
	r.begin()
	for name, ok := r.next(); ok; name, ok = r.next() {
		if name.String() == wanted {
			text = r.text()
		} else {
			r.skip()
		}
	}
	return text
}
