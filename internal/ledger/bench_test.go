package ledger

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"payment-capture/internal/event"
)

// benchEvents is how many events the benchmarks' stores hold.
const benchEvents = 200_000

// benchID returns the ids that a shop might use, spread as random ones are.
func benchID(i int) string {
	r := rand.New(rand.NewPCG(uint64(i), 7))
	a, b := r.Uint64(), r.Uint64()
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", a>>32, uint16(a>>16), uint16(a), b>>48, b&(1<<48-1))
}

// benchEntries returns what a ledger has of n events: the attempt, and in the
// flush's transaction its tombstone and the decision.
func benchEntries(b *testing.B, from, n int) []entry {
	b.Helper()
	var es []entry
	for i := from; i < from+n; i++ {
		d := *decisionsForTest(b)["captured"]
		o := *d.Outcome
		o.OrderID = "order-" + strconv.Itoa(i)
		o.ExternalReference, o.Subject, o.PaymentID = o.OrderID, o.OrderID, strconv.Itoa(10_458_724+i)
		d.Outcome = &o
		d.Attempt.Event = event.FingerprintOf(binary.BigEndian.AppendUint64(nil, uint64(i)))
		d.Attempt.Reference = o.ExternalReference
		attempt := EncodeAttempt(d.Attempt)
		value, err := EncodeDecision(&d)
		if err != nil {
			b.Fatal(err)
		}
		id, partition, offset := benchID(i), int32(i%6), int64(3*(i/6))
		es = append(es,
			entry{partition: partition, offset: offset, key: KindAttempt.Key(id), value: attempt},
			entry{partition: partition, offset: offset + 1, key: KindDecision.Key(id), value: value},
			entry{partition: partition, offset: offset + 2, key: KindAttempt.Key(id)})
	}
	return es
}

// benchStore returns a store on the disk that holds the benchmarks' events.
func benchStore(b *testing.B) *store {
	b.Helper()
	s, err := openStore(b.Context(), storeConfigForTest(vfs.Default, b.TempDir()))
	if err != nil {
		b.Fatal(err)
	}
	const per = 10_000
	for from := 0; from < benchEvents; from += per {
		put(b, s, benchEntries(b, from, per)...)
	}
	return s
}

func BenchmarkStoreApply(b *testing.B) {
	s, err := openStore(b.Context(), storeConfigForTest(vfs.Default, b.TempDir()))
	if err != nil {
		b.Fatal(err)
	}
	defer s.close()
	const per = 10_000
	written := 0
	var es []entry
	for b.Loop() {
		b.StopTimer()
		es = benchEntries(b, written, per)
		written += per
		b.StartTimer()
		put(b, s, es...)
	}
	b.ReportMetric(float64(b.N*len(es))/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkStoreLookup(b *testing.B) {
	s := benchStore(b)
	defer s.close()
	for _, prefix := range []string{"", "absent-"} {
		b.Run(prefix, func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for i := rand.IntN(benchEvents); pb.Next(); i = (i + 7919) % benchEvents {
					if h := has(b, s, prefix+benchID(i)); (h.Decision != nil) != (prefix == "") {
						b.Errorf("of event %d it has %+v", i, h)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lookups/s")
		})
	}
}

// BenchmarkStorePrefetch looks up as many events at once as one poll returns.
func BenchmarkStorePrefetch(b *testing.B) {
	s := benchStore(b)
	defer s.close()
	const per = 1000
	for _, absent := range []int{0, benchEvents} {
		b.Run(map[int]string{0: "decided", benchEvents: "absent"}[absent], func(b *testing.B) {
			ids, order, seen := make([]string, per), make([]int, per), make([]event.Snapshot, per)
			for next := 0; b.Loop(); {
				b.StopTimer()
				for i := range ids {
					next = (next + 7919) % benchEvents
					ids[i], order[i], seen[i] = benchID(absent+next), i, event.Snapshot{Version: 1}
				}
				b.StartTimer()
				if err := s.snapshots(ids, order, seen); err != nil {
					b.Fatal(err)
				}
				for i, g := range seen {
					if (g.Decision != nil) != (absent == 0) {
						b.Fatalf("of event %s it has %+v", ids[i], g)
					}
				}
			}
			b.ReportMetric(float64(per*b.N)/b.Elapsed().Seconds(), "lookups/s")
		})
	}
}

func BenchmarkStoreUnderReference(b *testing.B) {
	s := benchStore(b)
	defer s.close()
	i := 0
	for b.Loop() {
		i = (i + 7919) % benchEvents
		if ids, err := s.underReference("order-" + strconv.Itoa(i)); err != nil || len(ids) != 1 {
			b.Fatal(ids, err)
		}
	}
}

func BenchmarkStoreReopen(b *testing.B) {
	s := benchStore(b)
	for b.Loop() {
		if err := s.close(); err != nil {
			b.Fatal(err)
		}
		var err error
		if s, err = openStore(b.Context(), s.conf); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.close(); err != nil {
		b.Fatal(err)
	}
}
