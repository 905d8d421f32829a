package store

import (
	"errors"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// parked returns the ids of the parked events, and how many keys the index has after that.
func parked(t *testing.T, s *Store) (ids []string, keys int) {
	t.Helper()
	if err := s.Parked(t.Context(), func(id string, d Decision) error {
		if d.Rank != Parked {
			t.Errorf("%s has the rank %d", id, d.Rank)
		}
		ids = append(ids, id)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.each(t.Context(), bounds(parkedPrefix), func([]byte, []byte) error { keys++; return nil }); err != nil {
		t.Fatal(err)
	}
	slices.Sort(ids)
	return ids, keys
}

func TestParked(t *testing.T) {
	s := openForTest(t, configForTest(vfs.NewMem(), "dir"))
	defer closeForTest(t, s)
	b := s.NewBatch()
	put := func(id string, rank Rank) { b.PutDecision(id, Index{Reference: "o1"}, Decision{Rank: rank, At: 1}) }
	for _, id := range []string{aUUID, "captured later", "deleted", "parked again"} {
		put(id, Parked)
	}
	put("captured", Captured)
	put("captured first", Captured)
	put("captured first", Parked)
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	put("captured later", Captured)
	put("parked again", Parked)
	b.DeleteDecision("deleted")
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	want := []string{aUUID, "parked again"}
	if got, keys := parked(t, s); !slices.Equal(got, want) || keys != len(want) {
		t.Errorf("parked %q with %d keys, want %q", got, keys, want)
	}
	enough := errors.New("enough")
	calls := 0
	if err := s.Parked(t.Context(), func(string, Decision) error { calls++; return enough }); !errors.Is(err, enough) || calls != 1 {
		t.Errorf("after an error: %d calls, %v", calls, err)
	}
}
