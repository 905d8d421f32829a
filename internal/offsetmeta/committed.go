package offsetmeta

import "payment-capture/internal/kafka"

// Committed is a committed offset of a partition of the input with its metadata.
type Committed struct {
	offset    int64
	input     TopicID // zero: not known
	completed Completed
}

// ParseCommitted reads a committed offset with its metadata. If the metadata is not this
// service's, the offset alone counts, as it does for the service, and the error is an
// [ErrInvalid].
func ParseCommitted(offset int64, metadata string) (Committed, error) {
	c := Committed{offset: offset, completed: Completed{End: offset}}
	if metadata == "" { // as of a group's first commit, or of a tool's
		return c, nil
	}
	m, err := Decode(metadata, offset)
	if err != nil {
		return c, err
	}
	c.input, c.completed = m.Input, m.Completed
	return c, nil
}

// Completed reports whether a record of the topic with this id is completed. The
// commit is void for a recreated topic. A zero id is not known, and voids nothing.
func (c Committed) Completed(topic TopicID, offset int64) bool {
	if !kafka.SameTopic(c.input, topic) {
		return false
	}
	return offset < c.offset || c.completed.Has(offset)
}
