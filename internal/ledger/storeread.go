package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"payment-capture/internal/event"
)

// The keys of the store. The first byte is the kind of the rest.
const (
	eventPrefix     = 'e' // and the event id: its state
	referencePrefix = 'r' // and the external reference, a zero byte, and the event id: nothing
	positionPrefix  = 'p' // and the partition in four bytes: the next offset to read
)

// tagsKey is the key of the tags, before all others.
const tagsKey = "\x00tags"

func eventKey(to []byte, id string) []byte { return append(append(to, eventPrefix), id...) }

// referenceKey is the key of an event under a reference that was attempted,
// or ended with a payment; with no id, what all of the reference begin with. It
// stays when the attempt is withdrawn: a reader looks the event up.
func referenceKey[T string | []byte](to []byte, reference, id T) []byte {
	to = append(append(to, referencePrefix), reference...)
	return append(append(to, 0), id...)
}

func positionKey(partition int32) []byte {
	return binary.BigEndian.AppendUint32([]byte{positionPrefix}, uint32(partition)) //nolint:gosec // G115: no partition is negative
}

// position is the next offset to read of a partition.
type position struct {
	next  int64 // the offset
	epoch int32 // the leader epoch of the record before it; -1: not known
}

func (p position) append(to []byte) []byte {
	return binary.AppendVarint(binary.AppendVarint(to, p.next), int64(p.epoch))
}

// positions returns where reading continues in each partition; a partition that was
// never read has none.
func (s *store) positions() (map[int32]position, error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{positionPrefix}, UpperBound: []byte{positionPrefix + 1}})
	if err != nil {
		return nil, err
	}
	found := make(map[int32]position)
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var value []byte
		if value, err = it.ValueAndErr(); err != nil {
			break
		}
		r := reader{rest: value}
		p := position{next: r.varint(), epoch: int32(r.varint())} //nolint:gosec // G115: append wrote it
		if key := it.Key(); r.failed || len(key) != 5 {
			err = fmt.Errorf("%w: a position", errState)
		} else {
			found[int32(binary.BigEndian.Uint32(key[1:]))] = p //nolint:gosec // G115: positionKey wrote it
		}
	}
	return found, errors.Join(err, it.Error(), it.Close())
}

// get calls a function with each slot of an event. They are
// good until it returns.
func (s *store) get(id string, use func(slot) error) error {
	var room [72]byte // more than an event id needs
	state, closer, err := s.db.Get(eventKey(room[:0], id))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(eachSlot(state, use), closer.Close())
}

func eachSlot(state []byte, use func(slot) error) error {
	for len(state) > 0 {
		s, rest, err := nextSlot(state)
		if err == nil {
			err = use(s)
		}
		if err != nil {
			return err
		}
		state = rest
	}
	return nil
}

// underReference returns the ids of the events that were ever tried, or ended with
// a payment, under a reference.
func (s *store) underReference(reference string) (ids []string, err error) {
	lower := referenceKey(nil, reference, "")
	upper := append([]byte(nil), lower...)
	upper[len(upper)-1] = 1
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, err
	}
	for ok := it.First(); ok; ok = it.Next() {
		ids = append(ids, string(it.Key()[len(lower):]))
	}
	return ids, errors.Join(it.Error(), it.Close())
}

// all calls use with the history of every event, in the order of the ids, until use
// returns an error.
func (s *store) all(ctx context.Context, use func(id string, h event.History) error) error {
	it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: []byte{eventPrefix}, UpperBound: []byte{eventPrefix + 1}})
	if err != nil {
		return err
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		if err = ctx.Err(); err != nil {
			break
		}
		id := string(it.Key()[1:])
		var known historyBuilder
		var state []byte
		if state, err = it.ValueAndErr(); err != nil {
			break
		}
		if err = eachSlot(state, known.addShared); err != nil {
			break
		}
		var h event.History
		if h, err = known.history(id); err == nil && h != (event.History{}) {
			err = use(id, h)
		}
	}
	return errors.Join(err, it.Error(), it.Close())
}
