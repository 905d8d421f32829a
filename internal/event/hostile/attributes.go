package hostile

import (
	"strconv"
	"strings"
)

// attributes adds faults of the attributes.
func (m *maker) attributes() {
	m.with("no specversion", `"specversion":"1.0",`, ``, "specversion", "missing: 1.0 is expected")
	m.with("another specversion", `"1.0"`, `"0.3"`, "specversion", `"0.3"`)
	m.with("a number for a specversion", `"1.0"`, `1.0`, "specversion", "JSON number; a string is required")
	m.with("the token for a specversion", `"1.0"`, `"`+m.token+`"`, "specversion", "something else")
	m.with("no id", `"id":"evt-1",`, ``, "id", "missing: it is the idempotency key")
	m.with("a null id", `"evt-1"`, `null`, "id", "missing: it is the idempotency key")
	m.with("an empty id", `evt-1`, ``, "id", "1 to 64")
	m.with("an id of 65 characters", `evt-1`, strings.Repeat("e", 65), "id", "64")
	m.with("an id of a megabyte", `evt-1`, strings.Repeat("e", 1<<20), "id", "64")
	m.with("an id with a space", `evt-1`, `evt 1`, "id", "printable")
	m.with("a header in the id", `evt-1`, `evt-1\r\nX-Idempotency-Key: evt-2`, "id", "printable")
	m.with("a newline at the end of the id", `evt-1`, `evt-1\n`, "id", "printable")
	m.with("a zero character in the id", `evt-1`, `evt-1\u0000`, "id", "it has a zero byte at byte 5")
	m.with("a delete character in the id", `evt-1`, `evt-1\u007f`, "id", "printable")
	m.with("a letter beyond ASCII in the id", `evt-1`, `évt-1`, "id", "printable")
	m.with("a zero-width space in the id", `evt-1`, "evt\u200b-1", "id", "printable")
	m.with("a number for an id", `"evt-1"`, `1001`, "id", "JSON number; a string is required")
	m.with("an object for an id", `"evt-1"`, `{"$oid":"65f0"}`, "id", "JSON object; a string is required")
	m.with("ID is not id", `"id"`, `"ID"`, "id", "missing: it is the idempotency key")
	m.with("no source", `"source":"/orders",`, ``, "source", "missing: CloudEvents require it")
	m.with("an empty source", `"/orders"`, `""`, "source", "missing: CloudEvents require it")
	m.with("an escape sequence in the source", `/orders`, `/orders\u001b[2J`, "source", "control")
	m.with("a source of 1025 characters", `/orders`, strings.Repeat("s", 1025), "source", "1024")
	m.with("a number for a subject", `"data"`, `"subject":1001,"data"`, "subject", "JSON number; a string is required")
	m.with("a newline in the subject", `"data"`, `"subject":"a\nlevel=ERROR","data"`, "subject", "control")
	m.with("a subject of 1025 characters", `"data"`, `"subject":"`+strings.Repeat("s", 1025)+`","data"`, "subject", "1024")
	m.with("data in Avro", `"data"`, `"datacontenttype":"application/avro\u0007","data"`, "datacontenttype", `"application/avro?"`)
	m.with("the token for a datacontenttype", `"data"`, `"datacontenttype":"`+m.token+`","data"`, "datacontenttype", "something else")
	m.with("an array for a traceparent", `"data"`, `"traceparent":[],"data"`, "traceparent", "JSON array; a string is required")
	m.with("data in base64", `"data":`, `"data_base64":"e30=","data":`, "data_base64", "not read")
	m.with("base64 alone", `"data":`+m.data, `"data_base64":"e30="`, "data_base64", "not read")
}

// types adds damaged spellings of our type, and missing types.
func (m *maker) types() {
	m.with("no type", `"type":"order.ready_to_capture",`, ``, "type", "missing: CloudEvents require it")
	m.with("a null type", `"order.ready_to_capture"`, `null`, "type", "missing: CloudEvents require it")
	m.with("an empty type", `"order.ready_to_capture"`, `""`, "type", "missing: CloudEvents require it")
	m.with("a number for a type", `"order.ready_to_capture"`, `7`, "type", "JSON number; a string is required")
	m.with("an array for a type", `"order.ready_to_capture"`, `["order.ready_to_capture"]`, "type", "JSON array; a string is required")
	m.with("a number after our type", `"time"`, `"type":7,"time"`, "type", "twice")
	for name, spelling := range map[string]string{
		"capitals":             `Order.Ready_To_Capture`,
		"a space at the end":   `order.ready_to_capture `,
		"a newline at the end": `order.ready_to_capture\n`,
		"a zero character":     `order.ready_to_capture\u0000`,
		"a zero-width space":   `order.ready\u200b_to_capture`,
		"a byte order mark":    `\ufeff` + `order.ready_to_capture`,
		"a no-break space":     `\u00a0order.ready_to_capture`,
	} {
		m.with("our type with "+name, `order.ready_to_capture`, spelling, "type", "exactly")
	}
	m.with("our type with a byte that is no UTF-8", `order.ready_to_capture`, "order.ready_to_capture\xff", "type",
		"not JSON: it is not UTF-8 at byte ")
	m.with("our type in capitals, and a fault elsewhere", `order.ready_to_capture","time":`,
		`ORDER.READY_TO_CAPTURE","x":1,"x":2,"time":`, "?", "twice")
}

// times adds texts that are not a time, and times that cannot be right.
func (m *maker) times() {
	const exists = ": the day, the time of day or the offset does not exist"
	for text, cause := range map[string]string{
		"": ": it is empty", "now": "", "0": ": it is digits only", "2026-11-23": ": it is a date without a time of day",
		"2026-11-23T10:00:00": ": it has no zone", "2026-11-23T10:00Z": ": the seconds are missing",
		"2026-11-23 10:00:00Z": ": a space is in place of the T", "2026-11-23t10:00:00Z": ": the t or the z is in lower case",
		"2026-11-23T10:00:00z": ": the t or the z is in lower case", "2026-02-30T10:00:00Z": exists, "2026-13-01T10:00:00Z": exists,
		"2026-11-23T24:00:00Z": exists, "2026-11-23T10:60:00Z": exists, "2016-12-31T23:59:60Z": ": it is a leap second",
		"2026-11-23T10:00:00+24:00": exists, "2026-11-23T10:00:00+99:99": exists,
		"2026-11-23T10:00:00-1000000:00": ": the offset is not written as +01:00",
		"2026-11-23T10:00:00,5Z":         ": a comma is before the fraction of a second",
		"10000-01-01T00:00:00Z":          ": the year has more than four digits", "+2026-11-23T10:00:00Z": ": a sign is before the year",
		"-2026-11-23T10:00:00Z": ": a sign is before the year", "1795428000": ": it is digits only (seconds or milliseconds since 1970?)",
		`2026-11-23T10:00:00Z\u001b[31m`: ": something follows the time of day and the zone",
		`2026-11-23T10:00:00Z\r\nx`:      ": something follows the time of day",
		strings.Repeat("2026", 5000):     "",
	} {
		name := text[:min(len(text), 40)]
		m.with("time "+strconv.QuoteToASCII(name), m.time(), text, "time", "RFC 3339 time such as 2026-11-23T10:00:00Z"+cause)
	}
	for _, text := range []string{"0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "1970-01-01T00:00:00+00:01"} {
		m.with("time "+text, m.time(), text, "time", "before 1970")
	}
	m.with("a number for a time", `"`+m.time()+`"`, `1795428000`, "time", "JSON number; a string is required")
	m.with("an object for a time", `"`+m.time()+`"`, `{"$date":"2026-11-23T10:00:00Z"}`, "time", "JSON object; a string is required")
}
