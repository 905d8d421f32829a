package event

import (
	"bytes"
	"strings"
)

// headerAttributes is what the headers of a record state about its event. A header
// without a value counts as absent, and equal values of one header count once, so
// neither nulls nor the order of the headers change how a record is decoded.
type headerAttributes struct {
	values     [attrCount][]byte // the ce_* headers by attribute number; nil if absent
	conflicts  uint16            // attributes with different values, one bit each
	any        bool              // some ce_* header has a value
	structured bool              // a content-type header is that of structured mode

	contentType         []byte
	contentTypeConflict bool   // the content-type headers differ
	trace               []byte // traceparent; nil if there are different ones
}

const cloudEventsMediaType = "application/cloudevents"

func readHeaders(headers []Header) (h headerAttributes) {
	traceConflict := false
	for i := range headers {
		key, value := headers[i].Key, headers[i].Value
		if len(value) == 0 {
			continue
		}
		if name, isAttribute := strings.CutPrefix(key, "ce_"); isAttribute {
			h.any = true
			// The data's content type has a header of its own in binary mode.
			if n := attributeNumber(name); n >= 0 && n != attrDataContentType && storeHeader(&h.values[n], value) {
				h.conflicts |= 1 << n
			}
			continue
		}
		switch {
		case key == "traceparent":
			traceConflict = storeHeader(&h.trace, value) || traceConflict
		case len(key) == len("content-type") && strings.EqualFold(key, "content-type"):
			h.contentTypeConflict = storeHeader(&h.contentType, value) || h.contentTypeConflict
			_, isCloudEvent := cutPrefixFold(value, cloudEventsMediaType)
			h.structured = h.structured || isCloudEvent
		}
	}
	if traceConflict {
		h.trace = nil
	}
	return h
}

// storeHeader stores the value of a header and reports whether a different one was stored.
// It keeps the lesser of two, so the result does not depend on their order.
func storeHeader(stored *[]byte, value []byte) bool {
	order := bytes.Compare(value, *stored)
	isFirst := *stored == nil
	if isFirst || order < 0 {
		*stored = value
	}
	return !isFirst && order != 0
}

// cutPrefixFold returns the text without an ASCII prefix, which it compares case-insensitively.
func cutPrefixFold(text []byte, prefix string) (rest []byte, ok bool) {
	if len(text) < len(prefix) || !strings.EqualFold(string(text[:len(prefix)]), prefix) {
		return text, false
	}
	return text[len(prefix):], true
}

// inValue reports whether the event is the record's value (structured mode) and not
// the value and the headers (binary mode).
func (h *headerAttributes) inValue() bool { return h.structured || !h.any }

// attributes returns the attributes of an event in binary mode.
func (h *headerAttributes) attributes() attributes {
	return attributes{
		SpecVersion:     string(h.values[attrSpecVersion]),
		ID:              textOf(h.values[attrID]),
		Source:          string(h.values[attrSource]),
		Type:            string(h.values[attrType]),
		Subject:         string(h.values[attrSubject]),
		Time:            textOf(h.values[attrTime]),
		DataContentType: textOf(h.contentType),
		TraceParent:     textOf(h.values[attrTraceParent]),
	}
}

// textOf returns the value of a header, or nil if the header is absent.
func textOf(value []byte) *string {
	if value == nil {
		return nil
	}
	return new(string(value))
}

// check returns what is wrong with the headers of an event in either mode.
func (h *headerAttributes) check() error {
	if h.contentTypeConflict {
		return invalid("content-type", "appears twice in the headers with different values, so the mode is unknown")
	}
	if rest, ok := cutPrefixFold(h.contentType, cloudEventsMediaType); ok {
		format, _, _ := bytes.Cut(rest, []byte(";"))
		format = bytes.TrimSpace(format)
		if rest, isJSON := cutPrefixFold(format, "+json"); len(format) > 0 && (!isJSON || len(rest) > 0) {
			return invalid("content-type", "is application/cloudevents%s: only application/cloudevents+json is read",
				Printable(strings.ToLower(string(format)), 64))
		}
	}
	return nil
}

// checkOnce returns an error if one of the first attributes has different values in the headers.
func (h *headerAttributes) checkOnce(first int) error {
	for n, name := range attributeNames() {
		if n < first && h.conflicts&(1<<n) != 0 {
			return invalid("ce_"+name, "appears twice in the headers with different values")
		}
	}
	return nil
}

// checkAgainst compares a structured event with the ce_* headers beside it. The headers
// repeat the value or are wrong: the service must not guess which of two ids is the
// idempotency key, or which of two times counts.
func (h *headerAttributes) checkAgainst(a *attributes) error {
	if !h.any {
		return nil
	}
	if err := h.checkOnce(attrCausationID); err != nil {
		return err
	}
	id := ""
	if a.ID != nil {
		id = *a.ID
	}
	for _, c := range [...]struct {
		number  int
		inValue string
	}{{attrType, a.Type}, {attrID, id}, {attrSource, a.Source}, {attrSpecVersion, a.SpecVersion}} {
		if inHeader := h.values[c.number]; inHeader != nil && c.inValue != "" && string(inHeader) != c.inValue {
			name := attributeNames()[c.number]
			return invalid("ce_"+name, "is not the %s in the value, which is read because of the content-type", name)
		}
	}
	switch inHeader := h.values[attrTime]; {
	case inHeader == nil:
	case a.Time == nil:
		return invalid("ce_time", "is there, but the event in the value, which is read because of the content-type, has no time")
	case string(inHeader) != *a.Time:
		header, ok := parseTime(string(inHeader))
		value, okToo := parseTime(*a.Time)
		if !ok || !okToo || !header.Equal(value) {
			return invalid("ce_time", "is not the time in the value, which is read because of the content-type")
		}
	}
	return nil
}

// otherType returns the type of a CloudEvent of another type in binary mode, or "" if
// an attribute that CloudEvents require is missing.
func (h *headerAttributes) otherType() string {
	for n := range attrRequired {
		if h.values[n] == nil {
			return ""
		}
	}
	return string(h.values[attrType])
}
