package ledger

import (
	"bytes"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// entry is one record of the topic.
type entry struct {
	partition  int32
	offset     int64
	key, value []byte // value nil: a tombstone
}

// writer writes the records that were read into the store. It is used by one goroutine,
// and reuses its memory for the next batch.
type writer struct {
	s     *store
	batch *pebble.Batch
	rows  []row
	byID  map[string]int // the last row of an event
	key   []byte
	value []byte

	entries []entry // for the caller: what is to be looked at after the commit
}

// row is a change of one event. An attempt, its tombstone and its decision are
// often read together, and cost one write then.
type row struct {
	id        []byte
	slot      slot
	reference []byte // under which it is to be found; empty: none
}

func (s *store) newWriter() *writer { return &writer{s: s, byID: make(map[string]int)} }

// begin begins a batch. The caller must not change the entries that it adds until the
// batch is written.
func (w *writer) begin() {
	w.batch = w.s.db.NewBatch()
	clear(w.byID)
	clear(w.rows) // they hold on to what was read
	w.rows = w.rows[:0]
	clear(w.entries)
	w.entries = w.entries[:0]
}

// add puts an entry into the batch. The error is [ErrUnreadable], or the
// store's.
func (w *writer) add(e entry) error {
	kind, _, err := ParseKey(e.key)
	if err != nil {
		return err
	}
	id := e.key[2:]
	var change slot
	var reference []byte
	switch {
	case kind == KindAttempt && e.value == nil:
		change = attemptGone(e.partition)
	case kind == KindAttempt:
		if reference, err = readAttempt(e.value); err != nil {
			return err
		}
		change = attempted(e.partition, e.value)
	case e.value == nil:
		change = decisionGone(e.partition)
	default:
		var v decisionValue
		if v, reference, err = readDecisionValue(id, e.value); err != nil {
			return err
		}
		change = decided(e.partition, v)
	}
	w.change(row{id: id, slot: change, reference: reference})
	return nil
}

func (w *writer) change(next row) {
	at, ok := w.byID[string(next.id)]
	if !ok || !w.rows[at].merge(&next) {
		w.byID[string(next.id)] = len(w.rows)
		w.rows = append(w.rows, next)
	}
}

// merge adds the event's next change to a row, if one row can hold both.
func (r *row) merge(next *row) bool {
	if r.slot.partition != next.slot.partition || (len(r.reference) > 0 && len(next.reference) > 0 &&
		!bytes.Equal(r.reference, next.reference)) {
		return false
	}
	r.slot = next.slot.after(r.slot)
	if len(next.reference) > 0 {
		r.reference = next.reference
	}
	return true
}

// commit writes the batch together with the next offsets to read.
func (w *writer) commit(read map[int32]position) error {
	for _, r := range w.rows {
		w.key = append(append(w.key[:0], eventPrefix), r.id...)
		w.value = r.slot.append(w.value[:0])
		if err := w.batch.Merge(w.key, w.value, nil); err != nil {
			return err
		}
		if len(r.reference) == 0 {
			continue
		}
		w.key = referenceKey(w.key[:0], r.reference, r.id)
		if err := w.batch.Set(w.key, nil, nil); err != nil {
			return err
		}
	}
	for partition, p := range read {
		if err := w.batch.Set(positionKey(partition), p.append(nil), nil); err != nil {
			return err
		}
	}
	if err := w.batch.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("write to the ledger's local store: %w", err)
	}
	w.batch = nil
	return nil
}

// drop releases the batch.
func (w *writer) drop() {
	if w.batch != nil {
		_ = w.batch.Close() // nothing is written
		w.batch = nil
	}
}
