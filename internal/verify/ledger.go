package verify

import (
	"payment-capture/internal/event"
)

// checkLedger holds the ledger against the topics.
func (e *judgement) checkLedger() {
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
		e.found(LedgerDiffers, records, "the ledger's decision is on another order, amount, currency, reference or payer than any record of the event has")
	case known.has(flagParked):
		e.checkParking(known)
	case len(e.outcomes) == 0:
		// Its absence is noted; beside it a parking stands that was undone.
	case !e.has(known.has(flagCaptured)):
		e.found(LedgerDiffers, records, "the ledger says %s, the outcome does not", verdictName(known))
	default:
		for _, o := range e.outcomes {
			switch {
			case o.has(flagCaptured) != known.has(flagCaptured):
			case o.Core != known.Core, (o.late > 0 || o.replayed > 0) && o.Whole != known.Whole:
				e.found(LedgerDiffers, e.names(positions{known.where}, o.where), "the outcome is not what the ledger has")
			}
		}
	}
	if known.has(flagParked) || len(e.outcomes) > 0 || len(e.parkings) == 0 || !known.has(flagSure) || !e.verdicts.since(known.At) {
		return
	}
	e.found(LedgerWithoutOutcome, records, "the ledger has an outcome, and there is only a parking")
}

// checkParking holds a parking of the ledger against the topics.
func (e *judgement) checkParking(known *decision) {
	if len(e.outcomes) > 0 {
		// An outcome that is newer than the ledger is of a flush after its end.
		for _, o := range e.outcomes {
			if o.sure {
				e.found(LedgerDiffers, e.names(positions{known.where}, o.where), "the ledger says parked (%s), and there is an outcome", known.Reason)
				return
			}
		}
		return
	}
	for _, r := range e.main.resends {
		if r.settled && r.parkedAt == known.At && len(e.parkings) > 0 {
			e.lost(e.main, r.parkedAt)
			e.found(MissingOutcome, e.names(positions{known.where}), "it was sent again after it had been parked; that is settled, and no new verdict came of it")
			return
		}
	}
}

// checkUnknown looks at an event that the ledger does not know.
func (e *judgement) checkUnknown() {
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
			e.found(OutcomeNotInLedger, e.names(o.where), "the ledger has no decision on the event: its record, if it comes again, is captured again")
			return
		}
	}
	for _, p := range e.parkings {
		if p.sure && p.own && p.late > 0 && len(e.outcomes) == 0 {
			e.found(OutcomeNotInLedger, e.names(p.where), "it is parked (%s), and the ledger has no decision on it", p.Reason)
			return
		}
	}
}

func verdictName(d *decision) string {
	switch {
	case d.has(flagParked):
		return "parked"
	case d.has(flagCaptured):
		return "captured"
	}
	return "rejected"
}
