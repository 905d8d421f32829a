package event_test

import (
	"bytes"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"payment-capture/internal/event"
)

// byTheLibrary writes a JSON document anew: in the same order of the members, in
// the form that the library gives each value.
func byTheLibrary(t *testing.T, document []byte) []byte {
	t.Helper()
	type transaction struct {
		ID            string `json:"id,omitzero"`
		Status        string `json:"status,omitzero"`
		StatusDetail  string `json:"status_detail,omitzero"`
		PaymentMethod string `json:"payment_method,omitzero"`
		Amount        string `json:"amount,omitzero"`
	}
	var outcome struct {
		SpecVersion     string `json:"specversion"`
		ID              string `json:"id"`
		Source          string `json:"source"`
		Type            string `json:"type"`
		Subject         string `json:"subject"`
		Time            string `json:"time"`
		DataContentType string `json:"datacontenttype"`
		CausationID     string `json:"causationid"`
		TraceParent     string `json:"traceparent,omitzero"`
		Data            struct {
			EventID           string        `json:"event_id"`
			OrderID           string        `json:"order_id"`
			Amount            string        `json:"amount"`
			Currency          string        `json:"currency"`
			ExternalReference string        `json:"external_reference"`
			Provider          string        `json:"provider"`
			PaymentID         string        `json:"payment_id,omitzero"`
			Reason            string        `json:"reason,omitzero"`
			Category          string        `json:"category,omitzero"`
			Retry             string        `json:"retry,omitzero"`
			Transactions      []transaction `json:"transactions"`
			CapturedAt        string        `json:"captured_at,omitzero"`
			ProviderReplayed  bool          `json:"provider_replayed"`
			Replayed          bool          `json:"replayed"`
		} `json:"data"`
	}
	if err := json.Unmarshal(document, &outcome, json.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("%v: %s", err, document)
	}
	again, err := json.Marshal(&outcome)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

func TestOutcomesAreWrittenAsTheLibraryWritesThem(t *testing.T) {
	t.Parallel()
	for name, o := range outcomes(t) {
		m := o.Encode(nil, event.Structured)
		if want := byTheLibrary(t, m.Value); !bytes.Equal(m.Value, want) {
			t.Errorf("%s: written as %s\nand by the library as %s", name, m.Value, want)
		}
		data, err := json.Marshal(map[string]jsontext.Value{"data": o.Encode(nil, event.Binary).Value})
		if err != nil || !bytes.HasSuffix(m.Value, bytes.TrimPrefix(data, []byte("{"))) {
			t.Errorf("%s: in binary mode the data are %s, %v", name, data, err)
		}
	}
}
