package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/kafka"
	"payment-capture/internal/offsetmeta"
)

// role is what a topic is read for; one topic may have several.
type role uint8

const (
	roleInput role = 1 << iota
	roleCaptured
	roleRejected
	roleParked
	roleLedger

	roleOutcome = roleCaptured | roleRejected
	roleResult  = roleOutcome | roleParked
)

// topic is a topic as it was at the start of the run.
type topic struct {
	name       string
	number     uint8
	id         [16]byte
	roles      role
	maxBytes   int32 // the largest record that it accepts
	compacted  bool
	partitions []partition // by number
}

func (t *topic) has(r role) bool { return t.roles&r != 0 }

// partition is what is read of a partition: [start, end).
type partition struct {
	start, end int64
	// sure is the last stable offset before the ends of the topics were
	// listed: what lies below it was committed then, with all that belongs to it.
	sure int64
	// committed is what is completed of the input; nil: nothing is.
	committed *offsetmeta.Committed
	offset    int64  // the committed offset, if there is one
	foreign   string // why it is not one of this service; "": it is, or there is none
	// first is the time of the first record that is there, Unix milliseconds.
	first int64
}

// snapshot is the state of the topics and offsets at the start of a run.
type snapshot struct {
	taken   time.Time
	topics  []*topic
	byName  map[string]*topic
	input   *topic
	commits int // partitions of the input with a committed offset
	void    int // partitions of the input whose committed offset is of an earlier topic
	notes   []string
}

// newSnapshot lists the committed offsets and the last stable offsets first, then
// the ends. An outcome, a decision and the offsets of one flush
// are one transaction: if one of them counts by the first lists, all of
// them are below the ends, and so is the event.
func newSnapshot(ctx context.Context, client *kgo.Client, conf Config) (*snapshot, error) {
	admin := kadm.NewClient(client)
	s := &snapshot{taken: time.Now(), byName: make(map[string]*topic)}
	if err := s.addTopics(ctx, admin, conf.Topics); err != nil {
		return nil, err
	}
	if err := s.addCommits(ctx, admin, conf.Group); err != nil {
		return nil, err
	}
	for _, list := range []struct {
		what string
		list func(context.Context, ...string) (kadm.ListedOffsets, error)
		into func(*partition) *int64
	}{
		{"last stable offsets", admin.ListCommittedOffsets, func(p *partition) *int64 { return &p.sure }},
		{"ends", admin.ListEndOffsets, func(p *partition) *int64 { return &p.end }},
		{"beginnings", admin.ListStartOffsets, func(p *partition) *int64 { return &p.start }},
	} {
		listed, err := list.list(ctx, s.topicNames()...)
		if err == nil {
			err = errors.Join(listed.Error(), s.setOffsets(listed, list.into))
		}
		if err != nil {
			return nil, fmt.Errorf("list the %s of the topics: %w", list.what, err)
		}
	}
	return s, nil
}

// setOffsets stores listed offsets.
func (s *snapshot) setOffsets(listed kadm.ListedOffsets, into func(*partition) *int64) error {
	for _, t := range s.topics {
		if len(listed[t.name]) > len(t.partitions) {
			return fmt.Errorf("partitions were added to %s just now; run verify again", t.name)
		}
		for n := range t.partitions {
			l, ok := listed.Lookup(t.name, int32(n))
			if !ok {
				return fmt.Errorf("%s/%d is not listed", t.name, n)
			}
			*into(&t.partitions[n]) = l.Offset
		}
	}
	return nil
}

func (s *snapshot) topicNames() []string {
	var names []string
	for _, t := range s.topics {
		names = append(names, t.name)
	}
	return names
}

func (s *snapshot) addTopics(ctx context.Context, admin *kadm.Client, topics Topics) error {
	for _, t := range []struct {
		name string
		role role
	}{
		{topics.Input, roleInput},
		{topics.Captured, roleCaptured},
		{topics.Rejected, roleRejected},
		{topics.Parked, roleParked},
		{topics.Ledger, roleLedger},
	} {
		if t.name == "" {
			continue
		}
		i := slices.IndexFunc(s.topics, func(have *topic) bool { return have.name == t.name })
		if i < 0 {
			i = len(s.topics)
			s.topics = append(s.topics, &topic{name: t.name, number: uint8(i)}) //nolint:gosec // G115: at most five
		}
		s.topics[i].roles |= t.role
	}
	info, err := kafka.Inspect(ctx, admin, s.topicNames()...)
	if err != nil {
		if topics.Ledger != "" {
			err = fmt.Errorf("%w (--no-ledger leaves the ledger out, if there is none)", err)
		}
		return err
	}
	for _, t := range s.topics {
		found := info[t.name]
		t.id, t.maxBytes = found.ID, found.MaxMessageBytes
		t.compacted = strings.Contains(found.Config["cleanup.policy"], "compact")
		t.partitions = make([]partition, found.Partitions)
		s.byName[t.name] = t
	}
	s.input = s.topics[0]
	return nil
}

func (s *snapshot) addCommits(ctx context.Context, admin *kadm.Client, group string) error {
	responses, err := admin.FetchOffsets(ctx, group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return fmt.Errorf("read the committed offsets of group %q: %w", group, err)
	}
	for n := range s.input.partitions {
		r, ok := responses.Lookup(s.input.name, int32(n))
		if !ok || r.At < 0 {
			continue
		}
		if r.Err != nil {
			return fmt.Errorf("read the committed offset of %s/%d: %w", s.input.name, n, r.Err)
		}
		c, err := offsetmeta.ParseCommitted(r.At, r.Metadata)
		if r.At > 0 && !c.Completed(s.input.id, r.At-1) {
			s.void++
			continue
		}
		if err != nil {
			s.notes = append(s.notes, fmt.Sprintf("the metadata of the committed offset of %s/%d cannot be read (%v): "+
				"records above offset %d count as under way", s.input.name, n, err, r.At))
		}
		p := &s.input.partitions[n]
		p.committed, p.offset, p.foreign = &c, r.At, foreignTo(r.Metadata, err)
		s.commits++
	}
	return nil
}

// completed reports whether a record of the input is completed.
func (s *snapshot) completed(n int32, offset int64) bool {
	c := s.input.partitions[n].committed
	return c != nil && c.Completed(s.input.id, offset)
}

// cut returns from when on the topics of a role have all that was ever in them, as
// far as the times of their records show. A compacted topic may lack anything.
// whole is true if nothing was deleted at all.
func (s *snapshot) cut(r role) (whole bool, from int64) {
	whole = true
	for _, t := range s.topics {
		if !t.has(r) {
			continue
		}
		if t.compacted && !t.has(roleLedger) {
			return false, never
		}
		for _, p := range t.partitions {
			switch {
			case p.start == 0:
			case p.first == 0: // nothing is left in it
				whole, from = false, max(from, s.taken.UnixMilli())
			default:
				whole, from = false, max(from, p.first)
			}
		}
	}
	return whole, from
}

const (
	never = 1 << 62
	// clockMargin is granted to clocks that differ, and to transactions that
	// took their time, wherever the times of records decide.
	clockMargin = int64(time.Hour / time.Millisecond)
)

// ranges returns the offsets to read.
func (s *snapshot) ranges() []kafka.Range {
	var all []kafka.Range
	for _, t := range s.topics {
		for n, p := range t.partitions {
			all = append(all, kafka.Range{Topic: t.name, Partition: int32(n), From: p.start, To: p.end})
		}
	}
	return all
}

// records returns how many offsets there are to read.
func (s *snapshot) records() int64 {
	var n int64
	for _, r := range s.ranges() {
		n += max(0, r.To-r.From)
	}
	return n
}

// certainty is what can be concluded if something is not in a topic.
type certainty uint8

const (
	unknown  certainty = iota // it may have been deleted
	probable                  // it is hardly old enough to have been deleted
	certain                   // it was never there
)

// kept is since when topics have what was written to them.
type kept struct {
	whole bool  // nothing was deleted from them
	from  int64 // else: since when on nothing was
	first int64 // the earliest record that is there; never: there is none
}

func (s *snapshot) kept(r role) kept {
	h := kept{first: never}
	h.whole, h.from = s.cut(r)
	for _, t := range s.topics {
		for _, p := range t.partitions {
			if t.has(r) && p.first > 0 {
				h.first = min(h.first, p.first)
			}
		}
	}
	return h
}

// since reports whether what was written at a time or later is still there.
func (h kept) since(at int64) bool { return h.whole || at >= h.from+clockMargin }

// sureOf returns what can be concluded if the input does not have an event for
// which something was written at a time. The event came before that; how long
// before is not known. A recreated topic has lost nothing, and has nothing of what
// was before.
func (h kept) sureOf(at int64) certainty {
	switch {
	case h.whole && at >= h.first:
		return certain
	case !h.whole && at >= h.from+clockMargin:
		return probable
	}
	return unknown
}
