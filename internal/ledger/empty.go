package ledger

import (
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"
)

// Empty reports whether nothing was ever attempted or decided. A withdrawn
// attempt counts as one. It waits as [Ledger.Lookup] does.
func (l *Ledger) Empty(ctx context.Context) (bool, error) {
	return withStore(ctx, l, (*store).empty)
}

func (s *store) empty() (bool, error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{eventPrefix}, UpperBound: []byte{eventPrefix + 1}})
	if err != nil {
		return false, err
	}
	empty := !it.First()
	return empty, errors.Join(it.Error(), it.Close())
}
