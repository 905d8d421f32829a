package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"
)

// Decision is the decision on an event: an opaque value, and what decisions on one event
// are compared by.
type Decision struct {
	Rank  Rank
	At    int64 // Unix milliseconds
	Value []byte
}

// Rank orders decisions on an event: the higher one is the event's.
type Rank uint8

// The ranks.
const (
	Parked Rank = 1 + iota
	Rejected
	Captured
)

// Supersedes reports whether a decision wins over another one, or is the same.
// Captured wins over rejected, and rejected over parked. Of two outcomes the earlier one
// wins, because it was published first; of two parked decisions the later one, because
// that is what an operator sees.
func (d Decision) Supersedes(other Decision) bool {
	switch {
	case d.Rank != other.Rank:
		return d.Rank > other.Rank
	case d.At != other.At:
		return (d.At > other.At) == (d.Rank == Parked)
	}
	// Two of one millisecond: either will do, but the same one everywhere.
	return bytes.Compare(d.Value, other.Value) >= 0
}

// errDamaged reports that the store holds a value that this code did not write.
var errDamaged = errors.New("the local store holds what cannot be read")

// append writes the decision. The time has the encoding that it also has in a Protobuf
// value, so compression finds it there.
func (d Decision) append(to []byte) []byte {
	to = append(to, byte(d.Rank))
	to = binary.AppendUvarint(to, uint64(d.At)) //nolint:gosec // G115: readDecision converts it back
	return append(to, d.Value...)
}

// readDecision reads a decision. Its value points into row.
func readDecision(row []byte) (Decision, error) {
	if len(row) > 0 && row[0] >= byte(Parked) && row[0] <= byte(Captured) {
		if at, n := binary.Uvarint(row[1:]); n > 0 {
			return Decision{Rank: Rank(row[0]), At: int64(at), Value: row[1+n:]}, nil //nolint:gosec // G115: append converted it
		}
	}
	return Decision{}, fmt.Errorf("%w: a decision of %d bytes", errDamaged, len(row))
}

// newMerger returns a merger that keeps the decision that supersedes the others. The
// result depends neither on their order nor on repetitions, so the partitions of the
// topic can be read in any order, and a part of one again.
func newMerger() *pebble.Merger {
	return &pebble.Merger{
		Name: "payment-capture.ledger.2",
		Merge: func(_, row []byte) (pebble.ValueMerger, error) {
			return &merging{best: bytes.Clone(row)}, nil
		},
	}
}

// merging is the best of the decisions on an event that were merged so far.
type merging struct{ best []byte }

// MergeNewer implements [pebble.ValueMerger].
func (m *merging) MergeNewer(row []byte) error {
	best, err := readDecision(m.best)
	if err != nil {
		return err
	}
	d, err := readDecision(row)
	if err == nil && d.Supersedes(best) {
		m.best = append(m.best[:0], row...)
	}
	return err
}

// MergeOlder implements [pebble.ValueMerger].
func (m *merging) MergeOlder(row []byte) error { return m.MergeNewer(row) }

// Finish implements [pebble.ValueMerger].
func (m *merging) Finish(bool) ([]byte, io.Closer, error) { return m.best, nil, nil }
