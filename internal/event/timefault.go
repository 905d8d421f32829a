package event

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// timeFault returns in what a text differs from an RFC 3339 time, after a colon, or "" if the
// text does not look like a time. It does not quote the text: a producer may have put the payer token there.
func timeFault(text string) string {
	const (
		longest   = 128
		wrappings = 4
	)
	if len(text) > longest {
		return ""
	}
	faults, isTime := readTime(text)
	for range wrappings {
		inner, how := unwrap(text)
		if how == "" || isTime {
			break
		}
		text = inner
		faults = append(faults, how)
		if _, isTime = parseTime(text); !isTime {
			var more []string
			more, isTime = readTime(text)
			faults = append(faults, more...)
		}
	}
	if len(faults) == 0 {
		return ""
	}
	return ": " + strings.Join(faults, ", ")
}

// readTime returns in what a text without a wrapping differs from an RFC 3339 time. ok is false if it
// looks neither like a time nor like a number.
func readTime(text string) (faults []string, ok bool) {
	fault := textFault(text)
	switch {
	case text == "":
		return []string{"it is empty"}, true
	case fault != "" && len(text)%4 == 0 && len(text) <= 8 && wideEncoding([]byte(text)) == "":
		return []string{fmt.Sprintf("it is %d bytes that are not text (a binary number?)", len(text))}, true
	case fault != "":
		return []string{fault}, true
	case text != strings.TrimSpace(text):
		return nil, false
	}
	if fault = numericTime(text); fault != "" {
		return []string{fault}, true
	}
	t := timeReader{tokens: timeTokens(text)}
	switch {
	case t.hasName():
		t.fault("it has the name of a day or month")
	case t.date():
		t.timeOfDay()
	case t.isClock():
		t.fault("it is a time of day without a date")
	case strings.Contains(text, "Date("):
		t.fault("it is a date in the notation of a programming language")
	}
	return t.faults, len(t.faults) > 0
}

// numericTime returns what is wrong with a number, or "" if the text is none.
func numericTime(text string) string {
	digits := strings.TrimLeft(text, "+-")
	number := strings.TrimRight(digits, "DFLMNSUdflmnsu") // suffixes of literals, and units
	_, err := strconv.ParseFloat(number, 64)
	switch whole, _, _ := strings.Cut(digits, "."); {
	case digits == "" || digits[0] < '0' || digits[0] > '9':
		return ""
	case isCompactDate(digits):
		return "it is digits only: the date has no hyphens"
	case strings.Trim(digits, "0123456789.,") == "" && strings.Count(digits, ".") < 2:
		switch len(whole) {
		case 10, 13:
			return "it is digits only (seconds or milliseconds since 1970?)"
		case 16, 19:
			return "it is digits only (microseconds or nanoseconds since 1970?)"
		}
		return "it is digits only"
	case err == nil:
		return "it is a number (since 1970?), not a date and a time of day"
	}
	return ""
}

// isCompactDate reports whether digits are a date, or a date and a time of day, without marks between
// them.
func isCompactDate(digits string) bool {
	const layout = "20060102150405"
	read := digits[:min(len(digits), len(layout))]
	switch len(digits) {
	case 8, 12, 14, 17:
		t, err := time.Parse(layout[:len(read)], read)
		return err == nil && t.Year() >= 1970 && t.Year() < 2200
	}
	return false
}

// timeToken is a run of digits, of letters or of spaces, or one other character.
type timeToken struct {
	text string
	kind rune // '0' of digits, 'a' of letters, ' ' of spaces, else the character
}

func timeTokens(text string) []timeToken {
	var tokens []timeToken
	for _, r := range text {
		kind, isRun := r, true
		switch {
		case '0' <= r && r <= '9':
			kind = '0'
		case unicode.IsLetter(r):
			kind = 'a'
		case unicode.IsSpace(r):
			kind = ' '
		default:
			isRun = false
		}
		if last := len(tokens) - 1; isRun && last >= 0 && tokens[last].kind == kind {
			tokens[last].text += string(r)
		} else {
			tokens = append(tokens, timeToken{text: string(r), kind: kind})
		}
	}
	return tokens
}

// timeReader reads tokens in the order of an RFC 3339 time and collects what differs.
type timeReader struct {
	tokens []timeToken // not read yet
	faults []string
}

func (t *timeReader) fault(text string) {
	if !slices.Contains(t.faults, text) {
		t.faults = append(t.faults, text)
	}
}

// next returns the next token; at the end one without a text.
func (t *timeReader) next() timeToken {
	if len(t.tokens) == 0 {
		return timeToken{}
	}
	return t.tokens[0]
}

// take reads tokens of these kinds, or nothing if others follow.
func (t *timeReader) take(kinds string) ([]timeToken, bool) {
	n := 0
	for _, kind := range kinds {
		if n >= len(t.tokens) || t.tokens[n].kind != kind {
			return nil, false
		}
		n++
	}
	taken := t.tokens[:n]
	t.tokens = t.tokens[n:]
	return taken, true
}

// hasSizes reports whether the texts of digits among tokens have these lengths.
func hasSizes(tokens []timeToken, sizes ...int) bool {
	n := 0
	for _, token := range tokens {
		if token.kind == '0' {
			if n >= len(sizes) || len(token.text) != sizes[n] {
				return false
			}
			n++
		}
	}
	return n == len(sizes)
}

// hasName reports whether a word is the name of a day or month in English, Spanish or Portuguese, maybe
// shortened, and no date in digits is before it, as before the name of a zone.
func (t *timeReader) hasName() bool {
	const names = " monday tuesday wednesday thursday friday saturday sunday january february march april may june july august " +
		"september october november december lunes martes miércoles jueves viernes sábado domingo enero febrero marzo abril mayo " +
		"junio julio agosto septiembre octubre noviembre diciembre segunda terça quarta quinta sexta janeiro fevereiro março maio " +
		"junho julho setembro outubro novembro dezembro "
	isKind := func(i int, kind rune) bool { return i < len(t.tokens) && t.tokens[i].kind == kind }
	hasDigits := slices.ContainsFunc(t.tokens, func(token timeToken) bool { return token.kind == '0' })
	if !hasDigits || isKind(0, '0') && isKind(2, '0') && isKind(4, '0') {
		return false
	}
	return slices.ContainsFunc(t.tokens, func(token timeToken) bool {
		const shortest = 3
		return token.kind == 'a' && len(token.text) >= shortest && strings.Contains(names, " "+strings.ToLower(token.text))
	})
}

// isClock reports whether a time of day begins here.
func (t *timeReader) isClock() bool {
	return len(t.tokens) > 2 && t.tokens[0].kind == '0' && t.tokens[1].kind == ':' && t.tokens[2].kind == '0' &&
		hasSizes(t.tokens[2:3], 2)
}

// date reads the date, and reports whether there is one.
func (t *timeReader) date() bool {
	const form = "the date is not written as 2026-11-23"
	if sign := t.next().kind; (sign == '+' || sign == '-') && len(t.tokens) > 5 {
		t.tokens = t.tokens[1:]
		t.fault("a sign is before the year")
	}
	if d, ok := t.take("0-0-0"); ok {
		switch {
		case len(d[0].text) > 4:
			t.fault("the year has more than four digits")
		case !hasSizes(d, 4, 2, 2):
			t.fault(form)
		}
		return true
	}
	for _, marks := range []string{"0/0/0", "0.0.0", "0:0:0", "0 0 0", "0_0_0"} {
		if d, ok := t.take(marks); ok {
			if isCompact := marks == "0:0:0" && len(d[0].text) <= 2; isCompact {
				t.tokens = append(slices.Clone(d), t.tokens...)
				return false // a time of day
			}
			t.fault(form)
			return true
		}
	}
	if hasSizes(t.tokens[:min(1, len(t.tokens))], 8) {
		t.take("0")
		t.fault("the date has no hyphens")
		return true
	}
	for _, marks := range []string{"0-a0-0", "0a0-0", "0-a0", "0a0", "0-0"} { // weeks, days of the year, months
		begin := t.tokens
		d, ok := t.take(marks)
		if ok && len(d[0].text) == 4 && (marks == "0-0" || strings.EqualFold(d[len(marks)-len(strings.TrimLeft(marks, "0-"))].text, "w")) {
			t.fault(form)
			return true
		}
		t.tokens = begin
	}
	return false
}

// timeOfDay reads the rest after the date.
func (t *timeReader) timeOfDay() {
	if len(t.tokens) == 0 {
		t.fault("it is a date without a time of day")
		return
	}
	if !t.separator() || t.next().kind != '0' {
		t.fault("something that is not a time of day follows the date")
		return
	}
	t.clock()
	t.zone()
	if len(t.faults) == 0 {
		t.fault("the day, the time of day or the offset does not exist")
	}
}

// separator reads what is between the date and the time of day.
func (t *timeReader) separator() bool {
	read := t.tokens
	for len(t.tokens) > 0 && t.next().kind != '0' && len(read)-len(t.tokens) < 3 {
		t.tokens = t.tokens[1:]
	}
	between := read[:len(read)-len(t.tokens)]
	var joined strings.Builder
	for _, token := range between {
		joined.WriteString(token.text)
	}
	switch text := joined.String(); {
	case text == "T":
	case text == "t":
		t.fault("the t or the z is in lower case")
	case text != "" && strings.TrimSpace(text) == "":
		t.fault("a space is in place of the T")
	case text == "Z" || text == "z" || strings.Contains(text, "["):
		return false
	default:
		t.fault("the T between the date and the time of day is missing")
	}
	return true
}

// clock reads the time of day and the fraction of a second.
func (t *timeReader) clock() {
	const form = "the time of day is not written as 10:00:00"
	if d, ok := t.take("0:0:0"); ok {
		switch {
		case !hasSizes(d, 2, 2, 2):
			t.fault(form)
		case d[4].text == "60":
			t.fault("it is a leap second, which is not read")
		}
	} else if d, ok := t.take("0:0"); ok {
		t.fault("the seconds are missing")
		if !hasSizes(d, 2, 2) {
			t.fault(form)
		}
	} else if d, _ := t.take("0"); hasSizes(d, 6) || hasSizes(d, 4) {
		t.fault("the time of day has no colons")
		if hasSizes(d, 4) {
			t.fault("the seconds are missing")
		}
	} else if rest := t.next().kind; rest == 'a' || rest == 0 || rest == '+' || rest == '[' {
		t.fault("the minutes and the seconds are missing")
	} else {
		t.fault(form)
		for kind := t.next().kind; kind == '0' || kind == '.' || (kind == '-' && rest == '-'); kind = t.next().kind {
			t.tokens = t.tokens[1:]
		}
	}
	if _, ok := t.take(".0"); ok {
		return
	}
	switch t.next().kind {
	case ',':
		t.fault("a comma is before the fraction of a second")
		t.tokens = t.tokens[1:]
	case ':', '.':
		t.fault("the fraction of a second is not written as .5")
		t.tokens = t.tokens[1:]
	}
	t.take("0")
}

// zone reads the zone, and reports whatever follows it.
func (t *timeReader) zone() {
	const instead = ": end it with Z or an offset such as +01:00"
	hasOffset, hasZ, hasName := false, false, false
	for len(t.tokens) > 0 {
		token := t.next()
		switch word := strings.ToLower(strings.Trim(token.text, ".")); {
		case token.kind == ' ':
			if len(t.tokens) > 1 && !hasOffset && !hasZ && !hasName && t.tokens[1].kind != '[' && t.tokens[1].kind != '(' {
				t.fault("a space is before the zone")
			}
			t.tokens = t.tokens[1:]
		case !hasOffset && (token.kind == '+' || token.kind == '-' || token.kind == '−' || token.kind == '–'):
			t.offset()
			hasOffset = true
		case word == "z" && !hasZ && !hasName:
			if token.text == "z" {
				t.fault("the t or the z is in lower case")
			}
			hasZ = true
			t.tokens = t.tokens[1:]
		case word == "am" || word == "pm" || word == "a" || word == "p":
			t.fault("the hour has AM or PM")
			t.tokens = t.tokens[1:]
			for t.next().kind == '.' || t.next().text == "m" || t.next().text == "M" {
				t.tokens = t.tokens[1:]
			}
		case (token.kind == 'a' && (len(word) > 2 || !hasOffset && !hasZ)) || token.kind == '[' || token.kind == '(':
			t.zoneName(hasOffset || hasZ)
			hasName = true
		default:
			t.fault("something follows the time of day and the zone")
			t.tokens = nil
		}
	}
	switch {
	case hasZ && hasOffset:
		t.fault("it has both an offset and Z")
	case !hasZ && !hasOffset && !hasName:
		t.fault("it has no zone" + instead)
	}
}

// offset reads an offset.
func (t *timeReader) offset() {
	if sign := t.next().kind; sign != '+' && sign != '-' {
		t.fault("the sign of the offset is not the + or - of ASCII")
	}
	t.tokens = t.tokens[1:]
	if d, ok := t.take("0:0"); ok {
		if !hasSizes(d, 2, 2) {
			t.fault("the offset is not written as +01:00")
		}
		if _, ok = t.take(":0"); ok {
			t.fault("the offset has seconds")
		}
		return
	}
	switch d, _ := t.take("0"); {
	case hasSizes(d, 4), hasSizes(d, 2):
		t.fault("the offset has no colon or no minutes: write +01:00")
	default:
		t.fault("the offset is not written as +01:00")
	}
}

// zoneName reads the name of a zone, in brackets or not.
func (t *timeReader) zoneName(follows bool) {
	where := map[rune]string{'[': " in brackets", '(': " in parentheses"}[t.next().kind]
	if where != "" {
		end := slices.IndexFunc(t.tokens, func(token timeToken) bool { return token.kind == ']' || token.kind == ')' })
		t.tokens = t.tokens[end+1:]
		if end < 0 {
			t.tokens = nil
		}
	} else {
		for kind := t.next().kind; kind == 'a' || kind == '/' || kind == '_' || (kind == '-' && len(t.tokens) > 1 && t.tokens[1].kind == 'a'); {
			t.tokens = t.tokens[1:]
			kind = t.next().kind
		}
	}
	if follows {
		t.fault("a zone name" + where + " follows it; the offset is enough")
	} else {
		t.fault("a zone name" + where + " is in place of Z or an offset such as +01:00")
	}
}

// unwrap returns a text without one wrapping, and how it was wrapped; how is "" if it was not.
func unwrap(text string) (inner, how string) {
	const quotes = "\"'`\\´“”‘’„«»‹›"
	if inner = strings.TrimSpace(text); inner != text {
		return inner, "a space or a line end is at its beginning or end"
	}
	if inner = strings.Trim(text, quotes); inner != text {
		return inner, "it is in quotes"
	}
	decoded, err := decodeBase64([]byte(strings.TrimRight(text, "=")))
	if inner = string(decoded); err == nil && textFault(inner) == "" {
		if _, looksLikeTime := readTime(inner); looksLikeTime || parsesAsTime(inner) {
			return inner, "it is base64 of a time"
		}
	}
	return text, ""
}

func parsesAsTime(text string) bool {
	_, ok := parseTime(text)
	return ok
}

// textFault returns why bytes are not plain text in UTF-8, or "".
func textFault(text string) string {
	bytes := []byte(text)
	zero, at := strings.IndexByte(text, 0), notUTF8At(bytes)
	switch wide := wideEncoding(bytes); {
	case wide != "" && (at < 0 || (zero >= 0 && zero < at)):
		return fmt.Sprintf("it is %s, not UTF-8 at byte %d", wide, zero)
	case wide != "":
		return fmt.Sprintf("it is %s, not UTF-8 at byte %d", wide, at)
	case at >= 0:
		return fmt.Sprintf("it is not UTF-8 at byte %d (Latin-1, or not text at all?)", at)
	case zero >= 0:
		return fmt.Sprintf("it has a zero byte at byte %d (padding, or not text at all?)", zero)
	case strings.HasPrefix(text, "\ufeff"):
		return "it begins with a byte order mark"
	}
	return ""
}
