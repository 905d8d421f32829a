package ledger

import (
	"context"
	"maps"
	"sync"

	"payment-capture/internal/ledger/store"
)

// watermarks are the offsets below which everything in each partition is in the store,
// and the end of the partition. An open transaction keeps the offset back.
type watermarks struct {
	mu      sync.Mutex
	read    map[int32]int64
	ends    map[int32]int64
	first   int64 // how many records there were to read when the store was opened
	records int64 // read since the start
	changed chan struct{}
}

func newWatermarks() *watermarks {
	return &watermarks{read: make(map[int32]int64), ends: make(map[int32]int64), changed: make(chan struct{})}
}

// reset records that reading begins at these positions.
func (m *watermarks) reset(read map[int32]store.Position) {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.read)
	for partition, p := range read {
		m.read[partition] = p.From
	}
	m.first = 0
	m.wake()
}

// advance records that the store holds everything below these positions.
func (m *watermarks) advance(read map[int32]store.Position, records int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for partition, p := range read {
		m.read[partition] = max(m.read[partition], p.From)
	}
	m.records += int64(records)
	m.wake()
}

// saw records the ends of partitions.
func (m *watermarks) saw(ends map[int32]int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for partition, end := range ends {
		m.ends[partition] = max(m.ends[partition], end)
	}
	m.first = max(m.first, m.behind())
}

func (m *watermarks) wake() {
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *watermarks) behind() (n int64) {
	for partition, end := range m.ends {
		n += max(0, end-m.read[partition])
	}
	return n
}

// progress is how far reading has come.
type progress struct {
	records int64   // read since the start
	behind  int64   // not read yet
	part    float64 // of what there was to read at the beginning, from 0 to 1
}

func (m *watermarks) progress() progress {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := progress{records: m.records, behind: m.behind(), part: 1}
	if m.first > 0 {
		p.part = 1 - float64(p.behind)/float64(m.first)
	}
	return p
}

// short returns the positions of the partitions that are not read up to their
// targets, and a channel that is closed when that changes.
func (m *watermarks) short(targets map[int32]int64) (map[int32]int64, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	short := make(map[int32]int64)
	for partition, target := range targets {
		if at := m.read[partition]; at < target {
			short[partition] = at
		}
	}
	return short, m.changed
}

// wait returns when everything up to the targets is read, or ctx ends.
func (m *watermarks) wait(ctx context.Context, targets map[int32]int64) error {
	for {
		short, changed := m.short(targets)
		if len(short) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// at returns how far each partition was read.
func (m *watermarks) at() map[int32]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.read)
}
