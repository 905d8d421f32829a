package verify

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"payment-capture/internal/event"
	"payment-capture/internal/scratch"
)

// An offset that another tool committed may skip records that the service never
// saw. The records below such an offset are kept by position, so that those
// without a decision can be named as ranges.

// foreignTo returns why a committed offset was not written by this service; "": it
// was.
func foreignTo(metadata string, err error) string {
	switch {
	case metadata == "":
		return "it has no metadata"
	case err != nil:
		return "its metadata is not of this version of the service: " + err.Error()
	}
	return ""
}

// below writes that a record lies below an offset that this service did not write.
func (b batch) below(at position, id string, e *inputEntry) {
	b.Set(at.append([]byte{spaceBelow}), lostKey(id, e.Content, e.ParkedAt))
}

// lostKey is the key of a content of an event. parkedAt distinguishes the records
// that an operator resent; 0 is every record of the content.
func lostKey(id string, content event.Fingerprint, parkedAt int64) []byte {
	key := append([]byte{spaceLost}, id...)
	key = append(append(key, 0), content[:]...)
	return binary.BigEndian.AppendUint64(key, uint64(parkedAt)) //nolint:gosec // G115: only compared
}

// lost stores a content that is completed without a decision.
func (e *eventCheck) lost(c *content, parkedAt int64) {
	if e.snap.anyForeign() {
		e.anyLost = true
		e.batch.Set(lostKey(e.id, c.Content, parkedAt), nil)
	}
}

// passedOver adds to a detail that the records lie below an offset that this
// service did not write.
func (e *eventCheck) passedOver(where positions) string {
	for _, at := range where {
		if p := &e.snap.input.partitions[at.partition]; p.foreign != "" && e.snap.completed(at.partition, at.offset) {
			return fmt.Sprintf("; the committed offset %d of %s/%d skips it, and this service did not write that offset", p.offset,
				e.snap.input.name, at.partition)
		}
	}
	return ""
}

func (s *snapshot) anyForeign() bool {
	return slices.ContainsFunc(s.input.partitions, func(p partition) bool { return p.foreign != "" })
}

// maxRuns is how many ranges a finding names.
const maxRuns = 20

// skippedRuns are the ranges of a partition's records that have no decision. Only
// a record that has one separates two ranges.
type skippedRuns struct {
	partition int32
	records   int64
	runs      []string
	where     positions
	first     int64 // of the open range; only if open
	last      int64
	open      bool
	more      bool
}

func (r *skippedRuns) add(at position) {
	if !r.open {
		r.open, r.first = true, at.offset
	}
	r.last = at.offset
	r.records++
	r.where.add(at)
}

// end closes the open range.
func (r *skippedRuns) end() {
	if !r.open {
		return
	}
	r.open = false
	switch {
	case len(r.runs) == maxRuns:
		r.more = true
	case r.first == r.last:
		r.runs = append(r.runs, fmt.Sprint(r.first))
	default:
		r.runs = append(r.runs, fmt.Sprintf("%d-%d", r.first, r.last))
	}
}

// checkOffsets reports offsets and a ledger that prove nothing.
func (v *verifier) checkOffsets() error {
	b := v.newBatch()
	v.checkCoverage(b)
	if v.anyLost {
		if err := v.checkForeign(b); err != nil {
			return err
		}
	}
	return b.Commit()
}

// checkForeign reports the ranges below offsets that this service did not write.
func (v *verifier) checkForeign(b batch) error {
	r := &skippedRuns{partition: -1}
	err := v.each(spaceBelow, func(key []byte, value scratch.Value) error {
		content, err := decode[[]byte](value)
		if err != nil || len(key) != positionBytes || len(content) < 1+8 {
			return errors.Join(scratch.ErrCorrupt, err)
		}
		at := positionOf(key)
		if at.partition != r.partition {
			v.foundSkipped(b, r)
			r = &skippedRuns{partition: at.partition}
		}
		whole := append(slices.Clone(content[:len(content)-8]), make([]byte, 8)...)
		lost, err := v.store.Get(whole, nil)
		if err == nil && !lost {
			lost, err = v.store.Get(content, nil)
		}
		if err != nil {
			return err
		}
		if lost {
			r.add(at)
		} else {
			r.end()
		}
		return nil
	})
	v.foundSkipped(b, r)
	return err
}

func (v *verifier) foundSkipped(b batch, r *skippedRuns) {
	if r.end(); r.records == 0 {
		return
	}
	runs := strings.Join(r.runs, ", ")
	if r.more {
		runs += ", ..."
	}
	p := &v.snap.input.partitions[r.partition]
	b.finding(v.finding(ForeignOffset, Finding{
		Detail: fmt.Sprintf("partition %s/%d: this service did not write the committed offset %d (%s), "+
			"and %d records below it have no decision: offsets %s",
			v.snap.input.name, r.partition, p.offset, p.foreign, r.records, runs),
		Records: v.snap.names(r.where),
	}))
}

// checkCoverage reports that the group, or one partition, has no offsets, and that
// the ledger has no decisions, although there are events: then it is unknown which
// events must have a decision, or what the ledger knows.
func (v *verifier) checkCoverage(b batch) {
	events := v.sum.Events()
	if events == 0 {
		return
	}
	input := v.snap.input
	if v.snap.commits == 0 {
		b.finding(v.finding(GroupWithoutOffsets, Finding{
			Detail: fmt.Sprintf("%s, and the input has %d events: which of them must have a decision is not known, "+
				"and the %d without one count as under way; "+
				"compare KAFKA_GROUP with the service's, and offsets.retention.minutes with the time that it was stopped",
				v.snap.noCommits(v.conf.Group), events, v.sum.Pending()),
		}))
	}
	for n := range input.partitions {
		p := &input.partitions[n]
		if v.snap.commits > 0 && p.committed == nil && v.events[n].Load() > 0 && v.snap.taken.UnixMilli()-p.first > clockMargin {
			b.finding(v.finding(GroupWithoutOffsets, Finding{
				Detail: fmt.Sprintf("partition %s/%d: group %q has no committed offset of it, and it has %d events, for more than an hour: "+
					"those without a decision count as under way", input.name, n, v.conf.Group, v.events[n].Load()),
			}))
		}
	}
	if v.conf.Topics.Ledger != "" && v.sum.first == 0 {
		b.finding(v.finding(LedgerWithoutDecisions, Finding{
			Detail: fmt.Sprintf("the ledger %s has no decision, and the input has %d events: nothing can be compared with it; "+
				"compare TOPIC_LEDGER with the service's, or leave the ledger out with --no-ledger if there is none", v.conf.Topics.Ledger, events),
		}))
	}
}

// noCommits returns why no committed offset counts.
func (s *snapshot) noCommits(group string) string {
	if s.void > 0 {
		return fmt.Sprintf("the committed offsets of group %q are of an earlier topic of the name %s, which was deleted", group, s.input.name)
	}
	return fmt.Sprintf("group %q has no committed offsets of %s", group, s.input.name)
}
