package verify

import (
	"context"
	"errors"

	"payment-capture/internal/event"
	"payment-capture/internal/scratch"
)

// matchParked assigns parked records to their events by the position of the input
// record, if they do not contain the event as the service decoded it: they are
// invalid, became valid in the parked topic, or have only a digest.
func (v *verifier) matchParked(ctx context.Context) error {
	p := &matcher{verifier: v, batch: v.newBatch()}
	err := v.each(spacePlace, func(key []byte, value scratch.Value) error {
		if len(key) != positionBytes+1+positionBytes {
			return scratch.ErrCorrupt
		}
		return p.add(ctx, positionOf(key), key[positionBytes], positionOf(key[positionBytes+1:]), value)
	})
	if err != nil {
		return err
	}
	return p.batch.Commit()
}

// matcher matches the records of one position after the other; the input's record
// comes first.
type matcher struct {
	*verifier
	batch  batch
	place  position
	there  bool // the input's record of this place was seen, and is record
	record placedInput
}

// placedInput is an input record, stored by its position.
type placedInput struct {
	ID      string
	Content event.Fingerprint
	Plain   digest
	Whole   digest
}

// placedParked is a parked record, stored by the position of its input record.
type placedParked struct {
	Plain digest // of the record without its timestamp; zero: the parked record has only its digest
	ID    string // of the event in it; "": it is not valid
	Named string // the id that the parked record states
	Entry parkedEntry
}

func (p *matcher) add(ctx context.Context, place position, tag byte, at position, value scratch.Value) error {
	if err := errors.Join(ctx.Err(), p.batch.room()); err != nil {
		return err
	}
	if place != p.place {
		p.place, p.there = place, false
	}
	if tag == tagInput {
		p.there = true
		return value.Decode(&p.record)
	}
	parked, err := decode[placedParked](value)
	if err != nil {
		return err
	}
	e, tooLarge := parked.Entry, parked.Plain == digest{}
	switch {
	case p.there && (tooLarge || parked.Plain == p.record.Plain):
		e.Content, e.Whole = p.record.Content, p.record.Whole
		p.batch.parked(p.record.ID, parked.Named, at, e)
		return nil
	case parked.ID != "":
		p.batch.parked(parked.ID, parked.Named, at, e)
	default:
		p.unmatchedParked(place, at, e)
	}
	// The record that it was parked for may be deleted, and have a copy that is not.
	p.batch.Set(append([]byte{spacePlain}, parked.Plain[:]...), nil)
	return nil
}

// unmatchedParked reports a parked record whose input record does not exist.
func (p *matcher) unmatchedParked(place, at position, e parkedEntry) {
	within := int(place.partition) < len(p.snap.input.partitions)
	if !e.has(flagSure) || p.input.sureOf(e.At) != certain || !within {
		p.sum.notRetained++
		return
	}
	p.batch.finding(p.finding(OutcomeWithoutEvent, Finding{
		Detail: "parked (" + e.Reason + ") for " + p.snap.name(place) + ", where there is no such record", Records: []string{p.snap.name(at)},
	}))
}
