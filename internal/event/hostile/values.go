package hostile

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"payment-capture/internal/event"
)

// otherHeaders returns the headers of a complete event of another type, which a bridge added.
func otherHeaders(more ...string) []string {
	return append([]string{"ce_specversion", "1.0", "ce_id", "b-1", "ce_source", "/bridge", "ce_type", "com.bridge.forwarded"}, more...)
}

// valuesThatClaim adds events of ours with the headers of another type.
func (m *maker) valuesThatClaim() {
	for name, value := range map[string]string{
		"as it is": m.plain, "behind white space": "\r\n\t " + m.plain, "in quotes": quoted(m.plain),
		"in base64":                base64.StdEncoding.EncodeToString([]byte(m.plain)),
		"in base64 and quotes":     `"` + base64.RawURLEncoding.EncodeToString([]byte(m.plain)) + `"`,
		"behind a byte order mark": "\ufeff" + m.plain, "in an array": "[" + m.plain + "]",
		"in UTF-16": "\xff\xfe" + wide(m.plain, binary.LittleEndian), "behind a schema's number": "\x00\x00\x00\x00\x2a" + m.plain,
		"with padding":            m.plain + "\x00\x00",
		"behind another document": `{"type":"order.cancelled"}` + "\n" + m.plain, "cut": m.plain[:len(m.plain)-20],
		"with capitals":           m.replaced(event.TypeReadyToCapture, "Order.Ready_To_Capture"),
		"with names in capitals":  strings.NewReplacer(`"specversion"`, `"SpecVersion"`, `"type"`, `"Type"`).Replace(m.plain),
		"with its type in quotes": m.replaced(event.TypeReadyToCapture, `\"order.ready_to_capture\"`),
		"with its type twice":     m.replaced(`"id"`, `"type":"com.other","id"`),
		"of Avro's JSON":          m.replaced(`"order.ready_to_capture"`, `{"string":"order.ready_to_capture"}`),
	} {
		for of, contentType := range map[string]string{"JSON": "application/json", "no": "", "another": "text/plain"} {
			m.structured("a whole event "+name+", headers of a bridge and "+of+" content-type", value, "ce_type", "the value is a whole event",
				otherHeaders("content-type", contentType)...)
		}
	}
	for name, value := range map[string]string{
		"escaped, without quotes":    strings.ReplaceAll(m.plain, `"`, `\"`),
		"in single quotes":           strings.ReplaceAll(m.plain, `"`, `'`),
		"with a comment":             m.replaced(`{"specversion"`, `{ // an order`+"\n"+`"specversion"`),
		"with NaN":                   m.replaced(`{"specversion"`, `{"x":NaN,"specversion"`),
		"with broken data first":     `{"data":{"amount":01},` + m.plain[1:],
		"behind a brace":             "{" + m.plain,
		"as a language prints it":    `Struct{specversion=1.0,id=evt-1,type=order.ready_to_capture,data=Struct{token=` + m.token + `}}`,
		"behind another in an array": "[" + m.replaced(event.TypeReadyToCapture, "order.cancelled") + "," + m.plain + "]",
	} {
		m.structured("a whole event "+name+", headers of a bridge", value, "ce_type", "the value is a whole event",
			otherHeaders()...)
	}
	for name, wrap := range Wrappings() {
		field, problem := problemOf(name)
		m.structured("a whole event in "+name+", headers of a bridge", wrap(m.plain), field, problem, otherHeaders()...)
	}
	m.structured("a whole event and a ce_ header", m.plain, "type", "the value is a whole event", "ce_partitionkey", "x")
}

// Wrappings returns how converters and bridges wrap the value of a record.
func Wrappings() map[string]func(string) string {
	std := base64.StdEncoding
	return map[string]func(string) string{
		"quotes":             quoted,
		"an array of texts":  func(s string) string { return "[" + quoted(s) + "]" },
		"base64":             func(s string) string { return std.EncodeToString([]byte(s)) },
		"base64 in lines":    func(s string) string { return inLines(std.EncodeToString([]byte(s))) },
		"a text of base64":   func(s string) string { return quoted(inLines(std.EncodeToString([]byte(s)))) },
		"an array of base64": func(s string) string { return `["` + std.EncodeToString([]byte(s)) + `"]` },
		"hexadecimal":        func(s string) string { return hex.EncodeToString([]byte(s)) },
		"a database's bytes": func(s string) string { return `\x` + hex.EncodeToString([]byte(s)) },
		"hexadecimal literals": func(s string) string {
			return "[" + strings.ReplaceAll(fmt.Sprintf("%# x", []byte(s)), " ", ", ") + "]"
		},
		"a list of bytes": func(s string) string { return strings.ReplaceAll(fmt.Sprintf("%d", []byte(s)), " ", ",") },
		"a Node.js buffer": func(s string) string {
			return `{"type":"Buffer","data":` + strings.ReplaceAll(fmt.Sprintf("%d", []byte(s)), " ", ",") + "}"
		},
		"UTF-16": func(s string) string { return wide(s, binary.LittleEndian) },
		"a URL's escapes": func(s string) string {
			return strings.NewReplacer("%", "%25", `"`, "%22", "{", "%7B", `\`, "%5C").Replace(s)
		},
		"a schema's envelope":   func(s string) string { return `{"schema":{"type":"string"},"payload":` + jsonOf(s) + "}" },
		"an outbox's envelope":  func(s string) string { return `{"id":7,"type":"order","payload":` + quoted(s) + "}" },
		"an envelope of base64": func(s string) string { return `{"schema":null,"payload":"` + std.EncodeToString([]byte(s)) + `"}` },
		"a change of a row":     func(s string) string { return `{"before":null,"after":` + jsonOf(s) + `,"op":"c"}` },
		"a change in a schema's envelope": func(s string) string {
			return `{"schema":{},"payload":{"before":null,"after":` + jsonOf(s) + `,"op":"c"}}`
		},
		"a queue's message": func(s string) string { return `{"message":{"data":"` + std.EncodeToString([]byte(s)) + `"}}` },
		"a proxy's records": func(s string) string { return `{"records":[{"key":null,"value":` + jsonOf(s) + "}]}" },
	}
}

// problemOf returns the error for an event in a wrapping, beside headers of another type.
func problemOf(wrapping string) (field, problem string) {
	switch wrapping {
	case "a schema's envelope", "an envelope of base64", "a change in a schema's envelope":
		return "schema", "{schema,payload}"
	case "an outbox's envelope":
		return "payload", "has a whole event"
	case "a change of a row":
		return "after", "has a whole event"
	case "a queue's message":
		return "message", "has a whole event"
	case "a proxy's records":
		return "records", "has a whole event"
	case "a Node.js buffer":
		return "data", "has a whole event"
	}
	return "ce_type", "the value is a whole event"
}

// jsonOf returns a text that is JSON as it is, and any other in quotes.
func jsonOf(text string) string {
	if json.Valid([]byte(text)) {
		return text
	}
	return quoted(text)
}

func inLines(text string) string {
	const longest = 76
	var b strings.Builder
	for len(text) > longest {
		b.WriteString(text[:longest] + "\r\n")
		text = text[longest:]
	}
	return b.String() + text
}

func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", `\r`, "\n", `\n`, "\x00", `\u0000`).Replace(text) + `"`
}
