package mercadopago

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
)

// TestEncodeBody pins every byte: with another one, a retry under the same key would
// be another request. If this test has to change, EncodingVersion has to as well.
func TestEncodeBody(t *testing.T) {
	t.Parallel()
	sub := &event.SubMerchant{
		ID: "123123", MCC: "5462", Country: "BRA", AddressDoorNumber: 1, Zip: "2222222",
		DocumentNumber: "222222222222222", City: "SÃO PAULO", AddressStreet: "RUA A", LegalName: "LOJA & CIA <1>",
		RegionCodeISO: "BR-MG", RegionCode: "BR", DocumentType: "CNPJ", Phone: "123123123", URL: "www.example.com.br",
	}
	tests := []struct {
		name   string
		change func(e *event.ReadyToCapture)
		want   string
	}{
		{
			"the page", func(*event.ReadyToCapture) {},
			`{"wallet_payment":{"transaction_amount":700.50,"description":"Payment Description","external_reference":"Pago_123"},` +
				`"payer":{"token":"` + payerToken + `","type_token":"wallet-token"},"binary_mode":true}`,
		},
		{
			"awkward text, no decimals", func(e *event.ReadyToCapture) {
				e.Amount = amount(t, "15000", "CLP")
				e.Description = "Señor \"X\" \\ </script> & \u2028 日本 🙂"
			},
			`{"wallet_payment":{"transaction_amount":15000,"description":"Señor \"X\" \\ </script> & ` + "\u2028" +
				` 日本 🙂","external_reference":"Pago_123"},` +
				`"payer":{"token":"` + payerToken + `","type_token":"wallet-token"},"binary_mode":true}`,
		},
		{
			"sub-merchant", func(e *event.ReadyToCapture) { e.Amount, e.SubMerchant = amount(t, "1", "BRL"), sub },
			`{"wallet_payment":{"transaction_amount":1.00,"description":"Payment Description","external_reference":"Pago_123",` +
				`"forward_data":{"sub_merchant":{"sub_merchant_id":"123123","mcc":"5462","country":"BRA","address_door_number":1,` +
				`"zip":"2222222","document_number":"222222222222222","city":"SÃO PAULO","address_street":"RUA A",` +
				`"legal_name":"LOJA & CIA <1>","region_code_iso":"BR-MG","region_code":"BR","document_type":"CNPJ",` +
				`"phone":"123123123","url":"www.example.com.br"}}},` +
				`"payer":{"token":"` + payerToken + `","type_token":"wallet-token"},"binary_mode":true}`,
		},
		{
			"largest amount", func(e *event.ReadyToCapture) { e.Amount = amount(t, "999999999999.99", "MXN") },
			`{"wallet_payment":{"transaction_amount":999999999999.99,"description":"Payment Description","external_reference":"Pago_123"},` +
				`"payer":{"token":"` + payerToken + `","type_token":"wallet-token"},"binary_mode":true}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := sampleEvent(t)
			tt.change(e)
			for range 2 {
				got, err := encodeBody(e)
				if err != nil || string(got) != tt.want {
					t.Errorf("got %s, %v\nwant %s", got, err, tt.want)
				}
			}
		})
	}
}

// TestEncodeBodyOfOneEvent checks that the body does not depend on the mode, key or
// time of the record, or on the spelling of the amount.
func TestEncodeBodyOfOneEvent(t *testing.T) {
	t.Parallel()
	data := func(amount string) string {
		return `{"order_id":"order-1001","amount":` + amount + `,"currency":"MXN","description":"Order 1001 <é>",` +
			`"external_reference":"Pago_123","payer":{"token":"` + payerToken + `"},"account":"a","device_session_id":"dev-1"}`
	}
	structured := func(amount, when string) event.Message {
		return event.Message{
			Key: []byte("k"),
			Value: []byte(`{"specversion":"1.0","id":"ev-1","source":"/orders","type":"order.ready_to_capture","time":"` + when +
				`","datacontenttype":"application/json","data":` + data(amount) + `}`),
			Headers: []event.Header{{Key: "content-type", Value: []byte("application/cloudevents+json")}},
		}
	}
	binary := event.Message{
		Value: []byte(data(`"700.50"`)), Timestamp: time.Unix(1, 0),
		Headers: []event.Header{
			{Key: "ce_specversion", Value: []byte("1.0")},
			{Key: "ce_id", Value: []byte("ev-1")},
			{Key: "ce_source", Value: []byte("/orders")},
			{Key: "ce_type", Value: []byte("order.ready_to_capture")},
			{Key: "content-type", Value: []byte("application/json")},
		},
	}
	var first []byte
	for i, m := range []event.Message{
		structured(`"700.50"`, "2026-11-23T10:00:00Z"),
		structured(`700.5`, "2027-01-01T00:00:00+01:00"),
		structured(`7.005e2`, "2026-11-23T10:00:00Z"),
		binary,
	} {
		e, err := event.Decode(m)
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		r, err := NewRequest(e)
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if first == nil {
			first = r.Body
		}
		if !bytes.Equal(r.Body, first) {
			t.Errorf("message %d: got %s, want %s", i, r.Body, first)
		}
		if r.Key != "ev-1" || r.SessionID != "dev-1" || r.ExternalReference != "Pago_123" || r.Amount != e.Amount {
			t.Errorf("message %d: got key %q, session %q, reference %q, amount %s",
				i, r.Key, r.SessionID, r.ExternalReference, r.Amount)
		}
	}
}

func TestNewRequestRefuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(e *event.ReadyToCapture){
		"no amount": func(e *event.ReadyToCapture) { e.Amount = money.Amount{} },
		"no token": func(e *event.ReadyToCapture) {
			e.PayerToken = sampleEvent(t).PayerToken
			e.PayerToken.UnmarshalText(nil)
		},
		"no key":      func(e *event.ReadyToCapture) { e.ID = "" },
		"line in key": func(e *event.ReadyToCapture) { e.ID = "a\r\nX-Other: b" },
		"session":     func(e *event.ReadyToCapture) { e.DeviceSessionID = "a b" },
		"no UTF-8":    func(e *event.ReadyToCapture) { e.Description = "\xff" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := sampleEvent(t)
			change(e)
			_, err := NewRequest(e)
			if err == nil {
				t.Fatal("got no error")
			}
			if strings.Contains(err.Error(), payerToken) {
				t.Errorf("the payer token shows in %q", err)
			}
		})
	}
	if _, err := encodeBody(nil); err == nil {
		t.Error("no event: got no error")
	}
}

func TestRequestPrintsItsKeyAlone(t *testing.T) {
	t.Parallel()
	r := sampleRequest(t)
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", slog.Any("request", r))
	for _, text := range []string{
		fmt.Sprint(r), fmt.Sprintf("%+v %#v %s %q %d %x", r, r, r, r, r, r), fmt.Sprintf("%v", &r), log.String(),
	} {
		if strings.Contains(text, payerToken[:8]) || !strings.Contains(text, r.Key) {
			t.Errorf("got %q", text)
		}
	}
}
