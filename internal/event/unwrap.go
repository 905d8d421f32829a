package event

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"iter"
	"slices"
	"strconv"
	"unicode/utf8"
)

// budget is how many bytes of wrapped texts may still be read. It bounds the work for a record, whatever
// is wrapped in what. Most wrappings shrink by a quarter or more when they are removed, so the budget does
// not limit how many of them lie in each other.
type budget int

func budgetFor(text []byte) budget { return budget(16 * len(text)) }

// take reports whether a text may be read.
func (b *budget) take(text []byte) bool {
	*b -= budget(len(text))
	return *b >= 0
}

// unwrapped returns what a text may be when one wrapping is removed from it or from a part of it, and the
// form of our type in that wrapping. Each text is shorter than the wrapped one.
func unwrapped(text []byte) iter.Seq2[typeForm, []byte] {
	return func(yield func(typeForm, []byte) bool) {
		_ = yieldZeros(text, yield) &&
			yieldRuns(text, formHex, yield) &&
			yieldRuns(text, formBase64, yield) &&
			yieldIf(formNumbers, listed(text), yield) &&
			yieldUnescaped(text, yield)
	}
}

func yieldIf(form typeForm, inner []byte, yield func(typeForm, []byte) bool) bool {
	return len(inner) < len(TypeReadyToCapture) || yield(form, inner)
}

// yieldZeros removes zero bytes: those of UTF-16, padding, the number of a schema.
func yieldZeros(text []byte, yield func(typeForm, []byte) bool) bool {
	if bytes.IndexByte(text, 0) < 0 {
		return true
	}
	return yieldIf(formDamaged, bytes.ReplaceAll(text, []byte{0}, nil), yield)
}

func yieldUnescaped(text []byte, yield func(typeForm, []byte) bool) bool {
	inner := unescaped(text)
	return len(inner) == len(text) || yieldIf(formEscaped, inner, yield)
}

// encoding is a way to write bytes as text.
type encoding struct {
	isDigit   func(byte) bool
	separates func(byte) bool              // may stand between its digits
	group     int                          // digits that are decoded together
	shortest  int                          // digits of our type's name
	decode    func([]byte) ([]byte, error) // of digits alone
}

func encodingOf(form typeForm) encoding {
	const size = len(TypeReadyToCapture)
	if form == formHex {
		return encoding{isHexDigit, separatesHex, 2, 2 * size, func(digits []byte) ([]byte, error) {
			return hex.AppendDecode(nil, digits[:len(digits)&^1])
		}}
	}
	return encoding{isBase64Digit, isSpace, 4, (4*size + 2) / 3, func(digits []byte) ([]byte, error) {
		if len(digits)%4 == 1 {
			digits = digits[:len(digits)-1]
		}
		return decodeBase64(digits)
	}}
}

// yieldRuns decodes the runs of digits in a text.
func yieldRuns(text []byte, form typeForm, yield func(typeForm, []byte) bool) bool {
	e := encodingOf(form)
	if joined := withoutSeparators(text, form, e); len(joined) < len(text) && !e.yieldRuns(joined, form, yield) {
		return false
	}
	return e.yieldRuns(text, form, yield)
}

func (e encoding) yieldRuns(text []byte, form typeForm, yield func(typeForm, []byte) bool) bool {
	const long = 16 << 10
	for begin, i := 0, 0; i <= len(text); i++ {
		if i < len(text) && e.isDigit(text[i]) {
			continue
		}
		run := text[begin:i]
		begin = i + 1
		for skip := 0; skip < e.group && len(run)-skip >= e.shortest; skip++ { // because a length or a tag may precede
			if decoded, err := e.decode(run[skip:]); err == nil && !yieldIf(form, decoded, yield) {
				return false
			}
			if len(text) > long {
				break // because these decodings would cost too much
			}
		}
	}
	return true
}

// withoutSeparators joins the digits of an encoding, such as 6f:72 or [0x6f, 0x72], or lines.
func withoutSeparators(text []byte, form typeForm, e encoding) []byte {
	if len(text) <= e.shortest || !slices.ContainsFunc(text, e.separates) {
		return text
	}
	joined := slices.DeleteFunc(bytes.Clone(text), e.separates)
	if form == formHex {
		joined = bytes.ReplaceAll(joined, []byte("0x"), nil)
	}
	return joined
}

func isSpace(c byte) bool { return c == ' ' || ('\t' <= c && c <= '\r') }

func separatesHex(c byte) bool { return c == ':' || c == '-' || c == ',' || isSpace(c) }

func isHexDigit(c byte) bool {
	return ('0' <= c && c <= '9') || ('a' <= c && c <= 'f') || ('A' <= c && c <= 'F')
}

func isBase64Digit(c byte) bool { return (inTypeName(c) && c != '.') || c == '+' || c == '/' }

// decodeBase64 decodes base64 in either alphabet, without padding.
func decodeBase64(text []byte) ([]byte, error) {
	text = bytes.Clone(text)
	for i, c := range text {
		switch c {
		case '-':
			text[i] = '+'
		case '_':
			text[i] = '/'
		}
	}
	return base64.RawStdEncoding.AppendDecode(nil, text)
}

// listed returns the byte values that are written in a text as decimal numbers.
func listed(text []byte) []byte {
	var out []byte
	for number := range bytes.FieldsFuncSeq(text, func(r rune) bool { return r < '0' || r > '9' }) {
		if n, err := strconv.ParseUint(string(number), 10, 8); err == nil {
			out = append(out, byte(n))
		}
	}
	return out
}

// unescaped returns a text without the escapes of JSON, of programming languages and of URLs. An escaped
// control character becomes a space.
func unescaped(text []byte) []byte {
	if !bytes.ContainsAny(text, `\%`) {
		return text
	}
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		r, size := escapeAt(text)
		if size == 1 {
			out = append(out, text[0])
		} else {
			out = utf8.AppendRune(out, r)
		}
		text = text[size:]
	}
	return out
}

// escapeAt returns the character that an escape at the beginning of a text stands for, and the length of the
// escape; 1 if the text does not begin with one.
func escapeAt(text []byte) (r rune, size int) {
	digits := 2
	switch {
	case text[0] == '%':
		size = 1
	case text[0] != '\\' || len(text) == 1:
		return 0, 1
	case text[1] == 'x' || text[1] == 'X':
		size = 2
	case text[1] == 'u' || text[1] == 'U':
		size, digits = 2, 4
	case bytes.IndexByte([]byte("nrtbfav0"), text[1]) >= 0:
		return ' ', 2
	case text[1] < utf8.RuneSelf:
		return rune(text[1]), 2
	default:
		return 0, 1
	}
	if len(text) < size+digits || slices.ContainsFunc(text[size:size+digits], func(c byte) bool { return !isHexDigit(c) }) {
		return 0, 1
	}
	n, err := strconv.ParseUint(string(text[size:size+digits]), 16, 16)
	if err != nil {
		return 0, 1
	}
	return rune(n), size + digits
}
