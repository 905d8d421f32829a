package show_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/ledger/show"
	"payment-capture/internal/money"
	"payment-capture/internal/rules"
)

// now is the time at which these tests look.
var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func book() show.Rules {
	return show.Rules{Rules: rules.Rules{
		Currency: "MXN", Account: "main", Encoding: 3, KeyRetention: 24 * time.Hour,
		MaxEventAge: 168 * time.Hour,
	}}
}

func attempt(ago time.Duration) *event.Attempt {
	return &event.Attempt{
		First: now.Add(-ago), Event: event.FingerprintOf([]byte("e")), Body: event.FingerprintOf([]byte("b")), Encoding: 3, Account: "main",
		Reference: "ref-1",
	}
}

func amountOf(t testing.TB, text string, currency money.Currency) money.Amount {
	t.Helper()
	a, err := money.Parse(text, currency)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func captured(t testing.TB, text string, currency money.Currency) event.History {
	t.Helper()
	return event.History{Decision: &event.Decision{
		Result: event.Result{Outcome: &event.Outcome{
			Type: event.TypeCaptured, EventID: "e1", OrderID: "order-1", Subject: "order-1", Amount: amountOf(t, text, currency),
			ExternalReference: "ref-1", PaymentID: "10458724", Time: now.Add(-time.Minute), CapturedAt: now.Add(-2 * time.Minute),
			ProviderReplayed: true,
			Transactions:     []event.Transaction{{ID: "77", Status: "approved", StatusDetail: "accredited", PaymentMethod: "visa", Amount: text}},
		}},
		At: now.Add(-time.Minute), Attempt: *attempt(3 * time.Minute),
	}}
}

func rejected(t testing.TB) event.History {
	t.Helper()
	return event.History{Decision: &event.Decision{
		Result: event.Result{Outcome: &event.Outcome{
			Type: event.TypeRejected, EventID: "e1", OrderID: "order-1", Amount: amountOf(t, "9", "MXN"), ExternalReference: "order-1",
			Time: now, Reason: "cc_rejected\x1b[31m", Category: event.CategoryDeclined, Retry: event.RetryLater,
		}},
		At: now, Attempt: *attempt(time.Minute),
	}}
}

func parked(reason event.ParkReason, at time.Time) event.History {
	return event.History{Decision: &event.Decision{
		Result: event.Result{ParkInfo: &event.ParkInfo{
			Reason: reason, Detail: "nobody knows", FirstAttempt: now.Add(-time.Hour), Tries: 4,
			HTTPStatus: 500, RequestID: "r-9",
		}},
		At: at,
	}}
}

func TestNextIsWhatTheServiceWouldDo(t *testing.T) {
	t.Parallel()
	open := func(ago time.Duration) event.History { return event.History{Attempt: attempt(ago)} }
	ofAnother := open(time.Minute)
	ofAnother.Attempt.Account = "other"
	ofLayout, inBRL := open(time.Minute), open(time.Minute)
	ofLayout.Attempt.Encoding = 2
	inBRL.Attempt.OrderID, inBRL.Attempt.Amount = "o1", amountOf(t, "1", "BRL")
	ofNobody := event.History{Attempt: &event.Attempt{First: now.Add(-time.Minute)}}
	both := parked(event.ParkUndecided, now)
	both.Attempt = attempt(48 * time.Hour)
	uncalled := func(reason event.ParkReason) event.History {
		h := parked(reason, now)
		h.Decision.ParkInfo.FirstAttempt, h.Decision.Content = time.Time{}, event.FingerprintOf([]byte("c"))
		return h
	}
	corrected := uncalled(event.ParkTooOld)
	corrected.Attempt = attempt(2 * time.Hour)
	suppress, ageless := book(), book()
	suppress.Suppress, ageless.MaxEventAge = true, 0
	for name, test := range map[string]struct {
		history  event.History
		rules    show.Rules
		decision show.Decision
		action   rules.Action
		says     string
	}{
		"captured":             {captured(t, "1", "MXN"), book(), show.Captured, rules.Republish, "payment.captured is published again"},
		"captured, suppressed": {captured(t, "1", "MXN"), suppress, show.Captured, rules.Republish, "REPLAYED_OUTCOMES"},
		"rejected":             {rejected(t), book(), show.Rejected, rules.Republish, "payment.rejected is published again"},
		"rejected, suppressed": {rejected(t), suppress, show.Rejected, rules.Republish, "REPLAYED_OUTCOMES"},
		"parked":               {parked(event.ParkTooOld, now), suppress, show.Parked, rules.LeaveParked, "replay --parked"},
		"parked as invalid": {
			parked(event.ParkInvalidEvent, now), book(), show.Parked, rules.LeaveParked,
			"have its producer send a new event",
		},
		"parked, no call": {
			uncalled(event.ParkTooOld), book(), show.Parked, rules.LeaveParked,
			"replay --parked sends it again, under the same key; and its producer can send it corrected",
		},
		"in a wrong currency": {
			uncalled(event.ParkWrongCurrency), book(), show.Parked, rules.LeaveParked,
			"its producer can send it corrected, under the same id",
		},
		"corrected, and open": {
			corrected, book(), show.Parked, rules.LookUpThenCharge,
			"if it came as it was parked: nothing. The event of the open attempt",
		},
		"parked and open":      {both, book(), show.Parked, rules.LeaveParked, "waits for an operator"},
		"just tried":           {open(time.Minute), book(), show.Undecided, rules.Charge, "1m ago"},
		"tried an hour ago":    {open(time.Hour), book(), show.Undecided, rules.Charge, "1h ago"},
		"tried over an hour":   {open(time.Hour + 1), book(), show.Undecided, rules.LookUpThenCharge, "looked up at the API first"},
		"tried at the horizon": {open(24 * time.Hour), book(), show.Undecided, rules.LookUpThenCharge, "24h ago (over 1h)"},
		"tried before it":      {open(24*time.Hour + 1), book(), show.Undecided, rules.LookUpThenPark, "IDEMPOTENCY_KEY_HORIZON (24h0m0s)"},
		"tried in the future":  {open(-10 * time.Minute), book(), show.Undecided, rules.LookUpThenPark, "still to come"},
		"another account":      {ofAnother, book(), show.Undecided, rules.LookUpThenPark, `"other"`},
		"another layout":       {ofLayout, book(), show.Undecided, rules.LookUpThenPark, "layout 2"},
		"another currency":     {inBRL, book(), show.Undecided, rules.LookUpThenPark, "data.currency is BRL"},
		"only that it was":     {ofNobody, book(), show.Undecided, rules.Charge, "same key"},
		"unknown":              {event.History{}, book(), show.Unknown, rules.Charge, "parked as too_old if its time is over 168h ago"},
		"unknown, of any age":  {event.History{}, ageless, show.Unknown, rules.Charge, "CAPTURE_MAX_EVENT_AGE is 0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := show.Of("e1", test.history, nil, test.rules, now)
			if e.Decision != test.decision || e.Next.Action != test.action || !strings.Contains(e.Next.Detail, test.says) {
				t.Errorf("got %s, %+v; want %s, %s, %q", e.Decision, e.Next, test.decision, test.action, test.says)
			}
		})
	}
}

// print returns the lines as a map, by their names.
func print(t *testing.T, h event.History) map[string]string {
	t.Helper()
	var out bytes.Buffer
	if err := show.Of("e1", h, nil, book(), now).Print(&out); err != nil {
		t.Fatal(err)
	}
	lines := make(map[string]string)
	for line := range strings.Lines(out.String()) {
		name, value, ok := strings.Cut(line, "  ")
		if !ok {
			t.Errorf("line %q has no value", line)
		}
		lines[name] = strings.TrimSpace(value)
	}
	return lines
}

func TestPrintShowsEverythingKnown(t *testing.T) {
	t.Parallel()
	fingerprints := "event " + event.FingerprintOf([]byte("e")).String() + ", body " + event.FingerprintOf([]byte("b")).String()
	both := parked(event.ParkUndecided, now)
	both.Attempt = attempt(time.Minute)
	untried := parked(event.ParkTooOld, now)
	untried.Decision.ParkInfo.FirstAttempt = time.Time{}
	for name, test := range map[string]struct {
		history event.History
		want    map[string]string
	}{
		"captured": {captured(t, "700.50", "MXN"), map[string]string{
			"event": "e1", "decision": "captured", "decided": "2026-11-24T11:59:00.000Z", "order": "order-1", "amount": "700.50 MXN",
			"reference": "ref-1",
			"payment":   "10458724", "transaction": "77, approved (accredited), visa, 700.50", "captured": "2026-11-24T11:58:00.000Z",
			"outcome":     event.TypeCaptured + " " + event.OutcomeID("e1", event.TypeCaptured).String(),
			"answered by": "the API's memory of the key: an earlier call had reached it", "first attempt": "2026-11-24T11:57:00.000Z",
			"account": "main", "fingerprints": fingerprints, "body's layout": "version 3", "open attempt": "no",
			"if it came now": "answered from the ledger: payment.captured is published again, with the same id and replayed: true, without a call",
		}},
		"rejected": {rejected(t), map[string]string{
			"decision": "rejected", "payment": "none", "reason": "cc_rejected?[31m (category declined, retry later)",
		}},
		"parked": {both, map[string]string{
			"decision": "parked", "reason": "undecided", "detail": "nobody knows", "tries": "4", "last answer": "500", "request id": "r-9",
			"first attempt": "2026-11-24T11:00:00.000Z",
			"open attempt":  "yes: it is being tried, or was and the effect is not known; the decision counts", "opened": "2026-11-24T11:59:00.000Z",
		}},
		"parked without a call": {untried, map[string]string{
			"decision": "parked", "reason": "too_old", "first attempt": "none: no call was made", "open attempt": "no",
		}},
		"undecided": {event.History{Attempt: attempt(time.Minute)}, map[string]string{
			"decision": "undecided", "open attempt": "yes: it is being tried, or was and the effect is not known",
			"opened":  "2026-11-24T11:59:00.000Z",
			"account": "main", "reference": "ref-1", "fingerprints": fingerprints,
			"if it came now": "called again under the same key: it was first attempted 1m ago",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := print(t, test.history)
			for name, want := range test.want {
				if got[name] != want {
					t.Errorf("%s is %q, want %q", name, got[name], want)
				}
			}
		})
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := show.JSON(&out, show.Of("e1", captured(t, "700.50", "MXN"), nil, book(), now)); err != nil {
		t.Fatal(err)
	}
	var got struct {
		ID       string `json:"event_id"`
		Decision string `json:"decision"`
		Outcome  struct {
			Amount, Currency string
			PaymentID        string `json:"payment_id"`
		} `json:"outcome"`
		Attempt struct{ First time.Time } `json:"attempt"`
		Next    struct{ Action string }   `json:"next"`
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.ID != "e1" || got.Decision != "captured" || got.Outcome.Amount != "700.50" || got.Outcome.Currency != "MXN" ||
		got.Outcome.PaymentID != "10458724" || !got.Attempt.First.Equal(now.Add(-3*time.Minute)) || got.Next.Action != "republish" {
		t.Errorf("got %+v of\n%s", got, out.String())
	}
	out.Reset()
	if err := show.JSON(&out, show.Of("e2", event.History{}, nil, book(), now)); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); strings.Contains(text, "attempt") || strings.Contains(text, "0001-01-01") ||
		!strings.Contains(text, `"decision": "unknown"`) {
		t.Errorf("of an unknown event:\n%s", text)
	}
}

// TestCorrectedIsShown: what the ledger keeps to compare later events with, and how
// often the event was corrected.
func TestCorrectedIsShown(t *testing.T) {
	t.Parallel()
	h := captured(t, "700.50", "MXN")
	h.Decision.Superseded = []event.Fingerprint{{1}, {2}}
	h.Decision.Attempt.OrderID, h.Decision.Attempt.Amount = "order-1", amountOf(t, "700.50", "MXN")
	open := event.History{Attempt: attempt(time.Minute)}
	open.Attempt.OrderID, open.Attempt.Amount = "order-7", amountOf(t, "9", "MXN")
	for _, test := range []struct {
		history event.History
		says    []string
		json    string
	}{
		{h, []string{"corrected", "2 times"}, `"superseded": 2`},
		{open, []string{"order-7", "9.00 MXN"}, `"order_id": "order-7"`},
	} {
		e := show.Of("e1", test.history, nil, book(), now)
		var text, doc bytes.Buffer
		if err := e.Print(&text); err != nil {
			t.Fatal(err)
		}
		if err := show.JSON(&doc, e); err != nil {
			t.Fatal(err)
		}
		for _, want := range test.says {
			if strings.Count(text.String(), want) != 1 {
				t.Errorf("%q is not said once in\n%s", want, text.String())
			}
		}
		if strings.Count(doc.String(), test.json) != 1 {
			t.Errorf("%s is not once in\n%s", test.json, doc.String())
		}
	}
}
