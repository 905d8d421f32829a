package mercadopago

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/simulator"
)

// TestFindLostCharge checks that a charge without an answer is found, whichever
// filter the API has.
func TestFindLostCharge(t *testing.T) {
	t.Parallel()
	for by, tt := range map[string]struct{ payments, inner, calls int }{
		"both":  {1, 0, 2},
		"inner": {1, 0, 2},
		"outer": {1, 0, 2},
		"none":  {0, 1, 3},
	} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			cfg := scripted(simulator.Rule{Action: simulator.ActionDrop, Charge: true})
			cfg.Script.Switches.SearchBy = by
			c, s := simulated(t, cfg)
			r, since := sampleRequest(t), time.Now()
			if found := c.Find(t.Context(), r, since); len(found.Payments)+len(found.Inner) != 0 || !found.Searched || found.Calls != 3 {
				t.Errorf("before the charge: got %+v", found)
			}
			check(t, c.Capture(t.Context(), r), want{meaning: Retry, cause: CauseNoAnswer})
			found := c.Find(t.Context(), r, since)
			checkFound(t, found)
			if len(found.Payments) != tt.payments || len(found.Inner) != tt.inner || found.Calls != tt.calls || !found.Searched {
				t.Fatalf("got %+v", found)
			}
			if tt.inner == 1 && found.Inner[0] != "3870106240 approved" {
				t.Errorf("got %q", found.Inner)
			}
			if tt.payments == 1 {
				check(t, found.Payments[0], want{meaning: Captured, cause: CauseApproved})
				check(t, c.Get(t.Context(), r, found.Payments[0].Payment.ID), want{meaning: Captured, cause: CauseApproved})
			}
			if charges := len(s.Charges().List); charges != 1 {
				t.Errorf("got %d charges", charges)
			}
			other := r
			other.ExternalReference = "Pago_12"
			if found := c.Find(t.Context(), other, since); len(found.Payments)+len(found.Inner) != 0 {
				t.Errorf("another reference: got %+v", found)
			}
		})
	}
}

// TestFindEveryResult checks that each result of a charge is found.
func TestFindEveryResult(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		rule     simulator.Rule
		switches simulator.Switches
		want     want
	}{
		"approved": {simulator.Rule{Action: simulator.ActionApprove}, simulator.Switches{}, want{meaning: Captured, cause: CauseApproved}},
		"id text": {
			simulator.Rule{Action: simulator.ActionApprove},
			simulator.Switches{IDs: "string"},
			want{meaning: Captured, cause: CauseApproved},
		},
		"by card": {simulator.Rule{Action: simulator.ActionTwoChildren}, simulator.Switches{}, want{meaning: Captured, cause: CauseApproved}},
		"wrong POST": {
			simulator.Rule{Action: simulator.ActionWrongEcho, Echo: "reference"},
			simulator.Switches{},
			want{meaning: Captured, cause: CauseApproved},
		},
		"declined": {
			simulator.Rule{Action: simulator.ActionDecline, StatusDetail: "cc_rejected_high_risk"},
			simulator.Switches{},
			want{meaning: Rejected, cause: CauseDeclined, reason: "cc_rejected_high_risk"},
		},
		"no balance": {
			simulator.Rule{Action: simulator.ActionInsufficientMoney},
			simulator.Switches{},
			want{meaning: Rejected, cause: CauseDeclined, reason: "insufficient_money"},
		},
		"in process": {
			simulator.Rule{Action: simulator.ActionInProcess},
			simulator.Switches{},
			want{meaning: Poll, cause: CauseInProcess, park: event.ParkUndecided},
		},
		"authorized": {
			simulator.Rule{Action: simulator.ActionAuthorized},
			simulator.Switches{},
			want{meaning: Park, cause: CauseUnexpectedStatus, park: event.ParkUnexpectedStatus},
		},
		"contradictory": {
			simulator.Rule{Action: simulator.ActionContradict, Top: "rejected", Child: "approved", Charge: true},
			simulator.Switches{},
			want{meaning: Park, cause: CauseContradiction, park: event.ParkContradictory},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := scripted(tt.rule)
			cfg.Script.Switches = tt.switches
			c, _ := simulated(t, cfg)
			r, since := sampleRequest(t), time.Now()
			c.Capture(t.Context(), r)
			found := c.Find(t.Context(), r, since)
			checkFound(t, found)
			if len(found.Payments) != 1 || !found.Searched {
				t.Fatalf("got %+v", found)
			}
			check(t, found.Payments[0], tt.want)
			if found.Payments[0].Payment.CreatedAt.IsZero() {
				t.Error("got no date")
			}
			r.Amount = amount(t, "700.51", "MXN")
			found = c.Find(t.Context(), r, since)
			checkFound(t, found)
			if len(found.Payments) != 1 || found.Payments[0].Meaning != Park {
				t.Errorf("another amount: got %+v", found)
			}
		})
	}
}

// TestFindAll checks that all payments under one reference are found, on however
// many pages.
func TestFindAll(t *testing.T) {
	t.Parallel()
	for n, calls := range map[int]int{1: 2, 20: 2, 21: 4, 100: 10, 101: 1} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			c, _ := simulated(t, simulator.Config{})
			since := time.Now()
			for i := range n {
				check(t, c.Capture(t.Context(), under(t, fmt.Sprint("key-", i))), want{meaning: Captured, cause: CauseApproved})
			}
			found := c.Find(t.Context(), sampleRequest(t), since)
			checkFound(t, found)
			if found.Calls != calls {
				t.Errorf("got %d calls, want %d", found.Calls, calls)
			}
			if n > maxPages*pageSize {
				if found.Failed == nil || found.Failed.Meaning != Park || len(found.Payments) != 0 {
					t.Errorf("got %+v", found)
				}
				return
			}
			ids := make(map[string]bool)
			for _, a := range found.Payments {
				ids[a.Payment.ID] = a.Meaning == Captured
			}
			if len(found.Payments) != n || len(ids) != n || !found.Searched {
				t.Errorf("got %d payments, %d of them different: %+v", len(found.Payments), len(ids), found.Failed)
			}
		})
	}
}

// TestSearchFaults checks that a fault of the first search, or of one after a search
// that found the charge, is never mistaken for an empty result.
func TestSearchFaults(t *testing.T) {
	t.Parallel()
	on := simulator.Match{On: simulator.OnSearch}
	after := 7
	for name, tt := range map[string]struct {
		rule simulator.Rule
		want want
	}{
		"error":      {simulator.Rule{Action: simulator.ActionError, Status: 503}, want{meaning: Retry, cause: CauseServerError}},
		"HTML":       {simulator.Rule{Action: simulator.ActionHTML}, want{meaning: Retry, cause: CauseServerError}},
		"rate limit": {simulator.Rule{Action: simulator.ActionTooManyRequests, RetryAfter: &after}, want{meaning: Wait, cause: CauseRateLimit}},
		"locked":     {simulator.Rule{Action: simulator.ActionLocked}, want{meaning: Wait, cause: CauseKeyBusy}},
		"truncated":  {simulator.Rule{Action: simulator.ActionTruncated}, want{meaning: Retry, cause: CauseUnreadable}},
		"broken off": {simulator.Rule{Action: simulator.ActionTruncated, Abort: true}, want{meaning: Retry, cause: CauseNoAnswer}},
		"drop":       {simulator.Rule{Action: simulator.ActionDrop}, want{meaning: Retry, cause: CauseNoAnswer}},
		"hang": {
			simulator.Rule{Action: simulator.ActionHang, Delay: simulator.Duration(20 * time.Millisecond)},
			want{meaning: Retry, cause: CauseNoAnswer},
		},
		"token":     {simulator.Rule{Action: simulator.ActionUnauthorized}, want{meaning: Halt, cause: CauseCredential}},
		"blocked":   {simulator.Rule{Action: simulator.ActionForbidden, Empty: true}, want{meaning: Halt, cause: CauseAccount}},
		"bad dates": {simulator.Rule{Action: simulator.ActionError, Status: 400, Code: "400041"}, want{meaning: Retry, cause: CauseRequest}},
		"an odd page": {
			simulator.Rule{Action: simulator.ActionAnswer, Status: 200, Body: `{"results":[]}`},
			want{meaning: Retry, cause: CauseUnreadable},
		},
	} {
		for _, searched := range []int{0, 1} {
			t.Run(fmt.Sprint(name, " after ", searched), func(t *testing.T) {
				t.Parallel()
				rules := []simulator.Rule{tt.rule}
				rules[0].Match = on
				if searched > 0 {
					rules = []simulator.Rule{{Match: on, Action: simulator.ActionUsual, Times: searched}, rules[0]}
				}
				s, err := simulator.New(scripted(rules...))
				if err != nil {
					t.Fatal(err)
				}
				server := serve(t, s.ServeHTTP)
				server.Config.ErrorLog = quiet(t)
				c := newClient(t, Config{URL: server.URL})
				r, since := sampleRequest(t), time.Now()
				check(t, c.Capture(t.Context(), r), want{meaning: Captured, cause: CauseApproved})
				found := c.Find(t.Context(), r, since)
				checkFound(t, found)
				if found.Failed == nil || found.Searched || len(found.Payments) != searched || len(found.Inner)+len(found.Refused) != 0 {
					t.Fatalf("got %+v", found)
				}
				check(t, *found.Failed, tt.want)
				if found.Failed.Meaning == Wait && tt.want.cause == CauseRateLimit && found.Failed.RetryAfter != 7*time.Second {
					t.Errorf("got retry after %s", found.Failed.RetryAfter)
				}
			})
		}
	}
}

// TestSearchesThatAreNotOffered checks that Find tries the next filter after 400047 to
// one of them.
func TestSearchesThatAreNotOffered(t *testing.T) {
	t.Parallel()
	for times, tt := range map[int]struct {
		payments, inner, refused int
		searched                 bool
	}{
		1: {1, 0, 1, true},
		2: {0, 1, 2, false},
		3: {0, 0, 3, false},
	} {
		c, _ := simulated(t, scripted(simulator.Rule{
			Match: simulator.Match{On: simulator.OnSearch}, Times: times,
			Action: simulator.ActionError, Status: http.StatusBadRequest, Code: "400047", Message: "Some parameters are invalid for search.",
		}))
		r, since := sampleRequest(t), time.Now()
		check(t, c.Capture(t.Context(), r), want{meaning: Captured, cause: CauseApproved})
		found := c.Find(t.Context(), r, since)
		checkFound(t, found)
		if len(found.Payments) != tt.payments || len(found.Inner) != tt.inner || len(found.Refused) != tt.refused ||
			found.Searched != tt.searched || found.Failed != nil {
			t.Errorf("%d refused: got %+v", times, found)
		}
		first := "search of advanced payments by external_reference: HTTP 400: Some parameters are invalid for search. (cause 400047)"
		if len(found.Refused) == 0 || found.Refused[0] != first {
			t.Errorf("got %q", found.Refused)
		}
	}
}

// TestFindInTime checks that a payment is found once the index has it, unless it was
// made before the given time.
func TestFindInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := simulator.New(simulator.Config{SearchDelay: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		network := newPipes()
		server := &http.Server{Handler: s}
		go func() { _ = server.Serve(network) }()
		c := newClient(t, Config{URL: "http://api.example", DialContext: network.dial})
		r := sampleRequest(t)

		first := time.Now()
		check(t, c.Capture(t.Context(), under(t, "first")), want{meaning: Captured, cause: CauseApproved})
		time.Sleep(30 * time.Hour) // more than the day that is added at either end
		second := time.Now()
		check(t, c.Capture(t.Context(), under(t, "second")), want{meaning: Captured, cause: CauseApproved})
		look := func(since time.Time, want int) {
			found := c.Find(t.Context(), r, since)
			checkFound(t, found)
			if len(found.Payments) != want || !found.Searched || len(found.Inner) != 0 {
				t.Errorf("since %s: got %+v, want %d", since.Sub(first), found, want)
			}
			if want == 2 && !found.Payments[0].Payment.CreatedAt.Equal(first) {
				t.Error("the older payment does not come first")
			}
		}
		look(first, 1)
		look(second, 0)
		time.Sleep(time.Minute - time.Nanosecond)
		look(second, 0)
		time.Sleep(time.Nanosecond)
		look(first, 2)
		look(first.Add(time.Millisecond), 1)
		look(second, 1)
		look(second.Add(500*time.Microsecond), 1) // finer than the API's dates
		look(second.Add(time.Millisecond), 0)
		look(second.Add(1000*time.Hour), 0) // still to come
		c.Close()
		_ = server.Close()
	})
}

// TestMalformedPages checks that a page with the guide's trailing commas is not
// mistaken for an empty one.
func TestMalformedPages(t *testing.T) {
	t.Parallel()
	cfg := scripted()
	cfg.Script.Switches.JSON = "malformed"
	c, _ := simulated(t, cfg)
	found := c.Find(t.Context(), sampleRequest(t), time.Now())
	checkFound(t, found)
	if found.Failed == nil || !strings.Contains(found.Failed.Detail, "unreadable page") {
		t.Errorf("got %+v", found)
	}
}
