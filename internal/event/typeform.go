package event

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A record whose type attribute is ours in some wrapping may be an order: header
// mappers put quotes around it, converters write base64 or an envelope, serialisers
// put lengths and tags before it. Such a record must not be skipped as one of another
// type. The rule is general: a text claims our type if it contains the name of the type,
// and the characters beside the name cannot belong to a type's name, so that neither
// com.acme.order.ready_to_capture nor order.ready_to_capture.v2 claims it.

// typeForm is how a text writes our type.
type typeForm int

const (
	formNone     typeForm = iota // not at all
	formExact                    // exactly
	formDamaged                  // with capitals, spaces or characters that do not print
	formQuoted                   // with quotes around it
	formEnvelope                 // in Kafka Connect's {"schema":…,"payload":…}
	formJava                     // as a serialised Java object
	formCBOR                     // as a CBOR text or byte string
	formWrapped                  // with something else around it
	formEscaped                  // with escapes in it or around it
	formBase64
	formHex
	formNumbers // as a list of byte values
)

// problem returns what is wrong with a form, and the advice what to do instead.
func (f typeForm) problem(advice string) string {
	if f == formDamaged {
		return "must be " + TypeReadyToCapture + " exactly: it has capitals, spaces or characters that do not print"
	}
	return [...]string{
		formExact:    "is not the type in another member",
		formQuoted:   "is in quotes",
		formEnvelope: "is in a {schema,payload} envelope of Kafka Connect",
		formJava:     "is a serialised Java object",
		formCBOR:     "is CBOR",
		formWrapped:  "has more in it than " + TypeReadyToCapture,
		formEscaped:  "has escapes in it",
		formBase64:   "is base64 of the type",
		formHex:      "is the type in hexadecimal",
		formNumbers:  "is the type as a list of byte values",
	}[f] + ": " + advice
}

// formOf returns how a text writes our type.
func formOf(text []byte) typeForm {
	const (
		encodings = 2        // base64 of base64, or of a quoted type
		most      = 16 << 10 // because no wrapping of a type is longer
	)
	return formWithin(text[:min(len(text), most)], encodings)
}

func formWithin(text []byte, encodings int) typeForm {
	if len(text) < len(TypeReadyToCapture) {
		return formNone // no form of it is shorter
	}
	if string(text) == TypeReadyToCapture {
		return formExact
	}
	plain := stripped(text)
	switch {
	case string(plain) == TypeReadyToCapture:
		return formDamaged
	case containsType(text), containsType(plain):
		return wrappingOf(text, plain)
	}
	if encodings > 0 {
		if f := encodingOf(text, encodings-1); f != formNone {
			return f
		}
	}
	if u := unescaped(text); len(u) < len(text) && formWithin(u, encodings) != formNone {
		return formEscaped
	}
	return formNone
}

// wrappingOf returns the form of a text that contains our type. plain is the text after [stripped].
func wrappingOf(text, plain []byte) typeForm {
	switch {
	case string(bytes.Trim(plain, "\"'`\\")) == TypeReadyToCapture:
		return formQuoted
	case bytes.HasPrefix(text, []byte("\xac\xed")):
		return formJava
	case len(text) == 1+len(TypeReadyToCapture) && (text[0] == 0x76 || text[0] == 0x56):
		return formCBOR
	case bytes.Contains(plain, []byte(`"payload"`)):
		return formEnvelope
	}
	return formWrapped
}

// stripped returns a text in lower case without spaces, characters that do not
// print and bytes that are not UTF-8. That leaves the ASCII characters of UTF-16, too.
func stripped(text []byte) []byte {
	return bytes.Map(func(r rune) rune {
		if r == ' ' || r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, text)
}

// containsType reports whether a text contains our type's name, in capitals or not, and
// not as a part of a longer name.
func containsType(text []byte) bool {
	const size = len(TypeReadyToCapture)
	binary := bytes.ContainsFunc(text, func(r rune) bool { return r < ' ' || r >= utf8.RuneSelf })
	for at := 0; at+size <= len(text); at++ {
		if text[at]|0x20 != TypeReadyToCapture[0] || !strings.EqualFold(string(text[at:at+size]), TypeReadyToCapture) {
			continue
		}
		begins := at == 0 || !inTypeName(text[at-1])
		ends := at+size == len(text) || !inTypeName(text[at+size])
		if begins && ends {
			return true
		}
		// In binary formats a byte before the name states its length, and may be a
		// letter. Then the name ends after that length, whatever follows.
		if at > 0 && statesLength(text[at-1]) && (binary || (at == 1 && ends)) {
			return true
		}
	}
	return false
}

// inTypeName reports whether a byte can be part of the name of a type.
func inTypeName(c byte) bool {
	return ('a' <= c && c <= 'z') || ('A' <= c && c <= 'Z') || ('0' <= c && c <= '9') || c == '.' || c == '_' || c == '-'
}

// statesLength reports whether a byte is one that binary formats write before a text
// of the length of our type's name, 22.
func statesLength(c byte) bool {
	switch c {
	case 22, // Protobuf, Thrift, Java, most others
		2 * 22,    // Avro
		0x60 + 22, // CBOR text
		0x40 + 22, // CBOR bytes
		0xa0 + 22, // MessagePack
		0x40 + 21: // Smile
		return true
	}
	return false
}

// escapes matches the escapes of JSON, of programming languages and of URLs.
var escapes = regexp.MustCompile(`(?s)%[[:xdigit:]]{2}|\\[xX][[:xdigit:]]{2}|\\[uU][[:xdigit:]]{4}|\\[^xXuU]`)

// unescaped returns a text without escapes. An escaped control character becomes a space.
func unescaped(text []byte) []byte {
	if !bytes.ContainsAny(text, `\%`) {
		return text
	}
	return escapes.ReplaceAllFunc(text, func(escape []byte) []byte {
		switch digits := bytes.TrimLeft(escape, `\%xXuU`); {
		case len(escape) > 2 && len(digits) > 1:
			if r, err := strconv.ParseUint(string(digits), 16, 16); err == nil {
				return utf8.AppendRune(nil, rune(r))
			}
		case bytes.IndexByte([]byte("nrtbfav0"), escape[1]) >= 0:
			return []byte(" ")
		}
		return escape[1:]
	})
}

// encodingOf returns the encoding in which a part of a text writes our type, or formNone. The decoded
// part may be encoded again as often as encodings states.
func encodingOf(text []byte, encodings int) typeForm {
	const (
		size = len(TypeReadyToCapture)
		most = 2 << 10
	)
	text = text[:min(len(text), most)]
	isType := func(decoded []byte, err error) bool { return err == nil && formWithin(decoded, encodings) != formNone }
	for _, run := range bytes.FieldsFunc(text, notHex) {
		for skip := 0; skip < 2 && len(run) >= 2*size; skip++ {
			digits := run[skip:]
			if isType(hex.AppendDecode(nil, digits[:len(digits)&^1])) {
				return formHex
			}
		}
	}
	for _, run := range bytes.FieldsFunc(text, notBase64) {
		for skip := 0; skip < 4 && 3*len(run) >= 4*size; skip++ { // because a length or a tag may precede
			digits := run[skip:]
			if len(digits)%4 == 1 {
				digits = digits[:len(digits)-1]
			}
			if isType(decodeBase64(digits)) {
				return formBase64
			}
		}
	}
	if isType(listed(text), nil) {
		return formNumbers
	}
	return formNone
}

func notHex(r rune) bool {
	return (r < '0' || r > '9') && (r < 'a' || r > 'f') && (r < 'A' || r > 'F')
}

func notBase64(r rune) bool {
	return r >= utf8.RuneSelf || !inTypeName(byte(r)) && r != '+' && r != '/' || r == '.' //nolint:gosec // G115: it is below RuneSelf
}

// decodeBase64 decodes base64 in either alphabet, without padding.
func decodeBase64(text []byte) ([]byte, error) {
	text = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("-"), []byte("+")), []byte("_"), []byte("/"))
	return base64.RawStdEncoding.AppendDecode(nil, text)
}

// listed returns the byte values that are written in a text as decimal numbers.
func listed(text []byte) []byte {
	var out []byte
	for _, number := range bytes.FieldsFunc(text, func(r rune) bool { return r < '0' || r > '9' }) {
		if n, err := strconv.ParseUint(string(number), 10, 8); err == nil {
			out = append(out, byte(n))
		}
	}
	return out
}
