package pipeline

import (
	"testing"
	"time"
)

// TestBehindWaiting: only a head that waits for its time makes those that come behind
// it give up the lane of their record key, and all that stands behind it is counted.
func TestBehindWaiting(t *testing.T) {
	t.Parallel()
	l := newLanes()
	lanes := func(order, key string) []laneKey { return []laneKey{{laneOrder, order}, {laneRecordKey, key}} }
	first, other, second := &item{lanes: lanes("o1", "k")}, &item{lanes: lanes("o2", "k")}, &item{lanes: lanes("o1", "k")}
	if !l.enter(first) || l.enter(other) || l.enter(second) {
		t.Fatal("one of a record key may go, the first")
	}
	if l.behindWaiting(&item{lanes: lanes("o1", "k")}) {
		t.Error("nothing waits for its time")
	}
	first.until = time.Now()
	if free := l.yieldKey(first); len(free) != 1 || free[0] != other {
		t.Errorf("%d items may go when the first gives up the record key, want the other order", len(free))
	}
	if behind := l.behind(first); len(behind) != 1 || behind[0] != second {
		t.Errorf("%d items stand behind the first, want one", len(behind))
	}
	if !l.behindWaiting(&item{lanes: lanes("o1", "j")}) || l.behindWaiting(&item{lanes: lanes("o2", "k")}) {
		t.Error("what comes for the order of the first stands behind it, and nothing else")
	}
	l.leave(other)
	if free := l.yieldKey(second); len(free) != 0 || second.blockedBy != 1 {
		t.Errorf("the second is freed, or waits for %d lanes, want its order", second.blockedBy)
	}
	if free := l.leave(first); len(free) != 1 || free[0] != second {
		t.Error("the second may not go after the first")
	}
}
