package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"payment-capture/internal/event"
)

// The store keeps a row of slots for each event, one for each partition of
// the ledger that has entries of it, in the order of the partitions. An entry of
// the topic is the change of one slot. A change and a state have the same form,
// so that changes can be merged before their state is known, which is what lets
// the store write without reading.
//
// Within a partition the order of the topic decides; between partitions nothing
// is compared before it is looked up. So it does not matter in which order the
// partitions are read, and reading a part of one again does no harm.

// rank orders decisions: the higher one is the event's.
type rank uint8

const (
	rankNone rank = iota
	rankParked
	rankRejected
	rankCaptured
)

// rankOf returns a decision's rank.
func rankOf(d *event.Decision) rank {
	switch {
	case d.ParkInfo != nil:
		return rankParked
	case d.Outcome.Type == event.TypeCaptured:
		return rankCaptured
	}
	return rankRejected
}

// decisionValue is what decisions are compared by, and the encoded decision.
type decisionValue struct {
	rank  rank
	at    int64 // Unix milliseconds
	value []byte
}

// supersedes reports whether a decision counts before another one, or is the same.
// Captured counts before rejected, and rejected before parked. Of two outcomes the
// earlier one counts, because it was published first; of two parked decisions the
// later one, because that is what an operator sees.
func (v decisionValue) supersedes(other decisionValue) bool {
	switch {
	case v.rank != other.rank:
		return v.rank > other.rank
	case v.at != other.at:
		return (v.at > other.at) == (v.rank == rankParked)
	}
	// Two of one millisecond: either will do, but the same one everywhere.
	return bytes.Compare(v.value, other.value) >= 0
}

// slot is the state of an event in one partition, or a change of that state.
type slot struct {
	partition int32
	flags     slotFlags
	attempt   []byte // the value of the attempt's record
	decision  decisionValue
}

type slotFlags uint8

const (
	hasAttempt  slotFlags = 1 << iota
	hasDecision           // the best one since the last that was taken back
	// In a change: it replaces what an older change holds.
	endsAttempt
	endsDecision
)

// ends are the flags that mean nothing in a state: there is nothing older.
const ends = endsAttempt | endsDecision

// The changes that a record of the topic can make.

func attempted(partition int32, value []byte) slot {
	return slot{partition: partition, flags: hasAttempt | endsAttempt, attempt: value}
}

func attemptGone(partition int32) slot { return slot{partition: partition, flags: endsAttempt} }

func decided(partition int32, v decisionValue) slot {
	return slot{partition: partition, flags: hasDecision, decision: v}
}

func decisionGone(partition int32) slot { return slot{partition: partition, flags: endsDecision} }

// after returns the change that applies both, the older one first.
func (s slot) after(older slot) slot {
	if s.flags&endsAttempt == 0 {
		s.attempt = older.attempt
		s.flags |= older.flags & (hasAttempt | endsAttempt)
	}
	if s.flags&endsDecision == 0 {
		if older.flags&hasDecision != 0 && (s.flags&hasDecision == 0 || older.decision.supersedes(s.decision)) {
			s.decision = older.decision
		}
		s.flags |= older.flags & (hasDecision | endsDecision)
	}
	return s
}

// append writes a slot: the partition, the flags, and what the flags say.
func (s slot) append(to []byte) []byte {
	to = binary.AppendUvarint(to, uint64(uint32(s.partition))) //nolint:gosec // G115: no partition is negative
	to = append(to, byte(s.flags))
	if s.flags&hasAttempt != 0 {
		to = binary.AppendUvarint(to, uint64(len(s.attempt)))
		to = append(to, s.attempt...)
	}
	if s.flags&hasDecision != 0 {
		to = append(to, byte(s.decision.rank))
		to = binary.AppendVarint(to, s.decision.at)
		to = binary.AppendUvarint(to, uint64(len(s.decision.value)))
		to = append(to, s.decision.value...)
	}
	return to
}

// errState reports that the store holds a value that this code did not write.
var errState = errors.New("the local store holds what cannot be read")

// nextSlot reads the first slot of a state, and returns the rest. The slot points
// into the state.
func nextSlot(state []byte) (s slot, rest []byte, err error) {
	r := reader{rest: state}
	s.partition = int32(r.uvarint()) //nolint:gosec // G115: append wrote it
	s.flags = slotFlags(r.byte())
	if s.flags&hasAttempt != 0 {
		s.attempt = r.bytes()
	}
	if s.flags&hasDecision != 0 {
		s.decision.rank = rank(r.byte())
		s.decision.at = r.varint()
		s.decision.value = r.bytes()
	}
	if r.failed || s.flags > hasAttempt|hasDecision|ends || s.decision.rank > rankCaptured {
		return slot{}, nil, fmt.Errorf("%w: a slot of %d bytes", errState, len(state))
	}
	return s, r.rest, nil
}

// reader decodes a state; failed is set if the state ends too early.
type reader struct {
	rest   []byte
	failed bool
}

func (r *reader) byte() byte {
	if len(r.rest) == 0 {
		r.failed = true
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	r.skip(n)
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.rest)
	r.skip(n)
	return v
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.failed = true
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) skip(n int) {
	if n <= 0 {
		r.failed = true
		r.rest = nil
		return
	}
	r.rest = r.rest[n:]
}

// merge appends the combination of two changes, the older one first.
func merge(to, newer, older []byte) ([]byte, error) {
	var n, o slot
	var err error
	for haveN, haveO := false, false; ; {
		if !haveN && len(newer) > 0 {
			if n, newer, err = nextSlot(newer); err != nil {
				return nil, err
			}
			haveN = true
		}
		if !haveO && len(older) > 0 {
			if o, older, err = nextSlot(older); err != nil {
				return nil, err
			}
			haveO = true
		}
		switch {
		case !haveN && !haveO:
			return to, nil
		case haveN && haveO && n.partition == o.partition:
			to = n.after(o).append(to)
			haveN, haveO = false, false
		case haveN && (!haveO || n.partition < o.partition):
			to = n.append(to)
			haveN = false
		default:
			to = o.append(to)
			haveO = false
		}
	}
}

// canonical returns the state that a change makes of nothing, in place: empty if
// nothing is left.
func canonical(change []byte) ([]byte, error) {
	state := change[:0]
	for len(change) > 0 {
		s, rest, err := nextSlot(change)
		if err != nil {
			return nil, err
		}
		change = rest
		s.flags &^= ends
		if s.flags != 0 {
			state = s.append(state) // never longer than what was read
		}
	}
	return state, nil
}
