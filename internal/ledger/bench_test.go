package ledger

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/event"
)

// benchEvents is how many events the benchmarks' ledgers hold.
const benchEvents = 200_000

// benchID returns an id as many shops use them.
func benchID(i int) string {
	var id uuid.UUID
	r := rand.New(rand.NewPCG(uint64(i), 7))
	binary.BigEndian.PutUint64(id[:8], r.Uint64())
	binary.BigEndian.PutUint64(id[8:], r.Uint64())
	return id.String()
}

// benchFetch returns what a flush writes of n events, as one fetch: the attempts, and in a
// transaction the decisions and tombstones.
func benchFetch(b *testing.B, next map[int32]int64, from, n int) (fetches kgo.Fetches, records int) {
	b.Helper()
	var rs []*kgo.Record
	add := func(r *kgo.Record, opts kgo.RecordAttrsOpts) {
		r.Offset, r.Attrs, r.ProducerID = next[r.Partition], kgo.NewRecordAttrs(opts), 1
		next[r.Partition]++
		rs = append(rs, r)
	}
	inTransaction := kgo.RecordAttrsOpts{Transactional: true}
	for i := from; i < from+n; i++ {
		id, reference := benchID(i), "order-"+strconv.Itoa(i)
		at := partitionOf(reference)
		d := decided(b, "captured", reference, id)
		d.Outcome.PaymentID = strconv.Itoa(10_458_724 + i)
		add(attemptRecord(at, id, "owner", &d.Attempt), kgo.RecordAttrsOpts{})
		add(decisionRecord(b, at, id, d), inTransaction)
		add(attemptRecord(at, id, "owner", nil), inTransaction)
	}
	for p := range int32(testPartitions) {
		add(&kgo.Record{Partition: p, Key: (&kmsg.ControlRecordKey{Type: kmsg.ControlRecordKeyTypeCommit}).AppendTo(nil)}, kgo.RecordAttrsOpts{Transactional: true, Control: true})
	}
	return fetched(rs...), len(rs)
}

// benchLedger returns a ledger on the disk that holds the benchmarks' events.
func benchLedger(b *testing.B) *Ledger {
	b.Helper()
	l, a := offline(b, vfs.Default, b.TempDir())
	next := make(map[int32]int64)
	const per = 10_000
	for from := 0; from < benchEvents; from += per {
		fetches, _ := benchFetch(b, next, from, per)
		if err := a.apply(fetches); err != nil {
			b.Fatal(err)
		}
	}
	return l
}

// BenchmarkApply is reading the topic without the network.
func BenchmarkApply(b *testing.B) {
	_, a := offline(b, vfs.Default, b.TempDir())
	next := make(map[int32]int64)
	const per = 5_000
	written, records := 0, 0
	for b.Loop() {
		b.StopTimer()
		fetches, n := benchFetch(b, next, written, per)
		written += per
		records += n
		b.StartTimer()
		if err := a.apply(fetches); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkSnapshot looks up as many events at once as one poll returns.
func BenchmarkSnapshot(b *testing.B) {
	l := benchLedger(b)
	const per = 500
	for _, absent := range []int{0, benchEvents} {
		b.Run(map[int]string{0: "decided", benchEvents: "absent"}[absent], func(b *testing.B) {
			ids := make([]string, per)
			for next := 0; b.Loop(); {
				b.StopTimer()
				for i := range ids {
					next = (next + 7919) % benchEvents
					ids[i] = benchID(absent + next)
				}
				b.StartTimer()
				for i, s := range l.Snapshot(ids) {
					if (s.Decision != nil) != (absent == 0) {
						b.Fatalf("of event %s it has %+v", ids[i], s)
					}
				}
			}
			b.ReportMetric(float64(per*b.N)/b.Elapsed().Seconds(), "lookups/s")
		})
	}
}

func BenchmarkLookup(b *testing.B) {
	l := benchLedger(b)
	for name, prefix := range map[string]string{"decided": "", "absent": "absent-"} {
		b.Run(name, func(b *testing.B) {
			for next := 0; b.Loop(); {
				next = (next + 7919) % benchEvents
				if h, err := l.Lookup(b.Context(), prefix+benchID(next)); err != nil || (h.Decision != nil) != (prefix == "") {
					b.Fatalf("of event %d it has %+v, %v", next, h, err)
				}
			}
		})
	}
}

func BenchmarkUnder(b *testing.B) {
	l := benchLedger(b)
	for next := 0; b.Loop(); {
		next = (next + 7919) % benchEvents
		if found, err := l.Under(b.Context(), event.Charge{Reference: fmt.Sprint("order-", next)}); err != nil || len(found) != 1 {
			b.Fatal(found, err)
		}
	}
}
