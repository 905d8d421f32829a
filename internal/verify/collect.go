package verify

import (
	"bytes"
	"reflect"
	"slices"

	"payment-capture/internal/scratch"
)

// collector puts dossiers together from the entries in their order.
type collector struct {
	ledgerFrom int64 // the ledger is there for certain from then on; never: it is not
	now        *dossier
	close      func(*dossier) error
}

// add takes an entry: a key of [spaceEvent] without its first byte.
func (c *collector) add(key, value scratch.Value) error {
	end := bytes.IndexByte(key, 0)
	if end < 0 || len(key) != end+2+positionBytes {
		return scratch.ErrCorrupt
	}
	if c.now == nil || c.now.id != string(key[:end]) {
		if err := c.finish(); err != nil {
			return err
		}
		c.now = &dossier{id: string(key[:end])}
	}
	at := positionOf(key[end+2:])
	switch key[end+1] {
	case tagInput:
		return c.now.addInput(at, value)
	case tagDecision:
		return c.now.addDecision(at, value)
	case tagAttempt:
		return c.now.addAttempt(at, value)
	case tagOutcome:
		return c.now.addOutcome(at, value, c.ledgerFrom)
	case tagParked:
		return c.now.addParked(at, value, c.ledgerFrom)
	case tagElsewhere:
		c.now.elsewhere = true
		return nil
	}
	return scratch.ErrCorrupt
}

// finish closes the dossier that is open.
func (c *collector) finish() error {
	if c.now == nil {
		return nil
	}
	d := c.now
	c.now = nil
	return c.close(d)
}

// part finds a part that a record belongs to, or begins one with first.
func part[P any](d *dossier, parts *[]*P, same func(*P) bool, first P) *P {
	i := slices.IndexFunc(*parts, same)
	if i >= 0 {
		return (*parts)[i]
	}
	p := &first
	if len(*parts) == maxParts {
		d.more = true
		return p
	}
	*parts = append(*parts, p)
	return p
}

func (d *dossier) addInput(at position, value scratch.Value) error {
	e, err := decode[inputEntry](value)
	if err != nil {
		return err
	}
	if e.has(flagForeign) {
		d.foreign = true
		return nil
	}
	c := part(d, &d.contents, func(c *content) bool { return c.Content == e.Content }, content{inputEntry: e})
	c.copies++
	c.At = min(c.At, e.At)
	c.settled = c.settled || e.has(flagSettled)
	c.inRange = c.inRange || e.has(flagInRange)
	c.where.add(at)
	if !slices.Contains(c.wholes, e.Whole) && len(c.wholes) < maxParts {
		c.wholes = append(c.wholes, e.Whole)
	}
	if !slices.Contains(c.partitions, at.partition) {
		c.partitions = append(c.partitions, at.partition)
	}
	if e.ParkedAt != 0 {
		i := slices.IndexFunc(c.resends, func(r resend) bool { return r.parkedAt == e.ParkedAt })
		switch {
		case i >= 0:
			c.resends[i].settled = c.resends[i].settled || e.has(flagSettled)
		case len(c.resends) < maxParts:
			c.resends = append(c.resends, resend{parkedAt: e.ParkedAt, settled: e.has(flagSettled)})
		default:
			d.more = true
		}
	}
	return nil
}

func (d *dossier) addDecision(at position, value scratch.Value) error {
	e, err := decode[decisionEntry](value)
	if err != nil {
		return err
	}
	for i := range d.decisions {
		have := &d.decisions[i]
		said, says := have.decisionEntry, e
		said.Flags, says.Flags = said.Flags&^flagSure, says.Flags&^flagSure
		if reflect.DeepEqual(said, says) { // what one of two copies proves, both do
			e.Flags |= have.Flags & flagSure
			have.Flags |= e.Flags & flagSure
		}
	}
	for i, have := range d.decisions {
		if have.where.partition == at.partition { // later in the same partition: it stands
			d.decisions[i] = decision{e, at}
			return nil
		}
	}
	d.decisions = append(d.decisions, decision{e, at})
	return nil
}

func (d *dossier) addAttempt(at position, value scratch.Value) error {
	e, err := decode[attemptEntry](value)
	if err != nil {
		return err
	}
	d.attempts = slices.DeleteFunc(d.attempts, func(have attempt) bool { return have.where.partition == at.partition })
	if !e.has(flagGone) {
		d.attempts = append(d.attempts, attempt{e, at})
	}
	return nil
}

func (d *dossier) addOutcome(at position, value []byte, ledgerFrom int64) error {
	e, err := decode[outcomeEntry](value)
	if err != nil {
		return err
	}
	const compared = flagCaptured | flagWrongID | flagWrongTopic | flagOverpaid
	said := e
	said.Flags, said.At = e.Flags&compared, 0
	o := part(d, &d.outcomes, func(o *outcome) bool {
		have := o.outcomeEntry
		have.At = 0
		return have == said
	}, outcome{outcomeEntry: said})
	if o.At == 0 || e.At < o.At {
		o.At = e.At
	}
	o.sure = o.sure || e.has(flagSure)
	o.where.add(at)
	if e.has(flagReplayed) {
		o.replayed++
		return nil
	}
	o.unmarked++
	if !e.has(flagFromKey) {
		o.fresh++
	}
	if e.At >= ledgerFrom {
		o.late++
	}
	return nil
}

func (d *dossier) addParked(at position, value []byte, ledgerFrom int64) error {
	e, err := decode[parkedEntry](value)
	if err != nil {
		return err
	}
	p := part(d, &d.parkings, func(p *parking) bool { return p.Content == e.Content && p.Whole == e.Whole }, parking{parkedEntry: e})
	p.records++
	p.last = max(p.last, e.At)
	p.sure = p.sure || e.has(flagSure)
	p.own = p.own || !e.has(flagOtherID)
	p.where.add(at)
	if e.At >= ledgerFrom {
		p.late++
	}
	return nil
}
