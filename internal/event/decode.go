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

// Decode reads an order.ready_to_capture from a record, in structured or
// binary mode. Its errors are [*InvalidError] and [*SkipError]. Other
// formats would plug in here: nothing else looks at a record's bytes.
func Decode(m Message) (*ReadyToCapture, error) {
	if m.Value == nil && !headerClaims(m.Headers) {
		return nil, &SkipError{Reason: SkipTombstone}
	}
	inHeaders, contentType, err := modeOf(m)
	if err != nil {
		return nil, err
	}
	if inHeaders {
		return decodeBinary(m, contentType)
	}
	if e, err, ok := decodePlain(m); ok {
		return e, err
	}
	return decodeAny(m)
}

// decodeAny reads an event in structured mode, however it is written.
func decodeAny(m Message) (*ReadyToCapture, error) {
	env, err := readStructured(m)
	if err != nil {
		return nil, err
	}
	return env.event(m)
}

func decodeBinary(m Message, contentType string) (*ReadyToCapture, error) {
	env, err := readBinary(m, contentType)
	if err != nil {
		return nil, err
	}
	return env.event(m)
}

func (env *envelope) event(m Message) (*ReadyToCapture, error) {
	e := &ReadyToCapture{}
	if err := e.takeEnvelope(env, m.Timestamp); err != nil {
		return nil, err
	}
	if err := e.takeData(env.Data); err != nil {
		return nil, err
	}
	return e, nil
}

// takeEnvelope takes what is not in the data, if the event is of our type.
func (e *ReadyToCapture) takeEnvelope(env *envelope, recordTime time.Time) error {
	if env.Type == nil || *env.Type == "" {
		return invalid("type", "is missing: CloudEvents require it")
	}
	if !resembles(*env.Type) {
		return &SkipError{Reason: SkipOtherType, Type: *env.Type}
	}
	if *env.Type != TypeReadyToCapture {
		return invalid("type", "must be %s exactly: it is that but for capitals, spaces or characters that do not print", TypeReadyToCapture)
	}
	return e.takeAttributes(env, recordTime)
}

// modeOf tells the two modes apart: in binary mode the attributes are in the
// headers.
func modeOf(m Message) (binary bool, contentType string, err error) {
	ambiguous := false
	for _, h := range m.Headers {
		switch {
		case strings.HasPrefix(h.Key, "ce_"):
			binary = true
		case strings.EqualFold(h.Key, "content-type"):
			ambiguous = ambiguous || (contentType != "" && contentType != string(h.Value))
			contentType = string(h.Value)
		}
	}
	if ambiguous && (headerClaims(m.Headers) || resembles(typeOf(m.Value))) {
		return false, "", invalid("content-type", "stands twice in the headers, and not the same: the mode cannot be told")
	}
	if mode, isCE := strings.CutPrefix(strings.ToLower(contentType), "application/cloudevents"); isCE {
		format, _, _ := strings.Cut(mode, ";")
		if format = strings.TrimSpace(format); format != "" && format != "+json" {
			return false, "", invalid("content-type", "is application/cloudevents%s: only application/cloudevents+json is read", printable(format, 64))
		}
		binary = false
	}
	return binary, contentType, nil
}

func readStructured(m Message) (*envelope, error) {
	if len(m.Value) == 0 {
		return nil, invalid("", "is empty: an event is expected")
	}
	env := &envelope{}
	if err := json.Unmarshal(m.Value, env); err != nil {
		// What is wrong may be in a record that is not ours: look at its type
		// alone, leniently, before it is called invalid.
		if other := typeOf(m.Value); other != "" && !resembles(other) && !headerClaims(m.Headers) {
			return nil, &SkipError{Reason: SkipOtherType, Type: other}
		}
		return nil, notJSON("", m.Value, err)
	}
	if len(env.DataBase64) > 0 && string(env.DataBase64) != "null" {
		if env.Type != nil && resembles(*env.Type) {
			return nil, invalid("data_base64", "is not read: send the data as JSON in data")
		}
	}
	if err := env.readHeaders(m.Headers); err != nil {
		return nil, err
	}
	return env, nil
}

// readHeaders takes what the headers add to an event in structured mode, if they
// do not contradict it.
func (env *envelope) readHeaders(headers []Header) error {
	if err := contradicted(env, headers); err != nil {
		return err
	}
	if env.TraceParent == nil {
		for _, h := range headers {
			if h.Key == "traceparent" {
				env.TraceParent = new(string(h.Value))
			}
		}
	}
	return nil
}

func readBinary(m Message, contentType string) (*envelope, error) {
	env := &envelope{Data: m.Value}
	attributes := map[string]**string{
		"ce_specversion": &env.SpecVersion, "ce_id": &env.ID, "ce_source": &env.Source, "ce_type": &env.Type,
		"ce_subject": &env.Subject, "ce_time": &env.Time, "ce_traceparent": &env.TraceParent,
	}
	var plainTrace *string
	var doubled string
	for _, h := range m.Headers {
		if h.Key == "traceparent" {
			plainTrace = new(string(h.Value))
		}
		slot, ok := attributes[h.Key]
		if !ok {
			continue
		}
		if *slot != nil {
			doubled = h.Key
			if slot == &env.Type && resembles(*env.Type) {
				continue // of several types, ours stands: it may be meant for us
			}
		}
		*slot = new(string(h.Value))
	}
	if env.Type != nil && !resembles(*env.Type) {
		return env, nil
	}
	if doubled != "" {
		return nil, invalid(doubled, "stands twice in the headers")
	}
	if env.TraceParent == nil {
		env.TraceParent = plainTrace
	}
	if contentType != "" {
		env.DataContentType = &contentType
	}
	if len(env.Data) == 0 {
		return nil, invalid("data", "is empty: the record's value holds the data in binary mode")
	}
	return env, nil
}

// timeFormat is how the service writes times: RFC 3339, UTC, milliseconds.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

func (e *ReadyToCapture) takeAttributes(env *envelope, recordTime time.Time) error {
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
	e.Time = recordTime
	if env.Time != nil {
		var ok bool
		if e.Time, ok = parseTime(*env.Time); !ok {
			return invalid("time", "is no RFC 3339 time such as 2026-11-23T10:00:00Z")
		}
		if e.Time.Unix() < 0 || (*env.Time)[:4] < "1970" {
			return invalid("time", "is before 1970")
		}
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
