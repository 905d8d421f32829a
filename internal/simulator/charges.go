package simulator

import (
	"maps"
	"slices"
	"time"

	"github.com/shopspring/decimal"
)

// Charges reports which money really moved: the oracle for "at most once". It is a
// copy, and holds neither payer tokens nor access tokens.
type Charges struct {
	// List has all real movements of money, in order.
	List []Charge `json:"charges"`
	// ByKey sums the charges by idempotency key, across forgotten keys: a count
	// above one is a double charge.
	ByKey map[string]Tally `json:"by_key"`
	// ByReference sums the charges by external_reference.
	ByReference map[string]Tally `json:"by_external_reference"`
	// Calls is the number of POSTs of captures, whatever their answers.
	Calls int `json:"calls"`
	// CallsByKey is the same by idempotency key; those without a key are in Calls only.
	CallsByKey map[string]int `json:"calls_by_key"`
	// Rejected is the number of captures that ended as rejected payments; neither
	// errors nor repetitions count.
	Rejected int `json:"rejected"`
	// Refunds sums the refunded money; the charges do not decrease.
	Refunds Tally `json:"refunds"`
	// MaxConcurrent is the greatest number of POSTs of captures in flight.
	MaxConcurrent int `json:"max_concurrent"`
	// KeysByReference has, for each external_reference, the key of every POST in the
	// order of their arrival.
	KeysByReference map[string][]string `json:"keys_by_external_reference"`
	// OverlapByReference is the greatest number of POSTs in flight for a reference. A
	// POST whose client hung up counts until the server has noticed.
	OverlapByReference map[string]int `json:"overlap_by_external_reference"`
	// MaxOverlapPerReference is the greatest of these.
	MaxOverlapPerReference int `json:"max_overlap_per_external_reference"`
}

// Charge is one movement of money from a payer to the seller.
type Charge struct {
	PaymentID         int64           `json:"payment_id"`
	Key               string          `json:"key"`
	ExternalReference string          `json:"external_reference"`
	Amount            decimal.Decimal `json:"amount"`
	Time              time.Time       `json:"time"`
	// Payer is the payer's id, as in the payment; it is not the token.
	Payer int64 `json:"payer"`
}

// Tally counts and sums amounts, in the currency of the site.
type Tally struct {
	Count int             `json:"count"`
	Sum   decimal.Decimal `json:"sum"`
}

func (t Tally) add(amount decimal.Decimal) Tally {
	return Tally{Count: t.Count + 1, Sum: t.Sum.Add(amount)}
}

// DoubleCharges returns the idempotency keys that were charged more than once,
// sorted.
func (c Charges) DoubleCharges() []string {
	var keys []string
	for key, tally := range c.ByKey {
		if tally.Count > 1 {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// Charges returns a copy of what has happened so far.
func (s *Simulator) Charges() Charges {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := &s.book
	c := Charges{
		List:               slices.Clone(b.charges),
		ByKey:              maps.Clone(b.byKey),
		ByReference:        maps.Clone(b.byReference),
		Calls:              b.calls,
		CallsByKey:         maps.Clone(b.callsByKey),
		Rejected:           b.rejected,
		Refunds:            b.refunds,
		MaxConcurrent:      b.maxConcurrent,
		KeysByReference:    make(map[string][]string, len(b.keysByReference)),
		OverlapByReference: maps.Clone(b.maxOverlap),
	}
	for reference, keys := range b.keysByReference {
		c.KeysByReference[reference] = slices.Clone(keys)
	}
	for _, overlap := range b.maxOverlap {
		c.MaxOverlapPerReference = max(c.MaxOverlapPerReference, overlap)
	}
	return c
}

// book holds the data of Charges, under the simulator's lock.
type book struct {
	charges         []Charge
	byKey           map[string]Tally
	byReference     map[string]Tally
	calls           int
	callsByKey      map[string]int
	rejected        int
	refunds         Tally
	concurrent      int
	maxConcurrent   int
	keysByReference map[string][]string
	open            map[string]int // POSTs in flight by reference
	maxOverlap      map[string]int
}

func newBook() book {
	return book{
		byKey:           map[string]Tally{},
		byReference:     map[string]Tally{},
		callsByKey:      map[string]int{},
		keysByReference: map[string][]string{},
		open:            map[string]int{},
		maxOverlap:      map[string]int{},
	}
}

// enter records that a POST began, before any of it is read.
func (b *book) enter() {
	b.calls++
	b.concurrent++
	b.maxConcurrent = max(b.maxConcurrent, b.concurrent)
}

// arrive records a POST that has been read, and returns its number among those of its
// key.
func (b *book) arrive(p *post) (try int) {
	if p.key != "" {
		b.callsByKey[p.key]++
		try = b.callsByKey[p.key]
	}
	if reference := p.request.reference; reference != "" {
		b.keysByReference[reference] = append(b.keysByReference[reference], p.key)
		b.open[reference]++
		b.maxOverlap[reference] = max(b.maxOverlap[reference], b.open[reference])
	}
	return try
}

// leave records that a POST has ended; p is nil if it was never read completely.
func (b *book) leave(p *post) {
	b.concurrent--
	if p == nil || p.request.reference == "" {
		return
	}
	b.open[p.request.reference]--
	if b.open[p.request.reference] == 0 {
		delete(b.open, p.request.reference)
	}
}

func (b *book) charge(p *payment, now time.Time) {
	b.charges = append(b.charges, Charge{
		PaymentID:         p.id,
		Key:               p.key,
		ExternalReference: p.reference,
		Amount:            p.amount,
		Time:              now,
		Payer:             p.payerID,
	})
	b.byKey[p.key] = b.byKey[p.key].add(p.amount)
	b.byReference[p.reference] = b.byReference[p.reference].add(p.amount)
}
