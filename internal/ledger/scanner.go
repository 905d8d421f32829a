package ledger

import (
	"unicode/utf8"

	"payment-capture/internal/event"
)

// The entries of a ledger are read by the million, when a store is restored and when
// a topic is replayed, and to decode each by reflection would take most of the
// time. So the form that this package writes is looked through without that;
// what differs from it is decoded by the library.

// scanner reads CBOR of one form: maps of small numbers in rising order,
// of the kinds that this package writes. unsure is set if it met anything else.
// Its results point into its input.
type scanner[T string | []byte] struct {
	rest   T
	unsure bool
}

// CBOR's major types, and the two simple values that occur.
const (
	cborUint     = 0 << 5
	cborNegative = 1 << 5
	cborBytes    = 2 << 5
	cborText     = 3 << 5
	cborArray    = 4 << 5
	cborMap      = 5 << 5
	cborFalse    = 0xf4
	cborTrue     = 0xf5
)

// head reads a value's type and its number or length.
func (p *scanner[T]) head(major byte) uint64 {
	if len(p.rest) == 0 || p.rest[0]&0xe0 != major {
		p.unsure = true
		return 0
	}
	n := uint64(p.rest[0] & 0x1f)
	if n < 24 {
		p.rest = p.rest[1:]
		return n
	}
	size := 1 << (n - 24)
	if n > 27 || len(p.rest) < 1+size {
		p.unsure = true
		return 0
	}
	n = 0
	for i := 1; i <= size; i++ {
		n = n<<8 | uint64(p.rest[i])
	}
	p.rest = p.rest[1+size:]
	return n
}

// number reads a number that fits in 53 bits, as times do.
func (p *scanner[T]) number() int64 {
	n := p.head(cborUint)
	if n >= 1<<53 {
		p.unsure = true
		return 0
	}
	return int64(n)
}

func (p *scanner[T]) span(major byte) (s T) {
	n := p.head(major)
	if n > uint64(len(p.rest)) {
		p.unsure = true
		return s
	}
	s = p.rest[:n]
	p.rest = p.rest[n:]
	return s
}

func (p *scanner[T]) text() T {
	s := p.span(cborText)
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			p.unsure = p.unsure || !utf8.ValidString(string(s))
			break
		}
	}
	return s
}

func (p *scanner[T]) fingerprint() (f event.Fingerprint) {
	s := p.span(cborBytes)
	if len(s) != 0 && len(s) != len(f) {
		p.unsure = true
		return f
	}
	copy(f[:], s)
	return f
}

func (p *scanner[T]) yes() bool {
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
func (p *scanner[T]) fields(value func(key uint64)) {
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

func (p *scanner[T]) version() {
	if p.number() != version {
		p.unsure = true
	}
}
