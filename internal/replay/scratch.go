package replay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"payment-capture/internal/event"
)

// scratch keeps on disk what a run must remember of the events that it met, so
// that memory is bounded however many there are. It is of no use afterwards.
type scratch struct{ db *pebble.DB }

// What the keys begin with.
const (
	scratchContents  = 'e' // and an event id: its contents in the order in which they came
	scratchReference = 'r' // and a reference: the id of the first event that would be called for under it
	scratchNewest    = 'n' // and an event id, zero, and its content: where it was parked last
)

func openScratch(fs vfs.FS, dir string, log *slog.Logger) (*scratch, error) {
	o := &pebble.Options{FS: fs, DisableWAL: true, FormatMajorVersion: pebble.FormatNewest, MemTableSize: 16 << 20, Logger: scratchLog{log}}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	db, err := pebble.Open(dir, o)
	if err != nil {
		return nil, fmt.Errorf("open a scratch store in %s: %w", dir, err)
	}
	return &scratch{db}, nil
}

func (s *scratch) close() error { return s.db.Close() }

func scratchKey(kind byte, parts ...string) []byte {
	key := []byte{kind}
	for i, p := range parts {
		if i > 0 {
			key = append(key, 0)
		}
		key = append(key, p...)
	}
	return key
}

// get gives a copy of a value; nil: there is none.
func (s *scratch) get(key []byte) ([]byte, error) {
	value, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the scratch store: %w", err)
	}
	value = bytes.Clone(value)
	return value, closer.Close()
}

func (s *scratch) set(key, value []byte) error {
	if err := s.db.Set(key, value, pebble.NoSync); err != nil {
		return fmt.Errorf("write to the scratch store; is its disk full (TMPDIR)? %w", err)
	}
	return nil
}

// contentMet is a content of an event id, as it was classified.
type contentMet struct {
	content  event.Fingerprint
	identity event.Fingerprint // of what the event is for
	binds    bool              // by [Class.binds]
}

// metBytes is how many bytes a contentMet takes.
const metBytes = 2*len(event.Fingerprint{}) + 1

func (m contentMet) append(to []byte) []byte {
	flag := byte(0)
	if m.binds {
		flag = 1
	}
	return append(append(append(to, m.content[:]...), m.identity[:]...), flag)
}

// metBefore are the contents of an event id that were classified before one.
type metBefore struct {
	contents []contentMet
	known    bool // the one is itself among those that were classified
	value    []byte
}

// first reports whether the event was not met yet, as it is or as another one that
// is for the same and binds: the money of a copy counts once.
func (b metBefore) first(identity event.Fingerprint) bool {
	return !b.known && !slices.ContainsFunc(b.contents, func(m contentMet) bool { return m.binds && m.identity == identity })
}

// another reports whether an event was met that is for something else, and binds.
func (b metBefore) another(identity event.Fingerprint) bool {
	return slices.ContainsFunc(b.contents, func(m contentMet) bool { return m.binds && m.identity != identity })
}

// met returns which contents of an event id were classified before this one.
func (s *scratch) met(id string, content event.Fingerprint) (b metBefore, err error) {
	if b.value, err = s.get(scratchKey(scratchContents, id)); err != nil {
		return b, err
	}
	for rest := b.value; len(rest) >= metBytes; rest = rest[metBytes:] {
		m := contentMet{binds: rest[metBytes-1] != 0}
		copy(m.content[:], rest)
		copy(m.identity[:], rest[len(m.content):])
		if m.content == content {
			b.known = true
			break
		}
		b.contents = append(b.contents, m)
	}
	return b, nil
}

// note adds a content to those that were classified.
func (s *scratch) note(id string, before metBefore, m contentMet) error {
	return s.set(scratchKey(scratchContents, id), m.append(before.value))
}

// claim gives the event that is called for first under a reference: this one,
// where there was none before.
func (s *scratch) claim(reference, id string) (string, error) {
	key := scratchKey(scratchReference, reference)
	holder, err := s.get(key)
	if err != nil || holder != nil {
		return string(holder), err
	}
	return id, s.set(key, []byte(id))
}

// place is where a record of the parked topic lies, and its time. The later one
// of two is the newer.
type place struct {
	at        int64 // Unix milliseconds
	partition int32
	offset    int64
}

func (p place) newerThan(other place) bool {
	if p.at != other.at {
		return p.at > other.at
	}
	if p.partition != other.partition {
		return p.partition > other.partition
	}
	return p.offset > other.offset
}

func (p place) append(to []byte) []byte {
	return binary.AppendVarint(binary.AppendVarint(binary.AppendVarint(to, p.at), int64(p.partition)), p.offset)
}

func placeOf(value []byte) (p place) {
	r := bytes.NewReader(value)
	for _, into := range []func(int64){
		func(n int64) { p.at = n }, func(n int64) { p.partition = int32(n) }, func(n int64) { p.offset = n }, //nolint:gosec // G115: append wrote it
	} {
		n, err := binary.ReadVarint(r)
		if err != nil {
			return place{}
		}
		into(n)
	}
	return p
}

func newestKey(id string, content event.Fingerprint) []byte {
	return scratchKey(scratchNewest, id, string(content[:]))
}

// parkedAt notes that an event was parked in a place.
func (s *scratch) parkedAt(id string, content event.Fingerprint, p place) error {
	key := newestKey(id, content)
	known, err := s.get(key)
	if err != nil || (known != nil && !p.newerThan(placeOf(known))) {
		return err
	}
	return s.set(key, p.append(nil))
}

// newest gives the place where an event was parked last.
func (s *scratch) newest(id string, content event.Fingerprint) (place, error) {
	value, err := s.get(newestKey(id, content))
	return placeOf(value), err
}

// scratchLog takes what Pebble says.
type scratchLog struct{ log *slog.Logger }

// Infof implements [pebble.Logger]. Every file that is written is news to it.
func (scratchLog) Infof(string, ...any) {}

// Errorf implements [pebble.Logger].
func (l scratchLog) Errorf(format string, args ...any) {
	l.log.Warn("the scratch store reports a fault", slog.String("fault", fmt.Sprintf(format, args...)))
}

// Fatalf implements [pebble.Logger]. Pebble must not go on after it.
func (l scratchLog) Fatalf(format string, args ...any) {
	panic("the scratch store cannot go on: " + fmt.Sprintf(format, args...))
}
