package store

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// compactionScheduler runs one compaction at a time, and none on a frozen disk: it
// would read tables that were dropped. It also is the handle that it grants.
//
// Pebble's own scheduler looks for a waiting compaction ten times a second, besides
// when another one ends. The limit here never changes, so that adds nothing, and it
// makes a year of virtual time in tests cost 300 million looks.
type compactionScheduler struct {
	disk *disk
	db   pebble.DBForCompaction // set by Register, before any other call

	mu       sync.Mutex
	granted  sync.Cond // signals that granting is false
	running  int       // guarded by mu
	granting bool      // guarded by mu; a call of the database is under way
	closed   bool      // guarded by mu
}

func newCompactionScheduler(d *disk) *compactionScheduler {
	s := &compactionScheduler{disk: d}
	s.granted.L = &s.mu
	return s
}

// mayRunLocked reports whether another compaction may begin.
func (s *compactionScheduler) mayRunLocked() bool {
	return !s.closed && s.running < s.db.GetAllowedWithoutPermission() && !s.disk.frozen.Load()
}

// Register implements [pebble.CompactionScheduler].
func (s *compactionScheduler) Register(_ int, db pebble.DBForCompaction) { s.db = db }

// Unregister implements [pebble.CompactionScheduler].
func (s *compactionScheduler) Unregister() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for s.granting {
		s.granted.Wait()
	}
}

// TrySchedule implements [pebble.CompactionScheduler].
func (s *compactionScheduler) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mayRunLocked() {
		return false, nil
	}
	s.running++
	return true, s
}

// UpdateGetAllowedWithoutPermission implements [pebble.CompactionScheduler]. The limit
// does not change.
func (s *compactionScheduler) UpdateGetAllowedWithoutPermission() {}

// Done implements [pebble.CompactionGrantHandle]: a compaction has ended, and one that
// waits may begin.
func (s *compactionScheduler) Done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	for s.granting {
		s.granted.Wait()
	}
	if !s.mayRunLocked() {
		return
	}
	s.granting = true
	s.mu.Unlock() // the database locks before the scheduler
	waiting, _ := s.db.GetWaitingCompaction()
	accepted := waiting && s.db.Schedule(s)
	s.mu.Lock()
	if accepted {
		s.running++
	}
	s.granting = false
	s.granted.Broadcast()
}

// Started implements [pebble.CompactionGrantHandle].
func (s *compactionScheduler) Started() {}

// MeasureCPU implements [pebble.CompactionGrantHandle].
func (s *compactionScheduler) MeasureCPU(pebble.CompactionGoroutineKind) {}

// CumulativeStats implements [pebble.CompactionGrantHandle].
func (s *compactionScheduler) CumulativeStats(pebble.CompactionGrantHandleStats) {}
