package pipeline

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
)

// modelQueues is the rule in its simplest form: of all items that have entered and are
// not released, one may start if no earlier one shares an ordering key with it.
type modelQueues []*item

func (m modelQueues) mayStart(it *item) bool {
	for _, before := range m {
		if before == it {
			return true
		}
		for _, key := range before.keys {
			if slices.Contains(it.keys, key) {
				return false
			}
		}
	}
	return false
}

func TestOrderingKeysAgainstModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		r := seeded(seed)
		l := newOrderingKeys()
		var model modelQueues
		going := make(map[*item]bool)
		orders, dropping := 1+r.IntN(8), r.Float64()*0.4
		started := make(map[int64]bool)
		begin := func(it *item) {
			if going[it] || started[it.offset] {
				t.Fatalf("seed %d: item %d starts twice", seed, it.offset)
			}
			going[it], started[it.offset] = true, true
		}
		leave := func(it *item) {
			delete(going, it)
			free := l.release(it)
			model = slices.DeleteFunc(model, func(e *item) bool { return e == it })
			for _, f := range free {
				begin(f)
			}
		}
		for n := int64(0); n < 400 || len(model) > 0; n++ {
			enter := n < 400 && r.IntN(3) > 0
			switch {
			case enter:
				it := &item{offset: n, keys: []orderingKey{
					{keyOrder, fmt.Sprint(r.IntN(orders))}, {keyEvent, fmt.Sprint(r.IntN(3 * orders))},
				}}
				if r.IntN(2) == 0 {
					it.keys = append(it.keys, orderingKey{keyRecord, fmt.Sprint(r.IntN(orders))})
				}
				model = append(model, it)
				if l.enter(it) {
					begin(it)
				}
			case len(model) == 0:
			case r.IntN(8) == 0: // its order waits for its time: it releases its record key
				for _, f := range l.releaseRecordKey(model[r.IntN(len(model))]) {
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
				if going[it] != model.mayStart(it) {
					t.Fatalf("seed %d, step %d: item %d starts: %v, want %v", seed, n, it.offset, going[it], model.mayStart(it))
				}
			}
		}
		if len(l.queues) != 0 {
			t.Fatalf("seed %d: %d queues are left when all items are released", seed, len(l.queues))
		}
	}
}

func TestOrderingKeysOf(t *testing.T) {
	t.Parallel()
	e := &event.ReadyToCapture{ID: "e", OrderID: "o", ExternalReference: "o"}
	order, id := orderingKey{keyOrder, "o"}, orderingKey{keyEvent, "e"}
	tests := []struct {
		name string
		key  []byte
		want []orderingKey
	}{
		{"no key", nil, []orderingKey{order, id}},
		{"the order's", []byte("o"), []orderingKey{order, id}},
		{"another", []byte("k"), []orderingKey{order, id, {keyRecord, "k"}}},
		{"a record key that is the event id", []byte("e"), []orderingKey{order, id, {keyRecord, "e"}}},
	}
	shared := &event.ReadyToCapture{ID: "e", OrderID: "o", ExternalReference: "r"}
	want := []orderingKey{order, id, {keyOrder, "r"}}
	if got := orderingKeysOf(&polledRecord{record: &kgo.Record{}, event: shared}); !slices.Equal(got, want) {
		t.Errorf("a reference of its own: %v, want %v", got, want)
	}
	for _, tt := range tests {
		if got := orderingKeysOf(&polledRecord{record: &kgo.Record{Key: tt.key}, event: e}); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestOrderingKeysReleasedTwice(t *testing.T) {
	t.Parallel()
	l := newOrderingKeys()
	key := []orderingKey{{keyOrder, "o"}}
	a, b, c := &item{keys: key}, &item{keys: key}, &item{keys: key}
	for i, it := range []*item{a, b, c} {
		if got := l.enter(it); got != (i == 0) {
			t.Fatalf("item %d may start: %v", i, got)
		}
	}
	if free := l.release(b); len(free) != 0 {
		t.Fatalf("the middle one frees %v", free)
	}
	if free := l.release(b); len(free) != 0 {
		t.Fatalf("the middle one frees %v", free)
	}
	if free := l.release(a); len(free) != 1 || free[0] != c {
		t.Fatalf("the head frees %v", free)
	}
	if free := l.release(c); len(free) != 0 || len(l.queues) != 0 {
		t.Fatalf("the last frees %v, %d queues are left", free, len(l.queues))
	}
	if free := l.release(c); len(free) != 0 {
		t.Fatalf("releasing again frees %v", free)
	}
}

// Two events of one reference wait for each other, also if the reference is the order id
// of one of them: a lookup by the reference must find the payment of one event only.
func TestOrderingKeyOfAReferenceThatIsAnotherOrder(t *testing.T) {
	t.Parallel()
	first := &event.ReadyToCapture{ID: "e1", OrderID: "x", ExternalReference: "x"}
	second := &event.ReadyToCapture{ID: "e2", OrderID: "y", ExternalReference: "x"}
	l := newOrderingKeys()
	if !l.enter(&item{keys: orderingKeysOf(&polledRecord{record: &kgo.Record{}, event: first})}) {
		t.Fatal("the first may not start")
	}
	if l.enter(&item{keys: orderingKeysOf(&polledRecord{record: &kgo.Record{}, event: second})}) {
		t.Error("the second starts at the same time")
	}
}

// TestBehindAside: only an item that stepped aside makes items behind it release their
// record keys, and all items behind it are counted.
func TestBehindAside(t *testing.T) {
	t.Parallel()
	l := newOrderingKeys()
	keys := func(order, key string) []orderingKey { return []orderingKey{{keyOrder, order}, {keyRecord, key}} }
	first, other, second := &item{keys: keys("o1", "k")}, &item{keys: keys("o2", "k")}, &item{keys: keys("o1", "k")}
	if !l.enter(first) || l.enter(other) || l.enter(second) {
		t.Fatal("only the first of a record key may start")
	}
	if l.behindAside(&item{keys: keys("o1", "k")}) {
		t.Error("no item stepped aside")
	}
	first.aside = true
	if free := l.releaseRecordKey(first); len(free) != 1 || free[0] != other {
		t.Errorf("%d items may start when the first releases the record key, want the other order", len(free))
	}
	if behind := l.behind(first); len(behind) != 1 || behind[0] != second {
		t.Errorf("%d items are behind the first, want one", len(behind))
	}
	if !l.behindAside(&item{keys: keys("o1", "j")}) || l.behindAside(&item{keys: keys("o2", "k")}) {
		t.Error("want a later item of the order of the first behind it, and no other")
	}
	l.release(other)
	if free := l.releaseRecordKey(second); len(free) != 0 || second.blockedBy != 1 {
		t.Errorf("the second may start, or waits for %d keys, want its order", second.blockedBy)
	}
	if free := l.release(first); len(free) != 1 || free[0] != second {
		t.Error("the second may not start after the first")
	}
}

// TestNextAndBefore: an item is next only right behind one in a queue, and before it are
// the heads of all queues in which it waits.
func TestNextAndBefore(t *testing.T) {
	t.Parallel()
	l := newOrderingKeys()
	keys := func(order, id string) []orderingKey { return []orderingKey{{keyOrder, order}, {keyEvent, id}} }
	one, two := &item{keys: keys("o1", "e1")}, &item{keys: keys("o2", "e2")}
	both, last := &item{keys: keys("o1", "e2")}, &item{keys: keys("o1", "e3")}
	for _, it := range []*item{one, two, both, last} {
		l.enter(it)
	}
	for _, it := range []*item{one, two} {
		if next := l.next(it); len(next) != 1 || next[0] != both {
			t.Errorf("behind a head are %v, want the item that waits for both", next)
		}
		if before := l.before(it); len(before) != 0 {
			t.Errorf("before a head are %v", before)
		}
	}
	if before := l.before(both); !slices.Equal(before, []*item{one, two}) {
		t.Errorf("before the item that waits for both are %v", before)
	}
	if before := l.before(last); !slices.Equal(before, []*item{nil}) {
		t.Errorf("before the last item are %v, want nil for the queue in which it is third", before)
	}
	l.release(one)
	if before := l.before(last); !slices.Equal(before, []*item{both}) {
		t.Errorf("before the last item are %v, want the one that waits for both", before)
	}
}
