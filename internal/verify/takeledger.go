package verify

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/ledger"
)

func (v *verifier) takeLedger(b batch, t *topic, at position, r *kgo.Record) {
	kind, id, err := ledger.ParseKey(r.Key)
	sure := flags(0)
	if at.offset < t.partitions[at.partition].sure {
		sure = flagSure
	}
	switch {
	case err != nil:
	case !plainID(id):
		err = fmt.Errorf("%w: its key names no event", ledger.ErrUnreadable)
	case kind == ledger.KindAttempt:
		err = v.takeAttempt(b, at, r, id, sure)
	default:
		err = v.takeDecision(b, at, r, id, sure)
	}
	if err != nil {
		f := Finding{Detail: err.Error(), Records: []string{v.snap.name(at)}}
		if plainID(id) {
			f.EventID = id
		}
		b.finding(v.finding(InvalidLedgerRecord, f))
	}
}

// plainID reports whether it is an id of an event, or of a record.
func plainID(id string) bool {
	for i := range len(id) {
		if id[i] <= 0x20 || id[i] > 0x7e {
			return false
		}
	}
	return id != "" && len(id) <= 80
}

func (v *verifier) takeAttempt(b batch, at position, r *kgo.Record, id string, sure flags) error {
	e := attemptEntry{marked: marked{sure}}
	if r.Value == nil {
		e.Flags |= flagGone
	} else {
		a, err := ledger.DecodeAttempt(r.Value)
		if err != nil {
			return err
		}
		e.First = milli(a.First)
	}
	b.entry(id, tagAttempt, at, e)
	return nil
}

var errErased = errors.New("a decision is erased: the ledger forgets what it decided, and the event can be charged again")

func (v *verifier) takeDecision(b batch, at position, r *kgo.Record, id string, sure flags) error {
	if r.Value == nil {
		return errErased
	}
	d, err := ledger.DecodeDecision(id, r.Value)
	if err != nil {
		return err
	}
	e := decisionEntry{marked: marked{sure}, At: milli(d.At), First: milli(d.Attempt.First), Content: d.Attempt.Event}
	for _, content := range d.Superseded {
		e.Superseded = append(e.Superseded, wholeOf(content))
	}
	if d.Parked() {
		e.Flags |= flagParked
		e.Reason = string(d.ParkInfo.Reason)
	} else {
		if d.Outcome.Type == event.TypeCaptured {
			e.Flags |= flagCaptured
		}
		e.Amount = storedAmount{d.Outcome.Amount}
		e.Core, e.Whole = digestsOf(d.Outcome)
	}
	v.sum.decided(e.At)
	b.entry(id, tagDecision, at, e)
	return nil
}
