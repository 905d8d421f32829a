package ledger

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"payment-capture/internal/event"
	"payment-capture/internal/rules"
	"payment-capture/internal/secret"
)

// TestCorrectedEventStays: an event was parked without a call, and captured when it
// came corrected under its id, in the same partition of the input or, by another
// instance, in another one. Whatever order the partitions are read in, whether the
// topic was compacted before, and the store since, the ledger knows the capture and
// that the first content is superseded.
func TestCorrectedEventStays(t *testing.T) {
	first := &event.ReadyToCapture{ID: "e1", OrderID: "o1", ExternalReference: "o1", Amount: amountOf(t, "1.00"), PayerToken: secret.New("t")}
	second := *first
	second.Amount = amountOf(t, "700.50")
	parked := &event.Decision{
		Result: event.Result{ParkInfo: &event.ParkInfo{Reason: event.ParkTooOld, Detail: "d"}}, At: aTime(9), Attempt: event.AttemptOf(first),
	}
	rules.Conclude(parked, first, event.History{})
	captured := *decisionsForTest(t)["captured"]
	captured.At, captured.Attempt = aTime(9), event.AttemptOf(&second) // of the same millisecond
	captured.Attempt.First = aTime(9)
	rules.Conclude(&captured, &second, event.History{Decision: parked})
	again := *parked
	again.Attempt = event.AttemptOf(&second)
	rules.Conclude(&again, &second, event.History{Decision: parked})

	for outcome, decision := range map[string]*event.Decision{"captured": &captured, "parked": &again} {
		for _, partition := range []int32{0, 1} {
			topic := []entry{
				{partition: 0, offset: 0, key: KindDecision.Key("e1"), value: valueOf(t, parked)},
				{partition: partition, offset: 10, key: KindAttempt.Key("e1"), value: EncodeAttempt(decision.Attempt)},
				{partition: partition, offset: 11, key: KindDecision.Key("e1"), value: valueOf(t, decision)},
				{partition: partition, offset: 12, key: KindAttempt.Key("e1")},
			}
			compacted := topic[2:]
			if partition != 0 {
				compacted = []entry{topic[0], topic[2], topic[3]}
			}
			for how, entries := range map[string][]entry{
				"as written": topic, "compacted": compacted, "read twice": slices.Concat(topic, topic), "the later partition first": laterFirst(topic),
			} {
				name := fmt.Sprintf("%s in partition %d, %s", outcome, partition, how)
				s := openForTest(t, storeConfigForTest(vfs.NewMem(), "store"))
				for i, e := range entries {
					put(t, s, e)
					if i == 0 {
						compactForTest(t, s)
					}
				}
				checkCorrected(t, name, has(t, s, "e1"), first, &second, decision)
				compactForTest(t, s)
				checkCorrected(t, name+", store compacted", has(t, s, "e1"), first, &second, decision)
				closeForTest(t, s)
			}
		}
	}
}

// laterFirst returns entries with those of the highest partition first; of one
// partition they stay in order.
func laterFirst(entries []entry) []entry {
	sorted := slices.Clone(entries)
	slices.SortStableFunc(sorted, func(a, b entry) int { return int(b.partition - a.partition) })
	return sorted
}

func valueOf(t *testing.T, d *event.Decision) []byte {
	t.Helper()
	value, err := EncodeDecision(d)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func compactForTest(t *testing.T, s *store) {
	t.Helper()
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := s.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false); err != nil {
		t.Fatal(err)
	}
}

func checkCorrected(t *testing.T, name string, h event.History, first, second *event.ReadyToCapture, want *event.Decision) {
	t.Helper()
	if h.Attempt != nil || h.Decision == nil || h.Decision.Parked() != want.Parked() ||
		!h.Decision.At.Equal(want.At.Truncate(time.Millisecond)) {
		t.Errorf("%s: the ledger knows %+v, %+v", name, h.Attempt, h.Decision)
		return
	}
	answer := rules.Republish
	if want.Parked() {
		answer = rules.LeaveParked
	}
	if got := rules.Respond(first, nil, h).Action; got != rules.LeaveSuperseded {
		t.Errorf("%s: to the first content it says %s", name, got)
	}
	if got := rules.Respond(second, nil, h).Action; got != answer {
		t.Errorf("%s: to the corrected one it says %s, want %s", name, got, answer)
	}
}
