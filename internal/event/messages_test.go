package event_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"payment-capture/internal/event"
)

// TestTimeFaults checks the errors for the usual spellings of a time that is not RFC 3339.
func TestTimeFaults(t *testing.T) {
	t.Parallel()
	for text, cause := range map[string]string{
		"":                                         "it is empty",
		"2026-11-23T10:00Z":                        "the seconds are missing",
		"2026-11-23T10:00":                         "the seconds are missing",
		"2026-11-23T10:00+01:00":                   "the seconds are missing",
		"2026-11-23T10:00:00+0100":                 "the offset has no colon",
		"2026-11-23T10:00:00.5-03":                 "the offset has no colon",
		"2026-11-23T10:00:00":                      "it has no zone",
		"2026-11-23T10:00:00.123":                  "it has no zone",
		"2026-11-23 10:00:00":                      "it has no zone",
		"1795428000":                               "it is digits only",
		"1795428000000":                            "it is digits only",
		"1795428000.25":                            "it is digits only",
		"2026-11-23":                               "a date without a time of day",
		"2026-11-23 10:00:00Z":                     "a space is in place of the T",
		"2026-11-23 10:00:00+01:00":                "a space is in place of the T",
		"2026-11-23T10:00:00,5Z":                   "a comma",
		"2026-11-23t10:00:00z":                     "the t or the z is in lower case",
		"2026-11-23T10:00:00z":                     "the t or the z is in lower case",
		"2026-02-30T10:00:00Z":                     "does not exist",
		"2026-11-23T10:00:00+25:00":                "does not exist",
		"2026-11-23T10:00:00+01:00[Europe/Berlin]": "a zone name in brackets",
		"2026-11-23T10:00:00Z[UTC]":                "a zone name in brackets",
		"2026-11-23T10:00:00.123456789-03:00[America/Lima]":                   "a zone name in brackets",
		`"2026-11-23T10:00:00Z"`:                                              "it is in quotes",
		`'2026-11-23T10:00:00Z'`:                                              "it is in quotes",
		"Mon Nov 23 10:00:00 UTC 2026":                                        "the name of a day or month",
		"Mon, 23 Nov 2026 10:00:00 GMT":                                       "the name of a day or month",
		"23/11/2026 10:00:00":                                                 "the date is not written as",
		"2026-11-23T10:00+01:00[Europe/Berlin]":                               ": the seconds are missing, a zone name in brackets follows it",
		"2026-11-23T10:00:00 America/Lima":                                    ": a space is before the zone, a zone name is in place of Z",
		"2026-11-23T10:00:00+01:00 Europe/Berlin":                             ": a zone name follows it; the offset is enough",
		"2026-11-23T10:00Z[UTC]":                                              ": the seconds are missing, a zone name in brackets",
		"2026-11-23T10:00[UTC]":                                               ": the seconds are missing, a zone name in brackets is in",
		"2026-11-23T10:00+0100":                                               ": the seconds are missing, the offset has no colon",
		"2026-11-23T10Z":                                                      ": the minutes and the seconds are missing",
		"2026-11-23T10:00:00.123456789-03:00[America/Argentina/Buenos_Aires]": ": a zone name in brackets",
		"Mon Nov 23 2026 10:00:00 GMT+0100 (Central European Standard Time)":  ": it has the name of a day or month",
		"2026-11-23T10:00:00 +01:00":                                          ": a space is before the zone",
		"2026-11-23T10:00:00 +0100":                                           ": a space is before the zone, the offset has no colon",
		"2026-11-23T10:00:00UTC":                                              ": a zone name is in place of Z",
		"2026-11-23T10:00:00GMT":                                              ": a zone name is in place of Z",
		"2026-11-23T10:00:00 UTC":                                             ": a space is before the zone, a zone name is in place of Z",
		"2026-11-23T10:00:00+1:00":                                            ": the offset is not written as +01:00",
		"2026-11-23T10:00:00+01:00Z":                                          ": it has both an offset and Z",
		" 2026-11-23T10:00:00Z":                                               ": a space or a line end is at its beginning or end",
		"2026-11-23T10:00:00Z\n":                                              ": a space or a line end is at its beginning or end",
		"`2026-11-23T10:00:00Z`":                                              ": it is in quotes",
		"“2026-11-23T10:00:00Z”":                                              ": it is in quotes",
		"20261123T100000Z":                                                    ": the date has no hyphens, the time of day has no colons",
		"23 Nov 2026 10:00:00 GMT":                                            ": it has the name of a day or month",
		"23.11.2026 10:00:00":                                                 "as 2026-11-23, a space is in place of the T, it has no zone",
		"1.795428E9":                                                          ": it is a number",
		"1795428000L":                                                         ": it is a number",
		"MjAyNi0xMS0yM1QxMDowMDowMFo=":                                        ": it is base64 of a time",
		"20261123":                                                            ": it is digits only: the date has no hyphens",
		"2016-12-31T23:59:60Z":                                                ": it is a leap second, which is not read",
		"10:00:00Z":                                                           ": it is a time of day without a date",
		planted:                                                               "not an RFC 3339 time such as 2026-11-23T10:00:00Z",
	} {
		m := structuredMessage([]byte(with(t, plain, `"2026-11-23T10:00:00Z"`, quoted(text))))
		wantInvalid(t, text, m, "time", cause)
		if text != "" { // because an empty header counts as absent
			wantInvalid(t, text+" in ce_time", binaryMessage(append(slices.Clone(required), "ce_time", text)...), "time", cause)
		}
	}
}

// wrongMessage is a record, and the field and a part of the error for it.
type wrongMessage struct {
	m              event.Message
	field, problem string
}

// TestMessagesNameTheCause has one record for each mistake that producers make.
func TestMessagesNameTheCause(t *testing.T) {
	t.Parallel()
	ours := append(slices.Clone(required), "content-type", "application/json")
	bridge := append(slices.Clone(required[:6]), "ce_type", "com.bridge.forwarded")
	for name, tc := range map[string]wrongMessage{
		"structured, the attributes in the headers": {
			valued(plainData, append(slices.Clone(required), "content-type", "application/cloudevents+json")...), "type",
			"is missing: content-type says structured mode (application/cloudevents+json), but the attributes are in ce_* headers: set it to " +
				"application/json",
		},
		"HTTP's prefix": {
			valued(plainData, "ce-type", event.TypeReadyToCapture, "ce-id", "evt-1"), "type",
			"is missing: the headers have the HTTP prefix ce-; on Kafka it is ce_",
		},
		"AMQP's prefix": {
			valued(plainData, "cloudEvents:type", event.TypeReadyToCapture), "type",
			"is missing: the headers have the AMQP prefix cloudEvents:; on Kafka it is ce_",
		},
		"Latin-1": {
			valued(strings.Replace(plain, "Order 1001", "Pedido n\xba 1001", 1)), "data.description",
			"is not JSON: it is not UTF-8 at byte 205 (Latin-1",
		},
		"UTF-16":       {valued("\xff\xfe{\x00"), "", "begins with a byte order mark of UTF-16, so it is not UTF-8 at byte 0"},
		"UTF-16, bare": {valued("{\x00\"\x00i\x00d\x00\"\x00"), "", "is not JSON: it is UTF-16, not UTF-8 at byte 1"},
		"padding":      {valued(plain + "\x00\x00"), "", "is not JSON: it has a zero byte at byte "},
		"zeros":        {valued("\x00\x00\x00\x00\x00\x00"), "", "is not JSON, but zero bytes alone"},
		"two events":   {valued(plain + "\n" + plain), "", "is not JSON but several JSON documents: a record holds one event"},
		"two orders":   {valued(plainData+plainData, ours...), "data", "several JSON documents"},
		"an envelope": {
			valued(`{"schema":{"type":"struct"},"payload":` + plain + `}`), "schema",
			"is beside payload: the value is in Kafka Connect's {schema,payload} envelope; set schemas.enable=false in its converter",
		},
		"an envelope of text": {
			valued(`{"schema":{"type":"string"},"payload":`+quoted(plain)+`}`, bridge...), "schema", "is beside payload",
		},
		"an outbox": {
			valued(`{"id":17,"payload":`+quoted(plain)+`}`, bridge...), "payload",
			"has a whole event of type order.ready_to_capture in it: send the event alone",
		},
		"a Node.js buffer": {
			valued(`{"type":"Buffer","data":` + strings.ReplaceAll(fmt.Sprintf("%d", []byte(plain)), " ", ",") + `}`), "data", "has a whole event",
		},
		"a change of a row, and no headers": {valued(`{"after":` + plain + `}`), "after", "has a whole event"},
		"an event that lost its quotes": {
			valued(strings.ReplaceAll(plain, `"`, `\"`), bridge...), "ce_type",
			"is another type, but the value is a whole event of type order.ready_to_capture",
		},
		"a ce_type in hexadecimal": {valued(plainData, "ce_type", fmt.Sprintf("% x", event.TypeReadyToCapture)), "ce_type", "in hexadecimal"},
		"a ce_type in lines of base64": {
			valued(plainData, "ce_type", "b3JkZXIucmVhZHlf\r\ndG9fY2FwdHVyZQ=="), "ce_type", "is base64 of the type",
		},
		"a ce_type behind a label": {valued(plainData, "ce_type", "type:order.ready_to_capture"), "ce_type", "has more in it"},
		"a number for an id":       {valued(with(t, plain, `"evt-1"`, "17")), "id", "is a JSON number; a string is required"},
		"a number for an order": {
			valued(with(t, plain, `"order-1001"`, "1001")), "data.order_id", "is a JSON number; a string is required",
		},
		"a number for a token": {
			valued(with(t, plain, `"`+planted+`"`, "1001")), "data.payer.token",
			"is a JSON number; a string is required",
		},
		"a string for a payer": {
			valued(with(t, plain, `{"token":"`+planted+`"}`, `"x"`)), "data.payer",
			"is a JSON string; an object is required",
		},
		"data encoded twice": {
			valued(with(t, plain, plainData, quoted(plainData))), "data",
			"is a JSON string; an object is required (encoded twice?)",
		},
		"an event encoded twice": {valued(quoted(plain)), "", "is a JSON string; an object is required (encoded twice?)"},
		"a list of events":       {valued("[" + plain + "]"), "", "is a JSON array; an object is required"},
		"text with an exponent": {
			valued(with(t, plain, `"700.50"`, `"1E+2"`)), "data.amount",
			"must be plain decimal digits when it is a string",
		},
		"data without the event": {valued(plainData), "type", "is missing: the value looks like an event's data alone; were its headers lost?"},
		"a ce_type in quotes": {
			valued(plainData, "ce_type", `"order.ready_to_capture"`), "ce_type",
			"is in quotes: send it as plain bytes (JSON header converter?)",
		},
		"a ce_type in base64":     {valued(plainData, "ce_type", "b3JkZXIucmVhZHlfdG9fY2FwdHVyZQ=="), "ce_type", "is base64 of the type"},
		"an event in binary mode": {valued(plain, ours...), "data.order_id", "is missing: the value is a whole event"},
	} {
		tc.m.Timestamp = recordTime
		wantInvalid(t, name, tc.m, tc.field, tc.problem)
	}
	// A number may have an exponent, a text may not.
	e, err := event.Decode(structuredMessage([]byte(with(t, plain, `"700.50"`, `1E+2`))))
	if err != nil || e.Amount.String() != "100.00" {
		t.Errorf("1E+2: %v, %v", e, err)
	}
}

// TestMessagesNameWhatIsMisplaced has data where the event should be, values in text encodings, and what
// stands beside a document.
func TestMessagesNameWhatIsMisplaced(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]wrongMessage{
		"an id for the data, called structured": {
			valued(strings.Replace(plainData, "{", `{"id":17,`, 1),
				append(slices.Clone(required), "content-type", "application/cloudevents+json")...),
			"type", "is missing: content-type says structured mode",
		},
		"a type for the data, called structured": {
			valued(strings.Replace(plainData, "{", `{"type":"ORDER",`, 1),
				append(slices.Clone(required), "content-type", "application/cloudevents+json")...),
			"specversion", "is missing: content-type says structured mode",
		},
		"data with an id that is a number": {
			valued(strings.Replace(plainData, "{", `{"id":17,`, 1)), "type",
			"is missing: the value looks like an event's data alone; were its headers lost?",
		},
		"an envelope, called structured": {
			valued(`{"schema":null,"payload":`+plainData+`}`, append(slices.Clone(required), "content-type", "application/cloudevents+json")...),
			"schema", "is beside payload",
		},
		"a structured event without an id, and a header id": {
			valued(with(t, plain, `"id":"evt-1",`, ""), "id", "7"), "id", "is missing: it is the idempotency key of the capture",
		},
		"a header type that is not ours": {
			valued(plainData, "type", "ORDER"), "type", "is missing: the value looks like an event's data alone; were its headers lost?",
		},
		"a source that is not there, and ce-subject": {
			valued(plainData, append(slices.Clone(required[:4]), "ce_type", event.TypeReadyToCapture, "ce-subject", "x")...), "source",
			"is missing: CloudEvents require it",
		},
		"a quoted specversion of another version": {
			valued(plainData, "ce_specversion", `"0.3"`, "ce_id", "1", "ce_source", "/s", "ce_type", event.TypeReadyToCapture), "specversion",
			`is "0.3", but it is in quotes: 1.0 is expected`,
		},
		"a list of arrays":        {valued("[1][2]"), "", "is a JSON array; an object is required"},
		"CSV":                     {valued("1001,700.50,MXN"), "", "is not JSON: something follows its first JSON value, which ends at byte 4"},
		"one text of RFC 7464":    {valued("\x1e" + plain + "\n"), "", "is not JSON: a separator of documents is before it"},
		"hexadecimal with colons": {valued("7b:22:69:64:22:3a:31:7d"), "", "is not JSON, but hexadecimal of JSON"},
		"a word in hexadecimal":   {valued("7b is a flat"), "", "is not JSON: something follows its first JSON value"},
		"Zstandard":               {valued("\x28\xb5\x2f\xfd\x04\x00"), "", "begins with the mark of Zstandard"},
		"escapes of a URL":        {valued("%7B%22specversion%22%3A%221.0%22%7D"), "", "is not JSON: its quotes are escaped"},
		"base64 of gzip":          {valued("H4sIAAAAAAAAA6tWKkktLlGyUlAqS8wpTVWqBQCZgS2eEAAAAA=="), "", "is not JSON, but base64 of gzip"},
	} {
		tc.m.Timestamp = recordTime
		wantInvalid(t, name, tc.m, tc.field, tc.problem)
	}
}

func TestATimeMayBeRequired(t *testing.T) {
	t.Parallel()
	timeless := with(t, plain, `"time":"2026-11-23T10:00:00Z",`, "")
	strict := event.Decoder{TimeRequired: true}
	for name, m := range map[string]event.Message{
		"absent": structuredMessage([]byte(timeless)), "null": structuredMessage([]byte(with(t, plain, `"2026-11-23T10:00:00Z"`, "null"))),
		"binary": binaryMessage(required...), "an empty header": binaryMessage(append(slices.Clone(required), "ce_time", "")...),
	} {
		if _, err := event.Decode(m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_, err := strict.Decode(m)
		if err == nil || !strings.Contains(err.Error(), "time is missing, and EVENT_TIME_REQUIRED is set") {
			t.Errorf("%s, if a time is required: %v", name, err)
		}
	}
	if _, err := strict.Decode(structuredMessage([]byte(plain))); err != nil {
		t.Error(err)
	}
	wantSkipped(t, "another type without a time", structuredMessage([]byte(with(t, timeless, event.TypeReadyToCapture, "order.cancelled"))))
}
