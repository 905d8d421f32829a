package ledger

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// store is the local copy of the topic: what is known of each event, and how far
// each partition was read. It is a cache: whatever is wrong with it, it is
// removed and read again.
type store struct {
	db   *pebble.DB
	lock *pebble.Lock
	conf storeConfig
	temp bool // the directory is this store's alone, and goes with it
}

// storeConfig fixes a store.
type storeConfig struct {
	fs   vfs.FS
	dir  string
	tags tags
	log  *slog.Logger
	// damaged is told of damage that is found in the background; it must not
	// wait.
	damaged func(error)
	// failed is told of writes that failed in the background and are tried
	// again.
	failed func(error)
	// memTable is how many bytes are gathered before they are written to the
	// disk; 0: the default.
	memTable uint64
}

// tags say what a store was read from. One with other tags is of no use.
type tags struct {
	clusterID string
	topicID   [16]byte
}

// storeFormat changes when what the store holds is laid out otherwise.
const storeFormat = 2

func (t tags) String() string {
	return fmt.Sprintf("format %d, cluster %s, topic %x", storeFormat, t.clusterID, t.topicID)
}

// openStore opens the store in the directory, or an empty one in its place when
// it is of no use: damaged, or of another topic. Where the directory cannot be
// had, because another process holds it for one, a temporary one takes its place.
func openStore(conf storeConfig) (*store, error) {
	s, err := openIn(conf)
	if err == nil {
		return s, nil
	}
	conf.log.Warn("LEDGER_DIR cannot be used; a temporary directory takes its place, and all of the ledger is read into it. "+
		"Is another process using it? Each instance needs one of its own",
		slog.String("dir", conf.dir), slog.Any("error", err))
	conf.dir = conf.fs.PathJoin(os.TempDir(), "payment-capture-ledger-"+rand.Text())
	if s, err = openIn(conf); err != nil {
		return nil, errors.Join(fmt.Errorf("open the ledger's local store in a temporary directory: %w: set LEDGER_DIR to a directory that can be written", err),
			conf.fs.RemoveAll(conf.dir))
	}
	s.temp = true
	return s, nil
}

// openIn opens the store in a directory that it has to itself; what cannot be
// used is removed.
func openIn(conf storeConfig) (*store, error) {
	if err := conf.fs.MkdirAll(conf.dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := pebble.LockDirectory(conf.dir, conf.fs)
	if err != nil {
		return nil, err
	}
	s := &store{lock: lock, conf: conf}
	if err := s.open(); err != nil {
		conf.log.Warn("the ledger's local store is of no use: it is removed, and read again from the topic",
			slog.String("dir", conf.dir), slog.Any("reason", err))
		if err := s.wipe(); err != nil {
			return nil, errors.Join(err, lock.Close())
		}
		if err := s.open(); err != nil {
			return nil, errors.Join(err, lock.Close())
		}
	}
	return s, nil
}

// open opens what the directory holds, or makes it; the error says why it is of
// no use.
func (s *store) open() error {
	db, err := pebble.Open(s.conf.dir, s.options())
	if err != nil {
		return err
	}
	s.db = db
	if err := s.checkTags(); err != nil {
		s.db = nil
		return errors.Join(err, db.Close())
	}
	return nil
}

// checkTags compares the tags, and writes them into a store that is empty. They
// are the first thing that is written, so a store without them holds nothing.
func (s *store) checkTags() error {
	want := s.conf.tags.String()
	got, closer, err := s.db.Get([]byte(tagsKey))
	if err == nil {
		defer closer.Close() //nolint:errcheck // it only gives back memory
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

// close writes what is in memory to the disk and closes the store. A temporary
// one is removed.
func (s *store) close() error {
	if s.temp {
		return errors.Join(s.db.Close(), s.lock.Close(), s.conf.fs.RemoveAll(s.conf.dir))
	}
	return errors.Join(s.db.Flush(), s.db.Close(), s.lock.Close())
}

// remove closes a damaged store and removes what it holds.
func (s *store) remove() error {
	err := errors.Join(s.db.Close(), s.wipe(), s.lock.Close())
	if s.temp {
		err = errors.Join(err, s.conf.fs.RemoveAll(s.conf.dir))
	}
	return err
}
