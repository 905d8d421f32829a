//go:build synctests || integration

package acceptance

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/skips"
	"payment-capture/internal/verify"
)

// audit runs verify and returns its findings.
func (w *world) audit() ([]verify.Finding, *verify.Summary) {
	w.t.Helper()
	var found []verify.Finding
	sum, err := verify.Run(w.t.Context(), verify.Config{
		Kafka: w.kafkaConfig(), Group: w.group, Account: "main", ScratchDir: w.t.TempDir(), Log: slog.New(slog.DiscardHandler),
		Topics: verify.Topics{
			Input: w.topics.input, Captured: w.topics.captured, Rejected: w.topics.rejected,
			Parked: w.topics.parked, Ledger: w.topics.ledger,
		},
	}, func(f verify.Finding) error {
		found = append(found, f)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return found, sum
}

// wantFindings compares findings by kind and event.
func (w *world) wantFindings(found []verify.Finding, want ...string) {
	w.t.Helper()
	var got []string
	for _, f := range found {
		got = append(got, strings.TrimSpace(string(f.Kind)+" "+f.EventID))
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("findings of verify differ (-want +got):\n%s\n%+v", diff, found)
	}
}

// foreignCommit commits the end of the input without metadata, as another tool does. The
// group must be empty.
func (w *world) foreignCommit() {
	w.t.Helper()
	ends, err := w.admin.ListEndOffsets(w.t.Context(), w.topics.input)
	if err != nil {
		w.t.Fatal(err)
	}
	w.eventually("the offsets can be set", func() bool {
		return w.admin.CommitAllOffsets(w.t.Context(), w.group, ends.Offsets()) == nil
	})
}

// foreignOffsetSkips has another tool commit the end of the topic while the service is
// stopped. Verify names the skipped orders with their partition and range.
func foreignOffsetSkips(w *world) {
	w.choosePartitions()
	in := w.start("a")
	w.send(numbered(12, func(i int, o *order) { o.partition = int32(i%3) + 1 })...) // offsets 0-3 of each partition
	w.want(w.awaitDecisions(), map[string]int{"captured": 12})
	in.stop()
	found, _ := w.audit()
	w.wantFindings(found)

	var want []string
	for i := range 5 {
		id := fmt.Sprintf("skipped-%d", i)
		want = append(want, "missing_outcome "+id)
		w.send(order{id: id, partition: 2}) // offsets 4-8
	}
	w.send(order{id: "shipped", kind: "order.shipped", partition: 2, skipped: true},
		order{id: "theirs", account: "another", partition: 3, skipped: true})
	w.foreignCommit()
	w.send(order{id: "behind", partition: 2}) // the service reads this one
	found, sum := w.audit()
	w.wantFindings(found, append(want, "foreign_offset")...)
	if f := found[0]; f.Kind != verify.ForeignOffset || !strings.Contains(f.Detail, "partition "+w.topics.input+"/1: ") ||
		!strings.Contains(f.Detail, "did not write the committed offset 10") ||
		!strings.HasSuffix(f.Detail, "5 records below it have no decision: offsets 4-8") {
		w.t.Errorf("the range is named as %+v", f)
	}
	if sum.Pending() != 1 {
		w.t.Errorf("%d events are pending, want the one behind the offset", sum.Pending())
	}
	skipped := []skips.Count{
		{Reason: event.SkipOtherType, Records: 1, Names: []skips.Name{{Name: "order.shipped", Records: 1}}},
		{Reason: event.SkipOtherAccount, Records: 1, Names: []skips.Name{{Name: "another", Records: 1}}},
	}
	if diff := cmp.Diff(skipped, sum.Skipped()); diff != "" {
		w.t.Errorf("other records are listed as skipped (-want +got):\n%s", diff)
	}
}

// agelessEvents have neither a time nor a record timestamp and are parked. Verify
// decodes the parked records as the service did.
func agelessEvents(w *world) {
	in := w.start("a")
	w.send(order{id: "e1"})
	w.want(w.awaitDecisions(), map[string]int{"captured": 1})
	structured, binary := w.record(order{id: "structured"}), w.record(order{id: "binary", binary: true})
	structured.Value = []byte(strings.Replace(string(structured.Value), `"time"`, `"timing"`, 1))
	binary.Headers = slices.DeleteFunc(binary.Headers, func(h kgo.RecordHeader) bool { return h.Key == "ce_time" })
	for _, r := range []*kgo.Record{structured, binary} {
		r.Timestamp = time.UnixMilli(-1)
	}
	w.produce(structured, binary)
	w.want(w.awaitDecisions(), map[string]int{"captured": 1, "parked invalid_event": 2})
	in.stop()
	for _, v := range w.decisions() {
		if v.kind == "parked" && !strings.HasPrefix(headerOf(v.record, "parked_event_id"), "sha256:") {
			w.t.Errorf("parked under %q", headerOf(v.record, "parked_event_id"))
		}
	}
	found, sum := w.audit()
	w.wantFindings(found)
	if sum.Events() != 3 {
		w.t.Errorf("%d events", sum.Events())
	}
}

// offsetsExpired deletes the group's offsets, or names another ledger topic. Verify then
// reports that it proves nothing.
func offsetsExpired(w *world) {
	in := w.start("a")
	w.send(numbered(4, nil)...)
	w.want(w.awaitDecisions(), map[string]int{"captured": 4})
	in.stop()
	all := make(kadm.TopicsSet)
	all.Add(w.topics.input, 0)
	w.eventually("the offsets can be deleted", func() bool {
		resp, err := w.admin.DeleteOffsets(w.t.Context(), w.group, all)
		return err == nil && resp.Error() == nil
	})
	w.send(order{id: "meanwhile"})
	found, _ := w.audit()
	w.wantFindings(found, "group_without_offsets")
	w.foreignCommit()
	w.topics.ledger += ".other"
	w.createLedger()
	found, _ = w.audit()
	w.wantFindings(found, "foreign_offset", "ledger_without_decisions", "missing_outcome meanwhile")
}
