package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Position states how far a partition was read.
type Position struct {
	Next  int64 // the offset after the last record that was read
	Epoch int32 // the leader epoch of that record; -1: not known
	// From is where reading continues: the start of the earliest transaction that was open,
	// or Next.
	From    int64
	Written time.Time // of that record, in milliseconds; what comes after it is younger
}

func (p Position) append(to []byte) []byte {
	for _, n := range [...]int64{p.Next, int64(p.Epoch), p.From, p.Written.UnixMilli()} {
		to = binary.AppendVarint(to, n)
	}
	return to
}

func readPosition(value []byte) (Position, error) {
	var ns [4]int64
	for i := range ns {
		v, n := binary.Varint(value)
		if n <= 0 {
			return Position{}, fmt.Errorf("%w: a position", errDamaged)
		}
		ns[i], value = v, value[n:]
	}
	return Position{Next: ns[0], Epoch: int32(ns[1]), From: ns[2], Written: time.UnixMilli(ns[3])}, nil //nolint:gosec // G115: append wrote it
}

// each calls a function with the keys and values in the range of an iterator. They are
// good until it returns.
func (s *Store) each(ctx context.Context, opts *pebble.IterOptions, use func(key, value []byte) error) error {
	it, err := s.db.NewIterWithContext(ctx, opts)
	if err != nil {
		return err
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var value []byte
		if value, err = it.ValueAndErr(); err == nil {
			err = use(it.Key(), value)
		}
	}
	return closed(it, err)
}

// closed closes an iterator, and returns its error unless there is another one.
func closed(it *pebble.Iterator, err error) error {
	if e := it.Close(); err == nil {
		return e
	}
	return err
}

// Positions returns how far each partition was read; a partition that was never read is
// missing.
func (s *Store) Positions() (map[int32]Position, error) {
	found := make(map[int32]Position)
	err := s.each(context.Background(), bounds(positionPrefix), func(key, value []byte) error {
		if len(key) != 5 {
			return fmt.Errorf("%w: a partition", errDamaged)
		}
		p, err := readPosition(value)
		found[int32(binary.BigEndian.Uint32(key[1:]))] = p //nolint:gosec // G115: positionKey wrote it
		return err
	})
	return found, s.damage(err)
}

// Attempt is an open attempt on an event.
type Attempt struct {
	ID, Owner string
	Partition int32
	Offset    int64
	Written   time.Time // in milliseconds
	Value     []byte
}

func (a Attempt) append(to []byte) []byte {
	for _, number := range [...]int64{int64(a.Partition), a.Offset, a.Written.UnixMilli()} {
		to = binary.AppendVarint(to, number)
	}
	return append(to, a.Value...)
}

func readAttempt(key, value []byte) (Attempt, error) {
	errAttempt := fmt.Errorf("%w: an attempt", errDamaged)
	length, n := binary.Uvarint(key[1:])
	if n <= 0 || length > uint64(len(key)-1-n) { //nolint:gosec // G115: n bytes were read after the first
		return Attempt{}, errAttempt
	}
	var numbers [3]int64
	for i := range numbers {
		number, m := binary.Varint(value)
		if m <= 0 {
			return Attempt{}, errAttempt
		}
		numbers[i], value = number, value[m:]
	}
	return Attempt{
		ID: string(key[1+n:][:length]), Owner: string(key[1+n:][length:]),
		Partition: int32(numbers[0]), //nolint:gosec // G115: append wrote it
		Offset:    numbers[1], Written: time.UnixMilli(numbers[2]), Value: slices.Clone(value),
	}, nil
}

// Attempts returns all open attempts.
func (s *Store) Attempts() (as []Attempt, err error) {
	err = s.each(context.Background(), bounds(attemptPrefix), func(key, value []byte) error {
		a, err := readAttempt(key, value)
		as = append(as, a)
		return err
	})
	return as, s.damage(err)
}

// Decision returns the decision on an event.
func (s *Store) Decision(id string) (d Decision, found bool, err error) {
	var room [72]byte // more than an event id needs
	row, closer, err := s.db.Get(decisionKey(room[:0], id))
	if errors.Is(err, pebble.ErrNotFound) {
		return Decision{}, false, nil
	}
	if err != nil {
		return Decision{}, false, s.damage(err)
	}
	d, err = readDecision(slices.Clone(row))
	return d, err == nil, s.damage(errors.Join(err, closer.Close()))
}

// Decisions calls a function with the decision on each event that has one, and the index
// of its id. One iterator visits the events in the order of the store, which costs a third
// of looking up each. The value is good until the function returns.
func (s *Store) Decisions(ids []string, use func(i int, d Decision) error) (err error) {
	if len(ids) == 0 {
		return nil
	}
	sorted := sortedLookups(ids, decisionKey)
	it, err := s.db.NewIter(bounds(decisionPrefix))
	if err != nil {
		return s.damage(err)
	}
	defer func() {
		if e := it.Close(); err == nil {
			err = s.damage(e)
		}
	}()
	for _, l := range sorted {
		if !it.SeekPrefixGE(l.key) {
			if err := it.Error(); err != nil {
				return s.damage(err)
			}
			continue // not decided
		}
		row, err := it.ValueAndErr()
		if err != nil {
			return s.damage(err)
		}
		d, err := readDecision(row)
		if err != nil {
			return s.damage(err)
		}
		if err := use(l.i, d); err != nil {
			return err
		}
	}
	return nil
}

// Index is what a decision is found under: an external reference, and what distinguishes
// the charges under it. A Charge of 0 is not known.
type Index struct {
	Reference string
	Charge    uint16
}

// Under calls a function with the id of each decided event that was indexed under one of
// the references, and with its charge if that is known on both sides. i is the number of
// the question. There may be others among them, because the index has hashes and keeps
// entries of decisions that were superseded: the caller compares the reference of each.
func (s *Store) Under(questions []Index, use func(i int, id string)) error {
	if len(questions) == 0 {
		return nil
	}
	sorted := sortedLookups(questions, appendIndex)
	it, err := s.db.NewIter(bounds(referencePrefix))
	if err != nil {
		return s.damage(err)
	}
	for _, l := range sorted {
		if err = cmp.Or(underOne(it, l, questions[l.i].Charge, use), it.Error()); err != nil {
			break
		}
	}
	return s.damage(closed(it, err))
}

// underOne calls a function with the ids of one question. Entries without a charge come first.
func underOne(it *pebble.Iterator, l lookup, charge uint16, use func(i int, id string)) error {
	for ok := it.SeekPrefixGE(l.key[:1+hashBytes]); ok; {
		of, id, err := readIndexed(it.Key())
		switch {
		case err != nil:
			return err
		case charge == 0 || of == 0 || of == charge:
			use(l.i, id)
			ok = it.Next()
		case of < charge:
			ok = it.SeekPrefixGE(l.key)
		default:
			return nil
		}
	}
	return nil
}

// lookup is a key to look up, for the i-th of the values asked for.
type lookup struct {
	key []byte
	i   int
}

// sortedLookups returns the keys of values in the order of the store.
func sortedLookups[T any](values []T, appendKey func(to []byte, value T) []byte) []lookup {
	sorted := make([]lookup, len(values))
	room := make([]byte, 0, 20*len(values))
	for i, v := range values {
		n := len(room)
		room = appendKey(room, v)
		sorted[i] = lookup{key: room[n:len(room):len(room)], i: i}
	}
	slices.SortFunc(sorted, func(a, b lookup) int { return bytes.Compare(a.key, b.key) })
	return sorted
}

// All calls a function with every decision, in no particular order, until the function
// returns an error. The value is good until the function returns.
func (s *Store) All(ctx context.Context, use func(id string, d Decision) error) error {
	var ended error
	err := s.each(ctx, bounds(decisionPrefix), func(key, row []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		id, err := readID(key[1:])
		if err != nil {
			return err
		}
		d, err := readDecision(row)
		if err != nil {
			return err
		}
		ended = use(id, d)
		return ended
	})
	if ended != nil {
		return ended
	}
	return s.damage(err)
}

// Parked calls a function with the decision on each event that is parked, until the
// function returns an error. At the end it forgets the events that were parked and have
// another decision now. The value is good until the function returns.
func (s *Store) Parked(ctx context.Context, use func(id string, d Decision) error) error {
	var decided [][]byte
	var ended error
	err := s.each(ctx, bounds(parkedPrefix), func(key, _ []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		id, d, err := s.parkedUnder(key)
		switch {
		case err != nil:
			return err
		case d == nil:
			decided = append(decided, slices.Clone(key))
			return nil
		}
		ended = use(id, *d)
		return ended
	})
	switch {
	case ended != nil:
		return ended
	case err != nil:
		return s.damage(err)
	}
	return s.forgetParked(decided)
}

// parkedUnder returns the event of a key of the index of parked events, and its decision;
// nil: it is not parked any more.
func (s *Store) parkedUnder(key []byte) (id string, _ *Decision, err error) {
	if id, err = readID(key[1:]); err != nil {
		return "", nil, err
	}
	d, found, err := s.Decision(id)
	if err != nil || !found || d.Rank != Parked {
		return id, nil, err
	}
	return id, &d, nil
}

// forgetParked removes keys from the index of parked events whose events are not parked.
func (s *Store) forgetParked(keys [][]byte) error {
	if len(keys) == 0 {
		return nil
	}
	b := s.NewBatch()
	defer b.Reset()
	s.writing.Lock()
	defer s.writing.Unlock()
	for _, key := range keys {
		_, d, err := s.parkedUnder(key)
		if err != nil {
			return err
		}
		if d == nil {
			b.did(b.pebble().Delete(key, nil))
		}
	}
	return b.commitLocked()
}
