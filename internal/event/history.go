package event

import (
	"errors"
	"time"

	"payment-capture/internal/money"
)

// ClockTolerance is how far a time may be ahead of our clock.
const ClockTolerance = 5 * time.Minute

// History is what the ledger knows of an event.
type History struct {
	// Attempt is the earliest attempt that is not withdrawn or decided, so its
	// result is unknown; nil: none.
	Attempt *Attempt
	// Decision is the decision on the event; nil: none.
	Decision *Decision
	// Pending states that the decision is a pending write: this process made it and has
	// not read it back, so it may not be in the ledger yet.
	Pending bool
}

// Snapshot is a versioned read of what is known about an event.
type Snapshot struct {
	History
	// Version shows the ledger whether the history is still current. 0: the history was
	// not read.
	Version uint64
}

// SnapshotUnder is a versioned read of the events that charge for the same.
type SnapshotUnder struct {
	Charge  Charge
	Known   []Known
	Version uint64 // as in [Snapshot]
}

// NeverCalled reports whether no call for the event is known: it has no open
// attempt, and no decision that followed one.
func (h History) NeverCalled() bool {
	return h.Attempt == nil && (h.Decision == nil || h.Decision.Uncalled())
}

// Open returns the attempt whose result is unknown, because the event is not decided
// or was parked. A payment that was made since may belong to it. It returns nil if
// there was no attempt, if the payment of the event is known, or if the event is known
// to have none.
func (h History) Open() *Attempt {
	switch d := h.Decision; {
	case d == nil:
		return h.Attempt
	case d.Parked():
		return Earlier(h.Attempt, d.Attempt.Made())
	}
	return nil
}

// Captured returns the outcome of an event that was captured, else nil.
func (h History) Captured() *Outcome {
	if d := h.Decision; d != nil && d.Outcome != nil && d.Outcome.Type == TypeCaptured {
		return d.Outcome
	}
	return nil
}

// Known is the history of the event with this id.
type Known struct {
	EventID string
	History
}

// Attempt is the record in the ledger that an event is about to be charged: from
// then on the buyer may have paid.
type Attempt struct {
	First     time.Time   // when the first call was about to be made; in milliseconds
	Event     Fingerprint // of the event, by [ReadyToCapture.Fingerprint]
	Body      Fingerprint // of the request that was sent
	Encoding  int         // the version of the layout of the body
	Account   string      // the account that it was sent for
	Reference string      // the event's external reference
	// A later event of the same id is compared with these, besides the reference. They
	// are zero if they are unknown.
	OrderID string
	Amount  money.Amount
	Payer   Fingerprint // by [ReadyToCapture.Payer]
	// Input is the partition of the input that the attempt's event was read from. Who
	// owns that partition may resume the attempt.
	Input int32
}

// OpenAttempt is an attempt whose result is not known.
type OpenAttempt struct {
	Attempt

	EventID   string
	Abandoned bool // nobody resumed it for too long
}

// AttemptOf returns an attempt on the event that was not made yet.
func AttemptOf(e *ReadyToCapture) Attempt {
	return Attempt{
		Event: e.Fingerprint(), Reference: e.ExternalReference, OrderID: e.OrderID, Amount: e.Amount, Payer: e.Payer(),
	}
}

// Made returns the attempt if it was made, else nil.
func (a Attempt) Made() *Attempt {
	if a.First.IsZero() {
		return nil
	}
	return &a
}

// Earlier merges two attempts, of which either may be nil: it returns the earlier time
// with the content of an attempt whose body is known, if there is one.
func Earlier(a, b *Attempt) *Attempt {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	first := *a
	if first.Body.IsZero() {
		first = *b
	}
	first.First = a.First
	if b.First.Before(a.First) {
		first.First = b.First
	}
	return &first
}

// Now returns the time as the ledger keeps it: the wall clock's, in milliseconds.
func Now() time.Time { return time.Now().Round(0).Truncate(time.Millisecond) }

// Decision is the decision on an event.
type Decision struct {
	Result

	At time.Time // when it was made; in milliseconds
	// Attempt is the attempt before the decision. Its First is zero if there was none, and
	// its Event if the record was not a valid event.
	Attempt Attempt
	// Content is the content of the event, by [ReadyToCapture.Content]. Only an uncalled
	// decision has it.
	Content Fingerprint
	// Superseded are the contents of earlier events of this id that were parked
	// without a call and corrected since: at most [MaxSuperseded], oldest first.
	Superseded []Fingerprint
}

// MaxSuperseded is how often an event can be corrected under its id.
const MaxSuperseded = 16

// Parked reports whether the event waits for an operator.
func (d *Decision) Parked() bool { return d.ParkInfo != nil }

// Uncalled reports whether the decision parked a valid event without any call.
func (d *Decision) Uncalled() bool {
	return d.Parked() && d.Attempt.First.IsZero() && d.ParkInfo.FirstAttempt.IsZero()
}

// ErrStartOver reports that an event must be looked up again before it may be called
// for: another instance attempted or decided it, or another event of its order, or its
// attempt became too old to be used.
var ErrStartOver = errors.New("the event must be looked up again")
