package store

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
)

func configForTest(fs vfs.FS, dir string) Config {
	log := slog.New(slog.DiscardHandler)
	return Config{
		FS: fs, Dir: dir, Tags: "cluster c, topic t", Log: log, Replacing: func(error) {}, Damaged: func(error) {},
		Disk: NewDiskState(log),
	}
}

func openForTest(t testing.TB, conf Config) *Store {
	t.Helper()
	s, err := Open(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeForTest(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("close the store: %v", err)
	}
}

func captured(at int64) Decision {
	return Decision{Rank: Captured, At: at, Value: []byte(strings.Repeat("value", 20))}
}

// put writes a decision, and that its partition was read up to it.
func put(t testing.TB, s *Store, partition int32, offset int64, id, reference string) {
	t.Helper()
	b := s.NewBatch()
	b.PutDecision(id, Index{Reference: reference}, captured(1_790_000_000_000))
	b.SetPosition(partition, Position{Next: offset + 1, Epoch: 3, From: offset + 1})
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
}

func has(t testing.TB, s *Store, id string) bool {
	t.Helper()
	_, found, err := s.Decision(id)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func all(t testing.TB, s *Store) (ids []string) {
	t.Helper()
	if err := s.All(t.Context(), func(id string, _ Decision) error {
		ids = append(ids, id)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(ids)
	return ids
}

func under(t testing.TB, s *Store, reference string) []string {
	t.Helper()
	return underIndex(t, s, Index{Reference: reference})
}

func underIndex(t testing.TB, s *Store, question Index) (ids []string) {
	t.Helper()
	if err := s.Under([]Index{question}, func(_ int, id string) { ids = append(ids, id) }); err != nil {
		t.Fatal(err)
	}
	slices.Sort(ids)
	return ids
}

const aUUID = "0197c0de-0000-7000-8000-00000000abcd"

// awkwardIDs must not be taken for one another.
func awkwardIDs() []string {
	u := uuid.MustParse(aUUID)
	return []string{
		aUUID, strings.ToUpper(aUUID), strings.ReplaceAll(aUUID, "-", ""), "{" + aUUID + "}", "urn:uuid:" + aUUID,
		string(u[:]), "u" + string(u[:]),
		"t", "a", "a/b", "a\x00b", "", "\xff\xff",
	}
}

func TestStoreIsKept(t *testing.T) {
	conf := configForTest(vfs.Default, t.TempDir())
	s := openForTest(t, conf)
	b := s.NewBatch()
	for i, id := range awkwardIDs() {
		b.PutDecision(id, Index{Reference: "o1"}, Decision{Rank: Rejected, At: int64(i), Value: []byte(id)})
	}
	b.PutDecision("unindexed", Index{}, captured(7))
	attempts := []Attempt{
		{ID: "tried", Owner: "me", Partition: 2, Offset: 1 << 40, Value: []byte("value")},
		{ID: "tri", Owner: "edme", Partition: 3, Offset: 8, Value: []byte{}},
	}
	for _, a := range attempts {
		b.PutAttempt(a)
	}
	b.PutAttempt(Attempt{ID: "withdrawn", Owner: "me"})
	b.DeleteAttempt("withdrawn", "me")
	behind := Position{Next: 9, Epoch: -1, From: 4, Written: time.UnixMilli(5)}
	whole := Position{Next: 1, Epoch: 3, From: 1, Written: time.UnixMilli(6)}
	b.SetPosition(2, behind)
	b.SetPosition(0, whole)
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	closeForTest(t, s)
	s = openForTest(t, conf)
	defer closeForTest(t, s)
	for i, id := range awkwardIDs() {
		if d, found, err := s.Decision(id); !found || err != nil || d.Rank != Rejected || d.At != int64(i) || string(d.Value) != id {
			t.Errorf("%q: %+v, %v, %v", id, d, found, err)
		}
	}
	want := append(awkwardIDs(), "unindexed")
	slices.Sort(want)
	if got := all(t, s); !slices.Equal(got, want) {
		t.Errorf("all are %q, want %q", got, want)
	}
	want = slices.DeleteFunc(want, func(id string) bool { return id == "unindexed" })
	if got := under(t, s, "o1"); !slices.Equal(got, want) {
		t.Errorf("under o1: %q, want %q", got, want)
	}
	for _, other := range []string{"", "o", "o12"} {
		if got := under(t, s, other); len(got) > 0 {
			t.Errorf("under %q: %q", other, got)
		}
	}
	read, err := s.Positions()
	if err != nil || len(read) != 2 || read[2] != behind || read[0] != whole {
		t.Errorf("positions %v, %v", read, err)
	}
	if got, err := s.Attempts(); err != nil || fmt.Sprint(got) != fmt.Sprint([]Attempt{attempts[1], attempts[0]}) {
		t.Errorf("attempts %v, %v", got, err)
	}
	if used, free, err := Usage(conf.FS, conf.Dir); err != nil || used == 0 || free == 0 {
		t.Errorf("usage %d, %d, %v", used, free, err)
	}
}

func TestAttemptsEndByOwner(t *testing.T) {
	s := openForTest(t, configForTest(vfs.NewMem(), "dir"))
	defer closeForTest(t, s)
	b := s.NewBatch()
	commit := func(want string) {
		t.Helper()
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		as, err := s.Attempts()
		var got []string
		for _, a := range as {
			got = append(got, a.Owner+string(a.Value))
		}
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("attempts of %v, %v, want %s", got, err, want)
		}
	}
	b.PutAttempt(Attempt{ID: "e1", Owner: "a", Value: []byte("1")})
	b.PutAttempt(Attempt{ID: "e1", Owner: "b", Value: []byte("1")})
	commit("[a1 b1]")
	b.DeleteAttempt("e1", "a")
	b.PutAttempt(Attempt{ID: "e1", Owner: "b", Value: []byte("2")})
	commit("[b2]")
	b.DeleteAttempt("e1", "b")
	b.PutAttempt(Attempt{ID: "e1", Owner: "b", Value: []byte("3")})
	commit("[b3]")
	b.DeleteAttempt("e1", "b")
	b.Reset()
	commit("[b3]")
	b.DeleteAttempt("e1", "b")
	commit("[]")
}

func TestDecisions(t *testing.T) {
	s := openForTest(t, configForTest(vfs.NewMem(), "dir"))
	defer closeForTest(t, s)
	var ids []string
	want := make(map[int]string)
	for i, id := range awkwardIDs() {
		if i%3 > 0 {
			put(t, s, 0, int64(i), id, "")
			want[len(ids)], want[len(ids)+1] = id, id
		}
		ids = append(ids, id, id, fmt.Sprint("absent", i))
	}
	put(t, s, 0, 0, "not asked for", "")
	got := make(map[int]string)
	if err := s.Decisions(ids, func(i int, d Decision) error {
		got[i] = ids[i]
		if d.Rank != Captured {
			t.Errorf("%q: %+v", ids[i], d)
		}
		return nil
	}); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	stop := errors.New("stop")
	if err := s.Decisions(ids, func(int, Decision) error { return stop }); !errors.Is(err, stop) || err.Error() != "stop" {
		t.Errorf("got %v", err)
	}
	if err := s.All(t.Context(), func(string, Decision) error { return stop }); !errors.Is(err, stop) || err.Error() != "stop" {
		t.Errorf("got %v", err)
	}
}

// Whatever is wrong with the directory, the store opens: empty, where it was of
// no use.
func TestUselessStoreIsReplaced(t *testing.T) {
	for name, spoil := range map[string]func(conf *Config) error{
		"another topic": func(conf *Config) error { conf.Tags += "2"; return nil },
		"another version": func(conf *Config) error {
			s, err := Open(t.Context(), *conf)
			if err != nil {
				return err
			}
			older := strings.Replace(conf.tags(), fmt.Sprintf("format %d,", format), fmt.Sprintf("format %d,", format-1), 1)
			return errors.Join(s.db.Set([]byte(tagsKey), []byte(older), pebble.NoSync), s.Close())
		},
		"another version's keys": func(conf *Config) error {
			if err := conf.FS.RemoveAll(conf.Dir); err != nil {
				return err
			}
			db, err := pebble.Open(conf.Dir, &pebble.Options{FS: conf.FS, Logger: logger{log: conf.Log}})
			if err != nil {
				return err
			}
			return errors.Join(db.Set([]byte("\x00tags"), []byte("format 2"), pebble.Sync), db.Close())
		},
		"a lost table":   func(conf *Config) error { return eachFile(conf.Dir, ".sst", os.Remove) },
		"a cut table":    func(conf *Config) error { return eachFile(conf.Dir, ".sst", cut) },
		"a cut manifest": func(conf *Config) error { return eachFile(conf.Dir, "MANIFEST-", cut) },
		"garbage": func(conf *Config) error {
			return eachFile(conf.Dir, "MANIFEST-", func(file string) error { return os.WriteFile(file, []byte("garbage"), 0o600) })
		},
		"no manifest": func(conf *Config) error { return eachFile(conf.Dir, "MANIFEST-", os.Remove) },
	} {
		t.Run(name, func(t *testing.T) {
			conf := configForTest(vfs.Default, filepath.Join(t.TempDir(), "store"))
			s := openForTest(t, conf)
			put(t, s, 2, 7, "e1", "")
			closeForTest(t, s)
			if err := spoil(&conf); err != nil {
				t.Fatal(err)
			}
			why := ""
			conf.Replacing = func(err error) { why = err.Error() }
			s = openForTest(t, conf)
			if read, err := s.Positions(); err != nil || len(read) > 0 {
				t.Errorf("positions %v, %v", read, err)
			}
			for _, part := range []string{"in " + conf.Dir + ": ", " bytes in it, ", " bytes free; it is rebuilt from the topic"} {
				if !strings.Contains(why, part) && name != "a cut manifest" { // that is an older one
					t.Errorf("%q does not say %q", why, part)
				}
			}
			put(t, s, 2, 7, "e2", "")
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

// A store that another process has is left alone: opening it waits until that ends.
func TestLockedStoreIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conf := configForTest(vfs.NewMem(), "dir")
		first := openForTest(t, conf)
		put(t, first, 0, 0, "e1", "")
		go func() {
			time.Sleep(time.Minute)
			if !strings.Contains(conf.Disk.Reason(), "in dir: ") {
				t.Errorf("the reason is %q", conf.Disk.Reason())
			}
			closeForTest(t, first)
		}()
		second := openForTest(t, conf)
		defer closeForTest(t, second)
		if ids := all(t, second); fmt.Sprint(ids) != "[e1]" || conf.Disk.Reason() != "" {
			t.Errorf("it has %v, and the reason is %q", ids, conf.Disk.Reason())
		}
	})
}

// checkMoment checks that of n decisions, of which the i-th has offset i in partition
// i%3, the store has those that its positions say, and returns the last.
func checkMoment(t testing.TB, s *Store, n int64) (last int64) {
	t.Helper()
	read, err := s.Positions()
	if err != nil {
		t.Fatal(err)
	}
	last = -1
	for _, p := range read {
		last = max(last, p.Next-1)
	}
	for i := range n {
		if got := has(t, s, fmt.Sprint(i)); got != (i <= last) {
			t.Fatalf("it was read up to %d, and has %d: %v", last, i, got)
		}
	}
	return last
}

// After a crash the store is as it was at some moment before: it never says that
// it read what it does not have. There is no log of writes to replay.
func TestCrashLeavesAMomentBefore(t *testing.T) {
	kept := 0
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 2))
		fs := vfs.NewCrashableMem()
		conf := configForTest(fs, "dir")
		conf.MemTable = 16 << 10 // some dozen decisions
		s := openForTest(t, conf)
		var crashed *vfs.MemFS
		n := 200 + r.IntN(1000)
		crashAt := r.IntN(n)
		for i := range n {
			put(t, s, int32(i%3), int64(i), fmt.Sprint(i), "o1")
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
		conf.FS = crashed
		s = openForTest(t, conf)
		if last := checkMoment(t, s, int64(n)); last >= 0 && last < int64(crashAt) {
			kept++
		}
		closeForTest(t, s)
	}
	if kept < 5 {
		t.Errorf("only %d crashes left a part", kept)
	}
}
