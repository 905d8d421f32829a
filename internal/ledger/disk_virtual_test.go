//go:build synctests

package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"
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

// onSmallDisk returns a ledger on a disk that can be full, and its log. It is not
// started.
func (w *world) onSmallDisk() (*Ledger, *smallDisk, *lines) {
	disk, ok := w.fs.(*smallDisk)
	if !ok {
		disk = newSmallDisk()
		w.fs = disk
	}
	l, log := w.ledger("a"), &lines{}
	l.log = slog.New(slog.NewTextHandler(io.MultiWriter(log, testLog{w.t}), nil))
	l.disk.log = l.log
	l.memTable = 256 << 10
	return l, disk, log
}

// full checks that a ledger says that its disk is full.
func (w *world) saysFull(l *Ledger) {
	w.t.Helper()
	h := l.Health()
	for _, part := range []string{"in a/store: no space left on device, 4096 bytes free; ", "free space or enlarge the volume"} {
		if !strings.Contains(h.Reason, part) {
			w.t.Errorf("health %+v does not say %q", h, part)
		}
	}
	if !h.DiskFailing {
		w.t.Errorf("health %+v: the disk is not failing", h)
	}
}

func (w *world) closes(l *Ledger) {
	w.t.Helper()
	began := time.Now()
	if err := l.Close(); err != nil {
		w.t.Errorf("close the ledger: %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		w.t.Errorf("closing took %s", took)
	}
}

// A full disk at the start: the ledger says so, waits, and goes on by itself.
func TestFullDiskAtTheStart(t *testing.T) {
	for name, existing := range map[string]bool{"without a store": false, "with a store": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				t := w.t
				w.events(3)
				if existing {
					first, _, _ := w.onSmallDisk()
					if err := first.Start(t.Context()); err != nil {
						t.Fatal(err)
					}
					w.caughtUp(first)
					w.closes(first)
				}
				l, disk, log := w.onSmallDisk()
				disk.full.Store(true)
				if err := l.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				disk.refused.Store(0)
				time.Sleep(10 * time.Minute)
				w.saysFull(l)
				if h := l.Health(); h.State != stateRestoring {
					t.Errorf("health %+v", h)
				}
				if n := disk.refused.Load(); n > 10*60/5+5 {
					t.Errorf("%d writes in ten minutes", n)
				}
				if n := log.with("level=WARN"); n == 0 || n > 11 {
					t.Errorf("%d warnings in ten minutes", n)
				}
				disk.full.Store(false)
				w.caughtUpWithin(l, 30*time.Second)
				w.knows(l, "e1", known{decided: "captured"})
				if h := l.Health(); h.Reason != "" || h.DiskFailing {
					t.Errorf("health %+v", h)
				}
				if log.with("can be written again") == 0 {
					t.Error("the recovery is not logged")
				}
				if read := l.Health().Read; existing && read != 0 {
					t.Errorf("%d records were read again: the store was not kept", read)
				}
				w.closes(l)
			})
		})
	}
}

// A ledger that waits for room can be closed, and keeps the store that was there.
func TestStopWhileTheDiskIsFullAtTheStart(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.events(3)
		l, disk, _ := w.onSmallDisk()
		if err := l.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.caughtUp(l)
		w.closes(l)
		disk.full.Store(true)
		for range 2 {
			l, _, _ = w.onSmallDisk()
			if err := l.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			w.saysFull(l)
			w.closes(l)
		}
		disk.full.Store(false)
		l, _, _ = w.onSmallDisk()
		if err := l.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.caughtUp(l)
		w.knows(l, "e1", known{decided: "captured"})
		if read := l.Health().Read; read != 0 {
			t.Errorf("%d records were read again: the store was not kept", read)
		}
		w.closes(l)
	})
}

// attempts writes attempts that take some 1,100 bytes of the store each.
func (w *world) attempts(from, n int) {
	w.t.Helper()
	rs := make([]*kgo.Record, n)
	for i := range rs {
		a := attemptAt(int64(1 + from + i))
		a.Reference = strings.Repeat("r", 1000)
		rs[i] = w.attempt(int32((from+i)%testPartitions), fmt.Sprintf("many-%d", from+i), a)
	}
	w.plain(rs...)
}

// A disk that fills while the ledger follows: it says so and repeats with pauses,
// what it knows is answered, and it goes on by itself. Nothing is lost by it, and
// it can be closed even while a writer waits for room in memory.
func TestDiskThatFillsWhileRunning(t *testing.T) {
	for name, room := range map[string]bool{"and gets room": true, "and is closed": false} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				t := w.t
				w.events(3)
				l, disk, log := w.onSmallDisk()
				if err := l.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				w.caughtUp(l)
				disk.full.Store(true)
				const n = 1_500 // more than the store holds in memory
				for i := range n / 250 {
					w.attempts(i*250, 250)
					time.Sleep(time.Second) // the ledger reads these alone
				}
				time.Sleep(5 * time.Minute)
				w.saysFull(l)
				if behind := l.Health().Behind; behind == 0 {
					t.Error("all was read: no writer waits for room")
				}
				began := disk.refused.Load()
				time.Sleep(4 * time.Minute)
				w.saysFull(l)
				if n := disk.refused.Load() - began; n == 0 || n > 4*60/5*2 {
					t.Errorf("%d writes in four minutes", n)
				}
				if n := log.with("level=WARN"); n == 0 || n > 12 {
					t.Errorf("%d warnings in nine minutes", n)
				}
				w.knows(l, "e1", known{decided: "captured"})
				if room {
					disk.full.Store(false)
					w.caughtUp(l)
					time.Sleep(10 * time.Second) // until the next try
					if h := l.Health(); h.Reason != "" || h.DiskFailing {
						t.Errorf("health %+v", h)
					}
				}
				w.closes(l)
				disk.full.Store(false)
				l = w.started("a")
				for _, i := range []int{0, 1, n / 2, n - 1} {
					w.knows(l, fmt.Sprintf("many-%d", i), known{attempted: int64(1 + i)})
				}
				w.knows(l, "e1", known{decided: "captured"})
			})
		})
	}
}

// A disk that fills and is closed at any write leaves a store that never says
// that it read what it does not have.
func TestClosedOnAFullDiskAtAnyWrite(t *testing.T) {
	value := decisionEntry(t, 0, 0, "", "captured").value
	kept := 0
	for at := int64(1); at < 300; at += 5 {
		synctest.Test(t, func(t *testing.T) {
			fs := newSmallDisk()
			conf := storeConfigForTest(fs, "dir")
			conf.memTable = 16 << 10
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s, err := openStore(ctx, conf)
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
				put(t, s, entry{partition: int32(n % 3), offset: int64(n), key: KindDecision.Key(fmt.Sprint(n)), value: value})
			}
			time.Sleep(2 * time.Minute)
			closeForTest(t, s)
			fs.full.Store(false)
			fs.fullFrom.Store(0)
			s = openForTest(t, conf)
			defer closeForTest(t, s)
			read, err := s.positions()
			if err != nil {
				t.Fatal(err)
			}
			last := int64(-1)
			for _, p := range read {
				last = max(last, p.next-1)
			}
			if last >= 0 {
				kept++
			}
			for i := range int64(n) {
				if got := has(t, s, fmt.Sprint(i)).Decision != nil; got != (i <= last) {
					t.Fatalf("full from write %d: it was read up to %d, and has %d: %v", at, last, i, got)
				}
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
				conf := storeConfigForTest(fs, "a/dir")
				if at%2 == 0 { // else it is a new one
					s := openForTest(t, conf)
					put(t, s, decisionEntry(t, 2, 7, "e1", "captured"))
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
				s, err := openStore(ctx, conf)
				if !fs.full.Load() && fs.refused.Load() == 0 {
					beyond = true
				} else if given == "up" {
					if err == nil || !errors.Is(err, context.Canceled) {
						t.Errorf("full from write %d: got %v", at/2, err)
					}
				}
				if err == nil {
					if s.temp {
						t.Errorf("full from write %d: it is in a temporary directory", at/2)
					}
					closeForTest(t, s)
				}
				fs.full.Store(false)
				fs.fullFrom.Store(0)
				s = openForTest(t, conf)
				defer closeForTest(t, s)
				if got := has(t, s, "e1").Decision != nil; got != (at%2 == 0) {
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

// Pebble takes other faults of the disk for the end of the process too.
func TestManifestThatCannotBeWritten(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.events(3)
		l, disk, _ := w.onSmallDisk()
		if err := l.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.caughtUp(l)
		disk.refuses = func(name string) bool { return strings.Contains(name, "MANIFEST") }
		var broken error = &os.PathError{Op: "write", Path: "MANIFEST", Err: syscall.EIO}
		disk.err.Store(&broken)
		disk.full.Store(true)
		w.attempts(0, 1_000)
		time.Sleep(time.Minute)
		if h := l.Health(); !strings.Contains(h.Reason, "in a/store: input/output error, 4096 bytes free; check the volume") {
			t.Errorf("health %+v", h)
		}
		w.knows(l, "e1", known{decided: "captured"})
		disk.full.Store(false)
		w.caughtUp(l)
		time.Sleep(10 * time.Second)
		if h := l.Health(); h.Reason != "" {
			t.Errorf("health %+v", h)
		}
		w.knows(l, "many-999", known{attempted: 1_000})
		w.closes(l)
	})
}

// A store that Pebble gave up answers nothing more.
func TestBrokenStoreAnswersNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.events(3)
		l := w.started("a")
		before := l.Health().Read
		storeLog{log: l.log, fail: l.store.fail}.Fatalf("%s", "no way on")
		if l.store.usable() == nil {
			t.Error("it is usable")
		}
		w.knows(l, "e1", known{decided: "captured"})
		if read := l.Health().Read; read < 2*before {
			t.Errorf("%d records read, %d of them before: it was not read again", read, before)
		}
	})
}
