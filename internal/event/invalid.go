package event

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"payment-capture/internal/secret"
)

// InvalidError says which field of a record is wrong, and how. It never
// quotes the payer token.
type InvalidError struct {
	Field   string // such as "data.amount", or "" for the record's value as a whole
	Problem string
	// OrderID and ClaimedEventID are what the record says they are, if that can be
	// read: for an operator, printable and bounded. Nothing else may rely on them.
	OrderID        string
	ClaimedEventID string
}

func (e *InvalidError) Error() string {
	if e.Field == "" {
		return "the record's value " + e.Problem
	}
	return e.Field + " " + e.Problem
}

// SkipError reports that a record is not meant for this service. Whoever skips a
// record counts it by its reason, and shows its type.
type SkipError struct {
	Reason SkipReason
	Type   string // the CloudEvents type, as it was written; "" for a tombstone
}

func (e *SkipError) Error() string {
	if e.Reason == SkipTombstone {
		return "record without a value (tombstone)"
	}
	return fmt.Sprintf("event of type %q", printable(e.Type, 64))
}

// SkipReason is why a record is skipped: a closed list.
type SkipReason string

// The reasons for skipping a record. [Decode] returns the first two.
const (
	SkipOtherType    SkipReason = "other_type"    // a CloudEvent of another type
	SkipTombstone    SkipReason = "tombstone"     // no value, and no header that claims our type
	SkipOtherAccount SkipReason = "other_account" // an event that names another account
)

// SkipReasons returns every reason for skipping a record.
func SkipReasons() []SkipReason { return []SkipReason{SkipOtherType, SkipTombstone, SkipOtherAccount} }

func invalid(field, format string, args ...any) *InvalidError {
	return &InvalidError{Field: field, Problem: fmt.Sprintf(format, args...)}
}

// notJSON says what is wrong with a JSON text without quoting it: it may hold
// the payer token, even as the name of a member where the text is broken.
func notJSON(prefix string, value []byte, err error) *InvalidError {
	field := prefix
	var pointer jsontext.Pointer
	if se, ok := errors.AsType[*json.SemanticError](err); ok {
		pointer = se.JSONPointer
	} else if se, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		pointer = se.JSONPointer
	}
	depth := 0
	for token := range pointer.Tokens() {
		if depth++; depth > maxDepth {
			break
		}
		if field != "" {
			field += "."
		}
		if !isMember(token) {
			token = "?"
		}
		field += token
	}
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return invalid(field, "stands twice in its object%s", position(err))
	case foreign(value) != "":
		return invalid(field, "begins with %s: only JSON in UTF-8 is read", foreign(value))
	}
	if se, ok := errors.AsType[*json.SemanticError](err); ok {
		return wrongKind(field, se)
	}
	if cause := notJSONCause(value, pointer == ""); cause != "" {
		return invalid(field, "is not JSON%s", cause)
	}
	return invalid(field, "is not JSON%s", position(err))
}

// wrongKind says which kind of JSON value is required.
func wrongKind(field string, err *json.SemanticError) *InvalidError {
	is, required := kindName(err.JSONKind), "an object"
	if t := err.GoType; t != nil && (t.Kind() == reflect.String || t == reflect.TypeFor[secret.Text]() ||
		(t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.String)) {
		required = "a string"
	}
	if is == "string" {
		return invalid(field, "is a JSON string; %s is required (encoded twice?)", required)
	}
	return invalid(field, "is a JSON %s; %s is required", is, required)
}

// notJSONCause says why a value is not JSON, if its bytes show that. atTop reports
// whether the fault lies outside of every object and array.
func notJSONCause(value []byte, atTop bool) string {
	zero := bytes.IndexByte(value, 0)
	switch at := notUTF8At(value); {
	case zero >= 0 && bytes.Count(value, []byte{0}) == len(value):
		return ", but zero bytes alone"
	case isUTF16(value):
		return fmt.Sprintf(": it is UTF-16, not UTF-8 at byte %d", zero)
	case at >= 0:
		return fmt.Sprintf(": it is not UTF-8 at byte %d (Latin-1, or not text at all?)", at)
	case zero >= 0:
		return fmt.Sprintf(": it has a zero byte at byte %d (padding?)", zero)
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(value), jsontext.AllowDuplicateNames(true))
	if atTop && d.SkipValue() == nil && d.SkipValue() == nil {
		return " but several JSON documents: a record holds one event"
	}
	return ""
}

// isUTF16 reports whether a value begins as ASCII does in UTF-16 without a mark.
func isUTF16(value []byte) bool {
	if len(value) < 4 {
		return false
	}
	a, b, c, d := value[0] == 0, value[1] == 0, value[2] == 0, value[3] == 0
	return a != b && a == c && b == d
}

// notUTF8At returns where a text stops being UTF-8, or -1.
func notUTF8At(text []byte) int {
	for at := 0; at < len(text); {
		r, size := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && size == 1 {
			return at
		}
		at += size
	}
	return -1
}

// foreign says what a value begins with that is not JSON, or "" where that
// does not tell what it is.
func foreign(value []byte) string {
	for _, mark := range []struct{ prefix, name string }{
		{"\xef\xbb\xbf", "a byte order mark"},
		{"\xfe\xff", "a byte order mark of UTF-16, so it is not UTF-8 at byte 0"},
		{"\xff\xfe", "a byte order mark of UTF-16, so it is not UTF-8 at byte 0"},
		{"\x1f\x8b", "the mark of gzip"},
	} {
		if bytes.HasPrefix(value, []byte(mark.prefix)) {
			return mark.name
		}
	}
	if len(value) > 0 && value[0] == 0 && !isUTF16(value) && bytes.Count(value, []byte{0}) < len(value) {
		return "a zero byte, as a schema registry's formats do"
	}
	return ""
}

func position(err error) string {
	if se, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return fmt.Sprintf(" (at byte %d)", se.ByteOffset)
	}
	return ""
}

// maxDepth is how deep the event's own members lie.
const maxDepth = 3

// isMember reports whether the name is of a member of the event, at any
// depth: other names are not quoted.
func isMember(name string) bool {
	switch name {
	case "specversion", "id", "source", "type", "subject", "time", "datacontenttype", "traceparent", "data", "data_base64",
		"order_id", "amount", "currency", "description", "external_reference", "payer", "token", "account", "device_session_id",
		"sub_merchant", "sub_merchant_id", "mcc", "country", "address_door_number", "zip", "document_number", "city",
		"address_street", "legal_name", "region_code_iso", "region_code", "document_type", "phone", "url":
		return true
	}
	return false
}

func kindName(k jsontext.Kind) string {
	switch byte(k) {
	case '"':
		return "string"
	case '0':
		return "number"
	case '{':
		return "object"
	case '[':
		return "array"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	}
	return "value"
}
