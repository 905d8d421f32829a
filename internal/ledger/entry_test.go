package ledger

import (
	"errors"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
)

func amountOf(t testing.TB, text string) money.Amount {
	t.Helper()
	a, err := money.Parse(text, "MXN")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func aTime(ms int64) time.Time { return time.UnixMilli(1_795_000_000_000 + ms).UTC() }

func attemptForTest() event.Attempt {
	return event.Attempt{
		First: aTime(1), Event: event.FingerprintOf([]byte("e")), Body: event.FingerprintOf([]byte("b")), Encoding: 1, Account: "main",
		Reference: "o1",
	}
}

// attemptOn is an attempt with what a later event of its id is compared with.
func attemptOn(t testing.TB, order string) event.Attempt {
	t.Helper()
	a := attemptForTest()
	a.OrderID, a.Amount = order, amountOf(t, "700.50")
	return a
}

func decisionsForTest(t testing.TB) map[string]*event.Decision {
	t.Helper()
	captured := &event.Outcome{
		Type: event.TypeCaptured, Subject: "o1", Time: aTime(7), TraceParent: "00-1-2-01", EventID: "e1", OrderID: "o1",
		Amount: amountOf(t, "700.50"), ExternalReference: "o1", PaymentID: "10458724", CapturedAt: aTime(6), ProviderReplayed: true,
		Transactions: []event.Transaction{{ID: "1", Status: "approved", StatusDetail: "accredited", PaymentMethod: "visa", Amount: "700.50"}},
	}
	rejected := &event.Outcome{
		Type: event.TypeRejected, Subject: "o1", Time: aTime(7), EventID: "e1", OrderID: "o1", Amount: amountOf(t, "1.00"),
		ExternalReference: "another", Reason: "cc_rejected_high_risk", Category: event.CategoryFraud, Retry: event.RetryNever,
	}
	triedForAnother := attemptForTest()
	triedForAnother.Reference, triedForAnother.OrderID, triedForAnother.Amount = "another", "o1", amountOf(t, "1.00")
	triedForOther := attemptOn(t, "o2") // than the outcome is for
	return map[string]*event.Decision{
		"captured":                   {Result: event.Result{Outcome: captured}, At: aTime(9), Attempt: attemptOn(t, "o1")},
		"captured for another order": {Result: event.Result{Outcome: captured}, At: aTime(9), Attempt: triedForOther},
		"captured after a correction": {
			Result: event.Result{Outcome: captured}, At: aTime(9), Attempt: attemptOn(t, "o1"),
			Superseded: []event.Fingerprint{event.FingerprintOf([]byte("1")), event.FingerprintOf([]byte("2"))},
		},
		"rejected": {Result: event.Result{Outcome: rejected}, At: aTime(9), Attempt: triedForAnother},
		"parked": {
			Result: event.Result{ParkInfo: &event.ParkInfo{
				Reason: event.ParkUndecided, Detail: "d", FirstAttempt: aTime(1), Tries: 3,
				HTTPStatus: 500, RequestID: "r",
			}},
			At: aTime(9), Attempt: attemptForTest(),
		},
		"parked, tried for an order": {
			Result: event.Result{ParkInfo: &event.ParkInfo{Reason: event.ParkUndecided, Detail: "d"}}, At: aTime(9),
			Attempt: attemptOn(t, "order 2"),
		},
		"parked, corrected": {
			Result: event.Result{ParkInfo: &event.ParkInfo{Reason: event.ParkTooOld, Detail: "d"}}, At: aTime(9),
			Attempt: event.Attempt{Event: event.FingerprintOf([]byte("e")), Reference: "o1"}, Content: event.FingerprintOf([]byte("c")),
			Superseded: []event.Fingerprint{event.FingerprintOf([]byte("1"))},
		},
		"parked without a call": {Result: event.Result{ParkInfo: &event.ParkInfo{Reason: event.ParkInvalidEvent, Detail: "d"}}, At: aTime(9)},
	}
}

func TestDecisionsComeBackAsTheyWere(t *testing.T) {
	for name, d := range decisionsForTest(t) {
		t.Run(name, func(t *testing.T) {
			value, err := EncodeDecision(d)
			if err != nil {
				t.Fatal(err)
			}
			got, err := DecodeDecision("e1", value)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(d, got, cmp.AllowUnexported(money.Amount{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%d bytes came back otherwise (-want +got):\n%s", len(value), diff)
			}
		})
	}
}

func TestAttemptComesBackAsItWas(t *testing.T) {
	for _, want := range []event.Attempt{attemptForTest(), attemptOn(t, "o1"), attemptOn(t, "another order")} {
		value := EncodeAttempt(want)
		got, err := DecodeAttempt(value)
		if err != nil || *got != want {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	}
}

// What an attempt is compared by costs as little as may be: no order that is the
// reference, and nothing beside an outcome that says it.
func TestWhatAnAttemptIsComparedBy(t *testing.T) {
	plain := len(EncodeAttempt(attemptForTest()))
	if same := len(EncodeAttempt(attemptOn(t, "o1"))); same != plain+13 {
		t.Errorf("%d bytes with amount and currency, %d without; want 13 more", same, plain)
	}
	if other := len(EncodeAttempt(attemptOn(t, "o2"))); other != plain+17 {
		t.Errorf("%d bytes with an order too, %d without; want 17 more", other, plain)
	}
	d := *decisionsForTest(t)["captured"]
	with, err := EncodeDecision(&d)
	if err != nil {
		t.Fatal(err)
	}
	d.Attempt.OrderID, d.Attempt.Amount = "", money.Amount{}
	if without, err := EncodeDecision(&d); err != nil || len(without) != len(with) {
		t.Errorf("%d bytes beside an outcome that says it, %d without, %v; want the same", len(with), len(without), err)
	}
}

// The reference of what was tried is written once, where there is an outcome: a
// decision stays for ever. One that differs from the outcome's is kept.
func TestTheReferenceIsWrittenOnce(t *testing.T) {
	d := decisionsForTest(t)["captured"]
	size := func(reference string) int {
		t.Helper()
		d.Attempt.Reference = reference
		value, err := EncodeDecision(d)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeDecision("e1", value)
		if err != nil || got.Attempt != d.Attempt {
			t.Errorf("the attempt comes back as %+v, %v; want %+v", got, err, d.Attempt)
		}
		return len(value)
	}
	if once, twice := size("o1"), size("o2"); once+4 != twice {
		t.Errorf("%d bytes with the outcome's reference, %d with another of its length", once, twice)
	}
}

// A text of the API's that is no valid UTF-8 must not make a decision that
// cannot be read again.
func TestInvalidTextsAreMended(t *testing.T) {
	d := decisionsForTest(t)["rejected"]
	d.Outcome.Reason = "a\xffb"
	value, err := EncodeDecision(d)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeDecision("e1", value)
	if err != nil || got.Outcome.Reason != "a\uFFFDb" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestUnreadableEntries(t *testing.T) {
	encode := func(v any) []byte {
		value, err := cbor.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	for name, value := range map[string][]byte{
		"nothing":        {},
		"garbage":        []byte("{}"),
		"a newer layout": encode(map[int]any{0: version + 1, 1: 1}),
		"no layout":      encode(map[int]any{1: 1}),
		"neither":        encode(wireDecision{Version: 1, At: 1}),
		"both":           encode(wireDecision{Version: 1, Outcome: &wireOutcome{Amount: "1", Currency: "MXN"}, ParkInfo: &wireParking{}}),
		"no amount":      encode(wireDecision{Version: 1, Outcome: &wireOutcome{Currency: "MXN"}}),
		"no currency":    encode(wireDecision{Version: 1, Outcome: &wireOutcome{Amount: "1"}}),
		"half a mark":    encode(wireDecision{Version: 1, Attempt: &wireAttempt{Version: 1, Event: []byte{1}}, ParkInfo: &wireParking{}}),
		"half a content": encode(wireDecision{Version: 1, ParkInfo: &wireParking{}, Content: []byte{1}}),
		"half a list":    encode(wireDecision{Version: 1, ParkInfo: &wireParking{}, Superseded: make([]byte, 17)}),
		"tried for nothing": encode(wireDecision{
			Version: 1, Attempt: &wireAttempt{Version: 1, Amount: "x", Currency: "MXN"},
			ParkInfo: &wireParking{},
		}),
		"a newer attempt":  encode(wireDecision{Version: 1, Attempt: &wireAttempt{Version: 2}, ParkInfo: &wireParking{}}),
		"something behind": append(encode(wireDecision{Version: 1, ParkInfo: &wireParking{}}), 0),
	} {
		if d, err := DecodeDecision("e1", value); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
	if a, err := DecodeAttempt(encode(map[int]any{0: version + 1})); !errors.Is(err, ErrUnreadable) {
		t.Errorf("a newer attempt: %+v, %v", a, err)
	}
	for _, key := range []string{"", "a", "a/", "x/e1", "d-e1", "de1"} {
		if kind, id, err := ParseKey([]byte(key)); !errors.Is(err, ErrUnreadable) {
			t.Errorf("key %q: %c %q %v", key, kind, id, err)
		}
	}
}

func TestKeys(t *testing.T) {
	for _, kind := range []Kind{KindAttempt, KindDecision} {
		got, id, err := ParseKey(kind.Key("e/1"))
		if got != kind || id != "e/1" || err != nil {
			t.Errorf("%c: %c %q %v", kind, got, id, err)
		}
	}
}

func FuzzDecodeDecision(f *testing.F) {
	for _, d := range decisionsForTest(f) {
		value, err := EncodeDecision(d)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		d, err := DecodeDecision("e1", value)
		if err != nil {
			return
		}
		again, err := EncodeDecision(d)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		twice, err := DecodeDecision("e1", again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(d, twice, cmp.AllowUnexported(money.Amount{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("written and read again it differs:\n%s", diff)
		}
	})
}
