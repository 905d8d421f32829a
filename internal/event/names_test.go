package event_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"payment-capture/internal/event"
	"payment-capture/internal/event/hostile"
	"payment-capture/internal/money"
	"payment-capture/internal/secret"
)

// namedMessage is an invalid record, and the names in the error for it.
type namedMessage struct {
	m         event.Message
	order, id string
}

func (tc namedMessage) check(t *testing.T, name string) {
	t.Helper()
	tc.m.Timestamp = recordTime
	_, err := event.Decode(tc.m)
	wrong, ok := errors.AsType[*event.InvalidError](err)
	if !ok || wrong.OrderID != tc.order || wrong.ClaimedEventID != tc.id {
		t.Errorf("%s: %+v, %v; want order %q, event %q", name, wrong, err, tc.order, tc.id)
	}
	if strings.Contains(fmt.Sprintf("%+v %v", wrong, err), planted[:12]) {
		t.Errorf("%s: the error contains the payer token: %+v", name, wrong)
	}
}

// TestInvalidRecordsNameTheirOrder checks the order id and the event id of invalid
// records.
func TestInvalidRecordsNameTheirOrder(t *testing.T) {
	t.Parallel()
	wide := base64.StdEncoding.EncodeToString([]byte(plain))
	for name, tc := range map[string]namedMessage{
		"a fault in the data":      {structuredMessage([]byte(with(t, plain, "700.50", "seven"))), "order-1001", "evt-1"},
		"a fault in the envelope":  {structuredMessage([]byte(with(t, plain, "2026-11-23T10:00:00Z", "today"))), "order-1001", "evt-1"},
		"binary mode":              {binaryMessage(append(slices.Clone(required), "ce_time", "today")...), "order-1001", "evt-1"},
		"cut in the token":         {structuredMessage([]byte(plain[:strings.Index(plain, planted)+12])), "order-1001", "evt-1"},
		"cut before the token":     {structuredMessage([]byte(plain[:strings.Index(plain, "payer")])), "", ""},
		"cut, the token for an id": {structuredMessage([]byte(with(t, plain, "evt-1", planted)[:100])), "", ""},
		"cut early in the token": {structuredMessage([]byte(with(t, plain, "evt-1",
			planted)[:strings.LastIndex(with(t, plain, "evt-1", planted), planted)+3])), "", ""},
		"cut in binary mode": {valued(plainData[:50], required...), "", "evt-1"},
		"numbers":            {structuredMessage([]byte(with(t, with(t, plain, `"evt-1"`, "17"), `"order-1001"`, "1001"))), "1001", "17"},
		"letters beyond ASCII": {
			structuredMessage([]byte(with(t, with(t, plain, "evt-1", "évt 1"), "order-1001", "pedido nº 1"))),
			"pedido n? 1", "?vt 1",
		},
		"control characters": {structuredMessage([]byte(with(t, with(t, plain, "evt-1", `evt\n1`), "order-1001", `a\u001b[2J`))), "", ""},
		"too long": {
			structuredMessage([]byte(with(t, plain, "order-1001", strings.Repeat("o", 300)))),
			strings.Repeat("o", 256) + "...", "evt-1",
		},
		"bare data":                 {event.Message{Value: []byte(plainData)}, "order-1001", ""},
		"an envelope of Connect":    {event.Message{Value: []byte(`{"schema":null,"payload":` + plain + `}`)}, "order-1001", "evt-1"},
		"an envelope of text":       {event.Message{Value: []byte(`{"id":17,"payload":` + quoted(plain) + `}`)}, "order-1001", "evt-1"},
		"an envelope of base64":     {event.Message{Value: []byte(`{"payload":"` + wide + `"}`)}, "order-1001", "evt-1"},
		"a change of a row":         {event.Message{Value: []byte(`{"payload":{"after":` + plain + `}}`)}, "order-1001", "evt-1"},
		"an envelope of a cut text": {event.Message{Value: []byte(`{"payload":` + quoted(plain[:strings.Index(plain, "payer")]) + `}`)}, "", ""},
		"base64":                    {event.Message{Value: []byte(wide)}, "order-1001", "evt-1"},
		"a JSON text in a string":   {event.Message{Value: []byte(quoted(plain))}, "order-1001", "evt-1"},
		"a byte order mark":         {event.Message{Value: []byte("\ufeff" + plain)}, "order-1001", "evt-1"},
		"no JSON":                   {event.Message{Value: []byte("order-1001")}, "", ""},
		"headers of a bridge": {valued(plain,
			append(slices.Clone(required[:2]), "ce_id", "b-1", "ce_source", "/b", "ce_type", "com.bridge")...), "order-1001", "b-1"},
		"two ids in the headers":    {binaryMessage(append(slices.Clone(required), "ce_id", "evt-2")...), "order-1001", ""},
		"the token for an order id": {structuredMessage([]byte(with(t, with(t, plain, "order-1001", planted), "700.50", "x"))), "", "evt-1"},
		"the token for an id":       {structuredMessage([]byte(with(t, with(t, plain, "evt-1", planted), "700.50", "x"))), "order-1001", ""},
		"the token in an id": {
			structuredMessage([]byte(with(t, with(t, plain, "evt-1", "e-"+planted+"-1"), "700.50", "x"))),
			"order-1001", "",
		},
		"a part of the token": {structuredMessage([]byte(with(t, with(t, plain, "order-1001", planted[:12]), "700.50", "x"))), "", "evt-1"},
		"the token in ce_id": {
			binaryMessage("ce_specversion", "1.0", "ce_source", "/s", "ce_type", event.TypeReadyToCapture, "ce_id", planted, "ce_time",
				"today"), "order-1001", "",
		},
		"the token escaped": {
			structuredMessage([]byte(with(t, with(t, plain, "order-1001", planted), `"token":"`+planted+`"`,
				`"token":"\u0050`+planted[1:]+`","x":x`))), "", "evt-1",
		},
		"the token cut": {
			structuredMessage([]byte(with(t, plain, "order-1001",
				planted)[:strings.LastIndex(with(t, plain, "order-1001", planted), planted)+12])), "", "evt-1",
		},
		"the token in single quotes": {
			structuredMessage([]byte(with(t, with(t, plain, "order-1001", planted), `"token":"`+planted+`"`, `'token': '`+planted+`'`))), "",
			"evt-1",
		},
	} {
		tc.check(t, name)
	}
}

// TestInvalidRecordsNameTheIDInOtherHeaders checks that the event id is read from headers under other
// keys, and not from an id that is another thing's.
func TestInvalidRecordsNameTheIDInOtherHeaders(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]namedMessage{
		"HTTP's headers": {valued(plainData, "ce-type", event.TypeReadyToCapture, "ce-id", "evt-9"), "order-1001", "evt-9"},
		"AMQP's headers": {
			valued(plainData, "cloudEvents:type", event.TypeReadyToCapture, "cloudEvents:id", "evt-9"),
			"order-1001", "evt-9",
		},
		"headers without prefix":  {valued(plainData, "type", event.TypeReadyToCapture, "id", "evt-9"), "order-1001", "evt-9"},
		"an id of something else": {valued(plainData, "id", "9"), "order-1001", ""},
		"ids under two keys":      {valued(plainData, "ce-type", event.TypeReadyToCapture, "ce-id", "evt-9", "CE_ID", "evt-8"), "order-1001", ""},
		"one id under two keys":   {valued(plainData, "ce-id", "evt-9", "CE_ID", "evt-9"), "order-1001", "evt-9"},
		"ce_id and another key":   {valued(plainData, append(slices.Clone(required[:6]), "ce-id", "evt-9")...), "order-1001", "evt-1"},
		"the token in ce-id":      {valued(plainData, "ce-type", event.TypeReadyToCapture, "ce-id", planted), "order-1001", ""},
		"an id of the data, called structured": {
			valued(strings.Replace(plainData, "{", `{"id":"abc",`, 1),
				append(slices.Clone(required), "content-type", "application/cloudevents+json")...),
			"order-1001", "evt-1",
		},
		"an id of the data": {event.Message{Value: []byte(strings.Replace(plainData, "{", `{"id":"abc",`, 1))}, "order-1001", ""},
		"an id of the payer": {
			structuredMessage([]byte(with(t, with(t, plain, `"id":"evt-1",`, ""), `{"token"`, `{"id":"p","token"`))), "order-1001", "",
		},
		"an event with its data beside": {
			event.Message{Value: []byte(strings.Replace(plainData, "{", `{"specversion":"1.0","id":"evt-7","type":"x",`, 1))}, "order-1001", "evt-7",
		},
	} {
		tc.check(t, name)
	}
}

func valued(value string, headers ...string) event.Message {
	m := binaryMessage(headers...)
	m.Value = []byte(value)
	return m
}

func TestNamesOfHostileRecordsAreBoundedAndPrintable(t *testing.T) {
	t.Parallel()
	named := 0
	for _, r := range append(hostile.Records(recordTime, planted), hostile.Large(recordTime, planted, 1<<20)...) {
		_, err := event.Decode(r.Message)
		wrong, ok := errors.AsType[*event.InvalidError](err)
		if !ok {
			t.Errorf("%s: %v", r.Name, err)
			continue
		}
		for _, text := range []string{wrong.OrderID, wrong.ClaimedEventID} {
			if len(text) > 260 || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' }) || strings.Contains(text, planted) {
				t.Errorf("%s: shows %q", r.Name, text)
			}
		}
		if wrong.OrderID == "order-1001" {
			named++
		}
	}
	if named < 400 {
		t.Errorf("%d records name their order", named)
	}
}

func TestNamesOfAnEvent(t *testing.T) {
	t.Parallel()
	amount, err := money.Parse("1", "MXN")
	if err != nil {
		t.Fatal(err)
	}
	e := &event.ReadyToCapture{ID: "evt-1", OrderID: "pedido nº 1", Amount: amount, PayerToken: secret.New(planted)}
	if order, id := e.Names(); order != "pedido n? 1" || id != "evt-1" {
		t.Errorf("names %q, %q", order, id)
	}
	e.OrderID = "order of " + planted
	e.ID = planted
	if order, id := e.Names(); order != "" || id != "" {
		t.Errorf("names %q, %q show the payer token", order, id)
	}
}
