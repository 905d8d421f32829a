package offsetmeta

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

// seeded returns the random source of a test case; the seed is in every failure's
// message.
func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// randomCompleted returns offsets as the offset tracker has them above low: the last
// one is completed.
func randomCompleted(r *rand.Rand, low int64) Completed {
	span := 1 + r.Int64N(1<<r.IntN(16))
	open := r.Float64()
	if r.IntN(3) == 0 {
		open *= 0.01
	}
	m := Completed{End: low + span}
	for o := low; o < m.End-1; o++ {
		if o == low || r.Float64() < open {
			m.Open = append(m.Open, o)
		}
	}
	return m
}

// randomRun returns a run as it can be committed at low.
func randomRun(r *rand.Rand, low int64) Run {
	run := Run{Length: 1 + r.Int64N(1<<r.IntN(20)), CountedTo: low + r.Int64N(1<<r.IntN(20))}
	switch r.IntN(4) {
	case 0:
		return Run{}
	case 1:
		run.HeldSince, run.HeldFrom = 1+r.Int64N(1<<33), low+r.Int64N(1<<r.IntN(20))
	case 2:
		run.Released = true
	}
	return run
}

// wantSame fails the test if two sets of completed offsets differ at or above low.
func wantSame(t *testing.T, got, want Completed, low int64) {
	t.Helper()
	for o := low; o < max(got.End, want.End)+9; o++ {
		if got.Has(o) != want.Has(o) {
			t.Fatalf("offset %d: completed %v, want %v", o, got.Has(o), want.Has(o))
		}
	}
}

func TestMetadataRoundTrip(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		r := seeded(seed)
		low := r.Int64N(1 << 50)
		want := Metadata{Token: r.Uint64(), Run: randomRun(r, low), Completed: randomCompleted(r, low)}
		for i := range want.Input {
			want.Input[i], want.Ledger[i] = byte(r.Uint32()), byte(r.Uint32())
		}
		got, err := Decode(want.Encode(low), low)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if got.Input != want.Input || got.Ledger != want.Ledger || got.Token != want.Token || got.Run != want.Run {
			t.Fatalf("seed %d: got %v, want %v", seed, got, want)
		}
		wantSame(t, got.Completed, want.Completed, low)
		if got, want := got.Completed.Count(low), want.Completed.Count(low); got != want {
			t.Fatalf("seed %d: %d completed above, want %d", seed, got, want)
		}
	}
}

func TestMetadataOfNothingCompleted(t *testing.T) {
	t.Parallel()
	for _, m := range []Completed{{}, {End: 70}, {End: 69}} {
		got, err := Decode(Metadata{Completed: m}.Encode(70), 70)
		if err != nil || got.Completed.End != 70 || got.Completed.Open != nil {
			t.Errorf("%v: got %v, %v", m, got.Completed, err)
		}
	}
}

// deltasOf encodes by the format's own words, apart from the code under test.
func deltasOf(m Completed, low int64) []byte {
	out := binary.AppendUvarint(nil, uint64(m.End-low))
	for i, o := range m.Open {
		before := low
		if i > 0 {
			before = m.Open[i-1]
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
		m := randomCompleted(r, low)
		form, payload := m.encode(low)
		chosen[form]++
		if want := min(int64(len(deltasOf(m, low))), (m.End-low+7)/8); int64(len(payload)) != want {
			t.Fatalf("seed %d: form %d takes %d bytes, the shorter one %d", seed, form, len(payload), want)
		}
	}
	if chosen[formBitmap] < 20 || chosen[formDeltas] < 20 {
		t.Errorf("one of the forms is hardly ever chosen: %v", chosen)
	}
}

// What lies below the committed offset is not read again, and a run of no length
// is none.
func TestMetadataOfARunIsRelativeToTheOffset(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ run, want Run }{
		"none":      {Run{CountedTo: 900}, Run{}},
		"below":     {Run{Length: 3, CountedTo: 50, HeldSince: 9, HeldFrom: 40}, Run{Length: 3, CountedTo: 100, HeldSince: 9, HeldFrom: 100}},
		"far above": {Run{Length: 3, CountedTo: 1 << 60}, Run{Length: 3, CountedTo: 100 + maxSpan}},
		"very long": {Run{Length: 1 << 60, CountedTo: 100, Released: true}, Run{Length: maxRunLength, CountedTo: 100, Released: true}},
		"far in time": {
			Run{Length: 1, CountedTo: 100, HeldSince: 1 << 60, HeldFrom: 100},
			Run{Length: 1, CountedTo: 100, HeldSince: maxRunSecond, HeldFrom: 100},
		},
	} {
		got, err := Decode(Metadata{Run: c.run}.Encode(100), 100)
		if err != nil || got.Run != c.want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got.Run, err, c.want)
		}
	}
	_, counts := Run{Length: 1 << 60, CountedTo: 1 << 60, HeldSince: 1 << 60, HeldFrom: 1 << 60}.encode(0)
	if len(counts) != maxRunBytes {
		t.Errorf("the longest run takes %d bytes, want %d", len(counts), maxRunBytes)
	}
}

// testOffset is the committed offset of runOf and payloadOf.
const testOffset = 5

// header returns the header of metadata of testOffset.
func header() []byte {
	buf := make([]byte, headerBytes)
	buf[0] = version
	binary.BigEndian.PutUint64(buf[33:], testOffset)
	return buf
}

// runOf wraps a kind of run and what follows it as metadata without a map.
func runOf(kind byte, counts ...byte) string {
	buf := header()
	buf[headerBytes-2] = kind
	return base64.RawStdEncoding.EncodeToString(append(buf, counts...))
}

// payloadOf wraps a payload as metadata of a form.
func payloadOf(form byte, payload ...byte) string {
	buf := header()
	buf[headerBytes-1] = form
	return base64.RawStdEncoding.EncodeToString(append(buf, payload...))
}

func uvarints(values ...uint64) []byte {
	var out []byte
	for _, v := range values {
		out = binary.AppendUvarint(out, v)
	}
	return out
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	good := Metadata{Completed: Completed{End: 9, Open: []int64{5, 7}}}.Encode(testOffset)
	otherVersion, _ := base64.RawStdEncoding.DecodeString(good)
	otherVersion[0] = version + 1
	tests := map[string]string{
		"empty":             "",
		"other text":        "committed by hand",
		"no base64":         good[:len(good)-1] + "*",
		"padded base64":     good + "==",
		"not ASCII":         good + "é",
		"other version":     base64.RawStdEncoding.EncodeToString(otherVersion),
		"cut in the header": good[:40],
		"unknown form":      payloadOf(3),
		"deltas, no span":   payloadOf(formDeltas),
		"span cut":          payloadOf(formDeltas, 0x80),
		"span too wide":     payloadOf(formDeltas, uvarints(maxSpan+1)...),
		"span overflows":    payloadOf(formDeltas, uvarints(1<<63)...),
		"span of 11 bytes":  payloadOf(formDeltas, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1),
		"delta cut":         payloadOf(formDeltas, append(uvarints(1000, 0), 0x80)...),
		"delta beyond span": payloadOf(formDeltas, uvarints(10, 0, 10)...),
		"delta at the end":  payloadOf(formDeltas, uvarints(10, 10)...),
		"delta of no step":  payloadOf(formDeltas, uvarints(10, 3, 0)...),
		"delta overflows":   payloadOf(formDeltas, uvarints(10, 1, 1<<64-1)...),
		"span 0, one delta": payloadOf(formDeltas, uvarints(0, 0)...),
		"no span, one open": payloadOf(formDeltas, uvarints(0, 1)...),
		"unknown run":       runOf(4, uvarints(1, 1)...),
		"run of nothing":    runOf(runCounted, uvarints(0, 1)...),
		"run too long":      runOf(runCounted, uvarints(maxRunLength+1, 1)...),
		"run cut":           runOf(runCounted, uvarints(1)...),
		"counted too far":   runOf(runReleased, uvarints(1, maxSpan+1)...),
		"hold without time": runOf(runHeld, uvarints(1, 1, 0, 1)...),
		"hold in no time":   runOf(runHeld, uvarints(1, 1, maxRunSecond+1, 1)...),
		"hold cut":          runOf(runHeld, uvarints(1, 1, 1)...),
		"hold too far":      runOf(runHeld, uvarints(1, 1, 1, maxSpan+1)...),
	}
	for name, text := range tests {
		if _, err := Decode(text, testOffset); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: error %v, want ErrInvalid", name, err)
		}
	}
	if _, err := Decode(good, testOffset+1); !errors.Is(err, ErrInvalid) {
		t.Errorf("metadata at another offset: error %v, want ErrInvalid", err)
	}
	for n := range len(good) {
		_, _ = Decode(good[:n], testOffset) // no panic, whatever the result
	}
}

func TestDecodeAllocatesLittle(t *testing.T) {
	hostile := []string{
		payloadOf(formDeltas, uvarints(maxSpan)...),
		payloadOf(formDeltas, append(uvarints(maxSpan), slices.Repeat([]byte{1}, 3000)...)...),
		payloadOf(formBitmap, append(make([]byte, 3000), 0x80)...),
	}
	for i, text := range hostile {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m, err := Decode(text, testOffset)
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Errorf("text %d: %v", i, err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
			t.Errorf("text %d: %d bytes allocated", i, used)
		}
		if _, payload := m.Completed.encode(testOffset); len(payload) > 3100 {
			t.Errorf("text %d: takes %d bytes when written again", i, len(payload))
		}
	}
}
