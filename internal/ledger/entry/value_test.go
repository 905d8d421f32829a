package entry_test

import (
	"bytes"
	"cmp"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"payment-capture/internal/event"
	"payment-capture/internal/ledger/entry"
	"payment-capture/internal/ledger/ledgerpb"
	"payment-capture/internal/money"
	"payment-capture/internal/secret"
)

const (
	token = "payer-token-of-the-buyer"
	trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
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

// uncalledOn returns what is known of an attempt before its call.
func uncalledOn(t testing.TB, order, reference string) event.Attempt {
	t.Helper()
	return event.AttemptOf(&event.ReadyToCapture{
		ID: "e1", OrderID: order, ExternalReference: reference, Amount: amountOf(t, "700.50"), PayerToken: secret.New(token),
	})
}

func attemptOn(t testing.TB, order, reference string) event.Attempt {
	t.Helper()
	a := uncalledOn(t, order, reference)
	a.First, a.Body, a.Encoding, a.Account, a.Input = aTime(1), event.FingerprintOf([]byte("b")), 1, "main", 7
	return a
}

// concluded returns an attempt as a decision with an outcome keeps it.
func concluded(a event.Attempt) event.Attempt {
	a.Body, a.Encoding, a.Account, a.Input = event.Fingerprint{}, 0, "", 0
	return a
}

func decisionsForTest(t testing.TB) map[string]*event.Decision {
	t.Helper()
	captured := event.Result{Outcome: &event.Outcome{
		Type: event.TypeCaptured, Subject: "o1", Time: aTime(7), TraceParent: trace, EventID: "e1", OrderID: "o1",
		Amount: amountOf(t, "700.50"), ExternalReference: "o1", PaymentID: "10458724", CapturedAt: aTime(6), ProviderReplayed: true,
		Transactions: []event.Transaction{
			{ID: "1", Status: "approved", StatusDetail: "accredited", PaymentMethod: "visa", Amount: "700.50"},
			{ID: "2", Amount: "1"},
			{},
		},
	}}
	rejected := event.Result{Outcome: &event.Outcome{
		Type: event.TypeRejected, Subject: "o1", Time: aTime(7), EventID: "e1", OrderID: "o1", Amount: amountOf(t, "1.00"),
		ExternalReference: "another", Reason: "cc_rejected_high_risk", Category: event.CategoryFraud, Retry: event.RetryNever,
	}}
	parked := event.Result{ParkInfo: &event.ParkInfo{
		Reason: event.ParkUndecided, Detail: "d", FirstAttempt: aTime(1), Tries: 3, HTTPStatus: 500, RequestID: "r",
	}}
	uncalled := event.Result{ParkInfo: &event.ParkInfo{Reason: event.ParkTooOld, Detail: "d"}}
	contents := []event.Fingerprint{event.FingerprintOf([]byte("1")), event.FingerprintOf([]byte("2"))}
	unknown := attemptOn(t, "o1", "o1")
	unknown.OrderID, unknown.Amount, unknown.Payer, unknown.Event = "", money.Amount{}, event.Fingerprint{}, event.Fingerprint{}
	return map[string]*event.Decision{
		"captured":                   {Result: captured, At: aTime(9), Attempt: concluded(attemptOn(t, "o1", "o1"))},
		"captured without a call":    {Result: captured, At: aTime(9), Attempt: uncalledOn(t, "o1", "o1")},
		"captured for another order": {Result: captured, At: aTime(9), Attempt: concluded(attemptOn(t, "o2", "o1"))},
		"captured after a correction": {
			Result: captured, At: aTime(9), Attempt: concluded(attemptOn(t, "o1", "o1")), Superseded: contents,
		},
		"rejected":                  {Result: rejected, At: aTime(9), Attempt: concluded(attemptOn(t, "o1", "another"))},
		"parked":                    {Result: parked, At: aTime(9), Attempt: attemptOn(t, "o1", "o1")},
		"parked with another order": {Result: parked, At: aTime(9), Attempt: attemptOn(t, "order 2", "o1")},
		"parked, event not known":   {Result: parked, At: aTime(9), Attempt: unknown},
		"parked without a call": {
			Result: uncalled, At: aTime(9), Attempt: uncalledOn(t, "o1", "o1"), Content: contents[0], Superseded: contents,
		},
		"parked, not an event": {Result: event.Result{ParkInfo: &event.ParkInfo{Reason: event.ParkInvalidEvent}}, At: aTime(9)},
	}
}

// typical returns the decision on an event that was captured as most are.
func typical(t testing.TB) *event.Decision {
	t.Helper()
	d := decisionsForTest(t)["captured"]
	d.Outcome.Transactions, d.Outcome.ProviderReplayed = d.Outcome.Transactions[:1], false
	return d
}

func encode(t testing.TB, d *event.Decision) []byte {
	t.Helper()
	value, err := entry.EncodeDecision(d)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func differ(want, got any) string {
	return gocmp.Diff(want, got, gocmp.AllowUnexported(money.Amount{}), cmpopts.EquateEmpty())
}

// checkSummary checks that a summary is that of the decoded decision.
func checkSummary(t *testing.T, value []byte, d *event.Decision) {
	t.Helper()
	want := entry.RankParked
	if d.Outcome != nil {
		want = map[string]entry.Rank{event.TypeCaptured: entry.RankCaptured, event.TypeRejected: entry.RankRejected}[d.Outcome.Type]
	}
	var at int64
	if !d.At.IsZero() {
		at = d.At.UnixMilli()
	}
	var under entry.Index
	if reference := entry.Reference(d); reference != "" {
		charge := event.Charge{Reference: reference, Amount: d.Attempt.Amount, Payer: d.Attempt.Payer}
		if d.Outcome != nil {
			charge.Amount = d.Outcome.Amount
		}
		under = entry.IndexOf(charge)
	}
	rank, gotAt, gotUnder, err := entry.Summary(value)
	if rank != want || gotAt != at || gotUnder != under || err != nil {
		t.Errorf("summary: got %d at %d under %v, %v; want %d at %d under %v", rank, gotAt, gotUnder, err, want, at, under)
	}
}

func TestDecisionRoundTrip(t *testing.T) {
	t.Parallel()
	for name, d := range decisionsForTest(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			value := encode(t, d)
			got, err := entry.DecodeDecision("e1", value)
			if err != nil {
				t.Fatal(err)
			}
			if diff := differ(d, got); diff != "" {
				t.Errorf("it comes back otherwise (-want +got):\n%s", diff)
			}
			checkSummary(t, value, d)
		})
	}
}

func TestAttemptRoundTrip(t *testing.T) {
	t.Parallel()
	for _, want := range []event.Attempt{
		attemptOn(t, "o1", "o1"), attemptOn(t, "another order", "o1"),
		{First: aTime(1)},
		{First: aTime(1), Reference: "o1"},
		{First: aTime(1), Encoding: -1, OrderID: "o1", Input: math.MaxInt32},
	} {
		if got, err := entry.DecodeAttempt(entry.EncodeAttempt(want)); got != want || err != nil {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	}
}

func TestTimesRoundTrip(t *testing.T) {
	t.Parallel()
	for _, at := range []time.Time{
		{},
		time.UnixMilli(-1).UTC(), time.UnixMilli(1).UTC(), aTime(0), time.UnixMilli(1 << 53).UTC(),
		time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC),
	} {
		d := *decisionsForTest(t)["captured"]
		d.At, d.Attempt.First, d.Outcome.Time, d.Outcome.CapturedAt = at, at, at, at
		got, err := entry.DecodeDecision("e1", encode(t, &d))
		if diff := differ(&d, got); diff != "" || err != nil {
			t.Errorf("%v: %v, (-want +got):\n%s", at, err, diff)
		}
	}
}

// An outcome ends the calls, and what only a call needs is not kept.
func TestOutcomeLeavesOutWhatIsForCalls(t *testing.T) {
	t.Parallel()
	d := *decisionsForTest(t)["captured"]
	want := encode(t, &d)
	d.Attempt = attemptOn(t, "o1", "o1")
	if got := encode(t, &d); !bytes.Equal(got, want) {
		t.Errorf("%x with what is for calls, %x without", got, want)
	}
}

// A text of the API that is not UTF-8 must not make an entry that cannot be read, and
// comes back as the outcome has it.
func TestInvalidTextIsReplaced(t *testing.T) {
	t.Parallel()
	const bad, mended = "a\xffb", "a\uFFFDb"
	rejected, parked := decisionsForTest(t)["rejected"], decisionsForTest(t)["parked"]
	rejected.Outcome.Reason, rejected.Outcome.PaymentID = bad, bad
	rejected.Outcome.Transactions = []event.Transaction{
		{ID: bad, Status: bad, StatusDetail: bad, PaymentMethod: bad, Amount: bad},
	}
	published := string(rejected.Outcome.Encode(nil, event.Structured).Value)
	got, err := entry.DecodeDecision("e1", encode(t, rejected))
	if err != nil || string(got.Outcome.Encode(nil, event.Structured).Value) != published {
		t.Errorf("got %+v, %v; want %s", got, err, published)
	}
	parked.ParkInfo.Detail, parked.ParkInfo.RequestID, parked.Attempt.Account = bad, bad, bad
	got, err = entry.DecodeDecision("e1", encode(t, parked))
	if err != nil || got.ParkInfo.Detail != mended || got.ParkInfo.RequestID != mended || got.Attempt.Account != mended {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestOtherTraceParentsAreLeftOut(t *testing.T) {
	t.Parallel()
	for _, other := range []string{"x", "01" + trace[2:], strings.ToUpper(trace), strings.ReplaceAll(trace, "-", "+"), trace + "-x"} {
		d := decisionsForTest(t)["captured"]
		d.Outcome.TraceParent = other
		got, err := entry.DecodeDecision("e1", encode(t, d))
		if err != nil || got.Outcome.TraceParent != "" {
			t.Errorf("%q: got %q, %v", other, got.Outcome.TraceParent, err)
		}
	}
}

func TestReference(t *testing.T) {
	t.Parallel()
	ds := decisionsForTest(t)
	change := func(name string, change func(*event.Decision)) *event.Decision {
		d := *ds[name]
		change(&d)
		return &d
	}
	uncalled := func(d *event.Decision) { d.Attempt.First = time.Time{} }
	for name, tt := range map[string]struct {
		decision *event.Decision
		want     string
	}{
		"captured":                   {ds["captured"], "o1"},
		"captured without a call":    {change("captured", uncalled), "o1"},
		"rejected without a payment": {ds["rejected"], "another"},
		"rejected without a call":    {change("rejected", uncalled), ""},
		"parked after a call":        {ds["parked"], "o1"},
		"parked without a call":      {change("parked", uncalled), ""},
		"not an event":               {ds["parked, not an event"], ""},
	} {
		if got := entry.Reference(tt.decision); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
		checkSummary(t, encode(t, tt.decision), tt.decision)
	}
}

func TestUnreadableValues(t *testing.T) {
	t.Parallel()
	marshal := func(m proto.Message) []byte {
		value, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	parking := &ledgerpb.Decision_Parking{Parking: &ledgerpb.Parking{Reason: "x"}}
	outcome := func(o *ledgerpb.Outcome) []byte {
		return marshal(&ledgerpb.Decision{At: 1, Result: &ledgerpb.Decision_Outcome{Outcome: o}})
	}
	// A kind of result of a later version: a field that this one does not know.
	later := protowire.AppendBytes(protowire.AppendTag(marshal(&ledgerpb.Decision{At: 1}), 100, protowire.BytesType), []byte("x"))
	bad := marshal(&ledgerpb.Decision{At: 1, Result: parking, Content: []byte("0123456789abcdef")})
	bad = bytes.Replace(bad, []byte("x"), []byte("\xff"), 1)
	for name, value := range map[string][]byte{
		"nothing":            {},
		"JSON":               []byte(`{"at":1}`),
		"a text":             []byte("captured"),
		"a newer layout":     marshal(&ledgerpb.Decision{Layout: 1, At: 1, Result: parking}),
		"no result":          marshal(&ledgerpb.Decision{At: 1}),
		"a later result":     later,
		"no amount":          outcome(&ledgerpb.Outcome{Captured: true, Currency: "MXN"}),
		"no currency":        outcome(&ledgerpb.Outcome{Captured: true, Amount: "1"}),
		"half a trace":       outcome(&ledgerpb.Outcome{Amount: "1", Currency: "MXN", TraceContext: []byte{1}}),
		"half a fingerprint": marshal(&ledgerpb.Decision{Result: parking, Content: []byte{1}}),
		"half a list":        marshal(&ledgerpb.Decision{Result: parking, Superseded: make([]byte, 17)}),
		"half a payer":       marshal(&ledgerpb.Decision{Result: parking, Attempt: &ledgerpb.Attempt{Payer: []byte{1}}}),
		"half a body":        marshal(&ledgerpb.Decision{Result: parking, Attempt: &ledgerpb.Attempt{Body: []byte{1}}}),
		"a bad amount":       marshal(&ledgerpb.Decision{Result: parking, Attempt: &ledgerpb.Attempt{Amount: "x", Currency: "MXN"}}),
		"invalid UTF-8":      bad,
		"a cut value":        encode(t, decisionsForTest(t)["captured"])[:100],
	} {
		if d, err := entry.DecodeDecision("e1", value); !errors.Is(err, entry.ErrUnreadable) {
			t.Errorf("%s: got %+v, %v", name, d, err)
		}
		if rank, _, _, err := entry.Summary(value); !errors.Is(err, entry.ErrUnreadable) {
			t.Errorf("the summary of %s: got %d, %v", name, rank, err)
		}
	}
	for name, value := range map[string][]byte{
		"nothing":        {},
		"JSON":           []byte(`{"first":1}`),
		"a newer layout": marshal(&ledgerpb.Attempt{Layout: 1, First: 1}),
		"no time":        marshal(&ledgerpb.Attempt{Reference: "o1"}),
		"half a payer":   marshal(&ledgerpb.Attempt{First: 1, Payer: []byte{1}}),
		"a bad amount":   marshal(&ledgerpb.Attempt{First: 1, Amount: "x", Currency: "MXN"}),
		"a decision":     encode(t, decisionsForTest(t)["captured"]),
		"a cut value":    entry.EncodeAttempt(attemptOn(t, "o1", "o1"))[:20],
	} {
		if a, err := entry.DecodeAttempt(value); !errors.Is(err, entry.ErrUnreadable) {
			t.Errorf("the attempt %s: got %+v, %v", name, a, err)
		}
	}
}

// Fields that a later version adds in the same layout do not matter to this one.
func TestUnknownFieldsAreIgnored(t *testing.T) {
	t.Parallel()
	d, a := decisionsForTest(t)["captured"], attemptOn(t, "o1", "o1")
	add := func(value []byte) []byte {
		return protowire.AppendVarint(protowire.AppendTag(value, 100, protowire.VarintType), 1)
	}
	got, err := entry.DecodeDecision("e1", add(encode(t, d)))
	if diff := differ(d, got); diff != "" || err != nil {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
	if got, err := entry.DecodeAttempt(add(entry.EncodeAttempt(a))); got != a || err != nil {
		t.Errorf("got %+v, %v; want %+v", got, err, a)
	}
}

func TestDecisionNeedsOneResult(t *testing.T) {
	t.Parallel()
	ds := decisionsForTest(t)
	for _, r := range []event.Result{{}, {Outcome: ds["captured"].Outcome, ParkInfo: ds["parked"].ParkInfo}} {
		if value, err := entry.EncodeDecision(&event.Decision{At: aTime(1), Result: r}); err == nil {
			t.Errorf("%+v is encoded as %x", r, value)
		}
	}
}

func TestValuesHoldNoSecret(t *testing.T) {
	t.Parallel()
	values := [][]byte{entry.EncodeAttempt(attemptOn(t, "o1", "o1"))}
	for _, d := range decisionsForTest(t) {
		values = append(values, encode(t, d))
	}
	for _, value := range values {
		if bytes.Contains(value, []byte(token)) {
			t.Errorf("%q has the payer token", value)
		}
	}
}

// A decision stays for as long as the ledger does, on every instance.
func TestSizes(t *testing.T) {
	t.Parallel()
	d := typical(t)
	if n := len(encode(t, d)); n != 139 {
		t.Errorf("a captured event takes %d bytes", n)
	}
	d.Outcome.TraceParent = ""
	if n := len(encode(t, d)); n != 112 {
		t.Errorf("a captured event without a trace takes %d bytes", n)
	}
}

func FuzzDecodeDecision(f *testing.F) {
	for _, d := range decisionsForTest(f) {
		f.Add(encode(f, d))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		d, err := entry.DecodeDecision("e1", value)
		_, _, _, summaryErr := entry.Summary(value)
		if cmp.Or(err, summaryErr) == nil {
			checkSummary(t, value, d)
		}
		if err != nil {
			if !errors.Is(err, entry.ErrUnreadable) || !errors.Is(summaryErr, entry.ErrUnreadable) {
				t.Errorf("got %v, and for the summary %v", err, summaryErr)
			}
			return
		}
		twice, err := entry.DecodeDecision("e1", encode(t, d))
		if diff := differ(d, twice); diff != "" || err != nil {
			t.Errorf("encoded and decoded again it differs: %v\n%s", err, diff)
		}
	})
}

func FuzzDecodeAttempt(f *testing.F) {
	f.Add(entry.EncodeAttempt(attemptOn(f, "o1", "o1")))
	f.Add(entry.EncodeAttempt(attemptOn(f, "o2", "o1")))
	f.Fuzz(func(t *testing.T, value []byte) {
		a, err := entry.DecodeAttempt(value)
		if err != nil {
			if !errors.Is(err, entry.ErrUnreadable) {
				t.Error(err)
			}
			return
		}
		if twice, err := entry.DecodeAttempt(entry.EncodeAttempt(a)); twice != a || err != nil {
			t.Errorf("encoded and decoded again it is %+v, %v; want %+v", twice, err, a)
		}
	})
}
