package event

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// resembles reports whether the type is ours, damaged or not: capitals,
// spaces, characters that do not print and bytes that are no UTF-8 do not
// count. A record of such a type may be meant for us, so it is not skipped.
func resembles(eventType string) bool {
	if eventType == TypeReadyToCapture {
		return true
	}
	return TypeReadyToCapture == strings.Map(func(r rune) rune {
		if r == ' ' || r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, eventType)
}

// headerClaims reports whether a ce_type header says that the record is ours.
func headerClaims(headers []Header) bool {
	for _, h := range headers {
		if h.Key == "ce_type" && resembles(string(h.Value)) {
			return true
		}
	}
	return false
}

// contradicted compares a structured event with the ce_* headers that may
// stand beside it: they repeat the value's attributes or are wrong, and which
// of two ids is the idempotency key must not be guessed.
func contradicted(env *envelope, headers []Header) error {
	if env.Type == nil {
		return nil // wrong in itself
	}
	ours := resembles(*env.Type)
	for _, h := range headers {
		if h.Key != "ce_type" && h.Key != "ce_id" {
			continue
		}
		value := string(h.Value)
		switch {
		case h.Key == "ce_type" && (ours || resembles(value)) && value != *env.Type:
			return invalid("ce_type", "is not the type in the value, which is read: the content-type says so")
		case h.Key == "ce_id" && ours && env.ID != nil && value != *env.ID:
			return invalid("ce_id", "is not the id in the value, which is read: the content-type says so")
		}
	}
	return nil
}

// typeOf finds the type attribute of a JSON object that may be wrong in other
// places, or gives "". Of several it gives ours: a record that may be meant
// for us is not skipped.
func typeOf(value []byte) string {
	var t struct {
		Type stickyType     `json:"type"`
		Rest jsontext.Value `json:",embed"`
	}
	err := json.Unmarshal(value, &t, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return ""
	}
	return string(t.Type)
}

// stickyType keeps our type once it has been seen.
type stickyType string

func (t *stickyType) UnmarshalText(text []byte) error {
	if !resembles(string(*t)) {
		*t = stickyType(text)
	}
	return nil
}
