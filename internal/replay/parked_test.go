package replay

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"payment-capture/internal/event"
)

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

// TestMark: the ledger's decision says what is undone, and the earliest attempt
// counts; without one the parked record says it.
func TestMark(t *testing.T) {
	t.Parallel()
	p := parked{since: now(), first: now().Add(-time.Minute)}
	at := now().Add(-time.Hour)
	decision := func(attempt, parking time.Time) *event.Decision {
		return &event.Decision{
			At: at, Attempt: event.Attempt{First: attempt},
			Result: event.Result{ParkInfo: &event.ParkInfo{FirstAttempt: parking}},
		}
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
	rising := []place{
		{At: 1, Partition: 9, Offset: 9},
		{At: 2, Partition: 1, Offset: 9},
		{At: 2, Partition: 2, Offset: 1},
		{At: 2, Partition: 2, Offset: 2},
	}
	for i, a := range rising {
		for j, b := range rising {
			if got := a.newerThan(b); got != (i > j) {
				t.Errorf("%+v newer than %+v: %t", a, b, got)
			}
		}
	}
}
