package event

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Decoder decodes order.ready_to_capture events. The service, replay and verify use the same one, so
// they agree on every record. Nothing else reads the bytes of a record, so another format would be
// added here.
type Decoder struct {
	// TimeRequired makes an event without a time of its own invalid. Otherwise the
	// record's timestamp stands in.
	TimeRequired bool
}

// Decode decodes an event as the zero [Decoder] does.
func Decode(m Message) (*ReadyToCapture, error) { return Decoder{}.Decode(m) }

// Decode decodes an event in structured or binary mode. Its errors are
// [*InvalidError] and [*SkipError].
func (d Decoder) Decode(m Message) (*ReadyToCapture, error) {
	h := readHeaders(m.Headers)
	e, err := d.decode(m, &h)
	if err != nil {
		return nil, diagnose(m, &h, err)
	}
	return e, nil
}

// diagnose replaces these errors, because a record whose type is not exactly ours may still be meant
// for this service.
var (
	errNoType    = invalid("type", "is missing")
	errOtherType = invalid("type", "is another type")
)

func (d Decoder) decode(m Message, h *headerAttributes) (*ReadyToCapture, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	if h.inValue() {
		return d.decodeStructured(m, h)
	}
	return d.decodeBinary(m, h)
}

// structuredEvent is an event in structured mode.
type structuredEvent struct {
	attributes

	Data       jsontext.Value `json:"data"`
	DataBase64 jsontext.Value `json:"data_base64"`
}

func (d Decoder) decodeStructured(m Message, h *headerAttributes) (*ReadyToCapture, error) {
	if len(m.Value) == 0 {
		return nil, invalid("", "is empty: an event is expected")
	}
	var s structuredEvent
	if err := json.Unmarshal(m.Value, &s); err != nil {
		return nil, notJSON("", m.Value, err)
	}
	if err := s.checkType(); err != nil {
		return nil, err
	}
	if len(s.DataBase64) > 0 && s.DataBase64.Kind() != 'n' {
		return nil, invalid("data_base64", "is not read: send the data as JSON in data")
	}
	if err := h.checkAgainst(&s.attributes); err != nil {
		return nil, err
	}
	e := &ReadyToCapture{}
	if err := d.setAttributes(e, &s.attributes, h.trace, m.Timestamp); err != nil {
		return nil, err
	}
	return e, e.setData(s.Data)
}

func (d Decoder) decodeBinary(m Message, h *headerAttributes) (*ReadyToCapture, error) {
	if err := h.checkOnce(attrCausationID); err != nil {
		return nil, err
	}
	a := h.attributes()
	if err := a.checkType(); err != nil {
		return nil, err
	}
	if len(m.Value) == 0 {
		return nil, invalid("data", "is empty: the record's value holds the data in binary mode")
	}
	e := &ReadyToCapture{}
	if err := d.setAttributes(e, &a, h.trace, m.Timestamp); err != nil {
		return nil, err
	}
	return e, e.setData(m.Value)
}
