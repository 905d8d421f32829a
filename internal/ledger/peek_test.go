package ledger

import (
	"bytes"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"payment-capture/internal/event"
)

// agree checks that what is looked through is what is decoded.
func agree(t *testing.T, value []byte) (peeked bool) {
	t.Helper()
	v, reference, ok := peekDecision(value)
	if !ok {
		return false
	}
	d, err := DecodeDecision("e1", value)
	if err != nil {
		t.Fatalf("%x was looked through, but cannot be read: %v", value, err)
	}
	if v.rank != rankOf(d) || v.at != milli(d.At) || !bytes.Equal(v.value, value) {
		t.Errorf("%x: got %d at %d, want %d at %d", value, v.rank, v.at, rankOf(d), milli(d.At))
	}
	if want := referenceOf(d); string(reference) != want {
		t.Errorf("%x: got the reference %q, want %q", value, reference, want)
	}
	return true
}

// What the service writes is looked through, not decoded.
func TestWhatIsWrittenIsLookedThrough(t *testing.T) {
	for name, d := range decisionsForTest(t) {
		value, err := EncodeDecision(d)
		if err != nil {
			t.Fatal(err)
		}
		if !agree(t, value) {
			t.Errorf("%s: %x is decoded", name, value)
		}
	}
	value, err := EncodeAttempt(attemptForTest())
	if err != nil {
		t.Fatal(err)
	}
	p := peeker{rest: value}
	if p.attempt(); p.unsure || len(p.rest) > 0 {
		t.Errorf("the attempt %x is decoded", value)
	}
}

// What was tried, or has a payment, is found under its reference, whether it is
// looked through or decoded.
func TestWhatIsFoundUnderAReference(t *testing.T) {
	ds := decisionsForTest(t)
	change := func(name string, change func(*event.Decision)) *event.Decision {
		d := *ds[name]
		if d.Outcome != nil {
			d.Outcome = new(*d.Outcome)
		}
		change(&d)
		return &d
	}
	untried := func(d *event.Decision) { d.Attempt.First = time.Time{} }
	for name, test := range map[string]struct {
		decision *event.Decision
		want     string
	}{
		"captured":                    {ds["captured"], "o1"},
		"captured, never tried":       {change("captured", untried), "o1"},
		"rejected without a payment":  {ds["rejected"], "another"},
		"rejected, never tried":       {change("rejected", untried), ""},
		"parked after a try":          {ds["parked"], "o1"},
		"parked after one of unknown": {change("parked", func(d *event.Decision) { d.Attempt.Reference = "" }), ""},
		"parked, never tried":         {change("parked", untried), ""},
		"parked, and was no event":    {ds["parked without a call"], ""},
	} {
		value, err := EncodeDecision(test.decision)
		if err != nil {
			t.Fatal(err)
		}
		if !agree(t, value) || referenceOf(test.decision) != test.want {
			t.Errorf("%s: under %q, want %q", name, referenceOf(test.decision), test.want)
		}
		// With a key that the peeker does not know it is decoded.
		_, decoded, err := readVerdict([]byte("e1"), withAKey(t, value))
		if err != nil || string(decoded) != test.want {
			t.Errorf("%s: decoded it is under %q, %v; want %q", name, decoded, err, test.want)
		}
	}
	value, err := EncodeAttempt(attemptForTest())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range [][]byte{value, withAKey(t, value)} {
		if reference, err := readAttempt(v); string(reference) != "o1" || err != nil {
			t.Errorf("the attempt %x is under %q, %v", v, reference, err)
		}
	}
}

// withAKey adds a key of a later version to an entry.
func withAKey(t *testing.T, value []byte) []byte {
	t.Helper()
	var v map[any]any
	if err := cbor.Unmarshal(value, &v); err != nil {
		t.Fatal(err)
	}
	v[23] = "later"
	value, err := cbor.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func FuzzPeek(f *testing.F) {
	for _, d := range decisionsForTest(f) {
		value, err := EncodeDecision(d)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(value)
	}
	attempt, err := EncodeAttempt(attemptForTest())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(attempt)
	f.Fuzz(func(t *testing.T, value []byte) {
		agree(t, value)
		p := peeker{rest: value}
		if p.attempt(); !p.unsure && len(p.rest) == 0 {
			a, err := DecodeAttempt(value)
			if err != nil {
				t.Fatalf("the attempt %x was looked through, but cannot be read: %v", value, err)
			}
			if reference, err := readAttempt(value); string(reference) != a.Reference || err != nil {
				t.Errorf("the attempt %x: got the reference %q, %v, want %q", value, reference, err, a.Reference)
			}
		}
	})
}

func BenchmarkReadVerdict(b *testing.B) {
	value, err := EncodeDecision(decisionsForTest(b)["captured"])
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := readVerdict(nil, value); err != nil {
			b.Fatal(err)
		}
	}
}
