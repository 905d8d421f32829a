package verify

import (
	"encoding/binary"
	"fmt"
)

// position is where a record lies; topic is a number of this run's.
type position struct {
	topic     uint8
	partition int32
	offset    int64
}

const positionBytes = 1 + 4 + 8

// append writes it so that positions sort as they lie.
func (p position) append(to []byte) []byte {
	to = append(to, p.topic)
	to = binary.BigEndian.AppendUint32(to, uint32(p.partition)) //nolint:gosec // G115: not negative
	return binary.BigEndian.AppendUint64(to, uint64(p.offset))  //nolint:gosec // G115: not negative
}

func positionOf(b []byte) position {
	return position{
		topic:     b[0],
		partition: int32(binary.BigEndian.Uint32(b[1:])), //nolint:gosec // G115: as it was written
		offset:    int64(binary.BigEndian.Uint64(b[5:])), //nolint:gosec // G115: as it was written
	}
}

// name gives it as findings name it, such as payment.captured/3@17.
func (s *snapshot) name(p position) string {
	return fmt.Sprintf("%s/%d@%d", s.topics[p.topic].name, p.partition, p.offset)
}

// maxPositions is how many records a finding names of a kind; one that comes a
// million times is not a million lines.
const maxPositions = 5

// positions are the first few places of records that say the same.
type positions []position

func (ps *positions) add(p position) {
	if len(*ps) < maxPositions {
		*ps = append(*ps, p)
	}
}

func (s *snapshot) names(all ...positions) []string {
	var names []string
	for _, ps := range all {
		for _, p := range ps {
			names = append(names, s.name(p))
		}
	}
	return names
}
