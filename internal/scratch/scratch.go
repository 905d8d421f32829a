// Package scratch keeps on disk what a command must remember during one run, so
// that its memory does not grow with the topics that it reads. A store is a
// directory of its own that is removed when the store is closed. Values are JSON.
package scratch

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	defaultMemory = 64 << 20
	memTables     = 3
)

// Options configures a Store.
type Options struct {
	Parent string // the directory to create the store in; "": the system's temporary directory
	Memory int64  // bytes of memory for the cache and unwritten tables; 0: 64 MiB
	FS     vfs.FS // nil: the operating system's; another one holds one store
}

// Store is an ordered map from keys to values on disk. It is safe for use by
// several goroutines. After a failed write nothing works any more.
type Store struct {
	fs      vfs.FS
	dir     string
	db      *pebble.DB
	entries atomic.Int64
	bytes   atomic.Int64

	once   sync.Once
	failed chan struct{} // closed by fail
	cause  error         // why; only after failed is closed
}

// ErrCorrupt reports a value or a key that was not written so.
var ErrCorrupt = errors.New("scratch store returned corrupt data; check the disk")

// Open creates a store.
func Open(o Options) (*Store, error) {
	s := &Store{fs: o.FS, failed: make(chan struct{})}
	if s.fs == nil {
		var err error
		if s.dir, err = os.MkdirTemp(o.Parent, "payment-capture-"); err != nil {
			return nil, fmt.Errorf("create a scratch directory: %w; name another place (--scratch-dir, TMPDIR)", err)
		}
		s.fs = vfs.Default
	} else {
		s.dir = s.fs.PathJoin(o.Parent, "scratch")
	}
	if o.Memory == 0 {
		o.Memory = defaultMemory
	}
	part := o.Memory / (memTables + 1)
	conf := &pebble.Options{
		FS: s.fs, FormatMajorVersion: pebble.FormatNewest,
		DisableWAL: true,                                                                     // nothing outlives the run
		CacheSize:  part, MemTableSize: uint64(part), MemTableStopWritesThreshold: memTables, //nolint:gosec // G115: positive
		MaxOpenFiles: 1000,
		// Most of it is written once and read once, in order: levels are merged only
		// as far as reading needs it.
		L0CompactionThreshold: 16, L0StopWritesThreshold: 1000, LBaseMaxBytes: 1 << 30,
		CompactionConcurrencyRange: func() (lower, upper int) { return 1, 2 },
		Logger:                     logger{s},
		EventListener:              &pebble.EventListener{BackgroundError: s.fail},
	}
	for i := range conf.Levels {
		conf.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.FastestCompression }
		conf.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	for i := range conf.TargetFileSizes {
		conf.TargetFileSizes[i] = 64 << 20
	}
	err := s.write(func() (err error) {
		s.db, err = pebble.Open(s.dir, conf)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, s.fs.RemoveAll(s.dir))
	}
	return s, nil
}

// Close removes the store.
func (s *Store) Close() error {
	select {
	case <-s.failed:
		// Pebble would repeat the failed write for ever before it closes. It keeps a
		// goroutine of a process that is about to end.
		return s.fs.RemoveAll(s.dir)
	default:
		return errors.Join(s.db.Close(), s.fs.RemoveAll(s.dir))
	}
}

// fail ends all writing.
func (s *Store) fail(err error) {
	s.once.Do(func() {
		s.cause = s.describe(err)
		close(s.failed)
	})
}

// describe names the directory, the cause and the remedy.
func (s *Store) describe(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		no, _ := errors.AsType[syscall.Errno](err) // without the name of a file of Pebble's
		return fmt.Errorf("scratch store in %s: %w; free space or set TMPDIR", s.dir, no)
	}
	return fmt.Errorf("scratch store in %s: %w", s.dir, err)
}

// write calls a function that writes, and returns without waiting for it if the
// store fails: Pebble repeats a failed write for ever, and does not release those
// who wait for it.
func (s *Store) write(call func() error) error {
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		if err != nil {
			return s.describe(err)
		}
		return nil
	case <-s.failed:
		return s.cause
	}
}

// Batch collects writes. It is not safe for concurrent use.
type Batch struct {
	store *Store
	batch *pebble.Batch
	err   error
}

// NewBatch returns an empty batch, to be committed or closed.
func (s *Store) NewBatch() *Batch { return &Batch{store: s, batch: s.db.NewBatch()} }

// Set adds a value to the batch; nil is a key without a value. Neither is kept.
func (b *Batch) Set(key []byte, value any) {
	var encoded []byte
	if value != nil {
		var err error
		if encoded, err = json.Marshal(value, options); err != nil {
			b.err = errors.Join(b.err, fmt.Errorf("encode %T for the scratch store: %w", value, err))
			return
		}
	}
	b.store.entries.Add(1)
	b.store.bytes.Add(int64(len(key) + len(encoded)))
	b.err = errors.Join(b.err, b.batch.Set(key, encoded, nil))
}

// Len returns the number of entries in the batch.
func (b *Batch) Len() int { return int(b.batch.Count()) }

// Close drops a batch that is not committed.
func (b *Batch) Close() { _ = b.batch.Close() } // which releases memory only

// Commit writes the batch and empties it for the next use.
func (b *Batch) Commit() error {
	if b.err != nil {
		return b.err
	}
	batch := b.batch
	if err := b.store.write(func() error { return errors.Join(batch.Commit(pebble.NoSync), batch.Close()) }); err != nil {
		return err
	}
	b.batch = b.store.db.NewBatch()
	return nil
}

// Set writes one value.
func (s *Store) Set(key []byte, value any) error {
	b := s.NewBatch()
	b.Set(key, value)
	if err := b.Commit(); err != nil {
		return err // a write that failed may still use the batch
	}
	b.Close()
	return nil
}

// Get decodes the value of a key, unless into is nil, and reports whether there is
// one.
func (s *Store) Get(key []byte, into any) (found bool, err error) {
	value, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, s.describe(err)
	}
	if into != nil {
		err = Value(value).Decode(into)
	}
	return true, errors.Join(err, closer.Close())
}

// Value is an encoded value.
type Value []byte

// options let texts of other programs' records be stored that are not valid UTF-8. What
// is invalid in them comes back as U+FFFD.
var options = jsontext.AllowInvalidUTF8(true) //nolint:gochecknoglobals // immutable

// Decode decodes the value. The error is [ErrCorrupt] with the cause.
func (v Value) Decode(into any) error {
	if err := json.Unmarshal(v, into, options); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return nil
}

// Each calls use with the entries whose keys begin with a prefix, in the order of
// the keys, until it returns an error. Neither key nor value may be kept. The
// prefix must not end in 0xff.
func (s *Store) Each(prefix []byte, use func(key []byte, value Value) error) (err error) {
	bound := append([]byte(nil), prefix...)
	bound[len(bound)-1]++
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: bound})
	if err != nil {
		return s.describe(err)
	}
	defer func() {
		if closeErr := it.Close(); err == nil && closeErr != nil {
			err = s.describe(closeErr)
		}
	}()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return s.describe(err)
		}
		if err := use(it.Key(), value); err != nil {
			return err
		}
	}
	return nil
}

// Entries returns how many entries were written, and their bytes.
func (s *Store) Entries() (n, bytes int64) { return s.entries.Load(), s.bytes.Load() }

// Disk returns the bytes that the store takes on the disk now.
func (s *Store) Disk() int64 {
	return int64(s.db.Metrics().DiskSpaceUsage()) //nolint:gosec // G115: no disk is that large
}

// logger hands what ends Pebble to the store. The rest is of no interest: what
// matters comes back from calls.
type logger struct{ store *Store }

// Infof implements [pebble.Logger].
func (logger) Infof(string, ...any) {}

// Errorf implements [pebble.Logger].
func (logger) Errorf(string, ...any) {}

// Fatalf implements [pebble.Logger]. Pebble must not go on after it, so its
// goroutine stays here.
func (l logger) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	for _, a := range args { // Pebble formats its errors with %s
		if cause, ok := a.(error); ok {
			err = cause
		}
	}
	l.store.fail(err)
	select {}
}
