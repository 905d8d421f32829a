package event_test

import (
	"strings"
	"testing"
	"time"

	"payment-capture/internal/event"
)

// TestRecordID checks that a copy of a record has the same id, even with the headers of a
// resend, and that any other record has another id.
func TestRecordID(t *testing.T) {
	t.Parallel()
	base := func() event.Message {
		return event.Message{
			Key: []byte("k"), Value: []byte("v"), Headers: []event.Header{{Key: "a", Value: []byte("b")}},
			Timestamp: time.UnixMilli(1_795_000_000_000),
		}
	}
	id := event.RecordID(base())
	if len(id) <= 64 {
		t.Errorf("%q could be an event's id", id)
	}
	resent := base()
	resent.Headers = append(resent.Headers, (event.Resend{ParkedAt: time.Now(), FirstAttempt: time.Now()}).Headers()...)
	if got := event.RecordID(resent); got != id {
		t.Errorf("the record that is sent again is %s, the first was %s", got, id)
	}
	if a, b := event.RecordID(event.Message{}), event.RecordID(event.Message{Key: []byte{}}); a == b {
		t.Error("no key is an empty one")
	}
	for name, change := range map[string]func(*event.Message){
		"key": func(m *event.Message) { m.Key = []byte("K") }, "no key": func(m *event.Message) { m.Key = nil },
		"an empty key": func(m *event.Message) { m.Key = []byte{} },
		"value":        func(m *event.Message) { m.Value = []byte("w") },
		"time":         func(m *event.Message) { m.Timestamp = m.Timestamp.Add(time.Millisecond) },
		"no time":      func(m *event.Message) { m.Timestamp = time.Time{} }, "header": func(m *event.Message) { m.Headers[0].Value = nil },
		"no header":     func(m *event.Message) { m.Headers = nil },
		"shifted bytes": func(m *event.Message) { m.Key, m.Value = []byte("kv"), nil },
	} {
		m := base()
		change(&m)
		if event.RecordID(m) == id {
			t.Errorf("with another %s it is the same", name)
		}
	}
}

func TestResendComesBack(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1_795_000_000_123).UTC()
	for _, want := range []event.Resend{{ParkedAt: at}, {ParkedAt: at, FirstAttempt: at.Add(-time.Hour)}} {
		got := event.ResendOf(event.Message{Headers: append([]event.Header{{Key: "other"}}, want.Headers()...)})
		if got == nil || !got.ParkedAt.Equal(want.ParkedAt) || !got.FirstAttempt.Equal(want.FirstAttempt) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	hs := (event.Resend{ParkedAt: at, FirstAttempt: at}).Headers()
	for name, headers := range map[string][]event.Header{
		"none":               {{Key: "other", Value: []byte("x")}},
		"no time":            {{Key: hs[0].Key, Value: []byte("yesterday")}},
		"the first one only": {hs[1]},
		"a damaged first":    {hs[0], {Key: hs[1].Key, Value: []byte("?")}},
	} {
		if got := event.ResendOf(event.Message{Headers: headers}); got != nil {
			t.Errorf("%s: got %+v, want none", name, got)
		}
	}
}

// TestFingerprint checks which members identify an event.
func TestFingerprint(t *testing.T) {
	t.Parallel()
	decode := func(change string) *event.ReadyToCapture {
		value := map[string]string{
			"":            `{"order_id":"o","amount":"1.00","currency":"MXN","description":"d","external_reference":"r","payer":{"token":"t"}}`,
			"order":       `{"order_id":"p","amount":"1.00","currency":"MXN","description":"d","external_reference":"r","payer":{"token":"t"}}`,
			"amount":      `{"order_id":"o","amount":"1.01","currency":"MXN","description":"d","external_reference":"r","payer":{"token":"t"}}`,
			"currency":    `{"order_id":"o","amount":"1.00","currency":"ARS","description":"d","external_reference":"r","payer":{"token":"t"}}`,
			"reference":   `{"order_id":"o","amount":"1.00","currency":"MXN","description":"d","external_reference":"s","payer":{"token":"t"}}`,
			"payer":       `{"order_id":"o","amount":"1.00","currency":"MXN","description":"d","external_reference":"r","payer":{"token":"u"}}`,
			"description": `{"order_id":"o","amount":"1.00","currency":"MXN","description":"e","external_reference":"r","payer":{"token":"t"}}`,
			"notation":    `{"order_id":"o","amount":1,"currency":"MXN","description":"d","external_reference":"r","payer":{"token":"t"}}`,
		}[change]
		e, err := event.Decode(event.Message{
			Value:     []byte(`{"specversion":"1.0","id":"e","source":"/s","type":"order.ready_to_capture","data":` + value + `}`),
			Timestamp: time.UnixMilli(1_795_000_000_000),
		})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	first := decode("").Fingerprint()
	for _, change := range []string{"order", "amount", "currency", "reference", "payer"} {
		if decode(change).Fingerprint() == first {
			t.Errorf("with another %s it is the same event", change)
		}
	}
	for _, change := range []string{"description", "notation"} {
		if decode(change).Fingerprint() != first {
			t.Errorf("with another %s it is another event", change)
		}
	}
	if event.FingerprintOf([]byte("ab"), []byte("c")) == event.FingerprintOf([]byte("a"), []byte("bc")) {
		t.Error("two texts pass for two others")
	}
}

// TestContent checks which members the decision on an event depends on. The record's
// timestamp and the trace context are not among them, because they change when the event
// is published again.
func TestContent(t *testing.T) {
	t.Parallel()
	const whole = `{"specversion":"1.0","id":"e","source":"/s","type":"order.ready_to_capture","subject":"u","time":"2026-11-23T10:00:00Z",` +
		`"data":{"order_id":"o","amount":"1.00","currency":"MXN","description":"d","external_reference":"r","account":"a","device_session_id":"v",` +
		`"payer":{"token":"t"},"sub_merchant":{"sub_merchant_id":"1","mcc":"2","country":"3","address_door_number":4,"zip":"5","document_number":"6",` +
		`"city":"7","address_street":"8","legal_name":"9","region_code_iso":"10","region_code":"11","document_type":"12","phone":"13","url":"14"}}}`
	at := time.UnixMilli(1_795_000_000_000)
	content := func(m event.Message) event.Fingerprint {
		t.Helper()
		e, err := event.Decode(m)
		if err != nil {
			t.Fatal(err)
		}
		return e.Content()
	}
	of := func(old, changed string) event.Fingerprint {
		t.Helper()
		if !strings.Contains(whole, old) {
			t.Fatalf("there is no %s", old)
		}
		return content(event.Message{Value: []byte(strings.Replace(whole, old, changed, 1)), Timestamp: at})
	}
	first := of("", "")
	seen := map[event.Fingerprint]string{first: "the event as it was"}
	for _, change := range [][2]string{
		{`"id":"e"`, `"id":"f"`},
		{`"source":"/s"`, `"source":"/t"`},
		{`"subject":"u"`, `"subject":"w"`},
		{`10:00:00Z`, `10:00:01Z`},
		{`"time":"2026-11-23T10:00:00Z",`, ``},
		{`"order_id":"o"`, `"order_id":"p"`},
		{`1.00`, `1.01`},
		{`MXN`, `ARS`},
		{`"description":"d"`, `"description":"e"`},
		{`"external_reference":"r"`, `"external_reference":"s"`},
		{`"account":"a"`, `"account":"b"`},
		{`"account":"a",`, ``},
		{`"device_session_id":"v"`, `"device_session_id":"x"`},
		{`"token":"t"`, `"token":"u"`},
		{`"sub_merchant_id":"1"`, `"sub_merchant_id":"x"`},
		{`"mcc":"2"`, `"mcc":"x"`},
		{`"country":"3"`, `"country":"x"`},
		{`"address_door_number":4`, `"address_door_number":5`},
		{`"zip":"5"`, `"zip":"x"`},
		{`"document_number":"6"`, `"document_number":"x"`},
		{`"city":"7"`, `"city":"x"`},
		{`"address_street":"8"`, `"address_street":"x"`},
		{`"legal_name":"9"`, `"legal_name":"x"`},
		{`"region_code_iso":"10"`, `"region_code_iso":"x"`},
		{`"region_code":"11"`, `"region_code":"x"`},
		{`"document_type":"12"`, `"document_type":"x"`},
		{`"phone":"13"`, `"phone":"x"`},
		{`"url":"14"`, `"url":"x"`},
	} {
		got := of(change[0], change[1])
		if other, twice := seen[got]; twice {
			t.Errorf("with %s it has the content of %s", change[1], other)
		}
		seen[got] = change[1]
	}
	for _, same := range [][2]string{
		{`10:00:00Z`, `12:00:00+02:00`},
		{`"1.00"`, `1`},
		{`"time":`, `"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","time":`},
	} {
		if of(same[0], same[1]) != first {
			t.Errorf("with %s it has another content", same[1])
		}
	}
	if content(event.Message{Value: []byte(whole), Timestamp: at.Add(time.Hour)}) != first {
		t.Error("with another record timestamp it has another content")
	}
	timeless := []byte(strings.Replace(whole, `"time":"2026-11-23T10:00:00Z",`, ``, 1))
	if content(event.Message{Value: timeless, Timestamp: at}) != content(event.Message{Value: timeless, Timestamp: at.Add(time.Hour)}) {
		t.Error("an event without a time of its own has another content when it is published again")
	}
}

// TestOpen checks that a payment may belong to an event with an attempt until the event
// has an outcome.
func TestOpen(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1_795_000_000_000)
	tried, later := event.Attempt{First: at}, event.Attempt{First: at.Add(time.Hour)}
	decided := func(v event.Result, tried event.Attempt) *event.Decision {
		return &event.Decision{Result: v, Attempt: tried}
	}
	parked := event.Result{ParkInfo: &event.ParkInfo{}}
	captured := event.Result{Outcome: &event.Outcome{Type: event.TypeCaptured}}
	rejected := event.Result{Outcome: &event.Outcome{Type: event.TypeRejected}}
	for name, test := range map[string]struct {
		history  event.History
		open     *event.Attempt
		captured bool
	}{
		"nothing":                     {event.History{}, nil, false},
		"tried":                       {event.History{Attempt: &tried}, &tried, false},
		"parked without a try":        {event.History{Decision: decided(parked, event.Attempt{})}, nil, false},
		"parked after a try":          {event.History{Decision: decided(parked, tried)}, &tried, false},
		"parked untried, tried since": {event.History{Attempt: &later, Decision: decided(parked, event.Attempt{})}, &later, false},
		"parked, tried again since":   {event.History{Attempt: &later, Decision: decided(parked, tried)}, &tried, false},
		"captured":                    {event.History{Decision: decided(captured, tried)}, nil, true},
		"rejected":                    {event.History{Decision: decided(rejected, tried)}, nil, false},
	} {
		got := test.history.Open()
		if (got == nil) != (test.open == nil) || (got != nil && !got.First.Equal(test.open.First)) {
			t.Errorf("%s: open is %+v, want %+v", name, got, test.open)
		}
		if got := test.history.Captured() != nil; got != test.captured {
			t.Errorf("%s: captured: %t, want %t", name, got, test.captured)
		}
	}
}

// TestDifferencesNeverLookAlike checks that two values look different in the detail of conflicting_event.
func TestDifferencesNeverLookAlike(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("o", 90)
	for _, tc := range []struct{ before, now, want string }{
		{"order-1", "order-2", "order_id was order-1 and is order-2 here"},
		{long + "1", long + "2", `order_id was ..."oooooooooooooooo1" and is ..."oooooooooooooooo2" here`},
		{"pedido-ü", "pedido-ñ", `order_id was "pedido-\u00fc" and is "pedido-\u00f1" here`},
		{"x" + planted, "order-1", "order_id differs"},
	} {
		e := decodedPlain(t)
		e.OrderID = tc.now
		before := event.AttemptOf(e)
		before.OrderID = tc.before
		before.Event = event.ChargeFingerprint(before.OrderID, before.Amount, before.Reference, e.Payer())
		if got := e.Differences(before); got != tc.want {
			t.Errorf("%q, then %q: %s; want %s", tc.before, tc.now, got, tc.want)
		}
	}
}

func decodedPlain(t *testing.T) *event.ReadyToCapture {
	t.Helper()
	e, err := event.Decode(structuredMessage([]byte(plain)))
	if err != nil {
		t.Fatal(err)
	}
	return e
}
