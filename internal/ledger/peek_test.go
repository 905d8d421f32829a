package ledger

import (
	"bytes"
	"testing"
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
	want := ""
	if d.Outcome != nil && d.Outcome.PaymentID != "" {
		want = d.Outcome.ExternalReference
	}
	if string(reference) != want {
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
			if _, err := DecodeAttempt(value); err != nil {
				t.Errorf("the attempt %x was looked through, but cannot be read: %v", value, err)
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
