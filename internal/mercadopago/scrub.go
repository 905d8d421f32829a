package mercadopago

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"payment-capture/internal/secret"
)

const (
	maxDetail = 300 // bytes of Answer.Detail and of a halt's reason
	maxText   = 128 // bytes of any other text from the API
	// gramSize is how many bytes of a token identify it. Shorter pieces may show; a
	// whole token that is shorter may show only within a word, see [scrubber.word].
	gramSize = 12
	// maxScrubbed bounds the text that is searched. It is far over maxDetail, so that
	// no piece of a token at this cut can show.
	maxScrubbed = 16 << 10
)

// scrubber removes secrets from texts and makes texts fit for a log line. It is not
// safe for concurrent use.
type scrubber struct {
	forms    []string // the secrets, lower-case, in all their spellings
	shortest int      // the length of the shortest gram; 0: there is no secret
	trigrams trigrams // of the forms
	personal []string // texts about the buyer that are removed where they appear whole
	// sizes and grams are computed from the forms when a text first needs them.
	sizes []int               // the lengths of the grams
	grams map[string]struct{} // pieces of the forms
}

// newScrubber returns a scrubber that finds the secrets by all their pieces of
// gramSize bytes, plain, as a URL escapes them and as JSON or Go quote them. So it
// finds a token in another case, or quoted in part, as error messages do.
func newScrubber(secrets ...string) *scrubber {
	s := new(scrubber)
	for _, plain := range secrets {
		s.add(plain)
	}
	return s
}

// with returns a scrubber that also removes what is private in a request: the payer
// token by its pieces, the device session and the description where they appear whole.
// A description's pieces are the words of many other texts.
func (s *scrubber) with(r *Request) *scrubber {
	more := &scrubber{forms: slices.Clip(s.forms), shortest: s.shortest, trigrams: s.trigrams}
	more.add(r.payerToken())
	for _, text := range []string{r.SessionID, r.description} {
		if len(text) >= leastPersonal {
			more.personal = append(more.personal, text)
		}
	}
	return more
}

// leastPersonal is the length of the shortest text that counts as personal. A shorter
// one, such as "Order", is part of usual texts.
const leastPersonal = 8

// redactPersonal hides the personal texts, plain, as a URL escapes them and as JSON or Go
// quote them.
func (s *scrubber) redactPersonal(text string) string {
	escaped := strings.ContainsAny(text, `%+\`)
	for _, plain := range s.personal {
		text = strings.ReplaceAll(text, plain, secret.Redacted)
		if !escaped {
			continue
		}
		quoted, ascii := strconv.Quote(plain), strconv.QuoteToASCII(plain)
		for _, form := range []string{url.QueryEscape(plain), url.PathEscape(plain), quoted[1 : len(quoted)-1], ascii[1 : len(ascii)-1]} {
			text = strings.ReplaceAll(text, form, secret.Redacted)
		}
	}
	return text
}

func (s *scrubber) add(plain string) {
	s.addForm(plain)
	if pathSegment(plain) != "" { // as tokens are: one spelling
		return
	}
	if escaped := url.QueryEscape(plain); escaped != plain {
		s.addForm(escaped)
	}
	if quoted := strconv.Quote(plain); quoted[1:len(quoted)-1] != plain {
		s.addForm(quoted[1 : len(quoted)-1])
	}
}

func (s *scrubber) addForm(form string) {
	form = strings.ToLower(form)
	size := min(gramSize, len(form))
	if size == 0 {
		return
	}
	if s.shortest == 0 || size < s.shortest {
		s.shortest = size
	}
	s.forms = append(s.forms, form)
	s.trigrams.add(form)
}

// text returns at most limit bytes of one printable line without the secrets.
func (s *scrubber) text(text string, limit int) string {
	return bounded(s.redact(text, 0), limit)
}

// word is text for an id, a status, an amount and the like. In a text of that form
// it does not search for a secret shorter than gramSize: nearly any word contains
// an "e", and a payment id with a part removed is useless. Tokens of the API are
// several times as long.
func (s *scrubber) word(text string) string {
	if !isWord(text) {
		return s.text(text, maxText)
	}
	return bounded(s.redact(text, gramSize), maxText)
}

func isWord(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' && r != '.'
	})
}

// redact hides the pieces of secrets that have least bytes or more.
func (s *scrubber) redact(text string, least int) string {
	text = s.redactPersonal(text[:min(len(text), maxScrubbed)])
	if !s.mayHave(text, least) {
		return text
	}
	s.makeGrams()
	lower := asciiLower(text)
	hidden := make([]bool, len(text))
	found := false
	for _, size := range s.sizes {
		if size < least {
			continue
		}
		for i := range max(len(lower)-size+1, 0) {
			if _, ok := s.grams[lower[i:i+size]]; !ok {
				continue
			}
			found = true
			for j := range size {
				hidden[i+j] = true
			}
		}
	}
	if !found {
		return text
	}
	var out strings.Builder
	for i := range len(text) {
		switch {
		case !hidden[i]:
			out.WriteByte(text[i])
		case i == 0 || !hidden[i-1]:
			out.WriteString(secret.Redacted)
		}
	}
	return out.String()
}

// mayHave reports whether the text may contain a gram. It may be wrong only if it
// reports true. Computing the grams costs more than all the texts of an answer, and
// few texts need it.
func (s *scrubber) mayHave(text string, least int) bool {
	shortest := max(s.shortest, least)
	switch {
	case s.shortest == 0 || len(text) < shortest:
		return false
	case shortest < 3: // pieces of which there are no trigrams
		return true
	}
	// A gram has at least so many consecutive trigrams of a secret.
	row := shortest - 2
	run := 0
	for i := range len(text) - 2 {
		if run++; !s.trigrams.has(lowered(text[i]), lowered(text[i+1]), lowered(text[i+2])) {
			run = 0
		}
		if run == row {
			return true
		}
	}
	return false
}

func (s *scrubber) makeGrams() {
	if s.grams != nil {
		return
	}
	s.grams = make(map[string]struct{})
	for _, form := range s.forms {
		size := min(gramSize, len(form))
		if !slices.Contains(s.sizes, size) {
			s.sizes = append(s.sizes, size)
		}
		for i := range len(form) - size + 1 {
			s.grams[form[i:i+size]] = struct{}{}
		}
	}
}

// trigrams is a Bloom filter of pieces of three bytes.
type trigrams [16]uint64

func (t *trigrams) add(text string) {
	for i := range max(len(text)-2, 0) {
		at := trigram(text[i], text[i+1], text[i+2])
		t[at/64] |= 1 << (at % 64)
	}
}

func (t *trigrams) has(a, b, c byte) bool {
	at := trigram(a, b, c)
	return t[at/64]&(1<<(at%64)) != 0
}

// trigram returns the bit of a piece.
func trigram(a, b, c byte) uint {
	return ((uint(a)*31+uint(b))*31 + uint(c)) % (16 * 64)
}

// asciiLower keeps the position of each byte, which strings.ToLower does not.
func asciiLower(text string) string {
	b := []byte(text)
	for i, c := range b {
		b[i] = lowered(c)
	}
	return string(b)
}

func lowered(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// bounded returns at most limit bytes of text, cut between characters, with a
// question mark for each character that is not printable.
func bounded(text string, limit int) string {
	if len(text) <= limit && !strings.ContainsFunc(text, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
		return text
	}
	var out strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		i += size
		if (r == utf8.RuneError && size == 1) || !unicode.IsPrint(r) {
			r = '?'
		}
		if out.Len()+utf8.RuneLen(r) > limit {
			break
		}
		out.WriteRune(r)
	}
	return out.String()
}
