package event

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"payment-capture/internal/money"
)

// isToken reports whether s is 1 to limit printable ASCII characters without spaces.
func isToken(s string, limit int) bool {
	if s == "" || len(s) > limit {
		return false
	}
	for i := range len(s) {
		if s[i] <= 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// isText reports whether s is 1 to limit characters without control characters.
func isText(s string, limit int) bool {
	return s != "" && utf8.RuneCountInString(s) <= limit && !hasControl(s)
}

// hasControl reports whether s has C0 or C1 control characters or is not UTF-8.
func hasControl(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < 0x20 || (r >= 0x7f && r < 0xa0) }) >= 0 || !utf8.ValidString(s)
}

// isReference reports whether s is 1 to 64 of A-Z a-z 0-9 _ -.
func isReference(s string) bool {
	return s != "" && len(s) <= 64 && strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
	}) < 0
}

// isDecimal reports whether s is digits with at most one point between them
// and no needless leading zero: 700, 700.50, 0.5.
func isDecimal(s string) bool {
	whole, fraction, hasPoint := strings.Cut(s, ".")
	digits := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
	if !digits(whole) || (len(whole) > 1 && whole[0] == '0') || len(s) > money.MaxText {
		return false
	}
	return !hasPoint || digits(fraction)
}

// isTraceParent reports whether s is a W3C traceparent of version 00.
func isTraceParent(s string) bool {
	if len(s) != 55 || s[:3] != "00-" || s[35] != '-' || s[52] != '-' {
		return false
	}
	hex := func(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }
	trace, span := s[3:35], s[36:52]
	return hex(trace) && hex(span) && hex(s[53:]) && strings.Trim(trace, "0") != "" && strings.Trim(span, "0") != ""
}

// isVersion reports whether s is a version number, such as 0.3.
func isVersion(s string) bool {
	return s != "" && len(s) <= 8 && strings.Trim(s, "0123456789.") == ""
}

// isMediaType reports whether s begins as the usual media types do.
func isMediaType(s string) bool {
	s = strings.ToLower(s)
	return strings.HasPrefix(s, "application/") || strings.HasPrefix(s, "text/")
}

// isJSONType reports whether a media type is one of JSON.
func isJSONType(mediaType string) bool {
	base, _, _ := strings.Cut(mediaType, ";")
	base = strings.Trim(base, " \t")
	if !isToken(base, len(base)) { // because ToLower turns the Turkish capital I into an i
		return false
	}
	base = strings.ToLower(base)
	return base == "application/json" || (strings.HasPrefix(base, "application/") && strings.HasSuffix(base, "+json"))
}

// quotedIf quotes a text that has the form expected in its place, and names what is around it. It does not
// quote any other text, because a producer may have put the payer token there.
func quotedIf(isForm func(string) bool, text string) string {
	const (
		wrappings = 4
		longest   = 128
	)
	around := ""
	for range wrappings {
		if isForm(text) {
			return strconv.Quote(Printable(text, 64)) + around
		}
		if len(text) > longest {
			break
		}
		inner, how := unwrap(text)
		if decoded, err := decodeBase64([]byte(strings.TrimRight(text, "="))); err == nil && isForm(string(decoded)) {
			inner, how = string(decoded), "it is base64"
		}
		if how == "" {
			break
		}
		text = inner
		if around == "" {
			around = ", but "
		} else {
			around += " and "
		}
		around += how
	}
	return "something else"
}

// Printable returns at most limit bytes of the text, with ? in place of each character
// that is not printable ASCII. A text that is cut ends in "...".
func Printable(text string, limit int) string {
	if len(text) > limit {
		text = text[:limit] + "..."
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, text)
}

// lettersOf returns the ASCII letters of a text in lower case.
func lettersOf(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'A' <= r && r <= 'Z':
			return r + ('a' - 'A')
		case 'a' <= r && r <= 'z':
			return r
		}
		return -1
	}, text)
}
