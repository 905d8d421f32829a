package event_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"payment-capture/internal/event"
	"payment-capture/internal/event/hostile"
)

// agreePlain compares how a record is read in one pass with how the library reads
// it; read says that it is read in one pass at all.
func agreePlain(m event.Message) (read bool, err error) {
	plain, plainErr, ok := event.DecodePlain(m)
	if !ok {
		return false, nil
	}
	want, wantErr := event.DecodeAny(m)
	if diff := cmp.Diff(want, plain, cmp.Comparer(sameSecret), cmp.Comparer(sameAmount)); diff != "" {
		return true, fmt.Errorf("read in one pass it is another event (-want +got):\n%s", diff)
	}
	if fmt.Sprint(plainErr) != fmt.Sprint(wantErr) || reflect.TypeOf(plainErr) != reflect.TypeOf(wantErr) {
		return true, fmt.Errorf("read in one pass the error is %w, want %w", plainErr, wantErr)
	}
	return true, nil
}

// What may come is read alike, whether in one pass or by the library; and what
// producers write is read in one pass.
func TestPlainEventsAreReadAlike(t *testing.T) {
	t.Parallel()
	read := 0
	check := func(name string, m event.Message) {
		ok, err := agreePlain(m)
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, m.Value)
		}
		if ok {
			read++
		}
	}
	for _, r := range hostile.Records(recordTime, planted) {
		check(r.Name, r.Message)
	}
	for _, o := range hostile.Odd(recordTime, planted) {
		check(o.Name, o.Message)
	}
	for name, text := range examples(t, "invalid") {
		check(name, structuredMessage(text))
	}
	for _, r := range beyondTheSchema() {
		check(r.name, r.example.message)
	}
	if read < 50 {
		t.Errorf("only %d of what is hostile is read in one pass", read)
	}
	var others []string
	for name, text := range examples(t, "valid") {
		ok, err := agreePlain(structuredMessage(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !ok {
			others = append(others, name)
		}
	}
	slices.Sort(others)
	if diff := cmp.Diff([]string{"all-members", "amount-has-an-exponent", "null-counts-as-absent", "unknown-members"}, others); diff != "" {
		t.Errorf("of the valid examples these are not read in one pass (-want +got):\n%s", diff)
	}
}

// TestWhatIsNotPlain names what only the library may judge, and what lies close to it.
func TestWhatIsNotPlain(t *testing.T) {
	t.Parallel()
	const whole = `{"specversion":"1.0","id":"e1","source":"/s","type":"order.ready_to_capture","data":{"order_id":"o1","amount":"1.50","currency":"MXN","description":"d","payer":{"token":"t"}}}`
	for name, c := range map[string]struct {
		old, changed string
		plain        bool
	}{
		"as it is":                    {``, ``, true},
		"spaces everywhere":           {`:{"order_id"`, " : \t{\r\n \"order_id\" ", true},
		"space at the end":            {`"t"}}}`, "\"t\"}}} \n", true},
		"a second value":              {`"t"}}}`, `"t"}}}{}`, false},
		"cut":                         {`"t"}}}`, `"t"}}`, false},
		"a comma at the end":          {`"t"}}}`, `"t"},}}`, false},
		"a comma at the start":        {`{"order_id"`, `{,"order_id"`, false},
		"no comma":                    {`"o1",`, `"o1"`, false},
		"no colon":                    {`"order_id":`, `"order_id"`, false},
		"an accent":                   {`"d"`, `"café"`, true},
		"an escape":                   {`"d"`, `"caf\u00e9"`, false},
		"an escape in a name":         {`"order_id"`, `"order\u005fid"`, false},
		"no UTF-8":                    {`"d"`, "\"\xff\"", false},
		"a control character":         {`"d"`, "\"\x01\"", false},
		"an id twice":                 {`"id":"e1",`, `"id":"e1","id":"e1",`, false},
		"data twice":                  {`"data":`, `"data":null,"data":`, false},
		"a token twice":               {`"token":"t"`, `"token":"t","token":"t"`, false},
		"an unknown member":           {`"id"`, `"x":"y","id"`, true},
		"of any simple kind":          {`"id"`, `"x":-0.5,"y":true,"z":false,"n":null,"id"`, true},
		"twice":                       {`"id"`, `"x":"y","x":"y","id"`, false},
		"an unknown object":           {`"id"`, `"x":{},"id"`, false},
		"an unknown array":            {`"id"`, `"x":[],"id"`, false},
		"many unknown":                {`"id"`, `"x1":1,"x2":1,"x3":1,"x4":1,"x5":1,"x6":1,"x7":1,"id"`, false},
		"a known name in capitals":    {`"id"`, `"ID":"y","id"`, true},
		"data_base64":                 {`"id"`, `"data_base64":null,"id"`, false},
		"an exponent":                 {`"1.50"`, `1e2`, false},
		"a leading zero":              {`"1.50"`, `01`, false},
		"no digit before the point":   {`"1.50"`, `.5`, false},
		"no digit after the point":    {`"1.50"`, `1.`, false},
		"a number":                    {`"1.50"`, `1.50`, true},
		"a negative number":           {`"1.50"`, `-1`, true},
		"a minus":                     {`"1.50"`, `-`, false},
		"a plus":                      {`"1.50"`, `+1`, false},
		"an amount of null":           {`"1.50"`, `null`, true},
		"a word that is cut":          {`"1.50"`, `nul`, false},
		"a word that goes on":         {`"1.50"`, `nulls`, false},
		"a payer of null":             {`{"token":"t"}`, `null`, false},
		"no token":                    {`"token":"t"`, ``, false},
		"a token of null":             {`"token":"t"`, `"token":null`, false},
		"more in the payer":           {`"token":"t"`, `"token":"t","x":1`, false},
		"a subject of null":           {`"id"`, `"subject":null,"id"`, true},
		"a subject that is no string": {`"id"`, `"subject":1,"id"`, false},
		"no sub-merchant":             {`"payer"`, `"sub_merchant":null,"payer"`, true},
		"a sub-merchant":              {`"payer"`, `"sub_merchant":{},"payer"`, false},
		"no data":                     {`"data"`, `"datum"`, false},
		"another type":                {`order.ready_to_capture`, `order.cancelled`, true},
		"another type, nothing in it": {`order.ready_to_capture","data":{"order_id":"o1"`, `order.cancelled","data":{"x":"o1"`, true},
	} {
		if !strings.Contains(whole, c.old) {
			t.Fatalf("%s: %s is not in the event", name, c.old)
		}
		m := structuredMessage([]byte(strings.Replace(whole, c.old, c.changed, 1)))
		read, err := agreePlain(m)
		if read != c.plain || err != nil {
			t.Errorf("%s: read in one pass: %v, want %v; %v", name, read, c.plain, err)
		}
	}
}
