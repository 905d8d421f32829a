package pipeline

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
)

// Capturer captures one event: it calls the API until there is a decision.
type Capturer interface {
	// Capture calls the API as often as needed and returns the decision. It blocks; it
	// is called from many goroutines at once, for one event id and one order at a time.
	//
	// An error means that there is no decision. If ctx has ended or the lease was given
	// up, the event is left to its next owner; any other error is a fault of this
	// program, and the pipeline stops with it and keeps the offsets. After the lease was
	// given up, Capture begins no further call but finishes the one under way; when ctx
	// ends it aborts that one too.
	Capture(ctx context.Context, e *event.ReadyToCapture, lease Lease) (*event.Decision, error)
	// Blocked returns why no event may be called for now; "" if calls are made. While
	// it is not empty, the pipeline reads no more than needed to notice that it changed.
	Blocked() string
	// Busy returns how many captures are calling, wait between two calls, or wait for the
	// end of a halt for which they are evidence. The others are on their way to a call.
	Busy() int
	// Changes returns a channel that receives after Blocked changed or Busy grew.
	Changes() <-chan struct{}
}

// Lease is the right to call the API for an event, and what the ledger has of it.
type Lease interface {
	// GiveUp returns a channel that is closed when no further call may begin.
	GiveUp() <-chan struct{}
	// Current reports whether the group was heard from recently enough to be sure that
	// the partition still belongs to this instance.
	Current() bool
	// SetWaiting sets what the event waits for, and after how many calls, for /status.
	SetWaiting(waitsFor string, calls int)
	// StepAside lets other orders with the event's record key go first, because the event
	// waits for the end of a halt, which one of them may bring.
	StepAside()
	// Turn returns a channel that is closed once the events before this one are decided.
	// Until then it must not be called for.
	Turn() <-chan struct{}
	// PriorAttempt returns the earliest attempt without a decision; nil: there is none.
	PriorAttempt() *event.Attempt
	// Resent returns why the event was parked before an operator resent it; nil: it was
	// not resent.
	Resent() *event.ParkInfo
	// Bar returns why the event must not be charged, whatever the rules say; nil: nothing
	// bars it.
	Bar() *event.ParkInfo
	// Attempt writes an attempt to the ledger and waits for it; Withdraw undoes that.
	// [event.ErrStartOver] means that the event must be looked up again.
	Attempt(ctx context.Context, a event.Attempt) error
	Withdraw(ctx context.Context) error
	// Under returns what is known of every event with an attempt or a payment for a charge.
	Under(ctx context.Context, charge event.Charge) ([]event.Known, error)
	// CatchUp waits until everything in the ledger at the time of the call is read.
	CatchUp(ctx context.Context) error
}

// Ledger has the attempts and decisions of all instances, by event id.
type Ledger interface {
	// TopicID returns the id of the ledger topic. A committed offset names it, so that
	// a lost ledger is not mistaken for one without entries.
	TopicID() [16]byte
	// Empty reports whether the ledger never had an attempt or decision.
	Empty(ctx context.Context) (bool, error)
	// CatchUp waits until everything in the ledger at the time of the call is read. Its
	// error is that of ctx.
	CatchUp(ctx context.Context) error
	// Lookup returns the history of an event.
	Lookup(ctx context.Context, id string) (event.History, error)
	// Snapshot returns what is known of many events, without waiting; an element is zero
	// if that is not certain now. SnapshotUnder does so for many charges. IsCurrent
	// reports whether a snapshot of an id or a reference is still true.
	Snapshot(ids []string) []event.Snapshot
	SnapshotUnder(charges []event.Charge) []event.SnapshotUnder
	IsCurrent(key string, version uint64) bool
	// Under returns what is known of every event with an attempt or a payment for a charge.
	Under(ctx context.Context, charge event.Charge) ([]event.Known, error)
	// Claim claims an event before it is looked up. resumes reports whether attempts of a
	// partition of the input are the claim's to resume; rival, whether another event
	// of the same reference with this attempt must be decided first.
	Claim(e *event.ReadyToCapture, resumes func(partition int32) bool, rival func(event.Attempt) bool) Claim
	// Records returns the ledger entries of a decision, which go into its flush: the
	// decision itself, and the end of the attempts on its event.
	Records(id string, d *event.Decision) ([]*kgo.Record, error)
	// AddPending remembers a decision until it is read back; DropPending forgets one
	// that will not be committed.
	AddPending(id string, d *event.Decision)
	DropPending(id string)
}

// Claim is this instance's claim on an event among all instances.
type Claim interface {
	// Ahead returns the earliest attempt that goes before this claim, and a channel that
	// is closed when that may have changed; nil: there is none. An abandoned one is of
	// another event, and is returned only if all are abandoned.
	Ahead(ctx context.Context) (first *event.OpenAttempt, changed <-chan struct{}, err error)
	// Attempt writes an attempt and waits until everything before it is known. Withdraw
	// undoes that. [event.ErrStartOver] means that something came before it.
	Attempt(ctx context.Context, a event.Attempt) error
	Withdraw(ctx context.Context) error
	// Close gives the claim up; an attempt stays.
	Close()
}
