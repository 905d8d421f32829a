package pipeline

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"payment-capture/internal/offsetmeta"
)

// What the model's topic has at an offset.
type cell struct {
	gap       bool // a marker that is not delivered, aborted, compacted away
	skip      bool // delivered, and not ours
	epoch     int32
	completed bool // a record of ours, by this owner or an earlier one
}

// modelTopic is a naive offset tracker: every offset with its state.
type modelTopic struct {
	r       *rand.Rand
	cells   []cell
	tracker *offsetTracker
	open    []*item // admitted, not completed
	at      int64   // the next offset that is read
	end     int64   // one past the last offset that this owner completed
}

func newModel(seed uint64, limit, cells int) *modelTopic {
	r := seeded(seed)
	m := &modelTopic{r: r, cells: make([]cell, cells)}
	var epoch int32
	gaps, skips, leaders := r.Float64()*0.4, r.Float64()*0.3, r.Float64()*0.2
	for i := range m.cells {
		if r.Float64() < leaders {
			epoch += 1 + r.Int32N(2)
		}
		m.cells[i] = cell{gap: r.Float64() < gaps, skip: r.Float64() < skips, epoch: epoch}
	}
	m.tracker = newOffsetTracker(0, -1, offsetmeta.Completed{}, limit)
	return m
}

// read admits the next delivered record, as the owner does. It reports false if there is
// no room or no record.
func (m *modelTopic) read(t *testing.T) bool {
	t.Helper()
	at := m.at
	for at < int64(len(m.cells)) && m.cells[at].gap {
		at++
	}
	if at == int64(len(m.cells)) {
		return false
	}
	c := &m.cells[at]
	switch {
	case c.skip || m.tracker.completedBefore(at):
		if !c.skip && !c.completed {
			t.Fatalf("offset %d counts as completed, and is not", at)
		}
		m.tracker.skipTo(at+1, c.epoch)
		m.tracker.skipTo(at, c.epoch-1) // a second delivery changes nothing
	case !m.tracker.fits(at):
		return false
	default:
		if c.completed {
			t.Fatalf("offset %d was completed before and is admitted again", at)
		}
		it := &item{offset: at}
		m.tracker.admit(it, c.epoch)
		m.open = append(m.open, it)
	}
	m.at = at + 1
	return true
}

func (m *modelTopic) complete(i int) {
	it := m.open[i]
	m.open = slices.Delete(m.open, i, i+1)
	m.tracker.complete(it)
	m.cells[it.offset].completed = true
	m.end = max(m.end, it.offset+1)
}

// done reports whether an offset is completed in the model.
func (m *modelTopic) done(o int64) bool {
	c := m.cells[o]
	if o < m.at {
		return c.gap || c.skip || c.completed
	}
	return m.tracker.restored.Has(o)
}

func (m *modelTopic) committable() int64 {
	o := int64(0)
	for o < int64(len(m.cells)) && m.done(o) {
		o++
	}
	return o
}

// check compares the offset tracker with the model.
func (m *modelTopic) check(t *testing.T) {
	t.Helper()
	low := m.tracker.committable()
	if want := m.committable(); low != want {
		t.Fatalf("committable = %d, want %d (read up to %d)", low, want, m.at)
	}
	above := m.tracker.completedAbove()
	for o := low; o < int64(len(m.cells)); o++ {
		c := m.cells[o]
		got := above.Has(o)
		if got && !c.gap && !c.skip && !c.completed {
			t.Fatalf("offset %d is not completed, and the metadata has it as completed", o)
		}
		if !got && c.completed && !c.gap {
			t.Fatalf("offset %d is completed, and the metadata does not have it", o)
		}
		if o < max(m.end, m.tracker.restored.End) && got != m.done(o) {
			t.Fatalf("offset %d: completed %v, want %v", o, got, m.done(o))
		}
	}
	if !slices.IsSorted(above.Open) || (len(above.Open) > 0 && (above.Open[0] < low || above.Open[len(above.Open)-1] >= above.End)) {
		t.Fatalf("open %v in [%d,%d)", above.Open, low, above.End)
	}
	if e := m.tracker.committableEpoch(); e != -1 && (low == 0 || e != m.cells[low-1].epoch) {
		t.Fatalf("epoch %d is committed with offset %d", e, low)
	}
	if m.tracker.open != len(m.open) || len(m.tracker.items) > 2*len(m.open)+65 {
		t.Fatalf("%d items, %d open, want %d open", len(m.tracker.items), m.tracker.open, len(m.open))
	}
	if size := mapBytes(above, low); size > m.tracker.limit {
		t.Fatalf("the completed offsets take %d bytes, the limit is %d", size, m.tracker.limit)
	}
}

// mapBytes returns how many bytes completed offsets take in the metadata.
func mapBytes(completed offsetmeta.Completed, committed int64) int {
	size := func(m offsetmeta.Metadata) int { return base64.RawStdEncoding.DecodedLen(len(m.Encode(committed))) }
	return size(offsetmeta.Metadata{Completed: completed}) - size(offsetmeta.Metadata{})
}

// handOver starts another owner from what would be committed.
func (m *modelTopic) handOver(t *testing.T) {
	t.Helper()
	low, epoch := m.tracker.committable(), m.tracker.committableEpoch()
	meta, err := offsetmeta.Decode(offsetmeta.Metadata{Completed: m.tracker.completedAbove()}.Encode(low), low)
	if err != nil {
		t.Fatal(err)
	}
	m.tracker = newOffsetTracker(low, epoch, meta.Completed, m.tracker.limit)
	m.open, m.at, m.end = nil, low, low
	// Meanwhile compaction removes any record, completed or not.
	if m.r.IntN(2) == 0 {
		for i := low; i < int64(len(m.cells)); i++ {
			if m.r.IntN(20) == 0 {
				m.cells[i].gap = true
			}
		}
	}
}

//nolint:tparallel // one model walk after another shows which seed failed
func TestOffsetTrackerAgainstModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(120) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			limit := []int{3, 12, 40, 200}[seed%4]
			m := newModel(seed, limit, 200+int(seed%3)*400)
			readMore, stuck := 0.2+0.7*m.r.Float64(), m.r.Float64()*0.3
			for step := 0; ; step++ {
				more := m.r.Float64() < readMore && m.read(t)
				switch {
				case more:
				case len(m.open) > 0:
					i := m.r.IntN(len(m.open))
					if m.r.Float64() > stuck { // prefer the newest: the oldest is stuck for long
						i = len(m.open) - 1 - m.r.IntN(min(len(m.open), 3))
					}
					m.complete(i)
				case !m.read(t):
					if !m.allGaps() {
						t.Fatalf("nothing is open, and offset %d does not fit", m.at)
					}
					m.check(t)
					return
				}
				if m.r.IntN(60) == 0 {
					m.handOver(t)
				}
				m.check(t)
			}
		})
	}
}

func (m *modelTopic) allGaps() bool {
	return !slices.ContainsFunc(m.cells[m.at:], func(c cell) bool { return !c.gap })
}

// TestOffsetTrackerKeepsTheMetadataWithinTheLimit drives a tracker as wide as the broker's
// limit allows, in the orders that make the metadata largest.
func TestOffsetTrackerKeepsTheMetadataWithinTheLimit(t *testing.T) {
	t.Parallel()
	orders := map[string]func(r *rand.Rand, n int) int{
		"oldest last":  func(r *rand.Rand, n int) int { return n - 1 - r.IntN(max(1, n/2)) },
		"newest first": func(_ *rand.Rand, n int) int { return n - 1 },
		"any":          func(r *rand.Rand, n int) int { return r.IntN(n) },
		"every second": func(r *rand.Rand, n int) int { return n - 1 - r.IntN(min(n, 2)) },
	}
	for name, pick := range orders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, most := range []int{3, 700, 5000, 40_000} {
				r := seeded(uint64(most))
				tr := newOffsetTracker(0, 1, offsetmeta.Completed{}, offsetmeta.MapLimit())
				var open []*item
				at, widest, longest := int64(0), int64(0), 0
				for step := range 20_000 {
					if len(open) < most && tr.fits(at) {
						it := &item{offset: at}
						tr.admit(it, 1)
						open = append(open, it)
						at++
						if r.IntN(3) == 0 {
							at += r.Int64N(1 << r.IntN(12)) // a gap
						}
					}
					if len(open) > 0 && (r.IntN(3) > 0 || len(open) >= most || !tr.fits(at)) {
						i := pick(r, len(open))
						tr.complete(open[i])
						open = slices.Delete(open, i, i+1)
					}
					if step%500 == 499 {
						low := tr.committable()
						above := tr.completedAbove()
						text := offsetmeta.Metadata{Run: longestRun(), Completed: above}.Encode(low)
						widest, longest = max(widest, above.End-low), max(longest, len(text))
						if len(text) > offsetmeta.Limit {
							t.Fatalf("open %d, step %d: %d units over a span of %d", most, step, len(text), above.End-low)
						}
						if step%5000 == 4999 {
							m, err := offsetmeta.Decode(text, low)
							if err != nil {
								t.Fatal(err)
							}
							tr = newOffsetTracker(low, tr.committableEpoch(), m.Completed, tr.limit)
							// The new owner admits the open records again.
							old := open
							open = nil
							for _, it := range old {
								if tr.completedBefore(it.offset) {
									t.Fatalf("offset %d was not completed", it.offset)
								}
								if !tr.fits(it.offset) {
									t.Fatalf("open %d, step %d: offset %d had room, and has none after the handover", most, step, it.offset)
								}
								again := &item{offset: it.offset}
								tr.admit(again, 1)
								open = append(open, again)
							}
							tr.skipTo(at, 1)
						}
					}
				}
				t.Logf("open %d: widest span %d, longest metadata %d", most, widest, longest)
			}
		})
	}
}

func TestOffsetTrackerEpochs(t *testing.T) {
	t.Parallel()
	tr := newOffsetTracker(10, 2, offsetmeta.Completed{}, 100)
	if got := tr.committableEpoch(); got != 2 {
		t.Errorf("at the start: %d, want the committed one", got)
	}
	first, next, gapped, same := &item{offset: 10}, &item{offset: 11}, &item{offset: 15}, &item{offset: 20}
	tr.admit(first, 3)
	tr.admit(next, 3)
	tr.admit(gapped, 5) // 12 to 14 may be of 3, 4 or 5
	tr.admit(same, 5)   // 16 to 19 are of 5
	for _, step := range []struct {
		complete *item
		low      int64
		epoch    int32
	}{{first, 11, 3}, {next, 15, -1}, {gapped, 20, 5}, {same, 21, 5}} {
		tr.complete(step.complete)
		if tr.committable() != step.low || tr.committableEpoch() != step.epoch {
			t.Errorf("committable %d, epoch %d; want %d, %d", tr.committable(), tr.committableEpoch(), step.low, step.epoch)
		}
	}
	tr.skipTo(30, 6)
	if tr.committable() != 30 || tr.committableEpoch() != 6 {
		t.Errorf("after a skip: committable %d, epoch %d", tr.committable(), tr.committableEpoch())
	}
	tr = newOffsetTracker(10, 2, offsetmeta.Completed{End: 20, Open: []int64{10, 15}}, 100)
	at10 := &item{offset: 10}
	tr.admit(at10, 2)
	tr.complete(at10)
	if tr.committable() != 15 || tr.committableEpoch() != -1 {
		t.Errorf("committable at an offset that an earlier owner left open: %d, epoch %d; want 15, -1", tr.committable(), tr.committableEpoch())
	}
	tr = newOffsetTracker(10, 2, offsetmeta.Completed{End: 20}, 100)
	if tr.committable() != 20 || tr.committableEpoch() != -1 {
		t.Errorf("all completed by an earlier owner: committable %d, epoch %d; want 20, -1", tr.committable(), tr.committableEpoch())
	}
}

// longestRun returns a run that takes as much room as any.
func longestRun() offsetmeta.Run {
	return offsetmeta.Run{Length: 1 << 60, CountedTo: 1 << 60, HeldSince: 1 << 60, HeldFrom: 1 << 60}
}

// TestOffsetTrackerFullOfOpenRecords admits as many as fit, at every distance from each
// other, and completes the last alone, which makes the metadata largest.
func TestOffsetTrackerFullOfOpenRecords(t *testing.T) {
	t.Parallel()
	for _, gap := range []int64{1, 2, 16, 100, 127, 128, 1000, 16_383, 17_000, 300_000, 1 << 21, 1 << 22, 1 << 27, 1 << 28, 1 << 29} {
		tr := newOffsetTracker(5, 1, offsetmeta.Completed{}, offsetmeta.MapLimit())
		at, longest := int64(5), 0
		var last *item
		for tr.fits(at) {
			last = &item{offset: at}
			tr.admit(last, 1)
			at += gap
			if n := tr.open; n%100 == 0 || !tr.fits(at) {
				if m := (offsetmeta.Completed{End: last.offset + 1}); n > 1 {
					for _, e := range tr.items[:n-1] {
						m.Open = append(m.Open, e.offset)
					}
					longest = max(longest, len(offsetmeta.Metadata{Run: longestRun(), Completed: m}.Encode(tr.committable())))
				}
			}
		}
		if longest > offsetmeta.Limit {
			t.Errorf("distance %d: %d units", gap, longest)
		}
		if last == nil {
			t.Errorf("distance %d: nothing fits into an empty tracker", gap)
		}
		// When all are completed there is room for one more.
		for _, it := range slices.Clone(tr.items) {
			tr.complete(it)
		}
		if !tr.fits(tr.next) {
			t.Errorf("distance %d: nothing fits when all are completed", gap)
		}
	}
}

// TestEmptyOffsetTrackerFitsAnything: a partition without a commit whose log begins far
// above zero.
func TestEmptyOffsetTrackerFitsAnything(t *testing.T) {
	t.Parallel()
	tr := newOffsetTracker(0, -1, offsetmeta.Completed{}, offsetmeta.MapLimit())
	if !tr.fits(1 << 40) {
		t.Error("the first record of a log that begins high is never admitted")
	}
}

// TestMetadataOfOneStuckRecordIsSmall: one open record below many completed ones costs a
// few bytes.
func TestMetadataOfOneStuckRecordIsSmall(t *testing.T) {
	t.Parallel()
	tr := newOffsetTracker(1<<33, 4, offsetmeta.Completed{}, offsetmeta.MapLimit())
	stuck := &item{offset: 1 << 33}
	tr.admit(stuck, 4)
	for i := range int64(100_000) {
		it := &item{offset: stuck.offset + 1 + i}
		if !tr.fits(it.offset) {
			t.Fatalf("no room for offset %d above one stuck record", it.offset)
		}
		tr.admit(it, 4)
		tr.complete(it)
	}
	if len(tr.items) > 100 {
		t.Errorf("%d items are kept for one open record", len(tr.items))
	}
	if size := mapBytes(tr.completedAbove(), tr.committable()); size > 4 {
		t.Errorf("the completed offsets take %d bytes, want at most 4", size)
	}
	if n := len(offsetmeta.Metadata{Completed: tr.completedAbove()}.Encode(tr.committable())); n > 80 {
		t.Errorf("the metadata takes %d units", n)
	}
	tr.complete(stuck)
	if got, want := tr.committable(), stuck.offset+100_001; got != want || len(tr.items) != 0 {
		t.Errorf("committable = %d with %d items, want %d with none", got, len(tr.items), want)
	}
}
