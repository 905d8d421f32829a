package event_test

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"payment-capture/internal/event"
)

// BenchmarkDecode compares the decoder with reading the tokens alone, and with the
// standard library, which does not look for duplicates and checks no field.
func BenchmarkDecode(b *testing.B) {
	for name, text := range map[string][]byte{
		"plain": examples(b, "valid")["plain"],
		"full":  examples(b, "valid")["all-members"],
	} {
		var compacted bytes.Buffer
		if err := stdjson.Compact(&compacted, text); err != nil {
			b.Fatal(err)
		}
		value := compacted.Bytes()
		run := func(what string, decode func() error) {
			b.Run(name+"/"+what, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(value)))
				for b.Loop() {
					if err := decode(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		structured, binary := structuredMessage(value), inBinary(b, parseNode(b, value))
		run("structured", func() error {
			_, err := event.Decode(structured)
			return err
		})
		run("binary", func() error {
			_, err := event.Decode(binary)
			return err
		})
		run("encoding-json", func() error { return stdjson.Unmarshal(value, &plainEvent{}) })
		run("tokens", func() error { return readTokens(value) })
	}
	b.Run("skipped", func(b *testing.B) {
		m := structuredMessage(bytes.Replace([]byte(plain), []byte(event.TypeReadyToCapture), []byte("order.cancelled"), 1))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := event.Decode(m); err == nil {
				b.Fatal("another type is accepted")
			}
		}
	})
}

func readTokens(text []byte) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(text))
	for {
		if _, err := d.ReadToken(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// plainEvent is the event for encoding/json.
type plainEvent struct {
	SpecVersion     string    `json:"specversion"`
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	Type            string    `json:"type"`
	Subject         string    `json:"subject"`
	Time            time.Time `json:"time"`
	DataContentType string    `json:"datacontenttype"`
	TraceParent     string    `json:"traceparent"`
	Data            struct {
		OrderID           string             `json:"order_id"`
		Amount            stdjson.RawMessage `json:"amount"`
		Currency          string             `json:"currency"`
		Description       string             `json:"description"`
		ExternalReference string             `json:"external_reference"`
		Payer             struct {
			Token string `json:"token"`
		} `json:"payer"`
		Account         string             `json:"account"`
		DeviceSessionID string             `json:"device_session_id"`
		SubMerchant     *event.SubMerchant `json:"sub_merchant"`
	} `json:"data"`
}

func BenchmarkEncode(b *testing.B) {
	t := &testing.T{}
	o := outcomes(t)["captured"]
	b.ReportAllocs()
	for b.Loop() {
		o.Encode([]byte("order-1001"), event.Structured)
	}
}
