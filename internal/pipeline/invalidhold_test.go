package pipeline

import (
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
	"payment-capture/internal/money"
	"payment-capture/internal/offsetmeta"
	"payment-capture/internal/rules"
)

// parkedRecords is a ledger of parked records alone.
type parkedRecords struct {
	Ledger
	ids []string
}

func (l parkedRecords) Snapshot(ids []string) []event.Snapshot {
	known := make([]event.Snapshot, len(ids))
	for i, id := range ids {
		if slices.Contains(l.ids, id) {
			known[i].Decision = &event.Decision{Result: event.Result{ParkInfo: &event.ParkInfo{}}}
		}
	}
	return known
}

// unavailable is a ledger that cannot answer now.
type unavailable struct{ Ledger }

func (unavailable) Snapshot([]string) []event.Snapshot { return nil }

// TestPrefetchWithoutLedger: invalid events are suspicious also while the ledger is not
// available, or they would all be parked when it is back.
func TestPrefetchWithoutLedger(t *testing.T) {
	t.Parallel()
	p := &Pipeline{ledger: unavailable{}}
	records := []*polledRecord{{
		record: &kgo.Record{}, id: "sha256:1", invalid: &event.InvalidError{Field: "data.amount", Problem: "is negative"},
	}}
	if p.prefetch(t.Context(), records, time.Now()); records[0].suspicious == nil || records[0].prefetched != nil {
		t.Errorf("got %+v", records[0])
	}
}

func TestAssess(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	fresh, seen := &kgo.Record{Value: []byte("fresh")}, &kgo.Record{Value: []byte("seen")}
	p := &Pipeline{
		conf:   Config{Rules: rules.Rules{Currency: "MXN", MaxEventAge: time.Hour}, SuppressReplayed: true},
		ledger: parkedRecords{ids: []string{event.RecordID(kafka.MessageOf(seen))}},
	}
	of := func(currency money.Currency, at time.Time) *event.ReadyToCapture {
		amount, err := money.Parse("10", currency)
		if err != nil {
			t.Fatal(err)
		}
		return &event.ReadyToCapture{Amount: amount, Time: at}
	}
	attempted := event.Snapshot{History: event.History{Attempt: &event.Attempt{First: now}}}
	captured := &event.Decision{Result: event.Result{Outcome: &event.Outcome{Type: event.TypeCaptured}}}
	decided := event.Snapshot{History: event.History{Decision: captured}}
	another := event.Snapshot{History: event.History{Attempt: &event.Attempt{First: now, Event: event.Fingerprint{1}}}}
	uncalled := event.Snapshot{History: event.History{Decision: &event.Decision{
		Result: event.Result{ParkInfo: &event.ParkInfo{Reason: event.ParkTooOld}}, Content: event.Fingerprint{1},
	}}}
	invalid := &event.InvalidError{Field: "data.amount", Problem: "is negative"}
	for name, c := range map[string]struct {
		record     polledRecord
		good       bool
		suspicious event.ParkReason // "": it is not suspicious
	}{
		"invalid":                        {polledRecord{invalid: invalid}, false, event.ParkInvalidEvent},
		"invalid, parked before":         {polledRecord{invalid: invalid, snapshot: decided}, false, ""},
		"valid":                          {polledRecord{event: of("MXN", now)}, true, ""},
		"valid, attempted before":        {polledRecord{event: of("MXN", now), snapshot: attempted}, true, ""},
		"valid, decided before":          {polledRecord{event: of("MXN", now), snapshot: decided}, false, ""},
		"other currency":                 {polledRecord{event: of("BRL", now)}, false, event.ParkWrongCurrency},
		"other currency, decided before": {polledRecord{event: of("BRL", now), snapshot: decided}, false, ""},
		"too old":                        {polledRecord{event: of("MXN", now.Add(-2*time.Hour))}, false, event.ParkTooOld},
		"too old, attempted before":      {polledRecord{event: of("MXN", now.Add(-2*time.Hour)), snapshot: attempted}, false, ""},
		"its id is another event's":      {polledRecord{event: of("MXN", now), snapshot: another, record: fresh}, false, event.ParkConflicting},
		"the same, parked before":        {polledRecord{event: of("MXN", now), snapshot: another, record: seen}, false, ""},
		"corrected":                      {polledRecord{event: of("MXN", now), snapshot: uncalled}, true, ""},
		"corrected, but too old":         {polledRecord{event: of("MXN", now.Add(-2*time.Hour)), snapshot: uncalled}, false, event.ParkTooOld},
		"two hours ahead":                {polledRecord{event: of("MXN", now.Add(2*time.Hour))}, false, event.ParkTimeInFuture},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := c.record
			r.snapshot.Version = 1
			p.assess(t.Context(), &r, now)
			var suspicious event.ParkReason
			if r.suspicious != nil {
				suspicious = r.suspicious.Reason
			}
			if r.good != c.good || suspicious != c.suspicious {
				t.Errorf("good %t, suspicious %q; want %t, %q", r.good, suspicious, c.good, c.suspicious)
			}
		})
	}
}

// TestAssessWithoutTheLedger: while the ledger is not available, an event may have a
// decision, so it is evidence only if it is wrong whatever its history.
func TestAssessWithoutTheLedger(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	p := &Pipeline{conf: Config{Rules: rules.Rules{Currency: "MXN", MaxEventAge: time.Hour}}}
	for name, c := range map[string]struct {
		currency   money.Currency
		age        time.Duration
		suspicious bool
	}{
		"valid":          {"MXN", 0, false},
		"too old":        {"MXN", 2 * time.Hour, false},
		"other currency": {"BRL", 0, true},
	} {
		amount, err := money.Parse("10", c.currency)
		if err != nil {
			t.Fatal(err)
		}
		r := polledRecord{event: &event.ReadyToCapture{Amount: amount, Time: now.Add(-c.age)}}
		p.assess(t.Context(), &r, now)
		if r.good || (r.suspicious != nil) != c.suspicious {
			t.Errorf("%s: good %t, suspicious %v", name, r.good, r.suspicious)
		}
	}
}

// TestAssessReference: with CAPTURE_ONCE_PER=reference an event is suspicious if another
// one was captured under its reference, and no evidence if the ledger does not answer.
func TestAssessReference(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	amount, err := money.Parse("10", "MXN")
	if err != nil {
		t.Fatal(err)
	}
	captured := func(id string) []event.Known {
		return []event.Known{{EventID: id, History: event.History{Decision: &event.Decision{
			Result: event.Result{Outcome: &event.Outcome{Type: event.TypeCaptured, EventID: id}},
		}}}}
	}
	for name, c := range map[string]struct {
		under            event.SnapshotUnder
		attempted        bool
		good, suspicious bool
	}{
		"nothing under the reference": {event.SnapshotUnder{Version: 1}, false, true, false},
		"another event was captured":  {event.SnapshotUnder{Version: 1, Known: captured("e0")}, false, false, true},
		"the event itself":            {event.SnapshotUnder{Version: 1, Known: captured("e1")}, false, true, false},
		"attempted before":            {event.SnapshotUnder{Version: 1, Known: captured("e0")}, true, true, false},
		"the ledger does not answer":  {event.SnapshotUnder{}, false, false, false},
	} {
		p := &Pipeline{conf: Config{Rules: rules.Rules{Currency: "MXN", MaxEventAge: time.Hour, Guard: rules.GuardReference}}}
		r := polledRecord{event: &event.ReadyToCapture{ID: "e1", Amount: amount, Time: now}, snapshot: event.Snapshot{Version: 1}, under: c.under}
		if c.attempted {
			r.snapshot.Attempt = &event.Attempt{First: now}
		}
		p.assess(t.Context(), &r, now)
		if r.good != c.good || (r.suspicious != nil) != c.suspicious {
			t.Errorf("%s: good %t, suspicious %v", name, r.good, r.suspicious)
		}
	}
}

// runTest is an owner with one partition, which polls and admits the records of a test.
type runTest struct {
	*owner
	t  *testing.T
	pt *partition
}

func newRunTest(t *testing.T, hold time.Duration, from offsetmeta.Run) runTest {
	t.Helper()
	o := newTestOwner(t, Config{InvalidRun: 3, InvalidHold: hold, MaxInFlight: 64}, nil)
	pt := &partition{ownership: newOwnership(o.work, 0, "")}
	pt.startAt(startOffset{})
	o.parts[0] = pt
	o.resumeRun(pt, from)
	return runTest{owner: o, t: t, pt: pt}
}

// show polls and admits records from an offset on: one letter each, b for a suspicious
// one, g for a good one, s for a skipped one, h for one with a history.
func (r runTest) show(at int64, kinds string) {
	part := polledPartition{number: 0}
	for i, kind := range kinds {
		p := polledRecord{record: &kgo.Record{Offset: at + int64(i)}, event: &event.ReadyToCapture{OrderID: "o"}}
		switch kind {
		case 'b':
			p.event, p.invalid = nil, &event.InvalidError{Problem: "is bad"}
			p.suspicious = &event.ParkInfo{Reason: event.ParkInvalidEvent, Detail: "is bad"}
		case 'g':
			p.good = true
		case 's':
			p.skip = true
		}
		part.records = append(part.records, p)
	}
	r.polled([]polledPartition{part})
}

// want checks the offsets that are held.
func (r runTest) want(what string, offsets ...int64) {
	r.t.Helper()
	var got []int64
	if h := r.pt.invalid.hold; h != nil {
		for _, it := range h.items {
			got = append(got, it.offset)
		}
	}
	if len(got) != len(offsets) {
		r.t.Fatalf("%s: held %v, want %v", what, got, offsets)
	}
	for i := range got {
		if got[i] != offsets[i] {
			r.t.Fatalf("%s: held %v, want %v", what, got, offsets)
		}
	}
}

func TestRunIsHeldAcrossNeutralRecords(t *testing.T) {
	t.Parallel()
	r := newRunTest(t, time.Minute, offsetmeta.Run{})
	r.show(0, "bb")
	r.want("below the threshold")
	r.show(2, "shs")
	r.show(5, "bsb")
	r.want("from the third one on", 5, 7)
	if !r.pt.dirty {
		t.Error("the hold is not committed")
	}
	r.show(8, "bbgbb")
	r.want("a good one ends it, and two more are no run")
	if got := testutil.ToFloat64(r.p.conf.Metrics.holdsTotal.WithLabelValues(string(holdEndedByGood))); got != 1 {
		t.Errorf("%v holds ended by a good record, want 1", got)
	}
}

// A good record in the same poll ends a run before anything of it is held.
func TestPollIsCountedBeforeItIsAdmitted(t *testing.T) {
	t.Parallel()
	r := newRunTest(t, time.Minute, offsetmeta.Run{})
	r.show(0, "bbbbbg")
	r.want("nothing")
	if r.pt.invalid.Run != (offsetmeta.Run{CountedTo: 6}) {
		t.Errorf("run %+v", r.pt.invalid.Run)
	}
	if got := testutil.ToFloat64(r.p.conf.Metrics.holdsTotal.WithLabelValues(string(holdEndedByGood))); got != 0 {
		t.Errorf("%v holds ended, want none that began", got)
	}
	r.show(6, "bbbb")
	r.want("the whole run, as none of it is admitted", 6, 7, 8, 9)
}

// Records that the previous owner counted are not counted again, and those that it held
// are held.
func TestRunIsResumed(t *testing.T) {
	t.Parallel()
	began := time.Now().Add(-20 * time.Second)
	r := newRunTest(t, time.Minute, offsetmeta.Run{Length: 4, CountedTo: 4, HeldSince: began.Unix(), HeldFrom: 2})
	r.show(0, "bbbbb")
	r.want("as before", 2, 3, 4)
	if r.pt.invalid.Length != 5 || r.pt.invalid.hold.until.Sub(began.Truncate(time.Second)).Round(time.Second) != time.Minute {
		t.Errorf("run %+v until %s", r.pt.invalid.Run, r.pt.invalid.hold.until)
	}
	r = newRunTest(t, time.Minute, offsetmeta.Run{Length: 2, CountedTo: 9})
	r.show(0, "bbb")
	r.want("counted records do not begin a hold")
	r = newRunTest(t, time.Minute, offsetmeta.Run{Length: 9, CountedTo: 0, Released: true})
	r.show(0, "bbbbb")
	r.want("the hold of this run has expired")
	r.show(5, "gbbb")
	r.want("the next run is held", 6, 7, 8)
	r = newRunTest(t, 0, offsetmeta.Run{Length: 4, CountedTo: 4, HeldSince: began.Unix(), HeldFrom: 2})
	r.show(0, "bbbbb")
	r.want("released by the configuration")
	r = newRunTest(t, time.Minute, offsetmeta.Run{Length: 4, CountedTo: 4, HeldSince: time.Now().Add(time.Hour).Unix(), HeldFrom: 2})
	if wait := time.Until(r.pt.invalid.hold.until); wait > time.Minute {
		t.Errorf("a clock that was ahead prolongs the hold to %s", wait)
	}
}

// A good record that the scout finds ends the hold, and the records before it belong to
// no run.
func TestScoutEndsTheHold(t *testing.T) {
	t.Parallel()
	r := newRunTest(t, time.Minute, offsetmeta.Run{})
	r.show(0, "bbbb")
	r.pt.paused = true
	r.directScout()
	target := r.pt.invalid.hold.target
	if target == nil || target.next != 4 || len(r.scouting) != 1 {
		t.Fatalf("the scout reads %+v", target)
	}
	bad := polledRecord{suspicious: &event.ParkInfo{}, record: &kgo.Record{Offset: 4}}
	good := polledRecord{good: true, record: &kgo.Record{Offset: 9}}
	r.scouted(target, target.count([]polledRecord{bad}))
	if h := r.invalidHolds()[0]; h.Waiting != 5 || h.First != 0 || h.Last != 4 {
		t.Errorf("hold %+v", h)
	}
	r.show(4, "b") // a poll that was under way
	if h := r.invalidHolds()[0]; h.Waiting != 5 || r.pt.invalid.hold.target != nil {
		t.Errorf("polled records are counted twice: %+v", h)
	}
	r.scouted(target, target.count([]polledRecord{good}))
	r.want("a late report of polled records", 0, 1, 2, 3, 4)
	r.directScout()
	r.scouted(r.pt.invalid.hold.target, target.count([]polledRecord{good}))
	r.want("ended")
	r.directScout()
	if len(r.scouting) != 0 {
		t.Error("the scout still reads")
	}
	r.show(5, "bbbb")
	r.want("before the good record")
	r.show(9, "gbbb")
	r.want("behind it", 10, 11, 12)
}

// TestForeignOffsetIsNotCommittedByAHold: until a foreign offset is confirmed, nothing is
// committed for its partition, because it would not be foreign after a restart.
func TestForeignOffsetIsNotCommittedByAHold(t *testing.T) {
	t.Parallel()
	r := newRunTest(t, time.Minute, offsetmeta.Run{})
	r.pt.check, r.pt.foreign = &offsetCheck{offset: 0, cancel: func() {}}, true
	r.show(0, "bbbb")
	if r.pt.invalid.hold == nil {
		t.Fatal("no hold began")
	}
	if _, due := r.flushDue(); due || r.pt.dirty {
		t.Errorf("a flush is due: %t, dirty: %t", due, r.pt.dirty)
	}
	r.offsetChecked(r.pt, skippedRange{})
	if _, due := r.flushDue(); !due {
		t.Error("no flush is due after the offset was confirmed")
	}
}

// TestHoldWhoseCauseIsFixed: after a restart with the right configuration the held
// records are good, which ends the hold.
func TestHoldWhoseCauseIsFixed(t *testing.T) {
	t.Parallel()
	r := newRunTest(t, time.Minute, offsetmeta.Run{Length: 5, CountedTo: 5, HeldSince: time.Now().Unix(), HeldFrom: 2})
	r.show(0, "bb") // parked before the hold
	if r.pt.invalid.hold == nil {
		t.Fatal("the hold was not resumed")
	}
	r.show(2, "ggg")
	if r.pt.invalid.hold != nil || r.pt.invalid.Length != 0 {
		t.Errorf("the hold has not ended: %+v", r.pt.invalid.Run)
	}
}

// TestScoutStartsAtTheCommittedOffset: a hold that is resumed before the first poll is
// scouted from where the partition starts.
func TestScoutStartsAtTheCommittedOffset(t *testing.T) {
	t.Parallel()
	r := newRunTest(t, time.Minute, offsetmeta.Run{})
	r.offsetsFetched(map[int32]startOffset{0: {offset: 700, ledgerMissing: "for the test"}})
	if r.pt.polledTo != 700 {
		t.Errorf("polled up to %d", r.pt.polledTo)
	}
}
