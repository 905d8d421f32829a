package capture

import (
	"context"
	"fmt"
	"time"

	"payment-capture/internal/event"
)

// An attempt is noted in the ledger before the first call, so that whoever has
// the event next knows that the buyer may have paid; and withdrawn where it had
// no effect, so that it does not grow old for nothing.

const (
	// noteAgainAfter is how long a note may wait for its call. Past it the call
	// is noted anew: until it is made, no key is in use.
	noteAgainAfter = time.Minute
)

// enterNoted waits for leave to make a call, and has the attempt noted by then.
// Where no call may be made any more, a.late says why, and there is no pass.
//
// While calls go out, the note is written before the event queues for its call,
// so that it does not take the time of one; while the gate is shut only once
// there is leave, so that nothing is noted that is not tried.
func (c *Capturer) enterNoted(ctx context.Context, a *attempt, lease Lease) (pass, error) {
	for {
		if err := c.current(ctx, a, lease); err != nil {
			return pass{}, err
		}
		if a.late = c.overdue(a); a.late != nil {
			return pass{}, nil
		}
		if c.Blocked() == "" && a.needsNote() {
			if err := c.note(ctx, a, lease); err != nil {
				return pass{}, err
			}
		}
		p, err := c.enter(ctx, a, lease, a.pollID != "")
		if err != nil {
			return pass{}, err
		}
		if a.late = c.overdue(a); a.late != nil {
			c.gate.abort(p)
			return pass{}, nil
		}
		if !a.needsNote() {
			return p, nil
		}
		err = lease.Attempt(ctx, a.toNote())
		a.idle = a.idle || err == nil
		// That may have taken as long as the ledger's brokers were away.
		if a.late = c.overdue(a); err == nil && a.late == nil && lease.Current() && stopped(ctx, lease.GiveUp()) == nil {
			return p, nil
		}
		c.gate.abort(p)
		if err != nil {
			if err := c.noteFailed(ctx, a, lease, 1, err); err != nil {
				return pass{}, err
			}
		}
	}
}

// needsNote reports whether the next call is not noted: it is the first, or the
// note waited so long without a call that its time would say the wrong thing.
func (a *attempt) needsNote() bool {
	return a.noted.First.IsZero() || !a.written || (a.untried() && passed(a.noted.First) > noteAgainAfter)
}

// toNote gives what is to be noted. The first attempt counts, whoever made it.
func (a *attempt) toNote() event.Attempt {
	if !a.inherited {
		a.noted.First = event.Now()
	}
	// From here on it may be in the ledger, whatever the answer is.
	a.written = true
	return a.noted
}

// note writes the attempt, however long that takes.
func (c *Capturer) note(ctx context.Context, a *attempt, lease Lease) error {
	for failures := 1; ; failures++ {
		err := lease.Attempt(ctx, a.toNote())
		if err == nil {
			a.idle = true
			return nil
		}
		if err := c.noteFailed(ctx, a, lease, failures, err); err != nil {
			return err
		}
	}
}

// noteFailed waits before an attempt is noted again.
func (c *Capturer) noteFailed(ctx context.Context, a *attempt, lease Lease, failures int, cause error) error {
	a.written = false
	lease.SetWaiting(fmt.Sprintf("waits for the ledger to take its attempt: %v", cause), a.calls)
	return c.rest(ctx, lease, backoff(failures, 0))
}

// harmless reports whether nothing that was tried can have had an effect: the
// last call was refused before anybody looked at the order, or never went out,
// and so was each before it.
func (a *attempt) harmless() bool {
	if a.unknown || a.inherited || a.pollID != "" || a.last.Payment != nil {
		return false
	}
	return a.last.RefusedUnseen()
}

// withdraw takes the note back. Where that is not answered, it may have been
// taken back or may stand, so the next call is noted anew.
func (c *Capturer) withdraw(ctx context.Context, a *attempt, lease Lease) {
	if !a.written || !lease.Current() || ctx.Err() != nil {
		return // if it was handed over, the note may be another owner's
	}
	a.written = false
	if lease.Withdraw(ctx) == nil { // else the ledger has told of it
		a.noted.First, a.idle = time.Time{}, false
	}
}

// uncharged reports whether every try so far was refused before a payment could be
// made. Unlike [attempt.harmless], some may have made the key known.
func (a *attempt) uncharged() bool {
	return a.calls > 0 && !a.unknown && !a.last.EffectUnknown() && !a.inherited && a.pollID == "" && a.last.Payment == nil
}

// takeBack withdraws what was noted and cannot have charged, when the event is
// left to its next owner. If it stayed, the next owner would have to take it for a
// call that may have charged, and park what this one was about to reject.
func (c *Capturer) takeBack(ctx context.Context, a *attempt, lease Lease) {
	if a.untried() || a.uncharged() {
		c.withdraw(ctx, a, lease)
	}
}
