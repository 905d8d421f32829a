package event

import (
	"slices"
	"strings"
	"time"
)

// attributes holds the CloudEvents attributes of an event. A pointer is nil if the attribute is
// absent or null, and a string is empty if it is absent, null or empty.
type attributes struct {
	SpecVersion     string  `json:"specversion"`
	ID              *string `json:"id"`
	Source          string  `json:"source"`
	Type            string  `json:"type"`
	Subject         string  `json:"subject"`
	Time            *string `json:"time"`
	DataContentType *string `json:"datacontenttype"`
	TraceParent     *string `json:"traceparent"`
}

// The attributes by number. CloudEvents require the first four.
const (
	attrSpecVersion = iota
	attrID
	attrSource
	attrType
	attrSubject
	attrTime
	attrDataContentType
	attrTraceParent
	attrCausationID // of outcomes
	attrCount
	attrRequired = attrType + 1
)

// attributeNames returns the names of the attributes by number.
func attributeNames() [attrCount]string {
	return [...]string{"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "traceparent", "causationid"}
}

// attributeNumber returns the number of an attribute, or -1 if the name is not one of an attribute.
func attributeNumber(name string) int {
	names := attributeNames()
	return slices.Index(names[:], name)
}

// checkType returns an error unless the type is [TypeReadyToCapture].
func (a *attributes) checkType() error {
	switch {
	case a.Type == "":
		return errNoType
	case a.Type != TypeReadyToCapture:
		return errOtherType
	}
	return nil
}

// setAttributes checks the attributes and copies them to the event. The traceparent header and the
// timestamp of the record stand in for absent attributes.
func (d Decoder) setAttributes(e *ReadyToCapture, a *attributes, traceHeader []byte, recordTime time.Time) error {
	switch {
	case a.SpecVersion == "":
		return invalid("specversion", "is missing: 1.0 is expected")
	case a.SpecVersion != "1.0":
		return invalid("specversion", "is %s: 1.0 is expected%s", quotedIf(isVersion, a.SpecVersion), because(a.SpecVersion))
	case a.ID == nil:
		return invalid("id", "is missing: it is the idempotency key of the capture")
	case !isToken(*a.ID, 64):
		return invalid("id", "must be 1 to 64 printable ASCII characters without spaces%s", because(*a.ID))
	case a.Source == "":
		return invalid("source", "is missing: CloudEvents require it")
	case !isText(a.Source, 1024):
		return invalid("source", "must be at most 1024 characters, none of them a control character%s", because(a.Source))
	case a.Subject != "" && !isText(a.Subject, 1024):
		return invalid("subject", "must be at most 1024 characters, none of them a control character%s", because(a.Subject))
	case a.DataContentType != nil && !isJSONType(*a.DataContentType):
		return invalid("datacontenttype", "is %s: application/json is expected%s",
			quotedIf(isMediaType, *a.DataContentType), because(*a.DataContentType))
	}
	e.ID, e.Source, e.Subject = *a.ID, a.Source, a.Subject
	trace := a.TraceParent
	if trace == nil {
		trace = textOf(traceHeader)
	}
	if trace != nil && isTraceParent(*trace) {
		e.TraceParent = *trace
	}
	return d.setTime(e, a.Time, recordTime)
}

func (d Decoder) setTime(e *ReadyToCapture, text *string, recordTime time.Time) error {
	e.RecordTime = recordTime
	if text != nil {
		var ok bool
		if e.Time, ok = parseTime(*text); !ok {
			return invalid("time", "is not an RFC 3339 time such as 2026-11-23T10:00:00Z%s", timeFault(*text))
		}
		if e.Time.Unix() < 0 || (*text)[:4] < "1970" {
			return invalid("time", "is before 1970")
		}
		return nil
	}
	if d.TimeRequired {
		return invalid("time", "is missing, and EVENT_TIME_REQUIRED is set: the record's timestamp does not stand in for it")
	}
	if recordTime.IsZero() || recordTime.UnixMilli() < 0 {
		return invalid("time", "is missing, and the record has no timestamp: the age of the event must be known")
	}
	e.Time, e.TimeFromRecord = recordTime, true
	return nil
}

// because returns why a text is not plain text in UTF-8, after a colon, or "".
func because(text string) string {
	if fault := textFault(text); fault != "" {
		return ": " + fault
	}
	return ""
}

// timeFormat is how the service writes times: RFC 3339, UTC, milliseconds.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// parseTime parses an RFC 3339 time. Unlike time.Parse it refuses an hour of one digit, a comma
// before the fraction, and an offset of a day or more.
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
