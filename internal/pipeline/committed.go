package pipeline

import "payment-capture/internal/kafka"

// Committed is what a committed offset and its metadata say of a partition of
// the input: which of its records are settled.
type Committed struct {
	offset  int64
	topic   topicID // zero: the metadata does not say
	settled settledMap
}

// ParseCommitted reads a committed offset with its metadata. Where the metadata
// cannot be read the offset alone counts, as it does for the service, and the
// error says so.
func ParseCommitted(offset int64, metadata string) (Committed, error) {
	c := Committed{offset: offset, settled: settledMap{end: offset}}
	if metadata == "" { // as of a group's first commit, or of a tool's
		return c, nil
	}
	m, err := decodeMetadata(metadata, offset)
	if err != nil {
		return c, err
	}
	c.topic, c.settled = m.topic, m.settled
	return c, nil
}

// Settled reports whether a record of the topic that has this id is settled. The
// commit is void for a topic that was made anew under the same name. A zero id is
// not known, and voids nothing.
func (c Committed) Settled(topic [16]byte, offset int64) bool {
	if !kafka.SameTopic(c.topic, topic) {
		return false
	}
	return offset < c.offset || c.settled.has(offset)
}
