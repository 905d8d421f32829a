package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"payment-capture/internal/scratch"
)

// judgeAll judges every event, then what several events have in common.
func (v *verifier) judgeAll(ctx context.Context) error {
	j := &judge{verifier: v, batch: v.newBatch()}
	c := &collector{ledgerFrom: v.sum.ledgerFrom(), close: j.judge}
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
	return v.judgeShared(ctx)
}

// judge judges one event after the other.
type judge struct {
	*verifier
	batch batch
}

func (j *judge) judge(d *dossier) error {
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
		e := &judgement{judge: j, dossier: d, main: main, decision: d.decision()}
		e.parkings = slices.DeleteFunc(slices.Clone(d.parkings), func(p *parking) bool {
			return p.Content != main.Content || d.superseded(p.Whole)
		})
		e.run()
		return e.failed
	}
	return nil
}

// finding completes a finding.
func (v *verifier) finding(kind Kind, f Finding) Finding {
	f.Kind, f.Severity = kind, kind.severity(v.conf.OncePerReference)
	return f
}

// judgement is that of one event that the input has.
type judgement struct {
	*judge
	*dossier
	main     *content
	decision *decision  // nil: the ledger has none
	parkings []*parking // of main
	failed   error      // to read the store
}

// found notes a finding on the event.
func (e *judgement) found(kind Kind, records []string, format string, args ...any) {
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

// names names records, the event's own first.
func (e *judgement) names(others ...positions) []string {
	return e.snap.names(append([]positions{e.main.where}, others...)...)
}

func (e *judgement) run() {
	state := e.state()
	e.sum.event(state, e.main, e.dossier)
	e.checkConflicts()
	if e.has(true) && e.has(false) {
		e.found(ContradictoryOutcome, e.names(e.where()), "it is captured and rejected: look at the payment at the API, and tell the consumers which is right")
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

// state is how an event stands.
type state uint8

const (
	stateCaptured state = iota + 1
	stateRejected
	stateParked
	statePending // under way: the group has not settled it
	stateMissing // settled, without a verdict
	stateUnknown // its verdict may have been deleted
)

// state finds how the event ended, and notes where that is missing.
func (e *judgement) state() state {
	switch {
	case e.has(true):
		return stateCaptured
	case e.has(false):
		return stateRejected
	case len(e.parkings) > 0:
		return stateParked
	}
	settled := e.main.settled
	if known := e.decision; known != nil {
		switch {
		case !known.has(flagSure):
			return statePending
		case !e.verdicts.since(known.At):
			return stateUnknown
		}
		what := "an outcome, and none is there"
		if known.has(flagParked) {
			what = "a parking (" + known.Reason + "), and no parked record is there"
			if e.maybeParked() {
				return stateUnknown
			}
		}
		e.found(LedgerWithoutOutcome, e.names(positions{known.where}), "the ledger has %s", what)
		return stateMissing
	}
	switch {
	case !settled:
		return statePending
	case !e.verdicts.since(e.main.At), e.maybeParked():
		return stateUnknown
	}
	if first := e.attempt(); first != nil {
		e.lost(e.main, 0)
		e.found(UndecidedAttempt, e.names(positions{first.where}), "it is settled without a verdict, and was attempted at %s: money may have moved%s",
			timeOf(first.First), e.passedOver(e.main.where))
		return stateMissing
	}
	what := "it is settled, and neither captured, rejected nor parked"
	if e.main.has(flagInvalid) {
		what = "it is no valid event (" + e.main.Order + "), settled, and not parked"
	}
	e.lost(e.main, 0)
	e.found(MissingOutcome, e.names(), "%s%s", what, e.passedOver(e.main.where))
	return stateMissing
}

// maybeParked reports whether an invalid record may have been parked as a copy
// of a record that the input does not hold any more.
func (e *judgement) maybeParked() bool {
	if !e.main.has(flagInvalid) {
		return false
	}
	found, err := e.store.Get(append([]byte{spacePlain}, e.main.Plain[:]...), nil)
	e.failed = errors.Join(e.failed, err)
	return found
}

// checkConflicts looks at records of the same id with other contents.
func (e *judgement) checkConflicts() {
	for _, c := range e.contents {
		if c == e.main {
			continue
		}
		parked := slices.ContainsFunc(e.dossier.parkings, func(p *parking) bool { return p.Content == c.Content })
		if c.settled && !parked && e.verdicts.since(c.At) {
			e.lost(c, 0)
			e.found(MissingOutcome, e.names(c.where), "a record of the same id with another order, amount, currency, reference or payer "+
				"(order %s, %s %s) is settled, and not parked%s", c.Order, c.Amount, c.Amount.Currency(), e.passedOver(c.where))
			continue
		}
		if e.corrected(c) {
			continue
		}
		e.found(ConflictingEvent, e.names(c.where), "a record has the same id and another order, amount, currency, reference or payer: order %s, %s %s",
			c.Order, c.Amount, c.Amount.Currency())
	}
}

// corrected reports whether records of the same id with another content are no
// conflict: they were parked without a call and corrected since, or are about to be
// evaluated as the correction of one that was.
func (e *judgement) corrected(c *content) bool {
	if known := e.decision; known != nil && known.has(flagParked) && known.First == 0 && !c.settled {
		return true
	}
	return !slices.ContainsFunc(c.wholes, func(whole digest) bool { return !e.superseded(whole) })
}

// checkOutcome holds an outcome against its event.
func (e *judgement) checkOutcome(o *outcome) {
	records := e.names(o.where)
	for _, d := range o.differs(e.main) {
		e.found(d.kind, records, "%s", d.detail)
	}
	if o.has(flagWrongID) {
		e.found(WrongID, records, "its id is not the one that follows from the event: consumers do not know it again")
	}
	if o.has(flagWrongTopic) {
		e.found(WrongTopic, records, "it is in the topic of the other outcome")
	}
	if o.has(flagOverpaid) && o.Amount == e.main.Amount {
		e.found(WrongAmount, records, "its approved payments sum up to more than its amount, %s", o.Amount)
	}
}

// checkRepetition looks for outcomes that are there more often than a repetition
// explains. The ledger marks what it repeats. Without it each copy of a record,
// and each time that the offsets were set back, gives one more; the API answers
// those from its memory, but for rejections that made no payment.
func (e *judgement) checkRepetition(captured bool) {
	unmarked := e.tally(captured, func(o *outcome) int { return o.unmarked })
	if unmarked < 2 {
		if unmarked == 0 && e.has(captured) && e.verdicts.since(e.main.At) {
			e.found(OnlyReplayed, e.names(e.where()), "there are outcomes marked as replayed, and not the first one: was it written to another topic?")
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
	copies, lanes := 0, 0
	for _, c := range e.contents {
		copies += c.copies
		lanes = max(lanes, len(c.partitions))
	}
	switch {
	// Copies in different partitions may be handled at the same time.
	case late > 1 && late > lanes:
		e.found(DoubledOutcome, e.names(e.where()), "%d outcomes that are not marked as replayed", unmarked)
	case fresh > 1 && fresh > copies && e.input.since(e.main.At):
		e.found(DoubledOutcome, e.names(e.where()), "%d outcomes that are not marked as replayed and not answered from the API's memory, for %d records", fresh, copies)
	default:
		e.sum.repeated += int64(unmarked) - 1
	}
}

// checkContents compares the outcomes of one type with each other.
func (e *judgement) checkContents(captured bool) {
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
		e.found(ContentsDiffer, e.names(e.where()), "its outcomes do not say the same")
	case distinct(wholes) > 1:
		e.found(ContentsDiffer, e.names(e.where()), "its outcomes differ in time, traceparent or provider_replayed, which the ledger repeats as they were")
	}
}

func distinct(ds []digest) int {
	slices.SortFunc(ds, func(a, b digest) int { return strings.Compare(string(a[:]), string(b[:])) })
	return len(slices.Compact(ds))
}

// checkParked looks for parkings that should not be. A record that was sent again
// undoes one parking.
func (e *judgement) checkParked() {
	for _, p := range e.parkings {
		undone := len(e.main.resends)
		switch {
		case !e.input.since(p.last):
			// Records that undo it may have been deleted.
		case len(e.outcomes) > 0 && p.records > undone:
			e.found(ParkedBesideOutcome, e.names(e.where(), p.where), "it is parked (%s) beside its outcome, and nobody sent it again: nothing is left to do for the parked record", p.Reason)
		case p.late > undone+1 && p.late > len(e.main.partitions):
			e.found(DoubledParking, e.names(p.where), "it is parked %d times", p.records)
		case p.records > undone+1:
			e.sum.repeated += int64(p.records - undone - 1)
		}
	}
}

func timeOf(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }
