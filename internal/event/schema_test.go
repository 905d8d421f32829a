package event_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
	"payment-capture/internal/secret"
	"payment-capture/schemas"
)

// recordTime is the timestamp of the records in these tests.
var recordTime = time.Date(2026, 11, 23, 10, 0, 5, 0, time.UTC)

// compiler has every schema by its $id, and checks formats.
var compiler = sync.OnceValues(func() (*jsonschema.Compiler, error) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	files, err := fs.Glob(schemas.FS, "*.schema.json")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		content, err := schemas.FS.ReadFile(file)
		if err != nil {
			return nil, err
		}
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
		if err != nil {
			return nil, err
		}
		if err := c.AddResource(schemas.BaseURI+file, document); err != nil {
			return nil, err
		}
	}
	return c, nil
})

// compiling serialises compilation, because the compiler is not safe for parallel tests.
var compiling sync.Mutex

func schema(tb testing.TB, file string) *jsonschema.Schema {
	tb.Helper()
	compiling.Lock()
	defer compiling.Unlock()
	c, err := compiler()
	if err != nil {
		tb.Fatal(err)
	}
	s, err := c.Compile(schemas.BaseURI + file)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func validate(tb testing.TB, file string, text []byte) error {
	tb.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return schema(tb, file).Validate(document)
}

// examples returns the valid or the invalid examples of the input by name.
func examples(tb testing.TB, kind string) map[string][]byte {
	tb.Helper()
	files, err := fs.Glob(schemas.FS, path.Join("examples", event.TypeReadyToCapture, kind, "*.json"))
	if err != nil || len(files) == 0 {
		tb.Fatalf("no %s examples: %v", kind, err)
	}
	found := map[string][]byte{}
	for _, file := range files {
		content, err := schemas.FS.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		found[strings.TrimSuffix(path.Base(file), ".json")] = content
	}
	return found
}

func structuredMessage(value []byte) event.Message {
	return event.Message{
		Value:     value,
		Headers:   []event.Header{{Key: "content-type", Value: []byte("application/cloudevents+json; charset=UTF-8")}},
		Timestamp: recordTime,
	}
}

func TestValidExamplesDecode(t *testing.T) {
	t.Parallel()
	for name, example := range examples(t, "valid") {
		if _, err := event.Decode(structuredMessage(example)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// fieldOf is the field that Decode must name for each invalid example.
var fieldOf = map[string]string{
	"account-with-a-space":             "data.account",
	"amount-in-capitals-only":          "data.amount",
	"amount-is-an-object":              "data.amount",
	"amount-missing":                   "data.amount",
	"amount-negative":                  "data.amount",
	"amount-negative-number":           "data.amount",
	"amount-string-with-comma":         "data.amount",
	"amount-string-with-exponent":      "data.amount",
	"amount-string-with-leading-zero":  "data.amount",
	"amount-too-large":                 "data.amount",
	"amount-zero":                      "data.amount",
	"currency-in-small-letters":        "data.currency",
	"currency-missing":                 "data.currency",
	"currency-unknown":                 "data.currency",
	"data-in-base64":                   "data_base64",
	"data-is-a-string":                 "data",
	"data-missing":                     "data",
	"datacontenttype-is-avro":          "datacontenttype",
	"description-empty":                "data.description",
	"description-missing":              "data.description",
	"device_session_id-with-a-newline": "data.device_session_id",
	"external_reference-missing-and-order-id-cannot-stand-in": "data.external_reference",
	"external_reference-with-a-slash":                         "data.external_reference",
	"id-empty":                                                "id",
	"id-is-a-number":                                          "id",
	"id-longer-than-64":                                       "id",
	"id-missing":                                              "id",
	"id-null":                                                 "id",
	"id-with-a-newline":                                       "id",
	"id-with-a-space":                                         "id",
	"not-an-object":                                           "",
	"order_id-longer-than-256":                                "data.order_id",
	"order_id-missing":                                        "data.order_id",
	"payer-missing":                                           "data.payer.token",
	"payer-token-longer-than-512":                             "data.payer.token",
	"payer-token-missing":                                     "data.payer.token",
	"payer-token-with-a-space":                                "data.payer.token",
	"source-missing":                                          "source",
	"source-with-a-control-character":                         "source",
	"specversion-is-0.3":                                      "specversion",
	"specversion-missing":                                     "specversion",
	"sub_merchant-door-number-is-a-string":                    "data.sub_merchant.address_door_number",
	"sub_merchant-door-number-is-negative":                    "data.sub_merchant.address_door_number",
	"sub_merchant-with-a-member-missing":                      "data.sub_merchant.mcc",
	"subject-longer-than-1024":                                "subject",
	"time-before-1970":                                        "time",
	"time-is-a-number":                                        "time",
	"time-without-offset":                                     "time",
	"type-missing":                                            "type",
}

func TestInvalidExamplesNameTheirField(t *testing.T) {
	t.Parallel()
	found := examples(t, "invalid")
	for name := range fieldOf {
		if found[name] == nil {
			t.Errorf("there is no example %s", name)
		}
	}
	for name, example := range found {
		want, ok := fieldOf[name]
		if !ok {
			t.Errorf("%s: no field is expected of it", name)
		}
		_, err := event.Decode(structuredMessage(example))
		if got, ok := errors.AsType[*event.InvalidError](err); !ok || got.Field != want {
			t.Errorf("%s: %v; want a fault of field %q", name, err, want)
		}
	}
}

func TestDecodeTakesEveryMember(t *testing.T) {
	t.Parallel()
	amount, err := money.Parse("700.50", "BRL")
	if err != nil {
		t.Fatal(err)
	}
	want := &event.ReadyToCapture{
		ID:                "0b0b9d4e-6c7e-4d0e-9a39-0f6f6a3f8f11",
		Source:            "/orders",
		Subject:           "order-1001",
		Time:              time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC),
		TraceParent:       "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		RecordTime:        recordTime,
		OrderID:           "order-1001",
		Amount:            amount,
		Description:       "Order 1001",
		ExternalReference: "order-1001",
		PayerToken:        secret.New("payer-token-of-the-agreement"),
		Account:           "mlb-main",
		DeviceSessionID:   "armor.5f3c8e21",
		SubMerchant: &event.SubMerchant{
			ID: "seller-77", MCC: "5411", Country: "BRA", AddressDoorNumber: 100, Zip: "06541005",
			DocumentNumber: "45593225000152", City: "São Paulo", AddressStreet: "Av. das Nações Unidas",
			LegalName: "Loja Exemplo Ltda", RegionCodeISO: "BR-SP", RegionCode: "SP", DocumentType: "CNPJ",
			Phone: "+551150000000", URL: "https://loja.example",
		},
	}
	example := examples(t, "valid")["all-members"]
	for mode, message := range map[string]event.Message{
		"structured": structuredMessage(example),
		"binary":     inBinary(t, parseNode(t, example)),
	} {
		got, err := event.Decode(message)
		if err != nil {
			t.Errorf("%s: %v", mode, err)
			continue
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(sameSecret), cmp.Comparer(sameAmount)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", mode, diff)
		}
	}
}

func sameSecret(a, b secret.Text) bool  { return a == b }
func sameAmount(a, b money.Amount) bool { return a == b }

// A member that the schema describes and the example lacks would not be tested.
func TestTheFullExampleHasEveryMember(t *testing.T) {
	t.Parallel()
	var example struct {
		Data struct {
			SubMerchant map[string]any `json:"sub_merchant"`
		} `json:"data"`
	}
	text := examples(t, "valid")["all-members"]
	if err := json.Unmarshal(text, &example); err != nil {
		t.Fatal(err)
	}
	envelope, data := described(t, schemas.Envelope(event.TypeReadyToCapture)), described(t, schemas.Data(event.TypeReadyToCapture))
	if got, want := memberNames(t, text, ""), without(envelope.names(), "data_base64"); !slices.Equal(got, want) {
		t.Errorf("the event's members are %v, the schema's %v", got, want)
	}
	if got, want := memberNames(t, text, "data"), data.names(); !slices.Equal(got, want) {
		t.Errorf("the data's members are %v, the schema's %v", got, want)
	}
	if got, want := slices.Sorted(maps.Keys(example.Data.SubMerchant)), data.Properties["sub_merchant"].names(); !slices.Equal(got, want) {
		t.Errorf("the sub-merchant's members are %v, the schema's %v", got, want)
	}
}

// description is the part of a schema that these tests read.
type description struct {
	Description string                  `json:"description"`
	Properties  map[string]*description `json:"properties"`
	Enum        []string                `json:"enum"`
	Defs        map[string]*description `json:"$defs"`
}

func (d *description) names() []string { return slices.Sorted(maps.Keys(d.Properties)) }

func described(t *testing.T, file string) *description {
	t.Helper()
	content, err := schemas.FS.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d := &description{}
	if err := json.Unmarshal(content, d); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return d
}

// memberNames returns the members of a document, or of the object in a member.
func memberNames(t *testing.T, document []byte, in string) []string {
	t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal(document, &members); err != nil {
		t.Fatal(err)
	}
	if in != "" {
		return memberNames(t, members[in], "")
	}
	return slices.Sorted(maps.Keys(members))
}

func without(names []string, unwanted string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return name == unwanted })
}

func TestClosedListsAreThoseOfTheCode(t *testing.T) {
	t.Parallel()
	var currencies, reasons []string
	for _, site := range money.Sites() {
		currencies = append(currencies, string(site.Currency))
	}
	for _, reason := range event.ParkReasons() {
		reasons = append(reasons, string(reason))
	}
	rejected := described(t, schemas.Data(event.TypeRejected)).Properties
	for _, list := range []struct {
		name      string
		got, want []string
	}{
		{"currency", described(t, schemas.Common).Defs["currency"].Enum, currencies},
		{"category", rejected["category"].Enum, constants(t, "Category")},
		{"retry", rejected["retry"].Enum, constants(t, "Retry")},
		{"parked_reason", described(t, schemas.ParkedHeaders).Properties["parked_reason"].Enum, reasons},
		{"ParkReasons", reasons, constants(t, "ParkReason")},
	} {
		if !slices.Equal(slices.Sorted(slices.Values(list.got)), slices.Sorted(slices.Values(list.want))) {
			t.Errorf("%s: the list is %v, the code's %v", list.name, list.got, list.want)
		}
	}
	// The prose explains each word of a closed list.
	for _, d := range []*description{
		rejected["category"], rejected["retry"],
		described(t, schemas.ParkedHeaders).Properties["parked_reason"],
	} {
		for _, word := range d.Enum {
			if !strings.Contains(d.Description, " "+word+": ") {
				t.Errorf("the description does not explain %s", word)
			}
		}
	}
}

// constants returns the values of the constants of a string type of package event.
func constants(t *testing.T, typeName string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); !ok || name.Name != typeName {
			return true
		}
		if literal, ok := spec.Values[0].(*ast.BasicLit); ok {
			value, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, value)
		}
		return true
	})
	return values
}

func TestSchemasStateTheOutcomeNamespace(t *testing.T) {
	t.Parallel()
	texts := map[string]string{schemas.Common: described(t, schemas.Common).Defs["outcome_id"].Description}
	for _, eventType := range []string{event.TypeCaptured, event.TypeRejected} {
		file := schemas.Envelope(eventType)
		texts[file] = described(t, file).Properties["id"].Description
		if !strings.Contains(texts[file], "<event id>/"+eventType) {
			t.Errorf("%s does not state the name that the id is made of", file)
		}
	}
	for file, text := range texts {
		if !strings.Contains(text, "namespace "+event.OutcomeNamespace) {
			t.Errorf("%s does not state the namespace %s", file, event.OutcomeNamespace)
		}
	}
}
