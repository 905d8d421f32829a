package verify

import (
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
)

// What is stored of the records, by event. An entry has only what the checks need:
// of texts that are only compared it has the first half of their fingerprint.

// digest stands for a text or a content that is only compared.
type digest [8]byte

func digestOf(texts ...[]byte) digest {
	f := event.FingerprintOf(texts...)
	return digest(f[:8])
}

func digestOfText(s string) digest { return digestOf([]byte(s)) }

// The flags of entries.
const (
	flagCompleted = 1 << iota // an input record: by the group's committed offsets
	flagInRange               // an input record: between Since and Until
	flagForeign               // an input record: it names another account
	flagInvalid               // an input record: it is no valid event
	flagSure                  // it lay below the last stable offset at the start
	flagGone                  // a ledger's entry: a tombstone
	flagCaptured              // an outcome: captured, else rejected
	flagReplayed              // an outcome: published again from the ledger
	flagFromKey               // an outcome: the API answered from its memory of the key
	flagWrongID
	flagWrongTopic
	flagOverpaid // an outcome: its approved payments sum up to more than its amount
	flagParked   // a decision
	flagOtherID  // a parked record: it names another id than that of its event
)

type flags uint16

// marked has the flags of an entry.
type marked struct{ Flags flags }

func (m marked) has(one flags) bool { return m.Flags&one != 0 }

// storedAmount is a [money.Amount] that can be stored.
type storedAmount struct {
	In    money.Currency
	Minor int64 // in the currency's smallest unit
}

func stored(a money.Amount) storedAmount { return storedAmount{In: a.Currency(), Minor: a.Minor()} }

// amount returns the amount; zero: there is none.
func (a storedAmount) amount() money.Amount {
	amount, _ := money.FromMinor(a.Minor, a.In)
	return amount
}

// String returns the amount without its currency.
func (a storedAmount) String() string { return a.amount().String() }

// inputEntry is a record of the input topic.
type inputEntry struct {
	marked
	At        int64 // the record's time, Unix milliseconds; 0: it has none
	Content   event.Fingerprint
	ParkedAt  int64 // of the decision to park that it undoes, Unix milliseconds; 0: it undoes none
	Amount    storedAmount
	Order     string
	Reference string
	Payer     digest // distinguishes the payers of two events
	Plain     digest // of an invalid one: of the record without its timestamp
	Whole     digest // of a valid one: of all that decides about the event
}

// outcomeEntry is a record of an outcome topic.
type outcomeEntry struct {
	marked
	At         int64
	CapturedAt int64 // Unix milliseconds; 0: it is a rejection
	Amount     storedAmount
	Order      digest
	Reference  digest
	Core       digest // what must be the same whenever it is produced
	Whole      digest // what must be the same when it comes from the ledger: all but `replayed`
	Payment    string
}

// parkedEntry is a record of the parked topic.
type parkedEntry struct {
	marked
	At      int64
	Content event.Fingerprint // of the event in it; zero if that is not known
	Whole   digest            // likewise, of all that decides about the event
	First   int64             // its first attempt, Unix milliseconds; 0: none
	Reason  string
}

// decisionEntry is a decision of the ledger.
type decisionEntry struct {
	marked
	At      int64
	First   int64 // the first attempt
	Content event.Fingerprint
	Amount  storedAmount // of an outcome
	Core    digest
	Whole   digest
	Reason  string // park reason
	// superseded are the wholes of events that were parked without a call and
	// corrected since.
	Superseded []digest
}

// attemptEntry is an attempt of the ledger, or its tombstone.
type attemptEntry struct {
	marked
	First int64
	Owner string // who wrote it
}

func milli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
