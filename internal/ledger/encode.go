package ledger

import (
	"encoding/binary"
	"errors"
	"strings"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
)

// EncodeAttempt returns the value of an attempt's record. It holds no secret.
func EncodeAttempt(a event.Attempt) []byte {
	w := cborWriter{out: make([]byte, 0, 128)}
	w.attempt(a)
	return w.out
}

// EncodeDecision returns the value of a decision's record, all that the outcome
// needs to be published again. It holds no secret.
func EncodeDecision(d *event.Decision) ([]byte, error) {
	if (d.Outcome == nil) == (d.ParkInfo == nil) {
		return nil, errors.New("encode a decision: it must have an outcome or a parking")
	}
	w := cborWriter{out: make([]byte, 0, 320)} // as much as most take
	m := w.begin()
	w.number(m, 0, version)
	w.number(m, 1, milli(d.At))
	if d.Attempt != (event.Attempt{}) {
		w.key(m, 2)
		w.attempt(besides(d.Attempt, d.Outcome))
	}
	if d.Outcome != nil {
		w.key(m, 3)
		w.outcome(d.Outcome)
	} else {
		w.key(m, 4)
		w.parking(d.ParkInfo)
	}
	w.fingerprintIf(m, 5, d.Content)
	if n := len(d.Superseded); n > 0 {
		w.key(m, 6)
		w.head(cborBytes, uint64(n*len(d.Content)))
		for _, f := range d.Superseded {
			w.out = append(w.out, f[:]...)
		}
	}
	return w.out, nil
}

// besides returns an attempt without the fields that the outcome repeats.
func besides(a event.Attempt, o *event.Outcome) event.Attempt {
	if o == nil {
		return a
	}
	if a.Reference == o.ExternalReference {
		a.Reference = ""
	}
	if a.OrderID == o.OrderID && a.Amount == o.Amount {
		a.OrderID, a.Amount = "", money.Amount{}
	}
	return a
}

func (w *cborWriter) attempt(a event.Attempt) {
	m := w.begin()
	w.number(m, 0, version)
	w.numberIf(m, 1, milli(a.First))
	w.fingerprintIf(m, 2, a.Event)
	w.fingerprintIf(m, 3, a.Body)
	w.numberIf(m, 4, int64(a.Encoding))
	w.textIf(m, 5, a.Account)
	w.textIf(m, 6, a.Reference)
	amount := a.Amount.String()
	if amount == "" || a.OrderID != a.Reference {
		w.textIf(m, 7, a.OrderID)
	}
	w.textIf(m, 8, amount)
	w.textIf(m, 9, string(a.Amount.Currency()))
}

func (w *cborWriter) outcome(o *event.Outcome) {
	m := w.begin()
	w.yesIf(m, 0, o.Type == event.TypeCaptured)
	w.text(m, 1, o.OrderID)
	w.text(m, 2, o.Amount.String())
	w.text(m, 3, string(o.Amount.Currency()))
	if o.ExternalReference != o.OrderID {
		w.textIf(m, 4, o.ExternalReference)
	}
	w.textIf(m, 5, o.PaymentID)
	if n := len(o.Transactions); n > 0 {
		w.key(m, 6)
		w.head(cborArray, uint64(n))
		for _, t := range o.Transactions {
			w.head(cborArray, 5)
			for _, text := range []string{t.ID, t.Status, t.StatusDetail, t.PaymentMethod, t.Amount} {
				w.string(text)
			}
		}
	}
	w.number(m, 7, milli(o.Time))
	w.numberIf(m, 8, milli(o.CapturedAt))
	w.yesIf(m, 9, o.ProviderReplayed)
	w.textIf(m, 10, o.Reason)
	w.textIf(m, 11, string(o.Category))
	w.textIf(m, 12, string(o.Retry))
	w.textIf(m, 13, o.TraceParent)
}

func (w *cborWriter) parking(p *event.ParkInfo) {
	m := w.begin()
	w.text(m, 0, string(p.Reason))
	w.textIf(m, 1, p.Detail)
	w.numberIf(m, 2, milli(p.FirstAttempt))
	w.numberIf(m, 3, int64(p.Tries))
	w.numberIf(m, 4, int64(p.HTTPStatus))
	w.textIf(m, 5, p.RequestID)
}

// cborWriter writes CBOR, every length in its shortest form. A map's keys are below 24,
// and so their number is, too.
type cborWriter struct{ out []byte }

// mapAt is the position of a map's head, which counts its keys.
type mapAt int

func (w *cborWriter) begin() mapAt {
	w.out = append(w.out, cborMap)
	return mapAt(len(w.out) - 1)
}

// key adds one to a map; its value comes next.
func (w *cborWriter) key(m mapAt, key byte) {
	w.out[m]++
	w.out = append(w.out, key)
}

func (w *cborWriter) head(major byte, n uint64) {
	switch {
	case n < 24:
		w.out = append(w.out, major|byte(n))
	case n < 1<<8:
		w.out = append(w.out, major|24, byte(n))
	case n < 1<<16:
		w.out = binary.BigEndian.AppendUint16(append(w.out, major|25), uint16(n))
	case n < 1<<32:
		w.out = binary.BigEndian.AppendUint32(append(w.out, major|26), uint32(n))
	default:
		w.out = binary.BigEndian.AppendUint64(append(w.out, major|27), n)
	}
}

func (w *cborWriter) number(m mapAt, key byte, n int64) {
	w.key(m, key)
	if n < 0 {
		w.head(cborNegative, uint64(^n)) //nolint:gosec // G115: it is not negative then
	} else {
		w.head(cborUint, uint64(n))
	}
}

func (w *cborWriter) numberIf(m mapAt, key byte, n int64) {
	if n != 0 {
		w.number(m, key, n)
	}
}

// string writes a text. CBOR requires UTF-8, so invalid bytes are replaced as in the
// outcome.
func (w *cborWriter) string(text string) {
	text = strings.ToValidUTF8(text, "\uFFFD")
	w.head(cborText, uint64(len(text)))
	w.out = append(w.out, text...)
}

func (w *cborWriter) text(m mapAt, key byte, text string) {
	w.key(m, key)
	w.string(text)
}

func (w *cborWriter) textIf(m mapAt, key byte, text string) {
	if text != "" {
		w.text(m, key, text)
	}
}

func (w *cborWriter) yesIf(m mapAt, key byte, yes bool) {
	if yes {
		w.key(m, key)
		w.out = append(w.out, cborTrue)
	}
}

func (w *cborWriter) fingerprintIf(m mapAt, key byte, f event.Fingerprint) {
	if !f.IsZero() {
		w.key(m, key)
		w.head(cborBytes, uint64(len(f)))
		w.out = append(w.out, f[:]...)
	}
}
