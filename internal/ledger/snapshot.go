package ledger

import (
	"hash/maphash"
	"sync/atomic"

	"payment-capture/internal/event"
	"payment-capture/internal/ledger/store"
)

// A poll's events are looked up together: in the order of the store, by one iterator,
// which costs a third of looking up each. The snapshots are used a moment later, if
// nothing has changed since.

// changes count, for each of many groups of ids and references, how often something that
// is known of an event of the group changed.
type changes struct {
	seed   maphash.Seed
	all    atomic.Uint32 // counts what may change everything
	groups [changeGroups]atomic.Uint32
}

// changeGroups is so large that an event which waits for its turn seldom shares
// its group with one of those that are handled meanwhile. They take 1 MiB.
const changeGroups = 1 << 18

func newChanges() *changes { return &changes{seed: maphash.MakeSeed()} }

func (c *changes) group(hash uint64) *atomic.Uint32 { return &c.groups[hash%changeGroups] }

// bump records that something about an event changed, or under a reference. It is called
// when the change can be seen, and before anyone waiting for it is woken.
func (c *changes) bump(key string) { c.group(maphash.String(c.seed, key)).Add(1) }

// bumpAll records that everything may have changed.
func (c *changes) bumpAll() { c.all.Add(1) }

// version returns the version of an event's history, or of what is known under a
// reference; never zero.
func (c *changes) version(key string) uint64 {
	const never = 1 << 63
	return never | uint64(c.all.Load()&(1<<31-1))<<32 | uint64(c.group(maphash.String(c.seed, key)).Load())
}

// snapshots returns the store's answer to a question, or nil if the ledger cannot answer
// now. An error is that of the lookup that follows, see [withStore].
func snapshots[T any](l *Ledger, question func(*store.Store) ([]T, error)) []T {
	if !l.availability.open.Load() {
		return nil
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.store == nil {
		return nil
	}
	answer, err := question(l.store)
	if err != nil {
		return nil
	}
	return answer
}

// Snapshot returns the present histories of many events without waiting. A snapshot
// without a version is never current, because the history is about to change. nil: the
// ledger cannot answer now.
func (l *Ledger) Snapshot(ids []string) []event.Snapshot {
	return snapshots(l, func(s *store.Store) ([]event.Snapshot, error) { return l.snapshot(s, ids) })
}

func (l *Ledger) snapshot(s *store.Store, ids []string) ([]event.Snapshot, error) {
	seen := make([]event.Snapshot, len(ids))
	memory := make([]inMemory, len(ids))
	for i, id := range ids {
		version := l.changes.version(id)
		if memory[i] = l.inMemory(id); len(memory[i].pending) == 0 {
			seen[i].Version = version
		}
	}
	found := make([]bool, len(ids))
	err := s.Decisions(ids, func(i int, d decision) (err error) {
		found[i] = true
		seen[i].History, err = memory[i].history(ids[i], d)
		return err
	})
	for i := range ids {
		if err == nil && !found[i] {
			seen[i].History, err = memory[i].history(ids[i], decision{})
		}
	}
	return seen, err
}

// SnapshotUnder returns what [Ledger.Under] does, for many charges and without waiting.
// nil: the ledger cannot answer now.
func (l *Ledger) SnapshotUnder(charges []event.Charge) []event.SnapshotUnder {
	return snapshots(l, func(s *store.Store) ([]event.SnapshotUnder, error) {
		seen := make([]event.SnapshotUnder, len(charges))
		for i, charge := range charges {
			seen[i].Charge, seen[i].Version = charge, l.changes.version(charge.Reference)
		}
		known, err := l.underAll(s, charges)
		for i := range known {
			seen[i].Known = known[i]
		}
		return seen, err
	})
}

// IsCurrent reports whether a snapshot of an event, or of what is under a reference, still
// holds.
func (l *Ledger) IsCurrent(key string, version uint64) bool {
	return version != 0 && version == l.changes.version(key) && l.availability.open.Load()
}
