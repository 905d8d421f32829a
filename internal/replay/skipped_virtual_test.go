//go:build synctests

package replay

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/skips"
)

// TestThePlanListsWhatIsSkipped by reason, and by type or account.
func TestThePlanListsWhatIsSkipped(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		other := func(partition int32, eventType string) *kgo.Record {
			return &kgo.Record{
				Topic: input, Partition: partition,
				Value: []byte(`{"specversion":"1.0","id":"x","source":"/orders","type":"` + eventType + `"}`), Timestamp: time.Now(),
			}
		}
		theirs := at(1, time.Now(), order{id: "theirs", account: "north"})
		w.produce(fresh(0, "ours"), other(0, "order.shipped"), other(1, "order.shipped"), other(2, "bestätigt"), theirs,
			&kgo.Record{Topic: input, Partition: 2, Key: []byte("k")})
		plan, _ := w.replay(w.config(Selection{All: true}))
		want := []skips.Count{
			{Reason: event.SkipOtherType, Records: 3, Names: []skips.Name{{Name: "order.shipped", Records: 2}, {Name: "best?tigt", Records: 1}}},
			{Reason: event.SkipTombstone, Records: 1, Names: []skips.Name{}},
			{Reason: event.SkipOtherAccount, Records: 1, Names: []skips.Name{{Name: "north", Records: 1}}},
		}
		if diff := cmp.Diff(want, plan.Skipped); diff != "" {
			t.Errorf("skipped others (-want +got):\n%s", diff)
		}
		var buf bytes.Buffer
		plan.Print(&buf)
		text := strings.Join(strings.Fields(buf.String()), " ")
		for _, row := range []string{
			"| skipped: records of other types | 3 |", "| order.shipped | 2 |", "| best?tigt | 1 |",
			"(tombstones) | 1 |", "| north | 1 |",
		} {
			if !strings.Contains(text, row) {
				t.Errorf("no %q in\n%s", row, buf.String())
			}
		}
		buf.Reset()
		if err := plan.JSON(&buf); err != nil {
			t.Fatal(err)
		}
		var doc struct{ Skipped []skips.Count }
		if err := json.Unmarshal(buf.Bytes(), &doc); err != nil || len(doc.Skipped) != 3 || cmp.Diff(want[0], doc.Skipped[0]) != "" {
			t.Errorf("%v in the JSON\n%s", err, buf.String())
		}

		// Records that are not chosen are not listed, and with none there is no table.
		if plan = w.plan(w.config(Selection{Events: []string{"ours"}})); len(plan.Skipped) != 0 {
			t.Errorf("of one event: %+v", plan.Skipped)
		}
		buf.Reset()
		plan.Print(&buf)
		if strings.Contains(strings.ToLower(buf.String()), "skipped") {
			t.Errorf("a table of nothing:\n%s", buf.String())
		}
	})
}

// TestThePlanListsSkippedParkedRecords: a parked record may be of another account, or
// of a type that this version skips.
func TestThePlanListsSkippedParkedRecords(t *testing.T) {
	inWorld(t, func(w *world) {
		theirs := at(1, time.Now(), order{id: "theirs", account: "north"})
		w.produce(theirs)
		w.parkRecord(0, theirs, &event.ParkInfo{Reason: event.ParkTooOld})
		plan := w.plan(w.config(Selection{All: true, Parked: true}))
		want := []skips.Count{{Reason: event.SkipOtherAccount, Records: 1, Names: []skips.Name{{Name: "north", Records: 1}}}}
		if diff := cmp.Diff(want, plan.Skipped); diff != "" {
			w.t.Errorf("skipped others (-want +got):\n%s", diff)
		}
	})
}
