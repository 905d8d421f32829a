package ledger

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// store is the local copy of the topic: the history of each event, and the next offset
// of each partition. A damaged store is removed and read again from the topic.
type store struct {
	db   *pebble.DB
	lock *pebble.Lock
	conf storeConfig
	disk *disk
	// broken is why Pebble must not be used any more; nil: it may be.
	broken atomic.Pointer[error]
	temp   bool // the directory is this store's alone, and goes with it
}

// storeConfig configures a store.
type storeConfig struct {
	fs   vfs.FS
	dir  string
	tags tags
	log  *slog.Logger
	// damaged is called when damage is found in the background; it must not
	// wait.
	damaged func(error)
	// failed is called when work in the background failed and will be repeated.
	failed func(error)
	// disk records writes that fail, and those that succeed again.
	disk *diskState
	// memTable is the size in bytes of a table in memory; 0: the default.
	memTable uint64
}

// tags identify the topic of a store. A store with other tags is replaced.
type tags struct {
	clusterID string
	topicID   [16]byte
}

// storeFormat is the version of the store's layout.
const storeFormat = 2

func (t tags) String() string {
	return fmt.Sprintf("format %d, cluster %s, topic %x", storeFormat, t.clusterID, t.topicID)
}

// openStore opens the store in the directory. A store that is damaged or of another
// topic is replaced by an empty one. If the directory cannot be used, for example
// because another process holds it, a temporary one takes its place.
// It waits while the disk is full, until ctx ends. The end of ctx also ends every
// later waiting for the disk, and nothing else.
func openStore(ctx context.Context, conf storeConfig) (*store, error) {
	s, err := openIn(ctx, conf)
	if err == nil || ctx.Err() != nil {
		return s, err
	}
	conf.log.WarnContext(ctx, "LEDGER_DIR unusable; using a temporary directory",
		slog.String("dir", conf.dir), slog.Any("error", err),
		slog.String("remedy", "the whole ledger is read into it; give each instance a directory of its own that it can write"))
	conf.dir = conf.fs.PathJoin(os.TempDir(), "payment-capture-ledger-"+rand.Text())
	if s, err = openIn(ctx, conf); err != nil {
		return nil, errors.Join(fmt.Errorf("open the ledger's local store in a temporary directory: %w: set LEDGER_DIR to a directory that "+
			"can be written", err),
			conf.fs.RemoveAll(conf.dir))
	}
	s.temp = true
	return s, nil
}

// openIn opens the store in a directory that it has to itself; what cannot be
// used is removed.
func openIn(ctx context.Context, conf storeConfig) (_ *store, err error) {
	d := newDisk(conf.fs, conf.dir, conf.disk)
	stop := context.AfterFunc(ctx, d.close)
	defer func() {
		if ctx.Err() != nil && d.frozen.Load() { // it was given up
			err = context.Cause(ctx)
		}
		if err != nil {
			stop()
		}
	}()
	if err := d.MkdirAll(conf.dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := pebble.LockDirectory(conf.dir, d)
	if err != nil {
		return nil, err
	}
	s := &store{lock: lock, conf: conf, disk: d}
	err = s.open()
	if err != nil && !d.frozen.Load() {
		conf.log.WarnContext(ctx, "rebuilding unusable local store from the ledger's topic",
			slog.String("dir", conf.dir), slog.Any("reason", err))
		if err = s.wipe(); err == nil {
			err = s.open()
		}
	}
	switch {
	case err != nil:
		return nil, errors.Join(err, lock.Close())
	case d.frozen.Load():
		return nil, errors.Join(s.db.Close(), lock.Close())
	}
	d.opened.Store(true)
	return s, nil
}

// open opens what the directory holds, or creates it; the error is why it is of
// no use.
func (s *store) open() error {
	db, err := pebble.Open(s.conf.dir, s.options())
	if err != nil {
		return err
	}
	s.db = db
	err = s.checkTags()
	if err == nil {
		err = s.usable()
	}
	if err != nil {
		s.db = nil
		s.broken.Store(nil) // what is opened next is another one
		return errors.Join(err, db.Close())
	}
	return nil
}

// usable returns why the store must not be used any more, or nil.
func (s *store) usable() error {
	if err := s.broken.Load(); err != nil {
		return *err
	}
	return nil
}

// fail marks the store as unusable.
func (s *store) fail(err error) {
	if s.broken.CompareAndSwap(nil, &err) {
		s.conf.damaged(err)
	}
}

// checkTags compares the tags, and writes them into a store that is empty. They
// are the first thing that is written, so a store without them holds nothing.
func (s *store) checkTags() error {
	want := s.conf.tags.String()
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

func (s *store) checkEmpty() error {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return err
	}
	if it.First() {
		err = fmt.Errorf("%w: it has no tags", errState)
	}
	return errors.Join(err, it.Close())
}

// wipe removes all that the directory holds but the lock.
func (s *store) wipe() error {
	names, err := s.conf.fs.List(s.conf.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name != lockName {
			err = errors.Join(err, s.conf.fs.RemoveAll(s.conf.fs.PathJoin(s.conf.dir, name)))
		}
	}
	return err
}

// lockName is Pebble's name of the file that is locked.
const lockName = "LOCK"

// close writes what is in memory to the disk, if there is room, and closes the
// store. A temporary one is removed.
func (s *store) close() error {
	s.disk.close()
	if s.temp {
		return s.discard()
	}
	if s.usable() != nil {
		s.disk.freeze()
		return errors.Join(s.db.Close(), s.lock.Close())
	}
	return errors.Join(s.db.Flush(), s.db.Close(), s.lock.Close())
}

// discard closes the store and removes what it holds.
func (s *store) discard() error {
	s.disk.freeze() // all of it goes
	err := errors.Join(s.db.Close(), s.wipe(), s.lock.Close())
	if s.temp {
		err = errors.Join(err, s.conf.fs.RemoveAll(s.conf.dir))
	}
	return err
}
