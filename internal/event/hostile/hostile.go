// Package hostile is a corpus for tests: records that are not a valid
// order.ready_to_capture, each wrong in one way, and records that look wrong
// but are valid. Every record contains the payer token that the test passes,
// if its form allows, so that the test can search for it in errors, logs and
// headers.
package hostile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"payment-capture/internal/event"
)

// Record is a record that must be parked as invalid_event.
type Record struct {
	Name    string
	Message event.Message
	Field   string // the field that the error must name; "" for the value as a whole
	Problem string // a part of the error
}

// maker collects records.
type maker struct {
	now     time.Time
	token   string
	data    string // the data of the plain event
	plain   string // a valid event, which the others change
	records []Record
}

func newMaker(now time.Time, token string) *maker {
	m := &maker{now: now, token: token}
	m.data = `{"order_id":"order-1001","amount":"700.50","currency":"MXN","description":"Order 1001",` +
		`"payer":{"token":"` + token + `"}}`
	m.plain = `{"specversion":"1.0","id":"evt-1","source":"/orders","type":"order.ready_to_capture",` +
		`"time":"` + m.time() + `","data":` + m.data + `}`
	return m
}

func (m *maker) time() string { return m.now.UTC().Format(time.RFC3339) }

// Records returns the corpus without the records of [Large] and [TooLong]: several
// hundred records of at most a megabyte and a half. now is the time of the events.
func Records(now time.Time, token string) []Record {
	m := newMaker(now, token)
	m.notJSON()
	m.notOneValue()
	m.depth()
	m.text()
	m.duplicates()
	m.attributes()
	m.types()
	m.times()
	m.amounts()
	m.numberTexts()
	m.identifiers()
	m.texts()
	m.payers()
	m.shapes()
	m.modes()
	m.headers()
	m.binaryValues()
	m.claims()
	m.valuesThatClaim()
	m.prefixes()
	m.misspelled()
	m.notEvents()
	m.contradictions()
	slices.SortFunc(m.records, func(a, b Record) int { return strings.Compare(a.Name, b.Name) })
	return m.records
}

// TooLong returns a record that is a little larger than size bytes.
func TooLong(now time.Time, token string, size int) Record {
	m := newMaker(now, token)
	m.with("a description that is too long", "Order 1001", strings.Repeat("x", size), "data.description", "256")
	return m.records[0]
}

// Large returns records of about size bytes.
func Large(now time.Time, token string, size int) []Record {
	m := newMaker(now, token)
	fill := func(unit string) string { return strings.Repeat(unit, size/len(unit)) }
	m.records = append(m.records, TooLong(now, token, size))
	m.with("large: a description of escapes", "Order 1001", fill(`\u0041`), "data.description", "256")
	m.with("large: digits", `"700.50"`, fill("9"), "data.amount", "not a decimal")
	m.with("large: quoted digits", `700.50`, fill("9"), "data.amount", "decimal")
	m.with("large: an array for an amount", `"700.50"`, "["+fill("0,")+"0]", "data.amount", "decimal string or a number")
	m.with("large: an id", `evt-1`, fill("e"), "id", "64")
	m.with("large: an unknown member twice", `"source"`, strings.Repeat(`"`+strings.Repeat("n", size/2)+`":1,`, 2)+`"source"`, "?", "twice")
	m.with("large: many members, then a fault", `"id":"evt-1"`, distinctMembers(size)+`"id":17`, "id", "JSON number")
	m.with("large: many members in the data, then a fault", `"amount":"700.50"`, distinctMembers(size)+`"amount":[]`, "data.amount",
		"decimal string or a number")
	m.with("large: one member again and again", `"id"`, fill(`"x":1,`)+`"id"`, "?", "twice")
	m.structured("large: bytes", fill("\xff\xfd"), "", "not JSON: it is not UTF-8 at byte 0")
	m.structured("large: deep objects of long names", strings.Repeat(`{"`+strings.Repeat("n", size/9000)+`":`, 9000), "?.?.?", "not JSON")
	m.structured("large: white space alone", fill(" "), "", "not JSON")
	m.structured("large: base64", fill("QUJD"), "", "not JSON")
	m.structured("large: base64 in lines", fill(strings.Repeat("QUJD", 19)+"\r\n"), "", "not JSON")
	m.structured("large: hexadecimal", "a"+fill("7b"), "", "not JSON")
	m.structured("large: escapes of escapes", fill("%25"), "", "not JSON")
	m.structured("large: escapes of letters", "{"+fill(`\u0041`), "", "not JSON")
	m.structured("large: backslashes", fill(`\`), "", "not JSON")
	m.structured("large: an array of texts", "["+fill(`"{\"a\":\"order.ready_to_capture\"}",`)+`""]`, "", "JSON array")
	m.structured("large: a list of bytes", "["+fill("123,")+"1]", "", "JSON array")
	m.structured("large: envelopes in envelopes", fill(`{"payload":`), "?.?.?", "not JSON")
	m.structured("large: pieces of base64", fill(strings.Repeat("QUJD", 10)+"{"), "", "not JSON")
	return m.records
}

// distinctMembers returns JSON members of about size bytes, each with a name of its
// own.
func distinctMembers(size int) string {
	var b strings.Builder
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, `"%x":0,`, i)
	}
	return b.String()
}

func (m *maker) add(name string, message event.Message, field, problem string) {
	message.Timestamp = m.now
	m.records = append(m.records, Record{Name: name, Message: message, Field: field, Problem: problem})
}

// structured adds a record with this value and these headers, which alternate names
// and values.
func (m *maker) structured(name, value, field, problem string, headers ...string) {
	if len(headers) == 0 {
		headers = []string{"content-type", "application/cloudevents+json"}
	}
	m.add(name, event.Message{Key: []byte("order-1001"), Value: []byte(value), Headers: headersOf(headers...)}, field, problem)
}

// with adds the plain event with old replaced, which it must contain once.
func (m *maker) with(name, old, changed, field, problem string, headers ...string) {
	m.structured(name, m.replaced(old, changed), field, problem, headers...)
}

func (m *maker) replaced(old, changed string) string {
	if strings.Count(m.plain, old) != 1 {
		panic(fmt.Sprintf("%q is not in the plain event once", old))
	}
	return strings.Replace(m.plain, old, changed, 1)
}

// required returns the headers of a minimal event in binary mode.
func required() []string {
	return []string{"ce_specversion", "1.0", "ce_id", "evt-1", "ce_source", "/orders", "ce_type", event.TypeReadyToCapture}
}

// binary adds the plain event's data in binary mode with the required headers, except
// those in without, and with the headers in more.
func (m *maker) binary(name string, without []string, more []string, field, problem string) {
	m.add(name, event.Message{Key: []byte("order-1001"), Value: []byte(m.data), Headers: binaryHeaders(without, more)}, field, problem)
}

func binaryHeaders(without, more []string) []event.Header {
	headers := slices.DeleteFunc(headersOf(required()...), func(h event.Header) bool { return slices.Contains(without, h.Key) })
	return append(headers, headersOf(more...)...)
}

func headersOf(pairs ...string) []event.Header {
	var headers []event.Header
	for i := 0; i < len(pairs); i += 2 {
		headers = append(headers, event.Header{Key: pairs[i], Value: []byte(pairs[i+1])})
	}
	return headers
}
