package pipeline

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

// seeded gives the random source of a test's case; the seed is in every
// failure's message.
func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// randomMap makes a map above low as a window gives it: its last offset is
// settled.
func randomMap(r *rand.Rand, low int64) settledMap {
	span := 1 + r.Int64N(1<<r.IntN(16))
	open := r.Float64()
	if r.IntN(3) == 0 {
		open *= 0.01
	}
	m := settledMap{end: low + span}
	for o := low; o < m.end-1; o++ {
		if o == low || r.Float64() < open {
			m.unsettled = append(m.unsettled, o)
		}
	}
	return m
}

// randomRun makes a run as it can be committed at low.
func randomRun(r *rand.Rand, low int64) runState {
	run := runState{length: 1 + r.Int64N(1<<r.IntN(20)), noted: low + r.Int64N(1<<r.IntN(20))}
	switch r.IntN(4) {
	case 0:
		return runState{}
	case 1:
		run.since, run.from = 1+r.Int64N(1<<33), low+r.Int64N(1<<r.IntN(20))
	case 2:
		run.spent = true
	}
	return run
}

// sameMap fails the test where two maps differ at or above low.
func sameMap(t *testing.T, got, want settledMap, low int64) {
	t.Helper()
	for o := low; o < max(got.end, want.end)+9; o++ {
		if got.has(o) != want.has(o) {
			t.Fatalf("offset %d: settled %v, want %v", o, got.has(o), want.has(o))
		}
	}
}

func TestMetadataRoundTrip(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		r := seeded(seed)
		low := r.Int64N(1 << 50)
		want := metadata{token: r.Uint64(), run: randomRun(r, low), settled: randomMap(r, low)}
		for i := range want.topic {
			want.topic[i], want.ledger[i] = byte(r.Uint32()), byte(r.Uint32())
		}
		got, err := decodeMetadata(want.encode(low), low)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if got.topic != want.topic || got.ledger != want.ledger || got.token != want.token || got.run != want.run {
			t.Fatalf("seed %d: got %v, want %v", seed, got, want)
		}
		sameMap(t, got.settled, want.settled, low)
		if got, want := got.settled.count(low), want.settled.count(low); got != want {
			t.Fatalf("seed %d: %d settled above, want %d", seed, got, want)
		}
	}
}

func TestMetadataOfNothingSettled(t *testing.T) {
	t.Parallel()
	for _, m := range []settledMap{{}, {end: 70}, {end: 69}} {
		got, err := decodeMetadata(metadata{settled: m}.encode(70), 70)
		if err != nil || got.settled.end != 70 || got.settled.unsettled != nil {
			t.Errorf("%v: got %v, %v", m, got.settled, err)
		}
	}
}

// deltasOf encodes by the format's own words, apart from the code under test.
func deltasOf(m settledMap, low int64) []byte {
	out := binary.AppendUvarint(nil, uint64(m.end-low))
	for i, o := range m.unsettled {
		before := low
		if i > 0 {
			before = m.unsettled[i-1]
		}
		out = binary.AppendUvarint(out, uint64(o-before))
	}
	return out
}

func TestMetadataChoosesTheShorterForm(t *testing.T) {
	t.Parallel()
	chosen := make(map[byte]int)
	for seed := range uint64(300) {
		r := seeded(seed)
		low := r.Int64N(1 << 40)
		m := randomMap(r, low)
		form, payload := m.encode(low)
		chosen[form]++
		if want := min(int64(len(deltasOf(m, low))), (m.end-low+7)/8); int64(len(payload)) != want {
			t.Fatalf("seed %d: form %d takes %d bytes, the shorter one %d", seed, form, len(payload), want)
		}
	}
	if chosen[formBitmap] < 20 || chosen[formDeltas] < 20 {
		t.Errorf("one of the forms is hardly ever chosen: %v", chosen)
	}
}

func TestMetadataOfOneStuckRecordIsSmall(t *testing.T) {
	t.Parallel()
	w := newWindow(1<<33, 4, settledMap{}, payloadLimit())
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
	if _, payload := w.settledAbove().encode(w.low()); len(payload) > 4 {
		t.Errorf("the map takes %d bytes, want at most 4", len(payload))
	}
	if n := len(metadata{settled: w.settledAbove()}.encode(w.low())); n > 80 {
		t.Errorf("the metadata takes %d units", n)
	}
	w.settle(stuck)
	if got, want := w.low(), stuck.offset+100_001; got != want || len(w.entries) != 0 {
		t.Errorf("low = %d with %d entries, want %d with none", got, len(w.entries), want)
	}
}

// What lies below the committed offset is not read again, and a run of no length
// is none.
func TestMetadataOfARunIsRelativeToTheOffset(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ run, want runState }{
		"none":        {runState{noted: 900}, runState{}},
		"below":       {runState{length: 3, noted: 50, since: 9, from: 40}, runState{length: 3, noted: 100, since: 9, from: 100}},
		"far above":   {runState{length: 3, noted: 1 << 60}, runState{length: 3, noted: 100 + maxSpan}},
		"very long":   {runState{length: 1 << 60, noted: 100, spent: true}, runState{length: maxRunLength, noted: 100, spent: true}},
		"far in time": {runState{length: 1, noted: 100, since: 1 << 60, from: 100}, runState{length: 1, noted: 100, since: maxRunSecond, from: 100}},
	} {
		got, err := decodeMetadata(metadata{run: c.run}.encode(100), 100)
		if err != nil || got.run != c.want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got.run, err, c.want)
		}
	}
	_, counts := runState{length: 1 << 60, noted: 1 << 60, since: 1 << 60, from: 1 << 60}.encode(0)
	if len(counts) != maxRunBytes {
		t.Errorf("the longest run takes %d bytes, want %d", len(counts), maxRunBytes)
	}
}

// runOf wraps a kind of run and what follows it as metadata without a map.
func runOf(kind byte, counts ...byte) string {
	buf := make([]byte, metadataHeader, metadataHeader+len(counts))
	buf[0], buf[metadataHeader-2] = metadataVersion, kind
	return base64.RawStdEncoding.EncodeToString(append(buf, counts...))
}

// payloadOf wraps a payload as metadata of a form.
func payloadOf(form byte, payload ...byte) string {
	buf := make([]byte, metadataHeader, metadataHeader+len(payload))
	buf[0], buf[metadataHeader-1] = metadataVersion, form
	return base64.RawStdEncoding.EncodeToString(append(buf, payload...))
}

func uvarints(values ...uint64) []byte {
	var out []byte
	for _, v := range values {
		out = binary.AppendUvarint(out, v)
	}
	return out
}

func TestDecodeMetadataRefuses(t *testing.T) {
	t.Parallel()
	good := metadata{settled: settledMap{end: 9, unsettled: []int64{5, 7}}}.encode(5)
	otherVersion, _ := base64.RawStdEncoding.DecodeString(good)
	otherVersion[0] = metadataVersion + 1
	tests := map[string]string{
		"empty":              "",
		"other text":         "committed by hand",
		"no base64":          good[:len(good)-1] + "*",
		"padded base64":      good + "==",
		"not ASCII":          good + "é",
		"other version":      base64.RawStdEncoding.EncodeToString(otherVersion),
		"cut in the header":  good[:40],
		"unknown form":       payloadOf(3),
		"deltas, no span":    payloadOf(formDeltas),
		"span cut":           payloadOf(formDeltas, 0x80),
		"span too wide":      payloadOf(formDeltas, uvarints(maxSpan+1)...),
		"span overflows":     payloadOf(formDeltas, uvarints(1<<63)...),
		"span of 11 bytes":   payloadOf(formDeltas, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1),
		"delta cut":          payloadOf(formDeltas, append(uvarints(1000, 0), 0x80)...),
		"delta beyond span":  payloadOf(formDeltas, uvarints(10, 0, 10)...),
		"delta at the end":   payloadOf(formDeltas, uvarints(10, 10)...),
		"delta of no step":   payloadOf(formDeltas, uvarints(10, 3, 0)...),
		"delta overflows":    payloadOf(formDeltas, uvarints(10, 1, 1<<64-1)...),
		"span 0, one delta":  payloadOf(formDeltas, uvarints(0, 0)...),
		"no span, unsettled": payloadOf(formDeltas, uvarints(0, 1)...),
		"unknown run":        runOf(4, uvarints(1, 1)...),
		"run of nothing":     runOf(runCounted, uvarints(0, 1)...),
		"run too long":       runOf(runCounted, uvarints(maxRunLength+1, 1)...),
		"run cut":            runOf(runCounted, uvarints(1)...),
		"counted too far":    runOf(runSpent, uvarints(1, maxSpan+1)...),
		"hold without time":  runOf(runHeld, uvarints(1, 1, 0, 1)...),
		"hold in no time":    runOf(runHeld, uvarints(1, 1, maxRunSecond+1, 1)...),
		"hold cut":           runOf(runHeld, uvarints(1, 1, 1)...),
		"hold too far":       runOf(runHeld, uvarints(1, 1, 1, maxSpan+1)...),
	}
	for name, text := range tests {
		if _, err := decodeMetadata(text, 5); !errors.Is(err, errMetadata) {
			t.Errorf("%s: error %v, want errMetadata", name, err)
		}
	}
	for n := range len(good) {
		_, _ = decodeMetadata(good[:n], 5) // no panic, whatever it says
	}
}

func TestDecodeMetadataAsksForLittleMemory(t *testing.T) {
	hostile := []string{
		payloadOf(formDeltas, uvarints(maxSpan)...),
		payloadOf(formDeltas, append(uvarints(maxSpan), slices.Repeat([]byte{1}, 3000)...)...),
		payloadOf(formBitmap, append(make([]byte, 3000), 0x80)...),
	}
	for i, text := range hostile {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m, err := decodeMetadata(text, 1<<40)
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Errorf("text %d: %v", i, err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
			t.Errorf("text %d: %d bytes allocated", i, used)
		}
		if _, payload := m.settled.encode(1 << 40); len(payload) > 3100 {
			t.Errorf("text %d: takes %d bytes when written again", i, len(payload))
		}
	}
}
