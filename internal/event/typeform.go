package event

import (
	"bytes"
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
	const most = 16 << 10 // because no wrapping of a type is longer
	text = text[:min(len(text), most)]
	left := budgetFor(text)
	return formWithin(text, &left)
}

func formWithin(text []byte, left *budget) typeForm {
	if len(text) < len(TypeReadyToCapture) || !left.take(text) {
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
	for form, inner := range unwrapped(text) {
		if formWithin(inner, left) != formNone {
			return form
		}
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
		begins, ends := beginsName(text, at), endsName(text, at+size)
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

// beginsName reports whether the name of a type that stands at a place of a text begins there.
func beginsName(text []byte, at int) bool {
	if at == 0 {
		return true
	}
	before := text[:at-1]
	switch c := text[at-1]; {
	case inTypeName(c):
		return false
	case !joinsNames(c) || len(before) == 0 || !inTypeName(before[len(before)-1]):
		return true
	case c == ':': // a label, and not the beginning of the name
		before = bytes.ToLower(before[max(0, len(before)-len("string")):])
		return bytes.HasSuffix(before, []byte("type")) || bytes.HasSuffix(before, []byte("data")) || bytes.HasSuffix(before, []byte("string"))
	}
	return false
}

// endsName reports whether the name of a type that stands before a place of a text ends there.
func endsName(text []byte, at int) bool {
	if at == len(text) {
		return true
	}
	return !inTypeName(text[at]) && (!joinsNames(text[at]) || at+1 == len(text) || !inTypeName(text[at+1]))
}

// inTypeName reports whether a byte can be part of the name of a type.
func inTypeName(c byte) bool {
	return ('a' <= c && c <= 'z') || ('A' <= c && c <= 'Z') || ('0' <= c && c <= '9') || c == '.' || c == '_' || c == '-'
}

// joinsNames reports whether a byte between two names makes one name of them, as in a URN or
// before a version.
func joinsNames(c byte) bool { return bytes.IndexByte([]byte("/:@#+~"), c) >= 0 }

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
