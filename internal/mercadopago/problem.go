package mercadopago

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// problem is an error answer in one shape. The API has no single one: status
// is text or number, cause is missing, null, an array or an object, a cause's
// code is text or number and its text is in message or description, newer
// endpoints have errors[], and the edge of the host code and message only
// (error decoder in §5 of the API reference notes).
type problem struct {
	present bool // has an error, code, cause or errors; a message alone is none
	message string
	codes   []string // causes' codes, as digits where they are digits
	words   []string // error, and codes that are words: lower case, _ for space
	texts   []string // message and the causes' texts, folded for comparison
}

// wireProblem is the members of an answer that make it one.
type wireProblem struct {
	err, message, code string
	cause, errs        jsontext.Value
}

type wireCause struct {
	Code        jsontext.Value `json:"code"`
	Message     jsontext.Value `json:"message"`
	Description jsontext.Value `json:"description"`
}

func (w *wireProblem) problem() problem {
	p := problem{message: w.message}
	p.addText(w.message)
	p.addWord(w.err)
	p.addCode(w.code)
	p.addCauses(w.cause)
	p.addCauses(w.errs)
	p.present = len(p.codes)+len(p.words) > 0 || hasContent(w.cause) || hasContent(w.errs)
	return p
}

// hasContent reports whether v is more than null or an empty list.
func hasContent(v jsontext.Value) bool {
	if absent(v) {
		return false
	}
	bare := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\r\n", r) {
			return -1
		}
		return r
	}, string(v[:min(len(v), 64)]))
	return bare != "[]" && bare != "{}" && bare != `""`
}

func (p *problem) addCauses(raw jsontext.Value) {
	if absent(raw) {
		return
	}
	var elements []jsontext.Value
	switch byte(raw.Kind()) {
	case '[':
		if !unmarshal(raw, &elements) {
			return
		}
	case '{', '"', '0':
		elements = []jsontext.Value{raw}
	}
	for _, element := range elements {
		var w wireCause
		switch {
		case element.Kind() == '"':
			p.addText(scalar(element))
		case element.Kind() == '0':
			p.addCode(scalar(element))
		case element.Kind() == '{' && unmarshal(element, &w):
			p.addCode(scalar(w.Code))
			p.addText(scalar(w.Message))
			p.addText(scalar(w.Description))
		}
	}
}

func (p *problem) addCode(code string) {
	code = strings.TrimSpace(code)
	switch {
	case code == "":
	case strings.Trim(code, "0123456789") != "":
		p.addWord(code)
	case code == "40058":
		// One version of the reference drops a digit of 400058.
		p.codes = append(p.codes, "400058")
	default:
		p.codes = append(p.codes, code)
	}
}

func (p *problem) addWord(word string) {
	if word = strings.ReplaceAll(fold(word), " ", "_"); word != "" {
		p.words = append(p.words, word)
	}
}

func (p *problem) addText(text string) {
	if text = fold(text); text != "" {
		p.texts = append(p.texts, text)
	}
}

// fold makes texts that differ in case, outer spaces and a final point equal:
// the documents have "Invalid payer token." and "Invalid payer token" in one
// answer, "Not found" and not_found for one error.
func fold(text string) string {
	return strings.ToLower(strings.TrimRight(strings.TrimSpace(text), "."))
}

// anyCode reports whether one of the causes has one of the codes.
func (p *problem) anyCode(codes ...string) bool {
	return slices.ContainsFunc(p.codes, func(c string) bool { return slices.Contains(codes, c) })
}

// onlyCode reports whether there are causes with codes, all of them this one.
func (p *problem) onlyCode(code string) bool {
	return len(p.codes) > 0 && !slices.ContainsFunc(p.codes, func(c string) bool { return c != code })
}

// word reports whether the error or a code is one of the words.
func (p *problem) word(words ...string) bool {
	return slices.ContainsFunc(p.words, func(w string) bool { return slices.Contains(words, w) })
}

// says reports whether the message or a cause's text is this one, folded.
func (p *problem) says(text string) bool { return slices.Contains(p.texts, text) }

// mentions reports whether the message or a cause's text has this in it.
func (p *problem) mentions(part string) bool {
	return slices.ContainsFunc(p.texts, func(t string) bool { return strings.Contains(t, part) })
}

// line tells the error to a person.
func (p *problem) line() string {
	line := p.message
	if line == "" && len(p.texts) > 0 {
		line = p.texts[0]
	}
	if line == "" && len(p.words) > 0 {
		line = p.words[0]
	}
	if len(p.codes) > 0 {
		line += " (cause " + strings.Join(p.codes, ", ") + ")"
	}
	return strings.TrimSpace(line)
}
