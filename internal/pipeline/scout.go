package pipeline

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// maxScoutPause is the longest wait after a failed read of the scout.
const maxScoutPause = 30 * time.Second

// scout reads ahead in partitions with a hold of invalid events whose polling is paused
// because enough is buffered. It keeps no record: it counts them until it finds a good
// one, which ends the hold however far ahead it is. It has a client of its own, and only
// while there is something to read.
type scout struct {
	p *Pipeline

	mu      sync.Mutex
	targets map[int32]*scoutTarget // guarded by mu; replaced, never changed
	changed chan struct{}          // guarded by mu; closed when targets is replaced
}

// scoutTarget is where the scout reads a partition.
type scoutTarget struct {
	part *partition
	next int64 // the offset to read next; used by the scout's goroutine alone
}

func newScout(p *Pipeline) *scout { return &scout{p: p, changed: make(chan struct{})} }

// watch replaces the targets.
func (s *scout) watch(targets map[int32]*scoutTarget) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.targets = targets
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *scout) watched() (map[int32]*scoutTarget, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.targets, s.changed
}

// run reads until ctx ends. After an error it continues where it was.
func (s *scout) run(ctx context.Context) {
	var wait time.Duration
	for ctx.Err() == nil {
		targets, changed := s.watched()
		if len(targets) == 0 {
			wait = 0
			select {
			case <-ctx.Done():
			case <-changed:
			}
			continue
		}
		progress, err := s.follow(ctx, targets, changed)
		if err == nil {
			continue
		}
		if progress {
			wait = 0
		}
		wait = min(max(2*wait, firstPollPause), maxScoutPause)
		s.p.conf.Log.WarnContext(ctx, "reading ahead of held records failed", slog.String("topic", s.p.conf.Topics.Input),
			slog.Any("error", err), slog.Float64("retry_seconds", wait.Seconds()))
		if pause(ctx, wait) != nil {
			return
		}
	}
}

// follow reads the targets until they are replaced or reading fails, and reports
// whether it read anything.
func (s *scout) follow(ctx context.Context, targets map[int32]*scoutTarget, changed <-chan struct{}) (progress bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}()
	from := make(map[int32]kgo.Offset, len(targets))
	for n, t := range targets {
		from[n] = kgo.NewOffset().At(t.next)
	}
	client, err := s.p.conf.Kafka.NewClient(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{s.p.conf.Topics.Input: from}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		// Bounds the memory of fetched records.
		kgo.MaxConcurrentFetches(1),
		kgo.FetchMaxBytes(2<<20),
		kgo.FetchMaxPartitionBytes(512<<10),
		kgo.MaxDecompressBatchBytes(maxBatchBytes),
	)
	if err != nil {
		return false, err
	}
	defer client.Close()
	for {
		fetches := client.PollRecords(ctx, pollLimit)
		if ctx.Err() != nil {
			return progress, nil
		}
		for _, part := range s.p.decode(ctx, fetches) {
			if t := targets[part.number]; t != nil && len(part.records) > 0 {
				progress = true
				found := t.count(part.records)
				if !s.p.send(func(o *owner) { o.scouted(t, found) }) {
					return progress, nil
				}
			}
			err = cmp.Or(err, part.err)
		}
		if err != nil {
			return progress, err
		}
	}
}

// scoutedRecords is what the scout read of a partition.
type scoutedRecords struct {
	count  int    // of records that are not skipped
	good   int64  // offset of the first good record; -1: none
	last   int64  // offset of the last suspicious record; -1: none
	reason string // why it would be parked
}

// count counts records up to the first good one.
func (t *scoutTarget) count(records []polledRecord) scoutedRecords {
	m := scoutedRecords{good: -1, last: -1}
	for i := range records {
		r := &records[i]
		t.next = r.record.Offset + 1
		if r.good {
			m.good = r.record.Offset
			break
		}
		if !r.skip {
			m.count++
		}
		if r.suspicious != nil {
			m.last, m.reason = r.record.Offset, r.suspicion()
		}
	}
	return m
}

// scouted handles what the scout read of a partition.
func (o *owner) scouted(target *scoutTarget, found scoutedRecords) {
	pt := target.part
	h := pt.invalid.hold
	if !o.owns(pt) || h == nil || h.target != target {
		return // the hold has ended, or polling goes on
	}
	h.ahead += found.count
	if found.last >= 0 {
		h.noteLast(found.last, found.reason)
	}
	if found.good >= 0 {
		// Records before the good one belong to the run that it ended.
		pt.invalid.goodAt = found.good
		o.endHold(pt, holdEndedByGood, found.good)
		pt.invalid.restart()
		return
	}
	o.countHolds()
}

// directScout has the scout read the partitions whose polling is paused during a hold.
func (o *owner) directScout() {
	targets := make(map[int32]*scoutTarget)
	for n, pt := range o.parts {
		h := pt.invalid.hold
		switch {
		case h == nil:
		case !pt.paused || pt.draining || pt.halt.halted():
			h.stopScouting()
		default:
			if h.target == nil {
				h.target = &scoutTarget{part: pt, next: pt.polledTo}
			}
			targets[n] = h.target
		}
	}
	if !maps.Equal(targets, o.scouting) {
		o.scouting = targets
		o.p.scout.watch(targets)
	}
}
