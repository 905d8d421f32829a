//go:build !race

package entry_test

import (
	"testing"

	"payment-capture/internal/ledger/entry"
)

// What an entry may allocate, by count and not by time: the race detector allocates
// too, so this runs without it.
func TestAllocations(t *testing.T) { //nolint:paralleltest // AllocsPerRun counts those of the whole process
	d := typical(t)
	a := attemptOn(t, "o1", "o1")
	value, attempt := encode(t, d), entry.EncodeAttempt(a)
	for name, tt := range map[string]struct {
		most float64
		run  func()
	}{
		"EncodeAttempt":  {6, func() { entry.EncodeAttempt(a) }},
		"EncodeDecision": {15, func() { _, _ = entry.EncodeDecision(d) }},
		"DecodeAttempt":  {9, func() { _, _ = entry.DecodeAttempt(attempt) }},
		"DecodeDecision": {22, func() { _, _ = entry.DecodeDecision("e1", value) }},
		"Summary":        {16, func() { _, _, _, _ = entry.Summary(value) }},
	} {
		if n := testing.AllocsPerRun(200, tt.run); n > tt.most {
			t.Errorf("%s allocates %v times, more than %v", name, n, tt.most)
		}
	}
}

func BenchmarkSummary(b *testing.B) {
	value := encode(b, typical(b))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, _, err := entry.Summary(value); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeDecision(b *testing.B) {
	value := encode(b, typical(b))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := entry.DecodeDecision("e1", value); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeDecision(b *testing.B) {
	d := typical(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := entry.EncodeDecision(d); err != nil {
			b.Fatal(err)
		}
	}
}
