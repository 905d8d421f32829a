package verify

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/rules"
	"payment-capture/internal/scratch"
)

// checkShared reports payments of several events, and references that were captured
// for several events.
func (v *verifier) checkShared(ctx context.Context) error {
	b := v.newBatch()
	err := v.sharing(ctx, b, spacePayment, SharedPayment, "payment %s is the payment of %d events: %s")
	if err == nil {
		err = v.sharing(ctx, b, spaceReference, SharedReference, "external_reference %s is captured for %d events: %s")
	}
	if err != nil {
		return err
	}
	return b.Commit()
}

// maxNamed is how many events a finding names.
const maxNamed = 10

// sharing reports the names of an index that several events have.
func (v *verifier) sharing(ctx context.Context, b batch, space byte, kind Kind, format string) error {
	var name string
	var ids []string
	count := 0
	end := func() error {
		if count < 2 {
			return nil
		}
		var events []*facts
		for _, id := range ids {
			d, err := v.factsOf(id)
			if err != nil {
				return err
			}
			events = append(events, d)
		}
		f, in := v.firstInRange(events)
		if !in {
			return nil
		}
		others := strings.Join(ids, ", ")
		if count > len(ids) {
			others += ", ..."
		}
		f.Detail = fmt.Sprintf(format, name, count, others)
		if kind == SharedPayment {
			f.PaymentID = name
		} else {
			f.Reference = name
			f.Detail += "; " + comparison(events)
		}
		f = v.finding(kind, f)
		if kind == SharedReference && !v.duplicated(events) {
			f.Severity = severityWarning
		}
		b.finding(f)
		return ctx.Err()
	}
	err := v.each(space, func(key []byte, _ scratch.Value) error {
		i := bytes.LastIndexByte(key, 0)
		if i < 0 {
			return scratch.ErrCorrupt
		}
		if string(key[:i]) != name {
			if err := end(); err != nil {
				return err
			}
			name, ids, count = string(key[:i]), ids[:0], 0
		}
		if count++; len(ids) < maxNamed {
			ids = append(ids, string(key[i+1:]))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return end()
}

// factsOf returns what is known of one event.
func (v *verifier) factsOf(id string) (*facts, error) {
	c := &grouper{ledgerFrom: never}
	err := v.store.Each(append(append([]byte{spaceEvent}, id...), 0),
		func(key []byte, value scratch.Value) error { return c.add(key[1:], value) })
	if c.now == nil {
		c.now = &facts{id: id}
	}
	return c.now, err
}

// firstInRange returns the first of some events that is in the range, with its order,
// amount and records; in is false if none is. Events that the input does not
// have count if no range is given.
func (v *verifier) firstInRange(events []*facts) (f Finding, in bool) {
	bounded := !v.conf.Since.IsZero() || !v.conf.Until.IsZero()
	for _, d := range events {
		if bounded && !slices.ContainsFunc(d.contents, func(c *content) bool { return c.inRange }) {
			continue
		}
		f.EventID = d.id
		if main := d.main(); main != nil {
			f.OrderID, f.Reference = main.Order, main.Reference
			f.Amount, f.Currency = amounts(main.Amount)
			f.Records = v.snap.names(main.where)
		}
		return f, true
	}
	return f, false
}

// duplicated reports whether the service's guard should have parked one of the events
// that were captured for one reference.
func (v *verifier) duplicated(events []*facts) bool {
	if v.conf.Guard != rules.GuardPayment {
		return v.conf.Guard == rules.GuardReference
	}
	for i, d := range events {
		if slices.ContainsFunc(events[:i], func(other *facts) bool { return v.duplicates(d, other) }) {
			return true
		}
	}
	return false
}

// duplicates reports whether two captured events are for the same payment, as far as the
// input still has them, and neither was parked as a possible duplicate and released.
func (v *verifier) duplicates(a, b *facts) bool {
	one, other := a.main(), b.main()
	if one == nil || other == nil || one.Amount != other.Amount || one.Payer != other.Payer || a.released() || b.released() {
		return false
	}
	apart := time.Duration(a.capturedAt()-b.capturedAt()) * time.Millisecond
	return apart.Abs() <= v.conf.DuplicateWindow
}

func (d *facts) released() bool {
	return slices.ContainsFunc(d.parked, func(p *parkedRecords) bool { return p.Reason == string(event.ParkPossibleDuplicate) })
}

// capturedAt returns when an event was captured, in Unix milliseconds.
func (d *facts) capturedAt() int64 {
	for _, o := range d.outcomes {
		if o.has(flagCaptured) {
			return o.CapturedAt
		}
	}
	return 0
}

// comparison describes whether events that were captured for one reference have the same
// amount and the same payer: then a producer probably published one order twice.
func comparison(events []*facts) string {
	var sums, unknown []string
	var payers []digest
	for _, d := range events {
		amount := storedAmount{}
		if main := d.main(); main != nil {
			amount = main.Amount
			payers = append(payers, main.Payer)
		} else {
			unknown = append(unknown, d.id)
			for _, o := range d.outcomes {
				amount = o.Amount
			}
		}
		sum, currency := amounts(amount)
		sums = append(sums, sum+" "+currency)
	}
	slices.Sort(sums)
	text := "the amount is the same (" + sums[0] + ")"
	if sums = slices.Compact(sums); len(sums) > 1 {
		text = "the amounts differ (" + strings.Join(sums, ", ") + ")"
	}
	switch {
	case distinct(payers) > 1:
		text += ", and the payers differ"
	case len(unknown) > 0:
		text += ", and whether the payer is the same is not known: the input does not have " + strings.Join(unknown, ", ")
	default:
		text += ", and the payer is the same"
	}
	return text
}
