package event_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"payment-capture/internal/event"
)

// node is a JSON value whose members keep their order and may repeat: an
// object if members is not nil, else the text of any other value.
type node struct {
	members []member
	text    string
}

type member struct {
	name  string
	value *node
}

func parseNode(tb testing.TB, text []byte) *node {
	tb.Helper()
	d := jsontext.NewDecoder(bytes.NewReader(text))
	var read func() *node
	read = func() *node {
		if d.PeekKind() != '{' {
			value, err := d.ReadValue()
			if err != nil {
				tb.Fatal(err)
			}
			return &node{text: string(value)}
		}
		object := &node{members: []member{}}
		for {
			token, err := d.ReadToken()
			if err != nil {
				tb.Fatal(err)
			}
			switch byte(token.Kind()) {
			case '{':
			case '}':
				return object
			default:
				object.members = append(object.members, member{token.String(), read()})
			}
		}
	}
	return read()
}

func (n *node) write(b *strings.Builder) {
	if n.members == nil {
		b.WriteString(n.text)
		return
	}
	b.WriteByte('{')
	for i, m := range n.members {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(quoted(m.name) + ":")
		m.value.write(b)
	}
	b.WriteByte('}')
}

func (n *node) String() string {
	var b strings.Builder
	n.write(&b)
	return b.String()
}

func (n *node) clone() *node {
	c := &node{text: n.text}
	if n.members != nil {
		c.members = make([]member, len(n.members))
		for i, m := range n.members {
			c.members[i] = member{m.name, m.value.clone()}
		}
	}
	return c
}

// get returns the first member of the name, or nil.
func (n *node) get(name string) *node {
	for _, m := range n.members {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// objects returns the object itself and those in it.
func (n *node) objects() []*node {
	if n.members == nil {
		return nil
	}
	all := []*node{n}
	for _, m := range n.members {
		all = append(all, m.value.objects()...)
	}
	return all
}

func quoted(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// inBinary returns an event in binary mode. An attribute that is not a string
// becomes its JSON text, and null is left out.
func inBinary(tb testing.TB, n *node) event.Message {
	tb.Helper()
	m := event.Message{Timestamp: recordTime}
	for _, member := range n.members {
		text := member.value.String()
		var plain string
		if json.Unmarshal([]byte(text), &plain) != nil {
			plain = text
		}
		switch {
		case member.name == "data":
			m.Value = []byte(text)
		case text == "null":
		case member.name == "datacontenttype":
			m.Headers = append(m.Headers, event.Header{Key: "content-type", Value: []byte(plain)})
		default:
			m.Headers = append(m.Headers, event.Header{Key: "ce_" + member.name, Value: []byte(plain)})
		}
	}
	return m
}

// oddValues returns values for every member.
func oddValues() []string {
	values := []string{
		`null`, `true`, `false`, `[]`, `{}`, `[null]`, `{"token":"x"}`, `0`, `-0`, `1`, `-1`, `100`, `1.0`, `1e2`, `0.1`, `1e-400`, `1e400`,
		`1e99999`, `1e-99999`, `2147483647`, `2147483648`, `9007199254740993`, `999999999999.99`, `1000000000000`, `"\ud800"`, `"\ud83d\ude00"`,
		`"\u0000"`, `"\u2028"`, `"null"`, `"NaN"`, `"a\r\nX-Header: 1"`, "\"\xff\"", "\"\xc3\xa9\"", `"\u007f"`, `"\u0085"`, `"\u00a0"`,
		`" "`, `""`,
	}
	for _, unit := range []string{"a", "é", "-", "1"} {
		for _, n := range []int{1, 12, 13, 32, 33, 64, 65, 256, 257, 512, 513, 1024, 1025} {
			values = append(values, quoted(strings.Repeat(unit, n)))
		}
	}
	return values
}

// nearValues returns values by member: valid ones, and ones that are slightly wrong.
func nearValues() map[string][]string {
	near := map[string][]string{
		"specversion": {`"1.0"`, `"1"`, `"1.0.0"`, `1.0`},
		"id":          {`"x"`, `"a~!"`, `"a b"`, `"a\n"`, `"\u007f"`, `"é"`},
		"type":        {`"order.ready_to_capture"`, `"Order.Ready_To_Capture"`, `"order.ready_to_capture "`, `"payment.captured"`},
		"time": {
			`"2026-11-23T10:00:00Z"`, `"2026-11-23t10:00:00z"`, `"2026-11-23T10:00:00z"`, `"2026-11-23 10:00:00Z"`, `"2026-11-23T10:00:00"`,
			`"2026-11-23T1:00:00Z"`, `"2026-11-23T10:00:00,5Z"`, `"2026-11-23T10:00:00.5Z"`, `"2026-11-23T10:00:00.Z"`,
			`"2026-11-23T10:00:00.123456789012345678901Z"`, `"2026-11-23T23:59:60Z"`, `"2016-12-31T23:59:60Z"`, `"2026-11-23T24:00:00Z"`,
			`"2026-02-29T10:00:00Z"`, `"2028-02-29T10:00:00Z"`, `"2026-13-01T10:00:00Z"`, `"2026-00-10T10:00:00Z"`, `"2026-11-31T10:00:00Z"`,
			`"2026-11-23T10:00:00+23:59"`, `"2026-11-23T10:00:00+24:00"`, `"2026-11-23T10:00:00-00:00"`, `"2026-11-23T10:00:00-03:60"`,
			`"2026-11-23T10:00:00+0300"`, `"2026-11-23T10:00:00+03"`, `"1970-01-01T00:00:00Z"`, `"1970-01-01T00:00:00+00:01"`,
			`"1969-12-31T23:59:59Z"`, `"1969-12-31T23:59:59-01:00"`, `"9999-12-31T23:59:59Z"`, `"9999-12-31T23:59:59-23:00"`,
			`"0000-01-01T00:00:00Z"`,
			`"10000-01-01T00:00:00Z"`, `"+2026-11-23T10:00:00Z"`, `"2026-11-23"`, `"2026-11-23T10:00Z"`, `"２026-11-23T10:00:00Z"`, `""`,
			`1795428000`,
			`"2026-11-23T10:00:00Z\n"`, `"2026-11-23T+1:00:00Z"`, `"2026-11-23T10:00:00+-1:00"`, `"2026-11-23T10:60:00Z"`,
		},
		"datacontenttype": {
			`"application/json"`, `"APPLICATION/JSON"`, `" application/json "`, "\"\\tapplication/json\\t;\"", `"application/json;charset=utf-8"`,
			`"application/vnd.x+json"`, `"application/+json"`, `"application/json+json"`, `"application/xjson"`, `"text/json"`, `"text/x+json"`,
			`"applİcation/json"`, `"application/jſon"`, `"application/a b+json"`, `"application/é+json"`, `"application/jsonx"`, `";"`,
			`"application/json,"`, `"application/"`, `"\u00a0application/json"`, `"application/json\n"`, `"application/a;b+json"`,
		},
		"subject": {`""`, `"order-1"`, `"a\tb"`},
		"traceparent": {
			`"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"`,
			`"00-00000000000000000000000000000000-00f067aa0ba902b7-01"`, `"x"`, `""`,
		},
		"amount": {
			`700.50`, `700.5`, `700`, `7.005e2`, `70050E-2`, `7.005e+2`, `7005e-1`, `700.500`, `700.505`, `0.01`, `0.001`, `0`, `0.00`, `0e5`, `-1`,
			`-0.0`, `1e11`, `1e12`, `999999999999.99`, `999999999999.999`, `1e-999`, `1e-1000`, `1e1000`, `1e0002`, `1e002`,
			`0.10000000000000000000000000000000`,
			`1.000000000000000000000000000000`, `1.0000000000000000000000000000000`, `"700.50"`, `"700.5"`, `"700"`, `"700."`, `".5"`, `"0.5"`,
			`"00.5"`,
			`"0700"`, `"0"`, `"0.00"`, `"0.01"`, `"0.001"`, `"-1"`, `"+1"`, `"1e2"`, `"1,5"`, `"1 000"`, `" 1"`, `"1 "`, `"1\n"`, `"٣"`,
			`"0x10"`, `"NaN"`, `"Inf"`,
			`"999999999999.99"`, `"1000000000000"`, `"1000000000000.00"`, `"1.000000000000000000000000000000"`,
			`"1.0000000000000000000000000000000"`,
			`"1.0000000000000000000000000000001"`, `"\u0037"`, `""`, `null`, `true`, `{"value":1}`, `[1]`,
		},
		"currency":           {`"MXN"`, `"CLP"`, `"COP"`, `"BRL"`, `"ARS"`, `"PEN"`, `"UYU"`, `"USD"`, `"mxn"`, `"MXN "`, `" MXN"`, `"484"`},
		"external_reference": {`"order-1001"`, `"A_b-9"`, `"a/b"`, `"a.b"`, `"é"`, `"a\n"`, `""`, `null`},
		"order_id":           {`"order-1001"`, `"Order 1001"`, `"a/b"`, `"☂"`, `"😀"`},
		"account":            {`"main"`, `"a b"`, `""`, `null`},
		"device_session_id":  {`"armor.1"`, `"a\r\nb"`, `null`},
		"token": {
			quoted(planted), quoted(planted + "\n"), quoted(planted + " x"), `12`, `null`,
			quoted(strings.Repeat(planted, 30)),
		},
		"address_door_number": {
			`0`, `1`, `100`, `1.0`, `1e2`, `10e-1`, `-0`, `-1`, `2147483647`, `2147483648`, `0.5`, `"1"`, `null`, `2147483647.0`, `1e400`,
		},
	}
	for name, value := range map[string]string{"payer": `{"token":` + quoted(planted) + `}`, "data_base64": `"e30="`} {
		near[name] = []string{value, `{}`, `null`, `[]`, quoted("x")}
	}
	return near
}

// mutator changes documents at random.
type mutator struct {
	*rand.Rand
	odd  []string
	near map[string][]string
}

func newMutator(seed uint64) *mutator {
	return &mutator{rand.New(rand.NewPCG(seed, 2026)), oddValues(), nearValues()}
}

func pick[T any](m *mutator, from []T) T { return from[m.IntN(len(from))] }

// change changes one thing in the document.
func (m *mutator) change(root *node) {
	objects := root.objects()
	if len(objects) == 0 {
		return
	}
	object := pick(m, objects)
	if len(object.members) == 0 {
		object.members = append(object.members, member{"extra", &node{text: pick(m, m.odd)}})
		return
	}
	i := m.IntN(len(object.members))
	chosen := &object.members[i]
	switch m.IntN(12) {
	case 0:
		object.members = slices.Delete(object.members, i, i+1)
	case 1:
		chosen.value = &node{text: "null"}
	case 2, 3:
		chosen.value = &node{text: pick(m, m.odd)}
	case 4:
		chosen.name = pick(m, []string{strings.ToUpper(chosen.name), strings.Replace(chosen.name, "a", "A", 1), chosen.name + "_", ""})
	case 5:
		object.members = append(object.members, member{chosen.name, chosen.value.clone()})
	case 6:
		object.members = append(object.members, member{"extra", &node{text: pick(m, m.odd)}})
	default:
		// A member with near values, absent or not.
		name := pick(m, slices.Sorted(maps.Keys(m.near)))
		value := &node{text: pick(m, m.near[name])}
		for _, o := range objects {
			if at := slices.IndexFunc(o.members, func(m member) bool { return m.name == name }); at >= 0 {
				o.members[at].value = value
				return
			}
		}
		if data := root.get("data"); data != nil && data.members != nil && slices.Contains(dataMembers, name) {
			root = data
		}
		root.members = append(root.members, member{name, value})
	}
}

var dataMembers = []string{"amount", "currency", "external_reference", "order_id", "account", "device_session_id", "payer"}

// damage changes bytes.
func (m *mutator) damage(text []byte) []byte {
	text = slices.Clone(text)
	for range 1 + m.IntN(3) {
		if len(text) == 0 {
			break
		}
		at := m.IntN(len(text))
		switch m.IntN(5) {
		case 0:
			text[at] = byte(m.IntN(256))
		case 1:
			text = slices.Delete(text, at, min(len(text), at+1+m.IntN(12)))
		case 2:
			text = slices.Insert(text, at, pick(m, []byte("{}[],:\"\\ \x00\xff1e-")))
		case 3:
			text = text[:at]
		default:
			end := min(len(text), at+m.IntN(40))
			text = slices.Insert(text, at, text[at:end]...)
		}
	}
	return text
}

// bases returns the valid examples with the planted token in them.
func bases(tb testing.TB) []*node {
	tb.Helper()
	valid := examples(tb, "valid")
	var all []*node
	for _, name := range slices.Sorted(maps.Keys(valid)) {
		n := parseNode(tb, valid[name])
		*n.get("data").get("payer").get("token") = node{text: quoted(planted)}
		all = append(all, n)
	}
	return all
}

func TestDecoderAndSchemaAgree(t *testing.T) {
	t.Parallel()
	documents := 10_000
	if testing.Short() {
		documents = 3_000
	}
	m := newMutator(1)
	starts := bases(t)
	counts := map[result]int{}
	for range documents {
		n := pick(m, starts).clone()
		for range 1 + m.IntN(3) {
			m.change(n)
		}
		text := []byte(n.String())
		var c candidate
		switch m.IntN(8) {
		case 0, 1, 2:
			c = binaryCandidate(inBinary(t, n))
			if len(c.message.Headers) == 0 {
				continue
			}
		case 3:
			c = structuredCandidate(m.damage(text))
		default:
			c = structuredCandidate(text)
		}
		got, err := compare(t, c)
		if err != nil {
			t.Errorf("%v\n%q\n%q", err, c.message.Value, c.message.Headers)
		}
		counts[got]++
		if t.Failed() && counts[""] > 5 {
			t.FailNow()
		}
	}
	t.Log(counts)
	// The comparison is meaningful only if all results occur.
	if counts["accepted"] < documents/10 || counts["refused"] < documents/10 {
		t.Errorf("lopsided: %v", counts)
	}
	for _, r := range beyondTheSchema() {
		if counts[result(r.name)] == 0 && !strings.Contains(r.name, "timestamp") {
			t.Errorf("no document breaks the rule: %s", r.name)
		}
	}
}
