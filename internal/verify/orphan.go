package verify

import (
	"strings"

	"payment-capture/internal/event"
)

// orphan judges what there is for an event that the input does not have.
func (j *judge) orphan(d *dossier) {
	at, sure := int64(never), false
	var where positions
	var amount storedAmount
	kind, detail := OutcomeWithoutEvent, "there is an outcome, and no record of the event"
	f := Finding{EventID: d.id}
	for _, o := range d.outcomes {
		at, sure, amount, f.PaymentID = min(at, o.At), sure || o.sure, o.Amount, o.Payment
		where = append(where, o.where...)
	}
	for _, p := range d.parkings {
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
				return // of a valid event that conflicts with another one; it is judged there
			}
			if d.elsewhere && known.has(flagParked) {
				return // this version decodes the record otherwise
			}
			at, sure, where, amount = known.At, known.has(flagSure), positions{known.where}, known.Amount
			detail = "the ledger says " + verdictName(known) + ", and there is no record of the event"
		}
	}
	if !sure {
		return // it is of a flush after the ends
	}
	f.Records, f.Detail = j.snap.names(where[:min(len(where), maxPositions)]), detail
	if !amount.IsZero() {
		f.Amount, f.Currency = amounts(amount)
	}
	switch j.input.sureOf(at) {
	case certain:
		j.batch.finding(j.finding(kind, f))
	case probable:
		f.Detail += "; the input topic does not hold all that it held, but what is this young should be there"
		j.batch.finding(j.finding(EventNotRetained, f))
	case unknown:
		j.sum.notRetained++
	}
}

// isRecordID reports whether an id is that of a record, and not of an event.
func isRecordID(id string) bool { return strings.HasPrefix(id, "sha256:") && len(id) > 64 }
