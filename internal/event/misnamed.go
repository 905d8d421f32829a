package event

import "strings"

// misnamed is what headers state of one attribute under other keys than ce_* and its name.
type misnamed struct {
	fault    keyFault // of these headers the least
	value    []byte
	conflict bool // their values differ
}

// keyFault is what is wrong with the key of a header that names an attribute. The least of several is
// reported, so the order of the headers does not matter.
type keyFault int

const (
	keyRight      keyFault = iota // or no attribute at all
	keyHTTP                       // ce-type
	keyAMQP                       // cloudEvents:type
	keyAMQPOfJMS                  // cloudEvents_type
	keyInCapitals                 // CE_TYPE
	keyPrefixed                   // x-ce-type, kafka_ce_type
	keyMisspelt                   // ce_Type, ce_event_type
	keyBare                       // type
)

// ofAll reports whether the fault is one of a binding or a tool, which names all attributes alike.
func (f keyFault) ofAll() bool { return f != keyRight && f < keyMisspelt }

// problem returns what is wrong with the key of an attribute.
func (f keyFault) problem(attribute int) string {
	right := "it is ce_" + attributeNames()[attribute]
	return [...]string{
		keyRight:      "",
		keyHTTP:       "the headers have the HTTP prefix ce-; on Kafka it is ce_",
		keyAMQP:       "the headers have the AMQP prefix cloudEvents:; on Kafka it is ce_",
		keyAMQPOfJMS:  "the headers have the AMQP prefix cloudEvents_; on Kafka it is ce_",
		keyInCapitals: "the headers are in capitals; on Kafka they are ce_type, ce_id and so on",
		keyPrefixed:   "the headers have a prefix of their own; on Kafka it is ce_",
		keyMisspelt:   "a header has its name in another spelling; " + right,
		keyBare:       "a header has its name without the prefix; " + right,
	}[f]
}

// lesser returns the lesser of two faults.
func (f keyFault) lesser(other keyFault) keyFault {
	if f == keyRight || (other != keyRight && other < f) {
		return other
	}
	return f
}

// faultOfKey returns which attribute a header key names as other bindings and tools write it, and how.
func faultOfKey(key string) (attribute int, f keyFault) {
	const longest = 64
	rest, hasPrefix := strings.CutPrefix(key, "ce_")
	if len(key) > longest || (hasPrefix && attributeNumber(rest) >= 0) {
		return 0, keyRight
	}
	name, ofCloudEvents := attributeIn(key)
	attribute = attributeNumber(name)
	lower := strings.ToLower(key)
	switch {
	case attribute < 0, !ofCloudEvents && attribute == attrTraceParent: // which has a header of its own
		return 0, keyRight
	case !ofCloudEvents:
		return attribute, keyBare
	case hasPrefix:
		return attribute, keyMisspelt
	case strings.HasPrefix(lower, "ce-"):
		return attribute, keyHTTP
	case strings.HasPrefix(lower, "cloudevents:"):
		return attribute, keyAMQP
	case strings.HasPrefix(lower, "cloudevents_"):
		return attribute, keyAMQPOfJMS
	case strings.HasPrefix(lower, "ce_"):
		return attribute, keyInCapitals
	}
	return attribute, keyPrefixed
}

// attributeIn returns the letters of a key without prefixes, and whether one of these was that of
// CloudEvents.
func attributeIn(key string) (name string, ofCloudEvents bool) {
	name = lettersOf(key)
	for found := true; found; {
		found = false
		for _, prefix := range [...]string{"x", "kafka", "http", "amqp", "headers", "header", "cloudevents", "cloudevent", "ce", "event"} {
			if rest, ok := strings.CutPrefix(name, prefix); ok {
				name, found = rest, true
				ofCloudEvents = ofCloudEvents || prefix[0] == 'c'
			}
		}
	}
	if ofCloudEvents && name == "version" { // as version 0.1 names it
		name = attributeNames()[attrSpecVersion]
	}
	return name, ofCloudEvents
}
