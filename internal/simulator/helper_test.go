package simulator_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"payment-capture/internal/simulator"
)

const approvedAmount = "700.50"

func newSimulator(tb testing.TB, cfg simulator.Config) *simulator.Simulator {
	tb.Helper()
	s, err := simulator.New(cfg)
	if err != nil {
		tb.Fatalf("New: %v", err)
	}
	return s
}

func scripted(tb testing.TB, rules ...simulator.Rule) *simulator.Simulator {
	tb.Helper()
	return newSimulator(tb, simulator.Config{Script: simulator.Script{Rules: rules}})
}

// body is a valid capture.
func body(reference, amount, payer string) string {
	return `{"wallet_payment":{"transaction_amount":` + amount + `,"description":"Order","external_reference":"` +
		reference + `"},"payer":{"token":"` + payer + `","type_token":"wallet-token"},"binary_mode":true}`
}

// answer is what a client saw; aborted is a connection closed without an answer,
// or in the midst of one.
type answer struct {
	status  int
	header  http.Header
	body    string
	aborted bool
}

func do(ctx context.Context, s http.Handler, method, path, text string, header http.Header) (a answer) {
	r := httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(text))
	r.Header.Set("Authorization", "Bearer APP_USR-1")
	r.Header.Set("Content-Type", "application/json")
	maps.Copy(r.Header, header)
	w := httptest.NewRecorder()
	defer func() {
		if p := recover(); p != nil {
			if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			a.aborted = true
		}
		a.status, a.header, a.body = w.Code, w.Header(), w.Body.String()
	}()
	s.ServeHTTP(w, r)
	return a
}

func capture(tb testing.TB, s http.Handler, key, text string) answer {
	tb.Helper()
	return do(tb.Context(), s, http.MethodPost, "/v1/advanced_payments", text,
		http.Header{"X-Idempotency-Key": {key}})
}

func get(tb testing.TB, s http.Handler, path string) answer {
	tb.Helper()
	return do(tb.Context(), s, http.MethodGet, path, "", nil)
}

func (a answer) wantStatus(tb testing.TB, status int) answer {
	tb.Helper()
	if a.aborted || a.status != status {
		tb.Fatalf("got status %d, aborted %v, body %s; want status %d", a.status, a.aborted, a.body, status)
	}
	return a
}

// payment is the shape of an advanced payment that tests look at.
type payment struct {
	ID       json.RawMessage `json:"id"`
	Status   string          `json:"status"`
	SiteID   string          `json:"site_id"`
	Payments []struct {
		ID           *int64          `json:"id"`
		Status       string          `json:"status"`
		StatusDetail string          `json:"status_detail"`
		Amount       json.RawMessage `json:"transaction_amount"`
		Reference    string          `json:"external_reference"`
	} `json:"payments"`
	Wallet struct {
		Amount    json.RawMessage `json:"transaction_amount"`
		Reference string          `json:"external_reference"`
	} `json:"wallet_payment"`
	Disbursements json.RawMessage `json:"disbursements"`
	DateCreated   string          `json:"date_created"`
}

func (a answer) payment(tb testing.TB) payment {
	tb.Helper()
	var p payment
	a.decode(tb, &p)
	return p
}

func (a answer) decode(tb testing.TB, into any) {
	tb.Helper()
	if err := json.Unmarshal([]byte(a.body), into); err != nil {
		tb.Fatalf("body %q: %v", a.body, err)
	}
}

func wantCharges(tb testing.TB, s *simulator.Simulator, want int) {
	tb.Helper()
	if got := len(s.Charges().List); got != want {
		tb.Errorf("got %d charges, want %d", got, want)
	}
}
