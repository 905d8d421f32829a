package capture_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"payment-capture/internal/event"
)

// ledgerLease is a hold whose ledger is a topic: what it says is what the last
// entry says, whether the writer heard of it or not.
type ledgerLease struct {
	*lease
	inTopic     bool          // an attempt stands
	loseAnswers bool          // withdrawals are written, and not answered
	slow        time.Duration // how long an attempt takes to be acknowledged
}

func (h *ledgerLease) Attempt(ctx context.Context, a event.Attempt) error {
	if h.slow > 0 {
		select {
		case <-time.After(h.slow):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	h.inTopic = true
	return h.lease.Attempt(ctx, a)
}

func (h *ledgerLease) Withdraw(ctx context.Context) error {
	h.inTopic = false
	if h.loseAnswers {
		return errors.New("not acknowledged in time")
	}
	return h.lease.Withdraw(ctx)
}

// A withdrawal that was not answered may have been written: the next call must
// not go out on a note that it may have erased.
func TestLostWithdrawalIsNotCalledUpon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := &ledgerLease{lease: newLease(nil), loseAnswers: true}
		a := newAPI(wait(time.Second), noAnswer(), captured())
		a.during = func(context.Context, *api) {
			if !h.inTopic {
				t.Errorf("call %d goes out, and no attempt is in the ledger", len(a.calls))
			}
		}
		d, err := newCapturer(a).Capture(t.Context(), newEvent(t), h)
		if err != nil || ending(d) != isCaptured {
			t.Errorf("got %q, %v", ending(d), err)
		}
	})
}
