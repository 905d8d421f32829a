//go:build !race

package ledger

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"payment-capture/internal/event"
)

// What the ledger may allocate for one event, by count and not by time: the race
// detector's own allocations would be counted too, so these run without it (make
// test does).

// TestAllocationsOfAGlimpse: an event that is not known costs next to nothing, one
// that was decided no more than its outcome takes.
func TestAllocationsOfAGlimpse(t *testing.T) { //nolint:paralleltest // AllocsPerRun counts those of the whole process
	const events = 1000
	s, err := openStore(t.Context(), storeConfigForTest(vfs.NewMem(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	value, err := EncodeDecision(decisionsForTest(t)["captured"])
	if err != nil {
		t.Fatal(err)
	}
	var es []entry
	for i := range events {
		es = append(es, entry{offset: int64(i), key: KindDecision.Key(fmt.Sprintf("e%d", i)), value: value})
	}
	put(t, s, es...)
	for _, tt := range []struct {
		prefix string
		most   float64 // for each event
	}{{"absent", .1}, {"e", 6.1}} {
		ids, order, seen := make([]string, events), make([]int, events), make([]event.Snapshot, events)
		for i := range ids {
			ids[i] = fmt.Sprintf("%s%d", tt.prefix, i)
		}
		if n := testing.AllocsPerRun(20, func() {
			for i := range ids {
				order[i], seen[i] = i, event.Snapshot{Version: 1}
			}
			if err := s.snapshots(ids, order, seen); err != nil {
				t.Fatal(err)
			}
		}) / events; n > tt.most {
			t.Errorf("the snapshot of %q allocates %.2f times for each event, more than %v", tt.prefix, n, tt.most)
		}
	}
}

// TestAllocationsOfEntries: an attempt and a decision, as they are written.
func TestAllocationsOfEntries(t *testing.T) { //nolint:paralleltest // as above
	l := &Ledger{conf: Config{Topic: "ledger"}, partitions: 3}
	d := decisionsForTest(t)["captured"]
	const most = 12
	if n := testing.AllocsPerRun(500, func() {
		EncodeAttempt(d.Attempt)
		if _, err := l.Records(4, "e1", d); err != nil {
			t.Fatal(err)
		}
	}); n > most {
		t.Errorf("an attempt and a decision allocate %v times, more than %d", n, most)
	}
}
