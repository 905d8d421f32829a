package capture_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/mercadopago"
	"payment-capture/internal/secret"
)

// crowdAPI answers many events at once, by a function of the event and the
// time, and records the calls.
type crowdAPI struct {
	began  time.Time
	takes  time.Duration
	answer func(key string, at time.Duration) mercadopago.Answer
	get    func(at time.Duration) mercadopago.Answer // nil: as answer
	search func(at time.Duration) mercadopago.Found  // nil: nothing is found

	searches     int
	mu           sync.Mutex
	calls        []call
	inFlight     int
	mostInFlight int
}

func (a *crowdAPI) Capture(ctx context.Context, r mercadopago.Request) mercadopago.Answer {
	at := time.Since(a.began)
	a.mu.Lock()
	a.calls = append(a.calls, call{at: at, request: r})
	a.inFlight++
	a.mostInFlight = max(a.mostInFlight, a.inFlight)
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.inFlight--
	}()
	select {
	case <-time.After(a.takes):
	case <-ctx.Done():
		return noAnswer()
	}
	answer := a.answer(r.Key, at)
	if answer.Payment != nil { // each event has its own
		p := *answer.Payment
		p.ID = "payment-of-" + r.Key
		answer.Payment = &p
	}
	return answer
}

func (a *crowdAPI) Get(ctx context.Context, r mercadopago.Request, _ string) mercadopago.Answer {
	if a.get == nil {
		return a.Capture(ctx, r)
	}
	answer := a.get(time.Since(a.began))
	answer.Read = true
	return answer
}

func (a *crowdAPI) Find(context.Context, mercadopago.Request, time.Time) mercadopago.Found {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.searches++
	if a.search == nil {
		return mercadopago.Found{Searched: true, Calls: 1}
	}
	return a.search(time.Since(a.began))
}

func (a *crowdAPI) between(from, to time.Duration) []call {
	a.mu.Lock()
	defer a.mu.Unlock()
	var some []call
	for _, c := range a.calls {
		if c.at >= from && c.at < to {
			some = append(some, c)
		}
	}
	return some
}

// crowd captures many events at once, each of another order and payer, and returns
// how each ended.
func crowd(t *testing.T, c *capturer, events int) (endings map[string]string) {
	t.Helper()
	endings = make(map[string]string)
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range events {
		e := newEvent(t)
		e.ID, e.OrderID = fmt.Sprintf("event-%d", i), fmt.Sprintf("order-%d", i)
		e.ExternalReference, e.PayerToken = e.OrderID, secret.New(fmt.Sprintf("payer-%d", i))
		all.Go(func() {
			decision, err := c.Capture(t.Context(), e, newLease(nil))
			mu.Lock()
			defer mu.Unlock()
			endings[e.ID] = ending(decision)
			if err != nil {
				endings[e.ID] = err.Error()
			}
		})
	}
	all.Wait()
	return endings
}

func newCrowdAPI(takes time.Duration, answer func(key string, at time.Duration) mercadopago.Answer) *crowdAPI {
	return &crowdAPI{began: time.Now(), takes: takes, answer: answer}
}

const isCaptured = event.TypeCaptured + " "

func count(endings map[string]string) map[string]int {
	n := make(map[string]int)
	for _, e := range endings {
		n[e]++
	}
	return n
}
