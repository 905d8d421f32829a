package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestWhichDecisionStands(t *testing.T) {
	for _, c := range []struct{ better, worse Decision }{
		{Decision{Rank: Captured, At: 9}, Decision{Rank: Rejected, At: 1}},
		{Decision{Rank: Rejected, At: 1}, Decision{Rank: Parked, At: 9}},
		{Decision{Rank: Captured, At: 1}, Decision{Rank: Captured, At: 2}},
		{Decision{Rank: Rejected, At: 1}, Decision{Rank: Rejected, At: 2}},
		{Decision{Rank: Parked, At: 2}, Decision{Rank: Parked, At: 1}},
		{Decision{Rank: Parked, At: 1, Value: []byte("b")}, Decision{Rank: Parked, At: 1, Value: []byte("a")}},
	} {
		if !c.better.Supersedes(c.worse) || c.worse.Supersedes(c.better) {
			t.Errorf("%+v does not stand against %+v", c.better, c.worse)
		}
		if !c.better.Supersedes(c.better) {
			t.Errorf("%+v does not stand against itself", c.better)
		}
	}
}

// write is a decision as the topic has it.
type write struct {
	id, reference string
	d             Decision
}

// However the decisions come in, in whatever order, how often, how many at once, and
// wherever Pebble begins to merge: the store ends with what follows from the rules, which
// are said here in another way.
func TestDecisionsInAnyOrder(t *testing.T) {
	ids := []string{aUUID, "0197c0de-0000-4000-8000-00000000abce", "e1", "e2"}
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		var writes []write
		want := make(map[string]Decision)
		references := make(map[string][]string)
		for range 1 + r.IntN(30) {
			w := write{ids[r.IntN(len(ids))], []string{"", "o1", "o2"}[r.IntN(3)], Decision{
				Rank: Rank(1 + r.IntN(3)), At: int64(r.IntN(3)) * 1_500 * 1_000_000, Value: []byte{byte('a' + r.IntN(3))},
			}}
			writes = append(writes, w)
			if best, ok := want[w.id]; !ok || score(w.d) > score(best) {
				want[w.id] = w.d
			}
			if w.reference != "" && !slices.Contains(references[w.reference], w.id) {
				references[w.reference] = append(references[w.reference], w.id)
			}
		}
		for range 3 {
			s := openForTest(t, configForTest(vfs.NewMem(), "dir"))
			writeShuffled(t, r, s, writes)
			check := func(when string) {
				t.Helper()
				for _, id := range ids {
					d, found, err := s.Decision(id)
					if w, ok := want[id]; err != nil || found != ok || fmt.Sprint(d) != fmt.Sprint(w) {
						t.Fatalf("seed %d, %s: %s has %v, %v, %v, want %v", seed, when, id, d, found, err, w)
					}
				}
				for _, reference := range []string{"o1", "o2"} {
					w := references[reference]
					slices.Sort(w)
					if got := under(t, s, reference); !slices.Equal(got, w) {
						t.Fatalf("seed %d, %s: under %s %q, want %q", seed, when, reference, got, w)
					}
				}
			}
			check("written")
			compact(t, s)
			check("compacted")
			closeForTest(t, s)
		}
	}
}

// score is how good a decision is, as a text that sorts.
func score(d Decision) string {
	at := d.At
	if d.Rank != Parked {
		at = 1<<50 - at
	}
	return fmt.Sprintf("%d %020d %s", d.Rank, at, d.Value)
}

// writeShuffled writes in some order, some of it again, in batches of some size.
func writeShuffled(t *testing.T, r *rand.Rand, s *Store, writes []write) {
	t.Helper()
	writes = slices.Concat(writes, writes[:r.IntN(len(writes)+1)])
	r.Shuffle(len(writes), func(i, j int) { writes[i], writes[j] = writes[j], writes[i] })
	b := s.NewBatch()
	for len(writes) > 0 {
		n := 1 + r.IntN(len(writes))
		for _, w := range writes[:n] {
			b.PutDecision(w.id, Index{Reference: w.reference}, w.d)
		}
		writes = writes[n:]
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		if r.IntN(3) == 0 {
			if err := s.db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if r.IntN(6) == 0 {
			compact(t, s)
		}
	}
}

func compact(t testing.TB, s *Store) {
	t.Helper()
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := s.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false); err != nil {
		t.Fatal(err)
	}
}

// A charge that is not known, of a decision or of a question, may be any.
func TestCharges(t *testing.T) {
	s := openForTest(t, configForTest(vfs.NewMem(), "dir"))
	defer closeForTest(t, s)
	b := s.NewBatch()
	for i, charge := range []uint16{0, 1, 2, 2, 3, 1<<16 - 1} {
		b.PutDecision(fmt.Sprintf("e%d", i), Index{"o1", charge}, captured(1))
	}
	b.PutDecision("x", Index{"o2", 2}, captured(1))
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	for charge, want := range map[uint16]string{
		0: "[e0 e1 e2 e3 e4 e5]", 1: "[e0 e1]", 2: "[e0 e2 e3]", 3: "[e0 e4]", 4: "[e0]", 1<<16 - 1: "[e0 e5]",
	} {
		if got := fmt.Sprint(underIndex(t, s, Index{"o1", charge})); got != want {
			t.Errorf("under charge %d: %s, want %s", charge, got, want)
		}
	}
}

func TestDeletedDecision(t *testing.T) {
	s := openForTest(t, configForTest(vfs.NewMem(), "dir"))
	defer closeForTest(t, s)
	put(t, s, 0, 0, "e1", "o1")
	compact(t, s)
	b := s.NewBatch()
	b.DeleteDecision("e1")
	b.PutDecision("e2", Index{Reference: "o1"}, captured(2))
	b.DeleteDecision("e2")
	b.PutDecision("e2", Index{Reference: "o1"}, captured(3)) // it does not supersede the one that is deleted
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if d, _, err := s.Decision("e2"); has(t, s, "e1") || err != nil || d.At != 3 {
			t.Errorf("has e1: %v; e2 is %+v, %v", has(t, s, "e1"), d, err)
		}
		compact(t, s)
	}
}

// What was not written by this code is damage, never nothing.
func TestDamagedValues(t *testing.T) {
	for name, c := range map[string]struct {
		key   []byte
		value []byte
	}{
		"no decision":     {decisionKey(nil, "e1"), nil},
		"rank zero":       {decisionKey(nil, "e1"), []byte{0, 1}},
		"unknown rank":    {decisionKey(nil, "e1"), []byte{9, 1}},
		"no time":         {decisionKey(nil, "e1"), []byte{1}},
		"half a time":     {decisionKey(nil, "e1"), []byte{1, 0x80}},
		"no id":           {[]byte{decisionPrefix}, []byte{1, 1}},
		"half a UUID":     {[]byte{decisionPrefix, idUUID, 1, 2}, []byte{1, 1}},
		"half a position": {positionKey(1), []byte{1, 1}},
		"no partition":    {[]byte{positionPrefix}, []byte{1, 1, 1}},
		"half an attempt": {attemptKey(nil, "e1", "a"), []byte{1}},
		"a short id":      {[]byte{attemptPrefix, 9, 'e'}, []byte{1, 1}},
		"no index entry":  {appendReference(nil, "o1"), []byte{1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			s := openForTest(t, configForTest(vfs.NewMem(), "dir"))
			defer closeForTest(t, s)
			if err := s.db.Set(c.key, c.value, pebble.NoSync); err != nil {
				t.Fatal(err)
			}
			var errs []error
			_, _, err := s.Decision("e1")
			errs = append(errs, err, s.Decisions([]string{"e1"}, func(int, Decision) error { return nil }))
			errs = append(errs, s.All(t.Context(), func(string, Decision) error { return nil }))
			_, err = s.Attempts()
			errs = append(errs, err)
			_, err = s.Positions()
			errs = append(errs, err)
			errs = append(errs, s.Under([]Index{{Reference: "o1"}}, func(int, string) {}))
			if n := len(slices.DeleteFunc(errs, func(err error) bool { return err == nil })); n == 0 {
				t.Error("nothing reports it")
			}
		})
	}
}
