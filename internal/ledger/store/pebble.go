package store

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
)

// How much memory the store takes: the cache, and up to three tables that are
// being filled or written while the topic is read, one when it has been.
const (
	cacheBytes    = 16 << 20
	memTableBytes = 2 << 20
	memTables     = 3
)

// options returns the configuration of Pebble.
func (s *Store) options() *pebble.Options {
	log := logger{log: s.conf.Log, fail: s.fail}
	o := &pebble.Options{
		FS: s.disk, Lock: s.lock, Comparer: newComparer(), Merger: newMerger(), FormatMajorVersion: pebble.FormatNewest,
		// Records that a crash loses are read again. Tables are written whole and in
		// order, each with the positions that belong to it, so what is on the
		// disk is the store as it was at some moment.
		DisableWAL: true,
		CacheSize:  cacheBytes, MemTableSize: memTableBytes, MemTableStopWritesThreshold: memTables,
		MaxOpenFiles: 1000,
		// A topic is read faster than levels are merged: then they wait.
		L0CompactionThreshold: 8, L0StopWritesThreshold: 1000,
		LBaseMaxBytes:              64 << 20,
		CompactionConcurrencyRange: func() (lower, upper int) { return 1, 1 },
		Logger:                     log,
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) {
				// A table that was dropped is missed. Other writes do not fail, so what
				// failed is reading.
				if !s.disk.frozen.Load() && !errors.Is(err, errTable) {
					s.conf.Damaged(s.damage(err))
				}
			},
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				if !s.disk.frozen.Load() {
					s.conf.Damaged(s.damage(fmt.Errorf("%s: %w", info.Path, info.Details)))
				}
			},
		},
	}
	o.Experimental.CompactionScheduler = newCompactionScheduler(s.disk)
	if s.conf.MemTable > 0 {
		o.MemTableSize = s.conf.MemTable
	}
	for i := range o.Levels {
		// Zstandard saves another 7 % of the disk, and doubles the CPU time of a lookup.
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.MinLZCompression }
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	// The filters of the lowest level would not fit into the cache, and Pebble does not ask
	// them.
	o.Levels[len(o.Levels)-1].FilterPolicy = pebble.NoFilterPolicy
	for i := range o.TargetFileSizes {
		o.TargetFileSizes[i] = 16 << 20
	}
	return o
}

// logger receives Pebble's log.
type logger struct {
	log  *slog.Logger
	fail func(error) // marks the store as unusable
}

// Infof implements [pebble.Logger]. Every file that is written is news to it.
func (logger) Infof(string, ...any) {}

// Errorf implements [pebble.Logger].
func (l logger) Errorf(format string, args ...any) {
	l.log.Warn("local store of the ledger reports a fault", slog.String("fault", fmt.Sprintf(format, args...)))
}

// Fatalf implements [pebble.Logger]. Pebble expects it to end the process.
// Instead the store answers nothing any more, and is read again from the topic.
func (l logger) Fatalf(format string, args ...any) {
	l.fail(fmt.Errorf("local store of the ledger cannot go on: %s", fmt.Sprintf(format, args...)))
}
