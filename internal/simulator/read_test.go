package simulator_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"payment-capture/internal/simulator"
)

type results struct {
	Paging struct {
		Total, Limit, Offset int
	} `json:"paging"`
	Results []json.RawMessage `json:"results"`
}

func TestReadByID(t *testing.T) {
	t.Parallel()
	s := scripted(t, simulator.Rule{
		Match: simulator.Match{Key: "no"}, Action: simulator.ActionTwoChildren, StatusDetail: "cc_rejected_card_error",
	})
	made := capture(t, s, "k", body("r", "1", "p")).payment(t)
	read := get(t, s, "/v1/advanced_payments/"+string(made.ID)).wantStatus(t, 200).payment(t)
	if read.Status != "approved" || read.Wallet.Reference != "r" || string(read.Disbursements) != `{"collector_id":"446566691"}` {
		t.Errorf("got %+v", read)
	}
	inner := get(t, s, fmt.Sprint("/v1/payments/", *made.Payments[0].ID)).wantStatus(t, 200)
	if !strings.Contains(inner.body, `"status":"approved"`) || !strings.Contains(inner.body, `"external_reference":"r"`) {
		t.Errorf("got %s", inner.body)
	}
	// What the answer to a rejection leaves out, a read has.
	no := capture(t, s, "no", body("r2", "1", "p")).payment(t)
	if read := get(t, s, "/v1/advanced_payments/"+string(no.ID)).payment(t); no.DateCreated != "" ||
		read.DateCreated == "" || read.Wallet.Reference != "r2" {
		t.Errorf("got %+v, then %+v", no, read)
	}
	for path, want := range map[string]string{
		"/v1/advanced_payments/1":    "404002",
		"/v1/advanced_payments/none": "400048",
		"/v1/payments/1":             "Payment not found",
		"/v1/payments/none":          "Payment not found",
		"/v1/nothing":                "Resource not found",
	} {
		if a := get(t, s, path); !strings.Contains(a.body, want) {
			t.Errorf("%s: got %d %s, want %s", path, a.status, a.body, want)
		}
	}
}

func TestInProcessEnds(t *testing.T) {
	t.Parallel()
	for status, charges := range map[string]int{"approved": 1, "rejected": 0, "cancelled": 0} {
		s := scripted(t, simulator.Rule{
			Action: simulator.ActionInProcess, Then: &simulator.Then{Status: status, AfterGets: 2},
		})
		p := capture(t, s, "k", body("r", "1", "p")).payment(t)
		for i, want := range []string{"in_process", status, status} {
			wantCharges(t, s, charges*min(i/2, 1))
			if got := get(t, s, "/v1/advanced_payments/"+string(p.ID)).payment(t); got.Status != want || got.Payments[0].Status != want {
				t.Errorf("%s, read %d: got %s", status, i+1, got.Status)
			}
		}
		wantCharges(t, s, charges)
	}
}

func TestSearch(t *testing.T) {
	t.Parallel()
	s := scripted(t, simulator.Rule{
		Match:  simulator.Match{ExternalReference: "no"},
		Action: simulator.ActionDecline, StatusDetail: "cc_rejected_blacklist",
	})
	for i := range 35 {
		capture(t, s, fmt.Sprint("k", i), body(fmt.Sprint("r", i%2), fmt.Sprint(i+1), "p")).wantStatus(t, 201)
	}
	capture(t, s, "no", body("no", "1", "q")).wantStatus(t, 201)
	zone := time.FixedZone("", -4*60*60)
	day := func(offset int) string { return time.Now().In(zone).AddDate(0, 0, offset).Format(time.DateOnly) }
	const inner = "/v1/payments/search?sort=date_created&criteria=asc"
	for _, tc := range []struct {
		path        string
		total, page int
	}{
		{"/v1/advanced_payments/search", 36, 30},
		{"/v1/advanced_payments/search?offset=30", 36, 6},
		{"/v1/advanced_payments/search?limit=5&offset=34", 36, 2},
		{"/v1/advanced_payments/search?limit=0", 36, 0},
		{"/v1/advanced_payments/search?external_reference=r0", 18, 18},
		{"/v1/advanced_payments/search?payment.external_reference=r1", 17, 17},
		{"/v1/advanced_payments/search?external_reference=none", 0, 0},
		{"/v1/advanced_payments/search?status=rejected", 1, 1},
		{"/v1/advanced_payments/search?payment.transaction_amount=7.00", 1, 1},
		{"/v1/advanced_payments/search?payment.transaction_amount=x", 0, 0},
		{"/v1/advanced_payments/search?payment.id=1", 0, 0},
		{"/v1/advanced_payments/search?payer.id=1", 0, 0},
		{"/v1/advanced_payments/search?range=date&begin_date=" + day(-1) + "&end_date=" + day(1), 36, 30},
		{"/v1/advanced_payments/search?range=date&begin_date=" + day(1), 0, 0},
		{"/v1/advanced_payments/search?range=date&end_date=" + day(-2), 0, 0},
		{inner, 36, 30},
		{inner + "&external_reference=no", 1, 1},
		{inner + "&external_reference=no&status=approved", 0, 0},
		{inner + "&range=date_created&begin_date=2020-01-01T00:00:00Z&end_date=2020-01-02T00:00:00.000-04:00", 0, 0},
		{inner + "&range=date_last_updated&begin_date=" + day(-1), 36, 30},
	} {
		var got results
		get(t, s, tc.path).wantStatus(t, 200).decode(t, &got)
		if got.Paging.Total != tc.total || len(got.Results) != tc.page || got.Results == nil {
			t.Errorf("%s: got %d of %d, want %d of %d", tc.path, len(got.Results), got.Paging.Total, tc.page, tc.total)
		}
	}
	for query, code := range map[string]string{
		"/v1/advanced_payments/search?reference=r":       "400047",
		"/v1/advanced_payments/search?limit=x":           "400047",
		"/v1/advanced_payments/search?limit=1000":        "400047",
		"/v1/advanced_payments/search?offset=-1":         "400047",
		"/v1/advanced_payments/search?range=weeks":       "400047",
		"/v1/advanced_payments/search?status=good":       "400040",
		"/v1/advanced_payments/search?begin_date=monday": "400041",
		"/v1/advanced_payments/search?end_date=monday":   "400042",
		"/v1/payments/search?external_reference=r":       "400047",
		"/v1/payments/search?sort=id&criteria=up":        "400047",
	} {
		if a := get(t, s, query); a.status != http.StatusBadRequest || !strings.Contains(a.body, code) {
			t.Errorf("%s: got %d %s, want %s", query, a.status, a.body, code)
		}
	}
}

func TestSearchOrder(t *testing.T) {
	t.Parallel()
	s := newSimulator(t, simulator.Config{})
	for i := range 3 {
		capture(t, s, fmt.Sprint("k", i), body("r", "1", "p"))
	}
	for path, want := range map[string]string{
		"/v1/advanced_payments/search?limit=1":                                            `"id":10458727`,
		"/v1/payments/search?sort=date_created&criteria=desc&limit=1":                     `"id":3870106244`,
		"/v1/payments/search?sort=date_created&criteria=asc&limit=1":                      `"id":3870106240`,
		"/v1/advanced_payments/search?payment.id=3870106242&payment.external_reference=r": `"id":10458726`,
	} {
		if a := get(t, s, path).wantStatus(t, 200); !strings.Contains(a.body, want) {
			t.Errorf("%s: got %s, want %s", path, a.body, want)
		}
	}
}

func TestSearchBy(t *testing.T) {
	t.Parallel()
	for by, want := range map[string][2]int{"both": {1, 1}, "inner": {0, 1}, "outer": {1, 0}, "none": {0, 0}} {
		s := newSimulator(t, simulator.Config{Script: simulator.Script{Switches: simulator.Switches{SearchBy: by}}})
		capture(t, s, "k", body("r", "1", "p")).wantStatus(t, 201)
		for i, filter := range []string{"external_reference", "payment.external_reference"} {
			var got results
			get(t, s, "/v1/advanced_payments/search?"+filter+"=r").decode(t, &got)
			if got.Paging.Total != want[i] {
				t.Errorf("%s, %s: got %d, want %d", by, filter, got.Paging.Total, want[i])
			}
		}
	}
}

func TestRefunds(t *testing.T) {
	t.Parallel()
	s := newSimulator(t, simulator.Config{
		Script: simulator.Script{Payers: []simulator.Payer{{Token: "p", Balance: "100"}}},
	})
	p := capture(t, s, "k", body("r", "100", "p")).payment(t)
	path := "/v1/advanced_payments/" + string(p.ID)
	refund := func(key, text string) answer {
		return do(t.Context(), s, http.MethodPost, path+"/refunds", text, http.Header{"X-Idempotency-Key": {key}})
	}
	refund("", "").wantStatus(t, 400)
	refund(strings.Repeat("k", 65), "").wantStatus(t, 400)
	refund("a", `{"amount":100.01}`).wantStatus(t, 400)
	refund("a", `{"amount":"x"}`).wantStatus(t, 400)
	refund("a", `{"amount":1.001}`).wantStatus(t, 400)
	refund("a", `[`).wantStatus(t, 400)
	first := refund("a", `{"amount":25}`).wantStatus(t, 200)
	if !strings.Contains(first.body, `"amount":25,`) || !strings.HasPrefix(first.body, "[") {
		t.Errorf("got %s", first.body)
	}
	if again := refund("a", `{"amount":25}`).wantStatus(t, 200); again.body != first.body {
		t.Errorf("got %s, want %s", again.body, first.body)
	}
	refund("a", `{"amount":26}`).wantStatus(t, 422)
	if got := get(t, s, path).payment(t); got.Status != "partially_refunded" || got.Payments[0].StatusDetail != "partially_refunded" {
		t.Errorf("got %+v", got)
	}
	refund("b", `{"amount":0}`).wantStatus(t, 200) // nought is all that is left
	if got := get(t, s, path).payment(t); got.Status != "refunded" || got.Payments[0].Status != "refunded" {
		t.Errorf("got %+v", got)
	}
	refund("c", ``).wantStatus(t, 400)
	if l := s.Charges(); l.Refunds.Count != 2 || l.Refunds.Sum.String() != "100" || len(l.List) != 1 {
		t.Errorf("got %+v", l)
	}
	capture(t, s, "k2", body("r", "100", "p")).wantStatus(t, 201)
	wantCharges(t, s, 2) // the balance came back
	do(t.Context(), s, http.MethodPost, "/v1/advanced_payments/1/refunds", "",
		http.Header{"X-Idempotency-Key": {"z"}}).wantStatus(t, 404)
}
