package pipeline

import (
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/rules"
)

// weigh decides whether a polled record is evidence that this deployment and the
// producers of the topic understand each other.
//
// A record that would be parked without a call is evidence against it: an invalid
// event, one that the rules park, or one whose id was used for something else. A valid
// event that may be called for is evidence in favour. Everything else is neutral:
// skipped records, and records that the ledger has decided, which only come again.
func (p *Pipeline) weigh(r *polledRecord, now time.Time) {
	switch {
	case r.skip:
		return
	case r.invalid != nil:
		if r.glimpse.Decision == nil {
			r.unfit = &event.ParkInfo{Reason: event.ParkInvalidEvent, Detail: r.invalid.Error()}
		}
		return
	}
	response := rules.Respond(r.event, r.resend, r.glimpse.History)
	switch response.Action { //nolint:exhaustive // the others decide nothing here
	case rules.Park:
		if !p.parkedBefore(r) {
			r.unfit = response.Why
		}
	case rules.Evaluate:
		unfit := p.conf.Rules.Unfit(r.event, response.Resent, now)
		switch {
		case r.glimpse.Mark == 0 && (unfit == nil || unfit.Reason != event.ParkWrongCurrency):
			// The ledger cannot tell now: the event may be decided.
		case unfit == nil:
			r.good = true
		case response.Prior == nil: // else the rules do not count any more
			r.unfit = unfit
		}
	}
}

// parkedBefore reports whether a copy of a record was parked whose event id is another
// event's: the ledger knows it by the record.
func (p *Pipeline) parkedBefore(r *polledRecord) bool {
	known := p.ledger.Snapshot([]string{event.RecordID(messageOf(r.record))})
	return len(known) == 1 && known[0].Decision != nil
}
