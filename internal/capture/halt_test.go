package capture_test

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/mercadopago"
	"payment-capture/internal/secret"
)

// readAPI is a crowdAPI with functions of its own for reads and searches.
type readAPI struct {
	*crowdAPI
	read   func() mercadopago.Answer
	search func() mercadopago.Found

	reads, searches []time.Duration // when they were made; under the crowdAPI's lock
}

func (a *readAPI) Get(context.Context, mercadopago.Request, string) mercadopago.Answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reads = append(a.reads, time.Since(a.began))
	answer := a.read()
	answer.Read = true
	return answer
}

func (a *readAPI) Find(context.Context, mercadopago.Request, time.Time) mercadopago.Found {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.searches = append(a.searches, time.Since(a.began))
	return a.search()
}

// arrivals are events that arrive one after the other, each of another order and
// payer.
type arrivals struct {
	t      *testing.T
	c      *capturer
	giveUp chan struct{} // closed: those that came are given up
	all    sync.WaitGroup

	mu    sync.Mutex
	ended map[string]string        // how, by event
	took  map[string]time.Duration // since it came
}

func newArrivals(t *testing.T, c *capturer) *arrivals {
	t.Helper()
	return &arrivals{t: t, c: c, giveUp: make(chan struct{}), ended: make(map[string]string), took: make(map[string]time.Duration)}
}

// come captures an event in the background.
func (s *arrivals) come(id string) {
	s.t.Helper()
	e := newEvent(s.t)
	e.ID, e.OrderID, e.ExternalReference = id, "order-of-"+id, "reference-of-"+id
	e.PayerToken = secret.New("payer-of-" + id)
	began := time.Now()
	s.all.Go(func() {
		decision, err := s.c.Capture(s.t.Context(), e, newLease(s.giveUp))
		if err != nil { // given up
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ended[id], s.took[id] = ending(decision), time.Since(began)
	})
}

func (s *arrivals) crowd(events int) {
	s.t.Helper()
	for i := range events {
		s.come(fmt.Sprintf("event-%d", i))
	}
}

// leave makes the waiting events give up.
func (s *arrivals) leave() {
	close(s.giveUp)
	s.all.Wait()
}

func (s *arrivals) endings() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.ended)
}

// states returns the states of the limiter, sampled ten times a second for that
// long.
func states(c *capturer, within time.Duration) (seen []string) {
	for range within / (100 * time.Millisecond) {
		if state := c.Health().State; len(seen) == 0 || seen[len(seen)-1] != state {
			seen = append(seen, state)
		}
		<-time.After(100 * time.Millisecond)
	}
	return seen
}

const payersRefused = event.TypeRejected + " invalid_payer_token"

// A payment that is read, and not final, shows nothing of the payers: it ends
// neither a series of refusals nor its halt.
func TestReadsEndNoSeries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &readAPI{read: pending, crowdAPI: newCrowdAPI(50*time.Millisecond, func(key string, _ time.Duration) mercadopago.Answer {
			if key == "pending" {
				return pending()
			}
			return refused("invalid_payer_token")
		})}
		c := newCapturer(a, func(conf *config) {
			conf.RefusalRun, conf.Deadline, conf.MaxTries = 20, 20*time.Hour, 10000
		})
		polls := newArrivals(t, c)
		polls.come("pending")
		rejected := 0
		for range 4 {
			others := newArrivals(t, c)
			for i := range 40 {
				<-time.After(6 * time.Second)
				others.come(fmt.Sprintf("event-%d", i))
			}
			others.leave() // now the reads alone try whether the halt is over
			rejected += count(others.endings())[payersRefused]
			<-time.After(2 * time.Minute)
		}
		polls.leave()
		if rejected != 19 || len(a.reads) < 20 {
			t.Errorf("%d of 160 rejected beside %d reads, want 19", rejected, len(a.reads))
		}
	})
}

// A refused search neither halts nor ends a halt.
func TestRefusedSearchIsNoHalt(t *testing.T) {
	t.Parallel()
	blocked := mercadopago.Answer{
		Meaning: mercadopago.Halt, Cause: mercadopago.CauseAccount, Certain: true, Reason: "the account is blocked", HTTPStatus: 403, Sent: true,
	}
	refusedSearch := func() mercadopago.Found {
		read := blocked
		read.Read = true
		return mercadopago.Found{Calls: 1, Failed: &read}
	}
	t.Run("causes none", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			a := &readAPI{search: refusedSearch, crowdAPI: newCrowdAPI(50*time.Millisecond, func(key string, _ time.Duration) mercadopago.Answer {
				if key == "unknown" {
					return noAnswer()
				}
				return captured()
			})}
			c := newCapturer(a, func(conf *config) { conf.MaxTries = 1 })
			events := newArrivals(t, c)
			events.come("unknown")
			time.AfterFunc(time.Minute, func() { events.crowd(20) })
			if got := states(c, 2*time.Hour); len(got) != 1 || got[0] != "passing" {
				t.Errorf("states: %v, want passing alone", got)
			}
			events.all.Wait()
			if got := count(events.endings()); got[isCaptured] != 20 || got["parked undecided"] != 1 || len(a.searches) < 2 {
				t.Errorf("ended: %v, after %d searches", got, len(a.searches))
			}
		})
	})
	t.Run("ends none", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			const fixed = 15 * time.Minute
			a := &readAPI{search: refusedSearch, crowdAPI: newCrowdAPI(50*time.Millisecond, func(key string, at time.Duration) mercadopago.Answer {
				switch {
				case key == "unknown":
					return noAnswer()
				case at < fixed:
					return blocked
				}
				return captured()
			})}
			c := newCapturer(a, func(conf *config) { conf.MaxTries = 1 })
			events := newArrivals(t, c)
			events.come("unknown")
			<-time.After(time.Second)
			events.crowd(6)
			<-time.After(time.Second)
			if got := states(c, fixed-3*time.Second); len(got) != 1 || got[0] != "halted" {
				t.Errorf("states while it is blocked: %v, want halted alone", got)
			}
			if n := len(a.between(2*time.Second, fixed)); n > 40 {
				t.Errorf("%d charges while it is blocked", n)
			}
			events.all.Wait()
			if got := count(events.endings()); got[isCaptured] != 6 || got["parked undecided"] != 1 {
				t.Errorf("ended: %v", got)
			}
		})
	})
}

// Refused reads do not stop charges.
func TestRefusedReadsDoNotHalt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &readAPI{
			read: func() mercadopago.Answer {
				return mercadopago.Answer{
					Meaning: mercadopago.Halt, Cause: mercadopago.CauseAccount, Certain: true, Reason: "not allowed to read", HTTPStatus: 404, Sent: true,
				}
			},
			search: func() mercadopago.Found { return find() },
			crowdAPI: newCrowdAPI(50*time.Millisecond, func(key string, _ time.Duration) mercadopago.Answer {
				if key == "pending" {
					return pending()
				}
				return captured()
			}),
		}
		c := newCapturer(a)
		events := newArrivals(t, c)
		events.come("pending")
		for i := range 300 {
			<-time.After(5 * time.Second)
			events.come(fmt.Sprintf("event-%d", i))
			<-time.After(time.Second)
			if h := c.Health(); !h.Passing() {
				t.Fatalf("%s after: %+v", time.Since(a.began), h)
			}
		}
		events.all.Wait()
		if got := count(events.endings()); got[isCaptured] != 300 || len(a.reads) < 20 {
			t.Errorf("ended: %v, after %d reads", got, len(a.reads))
		}
		for id, took := range events.took {
			if id != "pending" && took > time.Second {
				t.Errorf("%s took %s", id, took)
			}
		}
	})
}

// A new token is probed at once, however many events wait for the rate limit.
func TestNewTokenWithARateLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const fixed, events = 10 * time.Second, 100
		a := newCrowdAPI(50*time.Millisecond, func(_ string, at time.Duration) mercadopago.Answer {
			if at < fixed {
				return halted()
			}
			return captured()
		})
		c := newCapturer(a, func(conf *config) {
			conf.RateLimit, conf.MaxInFlight = 1, 256
			conf.Credential = func() uint64 { return uint64(time.Since(a.began) / fixed) }
		})
		if got := count(crowd(t, c, events)); got[isCaptured] != events {
			t.Errorf("ended: %v", got)
		}
		if len(a.between(fixed, fixed+2*time.Second)) == 0 {
			t.Error("not noticed within two seconds")
		}
	})
}

// A token that is renewed while a call under the old one is refused is probed at
// once, whether that call halted the service or probed the halt.
func TestTokenRenewedDuringACall(t *testing.T) {
	t.Parallel()
	for name, renewed := range map[string]time.Duration{"the first": 10 * time.Second, "a probe": 50 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := newAPI()
				a.takes = 20 * time.Second
				a.during = func(context.Context, *api) {
					a.answers = append(a.answers, halted())
					if time.Since(a.began) >= renewed {
						a.answers[len(a.calls)-1] = captured()
					}
				}
				c := newCapturer(a, func(conf *config) {
					conf.Credential = func() uint64 { return uint64(min(1, time.Since(a.began)/renewed)) }
				})
				decision, err := c.Capture(t.Context(), newEvent(t), newLease(nil))
				if err != nil || ending(decision) != isCaptured {
					t.Fatalf("got %q, %v", ending(decision), err)
				}
				last := len(a.calls) - 1
				if wait := a.gaps()[last-1] - a.takes; a.calls[last-1].at > renewed || wait > time.Millisecond {
					t.Errorf("the new token was tried %s after the refusal; calls: %v", wait, a.gaps())
				}
			})
		})
	}
}
