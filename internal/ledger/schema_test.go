package ledger

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"payment-capture/internal/event"
	"payment-capture/schemas"
)

func schemaOf(t *testing.T, file string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	files, err := fs.Glob(schemas.FS, "*.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(readSchema(t, name)))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource(schemas.BaseURI+name, document); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := c.Compile(schemas.BaseURI + file)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func readSchema(t *testing.T, file string) []byte {
	t.Helper()
	content, err := schemas.FS.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// asJSON returns a value of CBOR as the schemas see it.
func asJSON(v any) any {
	switch v := v.(type) {
	case map[any]any:
		object := make(map[string]any, len(v))
		for key, value := range v {
			object[fmt.Sprint(key)] = asJSON(value)
		}
		return object
	case []any:
		list := make([]any, len(v))
		for i, value := range v {
			list[i] = asJSON(value)
		}
		return list
	case []byte:
		return hex.EncodeToString(v)
	case uint64:
		return json.Number(strconv.FormatUint(v, 10))
	case int64:
		return json.Number(strconv.FormatInt(v, 10))
	}
	return v
}

func validateValue(t *testing.T, file string, value []byte) {
	t.Helper()
	var v any
	if err := cbor.Unmarshal(value, &v); err != nil {
		t.Fatal(err)
	}
	if err := schemaOf(t, file).Validate(asJSON(v)); err != nil {
		t.Errorf("%v: %v", asJSON(v), err)
	}
}

func TestEntriesAreThoseOfTheSchemas(t *testing.T) {
	t.Parallel()
	decisions := decisionsForTest(t)
	decisions["parked before any call"] = &event.Decision{
		Result: event.Result{ParkInfo: &event.ParkInfo{Reason: event.ParkTooOld}}, At: aTime(1),
		Attempt: event.Attempt{Event: event.FingerprintOf(nil)},
	}
	for name, d := range decisions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			value, err := EncodeDecision(d)
			if err != nil {
				t.Fatal(err)
			}
			validateValue(t, schemas.LedgerDecision, value)
		})
	}
	for _, a := range []event.Attempt{attemptForTest(), {First: aTime(0), Encoding: -1}} {
		value := EncodeAttempt(a)
		validateValue(t, schemas.LedgerAttempt, value)
	}
}

// A key that is written and not described, or the reverse, would go unseen:
// the schemas are open.
func TestTheSchemasDescribeEveryKey(t *testing.T) {
	t.Parallel()
	type described struct {
		Properties map[string]any        `json:"properties"`
		Defs       map[string]*described `json:"$defs"`
	}
	read := func(file string) *described {
		d := &described{}
		if err := json.Unmarshal(readSchema(t, file), d); err != nil {
			t.Fatal(err)
		}
		return d
	}
	decision := read(schemas.LedgerDecision)
	for _, of := range []struct {
		wire   any
		schema *described
	}{
		{wireAttempt{}, read(schemas.LedgerAttempt)},
		{wireDecision{}, decision},
		{wireOutcome{}, decision.Defs["outcome"]},
		{wireParking{}, decision.Defs["parking"]},
	} {
		var keys []string
		for field := range reflect.TypeOf(of.wire).Fields() {
			key, _, _ := strings.Cut(field.Tag.Get("cbor"), ",")
			keys = append(keys, key)
		}
		slices.Sort(keys)
		if got := slices.Sorted(maps.Keys(of.schema.Properties)); !slices.Equal(got, keys) {
			t.Errorf("%T has the keys %v, its schema %v", of.wire, keys, got)
		}
	}
}

// fromJSON makes the CBOR of which an example is the JSON. Texts are byte
// strings in an attempt, under the keys of the fingerprints.
func fromJSON(t *testing.T, v any, inAttempt bool) any {
	t.Helper()
	switch v := v.(type) {
	case map[string]any:
		object := make(map[any]any, len(v))
		for name, value := range v {
			key, err := strconv.Atoi(name)
			if err != nil {
				t.Fatal(err)
			}
			text, isText := value.(string)
			_, isMap := value.(map[string]any)
			switch {
			case isText && inAttempt && (key == 2 || key == 3):
				object[key], err = hex.DecodeString(text)
			default:
				object[key] = fromJSON(t, value, isMap && key == 2)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		return object
	case []any:
		list := make([]any, len(v))
		for i, value := range v {
			list[i] = fromJSON(t, value, false)
		}
		return list
	case float64:
		if v == float64(int64(v)) {
			return int64(v)
		}
	}
	return v
}

func TestExamplesOfEntries(t *testing.T) {
	t.Parallel()
	read := func(kind string, value []byte) error {
		if kind == "ledger.attempt" {
			_, err := DecodeAttempt(value)
			return err
		}
		_, err := DecodeDecision("e1", value)
		return err
	}
	files, err := fs.Glob(schemas.FS, "examples/ledger.*/*/*.json")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, file := range files {
		var document any
		if err := json.Unmarshal(readSchema(t, file), &document); err != nil {
			t.Fatal(err)
		}
		kind := path.Base(path.Dir(path.Dir(file)))
		value, err := cbor.Marshal(fromJSON(t, document, kind == "ledger.attempt"))
		if err != nil {
			t.Fatal(err)
		}
		err = read(kind, value)
		valid := path.Base(path.Dir(file)) == "valid"
		// A reason of a newer version is no fault of the layout.
		if path.Base(file) == "parking-reason-unknown.json" {
			valid = true
		}
		if (err == nil) != valid || (err != nil && !errors.Is(err, ErrUnreadable)) {
			t.Errorf("%s: %v", file, err)
		}
	}
}
