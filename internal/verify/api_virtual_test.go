//go:build synctests

package verify_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/mercadopago"
	"payment-capture/internal/verify"
)

// stubAPI answers reads as a test says.
type stubAPI struct {
	mu    sync.Mutex
	gets  map[string]int
	calls []time.Time
	get   func(payment string, call int) mercadopago.Answer
	found mercadopago.Found
}

// Get implements [verify.API].
func (s *stubAPI) Get(_ context.Context, _ mercadopago.Request, payment string) mercadopago.Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, time.Now())
	s.gets[payment]++
	return s.get(payment, s.gets[payment])
}

// Find implements [verify.API].
func (s *stubAPI) Find(context.Context, mercadopago.Request, time.Time) mercadopago.Found {
	return s.found
}

func testWithStub(t *testing.T, events int, s *stubAPI, check func(*testing.T, *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for i := range events {
			w.process(w.send(order{id: fmt.Sprintf("e%d", i)}), event.TypeCaptured)
		}
		w.commit()
		s.gets = make(map[string]int)
		w.conf.API = &verify.APIConfig{API: s, Rate: 2}
		check(t, w)
	})
}

var taken = mercadopago.Answer{Meaning: mercadopago.Captured, Read: true, Sent: true}

func TestTheAPIIsAskedAtItsRate(t *testing.T) {
	s := &stubAPI{get: func(string, int) mercadopago.Answer { return taken }}
	testWithStub(t, 20, s, func(_ *testing.T, w *world) { w.expect() })
	if len(s.calls) != 20 {
		t.Fatalf("%d calls", len(s.calls))
	}
	if took := s.calls[19].Sub(s.calls[0]); took < 9*time.Second {
		t.Errorf("20 calls took %s, at 2 a second", took)
	}
}

func TestReadsThatFailAreRepeated(t *testing.T) {
	retry := mercadopago.Answer{Meaning: mercadopago.Retry, Read: true, Detail: "HTTP 500", RetryAfter: time.Minute}
	s := &stubAPI{get: func(_ string, call int) mercadopago.Answer {
		if call < 3 {
			return retry
		}
		return taken
	}}
	testWithStub(t, 2, s, func(_ *testing.T, w *world) { w.expect() })
	s = &stubAPI{get: func(payment string, _ int) mercadopago.Answer {
		if payment == "payment-e1" {
			return retry
		}
		return taken
	}}
	testWithStub(t, 3, s, func(t *testing.T, w *world) {
		t.Helper()
		w.send(order{id: "missing"})
		w.commit()
		found, sum, err := w.try()
		if !errors.Is(err, verify.ErrNotAsked) || sum == nil {
			t.Fatalf("got %v", err)
		}
		// The findings of the topics are reported all the same.
		if len(found) != 1 || found[0].Kind != verify.MissingOutcome {
			t.Errorf("got %+v", found)
		}
	})
}

func TestRefusedTokenEndsTheReading(t *testing.T) {
	s := &stubAPI{get: func(string, int) mercadopago.Answer {
		return mercadopago.Answer{Meaning: mercadopago.Halt, Read: true, Reason: "the token is refused"}
	}}
	testWithStub(t, 50, s, func(t *testing.T, w *world) {
		t.Helper()
		if _, _, err := w.try(); !errors.Is(err, verify.ErrNotAsked) {
			t.Errorf("got %v", err)
		}
	})
	if len(s.calls) > 16 {
		t.Errorf("%d calls with a token that is refused", len(s.calls))
	}
}

// The guide's own sample of a read has no status; a search shows it.
func TestReadWithoutAStatusIsSearchedFor(t *testing.T) {
	blank := mercadopago.Answer{
		Meaning: mercadopago.Park, Cause: mercadopago.CauseUnknownStatus, ParkReason: event.ParkUnexpectedStatus,
		Payment: &mercadopago.Payment{ID: "payment-e0"}, Read: true, Sent: true,
	}
	for meaning, wants := range map[mercadopago.Meaning][]want{
		mercadopago.Captured: nil,
		mercadopago.Rejected: {{verify.APIDiffers, "e0"}},
	} {
		s := &stubAPI{get: func(string, int) mercadopago.Answer { return blank }}
		other := mercadopago.Captured // of another payment whose id begins the same
		if meaning == mercadopago.Captured {
			other = mercadopago.Rejected
		}
		s.found = mercadopago.Found{Searched: true, Calls: 1, Payments: []mercadopago.Answer{
			{Meaning: other, Read: true, Sent: true, Payment: &mercadopago.Payment{ID: "payment-e01", Status: "x"}},
			{Meaning: other, Read: true, Sent: true, Payment: &mercadopago.Payment{ID: "payment-e", Status: "x"}},
			{Meaning: meaning, Read: true, Sent: true, Payment: &mercadopago.Payment{ID: "payment-e0", Status: "x"}},
		}}
		testWithStub(t, 1, s, func(_ *testing.T, w *world) { w.expect(wants...) })
	}
}
