package ledger

import (
	"io"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// newMerger returns a merger that applies [merge]. Its name changes with the
// form of the slots.
func newMerger() *pebble.Merger {
	return &pebble.Merger{
		Name: "payment-capture.ledger.1",
		Merge: func(_, value []byte) (pebble.ValueMerger, error) {
			return &merging{change: slices.Clone(value)}, nil
		},
	}
}

// merging is the changes of one event that were merged so far.
type merging struct{ change, spare []byte }

// MergeNewer implements [pebble.ValueMerger].
func (m *merging) MergeNewer(value []byte) error { return m.merge(value, m.change) }

// MergeOlder implements [pebble.ValueMerger].
func (m *merging) MergeOlder(value []byte) error { return m.merge(m.change, value) }

func (m *merging) merge(newer, older []byte) error {
	merged, err := merge(m.spare[:0], newer, older)
	if err != nil {
		return err
	}
	m.change, m.spare = merged, m.change
	return nil
}

// Finish implements [pebble.ValueMerger]. It makes a state of the changes when
// there is nothing older. Of an event whose attempt was withdrawn an empty state
// stays: Pebble v2.1.7 panics in a compaction when a merger lets a key go that
// has a state below (its compaction iterator goes on as if nothing was skipped).
func (m *merging) Finish(includesBase bool) ([]byte, io.Closer, error) {
	if !includesBase {
		return m.change, nil, nil
	}
	state, err := canonical(m.change)
	return state, nil, err
}
