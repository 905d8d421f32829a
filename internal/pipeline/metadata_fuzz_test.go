package pipeline

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// hostileMetadata are texts that may be found where a commit's metadata is:
// other programs', damaged ones, and ones that ask for much.
func hostileMetadata() []string {
	good := metadata{token: 7, settled: settledMap{end: 60, unsettled: []int64{40, 44, 59}}}.encode(40)
	return []string{
		"", " ", "{}", "null", "committed by hand", "\x00", "\xff\xfe", good, good + "=", good + "\n", " " + good, good + "A", good + good, good[:len(good)-1],
		strings.ToLower(good), base64.StdEncoding.EncodeToString([]byte(good)), base64.URLEncoding.EncodeToString(slices.Repeat([]byte{0xff}, 60)),
		payloadOf(formNone), payloadOf(formNone, 1, 2, 3), payloadOf(9, 1, 2), payloadOf(formBitmap), payloadOf(formBitmap, 0, 0, 0),
		payloadOf(formBitmap, 0, 0, 0x81, 0), payloadOf(formBitmap, slices.Repeat([]byte{0xff}, 3000)...), payloadOf(formBitmap, append(make([]byte, 3000), 0x80)...),
		payloadOf(formDeltas), payloadOf(formDeltas, 0), payloadOf(formDeltas, 0x80, 0x00), payloadOf(formDeltas, uvarints(0, 0)...),
		payloadOf(formDeltas, uvarints(maxSpan, 0, 1, 2, maxSpan)...), payloadOf(formDeltas, uvarints(maxSpan+1)...), payloadOf(formDeltas, uvarints(1<<63, 1)...),
		payloadOf(formDeltas, uvarints(10, 1, 1<<64-1)...), payloadOf(formDeltas, uvarints(10, 10)...), payloadOf(formDeltas, uvarints(10, 3, 0)...),
		runOf(runNone), runOf(runCounted, uvarints(3, 9)...), runOf(runHeld, uvarints(3, 9, 1<<31, 4)...), runOf(runSpent, uvarints(3, 9)...), runOf(7, 1, 1),
		runOf(runHeld, uvarints(maxRunLength, maxSpan, maxRunSecond, maxSpan)...), runOf(runHeld, slices.Repeat([]byte{0xff}, 30)...),
		payloadOf(formDeltas, append(uvarints(maxSpan), slices.Repeat([]byte{1}, 3000)...)...), strings.Repeat("A", 4097), strings.Repeat("/", 1<<16),
	}
}

// FuzzDecodeMetadata reads metadata of anybody's: what is read lies in bounds,
// asks for little memory, and is the same when it is written and read again.
func FuzzDecodeMetadata(f *testing.F) {
	r := seeded(7)
	for range 8 {
		f.Add(metadata{token: r.Uint64(), run: randomRun(r, 40), settled: randomMap(r, 40)}.encode(40), int64(40))
	}
	for _, text := range hostileMetadata() {
		f.Add(text, int64(0))
		f.Add(text, int64(40))
		f.Add(text, int64(1)<<50)
	}
	f.Fuzz(func(t *testing.T, text string, low int64) {
		low &= 1<<55 - 1
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m, err := decodeMetadata(text, low)
		runtime.ReadMemStats(&after)
		// An unsettled offset takes eight bytes and, in a bitmap, comes of a
		// bit; a slice that grows takes as much again, several times over.
		if used, most := after.TotalAlloc-before.TotalAlloc, uint64(64<<10+8*8*6*len(text)); used > most {
			t.Fatalf("%d bytes allocated to read %d", used, len(text))
		}
		if err != nil {
			if !errors.Is(err, errMetadata) {
				t.Fatalf("error %v is not errMetadata", err)
			}
			return
		}
		s := m.settled
		if s.end < low || s.end-low > max(maxSpan, 8*int64(len(text))) || len(s.unsettled) > 8*len(text) {
			t.Fatalf("end %d above %d, and %d unsettled, out of %d bytes", s.end, low, len(s.unsettled), len(text))
		}
		for i, o := range s.unsettled {
			if o < low || o >= s.end || (i > 0 && o <= s.unsettled[i-1]) {
				t.Fatalf("unsettled %v in [%d,%d)", s.unsettled, low, s.end)
			}
		}
		sameAgain(t, m, low)
	})
}

// sameAgain writes metadata and reads it back.
func sameAgain(t *testing.T, m metadata, low int64) {
	t.Helper()
	text := m.encode(low)
	again, err := decodeMetadata(text, low)
	if err != nil {
		t.Fatalf("what was written cannot be read: %v", err)
	}
	if again.topic != m.topic || again.ledger != m.ledger || again.token != m.token || again.run != m.run {
		t.Fatalf("got %v, want %v", again, m)
	}
	if got, want := settledCanon(again.settled, low), settledCanon(m.settled, low); !reflect.DeepEqual(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	if twice := again.encode(low); len(twice) > len(text) {
		t.Fatalf("written again it takes %d characters, and took %d", len(twice), len(text))
	}
}

// settledCanon drops unsettled offsets at the end, which say nothing.
func settledCanon(m settledMap, low int64) settledMap {
	u := slices.Clone(m.unsettled)
	for m.end > low && len(u) > 0 && u[len(u)-1] == m.end-1 {
		m.end--
		u = u[:len(u)-1]
	}
	if len(u) == 0 {
		u = nil
	}
	return settledMap{end: m.end, unsettled: u}
}

// FuzzEncodeMetadata writes any map that a window can come to, and wants it
// back exactly: the last offset of a map is settled, and the first is not,
// since the committed offset would lie above it otherwise.
func FuzzEncodeMetadata(f *testing.F) {
	f.Add([]byte{}, int64(0), uint64(0))
	f.Add([]byte{0}, int64(40), uint64(1))
	f.Add([]byte{1, 1, 1}, int64(1)<<40, uint64(1<<63))
	f.Add(slices.Repeat([]byte{0xff, 0xff, 0x03, 7}, 30), int64(7), uint64(9))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f, 1}, int64(1)<<54, uint64(1<<64-1))
	f.Fuzz(func(t *testing.T, gaps []byte, low int64, token uint64) {
		low &= 1<<55 - 1
		m := metadata{token: token, settled: settledMap{end: low}}
		if length := int64(token>>7) & maxRunLength; length > 0 {
			m.run = runState{length: length, noted: low + int64(token%maxSpan), spent: token%3 == 0}
			if token%3 == 1 {
				m.run.since, m.run.from = 1+length/2, low+length
			}
		}
		binary.BigEndian.PutUint64(m.topic[4:], ^token)
		binary.BigEndian.PutUint64(m.ledger[2:], token*3)
		// Each varint is the distance to the next unsettled offset, less one;
		// nothing is further than what a window spans.
		next := low
		for span := uint64(0); len(gaps) > 0; {
			gap, n := binary.Uvarint(gaps)
			if n <= 0 || gap > 1<<20 || span+gap+2 > maxSpan {
				break
			}
			gaps, span = gaps[n:], span+gap+1
			m.settled.unsettled = append(m.settled.unsettled, next)
			next += int64(gap) + 1
			m.settled.end = next + 1
		}
		if len(m.settled.unsettled) > 0 && m.settled.unsettled[len(m.settled.unsettled)-1] == m.settled.end-1 {
			t.Fatal("the map ends with an unsettled offset")
		}
		text := m.encode(low)
		got, err := decodeMetadata(text, low)
		if err != nil {
			t.Fatalf("%v cannot be read: %v", m, err)
		}
		if !reflect.DeepEqual(got, m) {
			t.Fatalf("got %v, want %v", got, m)
		}
		if got.encode(low) != text {
			t.Fatalf("written again it is %q, and was %q", got.encode(low), text)
		}
		if strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") != "" {
			t.Fatalf("%q is not base64 alone", text)
		}
		for _, offset := range []int64{low, next, m.settled.end - 1, m.settled.end} {
			if got.settled.has(offset) != m.settled.has(offset) {
				t.Fatalf("offset %d is settled: %v", offset, got.settled.has(offset))
			}
		}
	})
}
