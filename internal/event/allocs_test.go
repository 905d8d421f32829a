//go:build !race

package event_test

import (
	"bytes"
	stdjson "encoding/json"
	"testing"

	"payment-capture/internal/event"
)

// These tests limit the allocations of an event. They do not run with the race detector,
// because its own allocations would count, too.

// TestAllocationsOfDecoding checks the budget of a plain event: its texts, its
// members that may be absent, and what the library needs.
func TestAllocationsOfDecoding(t *testing.T) { //nolint:paralleltest // because AllocsPerRun counts those of the whole process
	var compacted bytes.Buffer
	if err := stdjson.Compact(&compacted, examples(t, "valid")["plain"]); err != nil {
		t.Fatal(err)
	}
	m := structuredMessage(compacted.Bytes())
	const most = 16
	if n := testing.AllocsPerRun(500, func() {
		if _, err := event.Decode(m); err != nil {
			t.Fatal(err)
		}
	}); n > most {
		t.Errorf("decoding an event allocates %v times, more than %d", n, most)
	}
}

func TestAllocationsOfAnOutcome(t *testing.T) { //nolint:paralleltest // as above
	for name, o := range outcomes(t) {
		const most = 16
		if n := testing.AllocsPerRun(500, func() {
			o.Encode([]byte("o1"), event.Structured)
		}); n > most {
			t.Errorf("%s: an outcome allocates %v times, more than %d", name, n, most)
		}
	}
}
