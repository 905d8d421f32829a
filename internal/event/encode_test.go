package event_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
	"payment-capture/schemas"
)

var update = flag.Bool("update", false, "write the golden files")

func mustParse(t *testing.T, text string, c money.Currency) money.Amount {
	t.Helper()
	a, err := money.Parse(text, c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// outcomes returns one outcome of every shape, by name.
func outcomes(t *testing.T) map[string]*event.Outcome {
	t.Helper()
	captured := event.Outcome{
		Type:              event.TypeCaptured,
		Subject:           "order-1001",
		Time:              time.Date(2026, 11, 23, 7, 0, 1, 250_999_999, time.FixedZone("", -3*60*60)),
		TraceParent:       "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		EventID:           "0b0b9d4e-6c7e-4d0e-9a39-0f6f6a3f8f11",
		OrderID:           "order-1001",
		Amount:            mustParse(t, "700.5", "MXN"),
		ExternalReference: "order-1001",
		PaymentID:         "10458724",
		Transactions: []event.Transaction{
			{ID: "3870106238", Status: "approved", StatusDetail: "accredited", PaymentMethod: "visa", Amount: "500.50"},
			{ID: "3870106239", Status: "approved", StatusDetail: "accredited", PaymentMethod: "account_money", Amount: "200.00"},
		},
		CapturedAt: time.Date(2026, 11, 23, 10, 0, 1, 0, time.UTC),
	}
	again := captured
	again.Replayed, again.ProviderReplayed = true, true
	again.TraceParent, again.Transactions = "", nil
	again.Amount = mustParse(t, "15000", "CLP")

	rejected := captured
	rejected.Type, rejected.CapturedAt = event.TypeRejected, time.Time{}
	rejected.Reason, rejected.Category, rejected.Retry = "insufficient_money", event.CategoryInsufficientFunds, event.RetryBuyerAction
	rejected.Transactions = []event.Transaction{{
		Status: "rejected", StatusDetail: "insufficient_money", PaymentMethod: "account_money",
		Amount: "700.50",
	}}

	without := rejected
	without.PaymentID, without.Transactions = "", nil
	without.Reason, without.Category, without.Retry = "invalid_payer_token", event.CategoryAgreementCancelled, event.RetryBuyerAction
	without.Amount = mustParse(t, "0.07", "BRL")
	without.OrderID, without.Subject = "Pedido nº 1 <b>&</b> \u2028", "Pedido nº 1 <b>&</b> \u2028"

	odd := rejected
	odd.Reason, odd.Category, odd.Retry = "bad \xff text \x00\n", event.CategoryOther, event.RetryNever
	odd.Transactions = []event.Transaction{{StatusDetail: "\xc3"}, {}}
	return map[string]*event.Outcome{
		"captured": &captured, "captured-again": &again, "rejected": &rejected, "rejected-without-payment": &without, "rejected-odd-text": &odd,
	}
}

func TestOutcomesKeepToTheSchemas(t *testing.T) {
	t.Parallel()
	for name, o := range outcomes(t) {
		structured := o.Encode(nil, event.Structured)
		if err := validate(t, schemas.Envelope(o.Type), structured.Value); err != nil {
			t.Errorf("%s, structured: %v", name, err)
		}
		binary := o.Encode(nil, event.Binary)
		if err := validate(t, schemas.Data(o.Type), binary.Value); err != nil {
			t.Errorf("%s, binary: %v", name, err)
		}
		// Both modes have the same content.
		fromHeaders, err := json.Marshal(binaryCandidate(binary).document)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(asValue(t, structured.Value), asValue(t, fromHeaders)); diff != "" {
			t.Errorf("%s (-structured +binary):\n%s", name, diff)
		}
		// Input and outcomes may share a topic: the service skips its own.
		for _, m := range []event.Message{structured, binary} {
			if _, err := event.Decode(m); err == nil || err.Error() != fmt.Sprintf("event of type %q", o.Type) {
				t.Errorf("%s: its own outcome is decoded to %v", name, err)
			}
		}
	}
}

func asValue(t *testing.T, text []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestOutcomesHaveTheMembersOfTheSchemas(t *testing.T) {
	t.Parallel()
	for name, example := range outcomes(t) {
		if name != "captured" && name != "rejected" {
			continue
		}
		m := example.Encode(nil, event.Structured)
		if got, want := memberNames(t, m.Value, ""), described(t, schemas.Envelope(example.Type)).names(); !slices.Equal(got, want) {
			t.Errorf("%s: the members are %v, the schema's %v", name, got, want)
		}
		if got, want := memberNames(t, m.Value, "data"), described(t, schemas.Data(example.Type)).names(); !slices.Equal(got, want) {
			t.Errorf("%s: the data's members are %v, the schema's %v", name, got, want)
		}
	}
}

func TestOutcomeGoldenFiles(t *testing.T) {
	t.Parallel()
	for name, o := range outcomes(t) {
		for _, mode := range []event.Mode{event.Structured, event.Binary} {
			m := o.Encode([]byte("order-1001"), mode)
			file := filepath.Join("testdata", "golden", name+"."+string(mode)+".txt")
			got := recordText(m)
			if *update {
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
		}
	}
}

// recordText returns a record as readable text: key, headers, value.
func recordText(m event.Message) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "key: %s\n", m.Key)
	for _, h := range m.Headers {
		fmt.Fprintf(&b, "%s: %s\n", h.Key, h.Value)
	}
	fmt.Fprintf(&b, "\n%s\n", m.Value)
	return b.Bytes()
}

func TestOutcomeKey(t *testing.T) {
	t.Parallel()
	o := outcomes(t)["captured"]
	for _, tc := range []struct{ key, want []byte }{
		{[]byte("k"), []byte("k")},
		{nil, []byte("order-1001")},
		{[]byte{}, []byte{}},
		{[]byte{0xff, 0}, []byte{0xff, 0}},
	} {
		if m := o.Encode(tc.key, event.Structured); !bytes.Equal(m.Key, tc.want) {
			t.Errorf("the key of an outcome of key %q is %q", tc.key, m.Key)
		}
	}
}

// Consumers drop repeated outcomes by these ids. Another implementation of UUIDv5
// computed them.
func TestOutcomeIDsNeverChange(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ eventID, outcome, want string }{
		{"0b0b9d4e-6c7e-4d0e-9a39-0f6f6a3f8f11", event.TypeCaptured, "6e5e4b1c-1bc7-5e78-9985-67999b0429ae"},
		{"0b0b9d4e-6c7e-4d0e-9a39-0f6f6a3f8f11", event.TypeRejected, "e59d7c80-6f66-5f7b-95e9-53e3827f2780"},
		{"evt-1", event.TypeCaptured, "d835822c-9b4a-53ce-8ea8-f8a3ce03bf03"},
		{"evt-1", event.TypeRejected, "fb2c444b-39da-57c2-8bee-2f59abf80cdc"},
	} {
		if got := event.OutcomeID(tc.eventID, tc.outcome).String(); got != tc.want {
			t.Errorf("the id of %s for %s is %s, want %s", tc.outcome, tc.eventID, got, tc.want)
		}
	}
}

func TestOutcomeIsTheSameWheneverItIsEncoded(t *testing.T) {
	t.Parallel()
	for name, o := range outcomes(t) {
		first := o.Encode(nil, event.Structured)
		moved := *o
		moved.Time = o.Time.In(time.FixedZone("elsewhere", 5*60*60))
		if second := moved.Encode(nil, event.Structured); !bytes.Equal(first.Value, second.Value) {
			t.Errorf("%s: %s\nand then %s", name, first.Value, second.Value)
		}
	}
}

func TestParkedKeepsTheRecord(t *testing.T) {
	t.Parallel()
	input := event.Message{
		Key:       []byte{0, 0xff},
		Value:     []byte("no event\x00\xff"),
		Headers:   append(make([]event.Header, 0, 20), event.Header{Key: "a", Value: []byte("1")}, event.Header{Key: "a", Value: nil}),
		Timestamp: recordTime,
	}
	at := event.Position{Topic: "order.ready_to_capture", Partition: 3, Offset: 1 << 40, ID: "e-1", OrderID: "o-1", ClaimedEventID: "e-2"}
	full := &event.ParkInfo{
		Reason: event.ParkUndecided, Detail: "no answer", FirstAttempt: time.Date(2026, 11, 23, 7, 0, 0, 5, time.FixedZone("", -3*60*60)),
		Tries: 5, HTTPStatus: 504, RequestID: "b3f6c9e0",
	}
	out := event.EncodeParked(input, at, full)
	if !bytes.Equal(out.Key, input.Key) || !bytes.Equal(out.Value, input.Value) {
		t.Errorf("key %q, value %q", out.Key, out.Value)
	}
	want := []event.Header{
		{Key: "a", Value: []byte("1")},
		{Key: "a"},
		{Key: "parked_reason", Value: []byte("undecided")},
		{Key: "parked_detail", Value: []byte("no answer")},
		{Key: "parked_topic", Value: []byte("order.ready_to_capture")},
		{Key: "parked_partition", Value: []byte("3")},
		{Key: "parked_offset", Value: []byte("1099511627776")},
		{Key: "parked_event_id", Value: []byte("e-1")},
		{Key: "parked_order_id", Value: []byte("o-1")},
		{Key: "parked_claimed_event_id", Value: []byte("e-2")},
		{Key: "parked_first_attempt", Value: []byte("2026-11-23T10:00:00.000000005Z")},
		{Key: "parked_tries", Value: []byte("5")},
		{Key: "parked_http_status", Value: []byte("504")},
		{Key: "parked_request_id", Value: []byte("b3f6c9e0")},
	}
	if diff := cmp.Diff(want, out.Headers); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if spare := input.Headers[:cap(input.Headers)]; spare[2].Key != "" {
		t.Error("the input's headers were written behind")
	}
	digest := event.EncodeParked(event.Digest(input), at, full)
	if digest.Key != nil || digest.Value != nil || string(digest.Headers[0].Value) != "10" {
		t.Errorf("parked as a digest: %+v", digest)
	}
	if got, want := parkedNames(digest), described(t, schemas.ParkedHeaders).names(); !slices.Equal(got, want) {
		t.Errorf("the headers are %v, the schema's %v", got, want)
	}

	least := event.EncodeParked(event.Message{}, event.Position{Topic: "t", ID: event.RecordID(event.Message{})},
		&event.ParkInfo{Reason: event.ParkInvalidEvent, Detail: "type is missing"})
	if least.Key != nil || least.Value != nil {
		t.Errorf("a tombstone without a key became key %q, value %q", least.Key, least.Value)
	}
	for _, m := range []event.Message{out, least} {
		if err := validate(t, schemas.ParkedHeaders, headersAsObject(t, m)); err != nil {
			t.Error(err)
		}
	}
}

func TestEveryParkReasonKeepsToTheSchema(t *testing.T) {
	t.Parallel()
	for _, reason := range event.ParkReasons() {
		m := event.EncodeParked(event.Message{}, event.Position{Topic: "t"}, &event.ParkInfo{Reason: reason})
		if err := validate(t, schemas.ParkedHeaders, headersAsObject(t, m)); err != nil {
			t.Errorf("%s: %v", reason, err)
		}
	}
}

func parkedNames(m event.Message) []string {
	names := map[string]bool{}
	for _, h := range m.Headers {
		if strings.HasPrefix(h.Key, "parked_") {
			names[h.Key] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func headersAsObject(t *testing.T, m event.Message) []byte {
	t.Helper()
	object := map[string]string{}
	for _, h := range m.Headers {
		object[h.Key] = string(h.Value)
	}
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
