// Package store keeps the local copy of the ledger on an instance. It knows neither Kafka
// nor the encoding of the ledger's values.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Store is the local copy of the ledger's topic: the decision on each event, the open
// attempts, and how far each partition was read. A damaged store is removed, and its
// owner reads the topic again. It is safe for concurrent use.
type Store struct {
	db   *pebble.DB
	lock *pebble.Lock
	conf Config
	disk *disk
	// broken is why Pebble must not be used any more; nil: it may be.
	broken  atomic.Pointer[error]
	writing sync.Mutex // held while something is written, so that Sweep removes nothing new
}

// Config configures a Store.
type Config struct {
	FS   vfs.FS
	Dir  string // which the store has to itself
	Tags string // identify the topic; a store with others is replaced
	Log  *slog.Logger
	// Replacing is called when what the directory holds is of no use, before it is removed.
	Replacing func(error)
	// Damaged is called when damage is found in the background; it must not wait.
	Damaged func(error)
	// Disk records writes that fail, and those that succeed again.
	Disk *DiskState
	// MemTable is the size in bytes of a table in memory; 0: the default.
	MemTable uint64
}

// format is the version of the store's layout. A store of another one is replaced: the
// topic has all of it, and a migration could be wrong.
const format = 6

func (c Config) tags() string { return fmt.Sprintf("format %d, %s", format, c.Tags) }

// Open opens the store in the directory. A store that is damaged or of another topic or
// format is replaced by an empty one. It waits while the directory cannot be written or
// another process holds it, until ctx ends. The end of ctx also ends every later waiting
// for the disk, and nothing else.
func Open(ctx context.Context, conf Config) (_ *Store, err error) {
	d := newDisk(conf.FS, conf.Dir, conf.Disk)
	stop := context.AfterFunc(ctx, d.close)
	defer func() {
		if ctx.Err() != nil && d.frozen.Load() { // it was given up
			err = context.Cause(ctx)
		}
		if err != nil {
			stop()
		}
	}()
	if err := d.MkdirAll(conf.Dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := pebble.LockDirectory(conf.Dir, d)
	if err != nil {
		return nil, err
	}
	s := &Store{lock: lock, conf: conf, disk: d}
	err = s.open()
	if err != nil && !d.frozen.Load() {
		conf.Replacing(s.damage(err))
		_ = d.do(s.wipe) // which returns no error: it waits
		err = s.open()
	}
	switch {
	case err != nil:
		return nil, errors.Join(s.damage(err), lock.Close())
	case d.frozen.Load():
		return nil, errors.Join(s.db.Close(), lock.Close())
	}
	return s, nil
}

// open opens what the directory holds, or creates it; the error is why it is of
// no use.
func (s *Store) open() error {
	db, err := pebble.Open(s.conf.Dir, s.options())
	if err != nil {
		return err
	}
	s.db = db
	err = s.checkTags()
	if err == nil {
		err = s.Usable()
	}
	if err != nil {
		s.db = nil
		s.broken.Store(nil) // what is opened next is another one
		return errors.Join(err, db.Close())
	}
	return nil
}

// Usable returns why the store must not be used any more, or nil.
func (s *Store) Usable() error {
	if err := s.broken.Load(); err != nil {
		return *err
	}
	return nil
}

// fail marks the store as unusable.
func (s *Store) fail(err error) {
	err = s.damage(err)
	if s.broken.CompareAndSwap(nil, &err) {
		s.conf.Damaged(err)
	}
}

// checkTags compares the tags, and writes them into a store that is empty. They
// are the first thing that is written, so a store without them holds nothing.
func (s *Store) checkTags() error {
	want := s.conf.tags()
	got, closer, err := s.db.Get([]byte(tagsKey))
	if err == nil {
		defer closer.Close() //nolint:errcheck // it only releases memory
		if string(got) != want {
			return fmt.Errorf("it is of %s, not of %s", got, want)
		}
		return nil
	}
	if !errors.Is(err, pebble.ErrNotFound) {
		return err
	}
	if err := s.checkEmpty(); err != nil {
		return err
	}
	return s.db.Set([]byte(tagsKey), []byte(want), pebble.NoSync)
}

func (s *Store) checkEmpty() error {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return err
	}
	if it.First() {
		err = fmt.Errorf("%w: it has no tags", errDamaged)
	}
	return errors.Join(err, it.Close())
}

// wipe removes all that the directory holds but the lock.
func (s *Store) wipe() error {
	names, err := s.conf.FS.List(s.conf.Dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name != lockName {
			err = errors.Join(err, s.conf.FS.RemoveAll(s.conf.FS.PathJoin(s.conf.Dir, name)))
		}
	}
	return err
}

// lockName is Pebble's name of the file that is locked.
const lockName = "LOCK"

// Close writes what is in memory to the disk, if there is room, and closes the store.
func (s *Store) Close() error {
	s.disk.close()
	if s.Usable() != nil {
		s.disk.freeze()
		return errors.Join(s.db.Close(), s.lock.Close())
	}
	return errors.Join(s.db.Flush(), s.db.Close(), s.lock.Close())
}

// Discard closes the store and removes what it holds.
func (s *Store) Discard() error {
	s.disk.freeze() // all of it goes
	return errors.Join(s.db.Close(), s.wipe(), s.lock.Close())
}

// damage describes an error of reading. Its owner discards the store.
func (s *Store) damage(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("read local store of the ledger in %s: %w, %s; it is rebuilt from the topic; if that repeats, check the volume",
		s.conf.Dir, err, s.disk.room())
}
