package verify

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
)

// judgeShared looks for payments that are two events', and references that were
// captured for two events.
func (v *verifier) judgeShared(ctx context.Context) error {
	b := v.store.newBatch()
	err := v.sharing(ctx, b, spacePayment, SharedPayment, "payment %s is that of %d events: %s")
	if err == nil {
		err = v.sharing(ctx, b, spaceReference, SharedReference, "external_reference %s is captured for %d events: %s")
	}
	if err != nil {
		_ = b.Close() // the first error tells
		return err
	}
	return b.commit()
}

// maxNamed is how many events a finding names.
const maxNamed = 10

// sharing finds the names of an index that several events have.
func (v *verifier) sharing(ctx context.Context, b *batch, space byte, kind Kind, format string) error {
	var name string
	var ids []string
	count := 0
	end := func() error {
		if count < 2 {
			return nil
		}
		f, in, err := v.firstInRange(ids)
		if err != nil || !in {
			return err
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
		}
		b.finding(v.finding(kind, f))
		return ctx.Err()
	}
	err := v.store.each(space, func(key, _ []byte) error {
		i := bytes.LastIndexByte(key, 0)
		if i < 0 {
			return errScratch
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

// firstInRange gives the first of some events that is judged, with its order,
// amount and records; in is false where none is. Events that the input does not
// have are judged where no range is given.
func (v *verifier) firstInRange(ids []string) (f Finding, in bool, err error) {
	bounded := !v.conf.Since.IsZero() || !v.conf.Until.IsZero()
	for _, id := range slices.Clone(ids) {
		prefix := append(append([]byte{spaceEvent}, id...), 0, tagInput)
		found := !bounded
		err := v.store.within(prefix, func(key, value []byte) error {
			e, err := parseInput(value)
			if err != nil || e.has(flagForeign) {
				return err
			}
			found = found || e.has(flagInRange)
			if len(f.Records) < maxPositions {
				f.OrderID, f.Reference = e.order, e.reference
				f.Amount, f.Currency = amounts(e.amount)
				f.Records = append(f.Records, v.snap.name(positionOf(key[len(prefix):])))
			}
			return nil
		})
		if err != nil {
			return f, false, err
		}
		if found {
			f.EventID = id
			return f, true, nil
		}
		f = Finding{}
	}
	return f, false, nil
}
