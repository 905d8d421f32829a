package replay

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"payment-capture/internal/event"
)

// TestRestoreIsTheReverseOfParking for records of any form: also those that were
// parked before, and sent again as they lay there.
func TestRestoreIsTheReverseOfParking(t *testing.T) {
	t.Parallel()
	first := time.UnixMilli(1_795_000_000_123).UTC()
	at := event.Position{Topic: "orders", Partition: 3, Offset: 42}
	named := at
	named.ID, named.OrderID, named.ClaimedEventID = "sha256:0", "order-1", "e1"
	tried := &event.ParkInfo{Reason: event.ParkUndecided, Detail: "d", FirstAttempt: first.Add(456 * time.Microsecond), Tries: 2, HTTPStatus: 500, RequestID: "r"}
	untried := &event.ParkInfo{Reason: event.ParkTooOld}
	plain := event.Message{Key: []byte("k"), Value: []byte("v"), Headers: []event.Header{{Key: "a", Value: []byte("1")}, {Key: "a"}}}
	for name, test := range map[string]struct {
		input   event.Message
		parking *event.ParkInfo
	}{
		"plain":                  {plain, tried},
		"never tried":            {plain, untried},
		"no headers":             {event.Message{Key: []byte("k"), Value: []byte("v")}, tried},
		"no key":                 {event.Message{Value: []byte("v")}, untried},
		"a tombstone":            {event.Message{Key: []byte("k")}, untried},
		"nothing in it":          {event.Message{}, untried},
		"parked, and sent again": {event.EncodeParked(plain, event.Position{Topic: "t"}, untried), tried},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			record := event.EncodeParked(test.input, named, test.parking)
			record.Timestamp = now()
			p, ok := restore(record)
			if !ok {
				t.Fatal("it is called no parked record")
			}
			want := test.input
			want.Timestamp = now()
			if diff := cmp.Diff(want, p.message, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("restored otherwise (-want +got):\n%s", diff)
			}
			wantFirst := time.Time{}
			if test.parking == tried {
				wantFirst = first
			}
			wantAt := at
			wantAt.ID = named.ID
			if p.reason != test.parking.Reason || p.at != wantAt || !p.first.Equal(wantFirst) || p.digest != nil || !p.since.Equal(now()) {
				t.Errorf("got %+v", p)
			}
		})
	}
}

func TestRestoreLeavesMarksOut(t *testing.T) {
	t.Parallel()
	input := event.Message{Value: []byte("v"), Headers: []event.Header{{Key: "a"}}}
	marked := input
	marked.Headers = append(marked.Headers[:1:1], (event.Resend{ParkedAt: now(), FirstAttempt: now()}).Headers()...)
	p, ok := restore(event.EncodeParked(marked, event.Position{Topic: "t"}, &event.ParkInfo{Reason: event.ParkTooOld}))
	if diff := cmp.Diff(input, p.message); !ok || diff != "" {
		t.Errorf("got %t (-want +got):\n%s", ok, diff)
	}
}

func TestRestoreOfADigest(t *testing.T) {
	t.Parallel()
	input := event.Message{Key: []byte("k"), Value: []byte("large"), Headers: []event.Header{{Key: "a"}}}
	p, ok := restore(event.EncodeParked(event.Digest(input), event.Position{Topic: "t", Partition: 1, Offset: 2}, &event.ParkInfo{Reason: event.ParkTooOld}))
	if !ok || p.digest == nil {
		t.Fatalf("got %+v, %t", p, ok)
	}
	for value, want := range map[string]bool{"large": true, "Large": false, "": false, "larger": false} {
		if got := p.digest.fits([]byte(value)); got != want {
			t.Errorf("%q: got %t", value, got)
		}
	}
}

func TestWhatIsNoParkedRecord(t *testing.T) {
	t.Parallel()
	headers := func(pairs ...string) (hs []event.Header) {
		for i := 0; i < len(pairs); i += 2 {
			hs = append(hs, event.Header{Key: "parked_" + pairs[i], Value: []byte(pairs[i+1])})
		}
		return hs
	}
	for name, hs := range map[string][]event.Header{
		"no headers":             nil,
		"no reason":              headers("topic", "t", "partition", "1", "offset", "2"),
		"no topic":               headers("reason", "too_old", "partition", "1", "offset", "2"),
		"no partition":           headers("reason", "too_old", "topic", "t", "offset", "2"),
		"no offset":              headers("reason", "too_old", "topic", "t", "partition", "1"),
		"a negative partition":   headers("reason", "too_old", "topic", "t", "partition", "-1", "offset", "2"),
		"an offset of letters":   headers("reason", "too_old", "topic", "t", "partition", "1", "offset", "x"),
		"an unreadable attempt":  headers("reason", "too_old", "topic", "t", "partition", "1", "offset", "2", "first_attempt", "yesterday"),
		"a position, then a end": headers("topic", "t", "partition", "1", "offset", "2", "reason", "too_old"),
	} {
		if p, ok := restore(event.Message{Value: []byte("v"), Headers: hs}); ok {
			t.Errorf("%s: got %+v", name, p)
		}
	}
}

// TestMark: the ledger's decision says what is undone, and the earliest attempt
// counts; without one the parked record says it.
func TestMark(t *testing.T) {
	t.Parallel()
	p := parked{since: now(), first: now().Add(-time.Minute)}
	at := now().Add(-time.Hour)
	decision := func(attempt, parking time.Time) *event.Decision {
		return &event.Decision{At: at, Attempt: event.Attempt{First: attempt}, Result: event.Result{ParkInfo: &event.ParkInfo{FirstAttempt: parking}}}
	}
	var none time.Time
	for name, test := range map[string]struct {
		decision *event.Decision
		want     event.Resend
	}{
		"no ledger":         {nil, event.Resend{ParkedAt: now(), FirstAttempt: now().Add(-time.Minute)}},
		"never tried":       {decision(none, none), event.Resend{ParkedAt: at}},
		"the attempt":       {decision(at.Add(-2), none), event.Resend{ParkedAt: at, FirstAttempt: at.Add(-2)}},
		"the parking":       {decision(none, at.Add(-1)), event.Resend{ParkedAt: at, FirstAttempt: at.Add(-1)}},
		"the first of both": {decision(at.Add(-1), at.Add(-2)), event.Resend{ParkedAt: at, FirstAttempt: at.Add(-2)}},
		"of both the first": {decision(at.Add(-2), at.Add(-1)), event.Resend{ParkedAt: at, FirstAttempt: at.Add(-2)}},
	} {
		if got := *p.mark(test.decision); got != test.want {
			t.Errorf("%s: got %+v, want %+v", name, got, test.want)
		}
	}
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	rising := []place{{at: 1, partition: 9, offset: 9}, {at: 2, partition: 1, offset: 9}, {at: 2, partition: 2, offset: 1}, {at: 2, partition: 2, offset: 2}}
	for i, a := range rising {
		for j, b := range rising {
			if got := a.newerThan(b); got != (i > j) {
				t.Errorf("%+v newer than %+v: %t", a, b, got)
			}
		}
		if got := placeOf(a.append(nil)); got != a {
			t.Errorf("%+v came back as %+v", a, got)
		}
	}
}
