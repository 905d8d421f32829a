package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/scratch"
)

// checkEvents checks every event, then what several events share.
func (v *verifier) checkEvents(ctx context.Context) error {
	j := &checker{verifier: v, batch: v.newBatch()}
	c := &grouper{ledgerFrom: v.sum.ledgerFrom(), close: j.checkEvent}
	total, _ := v.store.Entries()
	done, shown := int64(0), time.Time{}
	err := v.each(spaceEvent, func(key []byte, value scratch.Value) error {
		if done++; done%1024 == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			if now := time.Now(); now.Sub(shown) > progressEvery {
				shown = now
				v.conf.Progress(phaseCheck, min(done, total), total)
			}
		}
		return c.add(key, value)
	})
	if err == nil {
		err = c.finish()
	}
	if err != nil {
		return err
	}
	if err := j.batch.Commit(); err != nil {
		return err
	}
	v.conf.Progress(phaseCheck, total, total)
	return v.checkShared(ctx)
}

// checker checks one event after the other.
type checker struct {
	*verifier
	batch batch
}

func (j *checker) checkEvent(d *facts) error {
	if err := j.batch.room(); err != nil {
		return err
	}
	main := d.main()
	switch {
	case main == nil && d.foreign:
		j.sum.othersEvents++
	case main == nil:
		j.orphan(d)
	case !slices.ContainsFunc(d.contents, func(c *content) bool { return c.inRange }):
		j.sum.outOfRange++
	default:
		e := &eventCheck{checker: j, facts: d, main: main, decision: d.decision()}
		e.parked = slices.DeleteFunc(slices.Clone(d.parked), func(p *parkedRecords) bool {
			return p.Content != main.Content || d.superseded(p.Whole)
		})
		e.run()
		return e.failed
	}
	return nil
}

// finding returns a finding with its kind and severity.
func (v *verifier) finding(kind Kind, f Finding) Finding {
	f.Kind, f.Severity = kind, kind.severity()
	return f
}

// eventCheck checks one event that the input has.
type eventCheck struct {
	*checker
	*facts
	main     *content
	decision *decision        // nil: the ledger has none
	parked   []*parkedRecords // of main
	failed   error            // to read the store
}

// found stores a finding on the event.
func (e *eventCheck) found(kind Kind, records []string, format string, args ...any) {
	f := Finding{EventID: e.id, Detail: fmt.Sprintf(format, args...), Records: records}
	if !e.main.has(flagInvalid) {
		f.OrderID, f.Reference = e.main.Order, e.main.Reference
		f.Amount, f.Currency = amounts(e.main.Amount)
	}
	for _, o := range e.outcomes {
		if o.Payment != "" {
			f.PaymentID = o.Payment
			break
		}
	}
	e.batch.finding(e.finding(kind, f))
}

// names returns the names of records, the event's own first.
func (e *eventCheck) names(others ...positions) []string {
	return e.snap.names(append([]positions{e.main.where}, others...)...)
}

func (e *eventCheck) run() {
	state := e.state()
	e.sum.event(state, e.main, e.facts)
	e.checkConflicts()
	if e.has(true) && e.has(false) {
		e.found(ContradictoryOutcome, e.names(e.where()),
			"it is captured and rejected: look up the payment at the API, and correct the consumers")
	}
	for _, o := range e.outcomes {
		e.checkOutcome(o)
	}
	for _, captured := range []bool{true, false} {
		e.checkRepetition(captured)
		e.checkContents(captured)
	}
	e.checkParked()
	if e.conf.Topics.Ledger != "" {
		e.checkLedger()
	}
	e.ask(state)
}

// state is how far an event is.
type state uint8

const (
	stateCaptured state = iota + 1
	stateRejected
	stateParked
	statePending // under way: not completed
	stateMissing // completed, without a decision
	stateUnknown // its decision may have been deleted
)

// state returns how the event ended, and reports if the end is missing.
func (e *eventCheck) state() state {
	switch {
	case e.has(true):
		return stateCaptured
	case e.has(false):
		return stateRejected
	case len(e.parked) > 0:
		return stateParked
	}
	completed := e.main.completed
	if known := e.decision; known != nil {
		switch {
		case !known.has(flagSure):
			return statePending
		case !e.results.since(known.At):
			return stateUnknown
		}
		what := "an outcome that is not in the topics"
		if known.has(flagParked) {
			what = "parked (" + known.Reason + "), and there is no parked record"
			if e.maybeParked() {
				return stateUnknown
			}
		}
		e.found(LedgerWithoutOutcome, e.names(positions{known.where}), "the decision of the ledger is %s", what)
		return stateMissing
	}
	switch {
	case !completed:
		return statePending
	case !e.results.since(e.main.At), e.maybeParked():
		return stateUnknown
	}
	if first := e.attempt(); first != nil {
		e.lost(e.main, 0)
		e.found(UndecidedAttempt, e.names(positions{first.where}),
			"it is completed without a decision, and was attempted at %s: money may have moved%s",
			timeOf(first.First), e.passedOver(e.main.where))
		return stateMissing
	}
	what := "it is completed, and neither captured, rejected nor parked"
	if e.main.has(flagInvalid) {
		what = "it is not a valid event (" + e.main.Order + "), completed, and not parked"
	}
	e.lost(e.main, 0)
	e.found(MissingOutcome, e.names(), "%s%s", what, e.passedOver(e.main.where))
	return stateMissing
}

// maybeParked reports whether an invalid record may have been parked as a copy
// of a record that the input does not have any more.
func (e *eventCheck) maybeParked() bool {
	if !e.main.has(flagInvalid) {
		return false
	}
	found, err := e.store.Get(append([]byte{spacePlain}, e.main.Plain[:]...), nil)
	e.failed = errors.Join(e.failed, err)
	return found
}

// checkConflicts checks records of the same id with another content.
func (e *eventCheck) checkConflicts() {
	for _, c := range e.contents {
		if c == e.main {
			continue
		}
		parked := slices.ContainsFunc(e.facts.parked, func(p *parkedRecords) bool { return p.Content == c.Content })
		if c.completed && !parked && e.results.since(c.At) {
			e.lost(c, 0)
			e.found(MissingOutcome, e.names(c.where), "a record of the same id with another order, amount, currency, reference or payer "+
				"(order %s, %s %s) is completed, and not parked%s", c.Order, c.Amount, c.Amount.In, e.passedOver(c.where))
			continue
		}
		if e.corrected(c) {
			continue
		}
		e.found(ConflictingEvent, e.names(c.where),
			"a record has the same id and another order, amount, currency, reference or payer: order %s, %s %s",
			c.Order, c.Amount, c.Amount.In)
	}
}

// corrected reports whether records of the same id with another content are no
// conflict: they were parked without a call and corrected since, or are about to be
// evaluated as the correction of one that was.
func (e *eventCheck) corrected(c *content) bool {
	if known := e.decision; known != nil && known.has(flagParked) && known.First == 0 && !c.completed {
		return true
	}
	return !slices.ContainsFunc(c.wholes, func(whole digest) bool { return !e.superseded(whole) })
}

// checkOutcome compares an outcome with its event.
func (e *eventCheck) checkOutcome(o *outcome) {
	records := e.names(o.where)
	for _, d := range o.differs(e.main) {
		e.found(d.kind, records, "%s", d.detail)
	}
	if o.has(flagWrongID) {
		e.found(WrongID, records, "its id does not follow from the event: consumers cannot recognise a copy")
	}
	if o.has(flagWrongTopic) {
		e.found(WrongTopic, records, "it is in the topic of the other outcome")
	}
	if o.has(flagOverpaid) && o.Amount == e.main.Amount {
		e.found(WrongAmount, records, "its approved payments sum up to more than its amount, %s", o.Amount)
	}
}

// checkRepetition checks whether there are more outcomes than repetition explains.
// Replayed outcomes are marked. Without a ledger each copy of a record, and each
// reset of the offsets, adds one more; the API answers those from its memory, except
// for rejections that made no payment.
func (e *eventCheck) checkRepetition(captured bool) {
	unmarked := e.tally(captured, func(o *outcome) int { return o.unmarked })
	if unmarked < 2 {
		if unmarked == 0 && e.has(captured) && e.results.since(e.main.At) {
			e.found(OnlyReplayed, e.names(e.where()),
				"there are outcomes marked as replayed, and not the first one; check whether it was written to another topic")
		}
		return
	}
	late := e.tally(captured, func(o *outcome) int { return o.late })
	fresh := e.tally(captured, func(o *outcome) int {
		if o.Payment == "" {
			return 0
		}
		return o.fresh
	})
	copies := 0
	for _, c := range e.contents {
		copies += c.copies
	}
	switch {
	case late > 1:
		e.found(DoubledOutcome, e.names(e.where()), "%d outcomes that are not marked as replayed", unmarked)
	case fresh > 1 && fresh > copies && e.input.since(e.main.At):
		e.found(DoubledOutcome, e.names(e.where()),
			"%d outcomes that are not marked as replayed and not answered from the API's memory, for %d records", fresh, copies)
	default:
		e.sum.repeated += int64(unmarked) - 1
	}
}

// checkContents compares the outcomes of one type with each other.
func (e *eventCheck) checkContents(captured bool) {
	var cores, wholes []digest
	for _, o := range e.outcomes {
		if o.has(flagCaptured) != captured {
			continue
		}
		cores = append(cores, o.Core)
		if o.replayed > 0 || o.late > 0 {
			wholes = append(wholes, o.Whole)
		}
	}
	switch {
	case distinct(cores) > 1:
		e.found(ContentsDiffer, e.names(e.where()), "its outcomes differ")
	case distinct(wholes) > 1:
		e.found(ContentsDiffer, e.names(e.where()),
			"its outcomes differ in time, traceparent or provider_replayed, which the ledger repeats as they were")
	}
}

func distinct(ds []digest) int {
	slices.SortFunc(ds, func(a, b digest) int { return strings.Compare(string(a[:]), string(b[:])) })
	return len(slices.Compact(ds))
}

// checkParked checks for parked records that should not exist. A record that was
// sent again undoes one.
func (e *eventCheck) checkParked() {
	for _, p := range e.parked {
		undone := len(e.main.resends)
		switch {
		case p.unread():
			// It is a decision on that record alone, and binds no event.
		case !e.input.since(p.last):
			// Records that undo it may have been deleted.
		case len(e.outcomes) > 0 && p.records > undone:
			e.found(ParkedBesideOutcome, e.names(e.where(), p.where),
				"it is parked (%s) beside its outcome, and was not sent again: the parked record needs no action", p.Reason)
		case p.late > undone+1 && p.late > len(e.main.partitions):
			e.found(ParkedTwice, e.names(p.where), "it is parked %d times", p.records)
		case p.records > undone+1:
			e.sum.repeated += int64(p.records - undone - 1)
		}
	}
}

func timeOf(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }

// checkLedger compares the ledger with the topics.
func (e *eventCheck) checkLedger() {
	known := e.decision
	if known == nil {
		e.checkUnknown()
		return
	}
	records := e.names(positions{known.where}, e.where())
	for i := range e.decisions {
		other := &e.decisions[i]
		if !other.has(flagParked) && !known.has(flagParked) && other.Core != known.Core {
			e.found(LedgerDiffers, e.names(positions{known.where, other.where}), "two partitions of the ledger have different outcomes")
			return
		}
	}
	switch {
	case known.Content != (event.Fingerprint{}) && known.Content != e.main.Content && e.input.whole && !e.more:
		e.found(LedgerDiffers, records,
			"the ledger's decision is on another order, amount, currency, reference or payer than any record of the event has")
	case known.has(flagParked):
		e.checkParkedDecision(known)
	case len(e.outcomes) == 0:
		// state reports the missing outcome.
	case !e.has(known.has(flagCaptured)):
		e.found(LedgerDiffers, records, "the ledger has it as %s, and the outcome differs", decisionName(known))
	default:
		for _, o := range e.outcomes {
			switch {
			case o.has(flagCaptured) != known.has(flagCaptured):
			case o.Core != known.Core, (o.late > 0 || o.replayed > 0) && o.Whole != known.Whole:
				e.found(LedgerDiffers, e.names(positions{known.where}, o.where), "the outcome is not what the ledger has")
			}
		}
	}
	if known.has(flagParked) || len(e.outcomes) > 0 || len(e.parked) == 0 || !known.has(flagSure) || !e.results.since(known.At) {
		return
	}
	e.found(LedgerWithoutOutcome, records, "the ledger has an outcome, and there is only a parked record")
}

// checkParkedDecision compares the decision to park with the topics.
func (e *eventCheck) checkParkedDecision(known *decision) {
	if len(e.outcomes) > 0 {
		// An outcome that is newer than the ledger is of a flush after its end.
		for _, o := range e.outcomes {
			if o.sure {
				e.found(LedgerDiffers, e.names(positions{known.where}, o.where), "the ledger has it as parked (%s), and there is an outcome",
					known.Reason)
				return
			}
		}
		return
	}
	for _, r := range e.main.resends {
		if r.completed && r.parkedAt == known.At && len(e.parked) > 0 {
			e.lost(e.main, r.parkedAt)
			e.found(MissingOutcome, e.names(positions{known.where}),
				"it was sent again after it had been parked; that record is completed, and has no new decision")
			return
		}
	}
}

// checkUnknown checks an event that the ledger does not have.
func (e *eventCheck) checkUnknown() {
	if !e.ledger.whole {
		return
	}
	for _, o := range e.outcomes {
		switch {
		case !o.sure:
		case o.replayed > 0:
			e.found(OutcomeNotInLedger, e.names(o.where), "an outcome is marked as replayed from the ledger, which has no decision on the event")
			return
		case o.late > 0:
			e.found(OutcomeNotInLedger, e.names(o.where), "the ledger has no decision on the event: a copy of its record would be captured again")
			return
		}
	}
	for _, p := range e.parked {
		if p.sure && p.own && p.late > 0 && len(e.outcomes) == 0 {
			e.found(OutcomeNotInLedger, e.names(p.where), "it is parked (%s), and the ledger has no decision on it", p.Reason)
			return
		}
	}
}

func decisionName(d *decision) string {
	switch {
	case d.has(flagParked):
		return "parked"
	case d.has(flagCaptured):
		return "captured"
	}
	return "rejected"
}

// orphan checks an event that the input does not have.
func (j *checker) orphan(d *facts) {
	at, sure := int64(never), false
	var where positions
	var amount storedAmount
	kind, detail := OutcomeWithoutEvent, "there is an outcome, and no record of the event"
	f := Finding{EventID: d.id}
	for _, o := range d.outcomes {
		at, sure, amount, f.PaymentID = min(at, o.At), sure || o.sure, o.Amount, o.Payment
		where = append(where, o.where...)
	}
	for _, p := range d.parked {
		at, sure = min(at, p.At), sure || p.sure
		where = append(where, p.where...)
		if len(d.outcomes) == 0 {
			detail = "it is parked (" + p.Reason + "), and there is no record of the event"
		}
	}
	if len(where) == 0 {
		kind = LedgerWithoutEvent
		detail = "the ledger has an attempt, and there is no record of the event: money may have moved"
		if first := d.attempt(); first != nil {
			at, sure, where = first.First, first.has(flagSure), positions{first.where}
		}
		if known := d.decision(); known != nil {
			if isRecordID(d.id) && known.Reason != string(event.ParkInvalidEvent) {
				return // of a valid event that conflicts with another one; that one is checked
			}
			if d.elsewhere && known.has(flagParked) {
				return // this version decodes the record otherwise
			}
			at, sure, where, amount = known.At, known.has(flagSure), positions{known.where}, known.Amount
			detail = "the ledger has it as " + decisionName(known) + ", and there is no record of the event"
		}
	}
	if !sure {
		return // it is of a flush after the ends
	}
	f.Records, f.Detail = j.snap.names(where[:min(len(where), maxPositions)]), detail
	if amount != (storedAmount{}) {
		f.Amount, f.Currency = amounts(amount)
	}
	switch j.input.sureOf(at) {
	case certain:
		j.batch.finding(j.finding(kind, f))
	case probable:
		f.Detail += "; the beginning of the input topic was deleted, but a record of this age should be there"
		j.batch.finding(j.finding(EventNotRetained, f))
	case unknown:
		j.sum.notRetained++
	}
}

// isRecordID reports whether an id is that of a record, and not of an event.
func isRecordID(id string) bool { return strings.HasPrefix(id, "sha256:") && len(id) > 64 }
