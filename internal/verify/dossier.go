package verify

import (
	"bytes"
	"fmt"
	"slices"

	"payment-capture/internal/event"
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
	// elsewhere: a parked record names this id and is judged under another one.
	elsewhere bool
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
	wholes     []digest // of all that decides about the event; they differ
	partitions []int32  // of the input
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

// parking is what records of the parked topic say that are for one event as it was.
type parking struct {
	parkedEntry // of the first one
	records     int
	late        int
	last        int64 // the time of the last one
	sure        bool
	own         bool // one of them does not name another id
	where       positions
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
	return e.At > other.At
}

// attempt gives the earliest one that is open; nil: there is none.
func (d *dossier) attempt() *attempt {
	var first *attempt
	for i := range d.attempts {
		if first == nil || d.attempts[i].First < first.First {
			first = &d.attempts[i]
		}
	}
	return first
}

// superseded reports whether an event was parked without a call and corrected since.
func (d *dossier) superseded(whole digest) bool {
	known := d.decision()
	return known != nil && slices.Contains(known.Superseded, whole)
}

// main gives the content that the event was decided by: that of the ledger's
// decision, else the one that its outcome has, else the earliest. nil: the input
// has no record of the event.
func (d *dossier) main() *content {
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

// difference is a member in which an outcome is not as its event.
type difference struct {
	kind   Kind
	detail string
}

// differs gives what an outcome says otherwise than its event.
func (o *outcome) differs(c *content) []difference {
	var all []difference
	if o.Amount.Currency() != c.Amount.Currency() {
		all = append(all, difference{WrongCurrency, fmt.Sprintf("its currency is %s, the event's is %s", o.Amount.Currency(), c.Amount.Currency())})
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

func amounts(a storedAmount) (amount, currency string) { return a.String(), string(a.Currency()) }
