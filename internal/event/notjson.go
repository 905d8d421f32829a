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

// notJSON returns what is wrong with a value that the library refuses. It does not quote
// the value, because any part of it may be the payer token, even the name of a member.
func notJSON(prefix string, value []byte, err error) *InvalidError {
	field := prefix
	var pointer jsontext.Pointer
	semantic, isSemantic := errors.AsType[*json.SemanticError](err)
	if isSemantic {
		pointer = semantic.JSONPointer
	} else if se, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		pointer = se.JSONPointer
	}
	depth := 0
	for name := range pointer.Tokens() {
		if depth++; depth > maxDepth {
			break
		}
		if field != "" {
			field += "."
		}
		if !isMember(name) {
			name = "?"
		}
		field += name
	}
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return invalid(field, "appears twice in its object%s", position(err))
	case foreignFormat(value) != "":
		return invalid(field, "begins with %s: only JSON in UTF-8 is read", foreignFormat(value))
	case isSemantic:
		return wrongKind(field, semantic)
	}
	cause := notJSONCause(value, pointer == "")
	if cause == "" {
		cause = position(err)
	}
	return invalid(field, "is not JSON%s", cause)
}

// wrongKind returns which kind of JSON value is required.
func wrongKind(field string, err *json.SemanticError) *InvalidError {
	actual, required := kindName(err.JSONKind), "an object"
	if t := err.GoType; t != nil && (t.Kind() == reflect.String || t == reflect.TypeFor[secret.Text]() ||
		(t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.String)) {
		required = "a string"
	}
	if actual == "string" {
		return invalid(field, "is a JSON string; %s is required (encoded twice?)", required)
	}
	return invalid(field, "is a JSON %s; %s is required", actual, required)
}

// notJSONCause returns why a value is not JSON, or "" if its bytes do not show that. atTop
// states that the fault lies outside of every object and array.
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

// isUTF16 reports whether a value begins like ASCII in UTF-16 without a byte order mark.
func isUTF16(value []byte) bool {
	if len(value) < 4 {
		return false
	}
	a, b, c, d := value[0] == 0, value[1] == 0, value[2] == 0, value[3] == 0
	return a != b && a == c && b == d
}

// notUTF8At returns the first byte of a text that is not UTF-8, or -1.
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

// foreignFormat returns the mark of another format that a value begins with, or "".
func foreignFormat(value []byte) string {
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

// position returns where the library met a syntax error, or "" if err is none.
func position(err error) string {
	if se, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return fmt.Sprintf(" (at byte %d)", se.ByteOffset)
	}
	return ""
}

// maxDepth is the depth of the deepest members of an event, such as data.payer.token.
const maxDepth = 3

// isMember reports whether the event has a member of the name, at any depth. Errors
// quote no other names.
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
	case '{':
		return "object"
	case '[':
		return "array"
	case 't', 'f':
		return "boolean"
	}
	return k.String()
}
