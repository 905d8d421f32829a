package pipeline

import (
	"time"

	"payment-capture/internal/event"
)

// weigh decides whether a polled record is evidence that this deployment and the
// producers of the topic understand each other.
//
// A record that would be parked without a call is evidence against it: an invalid
// event, or one that the rules park. A valid event that may be called for is evidence
// in favour. Everything else is neutral: skipped records, and events that the ledger
// has decided, which only come again.
func (p *Pipeline) weigh(r *polledRecord, now time.Time) {
	if r.skip || r.glimpse.Decision != nil {
		return
	}
	if r.invalid != nil {
		r.unfit = &event.Parking{Reason: event.ParkInvalidEvent, Detail: r.invalid.Error()}
		return
	}
	unfit := p.conf.Rules.Unfit(r.event, false, now)
	switch {
	case unfit == nil:
		r.good = true
	case r.glimpse.Attempt == nil: // else the rules do not count any more
		r.unfit = unfit
	}
}
