package offsetmeta

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
// other programs', damaged ones, and ones that could take much memory.
func hostileMetadata() []string {
	good := Metadata{Token: 7, Completed: Completed{End: 60, Open: []int64{40, 44, 59}}}.Encode(40)
	return []string{
		"", " ", "{}", "null", "committed by hand", "\x00", "\xff\xfe", good, good + "=", good + "\n", " " + good, good + "A",
		good + good, good[:len(good)-1],
		strings.ToLower(good), base64.StdEncoding.EncodeToString([]byte(good)),
		base64.URLEncoding.EncodeToString(slices.Repeat([]byte{0xff}, 60)),
		payloadOf(formNone), payloadOf(formNone, 1, 2, 3), payloadOf(9, 1, 2), payloadOf(formBitmap), payloadOf(formBitmap, 0, 0, 0),
		payloadOf(formBitmap, 0, 0, 0x81, 0), payloadOf(formBitmap, slices.Repeat([]byte{0xff}, 3000)...),
		payloadOf(formBitmap, append(make([]byte, 3000), 0x80)...),
		payloadOf(formDeltas), payloadOf(formDeltas, 0), payloadOf(formDeltas, 0x80, 0x00), payloadOf(formDeltas, uvarints(0, 0)...),
		payloadOf(formDeltas, uvarints(maxSpan, 0, 1, 2, maxSpan)...), payloadOf(formDeltas, uvarints(maxSpan+1)...),
		payloadOf(formDeltas, uvarints(1<<63, 1)...),
		payloadOf(formDeltas, uvarints(10, 1, 1<<64-1)...), payloadOf(formDeltas, uvarints(10, 10)...),
		payloadOf(formDeltas, uvarints(10, 3, 0)...),
		runOf(runNone), runOf(runCounted, uvarints(3, 9)...), runOf(runHeld, uvarints(3, 9, 1<<31, 4)...),
		runOf(runReleased, uvarints(3, 9)...), runOf(7, 1, 1),
		runOf(runHeld, uvarints(maxRunLength, maxSpan, maxRunSecond, maxSpan)...), runOf(runHeld, slices.Repeat([]byte{0xff}, 30)...),
		payloadOf(formDeltas, append(uvarints(maxSpan), slices.Repeat([]byte{1}, 3000)...)...), strings.Repeat("A", 4097),
		strings.Repeat("/", 1<<16),
	}
}

// FuzzDecode decodes any text: the result is within bounds, takes little memory, and is
// the same after encoding and decoding it again.
func FuzzDecode(f *testing.F) {
	r := seeded(7)
	for range 8 {
		f.Add(Metadata{Token: r.Uint64(), Run: randomRun(r, 40), Completed: randomCompleted(r, 40)}.Encode(40), int64(40))
	}
	for _, text := range hostileMetadata() {
		f.Add(text, int64(testOffset))
		f.Add(text, int64(40))
		f.Add(text, int64(1)<<50)
	}
	f.Fuzz(func(t *testing.T, text string, low int64) {
		low &= 1<<55 - 1
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m, err := Decode(text, low)
		runtime.ReadMemStats(&after)
		// An open offset takes eight bytes and, in a bitmap, comes of a
		// bit; a slice that grows takes as much again, several times over.
		if used, most := after.TotalAlloc-before.TotalAlloc, uint64(64<<10+8*8*6*len(text)); used > most {
			t.Fatalf("%d bytes allocated to read %d", used, len(text))
		}
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("error %v is not ErrInvalid", err)
			}
			return
		}
		s := m.Completed
		if s.End < low || s.End-low > max(maxSpan, 8*int64(len(text))) || len(s.Open) > 8*len(text) {
			t.Fatalf("end %d above %d, and %d open, out of %d bytes", s.End, low, len(s.Open), len(text))
		}
		for i, o := range s.Open {
			if o < low || o >= s.End || (i > 0 && o <= s.Open[i-1]) {
				t.Fatalf("open %v in [%d,%d)", s.Open, low, s.End)
			}
		}
		sameAgain(t, m, low)
	})
}

// sameAgain writes metadata and reads it back.
func sameAgain(t *testing.T, m Metadata, low int64) {
	t.Helper()
	text := m.Encode(low)
	again, err := Decode(text, low)
	if err != nil {
		t.Fatalf("the encoded text cannot be decoded: %v", err)
	}
	if again.Input != m.Input || again.Ledger != m.Ledger || again.Token != m.Token || again.Run != m.Run {
		t.Fatalf("got %v, want %v", again, m)
	}
	if got, want := withoutOpenEnd(again.Completed, low), withoutOpenEnd(m.Completed, low); !reflect.DeepEqual(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	if twice := again.Encode(low); len(twice) > len(text) {
		t.Fatalf("written again it takes %d characters, and took %d", len(twice), len(text))
	}
}

// withoutOpenEnd drops open offsets at the end, which have no meaning.
func withoutOpenEnd(m Completed, low int64) Completed {
	u := slices.Clone(m.Open)
	for m.End > low && len(u) > 0 && u[len(u)-1] == m.End-1 {
		m.End--
		u = u[:len(u)-1]
	}
	if len(u) == 0 {
		u = nil
	}
	return Completed{End: m.End, Open: u}
}

// FuzzEncode encodes any set of offsets that an offset tracker can reach, and wants
// it back exactly: the last offset is completed, and the first is not, because the
// committed offset would lie above it otherwise.
func FuzzEncode(f *testing.F) {
	f.Add([]byte{}, int64(0), uint64(0))
	f.Add([]byte{0}, int64(40), uint64(1))
	f.Add([]byte{1, 1, 1}, int64(1)<<40, uint64(1<<63))
	f.Add(slices.Repeat([]byte{0xff, 0xff, 0x03, 7}, 30), int64(7), uint64(9))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f, 1}, int64(1)<<54, uint64(1<<64-1))
	f.Fuzz(func(t *testing.T, gaps []byte, low int64, token uint64) {
		low &= 1<<55 - 1
		m := Metadata{Token: token, Completed: Completed{End: low}}
		if length := int64(token>>7) & maxRunLength; length > 0 {
			m.Run = Run{Length: length, CountedTo: low + int64(token%maxSpan), Released: token%3 == 0}
			if token%3 == 1 {
				m.Run.HeldSince, m.Run.HeldFrom = 1+length/2, low+length
			}
		}
		binary.BigEndian.PutUint64(m.Input[4:], ^token)
		binary.BigEndian.PutUint64(m.Ledger[2:], token*3)
		// Each varint is the distance to the next open offset, less one;
		// none is further than what an offset tracker spans.
		next := low
		for span := uint64(0); len(gaps) > 0; {
			gap, n := binary.Uvarint(gaps)
			if n <= 0 || gap > 1<<20 || span+gap+2 > maxSpan {
				break
			}
			gaps, span = gaps[n:], span+gap+1
			m.Completed.Open = append(m.Completed.Open, next)
			next += int64(gap) + 1
			m.Completed.End = next + 1
		}
		if len(m.Completed.Open) > 0 && m.Completed.Open[len(m.Completed.Open)-1] == m.Completed.End-1 {
			t.Fatal("the last offset is open")
		}
		text := m.Encode(low)
		got, err := Decode(text, low)
		if err != nil {
			t.Fatalf("%v cannot be read: %v", m, err)
		}
		if !reflect.DeepEqual(got, m) {
			t.Fatalf("got %v, want %v", got, m)
		}
		if got.Encode(low) != text {
			t.Fatalf("written again it is %q, and was %q", got.Encode(low), text)
		}
		if strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") != "" {
			t.Fatalf("%q is not base64 alone", text)
		}
		for _, offset := range []int64{low, next, m.Completed.End - 1, m.Completed.End} {
			if got.Completed.Has(offset) != m.Completed.Has(offset) {
				t.Fatalf("offset %d is Completed: %v", offset, got.Completed.Has(offset))
			}
		}
	})
}
