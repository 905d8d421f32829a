package hostile

import (
	"encoding/binary"
	"fmt"
	"strings"

	"payment-capture/internal/event"
)

// modes adds records with another or an unknown mode or format.
func (m *maker) modes() {
	for _, format := range []string{
		"application/cloudevents+avro", "application/cloudevents+protobuf; charset=x", "application/cloudevents-batch+json",
		"application/cloudevents+JSONx", "application/cloudevents/json", "application/cloudevents+jſon", "application/cloudevents+json\r\nx: 1",
		"application/cloudevents+json\x00",
		"application/cloudevents+\x1b[31m" + strings.Repeat("x", 10_000),
	} {
		m.structured(fmt.Sprintf("content-type %.40q", format), m.plain, "content-type", "only application/cloudevents+json is read",
			"content-type", format)
	}
	structured := []string{"content-type", "application/cloudevents+json"}
	beside := func(headers ...string) []string { return append(headers, structured...) }
	m.structured("two content-types", m.plain, "content-type", "twice", beside("content-type", "application/json")...)
	m.structured("two content-types, one in capitals", m.plain, "content-type", "twice",
		beside("Content-Type", "application/cloudevents+avro")...)
	m.structured("another id in ce_id", m.plain, "ce_id", "not the id in the value", beside("ce_id", "evt-2")...)
	m.structured("another type in ce_type", m.plain, "ce_type", "not the type in the value", beside("ce_type", "order.cancelled")...)
	m.with("our type in ce_type alone", event.TypeReadyToCapture, "order.cancelled", "ce_type", "not the type in the value",
		beside("ce_type", event.TypeReadyToCapture)...)
	m.with("our type in ce_type alone, and a fault elsewhere", event.TypeReadyToCapture+`"`, `order.cancelled","x":1,"x":2`, "?", "twice",
		beside("ce_type", event.TypeReadyToCapture)...)
	m.structured("the data with headers in capitals", m.data, "type", "missing: the headers are in capitals",
		"CE_ID", "evt-1", "CE_TYPE", event.TypeReadyToCapture)
	m.structured("the data with HTTP's headers", m.data, "type", "missing: the headers have the HTTP prefix ce-",
		"ce-id", "evt-1", "ce-type", event.TypeReadyToCapture)
	const mode = "missing: content-type says structured mode (application/cloudevents+json), but the attributes are in ce_* headers"
	m.structured("the data in binary mode called structured", m.data, "type", mode, append(required(), structured...)...)
	for member, field := range map[string]string{
		`"id":17`: "type", `"id":"abc"`: "type", `"source":7`: "type", `"type":"ORDER"`: "specversion", `"type":7`: "specversion",
	} {
		m.structured("the data with "+member+" in binary mode called structured", strings.Replace(m.data, "{", "{"+member+",", 1), field, mode,
			append(required(), structured...)...)
	}
}

// headers adds faults of the headers in binary mode.
func (m *maker) headers() {
	for _, name := range []string{"ce_specversion", "ce_id", "ce_source", "ce_type"} {
		m.binary("no "+name, []string{name}, nil, strings.TrimPrefix(name, "ce_"), "missing: ")
	}
	replaced := func(name, header, value, field, problem string) {
		m.binary(name, []string{header}, []string{header, value}, field, problem)
	}
	replaced("an empty ce_id", "ce_id", "", "id", "missing")
	replaced("a header in ce_id", "ce_id", "evt-1\r\nX-Idempotency-Key: evt-2", "id", "printable")
	replaced("invalid UTF-8 in ce_id", "ce_id", "evt-\xff", "id",
		"printable ASCII characters without spaces: it is not UTF-8 at byte 4")
	replaced("a ce_id of 65 characters", "ce_id", strings.Repeat("e", 65), "id", "64")
	replaced("a ce_id of half a megabyte", "ce_id", strings.Repeat("e", 512<<10), "id", "64")
	replaced("the token for a ce_specversion", "ce_specversion", m.token, "specversion", "something else")
	replaced("invalid UTF-8 in ce_source", "ce_source", "/\xff", "source",
		"control character: it is not UTF-8 at byte 1")
	replaced("UTF-16 in ce_id", "ce_id", wide("evt-1", binary.LittleEndian), "id", "it is UTF-16, not UTF-8 at byte 1")
	replaced("UTF-16 in ce_specversion", "ce_specversion", "\xff\xfe"+wide("1.0", binary.LittleEndian), "specversion", "it is UTF-16")
	replaced("UTF-32 in ce_source", "ce_source", wider("/orders", binary.BigEndian), "source", "it is UTF-32, not UTF-8 at byte 0")
	replaced("a ce_specversion in quotes", "ce_specversion", `"1.0"`, "specversion", `is "1.0", but it is in quotes: 1.0 is expected`)
	replaced("a ce_specversion in base64", "ce_specversion", "MS4w", "specversion", `is "1.0", but it is base64: 1.0 is expected`)
	replaced("an escape sequence in ce_source", "ce_source", "\x1b[2J", "source", "control")
	replaced("our ce_type with a newline", "ce_type", event.TypeReadyToCapture+"\r\n", "type", "exactly")
	replaced("our ce_type with a zero byte", "ce_type", event.TypeReadyToCapture+"\x00", "type", "print: it has a zero byte at byte 22")
	replaced("our ce_type with a byte that is no UTF-8", "ce_type", event.TypeReadyToCapture+"\xff", "type",
		"print: it is not UTF-8 at byte 22")
	replaced("an empty ce_type", "ce_type", "", "type", "missing")
	for name, header := range map[string][]string{
		"ce_id, and another":    {"ce_id", "evt-2"},
		"ce_type, ours first":   {"ce_type", "order.cancelled"},
		"ce_type, and damaged":  {"ce_type", "ORDER.READY_TO_CAPTURE"},
		"ce_source":             {"ce_source", "/others"},
		"ce_specversion":        {"ce_specversion", "1"},
		"ce_id, and a megabyte": {"ce_id", strings.Repeat("e", 900<<10)},
	} {
		m.binary("twice "+name, nil, header, header[0], "twice")
	}
	m.binary("twice ce_time", nil, []string{"ce_time", m.time(), "ce_time", "2026-11-23T10:00:00Z"}, "ce_time", "twice")
	m.binary("twice ce_type, ours last", []string{"ce_type"}, []string{"ce_type", "order.cancelled", "ce_type", event.TypeReadyToCapture},
		"ce_type", "twice")
	m.binary("no time in ce_time", nil, []string{"ce_time", "0000-00-00\x1b[31m"}, "time",
		"something that is not a time of day follows the date")
	m.binary("invalid UTF-8 in ce_subject", nil, []string{"ce_subject", "\xff"}, "subject", "control character: it is not UTF-8 at byte 0")
	m.binary("text for a content-type", nil, []string{"content-type", "text/plain\x1b[31m"}, "datacontenttype", `"text/plain?[31m"`)
	m.binary("the token for a content-type", nil, []string{"content-type", m.token}, "datacontenttype", "something else")
	m.binary("two content-types in binary mode", nil,
		[]string{"content-type", "application/json", "content-type", "application/cloudevents+json"}, "content-type", "twice")
	m.binary("forged marks of a parked record", []string{"ce_id"},
		[]string{"parked_reason", "too_old", "parked_detail", "FORGED", "parked_offset", "0"}, "id", "missing")
	var many []string
	for i := range 5_000 {
		many = append(many, fmt.Sprintf("x-%d\r\n", i), m.token)
	}
	m.binary("five thousand headers", []string{"ce_id"}, many, "id", "missing")
}

// binaryValues adds values that are not the data of an event, and odd keys.
func (m *maker) binaryValues() {
	for name, tc := range map[string]struct{ value, field, problem string }{
		"no value":                  {"", "data", "empty"},
		"null":                      {"null", "data", "missing"},
		"text":                      {m.token, "data", "not JSON (at byte 0)"},
		"an array":                  {"[" + m.data + "]", "data", "JSON array"},
		"a whole event":             {m.plain, "data.order_id", "missing"},
		"a schema registry's":       {"\x00\x00\x00\x00\x01" + m.data, "data", "schema registry"},
		"gzip":                      {zipped(m.data), "data", "gzip"},
		"an amount twice":           {`{"amount":1,"amount":2}`, "data.amount", "twice"},
		"the token without a quote": {`{"payer":{"token":` + m.token + `}}`, "data.payer.token", "not JSON (at byte "},
	} {
		m.add("binary mode with "+name, event.Message{Value: []byte(tc.value), Headers: binaryHeaders(nil, nil)}, tc.field, tc.problem)
	}
	m.add("binary mode with a tombstone", event.Message{Key: []byte("order-1001"), Headers: binaryHeaders(nil, nil)}, "data", "empty")
	m.add("a key of a megabyte", event.Message{Key: []byte(strings.Repeat("k", 1<<20)), Value: []byte("x")}, "", "not JSON (at byte 0)")
	m.add("a key that is no text", event.Message{Key: []byte("\xff\x00\r\n\x1b[31m"), Value: []byte("x")}, "", "not JSON (at byte 0)")
	m.add("an empty key", event.Message{Key: []byte{}, Value: []byte("x")}, "", "not JSON (at byte 0)")
	m.add("no key", event.Message{Value: []byte("x")}, "", "not JSON (at byte 0)")
}
