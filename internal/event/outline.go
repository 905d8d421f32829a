package event

import (
	"bytes"
	"errors"
	"io"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// outline is what can be read of a value that is not a valid event: as far as it is
// JSON, and whatever else is wrong with it.
type outline struct {
	isObject  bool     // the value is one JSON object and nothing else
	present   uint16   // attributes of the object that are strings and not empty, one bit each
	otherType string   // a type of the object that is not ours
	form      typeForm // how a type beside a specversion writes ours, also inside of an envelope
	id        string   // the first id of the event
	orderID   string   // the first order id
	tokens    []string

	hasSchema, hasPayload, hasAmount, hasPayer bool // members of the object that show what it is
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
	const wrappings = 2
	var o outline
	o.read(value, wrappings)
	return o
}

// read reads a value, and the value inside it if it is not an object itself.
func (o *outline) read(value []byte, wrappings int) {
	if begin := bytes.IndexByte(value, '{'); begin >= 0 {
		o.readDocuments(value[begin:])
		o.isObject = o.isObject && len(bytes.Trim(value[:begin], " \t\r\n")) == 0
	}
	if o.isObject || wrappings == 0 {
		return
	}
	if bytes.IndexByte(value, 0) >= 0 { // UTF-16, padding, the id of a schema registry
		o.readWrapped(bytes.ReplaceAll(value, []byte{0}, nil), wrappings)
	}
	if unquoted, err := jsontext.AppendUnquote(nil, bytes.TrimSpace(value)); err == nil {
		o.readWrapped(unquoted, wrappings)
		return
	}
	encoded := bytes.TrimRight(bytes.Trim(value, " \t\r\n\""), "=")
	if len(encoded) >= len(TypeReadyToCapture) && !bytes.ContainsFunc(encoded, notBase64) {
		if decoded, err := decodeBase64(encoded); err == nil {
			o.readWrapped(decoded, wrappings)
		}
	}
}

// readWrapped adds what a wrapped value has and the value outside has not.
func (o *outline) readWrapped(value []byte, wrappings int) {
	isObject := o.isObject
	o.read(value, wrappings-1)
	o.isObject = isObject // because the value outside is not an object
}

// readDocuments reads one JSON object after the other.
func (o *outline) readDocuments(text []byte) {
	d := jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for documents := 1; ; documents++ {
		if o.readObject(d, 0, true) != nil {
			return
		}
		for d.PeekKind() != '{' {
			if err := d.SkipValue(); err != nil {
				o.isObject = documents == 1 && errors.Is(err, io.EOF)
				return
			}
			documents++
		}
	}
}

// eventType is what the members of one object show of its type.
type eventType struct {
	hasVersion bool // a specversion, in some spelling
	form       typeForm
}

// readObject reads the members of an object that lies in depth others. mayBeEvent
// states that the object may be an event itself.
func (o *outline) readObject(d *jsontext.Decoder, depth int, mayBeEvent bool) error {
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	var t eventType
	for {
		name, err := d.ReadToken()
		if err != nil || name.Kind() == '}' {
			return err
		}
		if err = o.readMember(d, name.String(), depth, &t); err != nil {
			return err
		}
		if mayBeEvent && t.hasVersion && t.form != formNone && (depth == 0 || o.present&(1<<attrSpecVersion) == 0) {
			o.form = t.form
		}
	}
}

func (o *outline) readMember(d *jsontext.Decoder, name string, depth int, t *eventType) error {
	const deepest = 3 // payload.data.payer
	kind := d.PeekKind()
	if depth == 0 {
		o.hasSchema = o.hasSchema || name == "schema"
		o.hasPayload = o.hasPayload || name == "payload"
		o.hasAmount = o.hasAmount || name == "amount"
		o.hasPayer = o.hasPayer || name == "payer"
	}
	switch {
	case kind == '{' && depth < deepest && (name == "data" || name == "payload" || name == "payer"):
		return o.readObject(d, depth+1, depth == 0 && name == "payload")
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

// addForm keeps the first form in which our type was seen.
func (t *eventType) addForm(f typeForm) {
	if t.form == formNone {
		t.form = f
	}
}

// readText reads a member that is a string or a number.
func (o *outline) readText(d *jsontext.Decoder, name string, depth int, t *eventType) error {
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
	case name == "id" && o.id == "":
		o.id = text
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
