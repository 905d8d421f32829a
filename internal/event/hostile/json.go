package hostile

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf16"

	"payment-capture/internal/event"
)

// notJSON adds values in other formats.
func (m *maker) notJSON() {
	const mark = "a byte order mark of UTF-16, so it is not UTF-8 at byte 0"
	m.structured("text", "order 1001 is ready, payer "+m.token, "", "not JSON (at byte ")
	m.structured("a form", "order_id=order-1001&amount=700.50&token="+m.token, "", "not JSON (at byte ")
	m.structured("XML", "<order><token>"+m.token+"</token></order>", "", "not JSON (at byte ")
	m.structured("the event in base64", base64.StdEncoding.EncodeToString([]byte(m.plain)), "", "not JSON, but base64 of JSON")
	m.structured("the event in hexadecimal", hex.EncodeToString([]byte(m.plain)), "", "not JSON, but hexadecimal of JSON")
	m.with("the data in base64", m.data, `"`+base64.StdEncoding.EncodeToString([]byte(m.data))+`"`, "data",
		"JSON string, which is base64 of JSON; an object is required")
	m.structured("a list of bytes", fmt.Sprintf("%d", []byte(m.plain)), "", "JSON array, which is a list of the bytes of JSON")
	m.structured("single quotes around it", "'"+m.plain+"'", "", "not JSON: it is in quotes")
	m.structured("escaped quotes", strings.ReplaceAll(m.plain, `"`, `\"`), "", "not JSON: its quotes are escaped")
	m.structured("UTF-32", wider(m.plain, binary.LittleEndian), "", "it is UTF-32, not UTF-8 at byte 1")
	m.structured("UTF-32, big end first", wider(m.plain, binary.BigEndian), "", "it is UTF-32, not UTF-8 at byte 0")
	m.structured("UTF-32 with a mark", "\xff\xfe\x00\x00"+wider(m.plain, binary.LittleEndian), "", "a byte order mark of UTF-32")
	m.structured("the event in gzip", zipped(m.plain), "", "gzip")
	m.structured("a byte order mark", "\ufeff"+m.plain, "", "byte order mark")
	m.structured("UTF-16, little end first", "\xff\xfe"+wide(m.plain, binary.LittleEndian), "", mark)
	m.structured("UTF-16, big end first", "\xfe\xff"+wide(m.plain, binary.BigEndian), "", mark)
	m.structured("UTF-16 without a mark", wide(m.plain, binary.LittleEndian), "", "it is UTF-16, not UTF-8 at byte 1")
	m.structured("a schema registry's format", "\x00\x00\x00\x00\x2a"+m.plain, "", "schema registry")
	m.structured("zero bytes alone", "\x00\x00\x00", "", "not JSON, but zero bytes alone")
	m.structured("an Avro file", "Obj\x01\x04\x16avro.schema"+m.token, "", "not JSON (at byte ")
	m.structured("bytes that are no text", strings.Repeat("\xff\xfd\x80", 300), "", "not JSON: it is not UTF-8 at byte 0")
	m.with("single quotes", `"evt-1"`, `'evt-1'`, "id", "not JSON (at byte ")
	m.with("a comment", `"data"`, `/* paid */"data"`, "", "not JSON (at byte ")
	m.with("a comma too many", `"700.50"`, `"700.50",`, "data", "not JSON (at byte ")
	m.with("the token in place of a colon", `"token":`, ``, "data.payer.?", "not JSON (at byte ")
	m.with("the token without quotes", `"`+m.token+`"`, m.token, "data.payer.token", "not JSON (at byte ")
	m.structured("cut in the token", m.plain[:strings.Index(m.plain, m.token)+10], "data.payer.token", "not JSON (at byte ")
	m.structured("cut after the first byte", "{", "", "not JSON (at byte ")
	m.structured("cut before the last byte", m.plain[:len(m.plain)-1], "", "not JSON (at byte ")
}

func zipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.String()
}

func wide(text string, order binary.AppendByteOrder) string {
	var out []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		out = order.AppendUint16(out, unit)
	}
	return string(out)
}

// wider returns a text in UTF-32.
func wider(text string, order binary.AppendByteOrder) string {
	var out []byte
	for _, r := range text {
		out = order.AppendUint32(out, uint32(r)) //nolint:gosec // G115: no rune of a string is negative
	}
	return string(out)
}

// notOneValue adds values that are not exactly one JSON object.
func (m *maker) notOneValue() {
	const several = "not JSON but several JSON documents: a record holds one event"
	m.add("an empty value", event.Message{Key: []byte("order-1001"), Value: []byte{}}, "", "is empty")
	m.structured("white space", " \t\r\n", "", "not JSON (at byte 4)")
	m.structured("null at the top", "null", "type", "missing")
	m.structured("a string at the top", `"`+m.token+`"`, "", "JSON string; an object is required (encoded twice?)")
	m.structured("a number at the top", "700.50", "", "JSON number; an object is required")
	m.structured("a boolean at the top", "true", "", "JSON boolean; an object is required")
	m.structured("an array at the top", "["+m.plain+"]", "", "JSON array; an object is required")
	m.structured("an empty object", "{}", "type", "missing")
	m.structured("two documents", m.plain+m.plain, "", several)
	m.structured("two documents on two lines", m.plain+"\n"+m.plain+"\n", "", several)
	m.structured("two documents with a comma", m.plain+",\n"+m.plain, "", several)
	m.structured("documents of RFC 7464", "\x1e"+m.plain+"\n\x1e"+m.plain+"\n", "", several)
	m.structured("a document and a cut one", m.plain+"\n"+m.plain[:len(m.plain)-9], "", several)
	m.structured("a comma after the document", m.plain+",", "", "something follows its first JSON value")
	m.structured("a number with text", "700.50 MXN", "", "not JSON: something follows its first JSON value")
	m.structured("another type's document before ours", `{"type":"order.cancelled"}`+m.plain, "", several)
	m.structured("garbage after the document", m.plain+m.token, "", "not JSON: something follows its first JSON value, which ends at byte ")
	m.structured("a zero byte after the document", m.plain+"\x00", "", "not JSON: it has a zero byte at byte ")
}

// depth adds values that are nested too deeply.
func (m *maker) depth() {
	const levels = 100_000
	m.with("100,000 arrays for an amount", `"700.50"`, strings.Repeat("[", levels)+strings.Repeat("]", levels),
		"data.amount.?", "not JSON (at byte ")
	m.with("100,000 objects in an unknown member", `"source"`,
		`"x":`+strings.Repeat(`{"a":`, levels)+"1"+strings.Repeat("}", levels)+`,"source"`, "?.?.?", "not JSON (at byte ")
	m.structured("100,000 arrays that do not end", strings.Repeat("[", levels), "", "JSON array")
	m.structured("100,000 objects that do not end", strings.Repeat(`{"data":`, levels), "data.data.data", "not JSON (at byte ")
}

// text adds texts that are not UTF-8, and escapes of such texts.
func (m *maker) text() {
	const utf8, syntax = "not JSON: it is not UTF-8 at byte ", "not JSON (at byte "
	m.with("invalid UTF-8", "Order 1001", "Order \xff", "data.description", utf8)
	m.with("an overlong character", "Order 1001", "Order \xc0\x80", "data.description", utf8)
	m.with("a surrogate in UTF-8", "Order 1001", "Order \xed\xa0\x80", "data.description", utf8)
	m.with("Latin-1", "Order 1001", "Pedido n\xfamero 1001", "data.description", utf8)
	m.with("invalid UTF-8 in the token", m.token, m.token+"\xff", "data.payer.token", utf8)
	m.with("invalid UTF-8 in a name", `"payer"`, "\"pay\xffer\"", "data", utf8)
	m.with("invalid UTF-8 in an unknown member", `"source"`, "\"x\":\"\xff\",\"source\"", "?", utf8)
	m.with("half a surrogate pair", "Order 1001", `\ud83d`, "data.description", syntax)
	m.with("the other half alone", "Order 1001", `\ude00`, "data.description", syntax)
	m.with("two first halves", "Order 1001", `\ud83d\ud83d`, "data.description", syntax)
	m.with("half a surrogate pair in a name", `"payer"`, `"\ud83d":1,"payer"`, "data", syntax)
	m.with("an unknown escape", "Order 1001", `\x41`, "data.description", syntax)
	m.with("a raw newline", "Order 1001", "Order\n1001", "data.description", syntax)
	m.with("a raw zero byte", "Order 1001", "Order\x001001", "data.description", "not JSON: it has a zero byte at byte ")
}

// duplicates adds duplicate members: which of them is right is unknown.
func (m *maker) duplicates() {
	m.with("id twice", `"id"`, `"id":"evt-2","id"`, "id", "twice")
	m.with("id twice, and the same", `"id"`, `"id":"evt-1","id"`, "id", "twice")
	m.with("id twice, spelled otherwise", `"id"`, `"i\u0064":"evt-2","id"`, "id", "twice")
	m.with("type twice, ours first", `"data"`, `"type":"order.cancelled","data"`, "type", "twice")
	m.with("type twice, ours last", `"id"`, `"type":"order.cancelled","id"`, "type", "twice")
	m.with("time twice", `"time"`, `"time":null,"time"`, "time", "twice")
	m.with("data twice", `"data"`, `"data":{},"data"`, "data", "twice")
	m.with("amount twice", `"amount"`, `"amount":"1.00","amount"`, "data.amount", "twice")
	m.with("amount twice, spelled otherwise", `"amount"`, `"\u0061mount":"1.00","amount"`, "data.amount", "twice")
	m.with("currency twice", `"currency"`, `"currency":"CLP","currency"`, "data.currency", "twice")
	m.with("payer twice", `"payer"`, `"payer":{"token":"x"},"payer"`, "data.payer", "twice")
	m.with("token twice", `"token"`, `"token":"x","token"`, "data.payer.token", "twice")
	m.with("the token as a name, twice", `{"token":"`+m.token+`"}`, `{"`+m.token+`":1,"`+m.token+`":1}`, "data.payer.?", "twice")
	m.with("an unknown member twice", `"payer"`, `"x":1,"x":2,"payer"`, "data.?", "twice in its object (at byte")
	m.with("a prototype twice", `"payer"`, `"__proto__":{},"__proto__":{},"payer"`, "data.?", "twice")
	m.with("a member twice deep in an unknown one", `"payer"`, `"x":[{"y":1,"y":2}],"payer"`, "data.?.?", "twice")
	m.with("a member twice deep in an unknown one of the envelope", `"source"`, `"x":{"amount":1,"amount":2},"source"`, "?.amount", "twice")
	long := strings.Repeat("n", 100_000)
	m.with("a very long name twice", `"payer"`, `"`+long+`":1,"`+long+`":2,"payer"`, "data.?", "twice")
}
