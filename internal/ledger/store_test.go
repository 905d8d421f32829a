package ledger

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"payment-capture/internal/event"
)

func storeConfigForTest(fs vfs.FS, dir string) storeConfig {
	return storeConfig{
		fs: fs, dir: dir, tags: tags{clusterID: "cluster", topicID: [16]byte{1}},
		log: slog.New(slog.DiscardHandler), damaged: func(error) {}, failed: func(error) {},
		disk: newDiskState(slog.New(slog.DiscardHandler)),
	}
}

func openForTest(t *testing.T, conf storeConfig) *store {
	t.Helper()
	s, err := openStore(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeForTest(t *testing.T, s *store) {
	t.Helper()
	if err := s.close(); err != nil {
		t.Fatalf("close the store: %v", err)
	}
}

// put writes entries, and that their partitions were read up to them.
func put(t testing.TB, s *store, entries ...entry) {
	t.Helper()
	w := s.newWriter()
	w.begin()
	read := make(map[int32]position)
	for _, e := range entries {
		if err := w.add(e); err != nil {
			t.Fatal(err)
		}
		read[e.partition] = position{next: e.offset + 1, epoch: 3}
	}
	if err := w.commit(read); err != nil {
		t.Fatal(err)
	}
}

// has returns what a store has of an event.
func has(t testing.TB, s *store, id string) event.History {
	t.Helper()
	var k historyBuilder
	if err := s.get(id, k.add); err != nil {
		t.Fatal(err)
	}
	h, err := k.history(id)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func decisionEntry(t testing.TB, partition int32, offset int64, id, which string) entry {
	t.Helper()
	value, err := EncodeDecision(decisionsForTest(t)[which])
	if err != nil {
		t.Fatal(err)
	}
	return entry{partition: partition, offset: offset, key: KindDecision.Key(id), value: value}
}

func attemptEntry(t testing.TB, partition int32, offset int64, id string) entry {
	t.Helper()
	value := EncodeAttempt(attemptForTest())
	return entry{partition: partition, offset: offset, key: KindAttempt.Key(id), value: value}
}

func TestStoreIsKept(t *testing.T) {
	conf := storeConfigForTest(vfs.Default, t.TempDir())
	s := openForTest(t, conf)
	put(t, s, attemptEntry(t, 0, 4, "tried"), decisionEntry(t, 2, 7, "captured", "captured"), decisionEntry(t, 2, 8, "parked", "parked"))
	closeForTest(t, s)
	s = openForTest(t, conf)
	defer closeForTest(t, s)
	if h := has(t, s, "tried"); h.Attempt == nil || *h.Attempt != attemptForTest() || h.Decision != nil {
		t.Errorf("tried: %+v", h)
	}
	if h := has(t, s, "captured"); h.Decision == nil || h.Decision.Outcome.PaymentID != "10458724" {
		t.Errorf("captured: %+v", h)
	}
	if h := has(t, s, "nothing"); h != (event.History{}) {
		t.Errorf("nothing: %+v", h)
	}
	read, err := s.positions()
	if err != nil || len(read) != 2 || read[0] != (position{5, 3}) || read[2] != (position{9, 3}) {
		t.Errorf("positions %v, %v", read, err)
	}
	for reference, want := range map[string]string{"o1": "[captured parked tried]", "o": "[]", "o12": "[]"} {
		if ids, err := s.underReference(reference); fmt.Sprint(ids) != want || err != nil {
			t.Errorf("under %q: %v, %v, want %s", reference, ids, err, want)
		}
	}
	if ids := all(t, s); fmt.Sprint(ids) != "[captured parked tried]" {
		t.Errorf("all are %v", ids)
	}
}

func all(t *testing.T, s *store) (ids []string) {
	t.Helper()
	if err := s.all(t.Context(), func(id string, _ event.History) error {
		ids = append(ids, id)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return ids
}

// A withdrawn attempt leaves nothing behind.
func TestWithdrawnAttemptIsNothing(t *testing.T) {
	s := openForTest(t, storeConfigForTest(vfs.NewMem(), "dir"))
	defer closeForTest(t, s)
	put(t, s, attemptEntry(t, 0, 0, "e1"))
	put(t, s, entry{partition: 0, offset: 1, key: KindAttempt.Key("e1")})
	// But that it was once under a reference: who looks it up there learns that.
	if ids, err := s.underReference("o1"); fmt.Sprint(ids) != "[e1]" || err != nil {
		t.Errorf("under its reference: %v, %v", ids, err)
	}
	check := func() {
		t.Helper()
		if h := has(t, s, "e1"); h != (event.History{}) {
			t.Errorf("it has %+v", h)
		}
		if ids := all(t, s); len(ids) > 0 {
			t.Errorf("all are %v", ids)
		}
	}
	check()
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	check()
	if err := s.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false); err != nil {
		t.Fatal(err)
	}
	check()
}

// What is found under a reference does not depend on the order in which the
// partitions are read, or on how much is read at once.
func TestUnderReferenceInAnyOrder(t *testing.T) {
	attempted := func(partition int32, offset int64, id, reference string) entry {
		a := attemptForTest()
		a.Reference = reference
		value := EncodeAttempt(a)
		return entry{partition: partition, offset: offset, key: KindAttempt.Key(id), value: value}
	}
	partitions := [][]entry{
		{
			attempted(0, 0, "e1", "o1"),
			{partition: 0, offset: 1, key: KindAttempt.Key("e1")},
			attempted(0, 2, "e2", "o1"),
			attempted(0, 3, "e2", "o2"),
		},
		{attempted(1, 0, "e1", "o1"), decisionEntry(t, 1, 1, "e1", "parked"), {partition: 1, offset: 2, key: KindAttempt.Key("e1")}},
		{attempted(2, 0, "e1", ""), decisionEntry(t, 2, 1, "e3", "parked without a call"), decisionEntry(t, 2, 2, "e4", "rejected")},
	}
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		for _, atOnce := range []bool{false, true} {
			s := openForTest(t, storeConfigForTest(vfs.NewMem(), "dir"))
			var es []entry
			for _, p := range order {
				es = append(es, partitions[p]...)
			}
			if atOnce {
				put(t, s, es...)
			} else {
				for _, e := range es {
					put(t, s, e)
				}
			}
			for reference, want := range map[string]string{"o1": "[e1 e2]", "o2": "[e2]", "another": "[e4]", "": "[]"} {
				if ids, err := s.underReference(reference); fmt.Sprint(ids) != want || err != nil {
					t.Errorf("read in the order %v, at once %t: under %q %v, %v, want %s", order, atOnce, reference, ids, err, want)
				}
			}
			if h := has(t, s, "e1"); h.Open() == nil || !h.Decision.Parked() {
				t.Errorf("read in the order %v, at once %t: e1 %+v", order, atOnce, h)
			}
			closeForTest(t, s)
		}
	}
}

// Whatever is wrong with the directory, the store opens: empty, where it was of
// no use.
func TestUselessStoreIsReplaced(t *testing.T) {
	for name, spoil := range map[string]func(conf *storeConfig) error{
		"another topic": func(conf *storeConfig) error { conf.tags.topicID[0]++; return nil },
		"another format": func(conf *storeConfig) error {
			s, err := openStore(t.Context(), *conf)
			if err != nil {
				return err
			}
			older := strings.Replace(conf.tags.String(), fmt.Sprintf("format %d,", storeFormat), fmt.Sprintf("format %d,", storeFormat-1), 1)
			return errors.Join(s.db.Set([]byte(tagsKey), []byte(older), pebble.NoSync), s.close())
		},
		"another cluster": func(conf *storeConfig) error { conf.tags.clusterID = "other"; return nil },
		"a lost table":    func(conf *storeConfig) error { return eachFile(conf.dir, ".sst", os.Remove) },
		"a cut table":     func(conf *storeConfig) error { return eachFile(conf.dir, ".sst", cut) },
		"a cut manifest":  func(conf *storeConfig) error { return eachFile(conf.dir, "MANIFEST-", cut) },
		"garbage": func(conf *storeConfig) error {
			return eachFile(conf.dir, "MANIFEST-", func(file string) error { return os.WriteFile(file, []byte("garbage"), 0o600) })
		},
		"no manifest": func(conf *storeConfig) error { return eachFile(conf.dir, "MANIFEST-", os.Remove) },
	} {
		t.Run(name, func(t *testing.T) {
			conf := storeConfigForTest(vfs.Default, t.TempDir())
			s := openForTest(t, conf)
			put(t, s, decisionEntry(t, 2, 7, "e1", "captured"))
			closeForTest(t, s)
			if err := spoil(&conf); err != nil {
				t.Fatal(err)
			}
			s = openForTest(t, conf)
			if read, err := s.positions(); err != nil || len(read) > 0 || s.temp {
				t.Errorf("positions %v, %v, in a temporary directory: %v", read, err, s.temp)
			}
			put(t, s, decisionEntry(t, 2, 7, "e2", "captured"))
			closeForTest(t, s)
			s = openForTest(t, conf)
			defer closeForTest(t, s)
			if ids := all(t, s); fmt.Sprint(ids) != "[e2]" {
				t.Errorf("the new one has %v", ids)
			}
		})
	}
}

func eachFile(dir, part string, do func(file string) error) error {
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return err
	}
	n := 0
	for _, f := range files {
		if strings.Contains(filepath.Base(f), part) && !strings.HasPrefix(filepath.Base(f), "marker") {
			n++
			err = errors.Join(err, do(f))
		}
	}
	if n == 0 {
		return fmt.Errorf("no file of %v has %q in its name", files, part)
	}
	return err
}

func cut(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	return os.Truncate(file, info.Size()/2)
}

// What is beside the store's directory is nobody's to remove, nor is what
// another process has.
func TestLockedStoreIsLeftAlone(t *testing.T) {
	conf := storeConfigForTest(vfs.Default, filepath.Join(t.TempDir(), "store"))
	first := openForTest(t, conf)
	defer closeForTest(t, first)
	put(t, first, decisionEntry(t, 0, 0, "e1", "captured"))
	second := openForTest(t, conf)
	if !second.temp || second.conf.dir == conf.dir {
		t.Fatalf("both are in %s", second.conf.dir)
	}
	if ids := all(t, second); len(ids) > 0 {
		t.Errorf("the second one has %v", ids)
	}
	put(t, second, decisionEntry(t, 0, 0, "e2", "captured"))
	closeForTest(t, second)
	if _, err := os.Stat(second.conf.dir); !os.IsNotExist(err) {
		t.Errorf("the temporary directory is left behind: %v", err)
	}
	if ids := all(t, first); fmt.Sprint(ids) != "[e1]" {
		t.Errorf("the first one has %v", ids)
	}
}

// After a crash the store is as it was at some moment before: it never says that
// it read what it does not have. There is no log of writes to replay.
func TestCrashLeavesAMomentBefore(t *testing.T) {
	kept := 0
	value := decisionEntry(t, 0, 0, "", "captured").value
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 2))
		fs := vfs.NewCrashableMem()
		conf := storeConfigForTest(fs, "dir")
		conf.memTable = 16 << 10 // some dozen entries
		s := openForTest(t, conf)
		var crashed *vfs.MemFS
		n := 200 + r.IntN(1000)
		crashAt := r.IntN(n)
		for i := range n {
			put(t, s, entry{partition: int32(i % 3), offset: int64(i), key: KindDecision.Key(fmt.Sprint(i)), value: value})
			if r.IntN(200) == 0 {
				if err := s.db.Flush(); err != nil {
					t.Fatal(err)
				}
			}
			if i == crashAt {
				crashed = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: r})
			}
		}
		closeForTest(t, s)
		conf.fs = crashed
		s = openForTest(t, conf)
		read, err := s.positions()
		if err != nil {
			t.Fatal(err)
		}
		last := int64(-1)
		for _, p := range read {
			last = max(last, p.next-1)
		}
		if last >= 0 && last < int64(crashAt) {
			kept++
		}
		for i := range int64(n) {
			if got := has(t, s, fmt.Sprint(i)).Decision != nil; got != (i <= last) {
				t.Fatalf("seed %d: it was read up to %d, and has %d: %v", seed, last, i, got)
			}
		}
		closeForTest(t, s)
	}
	if kept < 5 {
		t.Errorf("only %d crashes left a part", kept)
	}
}
