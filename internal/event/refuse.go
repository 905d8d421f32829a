package event

import (
	"bytes"
	"errors"
	"slices"
	"strings"
)

// refusal is what a record that is not a valid event of ours shows of itself.
type refusal struct {
	message Message
	headers *headerAttributes
	value   glance
	inType  form // how ce_type writes our type
	// prefix is what is wrong with headers that have attributes under other keys;
	// "" if there are none. inPrefix reports whether one of those claims our type.
	prefix   string
	inPrefix bool
}

// refuse returns why a record is not a valid event of ours: a [*SkipError] if it is
// certainly not meant for us, else an [*InvalidError]. What may be an order is never
// skipped. A record is skipped only if it is a CloudEvent of another type, complete,
// or a tombstone, and nothing in it claims our type.
func refuse(m Message, err error) error {
	h := readHeaders(m.Headers) // again, so that those of a valid event stay on the stack
	r := refusal{message: m, headers: &h, value: glanceAt(m.Value)}
	r.readHeaders()
	if r.inType == formNone && !r.inPrefix && r.value.claim == formNone {
		other := h.other()
		if h.inValue() {
			other = r.value.otherEvent()
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
	wrong = r.explain(wrong)
	order, id := r.names()
	return &InvalidError{Field: wrong.Field, Problem: wrong.Problem, OrderID: order, ClaimedEventID: id}
}

func (r *refusal) readHeaders() {
	for _, h := range r.message.Headers {
		if h.Key == "ce_type" {
			// Of several, the one that is nearest to ours counts.
			if f := formOf(h.Value); f != formNone && (r.inType == formNone || f < r.inType) {
				r.inType = f
			}
			continue
		}
		number, problem, ok := wrongPrefix(h.Key)
		if !ok || len(h.Value) == 0 {
			continue
		}
		if r.prefix == "" || problem < r.prefix {
			r.prefix = problem
		}
		r.inPrefix = r.inPrefix || (number == attrType && formOf(h.Value) != formNone)
	}
}

// explain names the cause of an error as far as the record shows it.
func (r *refusal) explain(err *InvalidError) *InvalidError {
	ofHeader := strings.HasPrefix(err.Field, "ce_") || err.Field == "content-type"
	switch {
	case (err == errOtherType || err.Field == "ce_type") && r.inType > formDamaged && r.headers.doubled&(1<<attrType) == 0:
		return invalid("ce_type", "%s", r.inType.problem("send it as plain bytes (JSON header converter?)"))
	case ofHeader:
		return err
	case r.value.isEnvelope():
		return invalid("schema", "stands beside payload: the value is in Kafka Connect's {schema,payload} envelope; set schemas.enable=false in its converter")
	case err == errOtherType && r.headers.inValue():
		return r.otherTypeInValue()
	case err == errOtherType:
		return r.otherTypeInHeaders()
	case err == errNoType:
		return invalid("type", "is missing: %s", r.whyNoType())
	case err.Field == "data.order_id" && !r.headers.inValue() && r.value.claim != formNone:
		return invalid(err.Field, "%s: the value is a whole event, but ce_* headers are there, which are for data alone", err.Problem)
	}
	return err
}

const wholeEvent = "leave the ce_* headers out, or set content-type to application/cloudevents+json"

func (r *refusal) otherTypeInHeaders() *InvalidError {
	switch {
	case r.inType == formDamaged:
		return invalid("type", "%s", r.inType.problem(""))
	case r.value.claim != formNone:
		return invalid("ce_type", "is another type, but the value is a whole event of type %s: %s", TypeReadyToCapture, wholeEvent)
	case r.inPrefix:
		return invalid("ce_type", "is not the type in another header: %s", r.prefix)
	}
	for _, n := range requiredAttributes() {
		if r.headers.values[n] == nil {
			return invalid(attributeNames()[n], "is missing: without it the record is not a CloudEvent, whatever its type")
		}
	}
	return invalid("type", "is not %s", TypeReadyToCapture)
}

func (r *refusal) otherTypeInValue() *InvalidError {
	switch {
	case r.inType != formNone:
		return invalid("ce_type", "is not the type in the value, which is read: the content-type says so")
	case r.value.claim != formNone:
		return invalid("type", "%s", r.value.claim.problem("write that alone"))
	}
	for _, n := range requiredAttributes() {
		if r.value.given&(1<<n) == 0 {
			return invalid(attributeNames()[n], "is missing: %s", r.whyNoEvent())
		}
	}
	if r.inPrefix {
		return invalid("type", "is not the type in a header: %s", r.prefix)
	}
	return invalid("type", "is not %s", TypeReadyToCapture)
}

func (r *refusal) whyNoEvent() string {
	switch {
	case r.prefix != "":
		return r.prefix
	case r.value.isData():
		return "the value looks like an event's data alone; were its headers lost?"
	}
	return "without it the value is not a CloudEvent, whatever its type"
}

func (r *refusal) whyNoType() string {
	switch {
	case !r.headers.inValue() && r.value.claim != formNone:
		return "the value is a whole event; " + wholeEvent
	case r.headers.inValue() && r.headers.values[attrType] != nil:
		return "content-type says structured mode (application/cloudevents+json), but the attributes are in ce_* headers: set it to application/json"
	case r.prefix != "":
		return r.prefix
	case r.headers.inValue() && r.value.isData():
		return "the value looks like an event's data alone; were its headers lost?"
	}
	return "CloudEvents require it"
}

// names returns the order id and the event id that a record names, for an operator.
// What a broken value names is left out if no payer token is found in it: it cannot be
// told that it is not that.
func (r *refusal) names() (order, id string) {
	secrets := append(r.value.tokens, tokensIn(r.message.Value)...)
	if r.value.object || slices.ContainsFunc(secrets, func(s string) bool { return len(s) >= telling }) {
		order = r.value.order
		if r.headers.inValue() || r.value.claim != formNone {
			id = r.value.id
		}
	}
	inHeader := r.headers.values[attrID] != nil && r.headers.doubled&(1<<attrID) == 0
	if inHeader && (id == "" || !r.headers.inValue()) {
		id = string(r.headers.values[attrID])
	}
	return shown(order, secrets), shown(id, secrets)
}

// Names returns the order id and the event id for an operator: printable, bounded, and
// "" if a producer put the payer token there.
func (e *ReadyToCapture) Names() (orderID, eventID string) {
	secrets := []string{e.PayerToken.Reveal()}
	return shown(e.OrderID, secrets), shown(e.ID, secrets)
}

const (
	mostShown = 256 // bytes of a name that is shown
	telling   = 8   // a shorter part of a token, or of a text, shows nothing
)

// shown returns a text for an operator, or "" if it has control characters or shows
// one of the secrets.
func shown(text string, secrets []string) string {
	for _, s := range secrets {
		if s == text || (len(s) >= telling && strings.Contains(text, s)) || (len(text) >= telling && strings.Contains(s, text)) {
			return ""
		}
	}
	if hasControl(text) {
		return ""
	}
	return printable(text, mostShown)
}

// tokensIn returns what may be payer tokens in a value that is not JSON, or not
// whole: what stands after the word token.
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
