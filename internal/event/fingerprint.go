package event

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"payment-capture/internal/money"
)

// Fingerprint is the first half of a SHA-256: texts with the same fingerprint are
// equal.
type Fingerprint [sha256.Size / 2]byte

// IsZero reports whether there is no fingerprint.
func (f Fingerprint) IsZero() bool { return f == Fingerprint{} }

// String returns the fingerprint in hexadecimal.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// FingerprintOf returns the fingerprint of texts in their order.
func FingerprintOf(texts ...[]byte) Fingerprint {
	buf := make([]byte, 0, 256) // enough for the texts of most events
	for _, t := range texts {
		buf = binary.AppendUvarint(buf, uint64(len(t))) // because ("ab", "c") must differ from ("a", "bc")
		buf = append(buf, t...)
	}
	sum := sha256.Sum256(buf)
	return Fingerprint(sum[:len(Fingerprint{})])
}

// Fingerprint returns the fingerprint of what identifies the event: its order, amount,
// currency, reference and payer. A second event of the same id that differs in
// one of them contradicts the first.
func (e *ReadyToCapture) Fingerprint() Fingerprint {
	return ChargeFingerprint(e.OrderID, e.Amount, e.ExternalReference, e.Payer())
}

// Payer returns the fingerprint of the payer token. The token belongs to the agreement
// between a buyer and the seller, so it stays the same from event to event.
func (e *ReadyToCapture) Payer() Fingerprint { return FingerprintOf([]byte(e.PayerToken.Reveal())) }

// Charge is what an event charges for. Events with the same one are probably of one order.
// In a question, an amount or a payer that is zero stands for any.
type Charge struct {
	Reference string // the external reference
	Amount    money.Amount
	Payer     Fingerprint // by [ReadyToCapture.Payer]
}

// Charge returns what the event charges for.
func (e *ReadyToCapture) Charge() Charge {
	return Charge{Reference: e.ExternalReference, Amount: e.Amount, Payer: e.Payer()}
}

// ChargeFingerprint returns the fingerprint of an event with these values: see
// [ReadyToCapture.Fingerprint]. payer is that of [ReadyToCapture.Payer].
func ChargeFingerprint(order string, amount money.Amount, reference string, payer Fingerprint) Fingerprint {
	return FingerprintOf([]byte(order), []byte(amount.String()), []byte(amount.Currency()), []byte(reference), payer[:])
}

// Content returns the fingerprint of everything that the decision on the event depends
// on: all of its members, and its own time. It does not cover the record's
// timestamp and the trace context, because both change when the same event is published
// again.
//
// Absent members add nothing, so the content of an event without a member stays the
// same in a later version that reads this member.
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
	if s := e.SubMerchant; s != nil { // none of its members has a control character
		add("sub_merchant", strings.Join([]string{
			s.ID, s.MCC, s.Country, strconv.FormatUint(uint64(s.AddressDoorNumber), 10), s.Zip, s.DocumentNumber, s.City,
			s.AddressStreet, s.LegalName, s.RegionCodeISO, s.RegionCode, s.DocumentType, s.Phone, s.URL,
		}, "\x00"))
	}
	return FingerprintOf(texts...)
}

// Differences returns the members in which the event differs from an earlier one of its
// id, for which an attempt was made. Both values are printable and bounded, and the payer's
// are left out. If the attempt does not have the values, the text states only that.
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
			secret := []string{e.PayerToken.Reveal()}
			if reveals(f.before, secret) || reveals(f.now, secret) {
				all = append(all, f.name+" differs")
				continue
			}
			before, now := shownBeside(f.before, f.now)
			all = append(all, fmt.Sprintf("%s was %s and is %s here", f.name, before, now))
		}
	}
	if ChargeFingerprint(before.OrderID, before.Amount, before.Reference, e.Payer()) != before.Event {
		all = append(all, "the payer differs")
	}
	return strings.Join(all, "; ")
}

// shownBeside returns two different texts for an operator, so that they look different: if they do not
// in the usual form, the part around their first difference, in quotes and with escapes.
func shownBeside(a, b string) (shownA, shownB string) {
	const around = 16 // bytes before the difference
	shownA, shownB = Printable(a, shownValue), Printable(b, shownValue)
	if shownA != shownB {
		return shownA, shownB
	}
	begin := 0
	for begin < min(len(a), len(b)) && a[begin] == b[begin] {
		begin++
	}
	for begin = max(0, begin-around); begin > 0 && !utf8.RuneStart(a[begin]); {
		begin--
	}
	part := func(text string) string {
		quoted := strconv.QuoteToASCII(text[begin:min(len(text), begin+shownValue)])
		if begin > 0 {
			return "..." + quoted
		}
		return quoted
	}
	return part(a), part(b)
}

// shownValue is how many bytes of a value an operator sees.
const shownValue = 80

// RecordID returns an id for a record without a valid event: the same for every copy of
// the record, at whatever position, and longer than the id of an event can be. It ignores
// the headers of a [Resend].
func RecordID(m Message) string {
	sum := sha256.New()
	add := func(text []byte) {
		size := uint64(len(text)) + 1
		if text == nil { // because no text differs from an empty one
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
