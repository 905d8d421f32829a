package pipeline

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"payment-capture/internal/event"
)

const (
	// maxSkippedKinds bounds the kinds of skipped records that are counted one by
	// one. The rarest half goes when there are more.
	maxSkippedKinds = 1000
	// After maxKindWarnings log lines about the first record of a kind, there is at most
	// one in each kindWarningInterval.
	maxKindWarnings     = 100
	kindWarningInterval = time.Minute
	// shownSkippedKinds is how many kinds a status shows.
	shownSkippedKinds = 10
	// skippedNameLimit bounds what is kept and shown of a type or account.
	skippedNameLimit = 64
	// recentRecords is how many of the last records "recent" means.
	recentRecords = 1000
	// minRecent is how many records have to be seen before their shares mean anything.
	minRecent = 20
	// mostlySkippedInterval is the time between two warnings that most records are
	// skipped.
	mostlySkippedInterval = 5 * time.Minute
)

// skippedRecords makes skipped records visible: it counts them by kind, logs the first
// record of each kind with its position, and warns while most records are skipped and
// none is ours. Transaction markers are no records here.
type skippedRecords struct {
	log     *slog.Logger
	metrics *Metrics

	mu       sync.Mutex
	kinds    map[skippedKind]*SkippedKind // guarded by mu
	records  int64                        // guarded by mu; of all kinds
	warnings *rate.Limiter                // about the first records of kinds
	silenced bool                         // guarded by mu; some kind was not logged
	// recent is a ring of the kinds of the last records; all fields guarded by mu.
	recent  [recentRecords]recordKind
	next    int
	seen    int // records in the ring
	skipped int // of them
	ours    int // of them
	warnAt  time.Time
}

type recordKind uint8

const (
	kindInvalid recordKind = iota // an invalid event
	kindOurs                      // a valid event for this account
	kindSkipped                   // not meant for this service
)

// skippedKind identifies a kind: why records are skipped, and their type or account.
type skippedKind struct {
	reason event.SkipReason
	name   string
}

// SkippedKind is one kind of skipped records.
type SkippedKind struct {
	Reason    event.SkipReason `json:"reason"`
	Type      string           `json:"type,omitempty"`    // printable beginning, if skipped for its type
	Account   string           `json:"account,omitempty"` // likewise, if skipped for its account
	Records   int64            `json:"records"`           // since the first one
	Partition int32            `json:"first_partition"`   // position of the first one
	Offset    int64            `json:"first_offset"`      //
	Last      time.Time        `json:"last"`              // when the last one was read
}

// Skipped summarizes the records skipped since the start.
type Skipped struct {
	Records int64         `json:"records"`
	Kinds   []SkippedKind `json:"kinds"`  // the most frequent ones, most first
	Others  int64         `json:"others"` // records of kinds that are not listed
}

func newSkippedRecords(log *slog.Logger, metrics *Metrics) *skippedRecords {
	return &skippedRecords{
		log: log, metrics: metrics, kinds: make(map[skippedKind]*SkippedKind),
		warnings: rate.NewLimiter(rate.Every(kindWarningInterval), maxKindWarnings),
	}
}

// note counts the records of one poll.
func (s *skippedRecords) note(ctx context.Context, batch []polledPartition, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	arrived := false
	for _, part := range batch {
		for i := range part.records {
			r := &part.records[i]
			switch {
			case r.skip && r.skipped == nil:
				continue // a marker
			case r.skip:
				s.countLocked(ctx, r, now)
				s.rememberLocked(kindSkipped)
			case r.event != nil:
				s.rememberLocked(kindOurs)
			default:
				s.rememberLocked(kindInvalid)
			}
			arrived = true
		}
	}
	if arrived {
		s.warnLocked(ctx, now)
	}
}

// countLocked counts a skipped record, and logs it if its kind is not known.
func (s *skippedRecords) countLocked(ctx context.Context, r *polledRecord, now time.Time) {
	s.metrics.skipped(r.skipped.Reason)
	s.records++
	key := skippedKind{r.skipped.Reason, event.Printable(r.skipped.Type, skippedNameLimit)}
	if kind := s.kinds[key]; kind != nil {
		kind.Records++
		kind.Last = now.UTC()
		return
	}
	if len(s.kinds) >= maxSkippedKinds {
		for _, rare := range s.frequentLocked()[maxSkippedKinds/2:] {
			delete(s.kinds, skippedKind{rare.Reason, rare.Type + rare.Account})
		}
	}
	kind := &SkippedKind{Reason: key.reason, Records: 1, Partition: r.record.Partition, Offset: r.record.Offset, Last: now.UTC()}
	label := "type"
	if key.reason == event.SkipOtherAccount {
		kind.Account, label = key.name, "account"
	} else {
		kind.Type = key.name
	}
	s.kinds[key] = kind
	if !s.warnings.AllowN(now, 1) {
		if !s.silenced {
			s.silenced = true
			s.log.LogAttrs(ctx, slog.LevelWarn, "too many kinds of skipped records; few more are logged", positionAttrs(r.record))
		}
		return
	}
	s.log.LogAttrs(ctx, slog.LevelWarn, "first skipped record of this kind", slog.String("reason", string(key.reason)),
		slog.String(label, key.name), positionAttrs(r.record))
}

// rememberLocked puts a record into the ring in place of the oldest one.
func (s *skippedRecords) rememberLocked(kind recordKind) {
	add := func(kind recordKind, n int) {
		switch kind {
		case kindSkipped:
			s.skipped += n
		case kindOurs:
			s.ours += n
		case kindInvalid:
		}
	}
	if s.seen == recentRecords {
		add(s.recent[s.next], -1)
	} else {
		s.seen++
	}
	s.recent[s.next] = kind
	add(kind, 1)
	s.next = (s.next + 1) % recentRecords
}

// warnLocked warns if more than half of the recent records were skipped and none
// was ours, at most once per mostlySkippedInterval.
func (s *skippedRecords) warnLocked(ctx context.Context, now time.Time) {
	if s.seen < minRecent || s.ours > 0 || 2*s.skipped <= s.seen || now.Before(s.warnAt) {
		return
	}
	s.warnAt = now.Add(mostlySkippedInterval)
	top := s.frequentLocked()[0]
	s.log.LogAttrs(ctx, slog.LevelWarn, "most records are skipped and none is ours",
		slog.Int("recent_records", s.seen), slog.Int("skipped", s.skipped), slog.String("most_frequent_reason", string(top.Reason)),
		slog.String("most_frequent_name", top.Type+top.Account), slog.Int64("most_frequent_records", top.Records))
}

// frequentLocked returns all kinds, the most frequent first.
func (s *skippedRecords) frequentLocked() []SkippedKind {
	all := make([]SkippedKind, 0, len(s.kinds))
	for _, kind := range s.kinds {
		all = append(all, *kind)
	}
	slices.SortFunc(all, func(a, b SkippedKind) int {
		return cmp.Or(cmp.Compare(b.Records, a.Records), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Type+a.Account, b.Type+b.Account))
	})
	return all
}

// summary returns the skipped records, or nil if there are none.
func (s *skippedRecords) summary() *Skipped {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kinds) == 0 {
		return nil
	}
	all := s.frequentLocked()
	sum := &Skipped{Kinds: all[:min(len(all), shownSkippedKinds)], Others: s.records, Records: s.records}
	for _, kind := range sum.Kinds {
		sum.Others -= kind.Records
	}
	return sum
}
