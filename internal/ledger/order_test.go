package ledger

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/ledger/entry"
)

// log is a partition of the topic that a test makes up.
type log struct {
	t         *testing.T
	r         *rand.Rand
	records   []*kgo.Record
	committed map[*kgo.Record]bool // as what is not transactional is
	open      map[int64][]*kgo.Record
}

func (l *log) add(r *kgo.Record, producer int64) {
	r.Offset, r.ProducerID = int64(len(l.records)), producer
	if producer == 0 {
		l.committed[r] = true
	} else {
		r.Attrs = kgo.NewRecordAttrs(kgo.RecordAttrsOpts{Transactional: true})
		l.open[producer] = append(l.open[producer], r)
	}
	l.records = append(l.records, r)
}

// end ends a transaction.
func (l *log) end(producer int64, commit bool) {
	kind := kmsg.ControlRecordKeyTypeAbort
	if commit {
		kind = kmsg.ControlRecordKeyTypeCommit
		for _, r := range l.open[producer] {
			l.committed[r] = true
		}
	}
	l.records = append(l.records, &kgo.Record{
		Topic: testTopic, Key: (&kmsg.ControlRecordKey{Type: kind}).AppendTo(nil), Offset: int64(len(l.records)), ProducerID: producer,
		Attrs: kgo.NewRecordAttrs(kgo.RecordAttrsOpts{Transactional: true, Control: true}),
	})
	delete(l.open, producer)
}

// draw adds records of some owners and producers on a few events.
func (l *log) draw(n int) {
	for range n {
		id, owner := fmt.Sprint("e", l.r.IntN(2)), string('x'+rune(l.r.IntN(3)))
		producer := int64(1 + l.r.IntN(2))
		switch l.r.IntN(6) {
		case 0, 1:
			l.add(attemptRecord(0, id, owner, new(attemptUnder("o1", 5, 1))), 0)
		case 2:
			l.add(attemptRecord(0, id, owner, nil), 0)
		case 3:
			l.add(attemptRecord(0, id, owner, nil), producer)
		case 4:
			d := decided(l.t, "parked", "o1", id)
			d.At = aTime(int64(len(l.records)))
			l.add(decisionRecord(l.t, 0, id, d), producer)
		default:
			l.end(producer, l.r.IntN(3) > 0)
		}
	}
	for producer := range int64(3) {
		l.end(producer, l.r.IntN(3) > 0)
	}
}

// attempted returns the open attempts by the rule: the last attempt of an owner is open
// if no withdrawal of the owner and no decision on the event lies behind it.
func (l *log) attempted() (open []string) {
	last := make(map[string]int64)
	for _, r := range l.records {
		if !l.committed[r] {
			continue
		}
		kind, id, owner, err := entry.ParseKey(r.Key)
		if err != nil {
			l.t.Fatal(err)
		}
		switch {
		case kind == entry.KindDecision:
			for _, owner := range []string{"x", "y", "z"} {
				delete(last, id+owner)
			}
		case r.Value == nil:
			delete(last, id+owner)
		default:
			last[id+owner] = r.Offset
		}
	}
	for a := range last {
		open = append(open, a)
	}
	slices.Sort(open)
	return open
}

// read has a ledger read the log in fetches of some size at most, with restarts, and
// returns the open attempts that it knows in the end, and their places.
func (l *log) read(most, restarts int) (open, places []string) {
	fs := vfs.NewMem()
	at := int64(0)
	for left := restarts; ; left-- {
		ledger, a := offline(l.t, fs, "dir")
		read, err := ledger.store.Positions()
		if err != nil {
			l.t.Fatal(err)
		}
		from, until := read[0].From, int64(len(l.records))
		if left > 0 {
			until = min(until, at+int64(l.r.IntN(len(l.records))))
		}
		for from < until {
			n := 1 + l.r.Int64N(int64(most))
			if err := a.apply(fetched(l.records[from:min(from+n, until)]...)); err != nil {
				l.t.Fatal(err)
			}
			from = min(from+n, until)
		}
		at = until
		if left == 0 || at == int64(len(l.records)) {
			if l.r.IntN(2) == 0 { // the store has the same
				if err := ledger.resetClaims(ledger.store); err != nil {
					l.t.Fatal(err)
				}
			}
			for _, id := range ledger.claims.undecided() {
				for _, a := range ledger.claims.of(id) {
					open = append(open, id+a.owner)
					places = append(places, fmt.Sprint(id, a.owner, a.offset))
				}
			}
			slices.Sort(open)
			slices.Sort(places)
			return open, places
		}
		closeStore(l.t, ledger)
	}
}

// Whatever is written in and beside transactions, and however it is read, all instances
// agree about which attempts are open, and on their places.
func TestAllAgreeOnTheOpenAttempts(t *testing.T) {
	some := 0
	for seed := range uint64(100) {
		l := &log{
			t: t, r: rand.New(rand.NewPCG(seed, 14)), committed: make(map[*kgo.Record]bool), open: make(map[int64][]*kgo.Record),
		}
		l.draw(8 + l.r.IntN(30))
		want := l.attempted()
		some += len(want)
		var first []string
		for _, how := range []struct{ most, restarts int }{{1, 0}, {len(l.records), 0}, {5, 0}, {3, 2}, {1, 3}} {
			open, places := l.read(how.most, how.restarts)
			if !slices.Equal(open, want) {
				t.Fatalf("seed %d, %+v: it has %v, want %v", seed, how, open, want)
			}
			if first == nil {
				first = places
			}
			if !slices.Equal(places, first) {
				t.Fatalf("seed %d, %+v: their places are %v, and were %v", seed, how, places, first)
			}
		}
	}
	if some < 50 {
		t.Errorf("%d open attempts in all", some)
	}
}
