//go:build synctests

package prove

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"payment-capture/internal/event"
	"payment-capture/internal/simulator"
)

// check holds what was seen against the promises. Each check is one of them.
func (h *history) check() {
	ledger := h.sim.Ledger()
	h.checkCharges(ledger)
	h.checkCalls()
	if !h.hung.Load() { // else it did not come to its end
		h.checkVerdicts(ledger)
		h.checkOffsets()
		h.checkOrder()
	}
	for _, s := range h.log.shown() {
		h.violate("secret: %q is in the log", s)
	}
}

// events gives the events by id; of twins the first, which is charged.
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
		references[e.order] = references[e.order].Add(ledger.ByKey[e.id].Sum)
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
		if first, seen := bodies[p.key]; e.kind != twinKind && seen && first != p.body {
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
		if _, asked := first[e.id]; !asked || e.unordered || e.kind == twinKind || seen[e] {
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
	commits := h.cluster.GroupInfo(group).Commits[topicInput]
	for _, p := range h.cluster.PartitionInfos(topicInput) {
		if at := commits[p.Partition].Offset; at != p.HighWatermark {
			h.violate("offset: %d of partition %d is committed, which ends at %d", at, p.Partition, p.HighWatermark)
		}
	}
}

// checkVerdicts: each record has exactly one verdict, all copies of an event
// the same one, one that the plan allows, and one that the ledger agrees with.
func (h *history) checkVerdicts(ledger simulator.Ledger) {
	at := make(map[position]*sent)
	for _, s := range h.sent {
		at[position{s.partition, s.offset}] = s
	}
	byEvent := make(map[*planned][]verdict)
	events := h.events()
	parked := make(map[position]bool)
	for _, v := range h.verdicts {
		e := events[v.event]
		if v.kind == topicParked {
			s := at[v.from]
			if s == nil {
				h.violate("verdict: %s is of no record", v)
				continue
			}
			if parked[v.from] {
				h.violate("verdict: the record at %d@%d is parked more than once", v.from.partition, v.from.offset)
			}
			parked[v.from], e = true, s.event
		} else if e == nil {
			h.violate("verdict: %s is of no event", v)
			continue
		}
		if e.kind == twinKind {
			e = events[e.id] // twins are counted together
		}
		byEvent[e] = append(byEvent[e], v)
		if v.showsPlan {
			h.violate("secret: one is in the outcome of %s", e.id)
		}
	}
	copies := make(map[*planned]int)
	for _, s := range h.sent {
		copies[events[s.event.id]]++
	}
	for e, n := range copies {
		h.checkEvent(e, n, byEvent[e], ledger)
	}
}

func (h *history) checkEvent(e *planned, copies int, got []verdict, ledger simulator.Ledger) {
	// A copy of what is parked is answered by nothing. A record that is no valid
	// event is the same one only if it has the same time, too.
	least := copies
	switch {
	case e.verdicts[0] == isSkipped:
		copies, least = 0, 0
	case len(got) > 0 && got[0].kind == topicParked && e.kind != twinKind:
		least = 1
		// Two instances may handle copies in two partitions within one moment.
		partitions := make(map[int32]bool)
		for _, v := range got {
			partitions[v.from.partition] = true
		}
		if got[0].reason != string(event.ParkInvalidEvent) {
			copies = len(partitions)
		}
	}
	if len(got) < least || len(got) > copies {
		h.violate("verdict: event %s (%s) was sent %d times and has %d verdicts: %v", e.id, e.kind, copies, len(got), got)
	}
	tally := ledger.ByKey[e.id]
	for _, v := range got {
		switch {
		case !slices.Contains(e.verdicts, v.word()):
			h.violate("verdict: event %s (%s) is %s, which its plan does not allow: %v", e.id, e.kind, v.word(), e.verdicts)
		case e.kind != twinKind && (v.word() != got[0].word() || v.outcomeID != got[0].outcomeID || v.content != got[0].content):
			h.violate("verdict: event %s has different ones: %v; %s and %s", e.id, got, got[0].content, v.content)
		}
		switch v.kind {
		case topicCaptured:
			h.checkCaptured(e, v, ledger, tally)
		case topicRejected:
			if tally.Count > 0 {
				h.violate("guess: event %s is rejected and was charged", e.id)
			}
			h.checkDoubt(e)
		}
	}
	if e.kind == twinKind && len(got) == 2 && got[0].kind == got[1].kind {
		h.violate("verdict: both events of id %s are %s", e.id, got[0].word())
	}
}

func (h *history) checkCaptured(e *planned, v verdict, ledger simulator.Ledger, tally simulator.Tally) {
	if tally.Count == 0 {
		h.violate("guess: event %s is captured and was not charged", e.id)
		return
	}
	if want := event.OutcomeID(e.id, event.TypeCaptured).String(); v.outcomeID != want {
		h.violate("verdict: the outcome of %s has the id %s", e.id, v.outcomeID)
	}
	for _, c := range ledger.Charges {
		if c.Key == e.id && (strconv.FormatInt(c.PaymentID, 10) != v.paymentID || !c.Amount.Equal(decimal.RequireFromString(v.amount))) {
			h.violate("verdict: event %s is captured as payment %s of %s; it was payment %d of %s", e.id, v.paymentID, v.amount, c.PaymentID, c.Amount)
		}
	}
}

// refused reports whether a POST was answered that the payer's token is not
// good, which says nothing of earlier tries.
func refused(e entry) bool { return e.status() == "401" }

// unknown reports whether a POST may have charged without telling.
func unknown(e entry) bool {
	s := e.status()
	return (s == "" && (e.order == nil || e.order.how != notApplied)) || strings.HasPrefix(s, "5")
}

// deciders gives the processes whose last call for an event was refused
// without a payment, and whether an earlier call of the same process may have
// charged.
func (h *history) deciders(e *planned) map[*process]bool {
	doubt, last := make(map[*process]bool), make(map[*process]bool)
	began := make(map[*process]int) // a process that was assigned its partitions anew is a new owner
	for _, c := range h.trace.calls(e.id) {
		if n := h.trace.assignments(c.p, c.at); n != began[c.p] {
			began[c.p], doubt[c.p] = n, false
		}
		last[c.p] = refused(c)
		if unknown(c) {
			doubt[c.p] = true
		}
	}
	deciders := make(map[*process]bool)
	for p, r := range last {
		if r {
			deciders[p] = doubt[p]
		}
	}
	return deciders
}

// checkDoubt: an error without a payment never decides after a try that may
// have charged.
func (h *history) checkDoubt(e *planned) {
	if e.kind != cancelledKind && e.kind != chargedThenRefused {
		return
	}
	deciders := h.deciders(e)
	for _, doubt := range deciders {
		if !doubt {
			return
		}
	}
	if len(deciders) > 0 {
		h.violate("guess: event %s is rejected by an error after a try that may have charged", e.id)
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
