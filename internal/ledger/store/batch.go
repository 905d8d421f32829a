package store

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Batch collects changes that Commit writes at once. It is used by one goroutine, and can
// be used again after Commit or Reset. It copies what it is given.
type Batch struct {
	s         *Store
	batch     *pebble.Batch     // nil: nothing was added since the last Commit or Reset
	attempts  map[string][]byte // by key, the last change of each; nil: deleted
	positions map[int32]Position
	key       []byte
	value     []byte
	err       error // the first one
}

// NewBatch returns an empty batch.
func (s *Store) NewBatch() *Batch {
	return &Batch{s: s, attempts: make(map[string][]byte), positions: make(map[int32]Position)}
}

// PutAttempt adds an open attempt, or replaces the one of the same event and owner. Of the
// changes of an attempt in one batch, only the last is written.
func (b *Batch) PutAttempt(a Attempt) {
	b.key = attemptKey(b.key[:0], a.ID, a.Owner)
	b.attempts[string(b.key)] = a.append(nil)
}

// DeleteAttempt removes an attempt, if it is there.
func (b *Batch) DeleteAttempt(id, owner string) {
	b.key = attemptKey(b.key[:0], id, owner)
	b.attempts[string(b.key)] = nil
}

// PutDecision adds a decision on an event, which counts if it supersedes those that were
// added before. With a reference the event is indexed under it.
func (b *Batch) PutDecision(id string, under Index, d Decision) {
	b.key = decisionKey(b.key[:0], id)
	b.value = d.append(b.value[:0])
	b.did(b.pebble().Merge(b.key, b.value, nil))
	if d.Rank == Parked {
		b.key = parkedKey(b.key[:0], id)
		b.did(b.pebble().Set(b.key, nil, nil))
	}
	if under.Reference == "" {
		return
	}
	b.key = indexKey(b.key[:0], under, id)
	b.did(b.pebble().Set(b.key, nil, nil))
}

// DeleteDecision removes the decision on an event, if there is one. Its index entry stays:
// see [Store.Under].
func (b *Batch) DeleteDecision(id string) {
	b.key = decisionKey(b.key[:0], id)
	b.did(b.pebble().Delete(b.key, nil))
}

func (b *Batch) deleteIndex(id string, under Index) {
	if under.Reference != "" {
		b.key = indexKey(b.key[:0], under, id)
		b.did(b.pebble().Delete(b.key, nil))
	}
}

// SetPosition records how far a partition was read, with this batch.
func (b *Batch) SetPosition(partition int32, p Position) { b.positions[partition] = p }

// Commit writes the batch and empties it.
func (b *Batch) Commit() error {
	b.s.writing.Lock()
	defer b.s.writing.Unlock()
	return b.commitLocked()
}

// commitLocked is Commit with the store's writing held.
func (b *Batch) commitLocked() error {
	defer b.Reset()
	for key, value := range b.attempts {
		b.key = append(b.key[:0], key...)
		if value == nil {
			b.did(b.pebble().Delete(b.key, nil))
		} else {
			b.did(b.pebble().Set(b.key, value, nil))
		}
	}
	for partition, p := range b.positions {
		b.did(b.pebble().Set(positionKey(partition), p.append(nil), nil))
	}
	if b.err == nil && b.batch != nil {
		b.err = b.batch.Commit(pebble.NoSync)
	}
	if b.err != nil {
		return fmt.Errorf("write to the ledger's local store: %w", b.err)
	}
	return nil
}

// Reset empties the batch.
func (b *Batch) Reset() {
	if b.batch != nil {
		_ = b.batch.Close() // it only releases memory
	}
	b.batch, b.err = nil, nil
	clear(b.attempts)
	clear(b.positions)
}

func (b *Batch) pebble() *pebble.Batch {
	if b.batch == nil {
		b.batch = b.s.db.NewBatch()
	}
	return b.batch
}

func (b *Batch) did(err error) {
	if b.err == nil {
		b.err = err
	}
}
