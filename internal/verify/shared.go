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

// maxNamed is how many events and amounts a finding names.
const maxNamed = 10

// sharing reports the names of an index that several events have.
func (v *verifier) sharing(ctx context.Context, b batch, space byte, kind Kind, format string) error {
	var name, firstID string
	var s sharers
	end := func() {
		if s.count < 2 || !s.inRange {
			return
		}
		f := s.first
		f.Detail = fmt.Sprintf(format, name, s.count, named(s.ids, s.count))
		if kind == SharedPayment {
			f.PaymentID = name
		} else {
			f.Reference = name
			f.Detail += "; " + s.comparison()
		}
		f = v.finding(kind, f)
		if kind == SharedReference && !v.duplicated(&s) {
			f.Severity = severityWarning
		}
		b.finding(f)
	}
	err := v.each(space, func(key []byte, _ scratch.Value) error {
		i := bytes.LastIndexByte(key, 0)
		if i < 0 {
			return scratch.ErrCorrupt
		}
		id := string(key[i+1:])
		if string(key[:i]) != name {
			end()
			name, firstID, s = string(key[:i]), id, sharers{count: 1}
			return ctx.Err()
		}
		if s.count++; s.count == 2 {
			if err := v.addSharer(&s, firstID); err != nil {
				return err
			}
		}
		return v.addSharer(&s, id)
	})
	if err != nil {
		return err
	}
	end()
	return nil
}

// sharers is what is kept of the events that have one payment or reference, however many
// they are.
type sharers struct {
	count   int
	ids     []string // the first ones
	first   Finding  // of the first event in the range
	inRange bool

	sums     []string // distinct amounts, the first ones
	moreSums bool
	payer    digest   // of the first event that the input has
	anyPayer bool     // there is one
	differ   bool     // another one has another payer
	unknown  []string // the first events that the input does not have
	missing  int      // how many those are

	// captured has when the events were captured, in Unix milliseconds, but for those that
	// an operator released and those that the input does not have.
	captured map[samePayment][]int64
}

func (v *verifier) addSharer(s *sharers, id string) error {
	d, err := v.factsOf(id)
	if err != nil {
		return err
	}
	if len(s.ids) < maxNamed {
		s.ids = append(s.ids, id)
	}
	if !s.inRange {
		s.first, s.inRange = v.findingInRange(d)
	}
	var amount storedAmount
	if main := d.main(); main != nil {
		amount = main.Amount
		s.differ = s.differ || s.anyPayer && s.payer != main.Payer
		s.payer, s.anyPayer = main.Payer, true
		if !d.released() {
			if s.captured == nil {
				s.captured = make(map[samePayment][]int64)
			}
			of := samePayment{main.Amount, main.Payer}
			s.captured[of] = append(s.captured[of], d.capturedAt())
		}
	} else {
		if s.missing++; len(s.unknown) < maxNamed {
			s.unknown = append(s.unknown, id)
		}
		for _, o := range d.outcomes {
			amount = o.Amount
		}
	}
	sum, currency := amounts(amount)
	switch sum += " " + currency; {
	case slices.Contains(s.sums, sum):
	case len(s.sums) < maxNamed:
		s.sums = append(s.sums, sum)
	default:
		s.moreSums = true
	}
	return nil
}

// named returns the names of some of count things.
func named(some []string, count int) string {
	text := strings.Join(some, ", ")
	if count > len(some) {
		text += ", ..."
	}
	return text
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

// findingInRange returns the order, amount and records of an event; in is false if it is
// not in the range. Events that the input does not have count if no range is given.
func (v *verifier) findingInRange(d *facts) (f Finding, in bool) {
	bounded := !v.conf.Since.IsZero() || !v.conf.Until.IsZero()
	if bounded && !slices.ContainsFunc(d.contents, func(c *content) bool { return c.inRange }) {
		return Finding{}, false
	}
	f.EventID = d.id
	if main := d.main(); main != nil {
		f.OrderID, f.Reference = main.Order, main.Reference
		f.Amount, f.Currency = amounts(main.Amount)
		f.Records = v.snap.names(main.where)
	}
	return f, true
}

// duplicated reports whether the service's guard should have parked one of the events
// that were captured for one reference.
func (v *verifier) duplicated(s *sharers) bool {
	if v.conf.Guard != rules.GuardPayment {
		return v.conf.Guard == rules.GuardReference
	}
	for _, times := range s.captured {
		slices.Sort(times)
		for i := 1; i < len(times); i++ {
			if time.Duration(times[i]-times[i-1])*time.Millisecond <= v.conf.DuplicateWindow {
				return true
			}
		}
	}
	return false
}

// samePayment is what events for the same payment have in common besides the reference.
type samePayment struct {
	amount storedAmount
	payer  digest
}

// released reports whether the event was parked as a possible duplicate, and captured
// because an operator resent it.
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
func (s *sharers) comparison() string {
	slices.Sort(s.sums)
	text := "the amount is the same (" + s.sums[0] + ")"
	if len(s.sums) > 1 {
		count := len(s.sums)
		if s.moreSums {
			count++
		}
		text = "the amounts differ (" + named(s.sums, count) + ")"
	}
	switch {
	case s.differ:
		text += ", and the payers differ"
	case s.missing > 0:
		text += ", and whether the payer is the same is not known: the input does not have " + named(s.unknown, s.missing)
	default:
		text += ", and the payer is the same"
	}
	return text
}
