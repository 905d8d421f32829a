package ledger

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"payment-capture/internal/event"
)

// byTheLibrary returns a decision's value as the library writes it.
func byTheLibrary(t *testing.T, d *event.Decision) []byte {
	t.Helper()
	valid := func(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }
	w := wireDecision{Version: version, At: milli(d.At)}
	if d.Attempt != (event.Attempt{}) {
		w.Attempt = wireAttemptOf(d.Attempt)
	}
	if o := d.Outcome; o != nil {
		w.Outcome = &wireOutcome{
			Captured: o.Type == event.TypeCaptured, OrderID: o.OrderID, Amount: o.Amount.String(), Currency: string(o.Amount.Currency()),
			PaymentID: valid(o.PaymentID), Time: milli(o.Time), CapturedAt: milli(o.CapturedAt), ProviderReplayed: o.ProviderReplayed,
			Reason: valid(o.Reason), Category: string(o.Category), Retry: string(o.Retry), TraceParent: valid(o.TraceParent),
		}
		if o.ExternalReference != o.OrderID {
			w.Outcome.Reference = o.ExternalReference
		}
		if w.Attempt != nil {
			w.Attempt = wireAttemptOf(besides(d.Attempt, o))
		}
		for _, t := range o.Transactions {
			w.Outcome.Transactions = append(w.Outcome.Transactions, wireTransaction{
				ID: valid(t.ID), Status: valid(t.Status), StatusDetail: valid(t.StatusDetail), PaymentMethod: valid(t.PaymentMethod),
				Amount: valid(t.Amount),
			})
		}
	} else {
		p := d.ParkInfo
		w.ParkInfo = &wireParking{
			Reason: string(p.Reason), Detail: valid(p.Detail), FirstAttempt: milli(p.FirstAttempt), Tries: p.Tries,
			HTTPStatus: p.HTTPStatus, RequestID: valid(p.RequestID),
		}
	}
	if !d.Content.IsZero() {
		w.Content = d.Content[:]
	}
	for _, f := range d.Superseded {
		w.Superseded = append(w.Superseded, f[:]...)
	}
	value, err := cbor.Marshal(&w)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func wireAttemptOf(a event.Attempt) *wireAttempt {
	w := &wireAttempt{Version: version, First: milli(a.First), Encoding: a.Encoding, Account: a.Account, Reference: a.Reference}
	w.Amount, w.Currency = a.Amount.String(), string(a.Amount.Currency())
	if w.Amount == "" || a.OrderID != a.Reference {
		w.OrderID = a.OrderID
	}
	if !a.Event.IsZero() {
		w.Event = a.Event[:]
	}
	if !a.Body.IsZero() {
		w.Body = a.Body[:]
	}
	return w
}

// oddDecisions are those whose texts and numbers lie at the edges of the layout.
func oddDecisions(t *testing.T) []*event.Decision {
	t.Helper()
	var ds []*event.Decision
	for _, text := range []string{
		"", "x", strings.Repeat("x", 23), strings.Repeat("x", 24), strings.Repeat("x", 255),
		strings.Repeat("x", 256), strings.Repeat("ñ", 1<<15), "bad \xff text",
	} {
		for _, at := range []time.Time{
			{},
			time.UnixMilli(-1), time.UnixMilli(1), aTime(0), time.UnixMilli(math.MaxUint32),
			time.UnixMilli(1 << 53),
		} {
			for _, d := range decisionsForTest(t) {
				c := *d
				c.At, c.Attempt.First, c.Attempt.Encoding = at, at, len(text)
				if d.Outcome != nil {
					o := *d.Outcome
					o.PaymentID, o.Reason, o.TraceParent, o.Time, o.CapturedAt = text, text, text, at, at
					o.Transactions = make([]event.Transaction, len(text)%30)
					for i := range o.Transactions {
						o.Transactions[i] = event.Transaction{StatusDetail: text}
					}
					c.Outcome = &o
				} else {
					p := *d.ParkInfo
					p.Detail, p.FirstAttempt, p.Tries = text, at, len(text)
					c.ParkInfo = &p
				}
				ds = append(ds, &c)
			}
		}
	}
	return ds
}

// What is written is what the library would write, and so what it reads; and
// looking it through returns the same.
func TestEntriesAreWrittenAsTheLibraryWritesThem(t *testing.T) {
	ds := oddDecisions(t)
	for _, d := range decisionsForTest(t) {
		ds = append(ds, d, &event.Decision{Result: d.Result, At: d.At})
	}
	scanned := 0
	for _, d := range ds {
		got, err := EncodeDecision(d)
		if want := byTheLibrary(t, d); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%+v is written as\n%x, %v, and by the library as\n%x", d, got, err, want)
		}
		if agree(t, got) {
			scanned++
		}
		attempt, err := cbor.Marshal(wireAttemptOf(d.Attempt))
		if got := EncodeAttempt(d.Attempt); err != nil || !bytes.Equal(got, attempt) {
			t.Fatalf("the attempt %+v is written as\n%x, and by the library as\n%x, %v", d.Attempt, got, attempt, err)
		}
		agreeOnAttempt(t, attempt)
	}
	if scanned < len(ds)/2 {
		t.Errorf("of %d decisions %d are looked through", len(ds), scanned)
	}
}

func TestDecisionsNeedOneOutcome(t *testing.T) {
	ds := decisionsForTest(t)
	for _, d := range []*event.Decision{{At: aTime(1)}, {
		At:     aTime(1),
		Result: event.Result{Outcome: ds["captured"].Outcome, ParkInfo: ds["parked"].ParkInfo},
	}} {
		if value, err := EncodeDecision(d); err == nil {
			t.Errorf("%+v is written as %x", d, value)
		}
	}
}
