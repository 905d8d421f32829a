package event

import (
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// envelope holds the CloudEvents attributes of either mode. A pointer is nil
// where the attribute is absent or null.
type envelope struct {
	SpecVersion     *string        `json:"specversion"`
	ID              *string        `json:"id"`
	Source          *string        `json:"source"`
	Type            *string        `json:"type"`
	Subject         *string        `json:"subject"`
	Time            *string        `json:"time"`
	DataContentType *string        `json:"datacontenttype"`
	TraceParent     *string        `json:"traceparent"`
	Data            jsontext.Value `json:"data"`
	DataBase64      jsontext.Value `json:"data_base64"`
}

// Decoder reads order.ready_to_capture events from records. The service, replay and
// verify use the same one, so they agree on every record. Other formats would plug
// in here: nothing else looks at a record's bytes.
type Decoder struct {
	// TimeRequired makes an event without a time of its own invalid. Otherwise the
	// record's timestamp stands in.
	TimeRequired bool
}

// Decode reads an event as the zero [Decoder] does.
func Decode(m Message) (*ReadyToCapture, error) { return Decoder{}.Decode(m) }

// Decode reads an event in structured or binary mode. Its errors are
// [*InvalidError] and [*SkipError].
func (d Decoder) Decode(m Message) (*ReadyToCapture, error) {
	h := readHeaders(m.Headers)
	e, err := d.decode(m, &h)
	if err != nil {
		return nil, refuse(m, err)
	}
	return e, nil
}

// Whose event a record is if its type is not exactly ours is left to [refuse], which
// replaces these errors.
var (
	errNoType    = invalid("type", "is missing")
	errOtherType = invalid("type", "is another type")
)

func (d Decoder) decode(m Message, h *headerAttributes) (*ReadyToCapture, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	if !h.inValue() {
		return d.decodeBinary(m, h)
	}
	if e, err, ok := d.decodePlain(m, h); ok {
		return e, err
	}
	return d.decodeAny(m, h)
}

// decodeAny reads an event in structured mode, however it is written.
func (d Decoder) decodeAny(m Message, h *headerAttributes) (*ReadyToCapture, error) {
	if len(m.Value) == 0 {
		return nil, invalid("", "is empty: an event is expected")
	}
	env, e := &envelope{}, &ReadyToCapture{}
	if err := json.Unmarshal(m.Value, env); err != nil {
		return nil, notJSON("", m.Value, err)
	}
	base64 := len(env.DataBase64) > 0 && string(env.DataBase64) != "null"
	if base64 && env.Type != nil && *env.Type == TypeReadyToCapture {
		return nil, invalid("data_base64", "is not read: send the data as JSON in data")
	}
	if err := d.takeStructured(e, env, m, h); err != nil {
		return nil, err
	}
	if err := e.takeData(env.Data); err != nil {
		return nil, err
	}
	return e, nil
}

// takeStructured takes what is not in the data, if the event is of our type and the
// headers do not contradict it.
func (d Decoder) takeStructured(e *ReadyToCapture, env *envelope, m Message, h *headerAttributes) error {
	if err := env.checkType(); err != nil {
		return err
	}
	if err := h.checkAgainst(env); err != nil {
		return err
	}
	if env.TraceParent == nil && h.trace != nil {
		env.TraceParent = new(string(h.trace))
	}
	return d.takeAttributes(e, env, m.Timestamp)
}

func (env *envelope) checkType() error {
	switch {
	case env.Type == nil || *env.Type == "":
		return errNoType
	case *env.Type != TypeReadyToCapture:
		return errOtherType
	}
	return nil
}

func (d Decoder) decodeBinary(m Message, h *headerAttributes) (*ReadyToCapture, error) {
	if err := h.checkOnce(); err != nil {
		return nil, err
	}
	var t texts
	for n, value := range h.values {
		if value != nil {
			t.text[n], t.given = kept(value), t.given|1<<n
		}
	}
	env := t.envelope()
	if err := env.checkType(); err != nil {
		return nil, err
	}
	if env.TraceParent == nil && h.trace != nil {
		env.TraceParent = new(string(h.trace))
	}
	if h.contentType != nil {
		env.DataContentType = new(kept(h.contentType))
	}
	if len(m.Value) == 0 {
		return nil, invalid("data", "is empty: the record's value holds the data in binary mode")
	}
	e := &ReadyToCapture{}
	if err := d.takeAttributes(e, &env, m.Timestamp); err != nil {
		return nil, err
	}
	if err := e.takeData(m.Value); err != nil {
		return nil, err
	}
	return e, nil
}

// timeFormat is how the service writes times: RFC 3339, UTC, milliseconds.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

func (d Decoder) takeAttributes(e *ReadyToCapture, env *envelope, recordTime time.Time) error {
	switch {
	case env.SpecVersion == nil:
		return invalid("specversion", "is missing: 1.0 is expected")
	case *env.SpecVersion != "1.0":
		return invalid("specversion", "is %s: 1.0 is expected", quotedIf(isVersion, *env.SpecVersion))
	case env.ID == nil:
		return invalid("id", "is missing: it is the idempotency key of the capture")
	case !token(*env.ID, 64):
		return invalid("id", "must be 1 to 64 printable ASCII characters without spaces")
	case env.Source == nil || *env.Source == "":
		return invalid("source", "is missing: CloudEvents require it")
	case !text(*env.Source, 1024):
		return invalid("source", "must be at most 1024 characters, none of them a control character")
	case env.Subject != nil && *env.Subject != "" && !text(*env.Subject, 1024):
		return invalid("subject", "must be at most 1024 characters, none of them a control character")
	case env.DataContentType != nil && !isJSONType(*env.DataContentType):
		return invalid("datacontenttype", "is %s: application/json is expected", quotedIf(isMediaType, *env.DataContentType))
	}
	e.ID, e.Source = *env.ID, *env.Source
	if env.Subject != nil {
		e.Subject = *env.Subject
	}
	if env.TraceParent != nil && isTraceParent(*env.TraceParent) {
		e.TraceParent = *env.TraceParent
	}
	e.Time, e.TimeFromRecord = recordTime, env.Time == nil
	if env.Time != nil {
		var ok bool
		if e.Time, ok = parseTime(*env.Time); !ok {
			return invalid("time", "is no RFC 3339 time such as 2026-11-23T10:00:00Z%s", timeFault(*env.Time))
		}
		if e.Time.Unix() < 0 || (*env.Time)[:4] < "1970" {
			return invalid("time", "is before 1970")
		}
	} else if d.TimeRequired {
		return invalid("time", "is missing, and EVENT_TIME_REQUIRED is set: the record's timestamp does not stand in for it")
	}
	if e.Time.IsZero() || e.Time.UnixMilli() < 0 {
		return invalid("time", "is missing, and the record has no timestamp: how old the event is must be known")
	}
	return nil
}

// parseTime reads an RFC 3339 time. It refuses what time.Parse takes beyond
// that: an hour of one digit, a comma before the fraction, an offset of a day.
func parseTime(text string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || text[13] != ':' || text[19] == ',' {
		return time.Time{}, false
	}
	if offset, utc := strings.CutSuffix(text, "Z"); !utc {
		offset = offset[len(offset)-5:]
		return t, offset[:2] < "24" && offset[3:] < "60"
	}
	return t, true
}

func isJSONType(mediaType string) bool {
	base, _, _ := strings.Cut(mediaType, ";")
	base = strings.Trim(base, " \t")
	if !token(base, len(base)) { // before ToLower, which makes an i of the Turkish capital
		return false
	}
	base = strings.ToLower(base)
	return base == "application/json" || (strings.HasPrefix(base, "application/") && strings.HasSuffix(base, "+json"))
}
