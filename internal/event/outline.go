package event

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// outline is what can be read of a value that is not a valid event: as far as it is
// JSON, and whatever else is wrong with it.
type outline struct {
	isObject  bool     // the value is one JSON object and nothing else
	present   uint16   // attributes of the object that are strings and not empty, one bit each
	otherType string   // a type of the object that is not ours
	form      typeForm // how a type beside a specversion writes ours, also inside of a wrapping
	inside    string   // the member of the object that holds the event; "" if the object is the event
	id        string   // the first id of the event
	orderID   string   // the first order id
	tokens    []string
	depth     int // envelopes that the value lies in

	// members of the object that show what it is
	hasVersion, hasType, hasSchema, hasPayload, hasAmount, hasPayer bool
}

// isEnvelope reports whether the object is Kafka Connect's.
func (o *outline) isEnvelope() bool {
	return o.hasSchema && o.hasPayload && !o.hasAmount && !o.hasPayer && o.present&(1<<attrSpecVersion) == 0
}

// isData reports whether the object is an event's data without the event.
func (o *outline) isData() bool { return o.hasPayer && (o.hasAmount || o.orderID != "") }

// eventOfOtherType returns the type of a CloudEvent of another type, or "" if the value is
// not one, because an attribute that CloudEvents require is missing.
func (o *outline) eventOfOtherType() string {
	const required = 1<<attrRequired - 1
	if !o.isObject || o.present&required != required {
		return ""
	}
	return o.otherType
}

// outlineOf returns the outline of a value.
func outlineOf(value []byte) outline {
	var o outline
	left := budgetFor(value)
	o.read(value, &left)
	return o
}

// read reads a value, and what is wrapped in it if it is not JSON objects itself.
func (o *outline) read(value []byte, left *budget) {
	value = bytes.Trim(value, " \t\r\n")
	if len(value) == 0 || !left.take(value) {
		return
	}
	switch begin := bytes.IndexByte(value, '{'); {
	case value[0] == '"':
		if unquoted, err := jsontext.AppendUnquote(nil, value); err == nil {
			o.readWrapped(unquoted, left)
			return
		}
	case value[0] == '[':
		if o.readArray(value, left) {
			return
		}
	case begin >= 0:
		complete := o.readDocuments(value[begin:], left)
		o.isObject = o.isObject && begin == 0
		if complete {
			return
		}
	}
	for _, inner := range unwrapped(value) {
		if o.form != formNone {
			return
		}
		o.readWrapped(inner, left)
	}
	if o.form == formNone && containsType(value) && versionName.Match(value) {
		o.form = formWrapped // broken JSON, or another notation
	}
}

// versionName matches the name of the attribute without which nothing is a CloudEvent.
var versionName = regexp.MustCompile(`(?i)spec_?version`)

// readWrapped adds what a wrapped value has and the value outside has not.
func (o *outline) readWrapped(value []byte, left *budget) {
	isObject := o.isObject
	o.read(value, left)
	o.isObject = isObject // because the value outside is not an object
}

// readArray reads the elements of an array, and of the arrays in it, as values, and reports whether the value
// is an array and nothing else.
func (o *outline) readArray(value []byte, left *budget) (complete bool) {
	d := newDecoder(value)
	hasNumbers := false
	for first := true; first || d.StackDepth() > 0; first = false {
		switch kind := d.PeekKind(); kind {
		case '[', ']':
			if _, err := d.ReadToken(); err != nil {
				return false
			}
		default:
			if kind == '0' && !hasNumbers {
				hasNumbers = true
				o.readWrapped(listed(value), left)
			}
			element, err := skipValue(d, value)
			if len(element) >= len(TypeReadyToCapture) {
				o.readWrapped(element, left)
			}
			if err != nil {
				return false
			}
		}
	}
	return len(bytes.Trim(value[d.InputOffset():], " \t\r\n")) == 0
}

// readMembers reads the members that may hold an event. broken states that the object is not complete.
func (o *outline) readMembers(t *object, broken bool, left *budget) {
	const deepest = 8
	if o.depth == deepest {
		return
	}
	for _, m := range t.members {
		inner := outline{depth: o.depth + 1}
		inner.read(m.value, left)
		o.tokens = append(o.tokens, inner.tokens...)
		claims := inner.form != formNone && o.form == formNone && !t.hasVersion
		if claims {
			o.form, o.inside = inner.form, m.name
		}
		if !broken && !inner.isObject && !slices.ContainsFunc(inner.tokens, func(s string) bool { return len(s) >= telling }) {
			continue // because the names in a broken value may be the payer token
		}
		if inner.id != "" && (claims || o.id == "") {
			o.id = inner.id
		}
		if inner.orderID != "" && (claims || o.orderID == "") {
			o.orderID = inner.orderID
		}
	}
}

func newDecoder(text []byte) *jsontext.Decoder {
	return jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// skipValue returns the next value of a text that d reads, or the rest of the text if the value is broken.
func skipValue(d *jsontext.Decoder, text []byte) ([]byte, error) {
	text = text[d.InputOffset():]
	before := d.InputOffset()
	err := d.SkipValue()
	if err == nil {
		text = text[:d.InputOffset()-before]
	}
	return bytes.TrimLeft(text, " \t\r\n:,"), err
}

// readDocuments reads one JSON object after the other, and reports whether the text is whole documents.
func (o *outline) readDocuments(text []byte, left *budget) (complete bool) {
	d := newDecoder(text)
	for documents := 1; ; documents++ {
		t := object{text: text}
		err := o.readObject(d, 0, &t)
		o.readMembers(&t, err != nil, left)
		if err != nil {
			return false
		}
		for d.PeekKind() != '{' {
			if err := d.SkipValue(); err != nil {
				o.isObject = documents == 1 && errors.Is(err, io.EOF)
				return errors.Is(err, io.EOF)
			}
			documents++
		}
	}
}

// object is what the members of one object show of its type.
type object struct {
	text       []byte // that the object is read of
	hasVersion bool   // a specversion, in some spelling
	form       typeForm
	members    []member // before the specversion that may hold an event, if the object is not one itself
	id         string
	isOrder    bool // a member is one of an event's data, so the id may be any
}

type member struct {
	name  string
	value []byte
}

// readObject reads the members of an object that lies in depth others.
func (o *outline) readObject(d *jsontext.Decoder, depth int, t *object) error {
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	defer func() {
		o.hasVersion = o.hasVersion || (depth == 0 && t.hasVersion)
		if depth == 0 && o.id == "" && (t.hasVersion || !t.isOrder) {
			o.id = t.id
		}
	}()
	for {
		name, err := d.ReadToken()
		if err != nil || name.Kind() == '}' {
			return err
		}
		if err = o.readMember(d, name.String(), depth, t); err != nil {
			return err
		}
		if depth == 0 && t.hasVersion && t.form != formNone {
			o.form = t.form
		}
	}
}

func (o *outline) readMember(d *jsontext.Decoder, name string, depth int, t *object) error {
	const deepest = 2 // data.payer
	kind := d.PeekKind()
	t.isOrder = t.isOrder || name == "payer" || name == "amount" || name == "order_id"
	if depth == 0 {
		o.hasType = o.hasType || (name == "type" && kind != 'n')
		o.hasSchema = o.hasSchema || name == "schema"
		o.hasPayload = o.hasPayload || name == "payload"
		o.hasAmount = o.hasAmount || name == "amount"
		o.hasPayer = o.hasPayer || name == "payer"
	}
	envelope := ""
	if depth == 0 && !t.hasVersion {
		envelope = envelopeMember(name)
	}
	switch {
	case envelope != "":
		value, err := skipValue(d, t.text)
		m := member{envelope, value}
		if err != nil {
			m.name = "" // because the rest of the text may be more than this member
		}
		t.members = append(t.members, m)
		return err
	case kind == '{' && depth < deepest && (name == "data" || name == "payer"):
		inner := object{text: t.text}
		return o.readObject(d, depth+1, &inner)
	case kind == '"' || kind == '0':
		return o.readText(d, name, depth, t)
	case kind != 'n' && isTypeName(name):
		raw, err := d.ReadValue() // {"string":…} of Avro's JSON, or a list of byte values
		t.addForm(formOf(raw))
		return err
	}
	t.hasVersion = t.hasVersion || (kind != 'n' && isVersionName(name))
	return d.SkipValue()
}

// envelopeMember returns the name of a member that holds the event in envelopes, or "" if it is none. It does
// not return the name itself, which would move every name to the heap.
func envelopeMember(name string) string {
	for _, n := range [...]string{
		"payload",         // Kafka Connect, an outbox
		"after",           // Debezium
		"data",            // a Node.js buffer, Pub/Sub
		"message", "body", // queues
		"records", "value", // REST proxies
	} {
		if strings.EqualFold(name, n) {
			return n
		}
	}
	return ""
}

// addForm keeps the first form in which our type was seen.
func (t *object) addForm(f typeForm) {
	if t.form == formNone {
		t.form = f
	}
}

// readText reads a member that is a string or a number.
func (o *outline) readText(d *jsontext.Decoder, name string, depth int, t *object) error {
	number := attributeNumber(name)
	isType, isVersion := isTypeName(name), isVersionName(name)
	if number < 0 && !isType && !isVersion && name != "order_id" && name != "token" {
		return d.SkipValue()
	}
	token, err := d.ReadToken()
	if err != nil {
		return err
	}
	text := token.String()
	if depth == 0 && number >= 0 && token.Kind() == '"' && text != "" {
		o.present |= 1 << number
	}
	t.hasVersion = t.hasVersion || isVersion
	switch {
	case isType:
		f := formOf([]byte(text))
		t.addForm(f)
		if f == formNone && depth == 0 && name == "type" {
			o.otherType = text
		}
	case name == "token":
		o.tokens = append(o.tokens, text)
	case name == "order_id" && o.orderID == "":
		o.orderID = text
	case name == "id" && t.id == "":
		t.id = text
	}
	return nil
}

// isTypeName reports whether a member is the type of an event, as this or an earlier version of
// CloudEvents names it, in any spelling.
func isTypeName(name string) bool {
	return hasLetters(name, "type", "cetype", "eventtype", "cloudeventstype", "cloudeventseventtype")
}

// isVersionName reports the same of the version of CloudEvents.
func isVersionName(name string) bool {
	return hasLetters(name, "specversion", "cespecversion", "cloudeventsversion", "cloudeventsspecversion")
}

// hasLetters reports whether the letters of a name, in lower case, are one of the words.
func hasLetters(name string, words ...string) bool {
	const longest = len("cloudEvents_specversion")
	return len(name) <= longest && slices.Contains(words, lettersOf(name))
}
