//go:build synctests

package prove

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/ledger"
)

// ledgerEntry is a committed record of the ledger's topic.
type ledgerEntry struct {
	kind     ledger.Kind
	id       string
	at       position
	written  time.Time
	gone     bool            // a tombstone
	decision *event.Decision // of a decision
}

// readLedger reads the ledger's topic as an instance does.
func (h *history) readLedger(ctx context.Context) {
	h.entries = nil
	for _, r := range h.read(ctx, topicLedger) {
		e := ledgerEntry{at: position{r.Partition, r.Offset}, written: r.Timestamp, gone: r.Value == nil}
		var err error
		if e.kind, e.id, err = ledger.ParseKey(r.Key); err == nil && !e.gone {
			switch e.kind {
			case ledger.KindAttempt:
				_, err = ledger.DecodeAttempt(r.Value)
			case ledger.KindDecision:
				e.decision, err = ledger.DecodeDecision(e.id, r.Value)
			}
		}
		if err != nil {
			h.violate("ledger: offset %d of partition %d: %v", r.Offset, r.Partition, err)
			continue
		}
		h.entries = append(h.entries, e)
	}
}

func (e ledgerEntry) String() string {
	what := "attempt"
	switch {
	case e.kind == ledger.KindDecision && e.gone:
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

// recordID gives the id under which a record of the event is decided.
func (e *planned) recordID(r *kgo.Record) string {
	if e.kind != invalidKind && !e.conflicts {
		return e.id
	}
	m := event.Message{Key: r.Key, Value: r.Value, Timestamp: r.Timestamp}
	for _, header := range r.Headers {
		m.Headers = append(m.Headers, event.Header{Key: header.Key, Value: header.Value})
	}
	return event.RecordID(m)
}

// ledgerEnds gives how far the ledger's partitions go.
func (h *history) ledgerEnds() []int64 {
	var ends []int64
	for _, p := range h.cluster.PartitionInfos(topicLedger) {
		ends = append(ends, p.HighWatermark)
	}
	return ends
}

// checkNoted: whatever was asked for was noted in the ledger before, and the
// note was not taken back, or the event was decided.
func (h *history) checkNoted() {
	byID := make(map[string][]ledgerEntry)
	for _, e := range h.entries {
		byID[e.id] = append(byID[e.id], e)
	}
	shared := h.sharing()
	for _, c := range h.trace.posts() {
		if !noted(byID[c.key], c.ends, shared[c.key]) {
			h.violate("ledger: event %s was asked for by %s at %s and is not noted there before", c.key, c.p.name, c.at.Sub(h.began))
		}
	}
}

// sharing gives the events whose copies lie in partitions of the input that
// have one partition of the ledger.
func (h *history) sharing() map[string]bool {
	ledgers := int32(len(h.ledgerEnds()))
	shared := make(map[string]bool)
	in := make(map[string]map[int32]int32) // by event and the ledger's partition, that of the input
	for _, s := range h.sent {
		if in[s.id] == nil {
			in[s.id] = make(map[int32]int32)
		}
		if before, seen := in[s.id][s.partition%ledgers]; seen && before != s.partition {
			shared[s.id] = true
		}
		in[s.id][s.partition%ledgers] = s.partition
	}
	return shared
}

// noted reports whether the ledger knew of an event when it had these ends.
//
// An attempt that was taken back by somebody else than who made it still
// counts, for it is known that this can be (docs/proving.md): by the instance
// that had the event before, late; and by one that has a copy in another
// partition, when both share one of the ledger.
func noted(entries []ledgerEntry, ends []int64, shared bool) bool {
	open := make(map[int32]bool)
	last := make(map[int32]time.Time)
	for _, e := range entries { // of a partition they are in order
		if int(e.at.partition) >= len(ends) || e.at.offset >= ends[e.at.partition] {
			continue
		}
		switch {
		case e.kind == ledger.KindDecision:
			return true
		case !e.gone:
			open[e.at.partition], last[e.at.partition] = true, e.written
		case *gaps || (!shared && !e.written.Before(last[e.at.partition])):
			open[e.at.partition] = false
		}
	}
	for _, isOpen := range open {
		if isOpen {
			return true
		}
	}
	return false
}

// checkRecognised: what was decided in the first part is not asked for in the
// second, though the API has forgotten it, unless a person sent it again.
func (h *history) checkRecognised() {
	if h.second.IsZero() {
		return
	}
	for _, c := range h.trace.posts() {
		if h.decided[c.key] && h.resent[c.key] == 0 && c.at.After(h.second) {
			h.violate("ledger: event %s was decided, and %s asked for it again at %s", c.key, c.p.name, c.at.Sub(h.began))
		}
	}
}

// checkDecisions: at the end the ledger says of each event what its verdict
// says, and nothing of others; and where an event was decided its attempt is
// closed.
func (h *history) checkDecisions() {
	byID := make(map[string][]ledgerEntry)
	for _, e := range h.entries {
		byID[e.id] = append(byID[e.id], e)
	}
	words := make(map[string][]verdict)
	at := make(map[position]*sent)
	for _, s := range h.sent {
		at[position{s.partition, s.offset}] = s
	}
	for _, v := range h.verdicts {
		id := v.event
		if s := at[v.from]; v.kind == topicParked && s != nil {
			id = s.id
		}
		words[id] = append(words[id], v)
	}
	for id, got := range words {
		if !slices.ContainsFunc(byID[id], func(e ledgerEntry) bool { return e.decision != nil }) {
			h.violate("ledger: event %s has the verdict %s, of which the ledger knows nothing", id, got[0])
		}
	}
	shared := h.sharing()
	for id, entries := range byID {
		for i, e := range entries {
			if e.decision == nil {
				continue
			}
			if !slices.ContainsFunc(words[id], e.says) {
				h.violate("ledger: event %s is decided at %d@%d otherwise than its verdicts are: %v", id, e.at.partition, e.at.offset, words[id])
			}
			if !shared[id] && leftOpen(entries[:i], entries[i+1:], e.at.partition) {
				h.violate("ledger: event %s is decided at %d@%d and its attempt is open", id, e.at.partition, e.at.offset)
			}
		}
	}
}

// says reports whether a decision is that of a verdict.
func (e ledgerEntry) says(v verdict) bool {
	d := e.decision
	if d.Parked() {
		return v.kind == topicParked && v.reason == string(d.ParkInfo.Reason)
	}
	return v.kind == map[string]string{event.TypeCaptured: topicCaptured, event.TypeRejected: topicRejected}[d.Outcome.Type] &&
		v.paymentID == d.Outcome.PaymentID && v.reason == d.Outcome.Reason
}

// leftOpen reports whether an attempt that lies before a decision in its
// partition was not ended by what came with it, or later.
func leftOpen(before, after []ledgerEntry, partition int32) bool {
	open := false
	for _, e := range before {
		if e.kind == ledger.KindAttempt && e.at.partition == partition {
			open = !e.gone
		}
	}
	return open && !slices.ContainsFunc(after, func(e ledgerEntry) bool {
		return e.kind == ledger.KindAttempt && e.at.partition == partition && e.gone
	})
}
