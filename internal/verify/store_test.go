package verify

import (
	"reflect"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
	"payment-capture/internal/scratch"
)

// Entries come back from the store as they were.
func TestEntriesAreStored(t *testing.T) {
	t.Parallel()
	a, err := money.Parse("700.50", "MXN")
	if err != nil {
		t.Fatal(err)
	}
	amount := stored(a)
	s, err := scratch.Open(scratch.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	content, d := event.FingerprintOf([]byte("c")), digestOfText("d")
	for _, e := range []any{
		inputEntry{
			marked: marked{flagCompleted | flagInvalid}, At: 7, Content: content, ParkedAt: 9, Amount: amount, Order: "o", Reference: "r",
			Payer: d, Plain: d, Whole: d,
		},
		outcomeEntry{marked: marked{flagOverpaid | flagParked}, At: 7, Amount: amount, Order: d, Reference: d, Core: d, Whole: d, Payment: "p"},
		parkedEntry{marked: marked{flagSure}, At: 7, Content: content, Whole: d, First: 3, Reason: "undecided"},
		// a parked record has no amount
		decisionEntry{marked: marked{flagSure}, At: 7, First: 3, Content: content, Core: d, Whole: d, Reason: "r", Superseded: []digest{d, {1}}},
		attemptEntry{marked: marked{flagGone}, First: 3},
		placedInput{ID: "e1", Content: content, Plain: d, Whole: d},
		placedParked{Plain: d, ID: "e1", Named: "e2", Entry: parkedEntry{marked: marked{flagSure}, First: 3}},
	} {
		if err := s.Set([]byte("k"), e); err != nil {
			t.Fatal(err)
		}
		got := reflect.New(reflect.TypeOf(e))
		if _, err := s.Get([]byte("k"), got.Interface()); err != nil || !reflect.DeepEqual(got.Elem().Interface(), e) {
			t.Errorf("%+v came back as %+v, %v", e, got.Elem(), err)
		}
	}
}

func TestPositionsSortAsTheyLie(t *testing.T) {
	t.Parallel()
	before := ""
	for _, p := range []position{{0, 0, 0}, {0, 0, 255}, {0, 0, 256}, {0, 1, 1}, {0, 300, 0}, {1, 0, 0}} {
		b := p.append(nil)
		if len(b) != positionBytes || positionOf(b) != p {
			t.Errorf("%+v came back as %+v", p, positionOf(b))
		}
		if string(b) <= before {
			t.Errorf("%+v does not sort behind the one before it", p)
		}
		before = string(b)
	}
}
