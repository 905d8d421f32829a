package event_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"payment-capture/internal/event"
	"payment-capture/schemas"
)

// planted is the payer token of the compared documents. No error may contain it.
const planted = "PLANTED-payer-token-9c1f"

// candidate is a record and the document that a schema can validate.
type candidate struct {
	message  event.Message
	document any   // the event as encoding/json reads it
	notJSON  error // why there is no document
}

func structuredCandidate(value []byte) candidate {
	c := candidate{message: structuredMessage(value)}
	c.document, c.notJSON = jsonschema.UnmarshalJSON(bytes.NewReader(value))
	return c
}

// binaryCandidate returns a record in binary mode with the equivalent structured
// document.
func binaryCandidate(m event.Message) candidate {
	c := candidate{message: m}
	members := map[string]any{}
	for _, h := range m.Headers {
		name, isAttribute := strings.CutPrefix(h.Key, "ce_")
		switch {
		case len(h.Value) == 0: // absent
		case isAttribute && name != "data" && name != "data_base64" && name != "datacontenttype":
			members[name] = string(h.Value)
		case h.Key == "content-type":
			members["datacontenttype"] = string(h.Value)
		}
	}
	if len(m.Value) > 0 {
		members["data"], c.notJSON = jsonschema.UnmarshalJSON(bytes.NewReader(m.Value))
	}
	c.document = members
	return c
}

// at returns a member of the document, or nil.
func (c candidate) at(names ...string) any {
	node := c.document
	for _, name := range names {
		object, ok := node.(map[string]any)
		if !ok {
			return nil
		}
		node = object[name]
	}
	return node
}

// rule is a rule of the decoder that a schema cannot express.
type rule struct {
	name    string
	field   string // the field that the decoder names; "*" for any
	holds   func(candidate) bool
	example candidate
}

var plainDecimal = regexp.MustCompile(`^(0|[1-9][0-9]*)$`)

// beyondTheSchema lists every rule of the decoder that the schemas do not have. The
// decoder refuses a document that the schema accepts only because of one of these.
var beyondTheSchema = sync.OnceValue(func() []rule {
	const event0 = `{"specversion":"1.0","id":"e-1","source":"/s","type":"order.ready_to_capture","time":"2026-11-23T10:00:00Z","data":` +
		`{"order_id":"o-1","amount":"700.50","currency":"MXN","description":"d","payer":{"token":"` + planted + `"}}}`
	const door = `"address_door_number":`
	sub := `"sub_merchant":{` + door + `1.0,"sub_merchant_id":"1","mcc":"1","country":"1","zip":"1","document_number":"1","city":"1",` +
		`"address_street":"1","legal_name":"1","region_code_iso":"1","region_code":"1","document_type":"1","phone":"1","url":"1"},`
	changed := func(old, changed string) candidate {
		if strings.Count(event0, old) != 1 {
			panic(old + " is not in the event once")
		}
		return structuredCandidate([]byte(strings.Replace(event0, old, changed, 1)))
	}
	undated := changed(`"time":"2026-11-23T10:00:00Z",`, "")
	undated.message.Timestamp = time.Time{}
	return []rule{
		{"a member appears twice, or a header with different values", "*", hasDuplicates, changed(`"id":"e-1"`, `"id":"e-1","id":"e-1"`)},
		{"text is UTF-8, and no half of a surrogate pair", "*", hasInvalidUTF8, changed(`"d"`, `"\ud83d"`)},
		{"the amount is no finer than its currency", "data.amount", amountTooFine, changed(`"700.50"`, `700.505`)},
		{
			"an amount's number has at most 32 characters, three of them an exponent's digits", "data.amount", amountTooLong,
			changed(`"700.50"`, `7.005e0002`),
		},
		{
			"a door number is written plainly", "data.sub_merchant.address_door_number",
			func(c candidate) bool {
				n, ok := c.at("data", "sub_merchant", "address_door_number").(json.Number)
				return ok && !plainDecimal.MatchString(n.String())
			},
			changed(`"payer"`, sub+`"payer"`),
		},
		{
			"a time is not before 1970 by its offset", "time",
			func(c candidate) bool {
				text, ok := c.at("time").(string)
				t, err := time.Parse(time.RFC3339, text)
				return ok && err == nil && t.Year() >= 1970 && t.Unix() < 0
			},
			changed("2026-11-23T10:00:00Z", "1970-01-01T00:00:00+01:00"),
		},
		{
			"without a time the record has a timestamp", "time",
			func(c candidate) bool { return c.at("time") == nil && c.message.Timestamp.UnixMilli() < 0 },
			undated,
		},
	}
})

func hasDuplicates(c candidate) bool {
	seen := map[string]string{}
	for _, h := range c.message.Headers {
		if before, twice := seen[h.Key]; twice && before != string(h.Value) && strings.HasPrefix(h.Key, "ce_") {
			return true
		}
		if len(h.Value) > 0 {
			seen[h.Key] = string(h.Value)
		}
	}
	return errors.Is(scan(c.message.Value, jsontext.AllowInvalidUTF8(true)), jsontext.ErrDuplicateName)
}

func hasInvalidUTF8(c candidate) bool {
	for _, h := range c.message.Headers {
		if !utf8.Valid(h.Value) {
			return true
		}
	}
	return scan(c.message.Value, jsontext.AllowDuplicateNames(true)) != nil
}

// scan reads a JSON text token by token.
func scan(text []byte, options ...jsontext.Options) error {
	d := jsontext.NewDecoder(bytes.NewReader(text), options...)
	_, err := d.ReadValue()
	return err
}

func amountTooFine(c candidate) bool {
	text := fmt.Sprint(c.at("data", "amount"))
	if amountTooLong(c) {
		return false
	}
	value, ok := new(big.Rat).SetString(text)
	if !ok {
		return false
	}
	if currency := c.at("data", "currency"); currency != "CLP" && currency != "COP" {
		value.Mul(value, big.NewRat(100, 1))
	}
	return !value.IsInt()
}

func amountTooLong(c candidate) bool {
	n, ok := c.at("data", "amount").(json.Number)
	return ok && (len(n) > 32 || exponentDigits(n.String()) > 3)
}

func exponentDigits(number string) int {
	_, exponent, _ := strings.Cut(strings.ToLower(number), "e")
	return len(strings.TrimLeft(exponent, "+-"))
}

// computable returns the document with exponents of more than three digits cut to
// three nines. The schema's result stays the same, and the validator can compute it.
func computable(node any) any {
	switch node := node.(type) {
	case map[string]any:
		copied := make(map[string]any, len(node))
		for name, child := range node {
			copied[name] = computable(child)
		}
		return copied
	case []any:
		copied := make([]any, len(node))
		for i, child := range node {
			copied[i] = computable(child)
		}
		return copied
	case json.Number:
		exponent := strings.IndexAny(node.String(), "eE")
		if exponent < 0 || exponentDigits(node.String()) <= 3 {
			return node
		}
		digits := strings.TrimLeft(strings.TrimLeft(node.String()[exponent+1:], "+-"), "0")
		if len(digits) > 3 {
			digits = "999"
		}
		sign := ""
		if node[exponent+1] == '-' {
			sign = "-"
		}
		return node[:exponent+1] + json.Number(sign+digits+strings.Repeat("0", max(0, 1-len(digits))))
	}
	return node
}

// result is the result of a comparison: accepted, refused, or the name of a rule.
type result string

// compare checks that the decoder and the schema agree on a record. It returns
// "accepted", "refused", or the rule beyond the schema for which the decoder refused it.
func compare(tb testing.TB, c candidate) (result, error) {
	tb.Helper()
	decoded, err := event.Decode(c.message)
	if err != nil {
		if err := checkError(c, err); err != nil {
			return "", err
		}
	}
	refusal := c.notJSON
	if refusal == nil {
		refusal = schema(tb, schemas.Envelope(event.TypeReadyToCapture)).Validate(computable(c.document))
	}
	if err == nil {
		if refusal != nil {
			return "", fmt.Errorf("the decoder accepts what the schema refuses: %w", refusal)
		}
		return "accepted", checkDecoded(decoded)
	}
	if schemaAccepts := refusal == nil; !schemaAccepts {
		return "refused", nil
	}
	wrong, ok := errors.AsType[*event.InvalidError](err)
	if !ok {
		return "", fmt.Errorf("the schema accepts what the decoder skips: %w", err)
	}
	for _, r := range beyondTheSchema() {
		if (r.field == "*" || r.field == wrong.Field) && r.holds(c) {
			return result(r.name), nil
		}
	}
	return "", fmt.Errorf("the schema accepts what the decoder refuses: %w", err)
}

// checkError checks what every error of the decoder promises.
func checkError(c candidate, err error) error {
	if _, ok := errors.AsType[*event.SkipError](err); ok {
		if len(err.Error()) > 256 {
			return fmt.Errorf("a message of %d bytes", len(err.Error()))
		}
		return nil
	}
	wrong, ok := errors.AsType[*event.InvalidError](err)
	if !ok {
		return fmt.Errorf("an error of another kind, %T: %w", err, err)
	}
	isOdd := func(r rune) bool { return r < 0x20 || r > 0x7e }
	if len(wrong.Field) > 64 || len(wrong.Problem) > 256 || strings.ContainsFunc(wrong.Error(), isOdd) {
		return fmt.Errorf("an error that is too long or holds odd characters: %q", wrong.Error())
	}
	if _, isObject := c.document.(map[string]any); wrong.Field == "" && isObject && c.notJSON == nil && scan(c.message.Value) == nil {
		return fmt.Errorf("an error in an object that names no field: %q", wrong.Error())
	}
	// A token in another place alone cannot be recognised.
	token, isText := c.at("data", "payer", "token").(string)
	known := isText && strings.Contains(token, planted)
	if (c.notJSON != nil || known) && strings.Contains(fmt.Sprintf("%s %q", wrong.Problem, err), planted) {
		return fmt.Errorf("an error that contains the payer token: %q", wrong.Error())
	}
	known = known || (c.notJSON != nil && bytes.Contains(c.message.Value, []byte(`"token":"`+planted)))
	if names := wrong.OrderID + " " + wrong.ClaimedEventID; known && strings.Contains(names, planted) {
		return fmt.Errorf("names that contain the payer token: %q", names)
	}
	return nil
}

// checkDecoded checks what the rest of the service relies on in an event.
func checkDecoded(e *event.ReadyToCapture) error {
	switch {
	case e.ID == "" || len(e.ID) > 64 || strings.ContainsAny(e.ID, " \r\n"):
		return fmt.Errorf("id %q", e.ID)
	case e.Amount.Minor() <= 0:
		return fmt.Errorf("amount %v", e.Amount)
	case e.OrderID == "" || e.ExternalReference == "" || e.Description == "":
		return errors.New("a required text is empty")
	case e.PayerToken.IsZero():
		return errors.New("no payer token")
	case e.Time.Unix() < 0:
		return fmt.Errorf("time %v", e.Time)
	}
	return nil
}

func TestEveryRuleBeyondTheSchemaIsNeeded(t *testing.T) {
	t.Parallel()
	for _, r := range beyondTheSchema() {
		got, err := compare(t, r.example)
		if err != nil || got != result(r.name) {
			t.Errorf("%s: the result of the example is %q, %v", r.name, got, err)
		}
	}
}
