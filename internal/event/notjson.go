package event

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"regexp"
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
	atTop := pointer == ""
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return invalid(field, "appears twice in its object%s", position(err))
	case foreignFormat(value) != "":
		return invalid(field, "begins with %s: only JSON in UTF-8 is read", foreignFormat(value))
	case isSemantic && (!atTop || !isScalar(semantic.JSONKind) || jsontext.Value(value).IsValid()):
		return wrongKind(field, semantic, value, atTop)
	}
	cause := notJSONCause(value, atTop)
	if cause == "" {
		cause = position(err)
	}
	return invalid(field, "is not JSON%s", cause)
}

// isScalar reports whether a JSON value is neither an object nor an array. Text that is not JSON often
// begins with one.
func isScalar(k jsontext.Kind) bool { return k != '{' && k != '[' }

// wrongKind returns which kind of JSON value is required.
func wrongKind(field string, err *json.SemanticError, value []byte, atTop bool) *InvalidError {
	actual, required := kindName(err.JSONKind), "an object"
	if t := err.GoType; t != nil && (t.Kind() == reflect.String || t == reflect.TypeFor[secret.Text]() ||
		(t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.String)) {
		required = "a string"
	}
	if how := encodingOfJSON(value); atTop && how != "" && how != escapedJSON && how != quotedJSON {
		return invalid(field, "is a JSON %s, which is %s; %s is required", actual, how, required)
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
	wide := wideEncoding(value)
	switch at := notUTF8At(value); {
	case zero >= 0 && bytes.Count(value, []byte{0}) == len(value):
		return ", but zero bytes alone"
	case wide != "" && zero >= 0:
		return fmt.Sprintf(": it is %s, not UTF-8 at byte %d", wide, zero)
	case at >= 0:
		return fmt.Sprintf(": it is not UTF-8 at byte %d (Latin-1, or not text at all?)", at)
	case zero >= 0:
		return fmt.Sprintf(": it has a zero byte at byte %d (padding?)", zero)
	case !atTop:
		return ""
	}
	switch how := encodingOfJSON(value); how {
	case "":
		return besideDocument(value)
	case escapedJSON:
		return ": its quotes are escaped (encoded twice?)"
	case quotedJSON:
		return ": it is in quotes"
	default:
		return ", but " + how
	}
}

// Results of encodingOfJSON that are named in other words.
const (
	escapedJSON = "JSON with escapes"
	quotedJSON  = "JSON in quotes"
)

// besideDocument returns what stands beside the first JSON document of a value, or "" if that is broken.
func besideDocument(value []byte) string {
	const separators = ", \t\r\n\x1e" // \x1e separates the texts of RFC 7464
	document := bytes.TrimLeft(value, separators)
	d := jsontext.NewDecoder(bytes.NewBuffer(document), jsontext.AllowDuplicateNames(true))
	if d.SkipValue() != nil {
		return ""
	}
	end := d.InputOffset()
	rest := bytes.TrimLeft(document[end:], separators)
	switch {
	case len(rest) > 0 && (rest[0] == '{' || rest[0] == '['):
		return " but several JSON documents: a record holds one event"
	case len(document) < len(value) && len(bytes.TrimLeft(value, " \t\r\n")) > len(document):
		return ": a separator of documents is before it"
	case len(bytes.TrimSpace(document[end:])) == 0:
		return ""
	}
	return fmt.Sprintf(": something follows its first JSON value, which ends at byte %d", int64(len(value)-len(document))+end)
}

// encodingOfJSON returns in what a value writes a JSON object, such as "base64 of JSON", or "" if it does
// not.
func encodingOfJSON(value []byte) string {
	const most = 128 // bytes that are decoded, because the beginning shows it
	value = bytes.TrimSpace(value)
	begin := bytes.TrimLeft(value[:min(len(value), most)], "\"'`")
	isJSON := func(decoded []byte) bool {
		object, ok := bytes.CutPrefix(bytes.TrimSpace(decoded), []byte("{"))
		object = bytes.TrimSpace(object)
		return ok && len(object) > 0 && (object[0] == '"' || object[0] == '}' || object[0] == '\\')
	}
	switch isPlain := isJSON(begin) && !bytes.HasPrefix(begin, []byte(`{\`)); {
	case isPlain && begin[0] == value[0]:
		return ""
	case isPlain:
		return quotedJSON
	}
	// The decoders return what they have decoded before a fault.
	if decoded, _ := hex.AppendDecode(nil, hexMarks.ReplaceAll(begin, nil)); isJSON(decoded) {
		return "hexadecimal of JSON"
	}
	switch decoded, _ := decodeBase64(begin[:len(begin)&^3]); {
	case isJSON(decoded):
		return "base64 of JSON"
	case bytes.HasPrefix(decoded, []byte("\x1f\x8b\x08")):
		return "base64 of gzip"
	case len(begin) > 0 && begin[0] == '[' && isJSON(listed(begin)):
		return "a list of the bytes of JSON"
	case isJSON(unescaped(begin)):
		return escapedJSON
	}
	return ""
}

// hexMarks matches what may stand before or between hexadecimal digits.
var hexMarks = regexp.MustCompile(`0x|\\x|[-:, ]`)

// wideEncoding returns UTF-16 or UTF-32 if a value begins with its byte order mark, or like ASCII in it,
// else "".
func wideEncoding(value []byte) string {
	const least = 4
	if len(value) < least {
		return ""
	}
	begin, zeros := string(value[:least]), ""
	for _, c := range value[:min(len(value), 2*least)] {
		switch {
		case c == 0:
			zeros += "0"
		case c >= ' ' || isSpaceOfJSON(c):
			zeros += "c"
		default:
			zeros += "?" // binary
		}
	}
	switch {
	case begin == "\xff\xfe\x00\x00", begin == "\x00\x00\xfe\xff", zeros == "c000c000", zeros == "000c000c":
		return "UTF-32"
	case begin[:2] == "\xff\xfe", begin[:2] == "\xfe\xff", zeros[:least] == "c0c0", zeros[:least] == "0c0c":
		return "UTF-16"
	}
	return ""
}

func isSpaceOfJSON(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

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
		{"\xff\xfe\x00\x00", "a byte order mark of UTF-32, so it is not UTF-8 at byte 0"},
		{"\x00\x00\xfe\xff", "a byte order mark of UTF-32, so it is not UTF-8 at byte 2"},
		{"\xfe\xff", "a byte order mark of UTF-16, so it is not UTF-8 at byte 0"},
		{"\xff\xfe", "a byte order mark of UTF-16, so it is not UTF-8 at byte 0"},
		{"\x1f\x8b", "the mark of gzip"},
		{"\x28\xb5\x2f\xfd", "the mark of Zstandard"},
		{"\x04\x22\x4d\x18", "the mark of LZ4"},
		{"PK\x03\x04", "the mark of ZIP"},
		{"\xac\xed\x00\x05", "the mark of a serialised Java object"},
	} {
		if bytes.HasPrefix(value, []byte(mark.prefix)) {
			return mark.name
		}
	}
	if len(value) > 0 && value[0] == 0 && wideEncoding(value) == "" && bytes.Count(value, []byte{0}) < len(value) {
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
