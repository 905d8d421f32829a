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
	gap     bool // a marker that is not delivered, aborted, compacted away
	skip    bool // delivered, and not ours
	epoch   int32
	settled bool // of a record of ours, by this owner or an earlier one
}

// modelTopic is a naive window: every offset with its state.
type modelTopic struct {
	r     *rand.Rand
	cells []cell
	w     *window
	open  []*item // taken, not settled
	at    int64   // the next offset that is read
	end   int64   // of what was settled by this owner
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
	m.w = newWindow(0, -1, offsetmeta.Completed{}, limit)
	return m
}

// read takes the next delivered record up, as the owner does; false when there
// is no room, or none left.
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
	case c.skip || m.w.wasSettled(at):
		if !c.skip && !c.settled {
			t.Fatalf("offset %d is taken for settled, and is not", at)
		}
		m.w.skipTo(at+1, c.epoch)
		m.w.skipTo(at, c.epoch-1) // a second delivery changes nothing
	case !m.w.fits(at):
		return false
	default:
		if c.settled {
			t.Fatalf("offset %d was settled before and is taken up again", at)
		}
		it := &item{offset: at}
		m.w.take(it, c.epoch)
		m.open = append(m.open, it)
	}
	m.at = at + 1
	return true
}

func (m *modelTopic) settle(i int) {
	it := m.open[i]
	m.open = slices.Delete(m.open, i, i+1)
	m.w.settle(it)
	m.cells[it.offset].settled = true
	m.end = max(m.end, it.offset+1)
}

// done is the model's answer to whether an offset needs nothing any more.
func (m *modelTopic) done(o int64) bool {
	c := m.cells[o]
	if o < m.at {
		return c.gap || c.skip || c.settled
	}
	return m.w.restored.Has(o)
}

func (m *modelTopic) low() int64 {
	o := int64(0)
	for o < int64(len(m.cells)) && m.done(o) {
		o++
	}
	return o
}

// check compares the window with the model.
func (m *modelTopic) check(t *testing.T) {
	t.Helper()
	low := m.w.low()
	if want := m.low(); low != want {
		t.Fatalf("low = %d, want %d (read up to %d)", low, want, m.at)
	}
	above := m.w.settledAbove()
	for o := low; o < int64(len(m.cells)); o++ {
		c := m.cells[o]
		got := above.Has(o)
		if got && !c.gap && !c.skip && !c.settled {
			t.Fatalf("offset %d is said to be settled, and is not", o)
		}
		if !got && c.settled && !c.gap {
			t.Fatalf("offset %d is settled, and is not in the map", o)
		}
		if o < max(m.end, m.w.restored.End) && got != m.done(o) {
			t.Fatalf("offset %d: settled %v, want %v", o, got, m.done(o))
		}
	}
	if !slices.IsSorted(above.Open) || (len(above.Open) > 0 && (above.Open[0] < low || above.Open[len(above.Open)-1] >= above.End)) {
		t.Fatalf("unsettled %v in [%d,%d)", above.Open, low, above.End)
	}
	if e := m.w.lowEpoch(); e != -1 && (low == 0 || e != m.cells[low-1].epoch) {
		t.Fatalf("epoch %d is committed with offset %d", e, low)
	}
	if m.w.unsettled != len(m.open) || len(m.w.entries) > 2*len(m.open)+65 {
		t.Fatalf("%d entries, %d unsettled, want %d unsettled", len(m.w.entries), m.w.unsettled, len(m.open))
	}
	if size := mapBytes(above, low); size > m.w.limit {
		t.Fatalf("the map takes %d bytes, the limit is %d", size, m.w.limit)
	}
}

// mapBytes returns how many bytes completed offsets take in the metadata.
func mapBytes(completed offsetmeta.Completed, committed int64) int {
	size := func(m offsetmeta.Metadata) int { return base64.RawStdEncoding.DecodedLen(len(m.Encode(committed))) }
	return size(offsetmeta.Metadata{Completed: completed}) - size(offsetmeta.Metadata{})
}

// seeded returns the random source of a test case; the seed is in every failure's
// message.
func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// handOver gives the partition to another owner by what would be committed.
func (m *modelTopic) handOver(t *testing.T) {
	t.Helper()
	low, epoch := m.w.low(), m.w.lowEpoch()
	meta, err := offsetmeta.Decode(offsetmeta.Metadata{Completed: m.w.settledAbove()}.Encode(low), low)
	if err != nil {
		t.Fatal(err)
	}
	m.w = newWindow(low, epoch, meta.Completed, m.w.limit)
	m.open, m.at, m.end = nil, low, low
	// Compaction meanwhile takes any record, settled or not.
	if m.r.IntN(2) == 0 {
		for i := low; i < int64(len(m.cells)); i++ {
			if m.r.IntN(20) == 0 {
				m.cells[i].gap = true
			}
		}
	}
}

//nolint:tparallel // one model walk after another says which seed failed
func TestWindowAgainstModel(t *testing.T) {
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
					m.settle(i)
				case !m.read(t):
					if !m.allGaps() {
						t.Fatalf("nothing is unsettled, and offset %d does not fit", m.at)
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

// TestWindowKeepsTheMapWithinTheLimit drives a window as wide as the broker's
// limit lets it, in the orders that make the map largest.
func TestWindowKeepsTheMapWithinTheLimit(t *testing.T) {
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
			for _, hold := range []int{3, 700, 5000, 40_000} {
				r := seeded(uint64(hold))
				w := newWindow(0, 1, offsetmeta.Completed{}, offsetmeta.MapLimit())
				var open []*item
				at, widest, longest := int64(0), int64(0), 0
				for step := range 20_000 {
					if len(open) < hold && w.fits(at) {
						it := &item{offset: at}
						w.take(it, 1)
						open = append(open, it)
						at++
						if r.IntN(3) == 0 {
							at += r.Int64N(1 << r.IntN(12)) // a gap
						}
					}
					if len(open) > 0 && (r.IntN(3) > 0 || len(open) >= hold || !w.fits(at)) {
						i := pick(r, len(open))
						w.settle(open[i])
						open = slices.Delete(open, i, i+1)
					}
					if step%500 == 499 {
						low := w.low()
						above := w.settledAbove()
						text := offsetmeta.Metadata{Run: longestRun(), Completed: above}.Encode(low)
						widest, longest = max(widest, above.End-low), max(longest, len(text))
						if len(text) > offsetmeta.Limit {
							t.Fatalf("hold %d, step %d: %d units over a span of %d", hold, step, len(text), above.End-low)
						}
						if step%5000 == 4999 {
							m, err := offsetmeta.Decode(text, low)
							if err != nil {
								t.Fatal(err)
							}
							w = newWindow(low, w.lowEpoch(), m.Completed, w.limit)
							// What was in flight is taken up again by the new owner.
							old := open
							open = nil
							for _, it := range old {
								if w.wasSettled(it.offset) {
									t.Fatalf("offset %d was not settled", it.offset)
								}
								if !w.fits(it.offset) {
									t.Fatalf("hold %d, step %d: offset %d had room, and has none after the hand-over", hold, step, it.offset)
								}
								again := &item{offset: it.offset}
								w.take(again, 1)
								open = append(open, again)
							}
							w.skipTo(at, 1)
						}
					}
				}
				t.Logf("hold %d: widest span %d, longest metadata %d", hold, widest, longest)
			}
		})
	}
}

func TestWindowEpochs(t *testing.T) {
	t.Parallel()
	w := newWindow(10, 2, offsetmeta.Completed{}, 100)
	if got := w.lowEpoch(); got != 2 {
		t.Errorf("at the start: %d, want the committed one", got)
	}
	first, next, gapped, same := &item{offset: 10}, &item{offset: 11}, &item{offset: 15}, &item{offset: 20}
	w.take(first, 3)
	w.take(next, 3)
	w.take(gapped, 5) // 12 to 14 may be of 3, 4 or 5
	w.take(same, 5)   // 16 to 19 are of 5
	for _, step := range []struct {
		settle *item
		low    int64
		epoch  int32
	}{{first, 11, 3}, {next, 15, -1}, {gapped, 20, 5}, {same, 21, 5}} {
		w.settle(step.settle)
		if w.low() != step.low || w.lowEpoch() != step.epoch {
			t.Errorf("low %d, epoch %d; want %d, %d", w.low(), w.lowEpoch(), step.low, step.epoch)
		}
	}
	w.skipTo(30, 6)
	if w.low() != 30 || w.lowEpoch() != 6 {
		t.Errorf("after a skip: low %d, epoch %d", w.low(), w.lowEpoch())
	}
	w = newWindow(10, 2, offsetmeta.Completed{End: 20, Open: []int64{10, 15}}, 100)
	at10 := &item{offset: 10}
	w.take(at10, 2)
	w.settle(at10)
	if w.low() != 15 || w.lowEpoch() != -1 {
		t.Errorf("low at an offset that an earlier owner left: %d, epoch %d; want 15, -1", w.low(), w.lowEpoch())
	}
	w = newWindow(10, 2, offsetmeta.Completed{End: 20}, 100)
	if w.low() != 20 || w.lowEpoch() != -1 {
		t.Errorf("all settled by an earlier owner: low %d, epoch %d; want 20, -1", w.low(), w.lowEpoch())
	}
}

// longestRun is a run that takes as much room as any.
func longestRun() offsetmeta.Run {
	return offsetmeta.Run{Length: 1 << 60, CountedTo: 1 << 60, HeldSince: 1 << 60, HeldFrom: 1 << 60}
}

// TestWindowFullOfUnsettledRecords takes up as many as fit, at every distance
// from each other, and settles the last alone: the largest map there can be.
func TestWindowFullOfUnsettledRecords(t *testing.T) {
	t.Parallel()
	for _, gap := range []int64{1, 2, 16, 100, 127, 128, 1000, 16_383, 17_000, 300_000, 1 << 21, 1 << 22, 1 << 27, 1 << 28, 1 << 29} {
		w := newWindow(5, 1, offsetmeta.Completed{}, offsetmeta.MapLimit())
		at, longest := int64(5), 0
		var last *item
		for w.fits(at) {
			last = &item{offset: at}
			w.take(last, 1)
			at += gap
			if n := w.unsettled; n%100 == 0 || !w.fits(at) {
				if m := (offsetmeta.Completed{End: last.offset + 1}); n > 1 {
					for _, e := range w.entries[:n-1] {
						m.Open = append(m.Open, e.offset)
					}
					longest = max(longest, len(offsetmeta.Metadata{Run: longestRun(), Completed: m}.Encode(w.low())))
				}
			}
		}
		if longest > offsetmeta.Limit {
			t.Errorf("distance %d: %d units", gap, longest)
		}
		if last == nil {
			t.Errorf("distance %d: nothing fits into an empty window", gap)
		}
		// Whatever is settled next, there is room for one more at last.
		for _, it := range slices.Clone(w.entries) {
			w.settle(it)
		}
		if !w.fits(w.next) {
			t.Errorf("distance %d: nothing fits when all is settled", gap)
		}
	}
}

// TestWindowFitsAnythingWhenAllIsSettled: a partition without a commit, whose
// log begins far above zero.
func TestWindowFitsAnythingWhenAllIsSettled(t *testing.T) {
	t.Parallel()
	w := newWindow(0, -1, offsetmeta.Completed{}, offsetmeta.MapLimit())
	if !w.fits(1 << 40) {
		t.Error("the first record of a log that begins high is never taken up")
	}
}

func TestMetadataOfOneStuckRecordIsSmall(t *testing.T) {
	t.Parallel()
	w := newWindow(1<<33, 4, offsetmeta.Completed{}, offsetmeta.MapLimit())
	stuck := &item{offset: 1 << 33}
	w.take(stuck, 4)
	for i := range int64(100_000) {
		it := &item{offset: stuck.offset + 1 + i}
		if !w.fits(it.offset) {
			t.Fatalf("no room for offset %d above one stuck record", it.offset)
		}
		w.take(it, 4)
		w.settle(it)
	}
	if len(w.entries) > 100 {
		t.Errorf("%d entries are kept for one unsettled record", len(w.entries))
	}
	if size := mapBytes(w.settledAbove(), w.low()); size > 4 {
		t.Errorf("the map takes %d bytes, want at most 4", size)
	}
	if n := len(offsetmeta.Metadata{Completed: w.settledAbove()}.Encode(w.low())); n > 80 {
		t.Errorf("the metadata takes %d units", n)
	}
	w.settle(stuck)
	if got, want := w.low(), stuck.offset+100_001; got != want || len(w.entries) != 0 {
		t.Errorf("low = %d with %d entries, want %d with none", got, len(w.entries), want)
	}
}
