package verify

import (
	"encoding/binary"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
)

// What is kept of the records, by event. An entry has only what the judgement
// needs: texts that are only compared are kept as the first half of their
// fingerprint.

// digest stands for a text or a content that is only compared.
type digest [8]byte

func digestOf(texts ...[]byte) digest {
	f := event.FingerprintOf(texts...)
	return digest(f[:8])
}

func digestOfText(s string) digest { return digestOf([]byte(s)) }

// The flags of entries.
const (
	flagSettled  = 1 << iota // an input record: by the group's committed offsets
	flagInRange              // an input record: between Since and Until
	flagForeign              // an input record: it names another account
	flagInvalid              // an input record: it is no valid event
	flagSure                 // it lay below the last stable offset at the start
	flagGone                 // a ledger's entry: a tombstone
	flagCaptured             // an outcome: captured, else rejected
	flagReplayed             // an outcome: published again from the ledger
	flagFromKey              // an outcome: the API answered from its memory of the key
	flagWrongID
	flagWrongTopic
	flagOverpaid // an outcome: its approved payments sum up to more than its amount
	flagParked   // a decision
	flagOtherID  // a parked record: it names another id than that of its event
)

type flags uint16

func (f flags) has(one flags) bool { return f&one != 0 }

// inputEntry is a record of the input topic.
type inputEntry struct {
	flags
	at        int64 // the record's time, Unix milliseconds; 0: it has none
	content   event.Fingerprint
	parkedAt  int64 // of the parking that it undoes, Unix milliseconds; 0: it undoes none
	amount    money.Amount
	order     string
	reference string
	payer     digest // tells the payers of two events apart
	plain     digest // of an invalid one: of the record without its timestamp
	whole     digest // of a valid one: of all that decides about the event
}

// outcomeEntry is a record of an outcome topic.
type outcomeEntry struct {
	flags
	at        int64
	amount    money.Amount
	order     digest
	reference digest
	core      digest // what must be the same whenever it is produced
	whole     digest // what must be the same when it comes from the ledger: all but `replayed`
	payment   string
}

// parkedEntry is a record of the parked topic.
type parkedEntry struct {
	flags
	at      int64
	content event.Fingerprint // of the event in it; zero where that is not known
	whole   digest            // likewise, of all that decides about the event
	first   int64             // its first attempt, Unix milliseconds; 0: none
	reason  string
}

// decisionEntry is a decision of the ledger.
type decisionEntry struct {
	flags
	at      int64
	first   int64 // the first attempt
	content event.Fingerprint
	amount  money.Amount // of an outcome
	core    digest
	whole   digest
	reason  string // of a parking
	// superseded are the wholes of events that were parked without a call and
	// corrected since.
	superseded []digest
}

// attemptEntry is an attempt of the ledger, or its tombstone.
type attemptEntry struct {
	flags
	first int64
}

func milli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// coder writes entries.
type coder []byte

func (c *coder) flags(f flags)   { *c = binary.BigEndian.AppendUint16(*c, uint16(f)) }
func (c *coder) number(n int64)  { *c = binary.AppendVarint(*c, n) }
func (c *coder) bytes(b []byte)  { *c = append(*c, b...) }
func (c *coder) text(s string)   { c.number(int64(len(s))); *c = append(*c, s...) }
func (c *coder) digest(d digest) { *c = append(*c, d[:]...) }

func (c *coder) amount(a money.Amount) {
	c.text(string(a.Currency()))
	c.number(a.Minor())
}

func (e inputEntry) encode() []byte {
	c := make(coder, 0, 96)
	c.flags(e.flags)
	c.number(e.at)
	c.bytes(e.content[:])
	c.number(e.parkedAt)
	c.amount(e.amount)
	c.text(e.order)
	if e.reference == e.order {
		e.reference = ""
	}
	c.text(e.reference)
	c.digest(e.payer)
	if e.has(flagInvalid) {
		c.digest(e.plain)
	}
	c.digest(e.whole)
	return c
}

func (e outcomeEntry) encode() []byte {
	c := make(coder, 0, 96)
	c.flags(e.flags)
	c.number(e.at)
	c.amount(e.amount)
	c.digest(e.order)
	c.digest(e.reference)
	c.digest(e.core)
	c.digest(e.whole)
	c.text(e.payment)
	return c
}

func (e parkedEntry) encode() []byte {
	c := make(coder, 0, 64)
	c.flags(e.flags)
	c.number(e.at)
	c.bytes(e.content[:])
	c.digest(e.whole)
	c.number(e.first)
	c.text(e.reason)
	return c
}

func (e decisionEntry) encode() []byte {
	c := make(coder, 0, 96)
	c.flags(e.flags)
	c.number(e.at)
	c.number(e.first)
	c.bytes(e.content[:])
	c.amount(e.amount)
	c.digest(e.core)
	c.digest(e.whole)
	c.text(e.reason)
	c.number(int64(len(e.superseded)))
	for _, d := range e.superseded {
		c.digest(d)
	}
	return c
}

func (e attemptEntry) encode() []byte {
	c := make(coder, 0, 16)
	c.flags(e.flags)
	c.number(e.first)
	return c
}
