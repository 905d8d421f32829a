package capture_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/mercadopago"
	"payment-capture/internal/secret"
)

// forbidden is a 403; certain: the API itself answered it.
func forbidden(certain bool) mercadopago.Answer {
	return mercadopago.Answer{
		Meaning: mercadopago.Halt, Cause: mercadopago.CauseAccount, Certain: certain, ParkReason: event.ParkBlocked,
		Reason: "the account may not charge", Detail: "HTTP 403", HTTPStatus: 403, Sent: true,
	}
}

// refusing refuses every event whose id does not begin with good.
func refusing(answer mercadopago.Answer) *crowdAPI {
	return newCrowdAPI(50*time.Millisecond, func(key string, _ time.Duration) mercadopago.Answer {
		if strings.HasPrefix(key, "good") {
			return captured()
		}
		return answer
	})
}

func runOf(n int) func(*config) {
	return func(c *config) { c.RefusalRun = n }
}

func (s *arrivals) comeEach(name string, n int) {
	s.t.Helper()
	for i := range n {
		s.come(fmt.Sprintf("%s%d", name, i))
		synctest.Wait() // they queue in this order
	}
}

func keys(calls []call) (all []string) {
	for _, c := range calls {
		all = append(all, c.request.Key)
	}
	return all
}

// While halted, the probes are of events that are no evidence, the newest and the
// oldest in turn; if there are none left, of the others one after the other, and rarer.
func TestProbesAreOfDifferentEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := refusing(refused("invalid_payer_token"))
		c := newCapturer(a, runOf(3), func(c *config) { c.MaxInFlight = 1 })
		events := newArrivals(t, c)
		events.comeEach("e", 8)
		<-time.After(20 * time.Minute)
		want := []string{"e0", "e1", "e2", "e7", "e3", "e6", "e4", "e5"}
		got := keys(a.calls)
		if !slices.Equal(got[:8], want) {
			t.Errorf("the first calls are for %v, want %v", got[:8], want)
		}
		for i := 8; i+8 < len(got); i++ {
			if different := slices.Compact(slices.Sorted(slices.Values(got[i : i+8]))); len(different) != 8 {
				t.Fatalf("eight consecutive probes are for %v", got[i:i+8])
			}
		}
		for i, want := range []float64{1, 1, 1, 1, 1, 2, 4, 8, 16, 30, 30} {
			if gap := a.calls[i+3].at - a.calls[i+2].at - a.takes; gap.Seconds() != want {
				t.Errorf("probe %d is made after %s, want %v s", i+1, gap, want)
			}
		}
		events.leave()
		if ended := events.endings(); len(ended) != 0 {
			t.Errorf("decided: %v", ended)
		}
	})
}

// An event that arrives in a long halt probes within a second or so, once, because
// it may be the one that ends it.
func TestNewEventIsProbedSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := refusing(refused("invalid_payer_token"))
		c := newCapturer(a, runOf(3))
		events := newArrivals(t, c)
		events.comeEach("e", 6)
		<-time.After(10*time.Minute + 13*time.Second)
		calls := len(a.calls)
		events.come("another")
		<-time.After(2 * time.Second)
		if got := keys(a.calls[calls:]); !slices.Equal(got, []string{"another"}) {
			t.Errorf("called for within two seconds: %v", got)
		}
		<-time.After(25 * time.Second)
		if more := len(a.calls) - calls; more > 2 {
			t.Errorf("%d calls in 27 seconds", more)
		}
		if h := c.Health(); h.State != "halted" || h.NextProbe.Before(time.Now()) || h.NextProbe.After(time.Now().Add(30*time.Second)) {
			t.Errorf("now it is %s: %+v", time.Now(), h)
		}
		events.come("good")
		events.all.Wait()
		if took := events.took["good"]; took > 2*time.Second {
			t.Errorf("the good one took %s", took)
		}
		if got := count(events.endings()); got[isCaptured] != 1 || got[payersRefused] != 7 {
			t.Errorf("ended: %v", got)
		}
	})
}

// Evidence from before a payment does not count after it, not even for a second halt:
// those payers are rejected at once. Others are new evidence.
func TestEvidenceIsNotCountedTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := refusing(refused("invalid_payer_token"))
		c := newCapturer(a, runOf(3))
		events := newArrivals(t, c)
		events.comeEach("e", 3)
		<-time.After(time.Second)
		if h := c.Health(); h.Cause != "payers_refused" {
			t.Fatalf("after three refusals: %+v", h)
		}
		events.come("good")
		events.all.Wait()
		again := newArrivals(t, c)
		again.comeEach("e", 3)
		<-time.After(100 * time.Millisecond)
		if got := count(again.endings()); got[payersRefused] != 3 || !c.Health().Passing() {
			t.Errorf("the same payers again: %v, %+v", got, c.Health())
		}
		others := newArrivals(t, c)
		others.comeEach("other", 2)
		<-time.After(6 * time.Second)
		if got := count(others.endings()); got[payersRefused] != 2 || !c.Health().Passing() {
			t.Errorf("two other payers: %v, %+v", got, c.Health())
		}
		others.come("third")
		<-time.After(6 * time.Second)
		if h := c.Health(); h.Cause != "payers_refused" {
			t.Errorf("after a third: %+v", h)
		}
		others.leave()
	})
}

// A refusal decides its event when a payment confirms it, or no other refusal follows
// for five seconds. One call is enough.
func TestRefusalIsConfirmed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		others []time.Duration // when others are refused
		good   time.Duration   // when one is captured; 0: none is
		want   time.Duration   // when the first is decided
	}{
		"alone":              {nil, 0, 5 * time.Second},
		"then a payment":     {nil, 2 * time.Second, 2 * time.Second},
		"then another one":   {[]time.Duration{4 * time.Second}, 0, 9 * time.Second},
		"another, a payment": {[]time.Duration{4 * time.Second}, 6 * time.Second, 6 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := refusing(refused("invalid_payer_token"))
				c := newCapturer(a, runOf(20))
				events := newArrivals(t, c)
				events.come("first")
				for i, at := range test.others {
					time.AfterFunc(at, func() { events.come(fmt.Sprintf("other%d", i)) })
				}
				if test.good > 0 {
					time.AfterFunc(test.good, func() { events.come("good") })
				}
				<-time.After(30 * time.Second)
				events.all.Wait()
				if took := events.took["first"] - a.takes; took != test.want {
					t.Errorf("decided after %s, want %s", took, test.want)
				}
				for id, ended := range events.endings() {
					if id != "good" && ended != payersRefused {
						t.Errorf("%s ended as %s", id, ended)
					}
				}
				if len(a.calls) != len(events.took) {
					t.Errorf("%d calls for %d events", len(a.calls), len(events.took))
				}
			})
		})
	}
}

// An event that was refused under a token that is replaced meanwhile is called for
// again, also if the answer comes after the new token's first payment.
func TestRefusedUnderAnOldToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const replaced = 3 * time.Second
		a := newCrowdAPI(50*time.Millisecond, nil)
		a.answer = func(key string, at time.Duration) mercadopago.Answer {
			if key == "slow" && at < replaced {
				<-time.After(4 * time.Second)
			}
			if at < replaced {
				return refused("invalid_payer_token")
			}
			return captured()
		}
		c := newCapturer(a, runOf(20), func(c *config) {
			c.Credential = func() uint64 { return uint64(time.Since(a.began) / replaced) }
		})
		events := newArrivals(t, c)
		events.comeEach("e", 5)
		events.come("slow")
		<-time.After(replaced)
		events.come("another")
		<-time.After(time.Second)
		if got := count(events.endings()); got[isCaptured] != 6 {
			t.Errorf("a second after the new token: %v", got)
		}
		events.all.Wait()
		if got := count(events.endings()); got[isCaptured] != 7 {
			t.Errorf("ended: %v", got)
		}
	})
}

// A payment whose call was in flight when the token was refused does not end the
// halt; one whose call begins later does.
func TestPaymentsInFlightEndNoHaltByASingleAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newCrowdAPI(50*time.Millisecond, func(key string, at time.Duration) mercadopago.Answer {
			switch {
			case key == "slow":
				<-time.After(10 * time.Second)
			case at < time.Minute:
				return halted()
			}
			return captured()
		})
		c := newCapturer(a)
		events := newArrivals(t, c)
		events.come("slow")
		events.come("refused")
		<-time.After(15 * time.Second)
		if got := events.endings(); got["slow"] != isCaptured || c.Health().Cause != "credential" {
			t.Errorf("after the payment: %v, %+v", got, c.Health())
		}
		if got := keys(a.between(9*time.Second, 14*time.Second)); len(got) != 0 {
			t.Errorf("the payment ended the halt: called for %v", got)
		}
		events.all.Wait()
		if took := events.took["refused"]; took < time.Minute || took > 100*time.Second {
			t.Errorf("the refused one took %s", took)
		}
	})
}

// A refusal that the API did not write concerns one event: it is retried and parked,
// and does not halt. So does the API's own, once another event was paid for under the
// same token.
func TestBlockedEvent(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer mercadopago.Answer
		others bool
		halted bool // for a while
	}{
		"not the API's, alone":        {forbidden(false), false, false},
		"not the API's, among others": {forbidden(false), true, false},
		"the API's, among others":     {forbidden(true), true, true},
		"the token, among others":     {halted(), true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := refusing(test.answer)
				c := newCapturer(a, runOf(20), func(c *config) { c.Deadline = time.Minute })
				events := newArrivals(t, c)
				events.come("blocked")
				<-time.After(5 * time.Second)
				if shut := !c.Health().Passing(); shut != test.halted {
					t.Errorf("after five seconds: %+v", c.Health())
				}
				if test.others {
					events.come("good")
					<-time.After(2 * time.Second)
				}
				for range 20 {
					if !c.Health().Passing() {
						t.Errorf("%s after: %+v", time.Since(a.began), c.Health())
					}
					<-time.After(5 * time.Second)
				}
				events.all.Wait()
				if got := events.endings()["blocked"]; got != "parked blocked" {
					t.Errorf("ended as %q", got)
				}
			})
		})
	}
}

// Ten such orders, without a payment between, halt the service.
func TestManyBlockedEventsHalt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := refusing(forbidden(false))
		c := newCapturer(a, runOf(0), func(c *config) { c.Deadline, c.MaxTries = time.Hour, 1000 })
		events := newArrivals(t, c)
		events.comeEach("e", 9)
		<-time.After(20 * time.Minute)
		if h := c.Health(); !h.Passing() {
			t.Errorf("after nine: %+v", h)
		}
		events.come("tenth")
		<-time.After(time.Minute)
		if h := c.Health(); h.Cause != "account" || !strings.Contains(h.Reason, "10 consecutive orders") {
			t.Errorf("after ten: %+v", h)
		}
		<-time.After(10 * time.Hour) // a halt parks nobody
		if ended := events.endings(); len(ended) != 0 {
			t.Errorf("ended: %v", ended)
		}
		events.come("good")
		events.all.Wait()
		if got := count(events.endings()); got[isCaptured] != 1 || got["parked blocked"] != 10 {
			t.Errorf("ended: %v", got)
		}
	})
}

// An event that is given up while its refusal is unconfirmed leaves no attempt
// behind: its next owner would have to assume a charge, and park it.
func TestGiveUpWhileUnconfirmed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		giveUp := make(chan struct{})
		time.AfterFunc(2*time.Second, func() { close(giveUp) })
		h := newLease(giveUp)
		c := newCapturer(newAPI(refused("invalid_payer_token")), runOf(20))
		decision, err := c.Capture(t.Context(), newEvent(t), h)
		wantAbandoned(t, ending(decision), err, nil)
		if len(h.attempts) != 1 || h.withdrawn != 1 {
			t.Errorf("%d attempts, %d withdrawals; want one of each", len(h.attempts), h.withdrawn)
		}
	})
}

// The attempt of a call that may have charged stays, whatever refusal follows it.
func TestUnknownCallIsNotWithdrawnAfterARefusal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		giveUp := make(chan struct{})
		time.AfterFunc(4*time.Second, func() { close(giveUp) })
		h := newLease(giveUp)
		c := newCapturer(newAPI(noAnswer(), refused("invalid_payer_token")), runOf(20))
		decision, err := c.Capture(t.Context(), newEvent(t), h)
		wantAbandoned(t, ending(decision), err, nil)
		if len(h.attempts) != 1 || h.withdrawn != 0 {
			t.Errorf("%d attempts, %d withdrawals; want one and none", len(h.attempts), h.withdrawn)
		}
	})
}

// Without a current lease the attempt may be another owner's: it is not withdrawn,
// though its call had no effect.
func TestNoWithdrawalWithoutACurrentLease(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]mercadopago.Answer{"429": wait(time.Second), "not sent": unsent(), "halted": halted()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				giveUp := make(chan struct{})
				a, h := newAPI(answer), newLease(giveUp)
				a.during = func(context.Context, *api) { h.stale.Store(true) }
				time.AfterFunc(time.Minute, func() { close(giveUp) })
				decision, err := newCapturer(a).Capture(t.Context(), newEvent(t), h)
				wantAbandoned(t, ending(decision), err, nil)
				if len(a.calls) != 1 || len(h.attempts) != 1 || h.withdrawn != 0 {
					t.Errorf("%d calls, %d attempts, %d withdrawals; want one, one and none", len(a.calls), len(h.attempts), h.withdrawn)
				}
			})
		})
	}
	t.Run("known to be lost", func(t *testing.T) {
		t.Parallel()
		errLost := errors.New("the partition is lost")
		ctx, cancel := context.WithCancelCause(t.Context())
		a, h := newAPI(wait(time.Second)), newLease(nil)
		a.during = func(context.Context, *api) { cancel(errLost) }
		decision, err := newCapturer(a).Capture(ctx, newEvent(t), h)
		wantAbandoned(t, ending(decision), err, errLost)
		if h.withdrawn != 0 {
			t.Errorf("%d withdrawals of an attempt that is another owner's", h.withdrawn)
		}
	})
}

// A call that was not sent leaves no doubt about the error of the next one.
func TestRefusedAfterACallThatWasNotSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, err := newCapturer(newAPI(unsent(), refused("invalid_payer_token"))).Capture(t.Context(), newEvent(t), newLease(nil))
		if err != nil || ending(d) != payersRefused {
			t.Errorf("got %q, %v", ending(d), err)
		}
	})
}

// A payment that is declined as a duplicate, after a call that may have charged, is
// parked and never rejected: it may duplicate that call's payment.
func TestDuplicateAfterAnUnknownTry(t *testing.T) {
	t.Parallel()
	duplicate := declined(mercadopago.ReasonDuplicatedPayment)
	for name, test := range map[string]struct {
		answers []mercadopago.Answer
		age     time.Duration // of an inherited attempt; 0: there is none
		found   []mercadopago.Answer
		want    string
	}{
		"nothing unknown": {
			[]mercadopago.Answer{duplicate},
			0, nil,
			event.TypeRejected + " " + mercadopago.ReasonDuplicatedPayment,
		},
		"only the decline is found": {
			[]mercadopago.Answer{noAnswer(), duplicate},
			0,
			[]mercadopago.Answer{duplicate},
			"parked error_after_unknown",
		},
		"nothing is found": {[]mercadopago.Answer{noAnswer(), duplicate}, 0, nil, "parked error_after_unknown"},
		"the payment is found": {
			[]mercadopago.Answer{noAnswer(), duplicate},
			0,
			[]mercadopago.Answer{duplicate, captured()},
			isCaptured,
		},
		"inherited, past the key retention": {nil, 25 * time.Hour, []mercadopago.Answer{duplicate}, "parked key_expired"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h, e := newLease(nil), newEvent(t)
				if test.age > 0 {
					h, e = inherited(t, test.age)
				}
				a := newAPI(test.answers...)
				var payments []mercadopago.Answer
				for i, p := range test.found {
					payments = append(payments, seen(p, fmt.Sprint(i), time.Now().Add(-test.age).Add(time.Second)))
				}
				a.found = []mercadopago.Found{find(payments...)}
				c := newCapturer(a, func(c *config) { c.KeyRetention = 24 * time.Hour })
				d, err := c.Capture(t.Context(), e, h)
				if err != nil || ending(d) != test.want {
					t.Fatalf("got %q, %v; want %q", ending(d), err, test.want)
				}
				if d.Parked() && len(test.found) > 0 && !strings.Contains(d.ParkInfo.Detail, "declined as a duplicate") {
					t.Errorf("parked: %s", d.ParkInfo.Detail)
				}
			})
		})
	}
}

// One payer's refusals count once, whatever orders they are for.
func TestEvidenceIsByPayer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := refusing(refused("invalid_payer_token"))
		c := newCapturer(a, runOf(3))
		for i := range 5 {
			e := newEvent(t)
			e.ID, e.OrderID, e.PayerToken = fmt.Sprintf("event-%d", i), fmt.Sprintf("order-%d", i), secret.New("one")
			if d, err := c.Capture(t.Context(), e, newLease(nil)); err != nil || ending(d) != payersRefused {
				t.Fatalf("got %q, %v", ending(d), err)
			}
		}
		if h := c.Health(); !h.Passing() {
			t.Errorf("afterwards: %+v", h)
		}
	})
}
