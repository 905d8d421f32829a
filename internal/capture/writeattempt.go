package capture

import (
	"context"
	"errors"
	"fmt"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/limiter"
)

// unusedAfter is how long an attempt may wait for its call. After that the event starts
// over, and its attempt gets the present time, because no key is in use before the call.
const unusedAfter = time.Minute

// acquire waits for a permit to make a call, and has the attempt written by then. If
// no call may be made any more, it sets a.noCall and returns no permit.
//
// While calls are allowed, it writes the attempt before it waits for the permit, so
// that the write does not take the time of a call. While they are not, it writes the
// attempt once it has the permit, so that the ledger has no attempts without calls.
func (c *Capturer) acquire(ctx context.Context, a *captureState, lease Lease) (*limiter.Permit, error) {
	for {
		if err := c.awaitLease(ctx, a, lease); err != nil {
			return nil, err
		}
		if a.noCall = c.whyNoCall(a); a.noCall != nil {
			return nil, nil
		}
		if c.limiter.Blocked() == "" && a.needsWrite() {
			if err := c.writeAttempt(ctx, a, lease); err != nil {
				return nil, err
			}
		}
		if a.unused() {
			return nil, event.ErrStartOver
		}
		p, err := c.acquirePermit(ctx, a, lease, a.pollID != "")
		if err != nil {
			return nil, err
		}
		if a.noCall = c.whyNoCall(a); a.noCall == nil && a.needsWrite() {
			err = a.write(ctx, lease)
			// That may have taken as long as the ledger's brokers were away.
			if a.noCall = c.whyNoCall(a); err == nil && a.noCall == nil && lease.Current() && stopped(ctx, lease.GiveUp()) == nil {
				return p, nil
			}
		} else if a.noCall == nil {
			return p, nil
		}
		c.limiter.Cancel(p)
		if err != nil {
			if err := c.awaitLedger(ctx, a, lease, 1, err); err != nil {
				return nil, err
			}
		}
	}
}

// awaitTurn waits until the events before this one are decided. Meanwhile it has the
// attempt written, so that the write takes no time between two calls. An attempt that has
// to wait for long is withdrawn.
func (c *Capturer) awaitTurn(ctx context.Context, a *captureState, lease Lease) error {
	turn := lease.Turn()
	select {
	case <-turn:
		return nil
	default:
	}
	lease.SetWaiting("waits for the events before it", 0)
	if a.prior == nil && lease.Current() && c.limiter.Blocked() == "" {
		if err := a.write(ctx, lease); errors.Is(err, event.ErrStartOver) {
			return err
		} else if err != nil {
			a.written = false // it is written again before the call
		}
	}
	patience := time.NewTimer(unusedAfter)
	defer patience.Stop()
	for {
		select {
		case <-turn:
			return nil
		case <-patience.C:
			c.withdraw(ctx, a, lease)
		case <-ctx.Done():
			return stopped(ctx, lease.GiveUp())
		case <-lease.GiveUp():
			return stopped(ctx, lease.GiveUp())
		}
	}
}

// needsWrite reports whether the attempt has to be written before the next call.
func (a *captureState) needsWrite() bool { return a.entry.First.IsZero() || !a.written }

// unused reports whether the attempt waited so long for its call that its time is wrong.
func (a *captureState) unused() bool { return a.untried() && passed(a.entry.First) > unusedAfter }

// write writes the attempt once. Its time is that of the first owner.
func (a *captureState) write(ctx context.Context, lease Lease) error {
	if !a.inherited {
		a.entry.First = event.Now()
	}
	// From here on it may be in the ledger, whatever the result of the write.
	a.written = true
	err := lease.Attempt(ctx, a.entry)
	a.uncalled = a.uncalled || err == nil || errors.Is(err, event.ErrStartOver)
	return err
}

// writeAttempt writes the attempt, however long that takes.
func (c *Capturer) writeAttempt(ctx context.Context, a *captureState, lease Lease) error {
	return c.writing(ctx, a, lease, func() error { return a.write(ctx, lease) })
}

// writePrior writes the attempt of an earlier owner once more, before its payment is
// searched for: copies of the event may be resumed by several instances at once, and only
// one of them may decide.
func (c *Capturer) writePrior(ctx context.Context, a *captureState, lease Lease) error {
	return c.writing(ctx, a, lease, func() error { return lease.Attempt(ctx, *a.prior) })
}

func (c *Capturer) writing(ctx context.Context, a *captureState, lease Lease, write func() error) error {
	for failures := 1; ; failures++ {
		err := write()
		if err == nil {
			return nil
		}
		if err := c.awaitLedger(ctx, a, lease, failures, err); err != nil {
			return err
		}
	}
}

// awaitLedger waits before an attempt is written again. It returns
// [event.ErrStartOver] if it must not be.
func (c *Capturer) awaitLedger(ctx context.Context, a *captureState, lease Lease, failures int, cause error) error {
	if errors.Is(cause, event.ErrStartOver) {
		return cause
	}
	a.written = false
	lease.SetWaiting(fmt.Sprintf("waits for the ledger to accept its attempt: %v", cause), a.calls)
	return c.rest(ctx, lease, backoff(failures, 0))
}

// harmless reports whether no call can have had an effect: the last one was refused
// before the API looked at the order, or was not sent, and no earlier one may have
// charged.
func (a *captureState) harmless() bool {
	return !a.mayHaveCharged && !a.inherited && a.pollID == "" && a.last.Payment == nil && a.last.RefusedUnseen()
}

// uncharged reports whether every call so far was refused before a payment could be
// made. Unlike those of [captureState.harmless], some may have registered the key.
func (a *captureState) uncharged() bool {
	return a.calls > 0 && !a.mayHaveCharged && !a.last.EffectUnknown() && !a.inherited && a.pollID == "" && a.last.Payment == nil
}

// withdraw withdraws the attempt. After an error it may be withdrawn or not, so it
// is written again before the next call.
func (c *Capturer) withdraw(ctx context.Context, a *captureState, lease Lease) {
	if !a.written || !lease.Current() || ctx.Err() != nil {
		return // in doubt the next owner may rely on it
	}
	a.written = false
	if lease.Withdraw(ctx) == nil { // otherwise the ledger has logged the error
		a.entry.First, a.uncalled = time.Time{}, false
	}
}

// withdrawUncharged withdraws an attempt that cannot have charged when the event is
// left to its next owner. That owner would have to assume a call that may have
// charged, and park what this one was about to reject.
func (c *Capturer) withdrawUncharged(ctx context.Context, a *captureState, lease Lease) {
	if a.untried() || a.uncharged() {
		c.withdraw(ctx, a, lease)
	}
}
