package pipeline

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/offsetmeta"
)

// maxScoutPause is the longest wait after a read of the scout that failed.
const maxScoutPause = 30 * time.Second

// scout reads ahead in partitions whose records are held and whose polling is paused
// because enough is buffered. It keeps no record: it counts them, and looks for a good
// one, which ends the hold however far behind it is. It has a client of its own, and
// only while there is something to read.
type scout struct {
	p *Pipeline

	mu      sync.Mutex
	targets map[int32]*scoutTarget // guarded by mu; replaced, never changed
	changed chan struct{}          // guarded by mu; closed when targets is replaced
}

// scoutTarget is what the scout reads of a partition.
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

// run reads until ctx ends. After an error it starts again where it was.
func (s *scout) run(ctx context.Context) {
	var pause time.Duration
	for ctx.Err() == nil {
		targets, changed := s.watched()
		if len(targets) == 0 {
			pause = 0
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
			pause = 0
		}
		pause = min(max(2*pause, firstPollPause), maxScoutPause)
		s.p.conf.Log.WarnContext(ctx, "reading ahead of held records failed", slog.String("topic", s.p.conf.Topics.Input),
			slog.Any("error", err), slog.Float64("retry_seconds", pause.Seconds()))
		select {
		case <-ctx.Done():
		case <-time.After(pause):
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
		// What is fetched and not read yet is all that it holds.
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
		for _, part := range s.p.read(fetches) {
			if t := targets[part.number]; t != nil && len(part.records) > 0 {
				progress = true
				if !s.p.send(t.scouted(part.records)) {
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

// scouted is what the scout has read of a partition.
type scouted struct {
	target  *scoutTarget
	records int    // that are not skipped
	good    int64  // offset of the first good record; -1: none
	last    int64  // offset of the last suspicious record; -1: none
	reason  string // why it would be parked
}

// scouted counts records up to the first good one.
func (t *scoutTarget) scouted(records []polledRecord) scouted {
	m := scouted{target: t, good: -1, last: -1}
	for i := range records {
		r := &records[i]
		t.next = r.record.Offset + 1
		if r.good {
			m.good = r.record.Offset
			break
		}
		if !r.skip {
			m.records++
		}
		if r.unfit != nil {
			m.last, m.reason = r.record.Offset, r.suspicion()
		}
	}
	return m
}

func (m scouted) apply(o *owner) {
	pt := m.target.part
	if o.parts[pt.number] != pt || pt.holding == nil || pt.holding.target != m.target {
		return // the hold has ended, or polling goes on by itself
	}
	h := pt.holding
	h.ahead += m.records
	if m.last >= 0 {
		h.saw(m.last, m.reason)
	}
	if m.good >= 0 {
		// What lies before it belongs to the run that it ended.
		pt.goodAt = m.good
		o.endHold(pt, holdEndedByGood, m.good)
		pt.run = offsetmeta.Run{CountedTo: pt.run.CountedTo}
		return
	}
	o.countHolds()
}

// directScout makes the scout read where polling is paused during a hold.
func (o *owner) directScout() {
	targets := make(map[int32]*scoutTarget)
	for n, pt := range o.parts {
		h := pt.holding
		switch {
		case h == nil:
		case !pt.paused || pt.draining || pt.halted != "":
			h.stopScouting()
		default:
			if h.target == nil {
				h.target = &scoutTarget{part: pt, next: pt.polled}
			}
			targets[n] = h.target
		}
	}
	if !maps.Equal(targets, o.scouting) {
		o.scouting = targets
		o.p.scout.watch(targets)
	}
}
