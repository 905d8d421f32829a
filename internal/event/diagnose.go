package event

import (
	"bytes"
	"errors"
	"slices"
	"strings"
)

// diagnosis collects what a record that is not a valid event of ours shows.
type diagnosis struct {
	message    Message
	headers    headerAttributes // a copy, because a pointer would move the headers of valid events to the heap, too
	value      outline
	headerForm typeForm // how ce_type writes our type
	misnamed   [attrCount]misnamed
	claim      keyFault // of the headers under other keys that claim our type
}

// diagnose returns why a record is not a valid event of ours: a [*SkipError] if it is
// certainly not meant for us, else an [*InvalidError]. What may be an order is never
// skipped. A record is skipped only if it is a CloudEvent of another type, complete,
// or a tombstone, and nothing in it claims our type.
func diagnose(m Message, h *headerAttributes, err error) error {
	d := diagnosis{message: m, headers: *h, value: outlineOf(m.Value)}
	d.readHeaders()
	if d.headerForm == formNone && d.claim == keyRight && d.value.form == formNone {
		other := h.otherType()
		if h.inValue() {
			other = d.value.eventOfOtherType()
		}
		switch {
		case m.Value == nil:
			return &SkipError{Reason: SkipTombstone}
		case other != "":
			return &SkipError{Reason: SkipOtherType, Type: other}
		}
	}
	wrong, ok := errors.AsType[*InvalidError](err)
	if !ok {
		return err
	}
	wrong = d.explain(wrong)
	orderID, eventID := d.names()
	return &InvalidError{Field: wrong.Field, Problem: wrong.Problem, OrderID: orderID, ClaimedEventID: eventID}
}

// readHeaders looks for our type in the headers.
func (d *diagnosis) readHeaders() {
	for _, h := range d.message.Headers {
		if h.Key == "ce_type" {
			// Of several, the one that is nearest to ours counts.
			if f := formOf(h.Value); f != formNone && (d.headerForm == formNone || f < d.headerForm) {
				d.headerForm = f
			}
			continue
		}
		n, fault := faultOfKey(h.Key)
		if fault == keyRight || len(h.Value) == 0 {
			continue
		}
		if n == attrType {
			switch claims := formOf(h.Value) != formNone; {
			case claims:
				d.claim = d.claim.lesser(fault)
			case fault == keyBare: // a type of something else
				continue
			}
		}
		m := &d.misnamed[n]
		m.fault = m.fault.lesser(fault)
		m.conflict = storeHeader(&m.value, h.Value) || m.conflict
	}
}

// explain returns the error with its cause, as far as the record shows it.
func (d *diagnosis) explain(err *InvalidError) *InvalidError {
	ofHeader := strings.HasPrefix(err.Field, "ce_") || err.Field == "content-type"
	switch {
	case (err == errOtherType || err.Field == "ce_type") && d.headerForm > formDamaged && d.headers.conflicts&(1<<attrType) == 0:
		return invalid("ce_type", "%s", d.headerForm.problem("send it as plain bytes (JSON header converter?)"))
	case ofHeader:
		return err
	case d.value.isEnvelope():
		return invalid("schema", "is beside payload: the value is in Kafka Connect's {schema,payload} envelope; "+
			"set schemas.enable=false in its converter")
	case d.value.inside != "" && (err == errOtherType || err == errNoType || err.Field == "data.order_id"):
		return invalid(d.value.inside, "has a whole event of type %s in it: send the event alone", TypeReadyToCapture)
	case d.isBareData():
		if d.value.hasType {
			return invalid("specversion", "is missing: %s", d.whyNoType(attrSpecVersion))
		}
		return invalid("type", "is missing: %s", d.whyNoType(attrType))
	case err == errOtherType && d.headers.inValue():
		return d.otherTypeInValue()
	case err == errOtherType:
		return d.otherTypeInHeaders()
	case err == errNoType:
		return invalid("type", "is missing: %s", d.whyNoType(attrType))
	case err.Field == "data.order_id" && !d.headers.inValue() && d.value.form != formNone:
		return invalid(err.Field, "%s: the value is a whole event, but has ce_* headers beside it, which are for data alone", err.Problem)
	}
	return d.missingHeader(err)
}

// isBareData reports whether the value is an event's data where the event should be.
func (d *diagnosis) isBareData() bool {
	switch {
	case !d.headers.inValue() || !d.value.isObject || d.value.hasVersion:
		return false
	case d.headers.values[attrType] != nil:
		return !d.value.hasType || d.value.isData()
	}
	isOurs := d.value.present&(1<<attrType) != 0 && d.value.otherType == ""
	return d.value.isData() && !isOurs
}

// missingHeader returns the error for an attribute that is missing in the headers with its cause, if the
// attribute is there under another key.
func (d *diagnosis) missingHeader(err *InvalidError) *InvalidError {
	n := attributeNumber(err.Field)
	if n < 0 || d.headers.inValue() || d.headers.values[n] != nil || d.misnamed[n].fault == keyRight ||
		!strings.HasPrefix(err.Problem, "is missing") {
		return err
	}
	return invalid(err.Field, "is missing: %s", d.misnamed[n].fault.problem(n))
}

const wholeEvent = "leave the ce_* headers out, or set content-type to application/cloudevents+json"

func (d *diagnosis) otherTypeInHeaders() *InvalidError {
	switch {
	case d.headerForm == formDamaged:
		return invalid("type", "%s%s", d.headerForm.problem(""), because(string(d.headers.values[attrType])))
	case d.value.form != formNone:
		return invalid("ce_type", "is another type, but the value is a whole event of type %s: %s", TypeReadyToCapture, wholeEvent)
	case d.claim != keyRight:
		return invalid("ce_type", "is not the type in another header: %s", d.claim.problem(attrType))
	}
	for n := range attrRequired {
		if d.headers.values[n] == nil {
			return d.missingHeader(invalid(attributeNames()[n], "is missing: without it the record is not a CloudEvent, whatever its type"))
		}
	}
	return invalid("type", "is not %s", TypeReadyToCapture)
}

func (d *diagnosis) otherTypeInValue() *InvalidError {
	switch {
	case d.headerForm != formNone:
		return invalid("ce_type", "is not the type in the value, which is read because of the content-type")
	case d.value.form != formNone:
		return invalid("type", "%s", d.value.form.problem("write that alone"))
	}
	for n := range attrRequired {
		if d.value.present&(1<<n) == 0 {
			return invalid(attributeNames()[n], "is missing: %s", d.whyMissing(n, "without it the value is not a CloudEvent, whatever its type"))
		}
	}
	if d.claim != keyRight {
		return invalid("type", "is not the type in a header: %s", d.claim.problem(attrType))
	}
	return invalid("type", "is not %s", TypeReadyToCapture)
}

// whyNoType returns why the type, or another attribute of data that have a type of their own, is missing.
func (d *diagnosis) whyNoType(attribute int) string {
	switch {
	case !d.headers.inValue() && d.value.form != formNone:
		return "the value is a whole event; " + wholeEvent
	case d.headers.inValue() && d.headers.values[attrType] != nil:
		return "content-type says structured mode (application/cloudevents+json), but the attributes are in ce_* headers: " +
			"set it to application/json"
	}
	return d.whyMissing(attribute, "CloudEvents require it")
}

// whyMissing returns why an attribute is missing, as far as the record shows it.
func (d *diagnosis) whyMissing(attribute int, otherwise string) string {
	if d.headers.inValue() && d.value.hasVersion {
		return otherwise // because the event is the value
	}
	if fault := d.misnamed[attribute].fault; fault != keyRight {
		return fault.problem(attribute)
	}
	if !d.headers.any {
		all := keyRight
		for _, m := range d.misnamed {
			if m.fault.ofAll() {
				all = all.lesser(m.fault)
			}
		}
		if all != keyRight {
			return all.problem(attribute)
		}
	}
	if d.headers.inValue() && d.value.isData() {
		return "the value looks like an event's data alone; were its headers lost?"
	}
	return otherwise
}

// names returns the order id and the event id of a record, for an operator. If the value is
// broken and has no recognisable payer token, it returns none from the value, because they
// may be the token.
func (d *diagnosis) names() (orderID, eventID string) {
	secrets := append(d.value.tokens, tokensIn(d.message.Value)...)
	if d.value.isObject || slices.ContainsFunc(secrets, func(s string) bool { return len(s) >= telling }) {
		orderID = d.value.orderID
		if d.headers.inValue() || d.value.form != formNone {
			eventID = d.value.id
		}
	}
	inHeader := d.headers.values[attrID] != nil && d.headers.conflicts&(1<<attrID) == 0
	if inHeader && (eventID == "" || !d.headers.inValue()) {
		eventID = string(d.headers.values[attrID])
	}
	other := d.misnamed[attrID]
	isOfEvent := other.fault != keyBare || d.claim != keyRight || d.headerForm != formNone
	if isOfEvent && eventID == "" && d.headers.values[attrID] == nil && !other.conflict {
		eventID = string(other.value)
	}
	return shown(orderID, secrets), shown(eventID, secrets)
}

// Names returns the order id and the event id for an operator: printable, bounded, and
// "" if a producer put the payer token there.
func (e *ReadyToCapture) Names() (orderID, eventID string) {
	secrets := []string{e.PayerToken.Reveal()}
	return shown(e.OrderID, secrets), shown(e.ID, secrets)
}

const (
	mostShown = 256 // bytes of a name that is shown
	telling   = 8   // bytes; a shorter part of a token, or of a text, reveals nothing
)

// shown returns a text for an operator, or "" if it has control characters or reveals
// one of the secrets.
func shown(text string, secrets []string) string {
	if reveals(text, secrets) || hasControl(text) {
		return ""
	}
	return Printable(text, mostShown)
}

// reveals reports whether a text is, contains or is a part of one of the secrets.
func reveals(text string, secrets []string) bool {
	return slices.ContainsFunc(secrets, func(s string) bool {
		return s == text || (len(s) >= telling && strings.Contains(text, s)) || (len(text) >= telling && strings.Contains(s, text))
	})
}

// tokensIn returns what may be payer tokens in a value that is not JSON or not
// complete: the texts after the word token.
func tokensIn(value []byte) []string {
	const (
		word      = "token"
		most      = 64 // of them
		longest   = 600
		before    = "\"'`\\: =>{[\t\r\n"
		behind    = "\"'`\\,&;<}] \t\r\n"
		lookAhead = 32
	)
	var found []string
	for range most {
		at := bytes.Index(value, []byte(word))
		if at < 0 {
			break
		}
		value = value[at+len(word):]
		text := value[:min(len(value), longest+lookAhead)]
		whole := len(text)
		if text = bytes.TrimLeft(text, before); len(text) == whole {
			continue // a part of another word
		}
		if end := bytes.IndexAny(text, behind); end >= 0 {
			text = text[:end]
		}
		if len(text) > 0 {
			found = append(found, string(text))
		}
	}
	return found
}
