package simulator_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"payment-capture/internal/simulator"
)

func TestIdempotency(t *testing.T) {
	t.Parallel()
	s := newSimulator(t, simulator.Config{})
	first := capture(t, s, "k", body("r", "1.00", "p")).wantStatus(t, 201)
	if again := capture(t, s, "k", body("r", "1.00", "p")).wantStatus(t, 200); again.body != first.body {
		t.Errorf("got %s, want %s", again.body, first.body)
	}
	// The same meaning in other bytes is another body.
	if a := capture(t, s, "k", body("r", "1.0", "p")).wantStatus(t, 422); !strings.Contains(a.body, "422001") {
		t.Errorf("got %s", a.body)
	}
	if err := s.Apply(simulator.Script{Switches: simulator.Switches{KeyConflict: "orders"}}); err != nil {
		t.Fatal(err)
	}
	if a := capture(t, s, "k", body("r", "2", "p")).wantStatus(t, 409); !strings.Contains(a.body, "idempotency_key_already_used") {
		t.Errorf("got %s", a.body)
	}
	s.ForgetKeys()
	capture(t, s, "k", body("r", "2", "p")).wantStatus(t, 201)
	l := s.Charges()
	if !slices.Equal(l.DoubleCharges(), []string{"k"}) || l.ByKey["k"].Sum.String() != "3" {
		t.Errorf("got %v of %+v, want the key charged twice", l.DoubleCharges(), l)
	}
	if l.Calls != 5 || l.CallsByKey["k"] != 5 {
		t.Errorf("got %d calls, %v", l.Calls, l.CallsByKey)
	}
}

func TestReplayOfTheCurrentState(t *testing.T) {
	t.Parallel()
	s := newSimulator(t, simulator.Config{Script: simulator.Script{Switches: simulator.Switches{Replay: "current"}}})
	capture(t, s, "k", body("r", "5", "p")).wantStatus(t, 201)
	do(t.Context(), s, http.MethodPost, "/v1/advanced_payments/10458725/refunds", "",
		http.Header{"X-Idempotency-Key": {"back"}}).wantStatus(t, 200)
	if p := capture(t, s, "k", body("r", "5", "p")).wantStatus(t, 200).payment(t); p.Status != "refunded" {
		t.Errorf("got %s, want refunded", p.Status)
	}
}

func TestSameKeyAtOnce(t *testing.T) {
	t.Parallel()
	s := newSimulator(t, simulator.Config{})
	var wg sync.WaitGroup
	statuses := make([]int, 50)
	for i := range statuses {
		wg.Go(func() {
			statuses[i] = capture(t, s, "k", body("r", "1", "p")).status
		})
	}
	wg.Wait()
	created := 0
	for _, status := range statuses {
		switch status {
		case http.StatusCreated:
			created++
		case http.StatusOK, http.StatusConflict:
		default:
			t.Errorf("got %d", status)
		}
	}
	l := s.Charges()
	if created != 1 || len(l.List) != 1 || l.CallsByKey["k"] != 50 {
		t.Errorf("got %d created, %d charges, %d calls", created, len(l.List), l.CallsByKey["k"])
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	s := newSimulator(t, simulator.Config{
		Script: simulator.Script{Payers: []simulator.Payer{{Token: "ana", Balance: "100"}}},
	})
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			capture(t, s, fmt.Sprint("k", i), body(fmt.Sprint("r", i), "1", "ana")).wantStatus(t, 201)
			get(t, s, fmt.Sprint("/v1/advanced_payments/search?payment.external_reference=r", i)).wantStatus(t, 200)
			s.Charges()
		})
	}
	wg.Wait()
	if l := s.Charges(); len(l.List) != 100 || l.Rejected != 100 || l.MaxOverlapPerReference != 1 {
		t.Errorf("got %d charges, %d rejected, overlap %d", len(l.List), l.Rejected, l.MaxOverlapPerReference)
	}
}

func TestMatching(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		match simulator.Match
		hits  []string // of the requests below
	}{
		"anything":    {simulator.Match{}, []string{"k1", "k2", "k3"}},
		"payer":       {simulator.Match{PayerToken: "ana"}, []string{"k1"}},
		"amount":      {simulator.Match{Amount: "13.5"}, []string{"k2", "k3"}},
		"reference":   {simulator.Match{ExternalReference: "order-1"}, []string{"k1"}},
		"prefix":      {simulator.Match{ExternalReferencePrefix: "order-"}, []string{"k1", "k2"}},
		"key":         {simulator.Match{Key: "k3"}, []string{"k3"}},
		"description": {simulator.Match{Description: "Order"}, []string{"k1", "k2", "k3"}},
		"other text":  {simulator.Match{Description: "order"}, nil},
		"second try":  {simulator.Match{FromTry: 2}, nil},
		"first try":   {simulator.Match{ToTry: 1}, []string{"k1", "k2", "k3"}},
		"two":         {simulator.Match{Amount: "13.50", ExternalReferencePrefix: "order-"}, []string{"k2"}},
		"certain":     {simulator.Match{Probability: new(1.0)}, []string{"k1", "k2", "k3"}},
		"a read":      {simulator.Match{On: simulator.OnGet}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := scripted(t, simulator.Rule{Match: tc.match, Action: simulator.ActionLocked})
			var hits []string
			for _, r := range [][4]string{
				{"k1", "order-1", "1", "ana"}, {"k2", "order-2", "13.50", "bob"}, {"k3", "other", "13.5", "bob"},
			} {
				if capture(t, s, r[0], body(r[1], r[2], r[3])).status == http.StatusLocked {
					hits = append(hits, r[0])
				}
			}
			if !slices.Equal(hits, tc.hits) {
				t.Errorf("got %v, want %v", hits, tc.hits)
			}
		})
	}
}

func TestRuleOrderAndTimes(t *testing.T) {
	t.Parallel()
	s := scripted(t,
		simulator.Rule{Action: simulator.ActionError, Status: 500, Times: 2},
		simulator.Rule{Action: simulator.ActionError, Status: 503, Match: simulator.Match{FromTry: 2, ToTry: 4}},
		simulator.Rule{Action: simulator.ActionApprove})
	for i, want := range []int{500, 500, 503, 503, 201, 200} {
		if got := capture(t, s, "k", body("r", "1", "p")).status; got != want {
			t.Errorf("try %d: got %d, want %d", i+1, got, want)
		}
	}
}

// TestProbability: which requests are hit depends on the seed, not on the order.
func TestProbability(t *testing.T) {
	t.Parallel()
	hits := func(seed uint64, backwards bool) []string {
		s := newSimulator(t, simulator.Config{Seed: seed, Script: simulator.Script{Rules: []simulator.Rule{
			{Match: simulator.Match{Probability: new(0.3)}, Action: simulator.ActionLocked},
		}}})
		var keys, hit []string
		for i := range 1000 {
			keys = append(keys, fmt.Sprint("key-", i))
		}
		if backwards {
			slices.Reverse(keys)
		}
		for _, key := range keys {
			if capture(t, s, key, body("r", "1", "p")).status == http.StatusLocked {
				hit = append(hit, key)
			}
		}
		slices.Sort(hit)
		return hit
	}
	one := hits(1, false)
	if len(one) < 250 || len(one) > 350 {
		t.Errorf("got %d of 1000, want about 300", len(one))
	}
	if !slices.Equal(one, hits(1, true)) {
		t.Error("the order of requests changed who was hit")
	}
	if slices.Equal(one, hits(2, false)) {
		t.Error("the seed changed nothing")
	}
}

func TestKeyOrderByReference(t *testing.T) {
	t.Parallel()
	s := newSimulator(t, simulator.Config{})
	for _, key := range []string{"a", "b", "a"} {
		capture(t, s, key, body("r", "1", "p"))
	}
	if got := s.Charges().KeysByReference["r"]; !slices.Equal(got, []string{"a", "b", "a"}) {
		t.Errorf("got %v", got)
	}
}

func BenchmarkCapture(b *testing.B) {
	s := newSimulator(b, simulator.Config{})
	i := 0
	for b.Loop() {
		i++
		capture(b, s, fmt.Sprint("key-", i), body(fmt.Sprint("r", i), approvedAmount, "p"))
	}
}
