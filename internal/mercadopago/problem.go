package mercadopago

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// problem is an error answer in one shape. The API has several: status is text or
// number; cause is missing, null, an array or an object; a cause's code is text or
// number and its text is in message or description; newer endpoints have errors[];
// and the edge of the host has code and message only.
type problem struct {
	present bool // has an error, code, cause or errors; a message alone is none
	message string
	codes   []string // causes' codes, as digits where they are digits
	words   []string // error, and codes that are words: lower case, _ for space
	texts   []string // message and the causes' texts, folded for comparison
}

// newProblem returns the error in the body.
func (b *body) newProblem() problem {
	p := problem{message: b.Message}
	p.addText(b.Message)
	p.addWord(b.Error)
	p.addCode(b.Code)
	hasCauses := p.addCauses(b.Cause)
	hasErrors := p.addCauses(b.Errors)
	p.present = len(p.codes)+len(p.words) > 0 || hasCauses || hasErrors
	return p
}

// addCauses adds a list of causes, or one of them. It reports whether there is more
// than null or nothing.
func (p *problem) addCauses(raw jsontext.Value) bool {
	elements := []jsontext.Value{raw}
	if raw.Kind() == jsontext.KindBeginArray {
		elements = nil
		if !unmarshal(raw, &elements) {
			return true
		}
	} else if bare := strings.Join(strings.Fields(string(raw)), ""); bare == "" || bare == "null" || bare == "{}" || bare == `""` {
		return false
	}
	for _, element := range elements {
		var text string
		var w struct {
			Code        string `json:"code"`
			Message     string `json:"message"`
			Description string `json:"description"`
		}
		switch kind := element.Kind(); {
		case kind == jsontext.KindString && unmarshal(element, &text):
			p.addText(text)
		case kind == jsontext.KindNumber:
			p.addCode(string(element))
		case kind == jsontext.KindBeginObject && unmarshal(element, &w):
			p.addCode(w.Code)
			p.addText(w.Message)
			p.addText(w.Description)
		}
	}
	return len(elements) > 0
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

// fold makes texts equal that differ in case, outer spaces and a final point: the
// documents have "Invalid payer token." and "Invalid payer token" in one answer, and
// "Not found" and not_found for one error.
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

// mentions reports whether the message or a cause's text contains part.
func (p *problem) mentions(part string) bool {
	return slices.ContainsFunc(p.texts, func(t string) bool { return strings.Contains(t, part) })
}

// line returns the error in one line for an operator.
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
