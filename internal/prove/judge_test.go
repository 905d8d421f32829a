//go:build synctests

package prove

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"payment-capture/internal/event"
	"payment-capture/internal/simulator"
)

// judged is all that came of what is decided under one id.
type judged struct {
	id         string
	event      *planned
	copies     int // records, as often as they came
	partitions map[int32]bool
	got        []verdict
}

// checkVerdicts: each event has exactly one verdict, one that the plan allows
// and that the simulator's ledger agrees with, however often it came.
func (h *history) checkVerdicts(ledger simulator.Ledger) {
	at := make(map[position]*sent)
	all := make(map[string]*judged)
	for _, s := range h.sent {
		at[position{s.partition, s.offset}] = s
		j := all[s.id]
		if j == nil {
			j = &judged{id: s.id, event: s.event, partitions: make(map[int32]bool)}
			all[s.id] = j
		}
		j.copies++
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
	for _, j := range all {
		h.checkCount(j)
		h.checkWhich(j, ledger)
	}
}

// moment is how long two instances may be at one event that came in two
// partitions: tries that fail, and a transaction that is aborted, included.
const moment = 30 * time.Second

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
	if j.event.verdicts[0] == isSkipped {
		if len(j.got) > 0 {
			h.violate("verdict: event %s (%s) is none of ours and has %v", j.id, j.event.kind, j.got)
		}
		return
	}
	if first != 1 {
		if !h.mayDiffer(j, first) {
			h.violate("verdict: event %s (%s) came %d times and has %d verdicts that are not marked as replayed: %v", j.id, j.event.kind, j.copies, first, j.got)
			return
		}
		if to.Sub(from) > moment {
			h.violate("verdict: event %s (%s) was decided anew %s after it was: %v", j.id, j.event.kind, to.Sub(from), j.got)
		}
		h.atOnce++
	}
	want := j.copies
	if j.got[0].kind == topicParked {
		want = first
	}
	if len(j.got) != want {
		h.violate("verdict: event %s (%s) came %d times and has %d verdicts, not %d: %v", j.id, j.event.kind, j.copies, len(j.got), want, j.got)
	}
}

// mayDiffer says where an event may have another number of unmarked verdicts
// than one. Two instances that have copies of it in two partitions may both
// decide it, in the time before one has read what the other wrote. And a decision
// that is not read back goes with the next record of its event that the process
// meets, marked: if the partition that it was made for was lost, that is the
// only one.
func (h *history) mayDiffer(j *judged, first int) bool {
	switch {
	case len(j.got) == 0:
		return false
	case first == 0 && h.trace.tookUpAgain():
		return true
	}
	return len(j.partitions) > 1 && first <= len(j.partitions) && len(h.processes) > 1
}

// checkWhich: all verdicts of an event are the same one, and a right one.
func (h *history) checkWhich(j *judged, ledger simulator.Ledger) {
	e := j.event
	tally := ledger.ByKey[e.id]
	for _, v := range j.got {
		switch {
		case e.kind == chargedThenRefused && v.word() == "rejected invalid_payer_token" && tally.Count == 0:
			// An expired token took the place of the try that was to charge.
		case !slices.Contains(e.verdicts, v.word()):
			h.violate("verdict: event %s (%s) is %s, which its plan does not allow: %v", j.id, e.kind, v.word(), e.verdicts)
		case v.word() != j.got[0].word() || v.outcomeID != j.got[0].outcomeID || v.content != j.got[0].content:
			h.violate("verdict: event %s has different ones: %v; %s and %s", j.id, j.got, j.got[0].content, v.content)
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
