package event_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"payment-capture/internal/event"
)

// Inputs of any form come back as they were, also parked records that were sent
// again as they lay in the parked topic.
func TestDecodeParkedReversesEncodeParked(t *testing.T) {
	t.Parallel()
	first, parkedAt := time.UnixMilli(1_795_000_000_123).UTC(), time.UnixMilli(1_795_000_009_000)
	at := event.Position{Topic: "orders", Partition: 3, Offset: 42}
	named := at
	named.ID, named.OrderID, named.ClaimedEventID = "sha256:0", "order-1", "e1"
	tried := &event.ParkInfo{
		Reason: event.ParkUndecided, Detail: "d", FirstAttempt: first.Add(456 * time.Microsecond), Tries: 2,
		HTTPStatus: 500, RequestID: "r",
	}
	untried := &event.ParkInfo{Reason: event.ParkTooOld}
	plain := event.Message{Key: []byte("k"), Value: []byte("v"), Headers: []event.Header{{Key: "a", Value: []byte("1")}, {Key: "a"}}}
	for name, test := range map[string]struct {
		input event.Message
		at    event.Position
		info  *event.ParkInfo
		first time.Time
	}{
		"plain":                  {plain, named, tried, first},
		"no ids":                 {plain, at, tried, first},
		"never tried":            {plain, named, untried, time.Time{}},
		"no headers":             {event.Message{Key: []byte("k"), Value: []byte("v")}, named, tried, first},
		"no key":                 {event.Message{Value: []byte("v")}, named, untried, time.Time{}},
		"a tombstone":            {event.Message{Key: []byte("k")}, named, untried, time.Time{}},
		"nothing in it":          {event.Message{}, named, untried, time.Time{}},
		"parked, and sent again": {event.EncodeParked(plain, event.Position{Topic: "t"}, untried), named, tried, first},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			record := event.EncodeParked(test.input, test.at, test.info)
			record.Timestamp = parkedAt
			got, err := event.DecodeParked(record)
			if err != nil {
				t.Fatal(err)
			}
			want := event.ParkedRecord{Input: test.input, Position: test.at, Reason: test.info.Reason, FirstAttempt: test.first}
			want.Input.Timestamp = parkedAt
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmp.AllowUnexported(event.ValueDigest{})); diff != "" {
				t.Errorf("decoded otherwise (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeParkedOfADigest(t *testing.T) {
	t.Parallel()
	input := event.Message{Key: []byte("k"), Value: []byte("large"), Headers: []event.Header{{Key: "a"}}}
	p, err := event.DecodeParked(event.EncodeParked(event.Digest(input), event.Position{Topic: "t", Partition: 1, Offset: 2},
		&event.ParkInfo{Reason: event.ParkTooOld}))
	if err != nil || p.Digest == nil {
		t.Fatalf("got %+v, %v", p, err)
	}
	for value, want := range map[string]bool{"large": true, "Large": false, "": false, "larger": false} {
		if got := p.Digest.Matches([]byte(value)); got != want {
			t.Errorf("%q: got %t", value, got)
		}
	}
}

func TestDecodeParkedRefusesWhatIsNotAParkedRecord(t *testing.T) {
	t.Parallel()
	headers := func(pairs ...string) (hs []event.Header) {
		for i := 0; i < len(pairs); i += 2 {
			hs = append(hs, event.Header{Key: "parked_" + pairs[i], Value: []byte(pairs[i+1])})
		}
		return hs
	}
	for name, test := range map[string]struct {
		headers []event.Header
		reason  event.ParkReason // that could be read
	}{
		"no headers":                    {nil, ""},
		"no reason":                     {headers("topic", "t", "partition", "1", "offset", "2"), ""},
		"no topic":                      {headers("reason", "too_old", "partition", "1", "offset", "2"), event.ParkTooOld},
		"no partition":                  {headers("reason", "too_old", "topic", "t", "offset", "2"), event.ParkTooOld},
		"no offset":                     {headers("reason", "too_old", "topic", "t", "partition", "1"), event.ParkTooOld},
		"a negative partition":          {headers("reason", "too_old", "topic", "t", "partition", "-1", "offset", "2"), event.ParkTooOld},
		"an offset of letters":          {headers("reason", "too_old", "topic", "t", "partition", "1", "offset", "x"), event.ParkTooOld},
		"a partition that is too large": {headers("reason", "too_old", "topic", "t", "partition", "4294967296", "offset", "2"), event.ParkTooOld},
		"an unreadable attempt": {headers("reason", "too_old", "topic", "t", "partition", "1", "offset", "2", "first_attempt",
			"yesterday"), event.ParkTooOld},
		"a position before the reason": {headers("topic", "t", "partition", "1", "offset", "2", "reason", "too_old"), event.ParkTooOld},
	} {
		p, err := event.DecodeParked(event.Message{Value: []byte("v"), Headers: test.headers})
		if !errors.Is(err, event.ErrNotParked) || p.Reason != test.reason {
			t.Errorf("%s: got %+v, %v", name, p, err)
		}
	}
}
