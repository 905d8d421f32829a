package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// How much Sweep does in one step: the decisions that it reads before it lets go of the
// tables that it reads from, and those that it removes while nothing else is written.
const (
	sweepReads   = 100_000
	sweepRemoves = 500
)

// Sweep removes the decisions that were made before a time, with their index entries, and
// returns how many it removed. The function returns what a decision was indexed
// under. Sweep does not block readers, and writers only briefly. After an
// error what was removed stays removed.
func (s *Store) Sweep(
	ctx context.Context, before time.Time, indexOf func(id string, d Decision) (Index, error),
) (removed int, err error) {
	opts := bounds(decisionPrefix)
	for opts.LowerBound != nil && err == nil {
		var old [][]byte
		if old, opts.LowerBound, err = s.old(ctx, opts, before.UnixMilli()); err == nil {
			var n int
			n, err = s.remove(old, before.UnixMilli(), indexOf)
			removed += n
		}
	}
	return removed, err
}

// SweepAttempts removes the open attempts that were written before a time, and returns them.
func (s *Store) SweepAttempts(before time.Time) (removed []Attempt, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	all, err := s.Attempts()
	if err != nil {
		return nil, err
	}
	b := s.NewBatch()
	for _, a := range all {
		if a.Written.Before(before) {
			removed = append(removed, a)
			b.DeleteAttempt(a.ID, a.Owner)
		}
	}
	return removed, b.commitLocked()
}

// errEnough ends a step.
var errEnough = errors.New("enough for one step")

// old returns the keys of the next decisions that are old, and where to continue; nil:
// there are no more.
func (s *Store) old(ctx context.Context, opts *pebble.IterOptions, before int64) (old [][]byte, next []byte, err error) {
	reads := 0
	err = s.each(ctx, opts, func(key, row []byte) error {
		if reads == sweepReads || len(old) == sweepRemoves {
			next = slices.Clone(key)
			return errEnough
		}
		reads++
		d, err := readDecision(row)
		if d.At < before {
			old = append(old, slices.Clone(key))
		}
		return err
	})
	if errors.Is(err, errEnough) {
		err = ctx.Err()
	}
	return old, next, s.damage(err)
}

// remove removes the decisions that are still old.
func (s *Store) remove(
	keys [][]byte, before int64, indexOf func(id string, d Decision) (Index, error),
) (removed int, err error) {
	if len(keys) == 0 {
		return 0, nil
	}
	b := s.NewBatch()
	defer b.Reset()
	s.writing.Lock()
	defer s.writing.Unlock()
	for _, key := range keys {
		id, err := readID(key[1:])
		if err != nil {
			return 0, s.damage(err)
		}
		d, found, err := s.Decision(id)
		if err != nil {
			return 0, err
		}
		if !found || d.At >= before {
			continue
		}
		under, err := indexOf(id, d)
		if err != nil {
			return 0, err
		}
		b.DeleteDecision(id)
		b.deleteIndex(id, under)
		removed++
	}
	return removed, b.commitLocked()
}
