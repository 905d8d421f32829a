package pipeline

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
)

// modelLanes is the rule in its simplest form: of all that have entered and not
// left, one may go when nobody who entered before shares a lane with it.
type modelLanes []*item

func (m modelLanes) mayGo(it *item) bool {
	for _, before := range m {
		if before == it {
			return true
		}
		for _, key := range before.lanes {
			if slices.Contains(it.lanes, key) {
				return false
			}
		}
	}
	return false
}

func TestLanesAgainstModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		r := seeded(seed)
		l := newLanes()
		var model modelLanes
		going := make(map[*item]bool)
		orders, dropping := 1+r.IntN(8), r.Float64()*0.4
		started := make(map[int64]bool)
		begin := func(it *item) {
			if going[it] || started[it.offset] {
				t.Fatalf("seed %d: item %d goes twice", seed, it.offset)
			}
			going[it], started[it.offset] = true, true
		}
		leave := func(it *item) {
			delete(going, it)
			free := l.leave(it)
			model = slices.DeleteFunc(model, func(e *item) bool { return e == it })
			for _, f := range free {
				begin(f)
			}
		}
		for n := int64(0); n < 400 || len(model) > 0; n++ {
			enter := n < 400 && r.IntN(3) > 0
			switch {
			case enter:
				it := &item{offset: n, lanes: []laneKey{
					{laneOrder, fmt.Sprint(r.IntN(orders))}, {laneEvent, fmt.Sprint(r.IntN(3 * orders))},
				}}
				if r.IntN(2) == 0 {
					it.lanes = append(it.lanes, laneKey{laneRecordKey, fmt.Sprint(r.IntN(orders))})
				}
				model = append(model, it)
				if l.enter(it) {
					begin(it)
				}
			case len(model) == 0:
			case r.IntN(8) == 0: // its order waits: it gives up the lane of its record key
				for _, f := range l.yieldKey(model[r.IntN(len(model))]) {
					begin(f)
				}
			case r.Float64() < dropping:
				leave(model[r.IntN(len(model))])
			default:
				for it := range going {
					leave(it)
					break
				}
			}
			for _, it := range model {
				if going[it] != model.mayGo(it) {
					t.Fatalf("seed %d, step %d: item %d goes: %v, want %v", seed, n, it.offset, going[it], model.mayGo(it))
				}
			}
		}
		if len(l.byKey) != 0 {
			t.Fatalf("seed %d: %d lanes are kept when all have left", seed, len(l.byKey))
		}
	}
}

func TestLanesOf(t *testing.T) {
	t.Parallel()
	e := &event.ReadyToCapture{ID: "e", OrderID: "o", ExternalReference: "o"}
	order, id := laneKey{laneOrder, "o"}, laneKey{laneEvent, "e"}
	tests := []struct {
		name string
		key  []byte
		want []laneKey
	}{
		{"no key", nil, []laneKey{order, id}},
		{"the order's", []byte("o"), []laneKey{order, id}},
		{"another", []byte("k"), []laneKey{order, id, {laneRecordKey, "k"}}},
		{"the event's name is not the event's lane", []byte("e"), []laneKey{order, id, {laneRecordKey, "e"}}},
	}
	shared := &event.ReadyToCapture{ID: "e", OrderID: "o", ExternalReference: "r"}
	if got, want := lanesOf(polledRecord{record: &kgo.Record{}, event: shared}), []laneKey{order, id, {laneOrder, "r"}}; !slices.Equal(got, want) {
		t.Errorf("a reference of its own: %v, want %v", got, want)
	}
	for _, tt := range tests {
		if got := lanesOf(polledRecord{record: &kgo.Record{Key: tt.key}, event: e}); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestLanesLeftTwice(t *testing.T) {
	t.Parallel()
	l := newLanes()
	key := []laneKey{{laneOrder, "o"}}
	a, b, c := &item{lanes: key}, &item{lanes: key}, &item{lanes: key}
	for i, it := range []*item{a, b, c} {
		if got := l.enter(it); got != (i == 0) {
			t.Fatalf("item %d may go: %v", i, got)
		}
	}
	if free := l.leave(b); len(free) != 0 {
		t.Fatalf("the middle one frees %v", free)
	}
	if free := l.leave(b); len(free) != 0 {
		t.Fatalf("the middle one frees %v", free)
	}
	if free := l.leave(a); len(free) != 1 || free[0] != c {
		t.Fatalf("the head frees %v", free)
	}
	if free := l.leave(c); len(free) != 0 || len(l.byKey) != 0 {
		t.Fatalf("the last frees %v, %d lanes stay", free, len(l.byKey))
	}
	if free := l.leave(c); len(free) != 0 {
		t.Fatalf("leaving again frees %v", free)
	}
}
