//go:build synctests

package simtest

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/shopspring/decimal"

	"payment-capture/internal/simulator"
)

// check checks the promises after a run, one function per promise.
func (h *harness) check() {
	charges := h.sim.Charges()
	h.findCorrections()
	h.checkCharges(charges)
	h.checkCalls()
	if !h.halted { // else the ledger topic is empty
		h.checkAttempts()
	}
	if !h.groupStuck.Load() { // else the run did not finish
		h.checkDecisions(charges)
		h.checkOrder()
		if !h.halted {
			h.checkLedger()
			h.checkNoRepeatedCalls()
			h.checkOffsets()
		}
	}
	for _, s := range h.log.shown() {
		h.violate("secret: the log contains %q", s)
	}
}

// events returns the events by id; of two with one id the first, which is the valid
// one.
func (h *harness) events() map[string]*plannedEvent {
	all := make(map[string]*plannedEvent)
	for _, e := range h.plan.events {
		all[e.id] = e
	}
	return all
}

// checkCharges checks that each event is charged at most once, with its own
// amount, and that nothing else is charged.
func (h *harness) checkCharges(charges simulator.Charges) {
	events := h.events()
	for key, tally := range charges.ByKey {
		e := events[key]
		if c := h.corrected[key]; c != nil {
			e = c
		}
		switch {
		case e == nil:
			h.violate("charge: key %q is not an event id", key)
		case !e.charged:
			h.violate("charge: event %s (%s) was charged", key, e.kind)
		case tally.Count > 1:
			h.violate("charge: event %s was charged %d times", key, tally.Count)
		case !tally.Sum.Equal(decimal.RequireFromString(e.amount)):
			h.violate("charge: event %s was charged with %s, not %s", key, tally.Sum, e.amount)
		}
	}
	references := make(map[string]decimal.Decimal)
	for _, e := range h.plan.events {
		order := e.order
		if c := h.corrected[e.id]; c != nil {
			order = c.order
		}
		references[order] = references[order].Add(charges.ByKey[e.id].Sum)
	}
	for reference, tally := range charges.ByReference {
		if !tally.Sum.Equal(references[reference]) {
			h.violate("charge: order %s was charged with %s, its events with %s", reference, tally.Sum, references[reference])
		}
	}
}

// checkCalls checks that all calls under one key have the same body. That a process
// has at most one call in flight per order and event is checked at the connection.
func (h *harness) checkCalls() {
	bodies := make(map[string][sha256.Size]byte)
	events := h.events()
	for _, p := range h.api.posts {
		e := events[p.key]
		if e == nil {
			h.violate("call: key %q is not an event id", p.key)
			continue
		}
		if first, seen := bodies[p.key]; seen && first != p.body {
			h.violate("call: the body for event %s differs from the first one at %s", p.key, p.at.Sub(h.began))
		}
		bodies[p.key] = p.body
	}
}

// overlap reports two calls in flight for one order or event. The caller holds the
// lock of the process.
func (h *harness) overlap(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.violations = append(h.violations, "call: two in flight for "+what)
}

// checkOrder checks that events of one order in one partition are first called for
// in the order of their offsets. An event that was resent may have been parked at first.
func (h *harness) checkOrder() {
	first := make(map[string]int)
	for i, p := range h.api.posts {
		if _, seen := first[p.key]; !seen {
			first[p.key] = i
		}
	}
	type queue struct {
		order     string
		partition int32
	}
	before := make(map[queue]*plannedEvent)
	seen := make(map[*plannedEvent]bool)
	for _, s := range h.sent {
		e := s.event
		if _, called := first[e.id]; !called || e.unordered || e.conflicts || seen[e] || h.resent[e.id] > 0 {
			continue
		}
		seen[e] = true
		q := queue{e.order, s.partition}
		if b := before[q]; b != nil && first[b.id] > first[e.id] {
			h.violate("order: the call for event %s of order %s precedes the one for %s, whose offset is lower", e.id, e.order, b.id)
		}
		before[q] = e
	}
}

// checkOffsets checks that the end of each partition is committed.
func (h *harness) checkOffsets() {
	commits := h.cluster.GroupInfo(h.group).Commits[topicInput]
	for _, p := range h.cluster.PartitionInfos(topicInput) {
		if at := commits[p.Partition].Offset; at != p.HighWatermark {
			h.violate("offset: partition %[2]d is committed at %[1]d and ends at %[3]d", at, p.Partition, p.HighWatermark)
		}
	}
}

// checkCalm checks that while instances only joined and left, no event was called
// for more than once.
func (h *harness) checkCalm() {
	times := make(map[string]int)
	h.api.mu.Lock()
	defer h.api.mu.Unlock()
	for _, p := range h.api.posts {
		times[p.key]++
	}
	for key, n := range times {
		if n > 1 {
			h.violate("calm: %[2]d calls for event %[1]s while instances only joined and left", key, n)
		}
	}
	h.annotate(nil, fmt.Sprintf("the calm phase ended after %s", time.Since(h.began)))
}
