package mercadopago

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/event/hostile"
)

// FuzzNewRequest checks the request of every valid event: it is the same each time,
// its body is the one JSON document of the event, and no text of the event leaves
// its place in the body or the headers. The oracle reads it with other libraries.
func FuzzNewRequest(f *testing.F) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for _, o := range hostile.Odd(now, payerToken) {
		if len(o.Message.Value) < 4<<10 {
			f.Add(o.Message.Value)
		}
	}
	for _, r := range hostile.Records(now, payerToken) {
		if len(r.Message.Value) < 1<<10 {
			f.Add(r.Message.Value)
		}
	}
	f.Add([]byte(`{"specversion":"1.0","id":"e","source":"/","type":"order.ready_to_capture","data":{"order_id":"o","amount":1,"currency":"CLP",` +
		`"description":"<\u2028é>","device_session_id":"a:b","payer":{"token":"t"},"sub_merchant":{"sub_merchant_id":"1","mcc":"1","country":"1",` +
		`"address_door_number":0,"zip":"1","document_number":"1","city":"1","address_street":"1","legal_name":"1","region_code_iso":"1",` +
		`"region_code":"1","document_type":"1","phone":"1","url":"1"}}}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		m := event.Message{Value: value, Timestamp: now}
		e, err := event.Decode(m)
		if err != nil {
			return
		}
		r, err := NewRequest(e)
		if err != nil {
			t.Fatalf("an event that is taken cannot be sent: %v", err)
		}
		again, err := event.Decode(m)
		if err != nil {
			t.Fatal(err)
		}
		if other, err := NewRequest(again); err != nil || !bytes.Equal(other.Body, r.Body) || other.Key != r.Key ||
			other.SessionID != r.SessionID {
			t.Fatalf("the same event has another request: %v\n%s\n%s", err, r.Body, other.Body)
		}
		checkBody(t, e, r.Body)
		checkHead(t, r)
	})
}

// checkBody reads a request's body token by token, unlike our own code.
func checkBody(t *testing.T, e *event.ReadyToCapture, body []byte) {
	t.Helper()
	got := map[string]string{}
	var path []string
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var read func()
	read = func() {
		token, err := d.Token()
		if err != nil {
			t.Fatalf("the body is not JSON: %v: %s", err, body)
		}
		switch token := token.(type) {
		case json.Delim:
			if token != '{' {
				t.Fatalf("%v in the body: %s", token, body)
			}
			for d.More() {
				name, err := d.Token()
				if err != nil {
					t.Fatal(err)
				}
				path = append(path, name.(string))
				read()
				path = path[:len(path)-1]
			}
			if _, err := d.Token(); err != nil {
				t.Fatal(err)
			}
		case string, json.Number, bool:
			at := strings.Join(path, ".")
			if _, twice := got[at]; twice {
				t.Fatalf("%s stands twice in the body: %s", at, body)
			}
			text, err := json.Marshal(token)
			if err != nil {
				t.Fatal(err)
			}
			got[at] = string(text)
		default:
			t.Fatalf("%v in the body: %s", token, body)
		}
	}
	read()
	if d.More() || len(body) != int(d.InputOffset()) {
		t.Fatalf("more than one document: %s", body)
	}
	want := map[string]any{
		"wallet_payment.transaction_amount": json.Number(e.Amount.String()), "wallet_payment.description": e.Description,
		"wallet_payment.external_reference": e.ExternalReference, "payer.token": e.PayerToken.Reveal(), "payer.type_token": "wallet-token",
		"binary_mode": true,
	}
	for at, value := range want {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		if got[at] != string(text) {
			t.Fatalf("%s is %s, not %s", at, got[at], text)
		}
		delete(got, at)
	}
	const sub = "wallet_payment.forward_data.sub_merchant."
	for at := range got {
		if e.SubMerchant == nil || !strings.HasPrefix(at, sub) {
			t.Fatalf("%s is in the body, and nobody asked for it", at)
		}
	}
	if e.SubMerchant != nil && len(got) != 14 {
		t.Fatalf("%d fields of the sub-merchant: %v", len(got), got)
	}
}

// checkHead writes the request as HTTP and reads it back as a server does.
func checkHead(t *testing.T, r Request) {
	t.Helper()
	sent, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://api.example/v1/advanced_payments", bytes.NewReader(r.Body))
	if err != nil {
		t.Fatal(err)
	}
	sent.Header.Set("X-Idempotency-Key", r.Key)
	if r.SessionID != "" {
		sent.Header.Set("X-Meli-Session-Id", r.SessionID)
	}
	var wire bytes.Buffer
	if err := sent.Write(&wire); err != nil {
		t.Fatalf("cannot be written as HTTP: %v", err)
	}
	got, err := http.ReadRequest(bufio.NewReader(&wire))
	if err != nil {
		t.Fatal(err)
	}
	want := 2 // User-Agent and Content-Length
	for _, h := range []struct{ name, value string }{{"X-Idempotency-Key", r.Key}, {"X-Meli-Session-Id", r.SessionID}} {
		if h.value == "" {
			continue
		}
		want++
		if values := got.Header.Values(h.name); len(values) != 1 || values[0] != h.value {
			t.Fatalf("%s is %q, not %q", h.name, values, h.value)
		}
	}
	if len(got.Header) != want {
		t.Fatalf("headers %v", got.Header)
	}
}
