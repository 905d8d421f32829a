package simulator_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"payment-capture/internal/simulator"
)

// faultCase is a fault and what the client sees of it; status 0 is no answer.
type faultCase struct {
	name   string
	rule   simulator.Rule
	status int
	want   string
}

func faultCases() []faultCase {
	return []faultCase{
		{"answer", simulator.Rule{Action: simulator.ActionAnswer, Status: 402, Body: `{"x":1}`}, 402, `{"x":1}`},
		{"error 406", simulator.Rule{
			Action: simulator.ActionError, Status: 406, Code: "406001", Message: "Error in the payments API",
		}, 406, `{"status":"406","error":"not_acceptable","message":"Error in the payments API","cause":[{"code":"406001",`},
		{"error as number", simulator.Rule{
			Action: simulator.ActionError, Status: 500, Code: "500000", CodeStyle: simulator.CodeInt,
		}, 500, `"status":500,"cause":[{"code":500000,`},
		{"error without cause", simulator.Rule{
			Action: simulator.ActionError, Status: 424, Code: "1", CodeStyle: simulator.CodeNone,
		}, 424, `"message":"Failed Dependency"}`},
		{"unauthorized", simulator.Rule{Action: simulator.ActionUnauthorized, Shape: simulator.ShapeEdge}, 401, `invalid access`},
		{"forbidden", simulator.Rule{Action: simulator.ActionForbidden}, 403, "PolicyAgent"},
		{"forbidden, empty", simulator.Rule{Action: simulator.ActionForbidden, Empty: true}, 403, ""},
		{"payer token", simulator.Rule{Action: simulator.ActionInvalidPayerToken}, 401, "401003"},
		{"429", simulator.Rule{Action: simulator.ActionTooManyRequests}, 429, "too_many_requests"},
		{"429 plain", simulator.Rule{Action: simulator.ActionTooManyRequests, Plain: true}, 429, "local_rate_limited"},
		{"locked", simulator.Rule{Action: simulator.ActionLocked}, 423, "resource_locked"},
		{"busy", simulator.Rule{Action: simulator.ActionBusy}, 409, "401001"},
		{"key used", simulator.Rule{Action: simulator.ActionKeyUsed}, 422, "422001"},
		{"html", simulator.Rule{Action: simulator.ActionHTML}, 502, "<h1>Bad Gateway</h1>"},
		{"html 504", simulator.Rule{Action: simulator.ActionHTML, Status: 504}, 504, "<h1>Gateway Timeout</h1>"},
		{"drop", simulator.Rule{Action: simulator.ActionDrop}, 0, ""},
		{"hang", simulator.Rule{Action: simulator.ActionHang, Delay: simulator.Duration(time.Millisecond)}, 0, ""},
	}
}

// TestFaults has each fault come before the money moved, after it, and with the
// key used up, and checks the next call.
func TestFaults(t *testing.T) {
	t.Parallel()
	valid := body("r", approvedAmount, "p")
	for _, tc := range faultCases() {
		for _, after := range []struct {
			name         string
			charge, burn bool
			charges      int // by the fault
			then         int // the status of the next try
			total        int // charges in the end
		}{
			{name: "not charged", then: 201, total: 1},
			{name: "charged", charge: true, charges: 1, then: 200, total: 1},
			{name: "burned", burn: true, then: 422},
		} {
			t.Run(tc.name+"/"+after.name, func(t *testing.T) {
				t.Parallel()
				rule := tc.rule
				rule.Charge, rule.Burn, rule.Times = after.charge, after.burn, 1
				s := scripted(t, rule)
				a := capture(t, s, "k", valid)
				if a.aborted != (tc.status == 0) || (!a.aborted && a.status != tc.status) || !strings.Contains(a.body, tc.want) {
					t.Errorf("got %d, aborted %v, %s; want %d, %s", a.status, a.aborted, a.body, tc.status, tc.want)
				}
				wantCharges(t, s, after.charges)
				capture(t, s, "k", valid).wantStatus(t, after.then)
				wantCharges(t, s, after.total)
			})
		}
	}
}

func TestFaultAfterRejection(t *testing.T) {
	t.Parallel()
	s := scripted(t,
		simulator.Rule{Action: simulator.ActionDrop, Charge: true, Times: 1},
		simulator.Rule{Action: simulator.ActionDecline, StatusDetail: "cc_rejected_high_risk"})
	if a := capture(t, s, "k", body("r", "1", "p")); !a.aborted {
		t.Fatalf("got %d", a.status)
	}
	p := capture(t, s, "k", body("r", "1", "p")).wantStatus(t, 200).payment(t)
	if p.Payments[0].StatusDetail != "cc_rejected_high_risk" {
		t.Errorf("got %+v, want the answer of the rule behind the fault", p)
	}
	wantCharges(t, s, 0)
}

// TestFaultsAfterSuccess: a fault does not ask whether the key is done.
func TestFaultsAfterSuccess(t *testing.T) {
	t.Parallel()
	s := scripted(t,
		simulator.Rule{Match: simulator.Match{Key: "busy"}, Action: simulator.ActionBusy, Charge: true},
		simulator.Rule{
			Match: simulator.Match{Key: "gone", FromTry: 2}, Action: simulator.ActionInvalidPayerToken,
		})
	for range 3 {
		capture(t, s, "busy", body("r", "1", "p")).wantStatus(t, 409)
	}
	wantCharges(t, s, 1)
	capture(t, s, "gone", body("r", "1", "p")).wantStatus(t, 201)
	capture(t, s, "gone", body("r", "1", "p")).wantStatus(t, 401)
	wantCharges(t, s, 2)
}

func TestAnswerHeaders(t *testing.T) {
	t.Parallel()
	s := scripted(t,
		simulator.Rule{Match: simulator.Match{Key: "a"}, Action: simulator.ActionTooManyRequests, RetryAfter: new(7)},
		simulator.Rule{Match: simulator.Match{Key: "b"}, Action: simulator.ActionTooManyRequests, RetryAfter: new(0), Plain: true},
		simulator.Rule{
			Match: simulator.Match{Key: "c"}, Action: simulator.ActionAnswer, Status: 307,
			Headers: map[string]string{"Location": "/elsewhere"},
		})
	for key, want := range map[string][2]string{
		"a": {"Retry-After", "7"}, "b": {"Retry-After", "0"}, "c": {"Location", "/elsewhere"},
		"d": {"Retry-After", ""},
	} {
		if got := capture(t, s, key, body("r", "1", "p")).header.Get(want[0]); got != want[1] {
			t.Errorf("%s: %s: got %q, want %q", key, want[0], got, want[1])
		}
	}
	if a := capture(t, s, "b", body("r", "1", "p")); a.header.Get("Content-Type") != "text/plain" {
		t.Errorf("got %v, want text/plain", a.header)
	}
}

func TestGarbledAnswers(t *testing.T) {
	t.Parallel()
	valid := body("r", approvedAmount, "p")
	for name, tc := range map[string]struct {
		rule    simulator.Rule
		aborted bool
		whole   bool
	}{
		"truncated": {rule: simulator.Rule{Action: simulator.ActionTruncated, Times: 1}},
		"aborted":   {rule: simulator.Rule{Action: simulator.ActionTruncated, Times: 1, Abort: true}, aborted: true},
		"slow": {rule: simulator.Rule{
			Action: simulator.ActionSlowBody, Times: 1, Delay: simulator.Duration(time.Millisecond),
		}, whole: true},
	} {
		s := scripted(t, tc.rule)
		a := capture(t, s, "k", valid)
		again := capture(t, s, "k", valid).wantStatus(t, 200)
		if a.status != 201 || a.aborted != tc.aborted || !strings.HasPrefix(again.body, a.body) ||
			(a.body == again.body) != tc.whole || a.body == "" {
			t.Errorf("%s: got %d, aborted %v, %s", name, a.status, a.aborted, a.body)
		}
		wantCharges(t, s, 1)
	}
}

func TestFaultsOfReads(t *testing.T) {
	t.Parallel()
	s := scripted(t,
		simulator.Rule{
			Match: simulator.Match{On: simulator.OnGet, ExternalReference: "r"}, Times: 1,
			Action: simulator.ActionError, Status: 502,
		},
		simulator.Rule{Match: simulator.Match{On: simulator.OnSearch, Probability: new(1.0)}, Times: 1, Action: simulator.ActionDrop},
		simulator.Rule{Match: simulator.Match{On: simulator.OnSearch}, Times: 1, Action: simulator.ActionTruncated},
		simulator.Rule{Match: simulator.Match{On: simulator.OnSearch}, Action: simulator.ActionUsual})
	capture(t, s, "k", body("r", "1", "p")).wantStatus(t, 201)
	const byID, search = "/v1/advanced_payments/10458725", "/v1/advanced_payments/search?external_reference=r"
	get(t, s, byID).wantStatus(t, 502)
	get(t, s, byID).wantStatus(t, 200)
	if a := get(t, s, search); !a.aborted {
		t.Errorf("got %d, want a closed connection", a.status)
	}
	cut := get(t, s, search).wantStatus(t, 200)
	if whole := get(t, s, search).wantStatus(t, 200); len(cut.body) != len(whole.body)/2 {
		t.Errorf("got %q of %q, want half", cut.body, whole.body)
	}
}

// TestOverHTTP sees the faults of the connection as a real client does.
func TestOverHTTP(t *testing.T) {
	t.Parallel()
	s := scripted(t,
		simulator.Rule{Match: simulator.Match{Key: "drop"}, Action: simulator.ActionDrop, Charge: true, Times: 1},
		simulator.Rule{Match: simulator.Match{Key: "hang"}, Action: simulator.ActionHang, Charge: true, Times: 1},
		simulator.Rule{Match: simulator.Match{Key: "cut"}, Action: simulator.ActionTruncated, Abort: true, Times: 1})
	server := httptest.NewServer(s)
	defer server.Close()
	send := func(key string, timeout time.Duration) (int, error) {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/v1/advanced_payments",
			strings.NewReader(body("r-"+key, "1", "p")))
		if err != nil {
			return 0, err
		}
		r.Header.Set("Authorization", "Bearer x")
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Idempotency-Key", key)
		r.GetBody = nil // no silent second try by the transport
		response, err := server.Client().Do(r)
		if err != nil {
			return 0, err
		}
		defer response.Body.Close()
		_, err = io.ReadAll(response.Body)
		return response.StatusCode, err
	}
	if _, err := send("drop", time.Minute); !errors.Is(err, io.EOF) {
		t.Errorf("drop: got %v, want EOF", err)
	}
	if _, err := send("cut", time.Minute); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut: got %v, want an unexpected EOF", err)
	}
	if _, err := send("hang", 30*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hang: got %v, want a time-out", err)
	}
	for _, key := range []string{"drop", "cut", "hang"} {
		status := http.StatusConflict // until the server has noticed that the client went
		for status == http.StatusConflict {
			var err error
			if status, err = send(key, time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		if status != http.StatusOK {
			t.Errorf("%s: the second try got %d, want 200", key, status)
		}
	}
	wantCharges(t, s, 3)
}
