package event

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// glance is what can be read of a value that is not a valid event: as far as it is
// JSON, and whatever else is wrong with it.
type glance struct {
	object bool   // the value is one JSON object and nothing else
	given  uint16 // attributes at the top of the object that are texts, and not empty
	other  string // a type there that is not ours
	claim  form   // how a type beside a specversion writes ours, also inside of an envelope
	noted  uint8  // members at the top that tell what the object is
	id     string // of the event: the first that is there
	order  string // likewise
	tokens []string
}

// Members that tell what an object is.
const (
	memberSchema = 1 << iota
	memberPayload
	memberAmount
	memberPayer
)

// isEnvelope reports whether the object is Kafka Connect's.
func (g *glance) isEnvelope() bool {
	return g.noted == memberSchema|memberPayload && g.given&(1<<attrSpecVersion) == 0
}

// isData reports whether the object is an event's data without the event.
func (g *glance) isData() bool {
	return g.noted&memberPayer != 0 && (g.noted&memberAmount != 0 || g.order != "")
}

// otherEvent returns the type of a CloudEvent of another type, or "" if the value is
// not one: CloudEvents require four attributes.
func (g *glance) otherEvent() string {
	for _, n := range requiredAttributes() {
		if g.given&(1<<n) == 0 {
			return ""
		}
	}
	if !g.object {
		return ""
	}
	return g.other
}

// glanceAt reads what it can of a value.
func glanceAt(value []byte) glance {
	const wrappings = 2
	g := glance{}
	g.read(value, wrappings)
	return g
}

// read reads a value, and what it wraps if it is not an object itself.
func (g *glance) read(value []byte, wrappings int) {
	begin := bytes.IndexByte(value, '{')
	if begin >= 0 {
		g.readDocuments(value[begin:])
		g.object = g.object && len(bytes.Trim(value[:begin], " \t\r\n")) == 0
	}
	if g.object || wrappings == 0 {
		return
	}
	if bytes.IndexByte(value, 0) >= 0 { // UTF-16, padding, a schema registry's number
		g.readWrapped(bytes.ReplaceAll(value, []byte{0}, nil), wrappings)
	}
	text := bytes.Trim(value, " \t\r\n\"")
	if unquoted, err := jsontext.AppendUnquote(nil, bytes.TrimSpace(value)); err == nil {
		g.readWrapped(unquoted, wrappings)
	} else if encoded := bytes.TrimRight(text, "="); len(encoded) >= len(TypeReadyToCapture) && allBase64(encoded) {
		encoded = bytes.ReplaceAll(bytes.ReplaceAll(encoded, []byte("-"), []byte("+")), []byte("_"), []byte("/"))
		if decoded, err := base64.RawStdEncoding.AppendDecode(nil, encoded); err == nil {
			g.readWrapped(decoded, wrappings)
		}
	}
}

// readWrapped takes from a wrapped value what was not found outside of it.
func (g *glance) readWrapped(value []byte, wrappings int) {
	object := g.object
	g.read(value, wrappings-1)
	g.object = object // the value itself is none
}

func allBase64(text []byte) bool {
	for _, c := range text {
		if !isBase64(c) {
			return false
		}
	}
	return true
}

// readDocuments reads one JSON object after the other.
func (g *glance) readDocuments(text []byte) {
	d := jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for documents := 1; ; documents++ {
		if g.readObject(d, 0, true) != nil {
			return
		}
		for d.PeekKind() != '{' {
			if err := d.SkipValue(); err != nil {
				g.object = documents == 1 && errors.Is(err, io.EOF)
				return
			}
			documents++
		}
	}
}

// seen is what was read of one object.
type seen struct {
	version bool
	claim   form
}

// readObject reads the members of an object. level counts the objects around it; an
// event is one that may stand for an event itself.
func (g *glance) readObject(d *jsontext.Decoder, level int, isEvent bool) error {
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	var o seen
	for {
		name, err := d.ReadToken()
		if err != nil || name.Kind() == '}' {
			return err
		}
		if err = g.readMember(d, name.String(), level, &o); err != nil {
			return err
		}
		if isEvent && o.version && o.claim != formNone && (level == 0 || g.given&(1<<attrSpecVersion) == 0) {
			g.claim = o.claim
		}
	}
}

func (g *glance) readMember(d *jsontext.Decoder, name string, level int, o *seen) error {
	const deepest = 3 // payload.data.payer
	kind := d.PeekKind()
	if level == 0 {
		g.note(name)
	}
	switch {
	case kind == '{' && level < deepest && (name == "data" || name == "payload" || name == "payer"):
		return g.readObject(d, level+1, level == 0 && name == "payload")
	case kind == '"' || kind == '0':
		return g.readText(d, name, level, o)
	case kind != 'n' && isTypeName(name):
		raw, err := d.ReadValue() // {"string":…} of Avro's JSON, or a list of byte values
		o.add(formOf(raw))
		return err
	}
	o.version = o.version || (kind != 'n' && isVersionName(name))
	return d.SkipValue()
}

func (g *glance) note(name string) {
	switch name {
	case "schema":
		g.noted |= memberSchema
	case "payload":
		g.noted |= memberPayload
	case "amount":
		g.noted |= memberAmount
	case "payer":
		g.noted |= memberPayer
	}
}

// add keeps the first form in which our type was seen.
func (o *seen) add(f form) {
	if o.claim == formNone {
		o.claim = f
	}
}

// readText reads a member that is a string or a number.
func (g *glance) readText(d *jsontext.Decoder, name string, level int, o *seen) error {
	number := attributeNumber(name)
	isType, isVersion := isTypeName(name), isVersionName(name)
	if number >= attrData && !isType && !isVersion && name != "order_id" && name != "token" {
		return d.SkipValue()
	}
	token, err := d.ReadToken()
	if err != nil {
		return err
	}
	text := token.String()
	if level == 0 && number < attrData && token.Kind() == '"' && text != "" {
		g.given |= 1 << number
	}
	o.version = o.version || isVersion
	switch {
	case isType:
		f := formOf([]byte(text))
		o.add(f)
		if f == formNone && level == 0 && name == "type" {
			g.other = text
		}
	case name == "token":
		g.tokens = append(g.tokens, text)
	case name == "order_id" && g.order == "":
		g.order = text
	case name == "id" && g.id == "":
		g.id = text
	}
	return nil
}

// isTypeName and isVersionName report whether a member is an event's type or the
// version of CloudEvents, as this version or an earlier one writes it, or in capitals.
func isTypeName(name string) bool {
	if len(name) < len("type") || len(name) > len("cloudEvents_eventType") {
		return false
	}
	switch lettersOf(name) {
	case "type", "cetype", "eventtype", "cloudeventstype", "cloudeventseventtype":
		return true
	}
	return false
}

func isVersionName(name string) bool {
	if len(name) < len("specversion") || len(name) > len("cloudEvents_specversion") {
		return false
	}
	switch lettersOf(name) {
	case "specversion", "cespecversion", "cloudeventsversion", "cloudeventsspecversion":
		return true
	}
	return false
}
