package store

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
)

// benchEvents is how many events the benchmarks' stores hold: of a year.
const benchEvents = 200_000

// benchEvent is a captured event.
type benchEvent struct {
	id, reference string
	d             Decision
}

// newBenchEvent returns the i-th event: a random id, and a value of 109 bytes, of which
// some can be compressed.
func newBenchEvent(i int) benchEvent {
	r := rand.New(rand.NewPCG(uint64(i), 7))
	var id, fingerprint [16]byte
	for _, random := range [][]byte{id[:8], id[8:], fingerprint[:8], fingerprint[8:]} {
		binary.BigEndian.PutUint64(random, r.Uint64())
	}
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	at := 1_790_000_000_000 + int64(i)*(31_536_000_000/benchEvents) + r.Int64N(1000)
	e := benchEvent{id: uuid.UUID(id).String(), reference: fmt.Sprintf("ORD-%09d", 7*i+r.IntN(7)), d: Decision{Rank: Captured, At: at}}
	var v []byte
	for tag, ms := range []int64{at - 60 - r.Int64N(900), at, at - r.Int64N(20)} {
		v = binary.AppendUvarint(append(v, byte(8*tag+8)), uint64(ms))
	}
	payment, amount := strconv.Itoa(13_100_000_000+13*i+r.IntN(13)), fmt.Sprintf("%d.%02d", 5+r.IntN(400), r.IntN(100))
	method := []string{"pix", "visa", "master", "account_money"}[r.IntN(4)]
	for tag, text := range []string{string(fingerprint[:]), e.reference, payment, amount, "BRL", "2087654321", method, "accredited"} {
		v = append(append(v, byte(8*tag+34), byte(len(text))), text...)
	}
	e.d.Value = v
	return e
}

// apply writes the attempt, the decision, and the end of the attempt of each event.
func apply(b *testing.B, batch *Batch, events []benchEvent) {
	b.Helper()
	const apart = 200 // events between an attempt and its decision
	for i := range len(events) + apart {
		if i < len(events) {
			batch.PutAttempt(Attempt{ID: events[i].id, Owner: "owner", Offset: int64(i), Value: events[i].d.Value})
		}
		if i >= apart {
			e := events[i-apart]
			batch.PutDecision(e.id, Index{Reference: e.reference}, e.d)
			batch.DeleteAttempt(e.id, "owner")
		}
	}
	batch.SetPosition(0, Position{Next: 1, From: 1})
	if err := batch.Commit(); err != nil {
		b.Fatal(err)
	}
}

func benchEventsFrom(from, n int) []benchEvent {
	events := make([]benchEvent, n)
	for i := range events {
		events[i] = newBenchEvent(from + i)
	}
	return events
}

// benchStore returns a store on the disk that holds the benchmarks' events.
func benchStore(b *testing.B) *Store {
	b.Helper()
	s := openForTest(b, configForTest(vfs.Default, b.TempDir()))
	const per = 10_000
	for from := 0; from < benchEvents; from += per {
		apply(b, s.NewBatch(), benchEventsFrom(from, per))
	}
	return s
}

func BenchmarkApply(b *testing.B) {
	s := openForTest(b, configForTest(vfs.Default, b.TempDir()))
	defer closeForTest(b, s)
	const per = 10_000
	written, batch := 0, s.NewBatch()
	for b.Loop() {
		b.StopTimer()
		events := benchEventsFrom(written, per)
		written += per
		b.StartTimer()
		apply(b, batch, events)
	}
	b.ReportMetric(float64(b.N*per*3)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkDecision(b *testing.B) {
	s := benchStore(b)
	defer closeForTest(b, s)
	for name, absent := range map[string]int{"decided": 0, "absent": benchEvents} {
		b.Run(name, func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for i := rand.IntN(benchEvents); pb.Next(); i = (i + 7919) % benchEvents {
					if has(b, s, newBenchEvent(absent+i).id) != (absent == 0) {
						b.Errorf("event %d", i)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lookups/s")
		})
	}
}

// BenchmarkDecisions looks up as many events at once as one poll returns.
func BenchmarkDecisions(b *testing.B) {
	s := benchStore(b)
	defer closeForTest(b, s)
	const per = 500
	for name, absent := range map[string]int{"decided": 0, "absent": benchEvents} {
		b.Run(name, func(b *testing.B) {
			ids := make([]string, per)
			for next := 0; b.Loop(); {
				b.StopTimer()
				for i := range ids {
					next = (next + 7919) % benchEvents
					ids[i] = newBenchEvent(absent + next).id
				}
				b.StartTimer()
				found := 0
				if err := s.Decisions(ids, func(int, Decision) error { found++; return nil }); err != nil || (found == per) != (absent == 0) {
					b.Fatal(found, err)
				}
			}
			b.ReportMetric(float64(per*b.N)/b.Elapsed().Seconds(), "lookups/s")
		})
	}
}

func BenchmarkUnder(b *testing.B) {
	s := benchStore(b)
	defer closeForTest(b, s)
	for i := 0; b.Loop(); i = (i + 7919) % benchEvents {
		if ids := under(b, s, newBenchEvent(i).reference); len(ids) != 1 {
			b.Fatal(ids)
		}
	}
}

func BenchmarkReopen(b *testing.B) {
	s := benchStore(b)
	for b.Loop() {
		closeForTest(b, s)
		s = openForTest(b, s.conf)
	}
	closeForTest(b, s)
}
