package replay

import (
	"slices"

	"payment-capture/internal/event"
	"payment-capture/internal/scratch"
)

// seen is what a run must remember of the events that it met. It is on disk, so
// that memory is bounded however many they are.
type seen struct{ *scratch.Store }

// The first byte of a key.
const (
	seenContents  = 'e' // then an event id: its contents in the order in which they came
	seenReference = 'r' // then what is charged once: the id of the first event that would be called for
	seenNewest    = 'n' // then an event id, zero, and its content: where it was parked last
)

func seenKey(kind byte, parts ...string) []byte {
	key := []byte{kind}
	for i, p := range parts {
		if i > 0 {
			key = append(key, 0)
		}
		key = append(key, p...)
	}
	return key
}

// contentMet is a content of an event id, as it was classified.
type contentMet struct {
	Content  event.Fingerprint
	Identity event.Fingerprint // of what the event is for
	Binds    bool              // by [Class.binds]
}

// metBefore are the contents of an event id that were classified before one.
type metBefore struct {
	contents []contentMet
	known    bool         // the one is itself among those that were classified
	all      []contentMet // of the id
}

// first reports whether the event was not met yet, as it is or as another one that
// is for the same and binds: the money of a copy counts once.
func (b metBefore) first(identity event.Fingerprint) bool {
	return !b.known && !slices.ContainsFunc(b.contents, func(m contentMet) bool { return m.Binds && m.Identity == identity })
}

// another reports whether an event was met that is for something else, and binds.
func (b metBefore) another(identity event.Fingerprint) bool {
	return slices.ContainsFunc(b.contents, func(m contentMet) bool { return m.Binds && m.Identity != identity })
}

// met returns which contents of an event id were classified before this one.
func (s seen) met(id string, content event.Fingerprint) (b metBefore, err error) {
	_, err = s.Get(seenKey(seenContents, id), &b.all)
	b.contents = b.all
	if i := slices.IndexFunc(b.all, func(m contentMet) bool { return m.Content == content }); i >= 0 {
		b.contents, b.known = b.all[:i], true
	}
	return b, err
}

// note adds a content to those that were classified.
func (s seen) note(id string, before metBefore, m contentMet) error {
	return s.Set(seenKey(seenContents, id), append(before.all, m))
}

// claim returns the event that is called for first for what is charged once: this one,
// if there was none before.
func (s seen) claim(id string, of ...string) (first string, err error) {
	key := seenKey(seenReference, of...)
	if found, err := s.Get(key, &first); found || err != nil {
		return first, err
	}
	return id, s.Set(key, id)
}

// place is the position of a record in the parked topic, and its time. Of two places
// the later one is newer.
type place struct {
	At        int64 // Unix milliseconds
	Partition int32
	Offset    int64
}

func (p place) newerThan(other place) bool {
	if p.At != other.At {
		return p.At > other.At
	}
	if p.Partition != other.Partition {
		return p.Partition > other.Partition
	}
	return p.Offset > other.Offset
}

func newestKey(id string, content event.Fingerprint) []byte {
	return seenKey(seenNewest, id, string(content[:]))
}

// parkedAt stores the place where an event was parked, if it is newer.
func (s seen) parkedAt(id string, content event.Fingerprint, p place) error {
	known, err := s.newest(id, content)
	if err != nil || (known != place{} && !p.newerThan(known)) {
		return err
	}
	return s.Set(newestKey(id, content), p)
}

// newest returns the place where an event was parked last; zero: nowhere.
func (s seen) newest(id string, content event.Fingerprint) (p place, err error) {
	_, err = s.Get(newestKey(id, content), &p)
	return p, err
}
