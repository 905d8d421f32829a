package replay

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
)

func TestSelectionCheck(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		selection Selection
		want      string // of the error; "": it is good
	}{
		"nothing":                        {Selection{}, "--all"},
		"parked alone":                   {Selection{Parked: true}, "--all"},
		"everything":                     {Selection{All: true}, ""},
		"everything parked":              {Selection{All: true, Parked: true}, ""},
		"all, and something":             {Selection{All: true, Orders: []string{"o"}}, "--all"},
		"since":                          {Selection{Since: now()}, ""},
		"until before since":             {Selection{Since: now(), Until: now()}, "--until"},
		"a partition":                    {Selection{Partitions: []int32{1, 2}}, ""},
		"a negative partition":           {Selection{Partitions: []int32{-1}}, "--partition"},
		"offsets":                        {Selection{Partitions: []int32{1}, From: new(int64(3)), To: new(int64(4))}, ""},
		"offsets of nothing":             {Selection{From: new(int64(3))}, "--partition"},
		"offsets of two":                 {Selection{Partitions: []int32{1, 2}, To: new(int64(3))}, "--partition"},
		"no offset between":              {Selection{Partitions: []int32{1}, From: new(int64(3)), To: new(int64(3))}, "--to-offset"},
		"a negative offset":              {Selection{Partitions: []int32{1}, From: new(int64(-3))}, "negative"},
		"a reason":                       {Selection{Parked: true, Reasons: []string{"undecided"}}, ""},
		"a reason of nothing":            {Selection{Reasons: []string{"undecided"}}, "--parked"},
		"an unknown reason":              {Selection{Parked: true, Reasons: []string{"bored"}}, "bored"},
		"parked again, without --parked": {Selection{All: true, ParkedAgain: true}, "--parked"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := test.selection.Check()
			if (err == nil) != (test.want == "") || (err != nil && !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// TestSameSelection: neither the order nor a zone makes another selection.
func TestSameSelection(t *testing.T) {
	t.Parallel()
	base := func() *Selection {
		return &Selection{
			Since: now(), Partitions: []int32{1, 2}, Orders: []string{"a", "b"}, Events: []string{"e"}, Parked: true,
			Reasons: []string{"too_old", "undecided"},
		}
	}
	same := base()
	same.Since = same.Since.In(time.FixedZone("", 3600))
	same.Partitions, same.Orders, same.Reasons = []int32{2, 1, 1}, []string{"b", "a"}, []string{"undecided", "too_old"}
	if !base().Same(same) {
		t.Error("it is another one")
	}
	for name, change := range map[string]func(*Selection){
		"all": func(s *Selection) { s.All = true }, "since": func(s *Selection) { s.Since = s.Since.Add(1) },
		"until": func(s *Selection) { s.Until = now() }, "partitions": func(s *Selection) { s.Partitions = nil },
		"from": func(s *Selection) { s.From = new(int64(0)) }, "to": func(s *Selection) { s.To = new(int64(0)) },
		"orders": func(s *Selection) { s.Orders = []string{"a"} }, "events": func(s *Selection) { s.Events = nil },
		"parked": func(s *Selection) { s.Parked = false }, "reasons": func(s *Selection) { s.Reasons = nil },
		"parked again": func(s *Selection) { s.ParkedAgain = true },
	} {
		other := base()
		change(other)
		if base().Same(other) {
			t.Errorf("with other %s it is the same", name)
		}
	}
}

func TestSelectionInTime(t *testing.T) {
	t.Parallel()
	at := func(ms int64) *kgo.Record { return &kgo.Record{Timestamp: time.UnixMilli(ms)} }
	s := Selection{Since: time.UnixMilli(10), Until: time.UnixMilli(20)}
	for ms, want := range map[int64]bool{-1: false, 9: false, 10: true, 19: true, 20: false} {
		if got := s.inTime(at(ms)); got != want {
			t.Errorf("at %d: got %t", ms, got)
		}
	}
	if open := (&Selection{}); !open.inTime(at(-1)) {
		t.Error("a record without a time is left out where no time is named")
	}
}

// TestNamesAreComparedAsAWhole: an order or event whose id begins with the one that is
// chosen, or with which that begins, is another one.
func TestNamesAreComparedAsAWhole(t *testing.T) {
	t.Parallel()
	named := func(id, order string) *subject {
		return &subject{id: id, event: &event.ReadyToCapture{ID: id, OrderID: order}}
	}
	s := Selection{Events: []string{"e1", "e33"}, Orders: []string{"o1", "o33"}}
	for id, want := range map[string]bool{"1": true, "10": false, "": false, "33": true, "3": false, "333": false, "01": false} {
		if got := s.names(named("e"+id, "o1")); got != want {
			t.Errorf("event e%s: %t", id, got)
		}
		if got := s.names(named("e1", "o"+id)); got != want {
			t.Errorf("order o%s: %t", id, got)
		}
		keyed := &subject{id: "e1", message: event.Message{Key: []byte("o" + id)}} // no valid event
		if got := s.names(keyed); got != want {
			t.Errorf("key o%s: %t", id, got)
		}
	}
}
