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
	maxText   = 128 // bytes of any other text of the API's
	// gramSize is how much of a token, in bytes, gives it away. Shorter pieces
	// of it may show; a whole token that is shorter may not.
	gramSize = 12
	// maxScrubbed bounds the text that is searched; far over maxDetail, so
	// that no piece of a token at this cut can show.
	maxScrubbed = 16 << 10
)

// scrubber keeps secrets out of texts, and texts fit for a log line.
type scrubber struct {
	sizes []int               // the lengths of the grams
	grams map[string]struct{} // lower-case pieces of the secrets
}

// newScrubber knows the secrets by all their pieces of gramSize bytes, plain,
// as a URL would escape them and as JSON or Go would quote them, so that a
// token quoted in part, as error messages do, or in another case is found too.
func newScrubber(secrets ...string) *scrubber {
	s := &scrubber{grams: make(map[string]struct{})}
	for _, plain := range secrets {
		quoted := strconv.Quote(plain)
		forms := []string{plain, url.QueryEscape(plain), quoted[1 : len(quoted)-1]}
		for _, form := range slices.Compact(forms) {
			s.add(strings.ToLower(form))
		}
	}
	return s
}

func (s *scrubber) add(token string) {
	size := min(gramSize, len(token))
	if size == 0 {
		return
	}
	if !slices.Contains(s.sizes, size) {
		s.sizes = append(s.sizes, size)
	}
	for i := range len(token) - size + 1 {
		s.grams[token[i:i+size]] = struct{}{}
	}
}

// text gives at most limit bytes of one printable line without the secrets.
func (s *scrubber) text(text string, limit int) string {
	return bounded(s.redact(text), limit)
}

func (s *scrubber) redact(text string) string {
	text = text[:min(len(text), maxScrubbed)]
	lower := asciiLower(text)
	hidden := make([]bool, len(text))
	found := false
	for _, size := range s.sizes {
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

// asciiLower keeps every byte in its place, which strings.ToLower does not.
func asciiLower(text string) string {
	b := []byte(text)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// bounded gives at most limit bytes of text, cut between characters, with a
// question mark for all that is not printable.
func bounded(text string, limit int) string {
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
