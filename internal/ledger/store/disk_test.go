package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// smallDisk is a disk that is full at times. A write to a file that finds it full
// writes half of what it should.
type smallDisk struct {
	vfs.FS
	full     atomic.Bool
	err      atomic.Pointer[error] // what a write is refused with; nil: no space
	writes   atomic.Int64          // that were begun
	refused  atomic.Int64          // of these
	fullFrom atomic.Int64          // it is full from this write on; 0: not
	refuses  func(name string) bool
	unread   atomic.Bool // nothing can be read from a table
}

func newSmallDisk() *smallDisk { return &smallDisk{FS: vfs.NewMem()} }

func (d *smallDisk) check(op, name string) error {
	if n := d.writes.Add(1); n == d.fullFrom.Load() {
		d.full.Store(true)
	}
	if !d.full.Load() || (d.refuses != nil && !d.refuses(name)) {
		return nil
	}
	d.refused.Add(1)
	if err := d.err.Load(); err != nil {
		return *err
	}
	return &os.PathError{Op: op, Path: name, Err: syscall.ENOSPC}
}

func (d *smallDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: 4096}, nil
}

func (d *smallDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := d.check("create", name); err != nil {
		return nil, err
	}
	f, err := d.FS.Create(name, c)
	return &smallFile{f, d, name}, err
}

func (d *smallDisk) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.Open(name, opts...)
	return &smallFile{f, d, name}, err
}

func (d *smallDisk) OpenDir(name string) (vfs.File, error) {
	f, err := d.FS.OpenDir(name)
	return &smallFile{f, d, name}, err
}

func (d *smallDisk) MkdirAll(dir string, perm os.FileMode) error {
	return errors.Join(d.check("mkdir", dir), d.FS.MkdirAll(dir, perm))
}

func (d *smallDisk) Rename(from, to string) error {
	if err := d.check("rename", from); err != nil {
		return err
	}
	return d.FS.Rename(from, to)
}

func (d *smallDisk) Link(from, to string) error {
	if err := d.check("link", from); err != nil {
		return err
	}
	return d.FS.Link(from, to)
}

func (d *smallDisk) Lock(name string) (io.Closer, error) {
	if err := d.check("lock", name); err != nil {
		return nil, err
	}
	return d.FS.Lock(name)
}

type smallFile struct {
	vfs.File
	disk *smallDisk
	name string
}

func (f *smallFile) ReadAt(p []byte, at int64) (int, error) {
	if f.disk.unread.Load() && strings.HasSuffix(f.name, ".sst") {
		return 0, &os.PathError{Op: "read", Path: f.name, Err: syscall.EIO}
	}
	return f.File.ReadAt(p, at)
}

func (f *smallFile) Write(p []byte) (int, error) {
	if err := f.disk.check("write", f.name); err != nil {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, err
	}
	return f.File.Write(p)
}

func (f *smallFile) Sync() error {
	if err := f.disk.check("sync", f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *smallFile) SyncData() error {
	if err := f.disk.check("sync", f.name); err != nil {
		return err
	}
	return f.File.SyncData()
}

// lines are the lines of a log that have something in common.
type lines struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(line)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

func (l *lines) with(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.all.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// says checks that the state of the disk names the directory, the cause, the size of the
// store, the free space and the remedy.
func says(t *testing.T, s *DiskState, cause, remedy string) {
	t.Helper()
	want := `in dir: ` + cause + `, [1-9]\d* bytes in it, 4096 bytes free; ` + remedy + ", the service then continues by itself$"
	if !regexp.MustCompile(want).MatchString(s.Reason()) {
		t.Errorf("the reason %q is not %q", s.Reason(), want)
	}
}

// A store that cannot be written for a time says so, waits, and continues by itself
// without losing what it was given. So does one that is larger than its volume, when that
// is enlarged.
func TestDiskThatCannotBeWritten(t *testing.T) {
	for _, c := range []struct {
		err           error
		only          string // the part of a name; empty: all
		cause, remedy string
	}{
		{nil, "", "no space left on device", "free space or enlarge the volume"},
		{syscall.EDQUOT, "", "disk quota exceeded", "free space or enlarge the volume"},
		{syscall.EROFS, "", "read-only file system", "make the volume writable"},
		{syscall.EACCES, "", "permission denied", "let the service's user write there"},
		{syscall.EIO, "MANIFEST", "input/output error", "check the directory and its volume"},
	} {
		t.Run(c.cause, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fs, log := newSmallDisk(), new(lines)
				conf := configForTest(fs, "dir")
				conf.MemTable = 16 << 10
				conf.Disk = NewDiskState(slog.New(slog.NewTextHandler(log, nil)))
				s := openForTest(t, conf)
				put(t, s, 0, 0, "before", "")
				fs.refuses = func(name string) bool { return strings.Contains(name, c.only) }
				if c.err != nil {
					fs.err.Store(&c.err)
				}
				fs.full.Store(true)
				const n = 1_000 // more than the store holds in memory
				done := make(chan struct{})
				go func() {
					defer close(done)
					for i := range n {
						put(t, s, 0, int64(i), fmt.Sprint(i), "o1")
					}
				}()
				time.Sleep(5 * time.Minute)
				says(t, conf.Disk, c.cause, c.remedy)
				began := fs.refused.Load()
				time.Sleep(4 * time.Minute)
				if n := fs.refused.Load() - began; n == 0 || n > 4*60/5*2 {
					t.Errorf("%d writes in four minutes", n)
				}
				if n := log.with("level=WARN"); n == 0 || n > 12 {
					t.Errorf("%d warnings in nine minutes", n)
				}
				if !has(t, s, "before") {
					t.Error("it does not answer meanwhile")
				}
				fs.full.Store(false)
				<-done
				time.Sleep(10 * time.Second)
				if conf.Disk.Reason() != "" || log.with("can be written again") == 0 {
					t.Errorf("the reason is %q, and the recovery logged %d times", conf.Disk.Reason(), log.with("can be written again"))
				}
				for i := range n {
					if !has(t, s, fmt.Sprint(i)) {
						t.Fatalf("%d is lost", i)
					}
				}
				if err := s.Usable(); err != nil {
					t.Error(err)
				}
				closeForTest(t, s)
			})
		})
	}
}

// Opening waits while the directory cannot be written, says why, and keeps what is there.
func TestDirectoryThatCannotBeOpened(t *testing.T) {
	for _, c := range []struct {
		err    error
		remedy string
	}{
		{syscall.EROFS, "make the volume writable"},
		{syscall.EACCES, "let the service's user write there"},
		{syscall.EAGAIN, "end the other process with this INSTANCE_ID"},
		{syscall.EIO, "check the directory and its volume"},
	} {
		t.Run(c.err.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fs := newSmallDisk()
				conf := configForTest(fs, "dir")
				s := openForTest(t, conf)
				put(t, s, 0, 0, "e1", "")
				closeForTest(t, s)
				fs.err.Store(&c.err)
				fs.full.Store(true)
				go func() {
					time.Sleep(time.Minute)
					says(t, conf.Disk, c.err.Error(), c.remedy)
					fs.full.Store(false)
				}()
				began := time.Now()
				s = openForTest(t, conf)
				defer closeForTest(t, s)
				if took := time.Since(began); took < time.Minute || took > time.Minute+2*diskPauseMost {
					t.Errorf("it took %s", took)
				}
				if !has(t, s, "e1") || conf.Disk.Reason() != "" {
					t.Errorf("it has %v, and the reason is %q", all(t, s), conf.Disk.Reason())
				}
			})
		})
	}
}

// A table that cannot be read is damage: in a lookup, whose error says so, and in the
// background.
func TestTablesThatCannotBeRead(t *testing.T) {
	fs := newSmallDisk()
	conf := configForTest(fs, "dir")
	damaged := make(chan error, 100)
	conf.Damaged = func(err error) { damaged <- err }
	fill := func(s *Store) {
		for i := range 1_000 { // opening reads the first block
			put(t, s, 0, int64(i), fmt.Sprint(i), "o1")
		}
		if err := s.db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	s := openForTest(t, conf)
	fill(s)
	closeForTest(t, s)
	s = openForTest(t, conf)
	fs.unread.Store(true)
	check := func(err error) {
		t.Helper()
		for _, part := range []string{"in dir: ", "input/output error", " bytes in it, 4096 bytes free", "rebuilt from the topic", "check the volume"} {
			if err == nil || !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), part) {
				t.Errorf("%v does not say %q", err, part)
			}
		}
	}
	_, _, err := s.Decision("500")
	check(err)
	check(s.Under([]Index{{Reference: "o1"}}, func(int, string) {}))
	check(s.Decisions([]string{"700"}, func(int, Decision) error { return nil }))
	check(s.All(t.Context(), func(string, Decision) error { return nil }))
	fs.unread.Store(false)
	fill(s)
	fs.unread.Store(true)
	if err := s.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false); err == nil {
		t.Error("it was compacted")
	}
	check(<-damaged)
	if err := s.Discard(); err != nil {
		t.Errorf("discard: %v", err)
	}
	fs.unread.Store(false)
	s = openForTest(t, conf)
	defer closeForTest(t, s)
	if ids := all(t, s); len(ids) > 0 {
		t.Errorf("the new one has %v", ids)
	}
}

// A store that Pebble gave up is of no use.
func TestBrokenStore(t *testing.T) {
	conf := configForTest(vfs.NewMem(), "dir")
	var damaged error
	conf.Damaged = func(err error) { damaged = err }
	s := openForTest(t, conf)
	logger{log: conf.Log, fail: s.fail}.Fatalf("%s", "no way on")
	if s.Usable() == nil || damaged == nil {
		t.Errorf("usable: %v, damaged: %v", s.Usable(), damaged)
	}
	closeForTest(t, s)
}

// A disk that fills and is closed at any write leaves a store that never says
// that it read what it does not have.
func TestClosedOnAFullDiskAtAnyWrite(t *testing.T) {
	kept := 0
	for at := int64(1); at < 300; at += 5 {
		synctest.Test(t, func(t *testing.T) {
			fs := newSmallDisk()
			conf := configForTest(fs, "dir")
			conf.MemTable = 16 << 10
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s, err := Open(ctx, conf)
			if err != nil {
				t.Fatal(err)
			}
			fs.fullFrom.Store(fs.writes.Load() + at)
			go func() { // while a write waits, it may be
				time.Sleep(time.Minute)
				cancel()
			}()
			n := 0
			for ; n < 800 && !fs.full.Load(); n++ {
				put(t, s, int32(n%3), int64(n), fmt.Sprint(n), "o1")
			}
			time.Sleep(2 * time.Minute)
			closeForTest(t, s)
			fs.full.Store(false)
			fs.fullFrom.Store(0)
			s = openForTest(t, conf)
			defer closeForTest(t, s)
			if checkMoment(t, s, int64(n)) >= 0 {
				kept++
			}
		})
	}
	if kept < 12 {
		t.Errorf("only %d times something was kept", kept)
	}
}

// Whichever write of an opening finds the disk full, the store opens when there is
// room, and keeps what it had; or it is given up, and keeps it too.
func TestFullDiskAtAnyWriteOfOpening(t *testing.T) {
	for _, given := range []string{"room", "up"} {
		for at := int64(1); ; at++ {
			beyond := false
			synctest.Test(t, func(t *testing.T) {
				fs := newSmallDisk()
				conf := configForTest(fs, "a/dir")
				if at%2 == 0 { // else it is a new one
					s := openForTest(t, conf)
					put(t, s, 2, 7, "e1", "")
					closeForTest(t, s)
				}
				fs.fullFrom.Store(fs.writes.Load() + 1 + at/2)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go func() {
					time.Sleep(time.Minute)
					if given == "up" {
						cancel()
						return
					}
					fs.full.Store(false)
				}()
				s, err := Open(ctx, conf)
				if !fs.full.Load() && fs.refused.Load() == 0 {
					beyond = true
				} else if given == "up" {
					if err == nil || !errors.Is(err, context.Canceled) {
						t.Errorf("full from write %d: got %v", at/2, err)
					}
				}
				if err == nil {
					closeForTest(t, s)
				}
				fs.full.Store(false)
				fs.fullFrom.Store(0)
				s = openForTest(t, conf)
				defer closeForTest(t, s)
				if got := has(t, s, "e1"); got != (at%2 == 0) {
					t.Errorf("full from write %d, given %s: it has what it had: %v", at/2, given, got)
				}
				time.Sleep(2 * time.Minute) // the room comes, at the latest
			})
			if beyond {
				t.Logf("given %s: %d writes", given, at/2)
				break
			}
		}
	}
}
