//go:build synctests

package simtest

import (
	"slices"
	"strconv"
	"strings"

	"github.com/shopspring/decimal"

	"payment-capture/internal/config"
	"payment-capture/internal/event"
	ledgerentry "payment-capture/internal/ledger/entry"
	"payment-capture/internal/simulator"
)

// eventDecisions is everything that was decided under one id.
type eventDecisions struct {
	id         string
	event      *plannedEvent
	copies     int // records, each as often as the group read it
	partitions map[int32]bool
	resent     int // how often an operator resent it
	got        []decision
}

func (j *eventDecisions) wasParked() bool {
	return slices.ContainsFunc(j.got, func(v decision) bool { return v.kind == topicParked })
}

// byID groups the decisions by the id under which they were made.
func (h *harness) byID() map[string]*eventDecisions {
	at := make(map[position]*sentRecord)
	all := make(map[string]*eventDecisions)
	for _, s := range h.sent {
		at[position{s.partition, s.offset}] = s
		j := all[s.id]
		if j == nil {
			j = &eventDecisions{id: s.id, event: s.event, partitions: make(map[int32]bool), resent: h.resent[s.id]}
			all[s.id] = j
		}
		j.copies += 1 + s.rereads
		j.partitions[s.partition] = true
	}
	parked := make(map[position]bool)
	for _, v := range h.decisions {
		id := v.event
		if v.kind == topicParked {
			s := at[v.from]
			if s == nil {
				h.violate("decision: %s belongs to no record", v)
				continue
			}
			if parked[v.from] && !h.forgotten(s.event) {
				h.violate("decision: the record at %d@%d was parked more than once", v.from.partition, v.from.offset)
			}
			parked[v.from], id = true, s.id
		}
		j := all[id]
		if j == nil {
			h.violate("decision: %s belongs to no event", v)
			continue
		}
		j.got = append(j.got, v)
		if v.showsSecret {
			h.violate("secret: the outcome of %s contains one", id)
		}
	}
	return all
}

// checkDecisions checks that each event has exactly one decision, however often it
// was sent, that the plan allows it, and that it agrees with the charges.
func (h *harness) checkDecisions(charges simulator.Charges) {
	all := h.byID()
	captured := make(map[string][]*eventDecisions) // by order
	for _, j := range all {
		if slices.ContainsFunc(j.got, func(v decision) bool { return v.kind == topicCaptured }) {
			captured[j.event.order] = append(captured[j.event.order], j)
		}
	}
	for _, j := range all {
		switch {
		case h.forgotten(j.event):
			h.checkForgotten(j)
		case j.resent > 0:
			h.checkResent(j)
		default:
			h.checkCount(j)
		}
		h.checkWhich(j, charges, captured[j.event.order])
	}
	h.checkOnce(all, charges)
}

// checkCount checks that a captured or rejected event has one outcome, and one more
// that is marked as replayed for each further copy, and that a parked event has one
// parked record, and none for its copies.
func (h *harness) checkCount(j *eventDecisions) {
	first := 0
	for _, v := range j.got {
		if !v.replayed {
			first++
		}
	}
	switch {
	case j.event.allowed[0] == isSkipped:
		if len(j.got) > 0 {
			h.violate("decision: event %s (%s) must be skipped and has %v", j.id, j.event.kind, j.got)
		}
		return
	case h.halted && len(j.got) == 0: // it was sent after the ledger was recreated
		return
	case first == 0 || first > h.mostParked(j):
		h.violate("decision: event %s (%s) was sent %d times and has %d decisions that are not marked as replayed: %v",
			j.id, j.event.kind, j.copies, first, j.got)
		return
	}
	want := j.copies
	if j.got[0].kind == topicParked || h.plan.suppress {
		want = first
	}
	if len(j.got) != want && (!h.halted || len(j.got) > want) {
		h.violate("decision: event %s (%s) was sent %d times and has %d decisions, not %d: %v",
			j.id, j.event.kind, j.copies, len(j.got), want, j.got)
	}
}

// mostParked returns how often an event may be parked unless it is resent. Without an
// attempt no instance waits for another, so each may park a copy in a partition of its
// own.
func (h *harness) mostParked(j *eventDecisions) int {
	if len(h.trace.calls(j.event.id)) > 0 || slices.ContainsFunc(j.got, func(v decision) bool { return v.kind != topicParked }) {
		return 1
	}
	return len(j.partitions)
}

// checkResent checks that a parked event that was resent is parked at most once more
// per resend, or has one outcome, and one that is marked as replayed per later copy.
func (h *harness) checkResent(j *eventDecisions) {
	first, parked, limit := 0, 0, len(j.partitions)+j.resent
	for _, v := range j.got {
		switch {
		case v.kind == topicParked:
			parked++
		case !v.replayed:
			first++
		}
	}
	if h.corrected[j.id] != nil && first+parked < 2 && !h.halted {
		h.violate("decision: event %s (%s) was corrected and has %v", j.id, j.event.kind, j.got)
	}
	if first > 1 || parked == 0 || parked > limit || len(j.got) > j.copies {
		h.violate("decision: event %s (%s) was sent %d times, %d of them resent, and has %v", j.id, j.event.kind, j.copies, j.resent, j.got)
	}
}

// checkOnce checks that no event is charged beside a duplicate of it, unless an operator
// resent one.
func (h *harness) checkOnce(all map[string]*eventDecisions, charges simulator.Charges) {
	charged := make(map[string][]*eventDecisions) // by order
	for id, j := range all {
		if charges.ByKey[id].Count > 0 {
			charged[j.event.order] = append(charged[j.event.order], j)
		}
	}
	for order, events := range charged {
		for i, j := range events {
			for _, other := range events[:i] {
				unknown := j.wasParked() || other.wasParked()
				released := j.resent+other.resent > 0 && (unknown || h.plan.oncePer == config.OncePerPayment)
				if h.duplicates(j, other) && !released {
					h.violate("decision: events %s and %s of order %s are charged although CAPTURE_ONCE_PER is %s",
						other.id, j.id, order, h.plan.oncePer)
				}
			}
		}
	}
}

// duplicates reports whether two events of one order are duplicates of each other.
func (h *harness) duplicates(j, other *eventDecisions) bool {
	switch h.plan.oncePer {
	case config.OncePerReference:
		return j.id != other.id
	case config.OncePerPayment:
		return j.id != other.id && j.event.samePayment(other.event)
	}
	return false
}

// checkWhich checks that all decisions of an event are the same, and correct.
func (h *harness) checkWhich(j *eventDecisions, charges simulator.Charges, captured []*eventDecisions) {
	e := j.event
	tally := charges.ByKey[e.id]
	for _, v := range j.got {
		switch {
		case e.kind == futureKind && v.kind != topicParked && j.resent == 0:
			h.violate("guess: event %s is %s before its time without a resend", e.id, v.word())
		case !slices.Contains(e.allowed, v.word()) && !h.mayBeParked(j, v, captured):
			h.violate("decision: event %s (%s) is %s; its plan allows %v", j.id, e.kind, v.word(), e.allowed)
		case (j.resent > 0 || h.forgotten(e)) && (v.kind == topicParked || j.got[0].kind == topicParked):
			// One was made before the resend, or before the event was forgotten, the other after it.
		case v.word() != j.got[0].word() || v.outcomeID != j.got[0].outcomeID || v.content != j.got[0].content:
			h.violate("decision: event %s has different ones: %v; %s and %s", j.id, j.got, j.got[0].content, v.content)
		}
		switch v.kind {
		case topicCaptured:
			h.checkCaptured(e, v, charges, tally)
		case topicParked:
			if v.reason == string(event.ParkTooOld) && tally.Count > 0 && j.resent == 0 && !h.forgotten(e) {
				h.violate("guess: event %s is parked as never attempted and was charged", e.id)
			}
		case topicRejected:
			if tally.Count > 0 {
				h.violate("guess: event %s is rejected and was charged", e.id)
			}
			h.checkDoubt(e)
		}
	}
}

// mayBeParked reports whether an event may be parked because of what happened to it,
// whatever its kind: its first attempt is older than the key retention; it was never
// attempted and is too old; or another event was captured for its reference.
func (h *harness) mayBeParked(j *eventDecisions, v decision, captured []*eventDecisions) bool {
	e := j.event
	switch v.word() {
	case "parked key_expired":
		// The next owner cannot know whether the call was made after the attempt was written.
		return slices.ContainsFunc(h.entries, func(a ledgerEntry) bool {
			return a.id == e.id && a.kind == ledgerentry.KindAttempt && !a.gone && v.written.Sub(a.written) > h.plan.horizon
		})
	case "parked too_old":
		return h.plan.maxEventAge > 0 && v.written.Sub(e.at) > h.plan.maxEventAge
	case "parked reference_already_captured", "parked possible_duplicate":
		return (h.plan.oncePer == config.OncePerReference) == (v.reason == string(event.ParkReferenceCaptured)) &&
			slices.ContainsFunc(captured, func(other *eventDecisions) bool { return h.duplicates(j, other) })
	case "parked competing_attempt":
		planned := h.events()
		return h.halted || slices.ContainsFunc(h.entries, func(a ledgerEntry) bool {
			other := planned[a.id]
			return a.kind == ledgerentry.KindAttempt && a.written.Before(v.written) && other != nil && other.order == e.order &&
				h.duplicates(j, &eventDecisions{id: a.id, event: other}) &&
				!slices.ContainsFunc(captured, func(c *eventDecisions) bool { return c.id == a.id && c.got[0].written.Before(v.written) })
		})
	}
	return false
}

func (h *harness) checkCaptured(e *plannedEvent, v decision, charges simulator.Charges, tally simulator.Tally) {
	if tally.Count == 0 {
		h.violate("guess: event %s is captured and was not charged", e.id)
		return
	}
	if want := event.OutcomeID(e.id, event.TypeCaptured).String(); v.outcomeID != want {
		h.violate("decision: the outcome of %s has the id %s", e.id, v.outcomeID)
	}
	for _, c := range charges.List {
		if c.Key == e.id && (strconv.FormatInt(c.PaymentID, 10) != v.paymentID || !c.Amount.Equal(decimal.RequireFromString(v.amount))) {
			h.violate("decision: event %s is captured as payment %s of %s; it was payment %d of %s",
				e.id, v.paymentID, v.amount, c.PaymentID, c.Amount)
		}
	}
}

// checkDoubt checks that an error without a payment never decides after a call that
// may have charged, whichever process made that call.
func (h *harness) checkDoubt(e *plannedEvent) {
	if e.kind != cancelledKind && e.kind != chargedThenRefused {
		return
	}
	for _, c := range h.trace.calls(e.id) {
		if refused(c) {
			return
		}
		if unknown(c) {
			h.violate("guess: event %s is rejected because of an error after a call of %s that may have charged", e.id, c.p.name)
			return
		}
	}
}

// refused reports whether the API refused the payer token of a POST, which says
// nothing about earlier calls.
func refused(e entry) bool { return e.status() == "401" }

// unknown reports whether a POST may have charged without the process knowing.
func unknown(e entry) bool {
	s := e.status()
	return (s == "" && (e.fault == nil || e.fault.effect != notApplied)) || strings.HasPrefix(s, "5")
}
