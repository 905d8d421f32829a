package event

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"payment-capture/internal/money"
	"payment-capture/internal/secret"
)

// What the service and the commands that foretell what it will do go by alike.
const (
	// LookFirstAfter is the age of an attempt from which on its payment is looked
	// for before it is asked for again.
	LookFirstAfter = time.Hour
	// ClockTolerance is how far a time may be ahead of our clock.
	ClockTolerance = 5 * time.Minute
)

// History is what was noted of an event before: what the ledger knows.
type History struct {
	// Attempt is the earliest attempt that is not withdrawn or decided; nil:
	// none. Its effect is unknown.
	Attempt *Attempt
	// Decision is how the event ended; nil: it has not.
	Decision *Decision
	// Unread says that this process made the decision, and has not read it back:
	// it may not be in the ledger yet.
	Unread bool
}

// Snapshot is what was known of an event at one moment.
type Snapshot struct {
	History
	// Mark is what the ledger tells by whether that still holds; 0: nothing was
	// seen.
	Mark uint64
}

// NeverCalled reports whether no call for the event is known: it has no open
// attempt, and no decision that followed one.
func (h History) NeverCalled() bool {
	return h.Attempt == nil && (h.Decision == nil || h.Decision.Uncalled())
}

// Open gives the attempt of which it is not known what came of it: the event is
// not decided, or was parked. A payment that was made since may be its. nil: the
// event was never tried, owns its payment, or is known to have made none.
func (h History) Open() *Attempt {
	switch d := h.Decision; {
	case d == nil:
		return h.Attempt
	case d.Parked():
		return Earlier(h.Attempt, d.Attempt.Made())
	}
	return nil
}

// Captured gives the outcome of an event that was captured, else nil.
func (h History) Captured() *Outcome {
	if d := h.Decision; d != nil && d.Outcome != nil && d.Outcome.Type == TypeCaptured {
		return d.Outcome
	}
	return nil
}

// Known is what was noted of an event.
type Known struct {
	EventID string
	History
}

// Attempt says that an event is tried: from then on the buyer may have paid.
type Attempt struct {
	First     time.Time   // when the first call was about to be made; in milliseconds
	Event     Fingerprint // of the event, by [ReadyToCapture.Fingerprint]
	Body      Fingerprint // of the request that was sent
	Encoding  int         // the version of the layout that the body was written in
	Account   string      // the account that it was sent for
	Reference string      // the event's external reference
	// What a later event of the same id is compared with, beside the reference:
	// zero where that is not known.
	OrderID string
	Amount  money.Amount
}

// AttemptOf returns an attempt on the event that was not made yet.
func AttemptOf(e *ReadyToCapture) Attempt {
	return Attempt{Event: e.Fingerprint(), Reference: e.ExternalReference, OrderID: e.OrderID, Amount: e.Amount}
}

// Made gives the attempt if it was made, else nil.
func (a Attempt) Made() *Attempt {
	if a.First.IsZero() {
		return nil
	}
	return &a
}

// Earlier gives the attempt that was made first, of two of which either may be
// nil, as one that says what was sent, if either does.
func Earlier(a, b *Attempt) *Attempt {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	first := *a
	if first.Body.IsZero() {
		first = *b
	}
	first.First = a.First
	if b.First.Before(a.First) {
		first.First = b.First
	}
	return &first
}

// Now is the time as the ledger keeps it: by the wall clock, in milliseconds.
func Now() time.Time { return time.Now().Round(0).Truncate(time.Millisecond) }

// Decision is how an event ended.
type Decision struct {
	Result

	At time.Time // when it was decided; in milliseconds
	// Attempt is what was tried; its First is zero where nothing was, and its
	// Event where the record was no valid event.
	Attempt Attempt
	// Content is that of the event, by [ReadyToCapture.Content]. Only an uncalled
	// decision has it.
	Content Fingerprint
	// Superseded are the contents of earlier events of this id that were parked
	// without a call and corrected since: at most [MaxSuperseded], oldest first.
	Superseded []Fingerprint
}

// MaxSuperseded is how often an event can be corrected under its id.
const MaxSuperseded = 16

// Parked reports whether the event waits for a person.
func (d *Decision) Parked() bool { return d.ParkInfo != nil }

// Uncalled reports whether the decision parked a valid event without any call.
func (d *Decision) Uncalled() bool {
	return d.Parked() && d.Attempt.First.IsZero() && d.ParkInfo.FirstAttempt.IsZero()
}

// Fingerprint is the first half of a SHA-256: two texts of one fingerprint are
// the same text.
type Fingerprint [sha256.Size / 2]byte

// IsZero reports whether it is the fingerprint of nothing.
func (f Fingerprint) IsZero() bool { return f == Fingerprint{} }

// String gives it in hexadecimal.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// FingerprintOf gives the fingerprint of texts in their order.
func FingerprintOf(texts ...[]byte) Fingerprint {
	buf := make([]byte, 0, 256) // as much as the texts of an event need, as a rule
	for _, t := range texts {
		buf = binary.AppendUvarint(buf, uint64(len(t))) // so that none can pass for two
		buf = append(buf, t...)
	}
	sum := sha256.Sum256(buf)
	return Fingerprint(sum[:len(Fingerprint{})])
}

// Fingerprint covers what makes it this event and no other: its order, amount,
// currency, reference and payer. A second event of the same id that differs in
// one of them contradicts the first.
func (e *ReadyToCapture) Fingerprint() Fingerprint {
	return fingerprintOf(e.OrderID, e.Amount, e.ExternalReference, e.PayerToken)
}

func fingerprintOf(order string, amount money.Amount, reference string, payer secret.Text) Fingerprint {
	return FingerprintOf([]byte(order), []byte(amount.String()), []byte(amount.Currency()), []byte(reference), []byte(payer.Reveal()))
}

// Content returns the fingerprint of everything that decides what becomes of the
// event: all of its members, and its own time. It does not cover the record's
// timestamp, nor the trace context: both change when the same event is published
// again.
//
// Members that are absent add nothing, so that a version which reads another
// member does not take events without it for others than they were.
func (e *ReadyToCapture) Content() Fingerprint {
	identity := e.Fingerprint()
	texts := [][]byte{identity[:], []byte(e.ID)}
	add := func(name, value string) {
		if value != "" {
			texts = append(texts, []byte(name), []byte(value))
		}
	}
	add("source", e.Source)
	add("subject", e.Subject)
	if !e.TimeFromRecord {
		add("time", e.Time.UTC().Format(time.RFC3339Nano))
	}
	add("description", e.Description)
	add("account", e.Account)
	add("device_session_id", e.DeviceSessionID)
	if s := e.SubMerchant; s != nil { // no member of it has a control character
		add("sub_merchant", strings.Join([]string{
			s.ID, s.MCC, s.Country, strconv.FormatUint(uint64(s.AddressDoorNumber), 10), s.Zip, s.DocumentNumber, s.City,
			s.AddressStreet, s.LegalName, s.RegionCodeISO, s.RegionCode, s.DocumentType, s.Phone, s.URL,
		}, "\x00"))
	}
	return FingerprintOf(texts...)
}

// Differences returns what an event says otherwise than an earlier one of its id,
// each with both values, which are printable and bounded. Of the payer it says
// only that it differs. The earlier event is the one that an attempt was made for;
// if the attempt does not have its values the result says only that.
func (e *ReadyToCapture) Differences(before Attempt) string {
	if before.OrderID == "" {
		return "another order, amount, currency, reference or payer; the ledger does not have the earlier values"
	}
	var all []string
	for _, f := range []struct{ name, before, now string }{
		{"order_id", before.OrderID, e.OrderID},
		{"amount", before.Amount.String(), e.Amount.String()},
		{"currency", string(before.Amount.Currency()), string(e.Amount.Currency())},
		{"external_reference", before.Reference, e.ExternalReference},
	} {
		if f.before != f.now {
			all = append(all, fmt.Sprintf("%s was %s and is %s here", f.name, printable(f.before, shownValue), printable(f.now, shownValue)))
		}
	}
	if fingerprintOf(before.OrderID, before.Amount, before.Reference, e.PayerToken) != before.Event {
		all = append(all, "the payer differs")
	}
	return strings.Join(all, "; ")
}

// shownValue is how many bytes of a value a text for an operator has.
const shownValue = 80

// RecordID stands in for the event id of a record that has none which can be
// trusted: it is the same for a copy of the record, wherever that lies, and no
// event's id, being longer than any may be. Headers that this service adds to
// a record that it sends again do not count.
func RecordID(m Message) string {
	sum := sha256.New()
	add := func(text []byte) {
		size := uint64(len(text)) + 1
		if text == nil { // which is not empty
			size = 0
		}
		var room [binary.MaxVarintLen64]byte
		sum.Write(room[:binary.PutUvarint(room[:], size)])
		sum.Write(text)
	}
	add(m.Key)
	add(m.Value)
	if m.Timestamp.IsZero() {
		add(nil)
	} else {
		add(binary.BigEndian.AppendUint64(nil, uint64(m.Timestamp.UnixMilli())))
	}
	for _, h := range m.Headers {
		if !IsResendHeader(h.Key) {
			add([]byte(h.Key))
			add(h.Value)
		}
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil))
}
