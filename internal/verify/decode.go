package verify

import (
	"encoding/binary"
	"errors"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
)

var errScratch = errors.New("the scratch store gave something that was not written: is its disk well?")

// decoder reads entries. It is asked for its error once, at the end.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.rest) {
		d.bad, d.rest = true, nil
		return make([]byte, 16)
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) flags() flags { return flags(binary.BigEndian.Uint16(d.take(2))) }

func (d *decoder) number() int64 {
	v, n := binary.Varint(d.rest)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) text() string {
	n := int(d.number())
	if n == 0 {
		return ""
	}
	return string(d.take(n))
}

func (d *decoder) digest() digest { return digest(d.take(8)) }

func (d *decoder) fingerprint() event.Fingerprint { return event.Fingerprint(d.take(16)) }

func (d *decoder) amount() money.Amount {
	currency, minor := d.text(), d.number()
	if currency == "" {
		return money.Amount{}
	}
	a, err := money.FromMinor(minor, money.Currency(currency))
	if err != nil {
		d.bad = true
	}
	return a
}

func (d *decoder) err() error {
	if d.bad || len(d.rest) > 0 {
		return errScratch
	}
	return nil
}

func parseInput(b []byte) (e inputEntry, err error) {
	d := decoder{rest: b}
	e.flags, e.at, e.content, e.parkedAt = d.flags(), d.number(), d.fingerprint(), d.number()
	e.amount, e.order, e.reference = d.amount(), d.text(), d.text()
	if e.reference == "" {
		e.reference = e.order
	}
	e.payer = d.digest()
	if e.has(flagInvalid) {
		e.plain = d.digest()
	}
	e.whole = d.digest()
	return e, d.err()
}

func parseOutcome(b []byte) (e outcomeEntry, err error) {
	d := decoder{rest: b}
	e.flags, e.at, e.amount = d.flags(), d.number(), d.amount()
	e.order, e.reference, e.core, e.whole = d.digest(), d.digest(), d.digest(), d.digest()
	e.payment = d.text()
	return e, d.err()
}

func parseParked(b []byte) (e parkedEntry, err error) {
	d := decoder{rest: b}
	e.flags, e.at, e.content, e.whole, e.first, e.reason = d.flags(), d.number(), d.fingerprint(), d.digest(), d.number(), d.text()
	return e, d.err()
}

func parseDecision(b []byte) (e decisionEntry, err error) {
	d := decoder{rest: b}
	e.flags, e.at, e.first, e.content, e.amount = d.flags(), d.number(), d.number(), d.fingerprint(), d.amount()
	e.core, e.whole, e.reason = d.digest(), d.digest(), d.text()
	for n := d.number(); n > 0 && !d.bad; n-- {
		e.superseded = append(e.superseded, d.digest())
	}
	return e, d.err()
}

func parseAttempt(b []byte) (e attemptEntry, err error) {
	d := decoder{rest: b}
	e.flags, e.first = d.flags(), d.number()
	return e, d.err()
}
