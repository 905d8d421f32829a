package ledger

import (
	"encoding/binary"
	"unicode/utf8"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
)

// readVerdict reads of a decision's value what the store needs, and under which
// reference it is to be found; nil: none, for it was not tried and has no payment. They
// point into the value. The error is [ErrUnreadable].
//
// A ledger of millions of decisions is read at the start, and to decode each
// would take most of the time. So the form that [EncodeDecision] writes is
// looked through without that; whatever differs from it in the least is decoded.
func readVerdict(id, value []byte) (v verdict, reference []byte, err error) {
	v, reference, ok := peekDecision(value)
	if ok {
		return v, reference, nil
	}
	d, err := DecodeDecision(string(id), value)
	if err != nil {
		return verdict{}, nil, err
	}
	return verdict{rank: rankOf(d), at: milli(d.At), value: value}, []byte(referenceOf(d)), nil
}

// readAttempt reads of an attempt's value the reference under which it is to be
// found, which points into the value; empty: none. The error is [ErrUnreadable].
func readAttempt(value []byte) (reference []byte, err error) {
	p := peeker{rest: value}
	_, reference = p.attempt()
	if !p.unsure && len(p.rest) == 0 {
		return reference, nil
	}
	a, err := DecodeAttempt(value)
	if err != nil {
		return nil, err
	}
	return []byte(a.Reference), nil
}

// peeker looks through CBOR of one form: maps of small numbers in rising order,
// every length in its shortest form. unsure says that it met anything else.
type peeker struct {
	rest   []byte
	unsure bool
}

// CBOR's major types, and the three simple values that occur.
const (
	cborUint  = 0 << 5
	cborBytes = 2 << 5
	cborText  = 3 << 5
	cborArray = 4 << 5
	cborMap   = 5 << 5
	cborFalse = 0xf4
	cborTrue  = 0xf5
)

// head reads a value's type and its number or length.
func (p *peeker) head(major byte) uint64 {
	if len(p.rest) == 0 || p.rest[0]&0xe0 != major {
		p.unsure = true
		return 0
	}
	short := uint64(p.rest[0] & 0x1f)
	size := 0
	switch short {
	case 24, 25, 26, 27:
		size = 1 << (short - 24)
	}
	if short > 27 || len(p.rest) < 1+size {
		p.unsure = true
		return 0
	}
	digits := p.rest[1 : 1+size]
	p.rest = p.rest[1+size:]
	switch size {
	case 1:
		return uint64(digits[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(digits))
	case 4:
		return uint64(binary.BigEndian.Uint32(digits))
	case 8:
		return binary.BigEndian.Uint64(digits)
	}
	return short
}

// number reads a number that fits in 53 bits, as times do.
func (p *peeker) number() int64 {
	n := p.head(cborUint)
	if n >= 1<<53 {
		p.unsure = true
		return 0
	}
	return int64(n)
}

func (p *peeker) span(major byte) []byte {
	n := p.head(major)
	if n > uint64(len(p.rest)) {
		p.unsure = true
		return nil
	}
	s := p.rest[:n:n]
	p.rest = p.rest[n:]
	return s
}

func (p *peeker) text() []byte {
	s := p.span(cborText)
	if !utf8.Valid(s) {
		p.unsure = true
	}
	return s
}

func (p *peeker) fingerprint() {
	if n := len(p.span(cborBytes)); n != 0 && n != len(event.Fingerprint{}) {
		p.unsure = true
	}
}

func (p *peeker) yes() bool {
	if len(p.rest) == 0 || p.rest[0] != cborFalse && p.rest[0] != cborTrue {
		p.unsure = true
		return false
	}
	yes := p.rest[0] == cborTrue
	p.rest = p.rest[1:]
	return yes
}

// fields reads a map: its keys in rising order, and the value of each by the
// function.
func (p *peeker) fields(value func(key uint64)) {
	last := -1
	for n := p.head(cborMap); n > 0 && !p.unsure; n-- {
		key := p.head(cborUint)
		if key > 23 || int(key) <= last {
			p.unsure = true
			return
		}
		last = int(key)
		value(key)
	}
}

func (p *peeker) version() {
	if p.number() != version {
		p.unsure = true
	}
}

// attempt tells whether a call was made, and the reference.
func (p *peeker) attempt() (made bool, reference []byte) {
	versioned := false
	p.fields(func(key uint64) {
		switch key {
		case 0:
			versioned = true
			p.version()
		case 1:
			made = p.number() != 0
		case 2, 3:
			p.fingerprint()
		case 4:
			p.number()
		case 5:
			p.text()
		case 6:
			reference = p.text()
		default:
			p.unsure = true
		}
	})
	if !versioned {
		p.unsure = true
	}
	return made, reference
}

// peekDecision looks through a decision's value. It is ok only where
// [DecodeDecision] can read it, and finds the same.
func peekDecision(value []byte) (v verdict, reference []byte, ok bool) {
	p := peeker{rest: value}
	v.value = value
	versioned, verdicts := false, 0
	made, paid := false, false
	var tried []byte // the attempt's reference
	p.fields(func(key uint64) {
		switch key {
		case 0:
			versioned = true
			p.version()
		case 1:
			v.at = p.number()
		case 2:
			made, tried = p.attempt()
		case 3:
			verdicts++
			v.rank, paid, reference = p.outcome()
		case 4:
			verdicts++
			v.rank, reference = rankParked, tried
			p.parking()
		default:
			p.unsure = true
		}
	})
	if !made && !paid {
		reference = nil
	}
	return v, reference, !p.unsure && versioned && verdicts == 1 && len(p.rest) == 0
}

// outcome gives the rank, whether it has a payment, and the reference.
func (p *peeker) outcome() (r rank, paid bool, reference []byte) {
	r = rankRejected
	var order, amount, currency []byte
	p.fields(func(key uint64) {
		switch key {
		case 0:
			if p.yes() {
				r = rankCaptured
			}
		case 1:
			order = p.text()
		case 2:
			amount = p.text()
		case 3:
			currency = p.text()
		case 4:
			reference = p.text()
		case 5:
			paid = len(p.text()) > 0
		case 6:
			p.transactions()
		case 7, 8:
			p.number()
		case 9:
			p.yes()
		case 10, 11, 12, 13:
			p.text()
		default:
			p.unsure = true
		}
	})
	if !plainAmount(amount, currency) {
		p.unsure = true
	}
	if len(reference) == 0 {
		reference = order
	}
	return r, paid, reference
}

func (p *peeker) transactions() {
	for n := p.head(cborArray); n > 0 && !p.unsure; n-- {
		if p.head(cborArray) != 5 {
			p.unsure = true
			return
		}
		for range 5 {
			p.text()
		}
	}
}

func (p *peeker) parking() {
	p.fields(func(key uint64) {
		switch key {
		case 0, 1, 5:
			p.text()
		case 2, 3, 4:
			p.number()
		default:
			p.unsure = true
		}
	})
}

// plainAmount reports whether an amount is surely one that [money.Parse] takes.
func plainAmount(text, currency []byte) bool {
	site, ok := money.SiteOf(money.Currency(currency))
	if !ok {
		return false
	}
	before, after, point, positive := 0, 0, false, false
	for _, c := range text {
		switch {
		case c == '.' && !point:
			point = true
		case c < '0' || c > '9':
			return false
		case point:
			after++
		default:
			before++
		}
		positive = positive || c > '0'
	}
	return positive && before > 0 && before <= 12 && after <= int(site.Scale) && point == (after > 0)
}
