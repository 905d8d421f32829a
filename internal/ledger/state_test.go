package ledger

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// drawn returns the changes of one event that a partition has, in their order.
func drawn(r *rand.Rand, partition int32) []slot {
	changes := make([]slot, r.IntN(6))
	for i := range changes {
		value := []byte{byte(r.IntN(4))}
		switch r.IntN(8) {
		case 0, 1, 2:
			changes[i] = attempted(partition, value)
		case 3:
			changes[i] = attemptGone(partition)
		case 4:
			changes[i] = decisionGone(partition)
		default:
			changes[i] = decided(partition, decisionValue{rank: rank(1 + r.IntN(3)), at: int64(r.IntN(3)), value: value})
		}
	}
	return changes
}

// interleaved returns the changes of several partitions in some order that keeps
// each partition's.
func interleaved(r *rand.Rand, partitions [][]slot) (all []slot) {
	rest := slices.Clone(partitions)
	for {
		rest = slices.DeleteFunc(rest, func(p []slot) bool { return len(p) == 0 })
		if len(rest) == 0 {
			return all
		}
		i := r.IntN(len(rest))
		all = append(all, rest[i][0])
		rest[i] = rest[i][1:]
	}
}

// mergedBy merges changes as Pebble may: cut into runs, each run merged from
// either end, then the runs.
func mergedBy(t *testing.T, r *rand.Rand, changes []slot) []byte {
	t.Helper()
	if len(changes) == 0 {
		return nil
	}
	var runs [][]byte
	for len(changes) > 0 {
		n := 1 + r.IntN(len(changes))
		var run [][]byte
		for _, c := range changes[:n] {
			run = append(run, c.append(nil))
		}
		changes = changes[n:]
		runs = append(runs, merged(t, r, run, false))
	}
	return merged(t, r, runs, true)
}

func merged(t *testing.T, r *rand.Rand, operands [][]byte, base bool) []byte {
	t.Helper()
	backward := r.IntN(2) == 0
	if backward {
		slices.Reverse(operands)
	}
	m, err := newMerger().Merge(nil, operands[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range operands[1:] {
		add := m.MergeNewer
		if backward {
			add = m.MergeOlder
		}
		if err := add(o); err != nil {
			t.Fatal(err)
		}
	}
	// Pebble v2.1.7 cannot compact what such a merger lets go.
	if _, deletes := m.(pebble.DeletableValueMerger); deletes {
		t.Error("the merger lets keys go")
	}
	value, _, err := m.Finish(base)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// What is known of an event depends on the order within each partition alone:
// not on the order in which the partitions are read, nor on where Pebble begins
// to merge, nor on whether the end of a partition is read twice.
func TestMergingDoesNotDependOnTheOrderOfPartitions(t *testing.T) {
	for seed := range uint64(4_000) {
		r := rand.New(rand.NewPCG(seed, 1))
		var partitions [][]slot
		for p := range int32(1 + r.IntN(3)) {
			partitions = append(partitions, drawn(r, p*200))
		}
		want := mergedBy(t, r, interleaved(r, partitions))
		if got := mergedBy(t, r, interleaved(r, partitions)); !bytes.Equal(got, want) {
			t.Fatalf("seed %d: %+v: merged to %x and to %x", seed, partitions, want, got)
		}
		twice := slices.Clone(partitions)
		for i, p := range twice {
			twice[i] = slices.Concat(p, p[r.IntN(len(p)+1):])
		}
		if got := mergedBy(t, r, interleaved(r, twice)); !bytes.Equal(got, want) {
			t.Fatalf("seed %d: %+v: read twice it is %x, not %x", seed, partitions, got, want)
		}
		checkState(t, seed, partitions, want)
	}
}

// checkState compares a state with what follows from the changes by the rules,
// said in another way.
func checkState(t *testing.T, seed uint64, partitions [][]slot, state []byte) {
	t.Helper()
	var attempts int
	var best decisionValue
	for _, p := range partitions {
		var attempt []byte
		var mine decisionValue
		for _, c := range p {
			switch {
			case c.flags&hasAttempt != 0:
				attempt = c.attempt
			case c.flags&endsAttempt != 0:
				attempt = nil
			case c.flags&endsDecision != 0:
				mine = decisionValue{}
			case mine.rank == rankNone || c.decision.supersedes(mine):
				mine = c.decision
			}
		}
		if attempt != nil {
			attempts++
		}
		if mine.rank != rankNone && (best.rank == rankNone || mine.supersedes(best)) {
			best = mine
		}
	}
	gotAttempts := 0
	var k historyBuilder
	if err := eachSlot(state, func(s slot) error {
		if s.flags&ends != 0 {
			t.Errorf("seed %d: the state has the flags %b", seed, s.flags)
		}
		if s.flags&hasAttempt != 0 {
			gotAttempts++
		}
		s.flags &^= hasAttempt // its value is none here
		return k.add(s)
	}); err != nil {
		t.Fatal(err)
	}
	if gotAttempts != attempts || k.best.rank != best.rank || k.best.at != best.at || !bytes.Equal(k.best.value, best.value) {
		t.Fatalf("seed %d: %+v: got %d attempts and %+v, want %d and %+v", seed, partitions, gotAttempts, k.best, attempts, best)
	}
}

func TestWhichDecisionStands(t *testing.T) {
	for _, c := range []struct {
		better, worse decisionValue
	}{
		{decisionValue{rank: rankCaptured, at: 9}, decisionValue{rank: rankRejected, at: 1}},
		{decisionValue{rank: rankRejected, at: 1}, decisionValue{rank: rankParked, at: 9}},
		{decisionValue{rank: rankCaptured, at: 1}, decisionValue{rank: rankCaptured, at: 2}},
		{decisionValue{rank: rankRejected, at: 1}, decisionValue{rank: rankRejected, at: 2}},
		{decisionValue{rank: rankParked, at: 2}, decisionValue{rank: rankParked, at: 1}},
		{decisionValue{rank: rankParked, at: 1, value: []byte("b")}, decisionValue{rank: rankParked, at: 1, value: []byte("a")}},
	} {
		if !c.better.supersedes(c.worse) || c.worse.supersedes(c.better) {
			t.Errorf("%+v does not stand against %+v", c.better, c.worse)
		}
	}
}

// What was not written by this code is damage, never nothing.
func TestDamagedStates(t *testing.T) {
	whole := decided(7, decisionValue{rank: rankParked, at: 5, value: []byte("value")}).append(attempted(3, []byte("attempt")).append(nil))
	if err := eachSlot(whole, func(slot) error { return nil }); err != nil {
		t.Fatal(err)
	}
	first := len(attempted(3, []byte("attempt")).append(nil))
	for n := 1; n < len(whole); n++ {
		if n == first {
			continue // one slot of two
		}
		if err := eachSlot(whole[:n], func(slot) error { return nil }); err == nil {
			t.Errorf("the first %d bytes of %d are taken for a state", n, len(whole))
		}
	}
	if err := eachSlot([]byte{1, 0xff}, func(slot) error { return nil }); err == nil {
		t.Error("unknown flags are taken")
	}
}
