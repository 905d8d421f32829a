//go:build synctests

package prove

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"payment-capture/internal/config"
	"payment-capture/internal/event"
	"payment-capture/internal/ledger"
	"payment-capture/internal/simulator"
)

// judged is all that came of what is decided under one id.
type judged struct {
	id         string
	event      *planned
	copies     int // records, as often as they came
	partitions map[int32]bool
	resent     int // times, by a person
	got        []verdict
}

// byID gathers what came of what.
func (h *history) byID() map[string]*judged {
	at := make(map[position]*sent)
	all := make(map[string]*judged)
	for _, s := range h.sent {
		at[position{s.partition, s.offset}] = s
		j := all[s.id]
		if j == nil {
			j = &judged{id: s.id, event: s.event, partitions: make(map[int32]bool), resent: h.resent[s.id]}
			all[s.id] = j
		}
		j.copies += 1 + s.again
		j.partitions[s.partition] = true
	}
	parked := make(map[position]bool)
	for _, v := range h.verdicts {
		id := v.event
		if v.kind == topicParked {
			s := at[v.from]
			if s == nil {
				h.violate("verdict: %s is of no record", v)
				continue
			}
			if parked[v.from] {
				h.violate("verdict: the record at %d@%d is parked more than once", v.from.partition, v.from.offset)
			}
			parked[v.from], id = true, s.id
		}
		j := all[id]
		if j == nil {
			h.violate("verdict: %s is of no event", v)
			continue
		}
		j.got = append(j.got, v)
		if v.showsPlan {
			h.violate("secret: one is in the outcome of %s", id)
		}
	}
	return all
}

// checkVerdicts: each event has exactly one verdict, one that the plan allows
// and that the simulator's ledger agrees with, however often it came.
func (h *history) checkVerdicts(charges simulator.Ledger) {
	all := h.byID()
	captured := make(map[string][]string) // by order
	for _, j := range all {
		if slices.ContainsFunc(j.got, func(v verdict) bool { return v.kind == topicCaptured }) {
			captured[j.event.order] = append(captured[j.event.order], j.id)
		}
	}
	for _, j := range all {
		if j.resent > 0 {
			h.checkResent(j)
		} else {
			h.checkCount(j)
		}
		h.checkWhich(j, charges, captured[j.event.order])
	}
	if h.plan.oncePer == config.OncePerReference {
		h.checkOnce(captured)
	}
}

// moment is how long two instances may be at one event that came in two
// partitions: tries that fail, and a transaction that is aborted, included.
const moment = time.Minute

// checkCount: of an event that was captured or rejected there is one outcome,
// and one more that is marked as replayed for each further copy; of one that was
// parked there is one record, and nothing for the copies.
func (h *history) checkCount(j *judged) {
	first := 0
	var from, to time.Time // when the first of them was written, and the last
	for _, v := range j.got {
		if v.replayed {
			continue
		}
		first++
		if from.IsZero() || v.written.Before(from) {
			from = v.written
		}
		if v.written.After(to) {
			to = v.written
		}
	}
	switch {
	case j.event.verdicts[0] == isSkipped:
		if len(j.got) > 0 {
			h.violate("verdict: event %s (%s) is none of ours and has %v", j.id, j.event.kind, j.got)
		}
		return
	case h.halted && len(j.got) == 0: // it came when the ledger was gone
		return
	case first != 1 && !h.mayDiffer(j, first):
		h.violate("verdict: event %s (%s) came %d times and has %d verdicts that are not marked as replayed: %v", j.id, j.event.kind, j.copies, first, j.got)
		return
	case to.Sub(from) > moment:
		h.violate("verdict: event %s (%s) was decided anew %s after it was: %v", j.id, j.event.kind, to.Sub(from), j.got)
	case first != 1:
		h.atOnce++
	}
	want := j.copies
	if j.got[0].kind == topicParked || h.plan.suppress {
		want = first
	}
	if h.plan.oncePer == config.OncePerReference && first > 1 {
		return // one may be parked, and the other have outcomes
	}
	if len(j.got) != want && (!h.halted || len(j.got) > want) {
		h.violate("verdict: event %s (%s) came %d times and has %d verdicts, not %d: %v", j.id, j.event.kind, j.copies, len(j.got), want, j.got)
	}
}

// checkResent: what was parked and sent again is parked once more, or has one
// outcome, and again one that is marked for a copy that came after it.
func (h *history) checkResent(j *judged) {
	first, parked := 0, 0
	for _, v := range j.got {
		switch {
		case v.kind == topicParked:
			parked++
		case !v.replayed:
			first++
		}
	}
	if h.corrected[j.id] != nil && first+parked < 2 && !h.halted {
		h.violate("verdict: event %s (%s) came corrected and has %v", j.id, j.event.kind, j.got)
	}
	if first > 1 || parked == 0 || parked > 1+j.resent || len(j.got) > j.copies {
		h.violate("verdict: event %s (%s) came %d times, %d of them sent again by a person, and has %v", j.id, j.event.kind, j.copies, j.resent, j.got)
	}
}

// checkOnce: of the events of one reference one is captured, but of those that
// came in several partitions, which two instances may have had at once.
func (h *history) checkOnce(captured map[string][]string) {
	unordered := make(map[string]bool)
	for _, s := range h.sent {
		unordered[s.event.order] = unordered[s.event.order] || s.event.unordered
	}
	for order, ids := range captured {
		if len(ids) > 1 && !unordered[order] {
			h.violate("verdict: of order %s %v are captured, and CAPTURE_ONCE_PER is reference", order, ids)
		}
	}
}

// checkWhich: all verdicts of an event are the same one, and a right one.
func (h *history) checkWhich(j *judged, charges simulator.Ledger, captured []string) {
	e := j.event
	tally := charges.ByKey[e.id]
	for _, v := range j.got {
		switch {
		case e.kind == futureKind && v.kind != topicParked && j.resent == 0:
			h.violate("guess: event %s is %s before its time, and nobody sent it again", e.id, v.word())
		case !slices.Contains(e.verdicts, v.word()) && !h.mayBe(j, v, captured):
			h.violate("verdict: event %s (%s) is %s, which its plan does not allow: %v", j.id, e.kind, v.word(), e.verdicts)
		case h.plan.oncePer == config.OncePerReference && len(j.partitions) > 1: // another one was captured between its copies
		case j.resent > 0 && (v.kind == topicParked || j.got[0].kind == topicParked): // one came before, the other after
		case v.word() != j.got[0].word() || v.outcomeID != j.got[0].outcomeID || v.content != j.got[0].content:
			h.violate("verdict: event %s has different ones: %v; %s and %s", j.id, j.got, j.got[0].content, v.content)
		}
		switch v.kind {
		case topicCaptured:
			h.checkCaptured(e, v, charges, tally)
		case topicParked:
			if v.reason == string(event.ParkTooOld) && tally.Count > 0 && j.resent == 0 {
				h.violate("guess: event %s is parked as one that was never tried, and was charged", e.id)
			}
		case topicRejected:
			if tally.Count > 0 {
				h.violate("guess: event %s is rejected and was charged", e.id)
			}
			h.checkDoubt(e)
		}
	}
}

// mayBe reports whether an event may be parked for what happened to it, whatever
// its kind: it was tried so long before that its key may be forgotten; it was
// never tried, and is too old; or another one was captured for its reference.
func (h *history) mayBe(j *judged, v verdict, captured []string) bool {
	e := j.event
	switch v.word() {
	case "parked key_expired":
		// Who has it next cannot know whether the call that was noted was made.
		return slices.ContainsFunc(h.entries, func(a ledgerEntry) bool {
			return a.id == e.id && a.kind == ledger.KindAttempt && !a.gone && v.written.Sub(a.written) > h.plan.horizon
		})
	case "parked too_old":
		return h.plan.maxEventAge > 0 && v.written.Sub(e.at) > h.plan.maxEventAge
	case "parked reference_already_captured":
		return h.plan.oncePer == config.OncePerReference && slices.ContainsFunc(captured, func(id string) bool { return id != j.id })
	}
	return false
}

// mayDiffer says where an event may have several unmarked verdicts: two instances
// that have copies of it in two partitions may both decide it, in the time before
// one has read what the other wrote.
func (h *history) mayDiffer(j *judged, first int) bool {
	return first > 1 && first <= len(j.partitions) && len(h.processes) > 1
}

func (h *history) checkCaptured(e *planned, v verdict, charges simulator.Ledger, tally simulator.Tally) {
	if tally.Count == 0 {
		h.violate("guess: event %s is captured and was not charged", e.id)
		return
	}
	if want := event.OutcomeID(e.id, event.TypeCaptured).String(); v.outcomeID != want {
		h.violate("verdict: the outcome of %s has the id %s", e.id, v.outcomeID)
	}
	for _, c := range charges.Charges {
		if c.Key == e.id && (strconv.FormatInt(c.PaymentID, 10) != v.paymentID || !c.Amount.Equal(decimal.RequireFromString(v.amount))) {
			h.violate("verdict: event %s is captured as payment %s of %s; it was payment %d of %s", e.id, v.paymentID, v.amount, c.PaymentID, c.Amount)
		}
	}
}

// checkDoubt: an error without a payment never decides after a try that may
// have charged, whoever made that.
func (h *history) checkDoubt(e *planned) {
	if e.kind != cancelledKind && e.kind != chargedThenRefused {
		return
	}
	for _, c := range h.trace.calls(e.id) {
		if refused(c) {
			return
		}
		if unknown(c) {
			h.violate("guess: event %s is rejected by an error after a try of %s that may have charged", e.id, c.p.name)
			return
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
