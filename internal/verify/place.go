package verify

import (
	"context"

	"payment-capture/internal/event"
)

// placeParked assigns those parked records to their events that do not contain
// the event as the service decoded it: the place where the event's record lay
// tells. What such a parked record contains is invalid, or became valid in the
// parked topic, or is left out because of its size.
func (v *verifier) placeParked(ctx context.Context) error {
	p := &placer{verifier: v, batch: v.store.newBatch()}
	err := v.store.each(spacePlace, func(key, value []byte) error {
		if len(key) != positionBytes+1+positionBytes {
			return errScratch
		}
		return p.add(ctx, positionOf(key), key[positionBytes], positionOf(key[positionBytes+1:]), value)
	})
	if err != nil {
		_ = p.batch.Close() // the first error tells
		return err
	}
	return p.batch.commit()
}

// placer is under way. At each place the input's record comes first.
type placer struct {
	*verifier
	batch *batch
	place position
	there bool // the input's record of this place was seen
	id    string
	plain digest
	whole digest
	fp    event.Fingerprint
}

func (p *placer) add(ctx context.Context, place position, tag byte, at position, value []byte) error {
	if p.batch.Count() >= batchRecords {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := p.batch.commit(); err != nil {
			return err
		}
		p.batch = p.store.newBatch()
	}
	if place != p.place {
		p.place, p.there = place, false
	}
	d := decoder{rest: value}
	if tag == tagInput {
		p.id, p.fp, p.plain, p.whole = d.text(), d.fingerprint(), d.digest(), d.digest()
		p.there = true
		return d.err()
	}
	plain, id, named := d.digest(), d.text(), d.text()
	if d.bad {
		return errScratch
	}
	e, err := parseParked(d.rest)
	if err != nil {
		return err
	}
	tooLarge := plain == digest{}
	switch {
	case p.there && (tooLarge || plain == p.plain):
		e.content, e.whole = p.fp, p.whole
		p.batch.parked(p.id, named, at, e)
		return nil
	case id != "":
		p.batch.parked(id, named, at, e)
	default:
		p.strayParked(place, at, e)
	}
	// What it was parked for may be no more: it can be the copy of a record that is.
	p.batch.put(append(append(p.batch.key[:0], spacePlain), plain[:]...), nil)
	return nil
}

// strayParked judges a parked record that no record of the input is for.
func (p *placer) strayParked(place, at position, e parkedEntry) {
	within := int(place.partition) < len(p.snap.input.partitions)
	if !e.has(flagSure) || p.input.sureOf(e.at) != certain || !within {
		p.sum.notRetained++
		return
	}
	p.batch.finding(p.finding(OutcomeWithoutEvent, Finding{
		Detail: "parked (" + e.reason + ") for " + p.snap.name(place) + ", where there is no such record", Records: []string{p.snap.name(at)},
	}))
}
