package verify

import (
	"bytes"
	"fmt"
	"slices"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
)

// dossier is all that is known of one event. However many records an event has,
// it is small: records that say the same are one part of it.
type dossier struct {
	id        string
	foreign   bool       // a record of another account's event has this id
	contents  []*content // of its records in the input; one, but for conflicting events
	decisions []decision // the last one of each of the ledger's partitions
	attempts  []attempt  // likewise
	outcomes  []*outcome
	parkings  []*parking
	more      bool // parts were left out, for there were too many
}

// maxParts bounds the parts of each kind. More are no more than a fault.
const maxParts = 256

// content is what records of the input say that are copies of each other.
type content struct {
	inputEntry // of the first one
	copies     int
	settled    bool // one of them is
	inRange    bool // likewise
	resends    []resend
	partitions []int32 // of the input
	where      positions
}

// resend is a mark by which records undo a parking.
type resend struct {
	parkedAt int64
	settled  bool
}

type decision struct {
	decisionEntry
	where position
}

type attempt struct {
	attemptEntry
	where position
}

// outcome is what records of the outcome topics say that are equal in all that
// is compared.
type outcome struct {
	outcomeEntry // the first one's; its flags are those that all have
	unmarked     int
	late         int // of the unmarked: since the ledger is there for certain
	fresh        int // of the unmarked: not from the API's memory
	replayed     int
	sure         bool
	where        positions
}

// parking is what records of the parked topic say that are for one content.
type parking struct {
	parkedEntry // of the first one
	records     int
	late        int
	last        int64 // the time of the last one
	sure        bool
	where       positions
}

// collector puts dossiers together from the entries in their order.
type collector struct {
	ledgerFrom int64 // the ledger is there for certain from then on; never: it is not
	now        *dossier
	close      func(*dossier) error
}

// add takes an entry: a key of [spaceEvent] without its first byte.
func (c *collector) add(key, value []byte) error {
	end := bytes.IndexByte(key, 0)
	if end < 0 || len(key) != end+2+positionBytes {
		return errScratch
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
	}
	return errScratch
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

func (d *dossier) addInput(at position, value []byte) error {
	e, err := parseInput(value)
	if err != nil {
		return err
	}
	if e.has(flagForeign) {
		d.foreign = true
		return nil
	}
	c := part(d, &d.contents, func(c *content) bool { return c.content == e.content }, content{inputEntry: e})
	c.copies++
	c.at = min(c.at, e.at)
	c.settled = c.settled || e.has(flagSettled)
	c.inRange = c.inRange || e.has(flagInRange)
	c.where.add(at)
	if !slices.Contains(c.partitions, at.partition) {
		c.partitions = append(c.partitions, at.partition)
	}
	if e.parkedAt != 0 {
		i := slices.IndexFunc(c.resends, func(r resend) bool { return r.parkedAt == e.parkedAt })
		switch {
		case i >= 0:
			c.resends[i].settled = c.resends[i].settled || e.has(flagSettled)
		case len(c.resends) < maxParts:
			c.resends = append(c.resends, resend{parkedAt: e.parkedAt, settled: e.has(flagSettled)})
		default:
			d.more = true
		}
	}
	return nil
}

func (d *dossier) addDecision(at position, value []byte) error {
	e, err := parseDecision(value)
	if err != nil {
		return err
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

func (d *dossier) addAttempt(at position, value []byte) error {
	e, err := parseAttempt(value)
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
	e, err := parseOutcome(value)
	if err != nil {
		return err
	}
	const compared = flagCaptured | flagWrongID | flagWrongTopic | flagOverpaid
	said := e
	said.flags, said.at = e.flags&compared, 0
	o := part(d, &d.outcomes, func(o *outcome) bool {
		have := o.outcomeEntry
		have.at = 0
		return have == said
	}, outcome{outcomeEntry: said})
	if o.at == 0 || e.at < o.at {
		o.at = e.at
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
	if e.at >= ledgerFrom {
		o.late++
	}
	return nil
}

func (d *dossier) addParked(at position, value []byte, ledgerFrom int64) error {
	e, err := parseParked(value)
	if err != nil {
		return err
	}
	p := part(d, &d.parkings, func(p *parking) bool { return p.content == e.content }, parking{parkedEntry: e})
	p.records++
	p.last = max(p.last, e.at)
	p.sure = p.sure || e.has(flagSure)
	p.where.add(at)
	if e.at >= ledgerFrom {
		p.late++
	}
	return nil
}

// decision gives the one that stands, as the service has it: an outcome before a
// parking, then the later one. nil: there is none.
func (d *dossier) decision() *decision {
	var best *decision
	for i := range d.decisions {
		have := &d.decisions[i]
		if best == nil || have.over(best) {
			best = have
		}
	}
	return best
}

func (e *decision) over(other *decision) bool {
	if e.has(flagParked) != other.has(flagParked) {
		return other.has(flagParked)
	}
	return e.at > other.at
}

// attempt gives the earliest one that is open; nil: there is none.
func (d *dossier) attempt() *attempt {
	var first *attempt
	for i := range d.attempts {
		if first == nil || d.attempts[i].first < first.first {
			first = &d.attempts[i]
		}
	}
	return first
}

// main gives the content that the event was decided by: that of the ledger's
// decision, else the one that its outcome has, else the earliest. nil: the input
// has no record of the event.
func (d *dossier) main() *content {
	if len(d.contents) == 0 {
		return nil
	}
	if known := d.decision(); known != nil && known.content != (event.Fingerprint{}) {
		if i := slices.IndexFunc(d.contents, func(c *content) bool { return c.content == known.content }); i >= 0 {
			return d.contents[i]
		}
	}
	for _, o := range d.outcomes {
		if i := slices.IndexFunc(d.contents, func(c *content) bool { return len(o.differs(c)) == 0 }); i >= 0 {
			return d.contents[i]
		}
	}
	return slices.MinFunc(d.contents, func(a, b *content) int {
		return bytes.Compare(fmt.Appendf(nil, "%020d %s", a.at, a.content), fmt.Appendf(nil, "%020d %s", b.at, b.content))
	})
}

// difference is a member in which an outcome is not as its event.
type difference struct {
	kind   Kind
	detail string
}

// differs gives what an outcome says otherwise than its event.
func (o *outcome) differs(c *content) []difference {
	var all []difference
	if o.amount.Currency() != c.amount.Currency() {
		all = append(all, difference{WrongCurrency, fmt.Sprintf("its currency is %s, the event's is %s", o.amount.Currency(), c.amount.Currency())})
	} else if o.amount != c.amount {
		all = append(all, difference{WrongAmount, fmt.Sprintf("its amount is %s, the event's is %s", o.amount, c.amount)})
	}
	if o.order != digestOfText(c.order) {
		all = append(all, difference{WrongOrder, "its order_id is not that of the event, " + c.order})
	}
	if o.reference != digestOfText(c.reference) {
		all = append(all, difference{WrongReference, "its external_reference is not that of the event, " + c.reference})
	}
	return all
}

// tally counts over the outcomes of a type.
func (d *dossier) tally(captured bool, count func(*outcome) int) int {
	n := 0
	for _, o := range d.outcomes {
		if o.has(flagCaptured) == captured {
			n += count(o)
		}
	}
	return n
}

func (d *dossier) has(captured bool) bool {
	return slices.ContainsFunc(d.outcomes, func(o *outcome) bool { return o.has(flagCaptured) == captured })
}

// where gives the first few places of the outcomes, of either type.
func (d *dossier) where() positions {
	var all positions
	for _, o := range d.outcomes {
		for _, p := range o.where {
			all.add(p)
		}
	}
	return all
}

func amounts(a money.Amount) (amount, currency string) { return a.String(), string(a.Currency()) }
