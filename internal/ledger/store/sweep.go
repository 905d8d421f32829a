package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// How much Sweep does in one step: the keys that it reads before it lets go of the tables
// that it reads from, and those that it removes while nothing else is written.
const (
	sweepReads   = 100_000
	sweepRemoves = 500
)

// Sweep removes the decisions that were made before a time, and their index entries, and
// returns how many decisions it removed. It does not block readers, and writers only
// briefly. After an error what was removed stays removed.
func (s *Store) Sweep(ctx context.Context, before time.Time) (removed int, err error) {
	ms := before.UnixMilli()
	removed, err = s.sweep(ctx, decisionPrefix, func(row []byte) (bool, error) {
		d, err := readDecision(row)
		return d.At < ms, err
	})
	if err == nil {
		_, err = s.sweep(ctx, referencePrefix, func(value []byte) (bool, error) {
			if len(value) != 2 {
				return false, fmt.Errorf("%w: an index entry", errDamaged)
			}
			return binary.BigEndian.Uint16(value) < period(ms), nil
		})
	}
	return removed, s.damage(err)
}

// sweep removes the keys with a prefix whose values are old.
func (s *Store) sweep(ctx context.Context, prefix byte, isOld func(value []byte) (bool, error)) (removed int, err error) {
	opts := bounds(prefix)
	for opts.LowerBound != nil && err == nil {
		var old [][]byte
		if old, opts.LowerBound, err = s.old(ctx, opts, isOld); err == nil {
			var n int
			n, err = s.remove(old, isOld)
			removed += n
		}
	}
	return removed, err
}

// errEnough ends a step.
var errEnough = errors.New("enough for one step")

// old returns the next keys whose values are old, and where to continue; nil: there are no
// more.
func (s *Store) old(
	ctx context.Context, opts *pebble.IterOptions, isOld func(value []byte) (bool, error),
) (old [][]byte, next []byte, err error) {
	reads := 0
	err = s.each(ctx, opts, func(key, value []byte) error {
		if reads == sweepReads || len(old) == sweepRemoves {
			next = slices.Clone(key)
			return errEnough
		}
		reads++
		is, err := isOld(value)
		if is {
			old = append(old, slices.Clone(key))
		}
		return err
	})
	if errors.Is(err, errEnough) {
		err = ctx.Err()
	}
	return old, next, err
}

// remove removes the keys whose values are still old.
func (s *Store) remove(keys [][]byte, isOld func([]byte) (bool, error)) (removed int, err error) {
	if len(keys) == 0 {
		return 0, nil
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	batch := s.db.NewBatch()
	defer batch.Close() //nolint:errcheck // it only releases memory
	for _, key := range keys {
		value, closer, err := s.db.Get(key)
		if errors.Is(err, pebble.ErrNotFound) {
			continue
		}
		if err != nil {
			return 0, err
		}
		is, err := isOld(value)
		if err = errors.Join(err, closer.Close()); err != nil {
			return 0, err
		}
		if is {
			removed++
			err = batch.Delete(key, nil)
		}
		if err != nil {
			return 0, err
		}
	}
	return removed, batch.Commit(pebble.NoSync)
}
