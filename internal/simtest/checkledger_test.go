//go:build synctests

package simtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
	ledgerentry "payment-capture/internal/ledger/entry"
)

// ledgerEntry is a committed record of the ledger topic.
type ledgerEntry struct {
	kind     ledgerentry.Kind
	id       string
	owner    string // of an attempt
	at       position
	written  time.Time
	gone     bool            // a tombstone
	attempt  event.Attempt   // of an attempt
	decision *event.Decision // of a decision
}

// readLedger reads the ledger topic as an instance does. What the broker has deleted since the
// topic was read before is kept.
func (h *harness) readLedger(ctx context.Context) {
	starts := make(map[int32]int64)
	for _, p := range h.cluster.PartitionInfos(topicLedger) {
		starts[p.Partition] = p.LogStartOffset
	}
	h.entries = slices.DeleteFunc(h.entries, func(e ledgerEntry) bool { return e.at.offset >= starts[e.at.partition] })
	for _, r := range h.read(ctx, topicLedger) {
		e := ledgerEntry{at: position{r.Partition, r.Offset}, written: r.Timestamp, gone: r.Value == nil}
		var err error
		if e.kind, e.id, e.owner, err = ledgerentry.ParseKey(r.Key); err == nil && !e.gone {
			switch e.kind {
			case ledgerentry.KindAttempt:
				e.attempt, err = ledgerentry.DecodeAttempt(r.Value)
			case ledgerentry.KindDecision:
				e.decision, err = ledgerentry.DecodeDecision(e.id, r.Value)
			}
		}
		if err != nil {
			h.violate("ledger: decode offset %d of partition %d: %v", r.Offset, r.Partition, err)
			continue
		}
		h.entries = append(h.entries, e)
	}
}

func (e ledgerEntry) String() string {
	what := "attempt"
	switch {
	case e.kind == ledgerentry.KindDecision && e.gone:
		what = "no decision"
	case e.gone:
		what = "no attempt"
	case e.decision != nil && e.decision.Parked():
		what = "parked " + string(e.decision.ParkInfo.Reason)
	case e.decision != nil:
		what = strings.TrimSpace(e.decision.Outcome.Type + " " + e.decision.Outcome.Reason)
	}
	return fmt.Sprintf("%d@%d %s: %s", e.at.partition, e.at.offset, e.id, what)
}

// recordID returns the id under which a record of the event is decided.
func (e *plannedEvent) recordID(r *kgo.Record) string {
	if e.kind != invalidKind && !e.conflicts {
		return e.id
	}
	return event.RecordID(kafka.MessageOf(r))
}

// ledgerEnds returns the end offsets of the ledger's partitions.
func (h *harness) ledgerEnds() []int64 {
	var ends []int64
	for _, p := range h.cluster.PartitionInfos(topicLedger) {
		ends = append(ends, p.HighWatermark)
	}
	return ends
}

// checkAttempts checks that before each call the ledger had an open attempt on the
// event, or a decision.
func (h *harness) checkAttempts() {
	byID := h.entriesByID()
	for _, c := range h.trace.posts() {
		if !attemptKnown(byID[c.key], c.ends) {
			h.violate("ledger: %[2]s called for event %[1]s at %[3]s without an attempt in the ledger", c.key, c.p.name, c.at.Sub(h.began))
		}
	}
}

func (h *harness) entriesByID() map[string][]ledgerEntry {
	byID := make(map[string][]ledgerEntry)
	for _, e := range h.entries {
		byID[e.id] = append(byID[e.id], e)
	}
	return byID
}

// attemptKnown reports whether the ledger knew of an event when it had these ends.
func attemptKnown(entries []ledgerEntry, ends []int64) bool {
	var before []ledgerEntry
	for _, e := range entries {
		if int(e.at.partition) >= len(ends) || e.at.offset >= ends[e.at.partition] {
			continue
		}
		if e.kind == ledgerentry.KindDecision {
			return true
		}
		before = append(before, e)
	}
	return len(openAttempts(before)) > 0
}

// openAttempts returns the attempts that were neither withdrawn by their owner nor
// followed by a decision in their partition.
func openAttempts(entries []ledgerEntry) (open []ledgerEntry) {
	for _, e := range entries { // in order within a partition
		open = slices.DeleteFunc(open, func(a ledgerEntry) bool {
			if e.kind == ledgerentry.KindDecision {
				return !e.gone && a.at.partition == e.at.partition
			}
			return a.owner == e.owner
		})
		if e.kind == ledgerentry.KindAttempt && !e.gone {
			open = append(open, e)
		}
	}
	return open
}

// checkNoRepeatedCalls checks that the second phase makes no call for an event that
// the first phase decided, although the API has forgotten its key, unless an operator
// resent it; and none for an event that the ledger may have forgotten.
func (h *harness) checkNoRepeatedCalls() {
	if h.secondBegan.IsZero() {
		return
	}
	events := h.events()
	for _, c := range h.trace.posts() {
		known := h.decided[c.key] && h.resent[c.key] == 0
		if (known || h.forgotten(events[c.key])) && c.at.After(h.secondBegan) {
			h.violate("ledger: event %s was decided or is too old, and %s called for it again at %s", c.key, c.p.name, c.at.Sub(h.began))
		}
	}
}

// checkLedger checks that at the end the ledger and the published decisions agree for
// each event, and that no attempt is open.
func (h *harness) checkLedger() {
	byID := h.entriesByID()
	words := make(map[string][]decision)
	at := make(map[position]*sentRecord)
	for _, s := range h.sent {
		at[position{s.partition, s.offset}] = s
	}
	for _, v := range h.decisions {
		id := v.event
		if s := at[v.from]; v.kind == topicParked && s != nil {
			id = s.id
		}
		words[id] = append(words[id], v)
	}
	for id, got := range words {
		if !slices.ContainsFunc(byID[id], func(e ledgerEntry) bool { return e.decision != nil }) {
			h.violate("ledger: event %s has the decision %s, which the ledger does not have", id, got[0])
		}
	}
	events := h.events()
	for id, entries := range byID {
		for _, e := range entries {
			if e.decision != nil && !slices.ContainsFunc(words[id], e.agreesWith) {
				h.violate("ledger: the decision on event %s at %d@%d differs from the published ones: %v", id, e.at.partition, e.at.offset, words[id])
			}
		}
		for _, e := range openAttempts(entries) {
			// One that arrives late, after a decision, has no meaning, and its owner may be gone.
			if h.forgotten(events[id]) || slices.ContainsFunc(entries, func(d ledgerEntry) bool { return e.follows(d) }) {
				continue
			}
			h.violate("ledger: the attempt on event %s at %d@%d stays open", id, e.at.partition, e.at.offset)
		}
	}
}

// follows reports whether the attempt lies behind a decision in its partition and says
// nothing that the decision does not. A parked event may be called for again, but not by
// an attempt that was written before, or that repeats an attempt which the decision knows:
// an instance writes it once more before it searches for the payment, and another one may
// have decided meanwhile.
func (e ledgerEntry) follows(d ledgerEntry) bool {
	return d.decision != nil && d.at.partition == e.at.partition && d.at.offset < e.at.offset &&
		(!d.decision.Parked() || e.written.Before(d.written) || !e.attempt.First.After(d.decision.Attempt.First))
}

// agreesWith reports whether the entry has a published decision.
func (e ledgerEntry) agreesWith(v decision) bool {
	d := e.decision
	if d.Parked() {
		return v.kind == topicParked && v.reason == string(d.ParkInfo.Reason)
	}
	return v.kind == map[string]string{event.TypeCaptured: topicCaptured, event.TypeRejected: topicRejected}[d.Outcome.Type] &&
		v.paymentID == d.Outcome.PaymentID && v.reason == d.Outcome.Reason
}
