package hostile

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"payment-capture/internal/event"
)

// wrapping is our type in some wrapping, and a part of the error for it.
type wrapping struct{ text, problem string }

// wrappedTypes returns our type as header mappers, converters and serialisers write it.
func wrappedTypes() map[string]wrapping {
	const (
		ours                     = event.TypeReadyToCapture
		quotes, more, java, cbor = "is in quotes", "has more in it", "serialised Java", "is CBOR"
		envelope, exactly        = "{schema,payload} envelope", "exactly"
	)
	types := map[string]wrapping{
		"double quotes":             {`"` + ours + `"`, quotes},
		"single quotes":             {`'` + ours + `'`, quotes},
		"backquotes":                {"`" + ours + "`", quotes},
		"escaped quotes":            {`\"` + ours + `\"`, quotes},
		"quotes in quotes":          {`"\"` + ours + `\""`, quotes},
		"one quote":                 {`"` + ours, quotes},
		"quotes and capitals":       {`"ORDER.READY_TO_CAPTURE"`, quotes},
		"quotes and a newline":      {`"` + ours + `"` + "\n", quotes},
		"brackets":                  {"[" + ours + "]", more},
		"brackets and quotes":       {`["` + ours + `"]`, more},
		"angle brackets":            {"<" + ours + ">", more},
		"a Python bytes literal":    {"b'" + ours + "'", more},
		"a trailing parameter":      {ours + "; charset=utf-8", more},
		"a comma at the end":        {ours + ",", more},
		"a name before it":          {"type=" + ours, more},
		"itself behind a comma":     {ours + "," + ours, more},
		"XML around it":             {"<type>" + ours + "</type>", more},
		"a JSON object":             {`{"string":"` + ours + `"}`, more},
		"a Java object":             {"\xac\xed\x00\x05t\x00\x16" + ours, java},
		"Avro":                      {"\x2c" + ours, more},
		"Avro of a schema registry": {"\x00\x00\x00\x00\x07\x2c" + ours, more},
		"an Avro union":             {"\x02\x2c" + ours, more},
		"Protobuf":                  {"\n\x16" + ours, exactly},
		"Protobuf, then a field":    {"\n\x16" + ours + "a\x01x", more},
		"Thrift":                    {"\x0b\x00\x01\x00\x00\x00\x16" + ours + "\x00", exactly},
		"CBOR text":                 {"\x76" + ours, cbor},
		"CBOR bytes":                {"\x56" + ours, cbor},
		"a CBOR map":                {"\xa1\x64type\x76" + ours, more},
		"a CBOR array with more":    {"\x82\x76" + ours + "\x61x", more},
		"CBOR of any length":        {"\x7f\x76" + ours + "\xff", more},
		"MessagePack":               {"\xb6" + ours, exactly},
		"MessagePack with a length": {"\xd9\x16" + ours, exactly},
		"Smile":                     {":)\n\x01\x55" + ours, more},
		"BSON":                      {"\x17\x00\x00\x00" + ours + "\x00", exactly},
		"an envelope":               {`{"schema":{"type":"string","optional":false},"payload":"` + ours + `"}`, envelope},
		"an envelope with spaces":   {`{ "schema" : null, "payload" : "` + ours + `" }`, envelope},
		"UTF-16":                    {wide(ours, binary.LittleEndian), exactly},
		"UTF-16, big end first":     {wide(ours, binary.BigEndian), exactly},
		"UTF-16 with a mark":        {"\xfe\xff" + wide(ours, binary.BigEndian), exactly},
		"UTF-16 and quotes":         {wide(`"`+ours+`"`, binary.LittleEndian), quotes},
		"padding":                   {ours + strings.Repeat("\x00", 42), exactly},
		"a byte order mark":         {"\ufeff" + ours, exactly},
	}
	maps.Copy(types, encodedTypes())
	return types
}

// encodedTypes returns our type as encoders write it.
func encodedTypes() map[string]wrapping {
	const (
		ours                = event.TypeReadyToCapture
		base, list, escapes = "is base64", "list of byte values", "escapes"
	)
	std, url := base64.StdEncoding.EncodeToString, base64.RawURLEncoding.EncodeToString
	var numbers []string
	for i := range len(ours) {
		numbers = append(numbers, strconv.Itoa(int(ours[i])))
	}
	commas := strings.Join(numbers, ",")
	lines := std([]byte(ours))[:20] + "%s" + std([]byte(ours))[20:]
	large := `{"schema":{"type":"bytes","doc":"` + strings.Repeat("x", 3_000) + `"},"payload":"%s"}`
	return map[string]wrapping{
		"an envelope of base64":      {`{"schema":{"type":"bytes"},"payload":"` + std([]byte(ours)) + `"}`, base},
		"base64":                     {std([]byte(ours)), base},
		"base64 in quotes":           {`"` + std([]byte(ours)) + `"`, base},
		"base64 in escaped quotes":   {`\"` + std([]byte(ours)) + `\"`, base},
		"base64 without padding":     {url([]byte(ours)), base},
		"base64 of quotes":           {std([]byte(`"` + ours + `"`)), base},
		"base64 of base64":           {std([]byte(std([]byte(ours)))), base},
		"base64 of a Java object":    {std([]byte("\xac\xed\x00\x05t\x00\x16" + ours)), base},
		"base64 of UTF-16":           {url([]byte(wide(ours, binary.LittleEndian))), base},
		"base64 of capitals":         {std([]byte(strings.ToUpper(ours))), base},
		"base64 and a newline":       {std([]byte(ours)) + "\r\n", base},
		"a data URL":                 {"data:text/plain;base64," + std([]byte(ours)), base},
		"base64 in CBOR":             {"\x78\x20" + std([]byte(ours)), base},
		"base64 in Smile":            {":)\n\x01\x5f" + std([]byte(ours)), base},
		"hexadecimal":                {hex.EncodeToString([]byte(ours)), "in hexadecimal"},
		"hexadecimal with a prefix":  {"0x" + strings.ToUpper(hex.EncodeToString([]byte(ours))), "in hexadecimal"},
		"hexadecimal of a database":  {`\x` + hex.EncodeToString([]byte(ours)), "in hexadecimal"},
		"hexadecimal and spaces":     {spaced("% x"), "in hexadecimal"},
		"hexadecimal and colons":     {strings.ReplaceAll(spaced("% x"), " ", ":"), "in hexadecimal"},
		"hexadecimal and hyphens":    {strings.ReplaceAll(spaced("% X"), " ", "-"), "in hexadecimal"},
		"hexadecimal literals":       {"[" + strings.ReplaceAll(spaced("%# x"), " ", ", ") + "]", "in hexadecimal"},
		"base64 in lines":            {fmt.Sprintf(lines, "\r\n"), base},
		"base64 in two words":        {fmt.Sprintf(lines, " "), base},
		"base64 in escaped lines":    {fmt.Sprintf(lines, `\n`), escapes},
		"base64 three times":         {std([]byte(std([]byte(std([]byte(ours)))))), base},
		"a large envelope of base64": {fmt.Sprintf(large, std([]byte(ours))), base},
		"a list of bytes":            {"[" + commas + "]", list},
		"a list of bytes and spaces": {"[" + strings.Join(numbers, " ") + "]", list},
		"a Node.js buffer":           {`{"type":"Buffer","data":[` + commas + `]}`, list},
		"a URL's escapes":            {"%22" + ours + "%22", escapes},
		"an escaped point":           {"order%2Eready_to_capture", escapes},
		"JSON's escapes":             {`\u0022` + ours + `\u0022`, escapes},
		"a letter as an escape":      {`\u006frder.ready_to_capture`, escapes},
		"escapes of a language":      {`\x22` + ours + `\x22`, escapes},
		"a broken escape after it":   {`\x22` + ours + `\xe\x22`, escapes},
		"an escaped tab before it":   {`\t` + ours, escapes},
	}
}

func spaced(format string) string { return fmt.Sprintf(format, []byte(event.TypeReadyToCapture)) }

// claims adds records whose type is ours in some wrapping.
func (m *maker) claims() {
	for name, w := range wrappedTypes() {
		field, against := "ce_type", w.problem
		if w.problem == "exactly" {
			field, against = "type", "not the type in the value"
		}
		m.binary("our ce_type with "+name, []string{"ce_type"}, []string{"ce_type", w.text}, field, w.problem)
		// A mapper treats all headers alike, and the value may be the whole event.
		m.structured("a whole event and our ce_type with "+name, m.plain, field, w.problem, "ce_specversion", `"1.0"`, "ce_id", `"evt-1"`,
			"ce_source", `"/orders"`, "ce_type", w.text, "content-type", "application/json")
		// Or another type is in the value.
		m.with("another type and our ce_type with "+name, event.TypeReadyToCapture, "com.bridge.forwarded", "ce_type", against,
			"ce_type", w.text, "content-type", "application/cloudevents+json")
	}
	for name, text := range map[string]string{
		"quotes": `\"order.ready_to_capture\"`, "brackets": `[order.ready_to_capture]`, "a parameter": `order.ready_to_capture;v=1`,
		"base64": base64.StdEncoding.EncodeToString([]byte(event.TypeReadyToCapture)), "a tag": `\u002corder.ready_to_capture`,
	} {
		m.with("our type in the value with "+name, event.TypeReadyToCapture, text, "type", "write that alone")
	}
	m.with("our type in Avro's JSON", `"order.ready_to_capture"`, `{"string":"order.ready_to_capture"}`, "type",
		"JSON object; a string is required")
}

// prefixes adds headers as other bindings write them.
func (m *maker) prefixes() {
	for prefix, problem := range map[string]string{
		"ce-": "the HTTP prefix ce-; on Kafka it is ce_", "Ce-": "the HTTP prefix ce-",
		"cloudEvents:": "the AMQP prefix cloudEvents:; on Kafka it is ce_",
		"cloudEvents_": "the AMQP prefix cloudEvents_", "CE_": "in capitals", "X-CE-": "a prefix of their own",
	} {
		headers := []string{
			prefix + "specversion", "1.0", prefix + "id", "evt-1", prefix + "source", "/orders", prefix + "type", event.TypeReadyToCapture,
			"content-type", "application/json",
		}
		m.structured("the data with the headers "+prefix, m.data, "type", problem, headers...)
		m.structured("the data with a type of its own and the headers "+prefix, strings.Replace(m.data, "{", `{"type":"ORDER",`, 1),
			"specversion", problem, headers...)
		m.with("another type's event with our type in the header "+prefix, event.TypeReadyToCapture, "com.bridge.forwarded", "type", problem,
			prefix+"type", event.TypeReadyToCapture)
		m.structured("headers of a bridge and our type in the header "+prefix, `{}`, "ce_type", problem,
			otherHeaders(prefix+"type", event.TypeReadyToCapture)...)
	}
}

// misspelled adds headers of which one has another key.
func (m *maker) misspelled() {
	const (
		another = "missing: a header has its name in another spelling; it is "
		bare    = "missing: a header has its name without the prefix; it is "
	)
	for key, problem := range map[string]string{
		"ce-id": "missing: the headers have the HTTP prefix ce-", "ce-source": "missing: the headers have the HTTP prefix ce-",
		"cloudEvents:specversion": "missing: the headers have the AMQP prefix cloudEvents:", "CE_SOURCE": "missing: the headers are in capitals",
		"kafka_ce_type": "missing: the headers have a prefix of their own", "ce_ce_id": another + "ce_id", "ce_Type": another + "ce_type",
		"ce_specVersion": another + "ce_specversion", "ce_spec_version": another + "ce_specversion", "ce_event_type": another + "ce_type",
		"type": bare + "ce_type", "id": bare + "ce_id", "Source": bare + "ce_source", "x-type": bare + "ce_type",
	} {
		right := "ce_type"
		for _, name := range []string{"ce_specversion", "ce_id", "ce_source"} {
			if strings.HasSuffix(strings.ToLower(strings.ReplaceAll(key, "spec_", "spec")), name[len("ce_"):]) {
				right = name
			}
		}
		headers := required()
		value := headers[slices.Index(headers, right)+1]
		m.binary("the header "+key+" for "+right, []string{right}, []string{key, value}, strings.TrimPrefix(right, "ce_"), problem)
	}
	for _, key := range []string{"type", "ce_Type", "kafka_ce_type", "eventType"} {
		m.structured("headers of a bridge and our type in the header "+key, `{}`, "ce_type", "is not the type in another header: ",
			otherHeaders(key, event.TypeReadyToCapture)...)
	}
}

// notEvents adds records that have a type but are not CloudEvents.
func (m *maker) notEvents() {
	bare := strings.Replace(m.data, "{", `{"type":"ORDER",`, 1)
	lost := []string{"x-restored-from", "backup"}
	m.structured("bare data", m.data, "type", "were its headers lost?", lost...)
	m.structured("bare data with a type of its own", bare, "specversion", "were its headers lost?", lost...)
	m.structured("bare data with a type and an id of its own", strings.Replace(bare, "{", `{"id":"1",`, 1), "specversion",
		"were its headers lost?", lost...)
	m.structured("an object with a type", `{"type":"order.cancelled"}`, "specversion", "not a CloudEvent", lost...)
	other := m.replaced(event.TypeReadyToCapture, "order.cancelled")
	for _, member := range []string{`"specversion":"1.0",`, `"id":"evt-1",`, `"source":"/orders",`} {
		name := strings.Split(member, `"`)[1]
		m.structured("another type without "+name, strings.Replace(other, member, "", 1), name, "missing", lost...)
		m.structured("another type with an empty "+name, strings.Replace(other, member, `"`+name+`":"",`, 1), name, "missing", lost...)
		m.structured("another type with a null "+name, strings.Replace(other, member, `"`+name+`":null,`, 1), name, "missing", lost...)
	}
	m.structured("another type with a number for an id", strings.Replace(other, `"evt-1"`, "17", 1), "id",
		"JSON number; a string is required", lost...)
	for i := 0; i < len(required()); i += 2 {
		name, all := required()[i], append(required()[:6], "ce_type", "order.cancelled")
		rest := append(append([]string{}, all[:i]...), all[i+2:]...)
		if name == "ce_type" {
			continue
		}
		m.structured("headers of another type without "+name, m.data, strings.TrimPrefix(name, "ce_"), "not a CloudEvent", rest...)
		m.structured("headers of another type with an empty "+name, m.data, strings.TrimPrefix(name, "ce_"), "not a CloudEvent",
			append(rest, name, "")...)
	}
	m.structured("a whole event in an envelope", `{"schema":{"type":"struct"},"payload":`+m.plain+`}`, "schema", "{schema,payload}", lost...)
	m.structured("the data in an envelope", `{"schema":{"type":"struct"},"payload":`+m.data+`}`, "schema", "{schema,payload}", required()...)
	m.structured("an envelope in an envelope", `{"schema":null,"payload":"`+strings.ReplaceAll(m.plain, `"`, `\"`)+`"}`, "schema",
		"{schema,payload}", lost...)
}

// contradictions adds structured events whose headers contradict them.
func (m *maker) contradictions() {
	for _, c := range []struct{ name, value string }{
		{"ce_specversion", "0.3"},
		{"ce_id", "evt-3"},
		{"ce_source", "/others"},
		{"ce_type", "com.bridge.forwarded"},
		{"ce_time", "2020-01-01T00:00:00Z"},
		{"ce_time", "yesterday"},
		{"ce_time", m.now.UTC().Format("2006-01-02 15:04:05")},
		{"ce_id", `"evt-1"`},
	} {
		m.structured(fmt.Sprintf("a structured event beside %s %.12q", c.name, c.value), m.plain, c.name, "in the value",
			c.name, c.value, "content-type", "application/cloudevents+json")
		m.structured(fmt.Sprintf("a structured event beside two of %s %.12q", c.name, c.value), m.plain, c.name, "twice",
			c.name, c.value, "content-type", "application/cloudevents+json", c.name, "something else")
	}
	m.with("no time in the value, and ce_time", `"time":"`+m.time()+`",`, "", "ce_time", "no time",
		"ce_time", m.time(), "content-type", "application/cloudevents+json")
}
