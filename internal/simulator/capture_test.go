package simulator_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"payment-capture/internal/simulator"
)

// TestBodies holds the answers to the samples of the guide, byte by byte but for
// what differs from run to run.
func TestBodies(t *testing.T) {
	t.Parallel()
	script := simulator.Script{Payers: []simulator.Payer{
		{Token: "rich"},
		{Token: "poor", Balance: "1"},
		{Token: "declined", Decline: "cc_rejected_other_reason"},
		{Token: "gone", State: "cancelled"},
	}}
	for _, tc := range []struct {
		payer  string
		status int
		want   string
	}{
		{"rich", 201, `{"id":ID,"status":"approved","wallet_payment":{"transaction_amount":700.50,"description":"Order","external_reference":"Pago_123"},` +
			`"payments":[{"id":ID,"status":"approved","status_detail":"accredited","payment_type_id":"credit_card","payment_method_id":"visa",` +
			`"transaction_amount":700.50,"installments":1,"description":"Order","capture":true,"external_reference":"Pago_123"}],` +
			`"disbursements":[{"collector_id":"446566691"}],"payer":{"id":ID},"site_id":"MLM","binary_mode":true,` +
			`"date_created":"DATE","date_last_updated":"DATE"}`},
		{"declined", 201, `{"id":ID,"status":"rejected","wallet_payment":{"transaction_amount":700.50,"description":"Order"},` +
			`"payments":[{"id":ID,"status":"rejected","status_detail":"cc_rejected_other_reason","payment_type_id":"credit_card",` +
			`"payment_method_id":"visa","transaction_amount":700.50,"installments":1,"issuer_id":25,"description":"Order","capture":true}],` +
			`"disbursements":[{"collector_id":"446566691"}],"payer":{"id":ID},"site_id":"MLM","binary_mode":true}`},
		{"poor", 201, `{"id":ID,"status":"rejected","wallet_payment":{"transaction_amount":700.50,"description":"Order"},` +
			`"payments":[{"id":null,"status":"rejected","status_detail":"insufficient_money","payment_type_id":"account_money",` +
			`"payment_method_id":"account_money","transaction_amount":700.50,"description":"Order","capture":true}],` +
			`"disbursements":[{"collector_id":"446566691"}],"payer":{"id":ID},"site_id":"MLM","binary_mode":true}`},
		{"gone", 401, `{"status":"401","error":"unauthorized","message":"Invalid payer token.",` +
			`"cause":[{"code":"401003","message":"Invalid payer token","data":null}]}`},
	} {
		t.Run(tc.payer, func(t *testing.T) {
			t.Parallel()
			s := newSimulator(t, simulator.Config{Script: script})
			a := capture(t, s, "k", body("Pago_123", approvedAmount, tc.payer)).wantStatus(t, tc.status)
			got := regexp.MustCompile(`"id":\d+`).ReplaceAllString(a.body, `"id":ID`)
			got = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}-04:00`).ReplaceAllString(got, "DATE")
			if got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			if a.header.Get("X-Request-Id") == "" || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
				t.Errorf("headers: %v", a.header)
			}
		})
	}
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		rule    simulator.Rule
		status  string
		child   string
		detail  string
		charges int
	}{
		{"usual", simulator.Rule{Action: simulator.ActionUsual}, "approved", "approved", "accredited", 1},
		{"approve", simulator.Rule{Action: simulator.ActionApprove}, "approved", "approved", "accredited", 1},
		{
			"decline",
			simulator.Rule{Action: simulator.ActionDecline, StatusDetail: "cc_rejected_blacklist"},
			"rejected", "rejected", "cc_rejected_blacklist", 0,
		},
		{
			"insufficient",
			simulator.Rule{Action: simulator.ActionInsufficientMoney},
			"rejected", "rejected", "insufficient_money", 0,
		},
		{
			"in process",
			simulator.Rule{Action: simulator.ActionInProcess},
			"in_process", "in_process", "pending_contingency", 0,
		},
		{"authorized", simulator.Rule{Action: simulator.ActionAuthorized}, "authorized", "authorized", "pending_capture", 0},
		{"two children", simulator.Rule{Action: simulator.ActionTwoChildren}, "approved", "approved", "accredited", 1},
		{
			"two rejected",
			simulator.Rule{Action: simulator.ActionTwoChildren, StatusDetail: "cc_rejected_card_error"},
			"rejected", "rejected", "cc_rejected_card_error", 0,
		},
		{
			"contradict",
			simulator.Rule{Action: simulator.ActionContradict, Top: "approved", Child: "rejected"},
			"approved", "rejected", "accredited", 0,
		},
		{"contradict, charged", simulator.Rule{
			Action: simulator.ActionContradict, Top: "rejected", Child: "approved", Charge: true,
		}, "rejected", "approved", "accredited", 1},
		{"missing status", simulator.Rule{Action: simulator.ActionMissingStatus}, "", "approved", "accredited", 1},
		{"wrong amount", simulator.Rule{Action: simulator.ActionWrongEcho, Echo: "amount"}, "approved", "approved", "accredited", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := scripted(t, tc.rule)
			first := capture(t, s, "k", body("r", approvedAmount, "p")).wantStatus(t, 201)
			p := first.payment(t)
			last := p.Payments[len(p.Payments)-1]
			if p.Status != tc.status || last.Status != tc.child || last.StatusDetail != tc.detail {
				t.Errorf("got %q, %q, %q; want %q, %q, %q",
					p.Status, last.Status, last.StatusDetail, tc.status, tc.child, tc.detail)
			}
			again := capture(t, s, "k", body("r", approvedAmount, "p")).wantStatus(t, 200)
			if again.body != first.body {
				t.Errorf("replay: got %s, want %s", again.body, first.body)
			}
			wantCharges(t, s, tc.charges)
		})
	}
}

func TestWrongEchoAndShapes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		echo   string
		honest func(payment) bool
	}{
		{"amount", func(p payment) bool {
			return string(p.Wallet.Amount) == approvedAmount || string(p.Payments[0].Amount) == approvedAmount
		}},
		{"reference", func(p payment) bool { return p.Wallet.Reference == "r" || p.Payments[0].Reference == "r" }},
		{"site", func(p payment) bool { return p.SiteID == "MLM" }},
	} {
		s := scripted(t, simulator.Rule{Action: simulator.ActionWrongEcho, Echo: tc.echo})
		if a := capture(t, s, "k", body("r", approvedAmount, "p")); tc.honest(a.payment(t)) {
			t.Errorf("%s: got %s", tc.echo, a.body)
		}
		if a := get(t, s, "/v1/advanced_payments/10458725"); !tc.honest(a.payment(t)) {
			t.Errorf("%s: a read returns the true state, got %s", tc.echo, a.body)
		}
	}
	s := newSimulator(t, simulator.Config{Script: simulator.Script{
		Switches: simulator.Switches{IDs: "string", GetShape: "documented"},
	}})
	if p := capture(t, s, "k", body("r", "1", "p")).payment(t); string(p.ID) != `"10458725"` {
		t.Errorf("id: got %s", p.ID)
	}
	p := get(t, s, "/v1/advanced_payments/10458725").wantStatus(t, 200).payment(t)
	if p.Status != "" || p.Payments[0].Status != "" || !strings.HasPrefix(string(p.Disbursements), "{") {
		t.Errorf("documented shape: got %+v", p)
	}
	s = newSimulator(t, simulator.Config{Script: simulator.Script{Switches: simulator.Switches{JSON: "malformed"}}})
	if a := capture(t, s, "k", body("r", "1", "p")); !strings.HasSuffix(a.body, ",}") {
		t.Errorf("malformed: got %s", a.body)
	}
}

func TestValidation(t *testing.T) {
	t.Parallel()
	valid := body("r", approvedAmount, "p")
	edit := func(before, after string) string { return strings.Replace(valid, before, after, 1) }
	for _, tc := range []struct {
		name, site, body string
		code             string // of the cause; empty: accepted
	}{
		{"valid", "MLM", valid, ""},
		{"two decimals", "MLA", body("r", "0.01", "p"), ""},
		{"no decimals", "MLC", body("r", "700", "p"), ""},
		{"decimals in Chile", "MLC", body("r", "700.00", "p"), "400021"},
		{"decimals in Colombia", "MCO", body("r", "700.5", "p"), "400021"},
		{"three decimals", "MLB", body("r", "0.001", "p"), "400021"},
		{"more digits than a float has", "MLM", body("r", "90071992547409.93", "p"), ""},
		{"zero", "MLM", body("r", "0.00", "p"), "400018"},
		{"negative", "MLM", body("r", "-1", "p"), "400018"},
		{"exponent", "MLM", body("r", "1e2", "p"), "400021"},
		{"text", "MLM", body("r", `"700.50"`, "p"), "400021"},
		{"null amount", "MLM", body("r", "null", "p"), "400017"},
		{"no amount", "MLM", edit(`"transaction_amount":700.50,`, ""), "400017"},
		{"wrong case", "MLM", edit("transaction_amount", "Transaction_Amount"), "400017"},
		{"no reference", "MLM", body("", "1", "p"), "400055"},
		{"bad reference", "MLM", body("a b", "1", "p"), "400046"},
		{"long reference", "MLM", body(strings.Repeat("r", 65), "1", "p"), "400046"},
		{"no payer", "MLM", body("r", "1", ""), "400029"},
		{"type", "MLM", edit("wallet-token", "wallet-tokens"), "400039"},
		{"binary", "MLM", edit(`"binary_mode":true`, `"binary_mode":false`), "400039"},
		{"no binary", "MLM", edit(`,"binary_mode":true`, ""), "400039"},
		{"no wallet", "MLM", `{"payer":{"token":"p","type_token":"wallet-token"},"binary_mode":true}`, "400039"},
		{"discount", "MLM", edit(`"description"`, `"discount":{"amount":1},"description"`), "400136"},
		{"not JSON", "MLM", "{", "400053"},
		{"an array", "MLM", "[]", "400053"},
		{"empty", "MLM", "", "400053"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newSimulator(t, simulator.Config{Site: tc.site})
			if tc.code == "" {
				p := capture(t, s, "k", tc.body).wantStatus(t, 201).payment(t)
				if !strings.Contains(tc.body, string(p.Wallet.Amount)) || p.SiteID != tc.site {
					t.Errorf("echo: got %s", p.Wallet.Amount)
				}
				return
			}
			a := capture(t, s, "k", tc.body).wantStatus(t, 400)
			if !strings.Contains(a.body, `"code":"`+tc.code+`"`) {
				t.Errorf("got %s, want code %s", a.body, tc.code)
			}
			wantCharges(t, s, 0)
			capture(t, s, "k", body("r", "100", "p")).wantStatus(t, 201) // the key was not used up
		})
	}
}

func TestCauseStyles(t *testing.T) {
	t.Parallel()
	for style, want := range map[simulator.CodeStyle]string{
		"":                   `"cause":[{"code":"400018",`,
		simulator.CodeInt:    `"status":400,"cause":[{"code":400018,"description":`,
		simulator.CodeNone:   `greater than zero."}`,
		simulator.CodeString: `{"status":"400"`,
	} {
		s := newSimulator(t, simulator.Config{Script: simulator.Script{Switches: simulator.Switches{CauseCodes: style}}})
		if a := capture(t, s, "k", body("r", "0", "p")).wantStatus(t, 400); !strings.Contains(a.body, want) {
			t.Errorf("%q: got %s, want %s", style, a.body, want)
		}
	}
}

func TestHeadersAreChecked(t *testing.T) {
	t.Parallel()
	s := newSimulator(t, simulator.Config{})
	valid := body("r", "1", "p")
	for _, tc := range []struct {
		name   string
		header http.Header
		body   string
		status int
		want   string
	}{
		{"no key", nil, valid, 400, "Missing header parameter"},
		{"long key", http.Header{"X-Idempotency-Key": {strings.Repeat("k", 65)}}, valid, 400, "400058"},
		{"form", http.Header{"X-Idempotency-Key": {"k"}, "Content-Type": {"text/plain"}}, valid, 415, "Content-Type"},
		{"huge", http.Header{"X-Idempotency-Key": {"k"}}, strings.Repeat(" ", 70_000) + valid, 413, "too large"},
		{"64 characters", http.Header{"X-Idempotency-Key": {strings.Repeat("k", 64)}}, valid, 201, "approved"},
	} {
		a := do(t.Context(), s, http.MethodPost, "/v1/advanced_payments", tc.body, tc.header)
		if a.status != tc.status || !strings.Contains(a.body, tc.want) {
			t.Errorf("%s: got %d %s, want %d and %q", tc.name, a.status, a.body, tc.status, tc.want)
		}
	}
	wantCharges(t, s, 1)
}

func TestBearer(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, header string
		state        simulator.TokenState
		switches     simulator.Switches
		status       int
		want         string
	}{
		{"good", "Bearer secret", simulator.TokenOK, simulator.Switches{}, 201, "approved"},
		{"missing", "", simulator.TokenOK, simulator.Switches{}, 401, `"code":5`},
		{"basic", "Basic secret", simulator.TokenOK, simulator.Switches{}, 401, `"code":5`},
		{"wrong", "Bearer other", simulator.TokenOK, simulator.Switches{}, 401, `"code":"401000"`},
		{"expired", "Bearer secret", simulator.TokenExpired, simulator.Switches{}, 401, `"code":"401000"`},
		{
			"401002", "Bearer secret", simulator.TokenExpired,
			simulator.Switches{UnauthorizedShape: simulator.Shape401002},
			401, `"code":"401002"`,
		},
		{
			"live", "Bearer secret", simulator.TokenExpired,
			simulator.Switches{UnauthorizedShape: simulator.ShapeLive},
			401, `"status":401,"cause":[{"code":7`,
		},
		{
			"edge", "Bearer secret", simulator.TokenExpired,
			simulator.Switches{UnauthorizedShape: simulator.ShapeEdge},
			401, `{"code":"unauthorized"`,
		},
		{"blocked", "Bearer secret", simulator.TokenBlocked, simulator.Switches{}, 403, "PA_UNAUTHORIZED"},
		{
			"blocked, empty", "Bearer secret", simulator.TokenBlocked,
			simulator.Switches{ForbiddenBody: "empty"},
			403, "",
		},
	} {
		s := newSimulator(t, simulator.Config{
			AccessToken: "secret", Script: simulator.Script{Switches: tc.switches},
		})
		s.SetAccessToken("", tc.state)
		header := http.Header{"X-Idempotency-Key": {"k"}, "Authorization": {tc.header}}
		a := do(t.Context(), s, http.MethodPost, "/v1/advanced_payments", body("r", "1", "p"), header)
		if a.status != tc.status || !strings.Contains(a.body, tc.want) || (tc.want == "" && a.body != "") {
			t.Errorf("%s: got %d %s, want %d %s", tc.name, a.status, a.body, tc.status, tc.want)
		}
		if tc.status != 201 {
			wantCharges(t, s, 0)
			if a := do(t.Context(), s, http.MethodGet, "/v1/payments/1", "", header); a.status != tc.status {
				t.Errorf("%s: a read got %d, want %d", tc.name, a.status, tc.status)
			}
		}
	}
	s := newSimulator(t, simulator.Config{AccessToken: "old"})
	s.SetAccessToken("APP_USR-1", simulator.TokenOK)
	capture(t, s, "k", body("r", "1", "p")).wantStatus(t, 201)
}

func TestPayers(t *testing.T) {
	t.Parallel()
	s := newSimulator(t, simulator.Config{
		DefaultBalance: "10.00",
		Script:         simulator.Script{Payers: []simulator.Payer{{Token: "ana", Balance: "100", Agreement: "agreement-1"}}},
	})
	for i, want := range []string{"approved", "approved", "rejected"} {
		if p := capture(t, s, "a"+string(rune('0'+i)), body("r", "45.50", "ana")).payment(t); p.Status != want {
			t.Errorf("capture %d: got %s, want %s", i, p.Status, want)
		}
	}
	if p := capture(t, s, "b", body("r", "10.01", "new")).payment(t); p.Status != "rejected" {
		t.Errorf("the default balance is not kept: got %s", p.Status)
	}
	del := func(id string) answer {
		return do(t.Context(), s, http.MethodDelete, "/v2/wallet_connect/agreements/"+id, "", nil)
	}
	del("none").wantStatus(t, 404)
	del("agreement-1").wantStatus(t, 200)
	capture(t, s, "c", body("r", "1", "ana")).wantStatus(t, 401)
	if err := s.Apply(simulator.Script{
		Switches: simulator.Switches{CancelledTokenStatus: 201, UnknownPayers: "refuse", FailedKeys: "burned"},
	}); err != nil {
		t.Fatal(err)
	}
	for _, payer := range []string{"ana", "stranger"} {
		a := capture(t, s, "d-"+payer, body("r", "1", payer)).wantStatus(t, 201)
		if !strings.Contains(a.body, `"status":"401"`) || !strings.Contains(a.body, "401003") {
			t.Errorf("%s: got %s", payer, a.body)
		}
		capture(t, s, "d-"+payer, body("r", "1", payer)).wantStatus(t, 422)
	}
	wantCharges(t, s, 2)
	if l := s.Charges(); l.Rejected != 2 || l.ByReference["r"].Sum.String() != "91" {
		t.Errorf("charges: %+v", l)
	}
}
