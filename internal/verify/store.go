package verify

import (
	"encoding/binary"
	"fmt"

	"payment-capture/internal/scratch"
)

// The first byte of a key in the store. What follows is in the order that is
// stated; 0 is a byte of that value.
const (
	// event id, 0, tag, position of a record: an entry. The entries of one event
	// lie together, those that the others are compared with first.
	spaceEvent = 'e'
	// position of an input record, tag, position of the record: input records and
	// parked records that can be matched by nothing else.
	spacePlace = 'q'
	// digest of an invalid record without its timestamp: it was parked, and the
	// input record that it was parked for does not exist any more.
	spacePlain = 'c'
	// payment id, or reference, 0, event id.
	spacePayment   = 'p'
	spaceReference = 'r'
	// event id, 0, what keeps findings apart: a finding.
	spaceFinding = 'f'
	// event id, 0, payment id: a payment to read from the API.
	spaceAsk = 'a'
	// position of an input record below a foreign offset: the key of its content
	// in spaceLost.
	spaceBelow = 'b'
	// event id, 0, content, time of the decision to park that is undone: completed without a
	// decision, if any offset is foreign.
	spaceLost = 'l'
)

// The tags of entries, in the order in which they are read.
const (
	tagInput byte = iota + 1
	tagDecision
	tagAttempt
	tagOutcome
	tagParked
	tagElsewhere // a parked record that names this id belongs to another event
)

// position is where a record lies; topic is its number in the snapshot.
type position struct {
	topic     uint8
	partition int32
	offset    int64
}

const positionBytes = 1 + 4 + 8

// append encodes the position so that keys sort as records lie.
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

// name returns a position as findings name it, such as payment.captured/3@17.
func (s *snapshot) name(p position) string {
	return fmt.Sprintf("%s/%d@%d", s.topics[p.topic].name, p.partition, p.offset)
}

// maxPositions is how many records a finding names of a kind.
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

// batch collects writes to the store.
type batch struct{ *scratch.Batch }

func (v *verifier) newBatch() batch { return batch{v.store.NewBatch()} }

// room commits the batch if it is large.
func (b batch) room() error {
	if b.Len() < batchRecords {
		return nil
	}
	return b.Commit()
}

// entry writes an entry of an event.
func (b batch) entry(id string, tag byte, at position, value any) {
	key := append([]byte{spaceEvent}, id...)
	b.Set(at.append(append(key, 0, tag)), value)
}

// parked writes the entry of a parked record. The record itself may name
// another id, under which the service of its time knew it.
func (b batch) parked(id, named string, at position, e parkedEntry) {
	if named != "" && named != id {
		e.Flags |= flagOtherID
		b.elsewhere(named, at)
	}
	b.entry(id, tagParked, at, e)
}

// elsewhere writes that a parked record names an id, and belongs to another event.
func (b batch) elsewhere(named string, at position) {
	if plainID(named) {
		b.entry(named, tagElsewhere, at, nil)
	}
}

// place writes what is known of the input record at a position. Several parked
// records may be for one.
func (b batch) place(of position, tag byte, at position, value any) {
	key := of.append([]byte{spacePlace})
	b.Set(at.append(append(key, tag)), value)
}

// index writes that an event has a payment, or a captured reference.
func (b batch) index(space byte, name, id string) {
	key := append([]byte{space}, name...)
	b.Set(append(append(key, 0), id...), nil)
}

// finding writes a finding; equal ones are one.
func (b batch) finding(f Finding) { b.Set(f.key(), f) }

// each calls use with the entries of a space, with the keys without its byte.
func (v *verifier) each(space byte, use func(key []byte, value scratch.Value) error) error {
	return v.store.Each([]byte{space}, func(key []byte, value scratch.Value) error { return use(key[1:], value) })
}

// decode decodes a value.
func decode[T any](value scratch.Value) (into T, err error) {
	err = value.Decode(&into)
	return into, err
}
