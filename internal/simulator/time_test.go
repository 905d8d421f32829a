//go:build synctests

package simulator_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"payment-capture/internal/simulator"
)

func TestLatency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSimulator(t, simulator.Config{Latency: time.Second, Script: simulator.Script{Rules: []simulator.Rule{
			{Match: simulator.Match{Key: "slow"}, Action: simulator.ActionUsual, Delay: simulator.Duration(time.Minute)},
			{Match: simulator.Match{Key: "fault"}, Action: simulator.ActionLocked, Delay: simulator.Duration(time.Hour)},
			{Match: simulator.Match{Key: "hang"}, Action: simulator.ActionHang, Delay: simulator.Duration(30 * time.Second)},
			{Match: simulator.Match{Key: "halves"}, Action: simulator.ActionSlowBody, Delay: simulator.Duration(9 * time.Second)},
		}}})
		for key, want := range map[string]time.Duration{
			"k": time.Second, "slow": time.Minute + time.Second, "fault": time.Hour + time.Second,
			"hang": 30 * time.Second, "halves": 10 * time.Second,
		} {
			start := time.Now()
			capture(t, s, key, body("r", "1", "p"))
			if took := time.Since(start); took != want {
				t.Errorf("%s: got %v, want %v", key, took, want)
			}
		}
		start := time.Now()
		get(t, s, "/v1/advanced_payments/1").wantStatus(t, 404)
		if took := time.Since(start); took != time.Second {
			t.Errorf("a read took %v, want 1s", took)
		}
	})
}

// TestBusyWhileRunning: fifty requests at one instant are one charge and 49
// times "not completed yet".
func TestBusyWhileRunning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSimulator(t, simulator.Config{Latency: time.Second})
		var mu sync.Mutex
		statuses := map[int]int{}
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				a := capture(t, s, "k", body("r", "1", "p"))
				mu.Lock()
				defer mu.Unlock()
				statuses[a.status]++
			})
		}
		wg.Wait()
		if statuses[http.StatusCreated] != 1 || statuses[http.StatusConflict] != 49 {
			t.Errorf("got %v", statuses)
		}
		capture(t, s, "k", body("r", "1", "p")).wantStatus(t, 200)
		if l := s.Charges(); len(l.List) != 1 || l.MaxConcurrent != 50 || l.MaxOverlapPerReference != 50 {
			t.Errorf("got %+v", l)
		}
	})
}

// TestClientGone: the work goes on when the client hangs up, and the key stays
// busy until it would have been answered.
func TestClientGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSimulator(t, simulator.Config{Latency: time.Minute})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		a := do(ctx, s, http.MethodPost, "/v1/advanced_payments", body("r", "1", "p"),
			http.Header{"X-Idempotency-Key": {"k"}})
		if !a.aborted {
			t.Errorf("got %d, want no answer", a.status)
		}
		if a := capture(t, s, "k", body("r", "1", "p")); a.status != 409 || !strings.Contains(a.body, "401001") {
			t.Errorf("got %d %s, want 409", a.status, a.body)
		}
		capture(t, s, "k", body("r", "1", "p")).wantStatus(t, 200)
		wantCharges(t, s, 1)
		if got := s.Charges().MaxOverlapPerReference; got != 1 {
			t.Errorf("got an overlap of %d, want 1", got)
		}
	})
}

func TestHangUntilTheClientGoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := scripted(t, simulator.Rule{Action: simulator.ActionHang, Charge: true, Times: 1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		start := time.Now()
		go func() {
			time.Sleep(time.Minute) // of virtual time
			capture(t, s, "k", body("r", "1", "p")).wantStatus(t, 409)
		}()
		a := do(ctx, s, http.MethodPost, "/v1/advanced_payments", body("r", "1", "p"),
			http.Header{"X-Idempotency-Key": {"k"}})
		if !a.aborted || time.Since(start) != time.Hour {
			t.Errorf("got aborted %v after %v", a.aborted, time.Since(start))
		}
		capture(t, s, "k", body("r", "1", "p")).wantStatus(t, 200)
		wantCharges(t, s, 1)
	})
}

func TestKeyRetention(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSimulator(t, simulator.Config{KeyRetention: time.Hour})
		capture(t, s, "k", body("r", "1", "p")).wantStatus(t, 201)
		time.Sleep(time.Hour - time.Nanosecond)
		capture(t, s, "k", body("r", "1", "p")).wantStatus(t, 200)
		time.Sleep(time.Nanosecond)
		capture(t, s, "k", body("r", "1", "p")).wantStatus(t, 201)
		wantCharges(t, s, 2)
		if got := s.Charges().DoubleCharges(); len(got) != 1 {
			t.Errorf("got %v, want the key", got)
		}
	})
}

func TestSearchDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSimulator(t, simulator.Config{SearchDelay: time.Minute})
		capture(t, s, "k", body("r", "1", "p")).wantStatus(t, 201)
		for _, want := range []int{0, 1} {
			for _, path := range []string{
				"/v1/advanced_payments/search?external_reference=r",
				"/v1/payments/search?sort=id&criteria=asc&external_reference=r",
			} {
				var got results
				get(t, s, path).wantStatus(t, 200).decode(t, &got)
				if got.Paging.Total != want {
					t.Errorf("%s: got %d, want %d", path, got.Paging.Total, want)
				}
			}
			time.Sleep(time.Minute)
		}
		get(t, s, "/v1/advanced_payments/10458725").wantStatus(t, 200)
	})
}

func TestRefundIsAsynchronous(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSimulator(t, simulator.Config{RefundDelay: time.Hour})
		capture(t, s, "k", body("r", "1", "p")).wantStatus(t, 201)
		const path = "/v1/advanced_payments/10458725"
		a := do(t.Context(), s, http.MethodPost, path+"/refunds", "", http.Header{"X-Idempotency-Key": {"back"}})
		if a.wantStatus(t, 200); !strings.Contains(a.body, `"status":"in_process"`) {
			t.Errorf("got %s", a.body)
		}
		for _, want := range []string{"approved", "refunded"} {
			if p := get(t, s, path).payment(t); p.Status != want {
				t.Errorf("got %s, want %s", p.Status, want)
			}
			time.Sleep(time.Hour)
		}
	})
}

// TestDates: a payment late in the evening, UTC, has its day in the account's zone.
func TestDates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // begins at 2000-01-01T00:00:00Z
		s := newSimulator(t, simulator.Config{})
		p := capture(t, s, "k", body("r", "1", "p")).payment(t)
		if p.DateCreated != "1999-12-31T20:00:00.000-04:00" {
			t.Errorf("got %s", p.DateCreated)
		}
		for query, want := range map[string]int{
			"begin_date=1999-12-31&end_date=1999-12-31":                     1,
			"begin_date=2000-01-01":                                         0,
			"begin_date=2000-01-01T00:00:00Z&end_date=2000-01-01T00:00:00Z": 1,
			"end_date=1999-12-31T19:59:59.999-04:00":                        0,
		} {
			var got results
			get(t, s, "/v1/advanced_payments/search?range=date&"+query).wantStatus(t, 200).decode(t, &got)
			if got.Paging.Total != want {
				t.Errorf("%s: got %d, want %d", query, got.Paging.Total, want)
			}
		}
	})
}
