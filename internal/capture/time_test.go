package capture_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"payment-capture/internal/capture"
	"payment-capture/internal/mercadopago"
)

// The waits are uniformly random from zero to a bound that doubles: over many
// events, each stays below its bound and comes near both ends.
func TestFullJitter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const events, tries = 200, 12
		var least, most [tries - 1]time.Duration
		for n := range events {
			a := newAPI(unsent())
			decision, err := newCapturer(a, func(c *config) { c.MaxTries = tries }).Capture(t.Context(), newEvent(t), newLease(nil))
			if err != nil || decision.ParkInfo == nil || len(a.calls) != tries {
				t.Fatalf("got %+v, %v after %d calls", decision, err, len(a.calls))
			}
			for i, gap := range a.gaps() {
				if n == 0 || gap < least[i] {
					least[i] = gap
				}
				most[i] = max(most[i], gap)
			}
		}
		for i := range most {
			bound := min(200*time.Millisecond<<i, 30*time.Second)
			if most[i] >= bound || most[i] < bound/2 || least[i] > bound/2 {
				t.Errorf("wait %d was %s to %s, want it spread over 0 to %s", i+1, least[i], most[i], bound)
			}
		}
	})
}

func TestRetryAfterIsObeyed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, after := range []time.Duration{time.Second, 40 * time.Second, 5 * time.Minute} {
			a := newAPI(wait(after), captured())
			if _, err := newCapturer(a).Capture(t.Context(), newEvent(t), newLease(nil)); err != nil {
				t.Fatal(err)
			}
			if gap := a.gaps()[0]; gap < after || gap > after+time.Second {
				t.Errorf("Retry-After %s: retried after %s, want at most a second more", after, gap)
			}
		}
	})
}

func TestBudget(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer   mercadopago.Answer
		deadline time.Duration
		tries    int
		want     string // how it ends
	}{
		"tries":    {unavailable(), time.Hour, 5, "parked undecided"},
		"one try":  {noAnswer(), time.Hour, 1, "parked undecided"},
		"deadline": {busy(), 3 * time.Minute, 1 << 30, "parked undecided"},
		// The time that the API asks for does not count, the calls do.
		"a retry time past the deadline": {wait(10 * time.Minute), 5 * time.Minute, 8, "parked undecided"},
		"the answer's own reason":        {withReason(unavailable()), time.Hour, 3, "parked reference_duplicated"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(test.answer)
				a.takes = 100 * time.Millisecond
				decision, err := newCapturer(a, func(c *config) { c.Deadline, c.MaxTries = test.deadline, test.tries }).
					Capture(t.Context(), newEvent(t), newLease(nil))
				if err != nil || ending(decision) != test.want {
					t.Fatalf("got %q, %v; want %q", ending(decision), err, test.want)
				}
				if decision.ParkInfo.Tries != len(a.calls) || len(a.calls) > test.tries {
					t.Errorf("parked after %d tries, with %d calls of at most %d", decision.ParkInfo.Tries, len(a.calls), test.tries)
				}
				if strings.HasPrefix(name, "deadline") {
					// The last wait does not begin if it would end too late.
					if last := a.calls[len(a.calls)-1].at; last > test.deadline || last < test.deadline-time.Minute {
						t.Errorf("the last call is after %s, want it within %s", last, test.deadline)
					}
				} else if len(a.calls) != test.tries {
					t.Errorf("%d calls, want %d", len(a.calls), test.tries)
				}
				if !strings.Contains(decision.ParkInfo.Detail, "budget is spent") {
					t.Errorf("detail: %s", decision.ParkInfo.Detail)
				}
			})
		})
	}
}

func withReason(a mercadopago.Answer) mercadopago.Answer {
	a.ParkReason = "reference_duplicated"
	return a
}

// wantAbandoned checks that the event was left undecided, for that cause.
func wantAbandoned(t *testing.T, ended string, err, cause error) {
	t.Helper()
	abandoned, ok := errors.AsType[*capture.AbandonedError](err)
	switch {
	case !ok:
		t.Errorf("got %v, want an AbandonedError", err)
	case cause != nil && !errors.Is(abandoned, cause):
		t.Errorf("its cause is %v, want %v", abandoned.Cause, cause)
	}
	if ended != "none" {
		t.Errorf("it was decided: %s", ended)
	}
}

func TestGiveUpWhileWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		giveUp := make(chan struct{})
		a := newAPI(wait(10 * time.Minute))
		time.AfterFunc(7*time.Second, func() { close(giveUp) })
		began := time.Now()
		decision, err := newCapturer(a).Capture(t.Context(), newEvent(t), newLease(giveUp))
		wantAbandoned(t, ending(decision), err, nil)
		if took := time.Since(began); took != 7*time.Second || len(a.calls) != 1 {
			t.Errorf("%d calls in %s, want 1 in 7s", len(a.calls), took)
		}
	})
}

func TestGiveUpBeforeTheFirstCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		giveUp := make(chan struct{})
		close(giveUp)
		a := newAPI(captured())
		decision, err := newCapturer(a).Capture(t.Context(), newEvent(t), newLease(giveUp))
		wantAbandoned(t, ending(decision), err, nil)
		if len(a.calls) != 0 {
			t.Errorf("%d calls, want none", len(a.calls))
		}
	})
}

// The call in flight is finished: its answer may be the only one that shows whether
// money moved.
func TestGiveUpDuringACall(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer mercadopago.Answer
		want   string // "none": abandoned
	}{
		"it decides":         {captured(), "payment.captured "},
		"it parks":           {parked(), "parked idempotency_key_used"},
		"it does not decide": {unavailable(), "none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				giveUp := make(chan struct{})
				a := newAPI(test.answer)
				a.takes = 10 * time.Second
				time.AfterFunc(time.Second, func() { close(giveUp) })
				began := time.Now()
				decision, err := newCapturer(a).Capture(t.Context(), newEvent(t), newLease(giveUp))
				if test.want == "none" {
					wantAbandoned(t, ending(decision), err, nil)
				} else if err != nil || ending(decision) != test.want {
					t.Errorf("got %q, %v; want %q", ending(decision), err, test.want)
				}
				if took := time.Since(began); took != 10*time.Second || len(a.calls) != 1 {
					t.Errorf("%d calls in %s, want 1 in 10s", len(a.calls), took)
				}
			})
		})
	}
}

func TestContextEnds(t *testing.T) {
	t.Parallel()
	errStop := errors.New("stop")
	for name, a := range map[string]struct {
		answer mercadopago.Answer
		takes  time.Duration
	}{
		"while waiting": {wait(10 * time.Minute), 0},
		"during a call": {captured(), time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(3*time.Second, func() { cancel(errStop) })
				fake := newAPI(a.answer)
				fake.takes = a.takes
				began := time.Now()
				decision, err := newCapturer(fake).Capture(ctx, newEvent(t), newLease(nil))
				wantAbandoned(t, ending(decision), err, errStop)
				if took := time.Since(began); took != 3*time.Second {
					t.Errorf("took %s, want 3s", took)
				}
			})
		})
	}
}

// An answer that decides counts even if ctx ended during its call; any other does
// not park or halt.
func TestContextEndsUnderAnAnswer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer mercadopago.Answer
		want   string // "none": abandoned
	}{
		"captured": {captured(), "payment.captured "},
		"declined": {declined("insufficient_money"), "payment.rejected insufficient_money"},
		"parked":   {parked(), "none"},
		"halted":   {halted(), "none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			a := newAPI(test.answer)
			a.during = func(context.Context, *api) { cancel() }
			decision, err := newCapturer(a).Capture(ctx, newEvent(t), newLease(nil))
			if test.want == "none" {
				wantAbandoned(t, ending(decision), err, context.Canceled)
			} else if err != nil || ending(decision) != test.want {
				t.Errorf("got %q, %v; want %q", ending(decision), err, test.want)
			}
		})
	}
}

// An event that grows too old between its calls is parked.
func TestGrowsTooOldBetweenCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(wait(time.Minute))
		e := newEvent(t)
		e.Time = time.Now().Add(-59 * time.Minute)
		decision, err := newCapturer(a, func(c *config) { c.MaxEventAge = time.Hour }).Capture(t.Context(), e, newLease(nil))
		if err != nil || ending(decision) != "parked too_old" {
			t.Fatalf("got %q, %v; want it parked as too old", ending(decision), err)
		}
		if len(a.calls) != 1 || decision.ParkInfo.Tries != 1 {
			t.Errorf("%d calls, %d tries; want one", len(a.calls), decision.ParkInfo.Tries)
		}
	})
}
