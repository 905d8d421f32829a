package pipeline

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
)

// skippedTest counts the log lines of skippedRecords.
type skippedTest struct {
	*skippedRecords
	t      *testing.T
	log    bytes.Buffer
	now    time.Time
	offset int64
}

func newSkippedTest(t *testing.T) *skippedTest {
	t.Helper()
	s := &skippedTest{t: t, now: time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)}
	log := slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s.skippedRecords = newSkippedRecords(log, NewMetrics(prometheus.NewRegistry()))
	return s
}

func (s *skippedTest) record() *kgo.Record {
	s.offset++
	return &kgo.Record{Topic: "orders", Partition: 3, Offset: s.offset - 1}
}

// skip notes n skipped records in one poll.
func (s *skippedTest) skip(n int, reason event.SkipReason, name string) {
	part := polledPartition{number: 3}
	for range n {
		part.records = append(part.records, polledRecord{record: s.record(), skip: true, skipped: &event.SkipError{Reason: reason, Type: name}})
	}
	s.note(s.t.Context(), []polledPartition{part}, s.now)
}

// others notes n records that are not skipped.
func (s *skippedTest) others(n int, r polledRecord) {
	part := polledPartition{number: 3}
	for range n {
		r.record = s.record()
		part.records = append(part.records, r)
	}
	s.note(s.t.Context(), []polledPartition{part}, s.now)
}

// logged counts the lines with a message since the last call.
func (s *skippedTest) logged(message string) int {
	n := strings.Count(s.log.String(), message)
	s.log.Reset()
	return n
}

var (
	oursRecord    = polledRecord{event: &event.ReadyToCapture{}}
	invalidRecord = polledRecord{invalid: &event.InvalidError{}}
	markerRecord  = polledRecord{skip: true}
)

const (
	firstOfKind   = "first skipped record of this kind"
	mostlySkipped = "most records are skipped and none is ours"
)

func TestFirstOfEachSkippedKindIsLogged(t *testing.T) {
	t.Parallel()
	s := newSkippedTest(t)
	s.others(5, oursRecord)
	s.skip(3, event.SkipOtherType, `"order.ready_to_capture"`)
	want := `level=WARN msg="` + firstOfKind + `" reason=other_type type="\"order.ready_to_capture\"" topic=orders partition=3 offset=5`
	if got := s.log.String(); !strings.Contains(got, want) {
		t.Errorf("logged %s", got)
	}
	if n := s.logged(firstOfKind); n != 1 {
		t.Errorf("logged %d times", n)
	}
	s.skip(1, event.SkipOtherAccount, "another")
	if got := s.log.String(); !strings.Contains(got, "reason=other_account account=another topic=orders partition=3 offset=8") {
		t.Errorf("logged %s", got)
	}
	s.log.Reset()
	s.skip(4, event.SkipTombstone, "")
	s.skip(1, event.SkipOtherAccount, "another")
	if n := s.logged(firstOfKind); n != 1 {
		t.Errorf("tombstones and a second one: logged %d times, want the first tombstone", n)
	}
	sum := s.summary()
	kinds := []SkippedKind{
		{Reason: event.SkipTombstone, Records: 4, Partition: 3, Offset: 9, Last: s.now},
		{Reason: event.SkipOtherType, Type: `"order.ready_to_capture"`, Records: 3, Partition: 3, Offset: 5, Last: s.now},
		{Reason: event.SkipOtherAccount, Account: "another", Records: 2, Partition: 3, Offset: 8, Last: s.now},
	}
	if sum.Records != 9 || sum.Others != 0 || fmt.Sprint(sum.Kinds) != fmt.Sprint(kinds) {
		t.Errorf("summary %+v\nwant kinds %+v", sum, kinds)
	}
}

// However many kinds there are, the most frequent ones are counted, and the log lines and
// the memory are bounded.
func TestSkippedKindsAreBounded(t *testing.T) {
	t.Parallel()
	s := newSkippedTest(t)
	if s.summary() != nil {
		t.Error("a summary of nothing")
	}
	rare := func(n int) {
		for i := range n {
			s.skip(1, event.SkipOtherType, fmt.Sprintf("type-%d-%d", s.offset, i))
		}
	}
	rare(3 * maxSkippedKinds)
	if n := strings.Count(s.log.String(), firstOfKind); n != maxKindWarnings || strings.Count(s.log.String(), "too many kinds") != 1 {
		t.Errorf("%d kinds are logged, want %d, and the bound once", n, maxKindWarnings)
	}
	s.log.Reset()
	s.skip(3000, event.SkipOtherType, "order.shipped")
	rare(3 * maxSkippedKinds)
	s.skip(7, event.SkipOtherType, "order.shipped")
	if len(s.kinds) > maxSkippedKinds {
		t.Errorf("%d kinds are kept, want %d at most", len(s.kinds), maxSkippedKinds)
	}
	if s.log.Len() > 0 {
		t.Errorf("logged beyond the bound: %.300s", s.log.String())
	}
	s.now = s.now.Add(kindWarningInterval)
	if rare(2); s.logged(firstOfKind) != 1 {
		t.Error("want one line after a while")
	}
	sum := s.summary()
	if len(sum.Kinds) != shownSkippedKinds || sum.Kinds[0].Type != "order.shipped" || sum.Kinds[0].Records != 3007 {
		t.Errorf("kinds %+v", sum.Kinds)
	}
	if total := int64(6*maxSkippedKinds + 3009); sum.Records != total || sum.Others != total-3007-int64(shownSkippedKinds-1) {
		t.Errorf("%d records and %d others, want %d in all", sum.Records, sum.Others, total)
	}
}

func TestSkippedNamesArePrintable(t *testing.T) {
	t.Parallel()
	s := newSkippedTest(t)
	for name, want := range map[string]string{
		"a\x00b\nc\u202ed\xff":   "a?b?c?d?",
		strings.Repeat("x", 900): strings.Repeat("x", skippedNameLimit) + "...",
	} {
		s.skip(1, event.SkipOtherType, name)
		if s.kinds[skippedKind{event.SkipOtherType, want}] == nil {
			t.Errorf("%q is not kept as %q", name, want)
		}
	}
}

// The warning repeats every five minutes, as long as the last thousand records are
// mostly skipped and none is ours.
func TestMostlySkippedWarningRepeats(t *testing.T) {
	t.Parallel()
	s := newSkippedTest(t)
	s.skip(minRecent-1, event.SkipOtherType, "x")
	if s.logged(mostlySkipped) != 0 {
		t.Error("warned by a handful of records")
	}
	s.skip(1, event.SkipOtherType, "x")
	want := fmt.Sprintf("recent_records=%d skipped=%d most_frequent_reason=other_type most_frequent_name=x", minRecent, minRecent)
	if got := s.log.String(); !strings.Contains(got, want) {
		t.Errorf("logged %s", got)
	}
	s.log.Reset()
	for range 299 { // five minutes less a second
		s.now = s.now.Add(time.Second)
		s.skip(1, event.SkipOtherType, "x")
	}
	if n := s.logged(mostlySkipped); n != 0 {
		t.Errorf("warned %d times within five minutes", n)
	}
	for range 600 {
		s.now = s.now.Add(time.Second)
		s.skip(1, event.SkipOtherType, "x")
	}
	if n := s.logged(mostlySkipped); n != 2 {
		t.Errorf("warned %d times within ten minutes, want 2", n)
	}
	s.now = s.now.Add(time.Hour)
	s.others(1, oursRecord)
	s.skip(recentRecords-1, event.SkipOtherType, "x")
	s.others(5, markerRecord)
	if n := s.logged(mostlySkipped); n != 0 {
		t.Errorf("warned though one of the last records is ours")
	}
	s.skip(1, event.SkipOtherType, "x") // pushes it out
	if n := s.logged(mostlySkipped); n != 1 {
		t.Errorf("warned %d times once no recent record is ours, want 1", n)
	}
	s.now = s.now.Add(time.Hour)
	s.others(recentRecords/2, invalidRecord)
	if n := s.logged(mostlySkipped); n != 0 {
		t.Errorf("warned though half of the records are not skipped")
	}
	s.skip(recentRecords/2+1, event.SkipOtherType, "x")
	if n := s.logged(mostlySkipped); n != 1 {
		t.Errorf("invalid events are none of ours: warned %d times, want 1", n)
	}
}
