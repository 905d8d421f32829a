package ledger

import (
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/rules"
	"payment-capture/internal/secret"
)

// TestCorrectedEventStays: an event was parked without a call, and captured when it
// came corrected under its id. Whether the topic was compacted before, and a part of it
// is read again, the ledger knows the capture and that the first content is superseded.
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

	at := partitionOf("o1")
	for outcome, decision := range map[string]*event.Decision{"captured": &captured, "parked": &again} {
		attempt := decision.Attempt
		attempt.First = aTime(9)
		topic := []*kgo.Record{
			decisionRecord(t, at, "e1", parked), attemptRecord(at, "e1", "owner", &attempt),
			decisionRecord(t, at, "e1", decision), attemptRecord(at, "e1", "owner", nil),
		}
		for i, r := range topic {
			r.Offset = int64(i)
		}
		for how, records := range map[string][]*kgo.Record{
			"as written": topic, "compacted": topic[2:], "read twice": slices.Concat(topic, topic),
		} {
			l, a := offline(t, vfs.NewMem(), "dir")
			for _, r := range records {
				if err := a.apply(fetched(r)); err != nil {
					t.Fatal(err)
				}
			}
			h, err := l.Lookup(t.Context(), "e1")
			if err != nil {
				t.Fatal(err)
			}
			checkCorrected(t, outcome+", "+how, h, first, &second, decision)
		}
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
