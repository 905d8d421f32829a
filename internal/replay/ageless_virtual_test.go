//go:build synctests

package replay

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
)

// TestAParkedRecordWithoutAnyTimeIsNotSent: an event without a time whose record had
// no timestamp is invalid, because its age is unknown. The parked record has a
// timestamp, and so would a copy: the service would take it for an event of today,
// and charge it. Only its parked_event_id shows that, if the record is gone.
func TestAParkedRecordWithoutAnyTimeIsNotSent(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		none := time.UnixMilli(-1)
		park := func(r *kgo.Record) string {
			p := &event.ParkInfo{Reason: event.ParkInvalidEvent}
			id := event.RecordID(kafka.MessageOf(r))
			out := event.EncodeParked(kafka.MessageOf(r), event.Position{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, ID: id}, p)
			parked := &kgo.Record{Topic: parkedInto, Key: out.Key, Value: out.Value}
			for _, h := range out.Headers {
				parked.Headers = append(parked.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
			}
			w.produce(parked)
			w.book.park(id, event.Fingerprint{}, event.ParkInvalidEvent, ms(time.Now()), time.Time{})
			return id
		}
		gone, there := at(1, none, order{id: "gone"}), at(1, none, order{id: "there"})
		broken := &kgo.Record{Topic: input, Partition: 1, Value: []byte("{}"), Timestamp: none}
		formerly := at(2, ms(time.Now()), order{id: "formerly"}) // an earlier version found it invalid
		w.produce(gone, there, broken, formerly)
		var ids []string
		for _, r := range []*kgo.Record{gone, there, broken, formerly} {
			ids = append(ids, park(r))
		}
		if _, err := w.admin.DeleteRecords(t.Context(), offsetsOf(1, 1)); err != nil {
			t.Fatal(err)
		}
		before := w.all(input)
		time.Sleep(time.Minute)
		c := w.config(Selection{All: true, Parked: true})
		plan, _ := w.replay(c)
		w.rows(plan, map[Class]string{Timeless: "2/0/2", ParkInvalid: "1/0/1", First: "1/1/1 MXN 10.00"})
		if got := keys(w.sent(before)); got != "2:formerly" {
			t.Errorf("sent %q", got)
		}
		// Nor by --even-parked-again; what stays invalid is.
		before = w.all(input)
		c.Selection = Selection{Parked: true, ParkedAgain: true, Events: ids[:3]}
		plan, _ = w.replay(c)
		w.rows(plan, map[Class]string{Timeless: "2/0/2", ParkInvalid: "1/1/1"})
		if got := keys(w.sent(before)); got != "1:" {
			t.Errorf("sent %q", got)
		}
	})
}
