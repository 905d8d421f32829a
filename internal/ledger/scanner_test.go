package ledger

import (
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
)

// agree checks that what is looked through is what the library decodes.
func agree(t *testing.T, value []byte) (scanned bool) {
	t.Helper()
	g, ok := scanDecision(value)
	if !ok {
		return false
	}
	want, err := readWireDecision("e1", value)
	if err != nil {
		t.Fatalf("%x was looked through, but cannot be read: %v", value, err)
	}
	got, ok := g.decision("e1")
	if !ok {
		t.Fatalf("%x was looked through, and then its amount was refused", value)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(money.Amount{})); diff != "" {
		t.Errorf("%x was looked through otherwise than it is decoded (-want +got):\n%s", value, diff)
	}
	if decoded, err := DecodeDecision("e1", value); err != nil || !cmp.Equal(want, decoded, cmp.AllowUnexported(money.Amount{})) {
		t.Errorf("%x: got %v, %v", value, decoded, err)
	}
	if g.rank() != rankOf(want) || g.at != milli(want.At) || string(g.reference()) != referenceOf(want) {
		t.Errorf("%x: got %d at %d under %q, want %d at %d under %q", value, g.rank(), g.at, g.reference(), rankOf(want), milli(want.At),
			referenceOf(want))
	}
	return true
}

// agreeOnAttempt is agree for an attempt.
func agreeOnAttempt(t *testing.T, value []byte) (scanned bool) {
	t.Helper()
	a, ok := scanAttempt(value)
	if !ok {
		return false
	}
	want, err := readWireAttempt(value)
	if err != nil {
		t.Fatalf("the attempt %x was looked through, but cannot be read: %v", value, err)
	}
	got, ok := a.attempt()
	if !ok {
		t.Fatalf("the attempt %x was looked through, and then its amount was refused", value)
	}
	if diff := cmp.Diff(want, &got, cmp.AllowUnexported(money.Amount{})); diff != "" {
		t.Errorf("the attempt %x was looked through otherwise than it is decoded (-want +got):\n%s", value, diff)
	}
	if reference, err := readAttempt(value); string(reference) != want.Reference || err != nil {
		t.Errorf("the attempt %x: got the reference %q, %v, want %q", value, reference, err, want.Reference)
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
	if value := EncodeAttempt(attemptForTest()); !agreeOnAttempt(t, value) {
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
		// With a key that the scanner does not know it is decoded.
		_, decoded, err := readDecisionValue([]byte("e1"), withAKey(t, value))
		if err != nil || string(decoded) != test.want {
			t.Errorf("%s: decoded it is under %q, %v; want %q", name, decoded, err, test.want)
		}
	}
	value := EncodeAttempt(attemptForTest())
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

// A list that is longer than the library reads is its to refuse.
func TestManyTransactionsAreLeftToTheLibrary(t *testing.T) {
	for n, want := range map[int]bool{mostTransactions: true, mostTransactions + 1: false, 1<<17 + 1: false} {
		d := *decisionsForTest(t)["captured"]
		o := *d.Outcome
		o.Transactions, d.Outcome = make([]event.Transaction, n), &o
		value, err := EncodeDecision(&d)
		if err != nil {
			t.Fatal(err)
		}
		if got := agree(t, value); got != want {
			t.Errorf("%d transactions: looked through: %v, want %v", n, got, want)
		}
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
	f.Add(EncodeAttempt(attemptForTest()))
	f.Add(EncodeAttempt(attemptOn(f, "order 2")))
	f.Fuzz(func(t *testing.T, value []byte) {
		agree(t, value)
		agreeOnAttempt(t, value)
	})
}

func BenchmarkReadDecisionValue(b *testing.B) {
	value, err := EncodeDecision(decisionsForTest(b)["captured"])
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := readDecisionValue(nil, value); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeDecision(b *testing.B) {
	value, err := EncodeDecision(decisionsForTest(b)["captured"])
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeDecision("e1", value); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeDecision(b *testing.B) {
	d := decisionsForTest(b)["captured"]
	b.ReportAllocs()
	for b.Loop() {
		if _, err := EncodeDecision(d); err != nil {
			b.Fatal(err)
		}
	}
}
