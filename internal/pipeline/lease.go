package pipeline

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/event"
)

// lease implements [Lease] for one capture: the right to call the API for its event. It
// is current while the partition is assigned to the same member and the group was heard from
// within the session timeout.
type lease struct {
	contact *groupContact
	timeout time.Duration // of the session
	// member returns this instance's id in the group now; assigned is the one that it
	// had when the partition was assigned.
	member   func() string
	assigned string

	ledger    Ledger
	partition int32
	calls     context.Context //nolint:containedctx // ends when no further call may begin
	event     *event.ReadyToCapture
	claim     Claim
	prior     *event.Attempt
	resent    *event.ParkInfo
	bar       *event.ParkInfo
	under     event.SnapshotUnder // what the guard compares the event with, when it was polled

	turn      chan struct{} // closed once the records before this one are decided
	stepAside func()        // lets other orders of the record key go first
	waiting   atomic.Pointer[waitReason]
}

// waitReason is what a capture waits for, as the capturer reported it.
type waitReason struct {
	waitsFor string
	calls    int
}

// newLease returns the lease of a record; early: records before it are not decided yet.
func (p *Pipeline) newLease(pt *partition, early bool) *lease {
	l := &lease{
		contact: &p.contact, timeout: p.conf.SessionTimeout, member: p.member, assigned: pt.member,
		ledger: p.ledger, partition: pt.number, calls: pt.calls, turn: make(chan struct{}),
	}
	if !early {
		close(l.turn)
	}
	return l
}

// GiveUp implements [Lease].
func (l *lease) GiveUp() <-chan struct{} { return l.calls.Done() }

// Current implements [Lease]. Another member id means that the group expelled this
// instance since. Others may have had the partition.
func (l *lease) Current() bool { return l.contact.within(l.timeout) && l.member() == l.assigned }

// SetWaiting implements [Lease].
func (l *lease) SetWaiting(waitsFor string, calls int) { l.waiting.Store(&waitReason{waitsFor, calls}) }

// StepAside implements [Lease].
func (l *lease) StepAside() { l.stepAside() }

// waitReason returns what was set last.
func (l *lease) waitReason() waitReason {
	if l == nil {
		return waitReason{}
	}
	if w := l.waiting.Load(); w != nil {
		return *w
	}
	return waitReason{}
}

// Turn implements [Lease].
func (l *lease) Turn() <-chan struct{} { return l.turn }

// early reports whether the records before this one are not decided yet.
func (l *lease) early() bool {
	select {
	case <-l.turn:
		return false
	default:
		return true
	}
}

// PriorAttempt implements [Lease].
func (l *lease) PriorAttempt() *event.Attempt { return l.prior }

// Resent implements [Lease].
func (l *lease) Resent() *event.ParkInfo { return l.resent }

// Bar implements [Lease].
func (l *lease) Bar() *event.ParkInfo { return l.bar }

// Attempt implements [Lease].
func (l *lease) Attempt(_ context.Context, a event.Attempt) error {
	a.Input = l.partition
	return l.claim.Attempt(l.calls, a) //nolint:contextcheck // calls is of the same partition, and ends sooner
}

// Withdraw implements [Lease].
func (l *lease) Withdraw(ctx context.Context) error {
	return l.claim.Withdraw(ctx)
}

// Under implements [Lease].
func (l *lease) Under(_ context.Context, charge event.Charge) ([]event.Known, error) {
	if charge == l.under.Charge && l.ledger.IsCurrent(charge.Reference, l.under.Version) {
		return l.under.Known, nil
	}
	return l.ledger.Under(l.calls, charge) //nolint:contextcheck // as above
}

// CatchUp implements [Lease].
func (l *lease) CatchUp(context.Context) error {
	return l.ledger.CatchUp(l.calls) //nolint:contextcheck // as above
}

// groupContact is when the group's coordinator was heard from last: a hook of the
// consumer. After the session timeout without an answer, the coordinator may have given
// the partitions to others.
type groupContact struct {
	at atomic.Pointer[time.Time]
	// lostCommit: a commit of offsets was not answered.
	lostCommit atomic.Bool
}

// OnBrokerE2E implements [kgo.HookBrokerE2E].
func (c *groupContact) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	at, request := time.Now(), kmsg.Key(key)
	if e2e.Err() != nil {
		if request == kmsg.OffsetCommit {
			c.lostCommit.Store(true)
		}
		return
	}
	if request == kmsg.Heartbeat {
		// The coordinator counts from when it received the heartbeat.
		at = at.Add(-e2e.DurationE2E())
	}
	if request == kmsg.Heartbeat || request == kmsg.JoinGroup || request == kmsg.SyncGroup {
		c.at.Store(&at)
	}
}

// within reports whether the last contact is more recent than a limit, by the wall clock
// too, because the monotonic clock stands still while a machine is suspended. A wall
// clock that was set back has no influence.
func (c *groupContact) within(limit time.Duration) bool {
	at := c.at.Load()
	if at == nil {
		return false
	}
	now := time.Now()
	return now.Sub(*at) < limit && now.Round(0).Sub(at.Round(0)) < limit
}
