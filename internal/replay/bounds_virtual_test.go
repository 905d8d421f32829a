//go:build synctests

package replay

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
)

// TestDeletedAtTheBounds: retention takes one record, or records up to and beyond the
// last one that is chosen. Only chosen offsets count as deleted.
func TestDeletedAtTheBounds(t *testing.T) {
	for name, test := range map[string]struct {
		to, below     int64 // chosen, and deleted, below these offsets
		deleted, sent int64
	}{
		"the first record":     {10, 1, 1, 9},
		"all but the last one": {10, 9, 9, 1},
		"all":                  {10, 10, 10, 0},
		"up to the chosen end": {4, 4, 4, 0},
		"beyond it":            {4, 7, 4, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.many(30)
				r := w.open(w.config(Selection{Partitions: []int32{0}, To: &test.to}))
				plan, err := r.Plan(w.t.Context())
				if err != nil {
					w.t.Fatal(err)
				}
				if _, err := w.admin.DeleteRecords(w.t.Context(), offsetsOf(0, test.below)); err != nil {
					w.t.Fatal(err)
				}
				result, err := r.Send(w.t.Context(), plan)
				if err != nil || result.Deleted != test.deleted || result.Sent != test.sent {
					w.t.Errorf("got %+v, %v; want %d deleted and %d sent", result, err, test.deleted, test.sent)
				}
				w.close(r)
			})
		})
	}
}

// TestDigestOfAMarker: where a digest says that its record lay there is a transaction's
// marker. The record behind it is another one, also if the digest fits it.
func TestDigestOfAMarker(t *testing.T) {
	inWorld(t, func(w *world) {
		commit := kgo.TryCommit
		w.transaction("done", &commit, fresh(0, "in-it")) // offset 0, and the marker 1
		behind := fresh(0, "behind")
		w.produce(behind)
		if behind.Offset != 2 {
			w.t.Fatalf("the record behind the marker is at %d", behind.Offset)
		}
		from := *behind
		from.Offset = 1
		w.parkMessage(0, event.Digest(kafka.MessageOf(behind)), &from, &event.ParkInfo{Reason: event.ParkTooOld})
		time.Sleep(time.Second)
		plan, result := w.replay(w.config(Selection{All: true, Parked: true}))
		w.rows(plan, map[Class]string{DigestGone: "1/0/1"})
		if result.Sent != 0 {
			w.t.Errorf("%d sent", result.Sent)
		}
	})
}
