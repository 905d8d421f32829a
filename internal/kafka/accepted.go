package kafka

import (
	"fmt"
	"strconv"
	"strings"
)

// AcceptedOffsets are committed offsets, by partition, that an operator accepts
// although they skip records.
type AcceptedOffsets map[int32]int64

// ParseAcceptedOffsets parses "partition:offset,partition:offset"; "" is none.
func ParseAcceptedOffsets(text string) (AcceptedOffsets, error) {
	accepted := make(AcceptedOffsets)
	if strings.TrimSpace(text) == "" {
		return accepted, nil
	}
	for pair := range strings.SplitSeq(text, ",") {
		before, after, _ := strings.Cut(strings.TrimSpace(pair), ":")
		partition, err := strconv.ParseInt(before, 10, 32)
		offset, offsetErr := strconv.ParseInt(after, 10, 64)
		if err != nil || offsetErr != nil || partition < 0 || offset < 0 {
			return nil, fmt.Errorf("%q is not partition:offset, such as 0:1500; separate several by commas", pair)
		}
		if _, twice := accepted[int32(partition)]; twice {
			return nil, fmt.Errorf("partition %d is listed twice", partition)
		}
		accepted[int32(partition)] = offset
	}
	return accepted, nil
}

// Has reports whether exactly this offset of a partition is accepted.
func (a AcceptedOffsets) Has(partition int32, offset int64) bool {
	at, ok := a[partition]
	return ok && at == offset
}
