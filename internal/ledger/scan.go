package ledger

import (
	"payment-capture/internal/event"
	"payment-capture/internal/money"
)

// readDecisionValue reads the parts of a decision's value that the store needs, and the
// reference of the index; nil: none, because there is neither an attempt nor a payment.
// They point into the value. The error is [ErrUnreadable].
func readDecisionValue(id, value []byte) (v decisionValue, reference []byte, err error) {
	if g, ok := scanDecision(value); ok {
		return decisionValue{rank: g.rank(), at: g.at, value: value}, g.reference(), nil
	}
	d, err := readWireDecision(string(id), value)
	if err != nil {
		return decisionValue{}, nil, err
	}
	return decisionValue{rank: rankOf(d), at: milli(d.At), value: value}, []byte(referenceOf(d)), nil
}

// readAttempt returns the reference of the index from an attempt's value, and points
// into the value; empty: none. The error is [ErrUnreadable].
func readAttempt(value []byte) (reference []byte, err error) {
	if a, ok := scanAttempt(value); ok {
		return a.reference, nil
	}
	a, err := readWireAttempt(value)
	if err != nil {
		return nil, err
	}
	return []byte(a.Reference), nil
}

// scannedAttempt is an attempt as it lies in a record.
type scannedAttempt[T string | []byte] struct {
	first              int64
	event, body        event.Fingerprint
	encoding           int64
	account, reference T
	order              T // the reference, if it is left out
	amount, currency   T // empty: not known
}

// scannedDecision is a decision as it lies in a record.
type scannedDecision[T string | []byte] struct {
	at      int64
	tried   bool
	attempt scannedAttempt[T]
	decided bool // by an outcome; else by a parking
	outcome scannedOutcome[T]
	parking scannedParkInfo[T]

	content    event.Fingerprint
	superseded T // one after the other
}

type scannedOutcome[T string | []byte] struct {
	captured, providerReplayed               bool
	order, amount, currency, reference       T
	payment, reason, category, retry, parent T
	transactions                             T // one after the other
	transactionCount                         int
	time, capturedAt                         int64
}

type scannedParkInfo[T string | []byte] struct {
	reason, detail, request T
	first, tries, status    int64
}

// scanAttempt reads an attempt without allocating. ok is true only if [readWireAttempt] can read
// it, with the same result.
func scanAttempt[T string | []byte](value T) (a scannedAttempt[T], ok bool) {
	p := scanner[T]{rest: value}
	p.attempt(&a)
	return a, !p.unsure && len(p.rest) == 0
}

func (p *scanner[T]) attempt(a *scannedAttempt[T]) {
	versioned := false
	p.fields(func(key uint64) {
		switch key {
		case 0:
			versioned = true
			p.version()
		case 1:
			a.first = p.number()
		case 2:
			a.event = p.fingerprint()
		case 3:
			a.body = p.fingerprint()
		case 4:
			a.encoding = p.number()
		case 5:
			a.account = p.text()
		case 6:
			a.reference = p.text()
		case 7:
			a.order = p.text()
		case 8:
			a.amount = p.text()
		case 9:
			a.currency = p.text()
		default:
			p.unsure = true
		}
	})
	if !versioned || (len(a.amount) > 0 && !plainAmount(a.amount, a.currency)) {
		p.unsure = true
	}
	if len(a.amount) > 0 && len(a.order) == 0 {
		a.order = a.reference
	}
}

// scanDecision reads a decision without allocating. ok is true only if [readWireDecision] can read
// it, with the same result.
func scanDecision[T string | []byte](value T) (g scannedDecision[T], ok bool) {
	p := scanner[T]{rest: value}
	versioned, results := false, 0
	p.fields(func(key uint64) {
		switch key {
		case 0:
			versioned = true
			p.version()
		case 1:
			g.at = p.number()
		case 2:
			g.tried = true
			p.attempt(&g.attempt)
		case 3:
			results++
			g.decided = true
			p.outcome(&g.outcome)
		case 4:
			results++
			p.parking(&g.parking)
		case 5:
			g.content = p.fingerprint()
		case 6:
			g.superseded = p.span(cborBytes)
			p.unsure = p.unsure || len(g.superseded)%len(g.content) != 0
		default:
			p.unsure = true
		}
	})
	return g, !p.unsure && versioned && results == 1 && len(p.rest) == 0
}

func (p *scanner[T]) outcome(o *scannedOutcome[T]) {
	p.fields(func(key uint64) {
		switch key {
		case 0:
			o.captured = p.yes()
		case 1:
			o.order = p.text()
		case 2:
			o.amount = p.text()
		case 3:
			o.currency = p.text()
		case 4:
			o.reference = p.text()
		case 5:
			o.payment = p.text()
		case 6:
			p.transactions(o)
		case 7:
			o.time = p.number()
		case 8:
			o.capturedAt = p.number()
		case 9:
			o.providerReplayed = p.yes()
		case 10:
			o.reason = p.text()
		case 11:
			o.category = p.text()
		case 12:
			o.retry = p.text()
		case 13:
			o.parent = p.text()
		default:
			p.unsure = true
		}
	})
	if !plainAmount(o.amount, o.currency) {
		p.unsure = true
	}
	if len(o.reference) == 0 {
		o.reference = o.order
	}
}

func (p *scanner[T]) transactions(o *scannedOutcome[T]) {
	n := p.head(cborArray)
	if n > mostTransactions {
		p.unsure = true
	}
	from := p.rest
	for range n {
		if p.transaction(); p.unsure {
			return
		}
	}
	o.transactions, o.transactionCount = from[:len(from)-len(p.rest)], int(n) //nolint:gosec // G115: no more than bytes
}

// mostTransactions is more than the service writes, and less than the library reads.
const mostTransactions = 1 << 10

func (p *scanner[T]) transaction() (texts [5]T) {
	if p.head(cborArray) != uint64(len(texts)) {
		p.unsure = true
		return texts
	}
	for i := range texts {
		texts[i] = p.text()
	}
	return texts
}

func (p *scanner[T]) parking(k *scannedParkInfo[T]) {
	p.fields(func(key uint64) {
		switch key {
		case 0:
			k.reason = p.text()
		case 1:
			k.detail = p.text()
		case 2:
			k.first = p.number()
		case 3:
			k.tries = p.number()
		case 4:
			k.status = p.number()
		case 5:
			k.request = p.text()
		default:
			p.unsure = true
		}
	})
}

// rank returns what [rankOf] returns for the decision.
func (g *scannedDecision[T]) rank() rank {
	switch {
	case !g.decided:
		return rankParked
	case g.outcome.captured:
		return rankCaptured
	}
	return rankRejected
}

// reference returns what [referenceOf] returns for the decision.
func (g *scannedDecision[T]) reference() (reference T) {
	switch {
	case g.attempt.first == 0 && (!g.decided || len(g.outcome.payment) == 0):
		return reference
	case g.decided:
		return g.outcome.reference
	}
	return g.attempt.reference
}

// attempt returns the scanned attempt, if its amount is valid.
func (a *scannedAttempt[T]) attempt() (_ event.Attempt, ok bool) {
	w := event.Attempt{
		First: fromMilli(a.first), Event: a.event, Body: a.body, Encoding: int(a.encoding),
		Account: string(a.account), Reference: string(a.reference), OrderID: string(a.order),
	}
	if len(a.amount) > 0 {
		amount, err := readAmount(string(a.amount), string(a.currency))
		if err != nil {
			return w, false
		}
		w.Amount = amount
	}
	return w, true
}

// decision returns the scanned decision, if its amount is valid.
func (g *scannedDecision[T]) decision(id string) (d *event.Decision, ok bool) {
	d = &event.Decision{At: fromMilli(g.at), Content: g.content}
	if g.tried {
		if d.Attempt, ok = g.attempt.attempt(); !ok {
			return nil, false
		}
	}
	var err error
	if d.Superseded, err = readFingerprints(g.superseded); err != nil {
		return nil, false
	}
	if !g.decided {
		k := &g.parking
		w := wireParking{
			Reason: string(k.reason), Detail: string(k.detail), FirstAttempt: k.first,
			Tries: int(k.tries), HTTPStatus: int(k.status), RequestID: string(k.request),
		}
		d.ParkInfo = w.parking()
		return d, true
	}
	if d.Outcome, ok = g.outcome.outcome(id); ok && g.tried {
		fillFrom(&d.Attempt, d.Outcome)
	}
	return d, ok
}

func (g *scannedOutcome[T]) outcome(id string) (*event.Outcome, bool) {
	w := wireOutcome{
		Captured: g.captured, OrderID: string(g.order), Amount: string(g.amount), Currency: string(g.currency), Reference: string(g.reference),
		PaymentID: string(g.payment), Time: g.time, CapturedAt: g.capturedAt, ProviderReplayed: g.providerReplayed,
		Reason: string(g.reason), Category: string(g.category), Retry: string(g.retry), TraceParent: string(g.parent),
	}
	o, err := w.outcome(id)
	if err != nil {
		return nil, false
	}
	p := scanner[T]{rest: g.transactions}
	for range g.transactionCount {
		t := p.transaction()
		o.Transactions = append(o.Transactions, event.Transaction{
			ID: string(t[0]), Status: string(t[1]), StatusDetail: string(t[2]), PaymentMethod: string(t[3]), Amount: string(t[4]),
		})
	}
	return o, true
}

// plainAmount reports whether [money.Parse] certainly accepts an amount.
func plainAmount[T string | []byte](text, currency T) bool {
	site, ok := money.SiteOf(money.Currency(currency))
	if !ok {
		return false
	}
	before, after, point, positive := 0, 0, false, false
	for i := range len(text) {
		switch c := text[i]; {
		case c == '.' && !point:
			point = true
		case c < '0' || c > '9':
			return false
		case point:
			after++
		default:
			before++
		}
		positive = positive || text[i] > '0'
	}
	return positive && before > 0 && before <= 12 && after <= int(site.Scale) && point == (after > 0)
}
