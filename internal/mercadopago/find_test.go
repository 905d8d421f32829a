package mercadopago

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
	"payment-capture/internal/secret"
)

func itoa(n int) string { return strconv.Itoa(n) }

// TestSearchesInOrder checks that Find makes each search once, with the documented
// parameters, and the last one only if the first two found nothing.
func TestSearchesInOrder(t *testing.T) {
	t.Parallel()
	since := time.Now().Add(-time.Hour)
	day := func(at time.Time, offset int) string { return at.UTC().AddDate(0, 0, offset).Format(time.DateOnly) }
	for name, tt := range map[string]struct {
		page string
		want int
	}{
		"nothing found": {noResults, 3},
		"found":         {mustReplace(t, testdata(t, "search"), "2018-10-20", time.Now().UTC().AddDate(0, 0, 1).Format(time.DateOnly)), 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked []string
			c := searches(t, func(path string, q url.Values) (int, string) {
				for _, filter := range []string{"external_reference", "payment.external_reference"} {
					if q.Get(filter) == "Pago_123" {
						asked = append(asked, path+" "+filter)
					}
				}
				if q.Get("limit") != "20" || q.Get("offset") != "0" {
					t.Errorf("got %v", q)
				}
				if path == "/v1/payments/search" {
					begin, err := time.Parse(time.RFC3339, q.Get("begin_date"))
					end, err2 := time.Parse(time.RFC3339, q.Get("end_date"))
					if err != nil || err2 != nil || since.Sub(begin).Round(time.Minute) != 24*time.Hour ||
						time.Until(end).Round(time.Minute) != 24*time.Hour ||
						q.Get("range") != "date_created" || q.Get("sort") != "date_created" || q.Get("criteria") != "desc" {
						t.Errorf("got %v", q)
					}
					return 200, noResults
				}
				if q.Get("range") != "date" || q.Get("begin_date") != day(since, -1) || q.Get("end_date") != day(time.Now(), 1) {
					t.Errorf("got %v, want from %s to %s", q, day(since, -1), day(time.Now(), 1))
				}
				return 200, tt.page
			})
			found := c.Find(t.Context(), sampleRequest(t), since)
			checkFound(t, found)
			order := []string{
				"/v1/advanced_payments/search external_reference",
				"/v1/advanced_payments/search payment.external_reference",
				"/v1/payments/search external_reference",
			}
			if strings.Join(asked, ",") != strings.Join(order[:tt.want], ",") || found.Calls != tt.want {
				t.Errorf("asked %q, %d calls", asked, found.Calls)
			}
			if !found.Searched || found.Failed != nil || len(found.Payments) != 3-tt.want {
				t.Errorf("got %+v", found)
			}
		})
	}
}

// TestFindFromAFutureTime checks that the days of a search are in order even if our
// clock is behind.
func TestFindFromAFutureTime(t *testing.T) {
	t.Parallel()
	c := searches(t, func(_ string, q url.Values) (int, string) {
		if q.Get("begin_date") >= q.Get("end_date") {
			t.Errorf("got from %s to %s", q.Get("begin_date"), q.Get("end_date"))
		}
		return 200, noResults
	})
	found := c.Find(t.Context(), sampleRequest(t), time.Now().Add(100*time.Hour))
	checkFound(t, found)
	if !found.Searched || found.Calls != 3 {
		t.Errorf("got %+v", found)
	}
}

func TestFindTheDocumentedSample(t *testing.T) {
	t.Parallel()
	c := searches(t, func(string, url.Values) (int, string) { return 200, testdata(t, "search") })
	found := c.Find(t.Context(), sampleRequest(t), sampleDay)
	checkFound(t, found)
	if len(found.Payments) != 1 || !found.Searched || found.Calls != 2 {
		t.Fatalf("got %+v", found)
	}
	a := found.Payments[0]
	check(t, a, want{meaning: Captured, cause: CauseApproved})
	if a.Payment.ID != "10458724" || a.Payment.Replayed || a.HTTPStatus != 200 || a.RequestID != "req-1" || a.RetryAfter != 0 ||
		len(a.Payment.Transactions) != 1 {
		t.Errorf("got %+v", a)
	}
}

// TestFoundIsClassified covers payments of every kind, alone under our reference.
func TestFoundIsClassified(t *testing.T) {
	t.Parallel()
	approved, rejected := testdata(t, "approved"), testdata(t, "rejected_card")
	bare := mustReplace(t, mustReplace(t, approved, `,"external_reference":"Pago_123"`, ``), `"id":10458724,`, `"id":7,`)
	ours := mustReplace(t, rejected, `{"transaction_amount":700.50,`, `{"external_reference":"Pago_123","transaction_amount":700.50,`)
	maybe := want{meaning: Park, cause: CauseDuplicateReference, park: event.ParkDuplicateRefer}
	contradictory := want{meaning: Park, cause: CauseContradiction, park: event.ParkContradictory}
	for name, tt := range map[string]struct {
		result string
		want   want // no meaning: left out
	}{
		"approved": {approved, want{meaning: Captured, cause: CauseApproved}},
		"id is text": {
			mustReplace(t, approved, `10458724`, `"10458724"`),
			want{meaning: Captured, cause: CauseApproved},
		},
		"reference at the top alone": {
			mustReplace(t, bare, `{"id"`, `{"external_reference":"Pago_123","id"`),
			want{meaning: Captured, cause: CauseApproved},
		},
		"rejected": {ours, want{meaning: Rejected, cause: CauseDeclined, reason: "cc_rejected_other_reason"}},
		"in process": {
			mustReplace(t, approved, `"approved"`, `"in_process"`),
			want{meaning: Poll, cause: CauseInProcess},
		},
		"refunded": {
			mustReplace(t, approved, `"status":"approved","wallet`, `"status":"refunded","wallet`),
			want{meaning: Park, cause: CauseUnexpectedStatus},
		},
		"another amount":   {mustReplace(t, approved, `700.50`, `700.51`), contradictory},
		"another site":     {mustReplace(t, approved, `MLM`, `MLB`), contradictory},
		"an error beside":  {mustReplace(t, approved, `{"id"`, `{"error":"x","id"`), contradictory},
		"a numeric status": {mustReplace(t, approved, `"status":"approved","wallet`, `"status":"401","wallet`), contradictory},
		"approved at the top only": {mustReplace(t, approved, `"status":"approved","status_detail"`,
			`"status":"rejected","status_detail"`), contradictory},
		"no reference":                  {bare, maybe},
		"no reference, rejected":        {rejected, maybe},
		"shows null for a reference":    {mustReplace(t, approved, `"Pago_123"`, `null`), maybe},
		"no reference, in process":      {mustReplace(t, bare, `"approved"`, `"in_process"`), maybe},
		"no reference, and contradicts": {mustReplace(t, bare, `700.50`, `1`), contradictory},
		"a list for a reference":        {mustReplace(t, approved, `"Pago_123"`, `[]`), contradictory},
		"ours and another's": {
			mustReplace(t, approved, `"external_reference":"Pago_123"}]`, `"external_reference":"Pago_1"}]`),
			contradictory,
		},
		"another's":            {mustReplace(t, approved, `Pago_123`, `Pago_12`), want{}},
		"another's by case":    {mustReplace(t, approved, `Pago_123`, `pago_123`), want{}},
		"another's by a space": {mustReplace(t, approved, `Pago_123`, `Pago_123 `), want{}},
		"another's and a list": {mustReplace(t, mustReplace(t, bare, `{"id"`, `{"external_reference":[],"id"`),
			`"wallet_payment":{`, `"wallet_payment":{"external_reference":"x",`), want{}},
		"created before": {mustReplace(t, approved, `"date_created":"2018-10-20`, `"date_created":"2018-10-19`), want{}},
		"created a moment before": {mustReplace(t, approved, `"date_created":"2018-10-20T09:34:20.518-04:00`,
			`"date_created":"2018-10-19T23:59:59.999Z`), want{}},
		"created at that very time": {mustReplace(t, approved, `"date_created":"2018-10-20T09:34:20.518-04:00`,
			`"date_created":"2018-10-19T20:00:00.000-0400`), want{meaning: Captured, cause: CauseApproved}},
		"before, but for a date that is none": {
			mustReplace(t, approved, `"date_created":"2018-10-20`, `"date_created":"yesterday 2018-10-19`),
			want{meaning: Captured, cause: CauseApproved},
		},
		"no date": {
			mustReplace(t, approved, `"date_created":"2018-10-20T09:34:20.518-04:00",`, ``),
			want{meaning: Captured, cause: CauseApproved},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := searches(t, func(path string, _ url.Values) (int, string) {
				if path == "/v1/payments/search" {
					return 200, noResults
				}
				return 200, pageOf(tt.result)
			})
			found := c.Find(t.Context(), sampleRequest(t), sampleDay)
			checkFound(t, found)
			if !found.Searched {
				t.Errorf("got %+v", found)
			}
			switch {
			case tt.want.meaning == 0 && len(found.Payments) != 0:
				t.Errorf("got %s: %s", found.Payments[0].Meaning, found.Payments[0].Detail)
			case tt.want.meaning != 0 && len(found.Payments) != 1:
				t.Errorf("got %d payments", len(found.Payments))
			case tt.want.meaning != 0:
				check(t, found.Payments[0], tt.want)
			}
		})
	}
}

// TestFoundTwice checks that a payment that both filters find counts once, and is
// read by its id if they differ.
func TestFoundTwice(t *testing.T) {
	t.Parallel()
	approved := testdata(t, "approved")
	pending := mustReplace(t, approved, `"approved"`, `"in_process"`)
	refunded := mustReplace(t, approved, `"status":"approved","wallet`, `"status":"refunded","wallet`)
	other := mustReplace(t, mustReplace(t, approved, `10458724`, `10458725`), `20.518`, `20.517`)
	read := want{meaning: Poll, cause: CauseUnknownStatus, park: event.ParkContradictory}
	for name, tt := range map[string]struct {
		first, second string
		want          []want
	}{
		"the same":        {pageOf(approved), pageOf(approved), []want{{meaning: Captured, cause: CauseApproved}}},
		"the first only":  {pageOf(approved), noResults, []want{{meaning: Captured, cause: CauseApproved}}},
		"the second only": {noResults, pageOf(approved), []want{{meaning: Captured, cause: CauseApproved}}},
		"two payments": {pageOf(approved), pageOf(other), []want{
			{meaning: Captured, cause: CauseApproved},
			{meaning: Captured, cause: CauseApproved},
		}},
		"approved meanwhile":        {pageOf(pending), pageOf(approved), []want{read}},
		"in process after approved": {pageOf(approved), pageOf(pending), []want{read}},
		"refunded meanwhile":        {pageOf(approved), pageOf(refunded), []want{read}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := searches(t, func(_ string, q url.Values) (int, string) {
				if q.Has("external_reference") {
					return 200, tt.first
				}
				return 200, tt.second
			})
			found := c.Find(t.Context(), sampleRequest(t), sampleDay)
			checkFound(t, found)
			if len(found.Payments) != len(tt.want) || found.Calls != 2 {
				t.Fatalf("got %+v", found)
			}
			for i, w := range tt.want {
				check(t, found.Payments[i], w)
			}
			if len(tt.want) == 2 && found.Payments[0].Payment.ID != "10458725" {
				t.Error("the older payment does not come first")
			}
		})
	}
}

func TestFindInner(t *testing.T) {
	t.Parallel()
	const date = `"date_created":"2018-10-20T09:34:20.518-04:00"`
	c := searches(t, func(path string, _ url.Values) (int, string) {
		if path != "/v1/payments/search" {
			return 200, noResults
		}
		return 200, pageOf(
			`{"id":1,"status":"approved","external_reference":"Pago_123",`+date+`}`,
			`{"id":2,"status":"`+payerToken+`",`+date+`}`,
			`{"id":3,"external_reference":"Pago_123"}`,
			`{"id":4,"status":"approved","external_reference":"Pago_1",`+date+`}`,
			`{"id":5,"status":"approved","external_reference":"Pago_123","date_created":"2018-10-19T09:34:20.518-04:00"}`,
		)
	})
	found := c.Find(t.Context(), sampleRequest(t), sampleDay)
	checkFound(t, found)
	got := strings.Join(found.Inner, "; ")
	if want := "1 approved; 2 [redacted] (without a reference); 3 (none)"; got != want || len(found.Payments) != 0 || !found.Searched {
		t.Errorf("got %q, want %q; %+v", got, want, found)
	}
}

func TestFindWithoutSomethingToLookFor(t *testing.T) {
	t.Parallel()
	c := searches(t, func(string, url.Values) (int, string) {
		t.Error("a request came")
		return 200, noResults
	})
	noReference, noAmount := sampleRequest(t), sampleRequest(t)
	noReference.ExternalReference, noAmount.Amount = "", money.Amount{}
	for _, found := range []Found{
		c.Find(t.Context(), noReference, sampleDay),
		c.Find(t.Context(), noAmount, sampleDay),
		c.Find(t.Context(), sampleRequest(t), time.Time{}),
	} {
		checkFound(t, found)
		if found.Failed == nil || found.Failed.Meaning != Park || found.Failed.ParkReason != event.ParkInvalidEvent || found.Calls != 0 {
			t.Errorf("got %+v", found)
		}
	}
}

func TestFindThatIsNotSent(t *testing.T) {
	t.Parallel()
	closed := serve(t, func(http.ResponseWriter, *http.Request) {})
	closed.Close()
	found := newClient(t, Config{URL: closed.URL}).Find(t.Context(), sampleRequest(t), sampleDay)
	checkFound(t, found)
	if found.Failed == nil || found.Calls != 0 {
		t.Fatalf("got %+v", found)
	}
	check(t, *found.Failed, want{meaning: Retry, cause: CauseNotSent, park: event.ParkUndecided})

	c, err := New(Config{URL: closed.URL, Timeout: time.Second, MaxConnections: 1}, func() secret.Text { return secret.New("") })
	if err != nil {
		t.Fatal(err)
	}
	found = c.Find(t.Context(), sampleRequest(t), sampleDay)
	checkFound(t, found)
	if found.Failed == nil || found.Calls != 0 {
		t.Fatalf("got %+v", found)
	}
	check(t, *found.Failed, want{meaning: Halt, cause: CauseCredential})

	ctx, cancel := context.WithCancel(t.Context())
	stopping := searches(t, func(string, url.Values) (int, string) { cancel(); <-ctx.Done(); return 200, noResults })
	found = stopping.Find(ctx, sampleRequest(t), sampleDay)
	checkFound(t, found)
	if found.Failed == nil || found.Failed.Meaning != Retry || found.Calls != 1 {
		t.Errorf("got %+v", found)
	}
}
