package verify

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
)

// The spaces of the store: the first byte of every key.
const (
	// An event's id, zero, a tag and a record's position: an entry. The entries
	// of one event lie together, those that the others are judged by first.
	spaceEvent = 'e'
	// The position of an input record and a tag: those input records and parked
	// records that can be brought together by nothing else.
	spacePlace = 'q'
	// The digest of an invalid record without its timestamp: it was parked, and
	// the input record that it was parked for is no more.
	spacePlain = 'c'
	// A payment, or a reference, and an event's id.
	spacePayment   = 'p'
	spaceReference = 'r'
	// An event's id, zero, and what keeps findings apart: a finding.
	spaceFinding = 'f'
	// An event's id: what to ask the API for.
	spaceAsk = 'a'
	// The position of an input record below an offset that this service did not
	// write: its event and content.
	spaceBelow = 'b'
	// An event and content that is completed without a decision, if any offset was
	// not written by this service.
	spaceLost = 'l'
)

// The tags of a space of events, in the order in which they are read.
const (
	tagInput byte = iota + 1
	tagDecision
	tagAttempt
	tagOutcome
	tagParked
	tagElsewhere // a parked record that names this id is judged under another one
)

// How much memory the store takes where nobody says: in four parts, the cache
// and the tables that are being filled or written.
const (
	storeMemory = 64 << 20
	memTables   = 3
)

// store is a directory that is there for the time of a run. It is all in files
// but for the bounds above.
type store struct {
	dir     string
	db      *pebble.DB
	entries atomic.Int64 // that were written
	bytes   atomic.Int64 // of them
}

func openStore(parent string, memory int64) (*store, error) {
	if memory == 0 {
		memory = storeMemory
	}
	part := memory / (memTables + 1)
	dir, err := os.MkdirTemp(parent, "payment-capture-verify-")
	if err != nil {
		return nil, fmt.Errorf("make the scratch directory; --scratch-dir names another place: %w", err)
	}
	s := &store{dir: dir}
	o := &pebble.Options{
		FormatMajorVersion: pebble.FormatNewest,
		DisableWAL:         true, // nothing outlives the run
		CacheSize:          part, MemTableSize: uint64(part), MemTableStopWritesThreshold: memTables,
		MaxOpenFiles: 1000,
		// It is written once and read once, in order: levels are merged only as
		// far as reading needs it.
		L0CompactionThreshold: 16, L0StopWritesThreshold: 1000,
		LBaseMaxBytes:              1 << 30,
		CompactionConcurrencyRange: func() (lower, upper int) { return 1, 2 },
		Logger:                     silent{},
	}
	for i := range o.Levels {
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.FastestCompression }
	}
	for i := range o.TargetFileSizes {
		o.TargetFileSizes[i] = 64 << 20
	}
	if s.db, err = pebble.Open(dir, o); err != nil {
		return nil, errors.Join(fmt.Errorf("open the scratch store in %s: %w", dir, err), os.RemoveAll(dir))
	}
	return s, nil
}

// silent takes what Pebble says: every file that is written is news to it.
type silent struct{}

// Infof implements [pebble.Logger].
func (silent) Infof(string, ...any) {}

// Errorf implements [pebble.Logger]. What matters of it comes back from a call.
func (silent) Errorf(string, ...any) {}

// Fatalf implements [pebble.Logger]. Pebble must not go on after it.
func (silent) Fatalf(format string, args ...any) {
	panic("the scratch store cannot go on (is its disk full? --scratch-dir names another): " + fmt.Sprintf(format, args...))
}

// close removes the store.
func (s *store) close() error { return errors.Join(s.db.Close(), os.RemoveAll(s.dir)) }

// batch collects writes.
type batch struct {
	*pebble.Batch
	store *store
	key   []byte
	err   error
}

func (s *store) newBatch() *batch { return &batch{Batch: s.db.NewBatch(), store: s} }

// put writes a key that is begun in b.key by the functions below.
func (b *batch) put(key, value []byte) {
	b.store.entries.Add(1)
	b.store.bytes.Add(int64(len(key) + len(value)))
	b.err = errors.Join(b.err, b.Set(key, value, nil))
	b.key = key[:0]
}

// entry writes what a record says of an event.
func (b *batch) entry(id string, tag byte, at position, value []byte) {
	key := append(b.key[:0], spaceEvent)
	key = append(key, id...)
	key = append(key, 0, tag)
	b.put(at.append(key), value)
}

// parked writes what a parked record says of an event. The record itself may name
// another id: the service of its time took it for that.
func (b *batch) parked(id, named string, at position, e parkedEntry) {
	if named != "" && named != id {
		e.flags |= flagOtherID
		b.elsewhere(named, at)
	}
	b.entry(id, tagParked, at, e.encode())
}

// elsewhere writes that a parked record names an id and is not judged under it.
func (b *batch) elsewhere(named string, at position) {
	if plainID(named) {
		b.entry(named, tagElsewhere, at, nil)
	}
}

// place writes what is known of the input record at a position. Several parked
// records may be for one.
func (b *batch) place(of position, tag byte, at position, value []byte) {
	key := of.append(append(b.key[:0], spacePlace))
	b.put(at.append(append(key, tag)), value)
}

// index writes that an event has a payment, or a captured reference.
func (b *batch) index(space byte, name, id string) {
	key := append(b.key[:0], space)
	key = append(key, name...)
	b.put(append(append(key, 0), id...), nil)
}

// finding writes a finding; the same one twice is one.
func (b *batch) finding(f Finding) {
	b.put(f.key(), f.encode())
}

// commit writes what was collected, and ends the batch.
func (b *batch) commit() error {
	err := b.err
	if err == nil {
		err = b.Commit(pebble.NoSync)
	}
	if err = errors.Join(err, b.Close()); err != nil {
		return fmt.Errorf("write the scratch store; is there room in %s? %w", b.store.dir, err)
	}
	return nil
}

// each gives the keys of a space, without its byte, and their values, in order.
// Neither may be kept.
func (s *store) each(space byte, take func(key, value []byte) error) error {
	return s.within([]byte{space}, func(key, value []byte) error { return take(key[1:], value) })
}

// within gives the keys that have a prefix, in order.
func (s *store) within(prefix []byte, take func(key, value []byte) error) error {
	bound := append([]byte(nil), prefix...)
	bound[len(bound)-1]++ // no prefix ends in 0xff
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: bound})
	if err != nil {
		return fmt.Errorf("read the scratch store: %w", err)
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var value []byte
		if value, err = it.ValueAndErr(); err == nil {
			err = take(it.Key(), value)
		}
	}
	if err = errors.Join(err, it.Close()); err != nil {
		return fmt.Errorf("read the scratch store: %w", err)
	}
	return nil
}

// holds reports whether there is a key with the prefix.
func (s *store) holds(prefix []byte) (bool, error) {
	found := false
	err := s.within(prefix, func([]byte, []byte) error {
		found = true
		return errEnough
	})
	if found {
		err = nil
	}
	return found, err
}

// has reports whether there is a key.
func (s *store) has(key []byte) (bool, error) {
	_, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err == nil {
		err = closer.Close()
	}
	if err != nil {
		return false, fmt.Errorf("read the scratch store: %w", err)
	}
	return true, nil
}

var errEnough = errors.New("enough was read")

// disk gives what the store takes on the disk now, in bytes.
func (s *store) disk() int64 {
	return int64(s.db.Metrics().DiskSpaceUsage()) //nolint:gosec // G115: no disk is that large
}
