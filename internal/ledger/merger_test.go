package ledger

import (
	"context"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestWithdrawnIsCompacted: an attempt that was compacted, and its withdrawal, are compacted.
func TestWithdrawnIsCompacted(t *testing.T) {
	db, err := pebble.Open("db", &pebble.Options{
		FS: vfs.NewMem(), Merger: newMerger(), FormatMajorVersion: pebble.FormatNewest,
		DisableWAL: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	write := func(id string, change slot) {
		must(db.Merge(eventKey(nil, id), change.append(nil), pebble.NoSync))
	}
	compact := func() {
		must(db.Flush())
		must(db.Compact(context.Background(), []byte("a"), []byte("z"), false))
	}
	// Tables that overlap, so that they are merged, not moved.
	write("a", attempted(0, []byte("x")))
	write("c", attempted(0, []byte("x")))
	must(db.Flush())
	write("b", attempted(0, []byte("x")))
	write("c", attempted(0, []byte("x")))
	compact()
	write("a", attempted(0, []byte("y")))
	write("b", attemptGone(0))
	write("c", attempted(0, []byte("y")))
	compact()
	v, closer, err := db.Get(eventKey(nil, "b"))
	if err == nil {
		t.Logf("state %x", v)
		if len(v) > 0 {
			t.Error("the withdrawn attempt is there again")
		}
		closer.Close()
	} else if !errors.Is(err, pebble.ErrNotFound) {
		t.Fatal(err)
	}
}
