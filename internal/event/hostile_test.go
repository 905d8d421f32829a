package event_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"payment-capture/internal/event"
	"payment-capture/internal/event/hostile"
)

func TestHostileRecordsNameTheirField(t *testing.T) {
	t.Parallel()
	records := append(hostile.Records(recordTime, planted), hostile.Large(recordTime, planted, 1<<20+16)...)
	seen := map[string]bool{}
	for _, r := range records {
		if seen[r.Name] || seen[event.RecordID(r.Message)] {
			t.Errorf("two records are called %q, or are the same", r.Name)
		}
		seen[r.Name], seen[event.RecordID(r.Message)] = true, true
		before := copyOf(r.Message)
		wantInvalid(t, r.Name, r.Message, r.Field, r.Problem)
		if !sameMessage(before, r.Message) {
			t.Errorf("%s: the record was changed by reading it", r.Name)
		}
		_, err := event.Decode(r.Message)
		text := fmt.Sprintf("%v %+v %#v", err, err, err)
		if strings.Contains(text, planted) || strings.Contains(text, "FORGED") {
			t.Errorf("%s: the error quotes the record: %s", r.Name, text)
		}
		subject := r.Field
		if subject == "" {
			subject = "the record's value"
		}
		if !strings.HasPrefix(text, subject+" ") {
			t.Errorf("%s: the error does not begin with what is wrong: %s", r.Name, text)
		}
	}
	if len(records) < 200 {
		t.Errorf("the corpus has %d records", len(records))
	}
}

func copyOf(m event.Message) event.Message {
	c := event.Message{Key: slices.Clone(m.Key), Value: slices.Clone(m.Value), Timestamp: m.Timestamp}
	for _, h := range m.Headers {
		c.Headers = append(c.Headers, event.Header{Key: h.Key, Value: slices.Clone(h.Value)})
	}
	return c
}

func sameMessage(a, b event.Message) bool {
	return string(a.Key) == string(b.Key) && string(a.Value) == string(b.Value) && a.Timestamp.Equal(b.Timestamp) &&
		slices.EqualFunc(a.Headers, b.Headers, func(a, b event.Header) bool { return a.Key == b.Key && string(a.Value) == string(b.Value) })
}

func TestOddRecordsAreTaken(t *testing.T) {
	t.Parallel()
	for _, o := range hostile.Odd(recordTime, planted) {
		got, err := event.Decode(o.Message)
		if err != nil {
			t.Errorf("%s: %v", o.Name, err)
			continue
		}
		if got.ID != o.ID || got.OrderID != o.ID || got.Amount.String() != "700.50" || got.PayerToken.Reveal() == "" ||
			!got.Time.Equal(recordTime) {
			t.Errorf("%s: got %+v", o.Name, got)
		}
	}
}

// TestReadingIsBounded checks that the allocations for large or deeply nested records grow
// linearly with their size. It is not parallel, because the counters are those of the
// process.
func TestReadingIsBounded(t *testing.T) { //nolint:paralleltest // it counts allocations
	const (
		most  = 40 // because many members with different names need 36
		large = 1 << 20
	)
	small := hostile.Large(recordTime, planted, large/10)
	for i, r := range hostile.Large(recordTime, planted, large) {
		whole, part := allocated(r.Message), allocated(small[i].Message)
		t.Logf("%-52s %4.1f times its size", r.Name, float64(whole)/float64(large))
		if size := uint64(len(r.Message.Value)); whole > most*size {
			t.Errorf("%s: %d bytes allocated to read %d", r.Name, whole, size)
		}
		if whole > 20*part+1<<20 {
			t.Errorf("%s: %d bytes allocated, and %d for a tenth of it", r.Name, whole, part)
		}
	}
	for _, r := range append(hostile.Records(recordTime, planted), hostile.TooLong(recordTime, planted, 10<<20)) {
		size := uint64(len(r.Message.Value))
		for _, h := range r.Message.Headers {
			size += uint64(len(h.Value) + len(h.Key))
		}
		// The race detector empties pools at random, so that their buffers are made again.
		got := min(allocated(r.Message), allocated(r.Message), allocated(r.Message))
		if got > most*size+512<<10 {
			t.Errorf("%s: %d bytes allocated to read %d", r.Name, got, size)
		}
	}
}

func allocated(m event.Message) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _ = event.Decode(m)
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestTypesThatAreOursButForDamage checks that other types do not count as damaged ones.
func TestTypesThatAreOursButForDamage(t *testing.T) {
	t.Parallel()
	for _, other := range []string{
		"order.ready_to_capture.v2", "order.ready-to-capture", "xorder.ready_to_capture", "order.ready_to_capturé", "оrder.ready_to_capture",
		"order.ready_to_capture_cancelled", "order", ".", " ", "\x00",
	} {
		for mode, m := range map[string]event.Message{
			"structured": structuredMessage([]byte(with(t, plain, `"`+event.TypeReadyToCapture+`"`, quoted(other)))),
			"binary":     binaryMessage(append(slices.Clone(required[:6]), "ce_type", other)...),
		} {
			if _, err := event.Decode(m); err == nil || strings.Contains(err.Error(), "exactly") {
				t.Errorf("%s, type %q: %v", mode, other, err)
			}
		}
	}
	// A structured event of another type with the headers of that type is skipped.
	m := structuredMessage([]byte(with(t, plain, event.TypeReadyToCapture, "order.cancelled")))
	m.Headers = append(m.Headers, event.Header{Key: "ce_type", Value: []byte("order.cancelled")},
		event.Header{Key: "ce_id", Value: []byte("another")},
		event.Header{Key: "content-type", Value: []byte("application/json")})
	if _, err := event.Decode(m); err == nil || !strings.HasPrefix(err.Error(), "event of type") {
		t.Errorf("another type with contradictory headers: %v", err)
	}
	// Headers that repeat the value are not a contradiction.
	m = structuredMessage([]byte(plain))
	for i := 0; i < len(required); i += 2 {
		m.Headers = append(m.Headers, event.Header{Key: required[i], Value: []byte(required[i+1])})
	}
	m.Headers = append(m.Headers, m.Headers[0])
	if _, err := event.Decode(m); err != nil {
		t.Errorf("headers that repeat the value: %v", err)
	}
}
