// Package ledger keeps attempts and decisions by event id: a compacted topic, and on
// each instance a local store that follows it. With it the service recognises an event
// that comes again after the payment API has forgotten its key.
//
// An attempt is written before the first call, a decision in the transaction that
// carries the outcome. The two have different keys, so that compaction never
// lets one erase the other.
package ledger

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
)

// Kind is the kind of an entry of the ledger.
type Kind uint8

// The kinds of entry.
const (
	KindAttempt  Kind = 'a'
	KindDecision Kind = 'd'
)

// The keys are "a/" or "d/" and the event id.
const separator = '/'

// Key returns the key of an entry's record.
func (k Kind) Key(id string) []byte {
	key := make([]byte, 0, 2+len(id))
	key = append(key, byte(k), separator)
	return append(key, id...)
}

// ErrUnreadable reports that this version cannot read a record of the ledger: a
// newer version or another program wrote it. Such a record is never skipped, because
// it may be the decision on a charged event.
var ErrUnreadable = errors.New("a record of the ledger cannot be read")

// ParseKey reads a record's key.
func ParseKey(key []byte) (Kind, string, error) {
	if len(key) < 3 || key[1] != separator {
		return 0, "", fmt.Errorf("%w: its key is none of a ledger", ErrUnreadable)
	}
	switch kind := Kind(key[0]); kind {
	case KindAttempt, KindDecision:
		return kind, string(key[2:]), nil
	}
	return 0, "", fmt.Errorf("%w: its key is none of a ledger", ErrUnreadable)
}

// version is the layout of the values below. A reader refuses a newer one.
const version = 1

type wireAttempt struct {
	Version   int    `cbor:"0,keyasint"`
	First     int64  `cbor:"1,keyasint,omitempty"` // Unix milliseconds; 0: no call was made
	Event     []byte `cbor:"2,keyasint,omitempty"`
	Body      []byte `cbor:"3,keyasint,omitempty"`
	Encoding  int    `cbor:"4,keyasint,omitempty"`
	Account   string `cbor:"5,keyasint,omitempty"`
	Reference string `cbor:"6,keyasint,omitempty"` // left out if an outcome repeats it, like the following
	OrderID   string `cbor:"7,keyasint,omitempty"` // left out if it is the reference
	Amount    string `cbor:"8,keyasint,omitempty"`
	Currency  string `cbor:"9,keyasint,omitempty"`
}

type wireDecision struct {
	Version  int          `cbor:"0,keyasint"`
	At       int64        `cbor:"1,keyasint"`
	Attempt  *wireAttempt `cbor:"2,keyasint,omitempty"`
	Outcome  *wireOutcome `cbor:"3,keyasint,omitempty"`
	ParkInfo *wireParking `cbor:"4,keyasint,omitempty"`
	Content  []byte       `cbor:"5,keyasint,omitempty"`
	// Superseded are fingerprints, one after the other.
	Superseded []byte `cbor:"6,keyasint,omitempty"`
}

// wireOutcome leaves out redundant fields: the event id is the key, the subject is the
// order id, and the reference is left out if it equals the order id.
type wireOutcome struct {
	Captured         bool              `cbor:"0,keyasint,omitempty"`
	OrderID          string            `cbor:"1,keyasint"`
	Amount           string            `cbor:"2,keyasint"`
	Currency         string            `cbor:"3,keyasint"`
	Reference        string            `cbor:"4,keyasint,omitempty"`
	PaymentID        string            `cbor:"5,keyasint,omitempty"`
	Transactions     []wireTransaction `cbor:"6,keyasint,omitempty"`
	Time             int64             `cbor:"7,keyasint"`
	CapturedAt       int64             `cbor:"8,keyasint,omitempty"`
	ProviderReplayed bool              `cbor:"9,keyasint,omitempty"`
	Reason           string            `cbor:"10,keyasint,omitempty"`
	Category         string            `cbor:"11,keyasint,omitempty"`
	Retry            string            `cbor:"12,keyasint,omitempty"`
	TraceParent      string            `cbor:"13,keyasint,omitempty"`
}

type wireTransaction struct {
	_             struct{} `cbor:",toarray"`
	ID            string
	Status        string
	StatusDetail  string
	PaymentMethod string
	Amount        string
}

type wireParking struct {
	Reason       string `cbor:"0,keyasint"`
	Detail       string `cbor:"1,keyasint,omitempty"`
	FirstAttempt int64  `cbor:"2,keyasint,omitempty"`
	Tries        int    `cbor:"3,keyasint,omitempty"`
	HTTPStatus   int    `cbor:"4,keyasint,omitempty"`
	RequestID    string `cbor:"5,keyasint,omitempty"`
}

// DecodeAttempt reads the value of an attempt's record. The error is
// [ErrUnreadable].
func DecodeAttempt(value []byte) (*event.Attempt, error) {
	if g, ok := scanAttempt(string(value)); ok {
		if a, ok := g.attempt(); ok {
			return &a, nil
		}
	}
	return readWireAttempt(value)
}

// readWireAttempt reads any form of an attempt.
func readWireAttempt(value []byte) (*event.Attempt, error) {
	var w wireAttempt
	if err := unmarshal(value, &w); err != nil {
		return nil, err
	}
	return w.attempt()
}

func (w *wireAttempt) attempt() (*event.Attempt, error) {
	if w.Version < 1 || w.Version > version {
		return nil, newer(w.Version)
	}
	a := &event.Attempt{First: fromMilli(w.First), Encoding: w.Encoding, Account: w.Account, Reference: w.Reference}
	for _, f := range []struct {
		from []byte
		into *event.Fingerprint
	}{{w.Event, &a.Event}, {w.Body, &a.Body}} {
		if err := readFingerprint(f.into, f.from); err != nil {
			return nil, err
		}
	}
	if w.Amount == "" {
		a.OrderID = w.OrderID
		return a, nil
	}
	a.OrderID = cmp.Or(w.OrderID, w.Reference)
	var err error
	a.Amount, err = readAmount(w.Amount, w.Currency)
	return a, err
}

func readFingerprint(into *event.Fingerprint, from []byte) error {
	if n := len(from); n != 0 && n != len(into) {
		return fmt.Errorf("%w: a fingerprint of %d bytes", ErrUnreadable, n)
	}
	copy(into[:], from)
	return nil
}

// readFingerprints reads fingerprints that lie one after the other.
func readFingerprints[T string | []byte](from T) ([]event.Fingerprint, error) {
	const size = len(event.Fingerprint{})
	if len(from)%size != 0 {
		return nil, fmt.Errorf("%w: fingerprints of %d bytes", ErrUnreadable, len(from))
	}
	var all []event.Fingerprint
	for ; len(from) > 0; from = from[size:] {
		all = append(all, event.Fingerprint([]byte(from[:size])))
	}
	return all, nil
}

func readAmount(text, code string) (money.Amount, error) {
	currency, err := money.ParseCurrency(code)
	if err != nil {
		return money.Amount{}, fmt.Errorf("%w: currency: %w", ErrUnreadable, err)
	}
	amount, err := money.Parse(text, currency)
	if err != nil {
		return money.Amount{}, fmt.Errorf("%w: amount: %w", ErrUnreadable, err)
	}
	return amount, nil
}

// DecodeDecision reads the value of the record of a decision on an event. The
// error is [ErrUnreadable].
func DecodeDecision(id string, value []byte) (*event.Decision, error) {
	if g, ok := scanDecision(string(value)); ok {
		if d, ok := g.decision(id); ok {
			return d, nil
		}
	}
	return readWireDecision(id, value)
}

// readWireDecision reads any form of a decision.
func readWireDecision(id string, value []byte) (*event.Decision, error) {
	var w wireDecision
	if err := unmarshal(value, &w); err != nil {
		return nil, err
	}
	if w.Version < 1 || w.Version > version {
		return nil, newer(w.Version)
	}
	d := &event.Decision{At: fromMilli(w.At)}
	if w.Attempt != nil {
		a, err := w.Attempt.attempt()
		if err != nil {
			return nil, err
		}
		d.Attempt = *a
	}
	switch {
	case w.Outcome != nil && w.ParkInfo == nil:
		o, err := w.Outcome.outcome(id)
		if err != nil {
			return nil, err
		}
		d.Outcome = o
		if w.Attempt != nil {
			fillFrom(&d.Attempt, o)
		}
	case w.ParkInfo != nil && w.Outcome == nil:
		d.ParkInfo = w.ParkInfo.parking()
	default:
		return nil, fmt.Errorf("%w: a decision must have an outcome or a parking", ErrUnreadable)
	}
	if err := readFingerprint(&d.Content, w.Content); err != nil {
		return nil, err
	}
	var err error
	d.Superseded, err = readFingerprints(w.Superseded)
	return d, err
}

// fillFrom sets the fields of an attempt that its outcome repeats, and which were left
// out for that.
func fillFrom(a *event.Attempt, o *event.Outcome) {
	a.Reference = cmp.Or(a.Reference, o.ExternalReference)
	a.OrderID = cmp.Or(a.OrderID, o.OrderID)
	a.Amount = cmp.Or(a.Amount, o.Amount)
}

func (w *wireOutcome) outcome(id string) (*event.Outcome, error) {
	amount, err := readAmount(w.Amount, w.Currency)
	if err != nil {
		return nil, err
	}
	o := &event.Outcome{
		Type: event.TypeRejected, Subject: w.OrderID, Time: fromMilli(w.Time), TraceParent: w.TraceParent,
		EventID: id, OrderID: w.OrderID, Amount: amount, ExternalReference: w.Reference, PaymentID: w.PaymentID,
		CapturedAt: fromMilli(w.CapturedAt), ProviderReplayed: w.ProviderReplayed,
		Reason: w.Reason, Category: event.Category(w.Category), Retry: event.Retry(w.Retry),
	}
	if w.Captured {
		o.Type = event.TypeCaptured
	}
	if o.ExternalReference == "" {
		o.ExternalReference = o.OrderID
	}
	for _, t := range w.Transactions {
		o.Transactions = append(o.Transactions, event.Transaction{
			ID: t.ID, Status: t.Status, StatusDetail: t.StatusDetail, PaymentMethod: t.PaymentMethod, Amount: t.Amount,
		})
	}
	return o, nil
}

func (w *wireParking) parking() *event.ParkInfo {
	return &event.ParkInfo{
		Reason: event.ParkReason(w.Reason), Detail: w.Detail, FirstAttempt: fromMilli(w.FirstAttempt), Tries: w.Tries,
		HTTPStatus: w.HTTPStatus, RequestID: w.RequestID,
	}
}

func unmarshal(value []byte, into any) error {
	if err := cbor.Unmarshal(value, into); err != nil {
		return fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return nil
}

func newer(v int) error {
	return fmt.Errorf("%w: it has layout %d, and this version knows up to %d: run the newer version", ErrUnreadable, v, version)
}

func milli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMilli(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
