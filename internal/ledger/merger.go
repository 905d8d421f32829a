package ledger

import (
	"io"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// newMerger makes the store merge changes by [merge]. Its name changes with the
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

// Finish implements [pebble.ValueMerger].
func (m *merging) Finish(includesBase bool) ([]byte, io.Closer, error) {
	value, _, closer, err := m.DeletableFinish(includesBase)
	return value, closer, err
}

// DeletableFinish makes a state of the changes when there is nothing older, and
// lets an event go of which nothing is left: its attempt was withdrawn.
func (m *merging) DeletableFinish(includesBase bool) (value []byte, gone bool, closer io.Closer, err error) {
	if includesBase {
		if m.change, err = settle(m.change); err != nil {
			return nil, false, nil, err
		}
	}
	return m.change, includesBase && len(m.change) == 0, nil, nil
}
