package event

import (
	"bytes"
	"strings"
)

// headerAttributes is what the headers of a record say about its event. A header
// without a value counts as absent, and equal values of one header count once, so
// neither nulls nor the order of the headers change how a record is read.
type headerAttributes struct {
	values  [attrData][]byte // the ce_* headers by attribute number; nil if absent
	doubled uint16           // attributes that have different values
	any     bool             // some ce_* header has a value
	// contentType is the content-type header. structured reports whether it, or
	// another one if there are several, is that of structured mode.
	contentType  []byte
	contentTypes bool // there are different ones
	structured   bool
	trace        []byte // traceparent; nil also if there are different ones
	traces       bool   // there are different ones
}

const cloudEventsMediaType = "application/cloudevents"

func readHeaders(headers []Header) (h headerAttributes) {
	for i := range headers {
		key, value := headers[i].Key, headers[i].Value
		if len(value) == 0 {
			continue
		}
		if name, isAttribute := strings.CutPrefix(key, "ce_"); isAttribute {
			h.any = true
			// The data's content type has a header of its own in binary mode.
			if n := attributeNumber(name); n < attrData && n != attrDataContentType && differs(&h.values[n], value) {
				h.doubled |= 1 << n
			}
			continue
		}
		switch {
		case key == "traceparent":
			h.traces = differs(&h.trace, value) || h.traces
		case len(key) == len("content-type") && strings.EqualFold(key, "content-type"):
			h.contentTypes = differs(&h.contentType, value) || h.contentTypes
			_, isCloudEvent := cutFold(value, cloudEventsMediaType)
			h.structured = h.structured || isCloudEvent
		}
	}
	if h.traces {
		h.trace = nil
	}
	return h
}

// differs stores the value of a header and reports whether another one was stored.
// It keeps the lesser of two, so the result is independent of their order.
func differs(stored *[]byte, value []byte) bool {
	switch order := bytes.Compare(value, *stored); {
	case *stored == nil:
		*stored = value
		return false
	case order < 0:
		*stored = value
		return true
	default:
		return order > 0
	}
}

// cutFold cuts an ASCII prefix off a text, in capitals or not.
func cutFold(text []byte, prefix string) (rest []byte, ok bool) {
	if len(text) < len(prefix) || !strings.EqualFold(string(text[:len(prefix)]), prefix) {
		return text, false
	}
	return text[len(prefix):], true
}

// inValue reports whether the event is the record's value (structured mode), not
// the value and the headers (binary mode).
func (h *headerAttributes) inValue() bool { return h.structured || !h.any }

// check returns what is wrong with the headers of an event in either mode.
func (h *headerAttributes) check() error {
	if h.contentTypes {
		return invalid("content-type", "stands twice in the headers, and not the same: the mode cannot be told")
	}
	if rest, isCE := cutFold(h.contentType, cloudEventsMediaType); isCE {
		format, _, _ := bytes.Cut(rest, []byte(";"))
		format = bytes.TrimSpace(format)
		if behind, isJSON := cutFold(format, "+json"); len(format) > 0 && (!isJSON || len(behind) > 0) {
			return invalid("content-type", "is application/cloudevents%s: only application/cloudevents+json is read",
				printable(strings.ToLower(string(format)), 64))
		}
	}
	return nil
}

// checkOnce returns which attribute has different values in the headers.
func (h *headerAttributes) checkOnce() error {
	if h.doubled == 0 {
		return nil
	}
	for n, name := range attributeNames() {
		if h.doubled&(1<<n) != 0 {
			return invalid("ce_"+name, "stands twice in the headers, and not the same")
		}
	}
	return nil
}

// checkAgainst compares a structured event with the ce_* headers beside it. They
// repeat what the value says or are wrong, and which of two ids is the idempotency
// key, or which of two times counts, must not be guessed.
func (h *headerAttributes) checkAgainst(env *envelope) error {
	if !h.any {
		return nil
	}
	if err := h.checkOnce(); err != nil {
		return err
	}
	for _, a := range [...]struct {
		number int
		value  *string
	}{{attrType, env.Type}, {attrID, env.ID}, {attrSource, env.Source}, {attrSpecVersion, env.SpecVersion}} {
		if in := h.values[a.number]; in != nil && a.value != nil && string(in) != *a.value {
			name := attributeNames()[a.number]
			return invalid("ce_"+name, "is not the %s in the value, which is read: the content-type says so", name)
		}
	}
	switch in := h.values[attrTime]; {
	case in == nil:
	case env.Time == nil:
		return invalid("ce_time", "is there, but the event in the value has no time: the content-type says that the value is read")
	case string(in) != *env.Time:
		inHeader, ok := parseTime(string(in))
		inValue, okToo := parseTime(*env.Time)
		if !ok || !okToo || !inHeader.Equal(inValue) {
			return invalid("ce_time", "is not the time in the value, which is read: the content-type says so")
		}
	}
	return nil
}

// other returns the type of a CloudEvent of another type in binary mode, or "" if
// an attribute that CloudEvents require is missing.
func (h *headerAttributes) other() string {
	for _, n := range requiredAttributes() {
		if h.values[n] == nil {
			return ""
		}
	}
	return string(h.values[attrType])
}

// wrongPrefix returns which attribute a header key names under a prefix, or in
// capitals, as other bindings and tools write it, and what to do about it.
func wrongPrefix(key string) (number int, problem string, ok bool) {
	if len(key) > 64 || strings.HasPrefix(key, "ce_") {
		return 0, "", false
	}
	name, found := strings.TrimPrefix(lettersOf(key), "x"), false
	for _, prefix := range []string{"cloudevents", "cloudevent", "ce"} {
		if name, found = strings.CutPrefix(name, prefix); found {
			break
		}
	}
	if number = attributeNumber(name); !found || number >= attrData {
		return 0, "", false
	}
	lower := strings.ToLower(key)
	switch {
	case strings.HasPrefix(lower, "ce-"):
		return number, "the headers have the HTTP prefix ce-; on Kafka it is ce_", true
	case strings.HasPrefix(lower, "cloudevents:"):
		return number, "the headers have the AMQP prefix cloudEvents:; on Kafka it is ce_", true
	case strings.HasPrefix(lower, "cloudevents_"):
		return number, "the headers have the AMQP prefix cloudEvents_; on Kafka it is ce_", true
	case strings.HasPrefix(lower, "ce_"):
		return number, "the headers are in capitals; on Kafka they are ce_type, ce_id and so on", true
	}
	return number, "the headers have a prefix of their own; on Kafka it is ce_", true
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
