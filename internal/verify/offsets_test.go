package verify_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"payment-capture/internal/event"
	"payment-capture/internal/verify"
)

// foreign commits offsets as another tool does: without metadata.
func (w *world) foreign(offsets map[int32]int64) {
	w.t.Helper()
	os := make(kadm.Offsets)
	for n, at := range offsets {
		os.Add(kadm.Offset{Topic: w.conf.Topics.Input, Partition: n, At: at, LeaderEpoch: -1})
	}
	w.commitOffsets(os)
}

// details returns the details of the findings of a kind.
func details(found []verify.Finding, kind verify.Kind) (all []string) {
	for _, f := range found {
		if f.Kind == kind {
			all = append(all, f.Detail)
		}
	}
	return all
}

// TestForeignOffsetNamesTheRangesThatItSkips: an offset without metadata is not of
// this service. The records below it that have no decision are named by partition
// and range; a record that has one separates two ranges, and one that is skipped
// by its type does not.
func TestForeignOffsetNamesTheRangesThatItSkips(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(3) // offset 0 of each partition
	w.commit()
	for i := range 3 {
		w.send(order{id: fmt.Sprintf("a%d", i), partition: 1}) // 1-3
	}
	other := w.sendRaw(`{"specversion":"1.0","id":"x","source":"/orders","type":"order.shipped"}`) // not of partition 1
	if other.Partition != 0 {
		t.Fatalf("partition %d", other.Partition)
	}
	w.process(w.send(order{id: "decided", partition: 1}), event.TypeCaptured) // 4
	w.send(order{id: "a3", partition: 1})                                     // 5
	w.send(order{id: "a3", partition: 1})                                     // 6, its copy
	w.attempt("a3")
	w.send(order{id: "last", partition: 1})   // 7: not below the offset
	w.send(order{id: "theirs", partition: 2}) // 1: not below an offset of another tool
	w.send(order{id: "again", partition: 2})  // 2

	w.foreign(map[int32]int64{1: 7})
	found, sum := w.expect(
		want{verify.ForeignOffset, ""}, want{verify.MissingOutcome, "a0"}, want{verify.MissingOutcome, "a1"}, want{verify.MissingOutcome, "a2"},
		want{verify.UndecidedAttempt, "a3"},
	)
	for _, in := range []string{
		"partition orders/1:", "did not write the committed offset 7", "no metadata", "5 records",
		"offsets 1-3, 5-6",
	} {
		if !strings.Contains(found[0].Detail, in) {
			t.Errorf("the detail is %q, which does not say %q", found[0].Detail, in)
		}
	}
	if want := []string{"orders/1@1", "orders/1@2", "orders/1@3", "orders/1@5", "orders/1@6"}; !slices.Equal(found[0].Records, want) {
		t.Errorf("records %q, want %q", found[0].Records, want)
	}
	for _, f := range found[1:] {
		if !strings.Contains(f.Detail, "offset 7 of orders/1 skips it") {
			t.Errorf("the detail of %s is %q", f.EventID, f.Detail)
		}
	}
	if sum.Pending() != 3 {
		t.Errorf("%d under way, want 3", sum.Pending())
	}

	// The same two partitions: each has a finding of its own.
	w.foreign(map[int32]int64{1: 7, 2: 3})
	found, _ = w.run()
	all := details(found, verify.ForeignOffset)
	slices.Sort(all)
	if len(all) != 2 || !strings.Contains(all[0], "orders/1: ") || !strings.Contains(all[0], "offsets 1-3, 5-6") ||
		!strings.Contains(all[1], "orders/2: ") || !strings.HasSuffix(all[1], "2 records below it have no decision: offsets 1-2") {
		t.Errorf("found %q", all)
	}
	// In a range of time without the skipped records nothing is found.
	w.conf.Since = noon.Add(time.Hour)
	w.expect()
}

// TestForeignOffsetThatSkipsNothing is allowed: a reset to the start, or to where
// the service was.
func TestForeignOffsetThatSkipsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(6)
	w.send(order{id: "next", partition: 1})
	w.foreign(map[int32]int64{0: 2, 1: 2, 2: 0})
	_, sum := w.expect()
	if sum.Pending() != 1 {
		t.Errorf("%d under way", sum.Pending())
	}
}

// TestForeignOffsetAmongContentsAndResends: of one event id, only the content
// without a decision is named, and only the record that was resent.
func TestForeignOffsetAmongContentsAndResends(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(1)
	at := noon.Add(time.Second)
	w.process(w.send(order{id: "e1"}), event.TypeCaptured) // 1
	w.send(order{id: "e1", amount: "1.00"})                // 2: neither parked nor decided
	s := w.send(order{id: "e2"})                           // 3
	p := event.ParkInfo{Reason: event.ParkUndecided, Detail: "d", FirstAttempt: noon, Tries: 3}
	w.park(s.record, p)
	w.decideParked("e2", p, at)
	w.send(order{id: "e2", resend: &event.Resend{ParkedAt: at}}) // 4
	w.commit()
	w.foreign(map[int32]int64{0: 5})
	found, _ := w.expect(want{verify.ForeignOffset, ""}, want{verify.MissingOutcome, "e1"}, want{verify.MissingOutcome, "e2"})
	if !strings.HasSuffix(found[0].Detail, "2 records below it have no decision: offsets 2, 4") {
		t.Errorf("the detail is %q", found[0].Detail)
	}
}

// TestManyRangesAreCut: a finding is no list of a million offsets.
func TestManyRangesAreCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(1)
	for i := range 22 {
		w.send(order{id: fmt.Sprintf("lost-%02d", i)})
		w.process(w.send(order{id: fmt.Sprintf("decided-%02d", i)}), event.TypeCaptured)
	}
	w.commit()
	w.foreign(map[int32]int64{0: 45})
	found, _ := w.run()
	all := details(found, verify.ForeignOffset)
	if len(all) != 1 || !strings.Contains(all[0], "22 records") || !strings.HasSuffix(all[0], ", 37, 39, ...") ||
		strings.Count(all[0], ",") != 21 {
		t.Errorf("found %q", all)
	}
}

// TestAGroupOrALedgerThatSaysNothing is a difference: with events in the input
// nothing is proven.
func TestAGroupOrALedgerThatSaysNothing(t *testing.T) {
	t.Parallel()
	noLedger := func(w *world) { w.conf.Topics.Ledger = "" }
	for name, test := range map[string]struct {
		plant func(*world)
		want  []verify.Kind
		in    string
	}{
		"no offsets, and all events are decided": {
			func(w *world) { w.clean(3) },
			[]verify.Kind{verify.GroupWithoutOffsets},
			`group "service" has no committed offsets of orders`,
		},
		"no offsets, and events without a decision": {
			func(w *world) {
				w.clean(3)
				w.send(order{id: "e1"})
			},
			[]verify.Kind{verify.GroupWithoutOffsets},
			"the input has 4 events: which of them must have a decision is not known, and the 1 without one",
		},
		"no offsets, and an invalid event": {func(w *world) {
			noLedger(w)
			w.sendRaw("{}")
		}, []verify.Kind{verify.GroupWithoutOffsets}, "1 events"},
		"offsets of a topic that was deleted": {func(w *world) {
			w.clean(3)
			w.commitEnds([16]byte{9})
		}, []verify.Kind{verify.GroupWithoutOffsets}, "earlier topic of the name orders"},
		"an empty ledger": {func(w *world) {
			for i := range 3 {
				w.publish(outcomeOf(w.send(order{id: fmt.Sprint("e", i)}).event, event.TypeCaptured))
			}
			w.commit()
		}, []verify.Kind{verify.LedgerWithoutDecisions}, "TOPIC_LEDGER"},
		"a ledger with attempts only": {func(w *world) {
			w.publish(outcomeOf(w.send(order{id: "e1"}).event, event.TypeCaptured))
			w.attempt("e1")
			w.commit()
		}, []verify.Kind{verify.LedgerWithoutDecisions}, "has no decision, and the input has 1 events"},
		"neither": {
			func(w *world) { w.send(order{id: "e1"}) },
			[]verify.Kind{verify.GroupWithoutOffsets, verify.LedgerWithoutDecisions},
			"KAFKA_GROUP",
		},
		"one partition without an offset": {func(w *world) {
			w.clean(3)
			w.commit()
			w.forgetOffset(1)
			w.send(order{id: "e1", partition: 1})
		}, []verify.Kind{verify.GroupWithoutOffsets}, "partition orders/1: group \"service\" has no committed offset of it, and it has 2 events"},
		"a young partition without an offset": {func(w *world) {
			w.clean(1)
			w.commit()
			w.forgetOffset(1)
			w.send(order{id: "e1", partition: 1, at: time.Now().Add(-time.Minute)})
		}, nil, ""},
		"a partition without an offset and without our events": {func(w *world) {
			w.clean(1)
			w.send(order{id: "theirs", partition: 2, account: "other"})
			w.commit()
			w.forgetOffset(2)
		}, nil, ""},
		"a partition without an offset, and its events are not of the range": {func(w *world) {
			w.clean(1)
			w.send(order{id: "e1", partition: 1})
			w.process(w.send(order{id: "e2", at: noon.Add(2 * time.Hour)}), event.TypeCaptured)
			w.commit()
			w.forgetOffset(1)
			w.conf.Since = noon.Add(time.Hour)
		}, nil, ""},
		"only events of others": {func(w *world) {
			w.send(order{id: "e1", account: "other"})
			w.sendRaw(`{"specversion":"1.0","id":"x","source":"/orders","type":"order.shipped"}`)
		}, nil, ""},
		"no events in the range": {func(w *world) {
			w.send(order{id: "e1"})
			w.conf.Since = noon.Add(time.Hour)
		}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			test.plant(w)
			found, sum := w.run()
			var kinds []verify.Kind
			for _, f := range found {
				kinds = append(kinds, f.Kind)
			}
			if !slices.Equal(kinds, test.want) || sum.Differences() != int64(len(test.want)) {
				t.Fatalf("found %+v, %d differences; want %v", found, sum.Differences(), test.want)
			}
			if len(found) > 0 && !strings.Contains(found[0].Detail, test.in) {
				t.Errorf("the detail is %q, which does not say %q", found[0].Detail, test.in)
			}
		})
	}
}

// forgetOffset deletes the committed offset of a partition, as its expiry does.
func (w *world) forgetOffset(partition int32) {
	w.t.Helper()
	set := make(kadm.TopicsSet)
	set.Add(w.conf.Topics.Input, partition)
	responses, err := w.admin.DeleteOffsets(w.t.Context(), group, set)
	if err == nil {
		err = responses.Error()
	}
	if err != nil {
		w.t.Fatal(err)
	}
}
