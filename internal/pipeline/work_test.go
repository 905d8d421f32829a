package pipeline

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/offsetmeta"
)

// polledAt returns records at offsets; those that are negative are skipped ones.
func polledAt(offsets ...int64) []polledRecord {
	var all []polledRecord
	for _, at := range offsets {
		r := polledRecord{skip: at < 0, record: &kgo.Record{Offset: max(at, -at), Timestamp: time.Unix(1000+max(at, -at), 0)}}
		all = append(all, r)
	}
	return all
}

func TestUnread(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		polled    []polledRecord
		from, end int64
		want      int64
	}{
		"nothing read":              {nil, 3, 10, 7},
		"only orders":               {polledAt(0, 1, 2, 3), 4, 10, 6},
		"every second one an order": {polledAt(0, -1, 2, -3), 4, 10, 3},
		"gaps":                      {polledAt(3, 7), 8, 16, 2},
		"one left":                  {polledAt(0, -1, -2, -3), 4, 5, 1},
		"all read":                  {polledAt(0, 1, 2, -3), 4, 4, 0},
		"no order":                  {polledAt(-1, -2, -3), 4, 10, 0},
	} {
		r := reading{}
		r.note(0, tt.polled)
		r.end = tt.end
		if got := r.unread(tt.from); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

// TestUnreadFollowsTheTopic: what was read long ago counts less than what was read last.
func TestUnreadFollowsTheTopic(t *testing.T) {
	t.Parallel()
	r := reading{}
	for at := int64(0); at < 50_000; at += 2 {
		r.note(at, polledAt(at, -at-1))
	}
	for at := int64(50_000); at < 150_000; at += 2 {
		r.note(at, polledAt(at, at+1))
	}
	if got := r.unread(r.end - 1000); got < 990 || got > 1000 {
		t.Errorf("%d of 1000 records are expected to be orders", got)
	}
}

// TestWork: only what can be worked now counts, and the oldest is what has no decision.
func TestWork(t *testing.T) {
	t.Parallel()
	pt := &partition{ownership: ownership{number: 3}}
	if w := pt.work(); w != (Work{Partition: 3}) {
		t.Errorf("before the offset is known: %+v", w)
	}
	restored := offsetmeta.Completed{End: 20, Open: []int64{0, 1, 2, 3, 12, 15}}
	pt.tracker = newOffsetTracker(0, -1, restored, 1<<20)
	admitted := polledAt(0, 1, 2, 3)
	items := make([]*item, len(admitted))
	for i, r := range admitted {
		items[i] = &item{polledRecord: r, offset: r.record.Offset, part: pt}
		pt.tracker.admit(items[i], -1)
	}
	pt.tracker.complete(items[0])
	items[0].polledRecord = polledRecord{}
	items[1].held, items[2].waitsUntil = true, time.Now().Add(time.Hour)
	pt.buffered = polledAt(8, -9, 12)
	pt.polledTo, pt.reading.end = 13, 30
	// One admitted and one buffered, and of those up to 30 one below 20 and ten above.
	if w := pt.work(); w.Backlog != 1+1+1+10 || !w.Oldest.Equal(time.Unix(1001, 0)) {
		t.Errorf("got %+v", w)
	}
}
