package pipeline

import "payment-capture/internal/rules"

// foresee looks records up in the ledger at once, and makes the answers
// of what was decided before. So a replay costs neither a look-up nor a goroutine
// for each record, and a new event no look-up. When a record's turn comes, what was
// seen is asked for again if it has changed since.
func (p *Pipeline) foresee(records []*polledRecord) {
	ids := make([]string, len(records))
	for i, r := range records {
		ids[i] = r.id
	}
	for i, g := range p.ledger.Snapshot(ids) {
		r := records[i]
		r.glimpse = g
		d := g.Decision
		if d == nil {
			continue
		}
		if r.invalid != nil {
			if !r.resend.Undoes(d) {
				r.answer = new(leave(rules.LeaveParked, d))
			}
			continue
		}
		switch a := rules.Respond(r.event, r.resend, g.History).Action; a { //nolint:exhaustive // the others take the whole way
		case rules.LeaveParked, rules.LeaveSuperseded:
			r.answer = new(leave(a, d))
		case rules.Republish:
			// One that cannot be written is told of when its turn comes.
			if s, err := p.replayOf(r.record, d); err == nil {
				r.answer = &s
			}
		}
	}
}
