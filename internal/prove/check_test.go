//go:build synctests

package prove

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/shopspring/decimal"

	"payment-capture/internal/simulator"
)

// check holds what was seen against the promises. Each check is one of them.
func (h *history) check() {
	ledger := h.sim.Ledger()
	h.findCorrections()
	h.checkCharges(ledger)
	h.checkCalls()
	if !h.halted { // else there is nothing left to look into
		h.checkNoted()
	}
	if !h.hung.Load() { // else it did not come to its end
		h.checkVerdicts(ledger)
		h.checkOrder()
		if !h.halted {
			h.checkDecisions()
			h.checkRecognised()
			h.checkOffsets()
		}
	}
	for _, s := range h.log.shown() {
		h.violate("secret: %q is in the log", s)
	}
}

// events gives the events by id; of twins the first, which stands.
func (h *history) events() map[string]*planned {
	all := make(map[string]*planned)
	for _, e := range h.plan.events {
		all[e.id] = e
	}
	return all
}

// checkCharges: money moves at most once for each event, as much as it says,
// and for nothing else.
func (h *history) checkCharges(ledger simulator.Ledger) {
	events := h.events()
	for key, tally := range ledger.ByKey {
		e := events[key]
		if c := h.corrected[key]; c != nil {
			e = c
		}
		switch {
		case e == nil:
			h.violate("charge: key %q is no event's id", key)
		case !e.charged:
			h.violate("charge: event %s (%s) was charged", key, e.kind)
		case tally.Count > 1:
			h.violate("charge: event %s was charged %d times", key, tally.Count)
		case !tally.Sum.Equal(decimal.RequireFromString(e.amount)):
			h.violate("charge: event %s of %s was charged %s", key, e.amount, tally.Sum)
		}
	}
	references := make(map[string]decimal.Decimal)
	for _, e := range h.plan.events {
		order := e.order
		if c := h.corrected[e.id]; c != nil {
			order = c.order
		}
		references[order] = references[order].Add(ledger.ByKey[e.id].Sum)
	}
	for reference, tally := range ledger.ByReference {
		if !tally.Sum.Equal(references[reference]) {
			h.violate("charge: order %s was charged %s, its events %s", reference, tally.Sum, references[reference])
		}
	}
}

// checkCalls: one key has one body for ever, and one process has at most one
// call under way for an order and for an event.
func (h *history) checkCalls() {
	bodies := make(map[string][sha256.Size]byte)
	events := h.events()
	for _, p := range h.api.posts {
		e := events[p.key]
		if e == nil {
			h.violate("call: key %q is no event's id", p.key)
			continue
		}
		if first, seen := bodies[p.key]; seen && first != p.body {
			h.violate("call: event %s was sent with another body at %s", p.key, p.at.Sub(h.began))
		}
		bodies[p.key] = p.body
	}
}

// overlap is told by the process's lock holder.
func (h *history) overlap(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.violations = append(h.violations, "call: two at once for "+what)
}

// checkOrder: of two events of one order in one partition, the first is asked
// for first.
func (h *history) checkOrder() {
	first := make(map[string]int)
	for i, p := range h.api.posts {
		if _, seen := first[p.key]; !seen {
			first[p.key] = i
		}
	}
	before := make(map[string]*planned)
	seen := make(map[*planned]bool)
	for _, s := range h.sent {
		e := s.event
		if _, asked := first[e.id]; !asked || e.unordered || e.conflicts || seen[e] {
			continue
		}
		seen[e] = true
		if b := before[e.order]; b != nil && first[b.id] > first[e.id] {
			h.violate("order: event %s of order %s was asked for before %s, which lies before it", e.id, e.order, b.id)
		}
		before[e.order] = e
	}
}

// checkOffsets: what is committed is the end of each partition.
func (h *history) checkOffsets() {
	commits := h.cluster.GroupInfo(h.group).Commits[topicInput]
	for _, p := range h.cluster.PartitionInfos(topicInput) {
		if at := commits[p.Partition].Offset; at != p.HighWatermark {
			h.violate("offset: %d of partition %d is committed, which ends at %d", at, p.Partition, p.HighWatermark)
		}
	}
}

// checkCalm: where instances only joined and left, no event was asked for more
// often than it was sent.
func (h *history) checkCalm() {
	times := make(map[string]int)
	h.api.mu.Lock()
	defer h.api.mu.Unlock()
	for _, p := range h.api.posts {
		times[p.key]++
	}
	for key, n := range times {
		if n > 1 {
			h.violate("calm: event %s was asked for %d times while instances only joined and left", key, n)
		}
	}
	h.note(nil, fmt.Sprintf("the calm phase is over after %s", time.Since(h.began)))
}
