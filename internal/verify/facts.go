package verify

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"

	"payment-capture/internal/event"
	"payment-capture/internal/scratch"
)

// facts is all that is known of one event. It is small however many records the
// event has, because records with the same content are one part of it.
type facts struct {
	id        string
	foreign   bool       // a record of another account's event has this id
	contents  []*content // of its records in the input; one, but for conflicting events
	decisions []decision // the last one of each of the ledger's partitions
	attempts  []attempt  // the last one of each owner
	outcomes  []*outcome
	parked    []*parkedRecords
	more      bool // parts were left out, because there were too many
	// elsewhere: a parked record names this id and belongs to another event.
	elsewhere bool
}

// maxParts bounds the parts of each kind. More are no more than a fault.
const maxParts = 256

// content is what records of the input say that are copies of each other.
type content struct {
	inputEntry // of the first one
	copies     int
	completed  bool // one of them is
	inRange    bool // likewise
	resends    []resend
	wholes     []digest // of all that decides about the event; they differ
	partitions []int32  // of the input
	where      positions
}

// resend is a mark by which records undo a decision to park.
type resend struct {
	parkedAt  int64
	completed bool
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

// parkedRecords are the records of the parked topic for one content of an event.
type parkedRecords struct {
	parkedEntry // of the first one
	records     int
	late        int
	last        int64 // the time of the last one
	sure        bool
	own         bool // one of them does not name another id
	where       positions
}

// unread reports whether the service did not read the record as this event: it was
// invalid to it, for instance because EVENT_TIME_REQUIRED was set.
func (e *parkedEntry) unread() bool {
	return e.has(flagOtherID) && e.Reason == string(event.ParkInvalidEvent)
}

// decision returns the decision that supersedes the others, as in the service: an
// outcome before a decision to park, then the later one. nil: there is none.
func (d *facts) decision() *decision {
	var best *decision
	for i := range d.decisions {
		have := &d.decisions[i]
		if best == nil || have.supersedes(best) {
			best = have
		}
	}
	return best
}

func (e *decision) supersedes(other *decision) bool {
	if e.has(flagParked) != other.has(flagParked) {
		return other.has(flagParked)
	}
	return e.At > other.At
}

// attempt returns the earliest open attempt; nil: there is none. A decision ends those
// before it in its partition.
func (d *facts) attempt() *attempt {
	var first *attempt
	for i := range d.attempts {
		ended := slices.ContainsFunc(d.decisions, func(by decision) bool {
			at := d.attempts[i].where
			return by.where.partition == at.partition && by.where.offset > at.offset
		})
		if ended {
			continue
		}
		if first == nil || d.attempts[i].First < first.First {
			first = &d.attempts[i]
		}
	}
	return first
}

// superseded reports whether an event was parked without a call and corrected since.
func (d *facts) superseded(whole digest) bool {
	known := d.decision()
	return known != nil && slices.Contains(known.Superseded, whole)
}

// main returns the content that the decision is on: that of the ledger's decision,
// else that of the outcome, else the earliest. nil: the input
// has no record of the event.
func (d *facts) main() *content {
	if len(d.contents) == 0 {
		return nil
	}
	if known := d.decision(); known != nil && known.Content != (event.Fingerprint{}) {
		if i := slices.IndexFunc(d.contents, func(c *content) bool { return c.Content == known.Content }); i >= 0 {
			return d.contents[i]
		}
	}
	for _, o := range d.outcomes {
		if i := slices.IndexFunc(d.contents, func(c *content) bool { return len(o.differs(c)) == 0 }); i >= 0 {
			return d.contents[i]
		}
	}
	return slices.MinFunc(d.contents, func(a, b *content) int {
		return bytes.Compare(fmt.Appendf(nil, "%020d %s", a.At, a.Content), fmt.Appendf(nil, "%020d %s", b.At, b.Content))
	})
}

// difference is a field in which an outcome differs from its event.
type difference struct {
	kind   Kind
	detail string
}

// differs returns the fields in which an outcome differs from its event.
func (o *outcome) differs(c *content) []difference {
	var all []difference
	if o.Amount.In != c.Amount.In {
		all = append(all, difference{
			WrongCurrency,
			fmt.Sprintf("its currency is %s, the event's is %s", o.Amount.In, c.Amount.In),
		})
	} else if o.Amount != c.Amount {
		all = append(all, difference{WrongAmount, fmt.Sprintf("its amount is %s, the event's is %s", o.Amount, c.Amount)})
	}
	if o.Order != digestOfText(c.Order) {
		all = append(all, difference{WrongOrder, "its order_id is not that of the event, " + c.Order})
	}
	if o.Reference != digestOfText(c.Reference) {
		all = append(all, difference{WrongReference, "its external_reference is not that of the event, " + c.Reference})
	}
	return all
}

// tally counts over the outcomes of a type.
func (d *facts) tally(captured bool, count func(*outcome) int) int {
	n := 0
	for _, o := range d.outcomes {
		if o.has(flagCaptured) == captured {
			n += count(o)
		}
	}
	return n
}

func (d *facts) has(captured bool) bool {
	return slices.ContainsFunc(d.outcomes, func(o *outcome) bool { return o.has(flagCaptured) == captured })
}

// where returns the first few places of the outcomes, of either type.
func (d *facts) where() positions {
	var all positions
	for _, o := range d.outcomes {
		for _, p := range o.where {
			all.add(p)
		}
	}
	return all
}

func amounts(a storedAmount) (amount, currency string) { return a.String(), string(a.In) }

// grouper groups the entries, which are ordered by event, into facts.
type grouper struct {
	ledgerFrom int64 // the ledger is there for certain from then on; never: it is not
	now        *facts
	close      func(*facts) error
}

// add adds an entry: a key of [spaceEvent] without its first byte.
func (c *grouper) add(key, value scratch.Value) error {
	end := bytes.IndexByte(key, 0)
	if end < 0 || len(key) != end+2+positionBytes {
		return scratch.ErrCorrupt
	}
	if c.now == nil || c.now.id != string(key[:end]) {
		if err := c.finish(); err != nil {
			return err
		}
		c.now = &facts{id: string(key[:end])}
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

// finish closes the facts of the current event.
func (c *grouper) finish() error {
	if c.now == nil {
		return nil
	}
	d := c.now
	c.now = nil
	return c.close(d)
}

// part finds a part that a record belongs to, or begins one with first.
func part[P any](d *facts, parts *[]*P, same func(*P) bool, first P) *P {
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

func (d *facts) addInput(at position, value scratch.Value) error {
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
	c.completed = c.completed || e.has(flagCompleted)
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
			c.resends[i].completed = c.resends[i].completed || e.has(flagCompleted)
		case len(c.resends) < maxParts:
			c.resends = append(c.resends, resend{parkedAt: e.ParkedAt, completed: e.has(flagCompleted)})
		default:
			d.more = true
		}
	}
	return nil
}

func (d *facts) addDecision(at position, value scratch.Value) error {
	e, err := decode[decisionEntry](value)
	if err != nil {
		return err
	}
	for i := range d.decisions {
		have := &d.decisions[i]
		known, repeated := have.decisionEntry, e
		known.Flags, repeated.Flags = known.Flags&^flagSure, repeated.Flags&^flagSure
		if reflect.DeepEqual(known, repeated) { // what one of two copies proves, both do
			e.Flags |= have.Flags & flagSure
			have.Flags |= e.Flags & flagSure
		}
	}
	for i, have := range d.decisions {
		if have.where.partition == at.partition { // later in the same partition: it supersedes
			d.decisions[i] = decision{e, at}
			return nil
		}
	}
	d.decisions = append(d.decisions, decision{e, at})
	return nil
}

func (d *facts) addAttempt(at position, value scratch.Value) error {
	e, err := decode[attemptEntry](value)
	if err != nil {
		return err
	}
	d.attempts = slices.DeleteFunc(d.attempts, func(have attempt) bool { return have.Owner == e.Owner })
	if !e.has(flagGone) {
		d.attempts = append(d.attempts, attempt{e, at})
	}
	return nil
}

func (d *facts) addOutcome(at position, value []byte, ledgerFrom int64) error {
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

func (d *facts) addParked(at position, value []byte, ledgerFrom int64) error {
	e, err := decode[parkedEntry](value)
	if err != nil {
		return err
	}
	p := part(d, &d.parked, func(p *parkedRecords) bool {
		return p.Content == e.Content && p.Whole == e.Whole && p.unread() == e.unread()
	}, parkedRecords{parkedEntry: e})
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
