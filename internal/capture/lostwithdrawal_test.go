package capture_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"payment-capture/internal/event"
)

// ledgerLease is a lease whose ledger is a topic: the last entry counts, whether its
// write was acknowledged or not.
type ledgerLease struct {
	*lease
	inTopic     bool          // the last entry is an attempt
	loseAnswers bool          // withdrawals are written, but not acknowledged
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

// A withdrawal that was not acknowledged may have been written: the attempt is
// written again before the next call.
func TestLostWithdrawal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := &ledgerLease{lease: newLease(nil), loseAnswers: true}
		a := newAPI(wait(time.Second), noAnswer(), captured())
		a.during = func(context.Context, *api) {
			if !h.inTopic {
				t.Errorf("call %d is made without an attempt in the ledger", len(a.calls))
			}
		}
		d, err := newCapturer(a).Capture(t.Context(), newEvent(t), h)
		if err != nil || ending(d) != isCaptured {
			t.Errorf("got %q, %v", ending(d), err)
		}
	})
}
