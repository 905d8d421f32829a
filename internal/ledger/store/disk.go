package store

import (
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
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble ends the process if it cannot write its manifest, repeats a failed
// flush at once and for ever, and does not release a writer that waits for one.
// So a full disk is handled below Pebble: a write that finds no room waits for
// room, and Pebble does not learn of it.

// The pauses after a write that failed: doubled with each failure in a row.
const (
	diskPauseFirst = time.Second
	diskPauseMost  = 5 * time.Second
)

// diskLogEvery is how often a disk that stays full is logged.
const diskLogEvery = time.Minute

// DiskState tracks failures of the disk under the local store. It outlives the
// stores of a ledger.
type DiskState struct {
	log *slog.Logger

	failing atomic.Bool // fails > 0, for reading without the lock

	mu     sync.Mutex
	fails  int       // failed writes in a row; guarded by mu
	text   string    // what failed, its cause and the remedy; guarded by mu
	since  time.Time // when the first of them failed; guarded by mu
	logged time.Time // when this was logged last; guarded by mu
	warned bool      // a failure was logged, so recovery is logged too; guarded by mu
}

// NewDiskState returns the state of a disk that did not fail.
func NewDiskState(log *slog.Logger) *DiskState {
	return &DiskState{log: log}
}

// failed records a failed write and returns how long to wait before the next one.
func (s *DiskState) failed(text string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.fails++
	s.text = text
	if s.fails == 1 {
		s.since = now
		s.failing.Store(true)
	}
	wait := diskPauseMost
	if s.fails < 4 {
		wait = min(wait, diskPauseFirst<<(s.fails-1))
	}
	if s.logged.IsZero() || now.Sub(s.logged) >= diskLogEvery {
		s.logged, s.warned = now, true
		s.log.Warn("local store of the ledger cannot be written", slog.String("error", text),
			slog.Int("failures", s.fails), slog.Float64("retry_seconds", wait.Seconds()))
	}
	return wait
}

// succeeded records a write that shows that the disk has room again.
func (s *DiskState) succeeded() {
	if !s.failing.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails == 0 {
		return
	}
	s.fails, s.text = 0, ""
	s.failing.Store(false)
	if s.warned {
		s.warned = false
		s.log.Info("local store of the ledger can be written again", slog.Float64("failed_seconds", time.Since(s.since).Seconds()))
	}
}

// Reason returns why the store cannot be written now, or "".
func (s *DiskState) Reason() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text
}

// disk is the file system of one store. A write that fails, for lack of room or another
// reason, is repeated until it succeeds. The write of a table fails after a pause instead, because
// Pebble then removes the unfinished table, which makes room, and writes it again.
//
// After freeze nothing is written any more, and every write succeeds: what is on
// the disk is what a crash at that moment leaves. So a store on a full disk can
// be closed.
type disk struct {
	vfs.FS
	dir   string // shown, and asked for its free space
	state *DiskState

	end    sync.Once
	ending chan struct{} // closed by close
	frozen atomic.Bool
}

func newDisk(fs vfs.FS, dir string, state *DiskState) *disk {
	return &disk{FS: fs, dir: dir, state: state, ending: make(chan struct{})}
}

// close ends the waiting for room: from now on a write that fails freezes the
// disk.
func (d *disk) close() { d.end.Do(func() { close(d.ending) }) }

// freeze drops all later writes.
func (d *disk) freeze() {
	d.frozen.Store(true)
	d.close()
}

// Unwrap implements [vfs.FS].
func (d *disk) Unwrap() vfs.FS { return d.FS }

// isFull reports whether an error means that the disk is full.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// describe names the store's directory, the cause of a failed write, the free space and
// the remedy.
func (d *disk) describe(err error) string {
	if no, ok := errors.AsType[syscall.Errno](err); ok {
		err = no // without the name of a file that changes with every try
	}
	return fmt.Sprintf("write local store of the ledger in %s: %v, %s; %s, the service then continues by itself",
		d.dir, err, d.room(), remedy(err))
}

// room returns the size of the store and the free space in words.
func (d *disk) room() string {
	used, free, err := Usage(d.FS, d.dir)
	if err != nil {
		return fmt.Sprintf("%d bytes in it, free space unknown", used)
	}
	return fmt.Sprintf("%d bytes in it, %d bytes free", used, free)
}

// Usage returns the bytes of the files in a store's directory, and those that are free
// where it is, or will be. It does not ask Pebble, which would not answer while it waits
// for room.
func Usage(fs vfs.FS, dir string) (used, free uint64, err error) {
	names, _ := fs.List(dir) // there may be no directory yet
	for _, name := range names {
		if info, err := fs.Stat(fs.PathJoin(dir, name)); err == nil { // else it was just removed
			used += uint64(info.Size()) //nolint:gosec // G115: not negative
		}
	}
	for at := ""; at != dir; at, dir = dir, fs.PathDir(dir) {
		var usage vfs.DiskUsage
		if usage, err = fs.GetDiskUsage(dir); err == nil {
			return used, usage.AvailBytes, nil
		}
	}
	return used, 0, err
}

// remedy returns what to do about a write that failed.
func remedy(err error) string {
	switch {
	case isFull(err):
		return "free space or enlarge the volume"
	case errors.Is(err, syscall.EROFS):
		return "make the volume writable"
	case errors.Is(err, os.ErrPermission):
		return "let the service's user write there"
	case errors.Is(err, syscall.EAGAIN): // the lock is held
		return "end the other process with this INSTANCE_ID"
	}
	return "check the directory and its volume"
}

// pause records a failed write and waits before the next one. It reports false if
// the disk is frozen now.
func (d *disk) pause(err error) bool {
	wait := d.state.failed(d.describe(err))
	select {
	case <-d.ending:
	case <-time.After(wait):
		return true
	}
	d.frozen.Store(true)
	return false
}

// do runs a write until it does not fail any more. A frozen disk drops it.
func (d *disk) do(write func() error) error {
	failed := false
	for !d.frozen.Load() {
		err := write()
		if err == nil {
			if failed {
				d.state.succeeded()
			}
			return nil
		}
		failed = true
		d.pause(err)
	}
	return nil
}

// table runs the write of a table. Pebble repeats a table that failed at once,
// whatever the cause is, so every failure waits here.
func (d *disk) table(write func() error) error {
	if d.frozen.Load() {
		return nil
	}
	err := write()
	if err != nil && d.pause(err) {
		return fmt.Errorf("%w: %w", errTable, err)
	}
	return nil
}

// errTable reports that a table could not be written, which was recorded already.
var errTable = errors.New("write table")

func (d *disk) of(name string) func(func() error) error {
	if strings.HasSuffix(name, ".sst") {
		return d.table
	}
	return d.do
}

// open runs what opens a file for writing. Of a frozen disk the file is none
// that lasts.
func (d *disk) open(name string, open func() (vfs.File, error)) (vfs.File, error) {
	write := d.of(name)
	var f vfs.File
	err := write(func() (err error) {
		f, err = open()
		return err
	})
	if err != nil {
		return nil, err
	}
	if f == nil { // frozen
		if f, err = vfs.NewMem().Create("dropped", vfs.WriteCategoryUnspecified); err != nil {
			return nil, err
		}
	}
	return &diskFile{File: f, disk: d, write: write, isTable: strings.HasSuffix(name, ".sst")}, nil
}

// Create implements [vfs.FS].
func (d *disk) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return d.open(name, func() (vfs.File, error) { return d.FS.Create(name, category) })
}

// Open implements [vfs.FS].
func (d *disk) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.Open(name, opts...)
	if err != nil {
		return nil, err
	}
	return readFile{f}, nil
}

// OpenReadWrite implements [vfs.FS].
func (d *disk) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return d.open(name, func() (vfs.File, error) { return d.FS.OpenReadWrite(name, category, opts...) })
}

// ReuseForWrite implements [vfs.FS].
func (d *disk) ReuseForWrite(oldName, newName string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return d.open(newName, func() (vfs.File, error) { return d.FS.ReuseForWrite(oldName, newName, category) })
}

// OpenDir implements [vfs.FS].
func (d *disk) OpenDir(name string) (vfs.File, error) {
	f, err := d.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &diskFile{File: f, disk: d, write: d.do}, nil
}

// Link implements [vfs.FS].
func (d *disk) Link(oldName, newName string) error {
	return d.do(func() error { return d.FS.Link(oldName, newName) })
}

// Remove implements [vfs.FS].
func (d *disk) Remove(name string) error {
	if d.frozen.Load() {
		return nil
	}
	return d.FS.Remove(name)
}

// RemoveAll implements [vfs.FS].
func (d *disk) RemoveAll(name string) error {
	if d.frozen.Load() {
		return nil
	}
	return d.FS.RemoveAll(name)
}

// Rename implements [vfs.FS].
func (d *disk) Rename(oldName, newName string) error {
	return d.do(func() error { return d.FS.Rename(oldName, newName) })
}

// MkdirAll implements [vfs.FS].
func (d *disk) MkdirAll(dir string, perm os.FileMode) error {
	return d.do(func() error { return d.FS.MkdirAll(dir, perm) })
}

// Lock implements [vfs.FS]. A frozen disk refuses it.
func (d *disk) Lock(name string) (lock io.Closer, err error) {
	err = d.do(func() error {
		lock, err = d.FS.Lock(name)
		if _, ok := errors.AsType[syscall.Errno](err); err != nil && !ok {
			err = fmt.Errorf("%w: %w", syscall.EAGAIN, err) // Pebble's own words: this process holds it
		}
		return err
	})
	if err == nil && lock == nil {
		err = context.Canceled
	}
	return lock, err
}

// GetDiskUsage implements [vfs.FS]. An error would be one of Pebble's background work,
// which counts as damage.
func (d *disk) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	usage, err := d.FS.GetDiskUsage(path)
	if err != nil {
		err = vfs.ErrUnsupported
	}
	return usage, err
}

// diskFile is a file that is written.
type diskFile struct {
	vfs.File
	disk    *disk
	write   func(func() error) error
	isTable bool
}

// Write implements [vfs.File].
func (f *diskFile) Write(p []byte) (int, error) {
	n := 0
	err := f.write(func() error {
		more, err := f.File.Write(p[n:])
		n += more
		return err
	})
	if err == nil {
		n = len(p)
	}
	return n, err
}

// WriteAt implements [vfs.File].
func (f *diskFile) WriteAt(p []byte, at int64) (int, error) {
	n := 0
	err := f.write(func() error {
		more, err := f.File.WriteAt(p[n:], at+int64(n))
		n += more
		return err
	})
	if err == nil {
		n = len(p)
	}
	return n, err
}

// Sync implements [vfs.File].
func (f *diskFile) Sync() error { return f.write(f.File.Sync) }

// SyncTo implements [vfs.File].
func (f *diskFile) SyncTo(length int64) (full bool, err error) {
	err = f.write(func() error {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

// SyncData implements [vfs.File]. It is the last write of a table: one that is
// on the disk shows that there is room.
func (f *diskFile) SyncData() error {
	err := f.write(f.File.SyncData)
	if err == nil && f.isTable && !f.disk.frozen.Load() {
		f.disk.state.succeeded()
	}
	return err
}

// readPause is how long a read that fails takes at least.
const readPause = 100 * time.Millisecond

// readFile is a file that is read. After an error it pauses, because Pebble repeats the
// compaction that needs the file at once, again and again until the store is discarded.
type readFile struct{ vfs.File }

// ReadAt implements [vfs.File].
func (f readFile) ReadAt(p []byte, at int64) (int, error) {
	n, err := f.File.ReadAt(p, at)
	if err != nil && !errors.Is(err, io.EOF) {
		time.Sleep(readPause)
	}
	return n, err
}
