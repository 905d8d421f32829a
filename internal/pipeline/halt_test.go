package pipeline

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A fetch fault ends when records come from where it was, and otherwise when it has not
// occurred again for a while.
func TestFetchFaultEnds(t *testing.T) {
	t.Parallel()
	records := make([]polledRecord, 1)
	failed := polledPartition{number: 3, err: errors.New("refused")}
	for name, test := range map[string]struct {
		of    int32
		batch []polledPartition
		ends  bool
	}{
		"records of its partition":           {2, []polledPartition{{number: 1, records: records}, {number: 2, records: records}}, true},
		"no records of its partition":        {2, []polledPartition{{number: 1, records: records}, {number: 2}}, false},
		"another error in the same poll":     {2, []polledPartition{{number: 2, records: records}, failed}, false},
		"of no partition, records of any":    {noPartition, []polledPartition{{number: 1, records: records}}, true},
		"of the group, records of a member":  {groupFault, []polledPartition{{number: 1, records: records}}, false},
		"of partition 0, records of another": {0, []polledPartition{{number: 1, records: records}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var f fetchFault
				f.set(test.of, "cause")
				f.clear(test.batch)
				if ended := f.current() == ""; ended != test.ends {
					t.Fatalf("ended: %t, want %t", ended, test.ends)
				}
				<-time.After(fetchFaultShown + time.Millisecond)
				if f.current() != "" {
					t.Error("shown for too long")
				}
			})
		})
	}
}
