package pipeline

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/event"
)

// lease is the claim to one event under which its capture runs.
type lease struct {
	giveUp <-chan struct{} // the partition's
	heard  *heard
	within time.Duration // the session time-out
	// member is this instance's id in the group now, assigned the one that it had
	// when it was given the partition.
	member   func() string
	assigned string
	journal

	saying atomic.Pointer[saying]
}

// journal is what the ledger has of one event.
type journal struct {
	ledger    Ledger
	asking    context.Context //nolint:containedctx // ends when the event is given up
	partition int32
	event     *event.ReadyToCapture
	tried     *event.Attempt
	resent    bool
}

func (j *journal) PriorAttempt() *event.Attempt { return j.tried }

func (j *journal) Resent() bool { return j.resent }

func (j *journal) Attempt(_ context.Context, a event.Attempt) error {
	return j.ledger.Attempt(j.asking, j.partition, j.event.ID, a) //nolint:contextcheck // asking is of the same partition, and ends sooner
}

func (j *journal) Withdraw(ctx context.Context) error {
	return j.ledger.Withdraw(ctx, j.partition, j.event.ID)
}

func (j *journal) UnderReference(context.Context) ([]event.Known, error) {
	return j.ledger.UnderReference(j.asking, j.event.ExternalReference) //nolint:contextcheck // as above
}

func (j *journal) CatchUp(context.Context) error {
	return j.ledger.CatchUp(j.asking) //nolint:contextcheck // as above
}

type saying struct {
	waitsFor string
	calls    int
}

func (h *lease) GiveUp() <-chan struct{} { return h.giveUp }

// Current implements [Lease]. Another member id means that the group expelled
// this instance since, and that others may have had the partition: what they
// noted of the event must not be taken back.
func (h *lease) Current() bool { return h.heard.within(h.within) && h.member() == h.assigned }

func (h *lease) SetWaiting(waitsFor string, calls int) { h.saying.Store(&saying{waitsFor, calls}) }

func (h *lease) told() (waitsFor string, calls int) {
	if h == nil {
		return "", 0
	}
	if s := h.saying.Load(); s != nil {
		return s.waitsFor, s.calls
	}
	return "", 0
}

// heard is when the group was last heard of: a hook of the consuming client.
// For longer than the session time-out without an answer of the group's
// coordinator, it may have given the partitions to others.
type heard struct {
	at atomic.Pointer[time.Time]
	// lostCommit: a commit of offsets was not answered.
	lostCommit atomic.Bool
}

// OnBrokerE2E implements [kgo.HookBrokerE2E].
func (h *heard) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	at, about := time.Now(), kmsg.Key(key)
	if e2e.Err() != nil {
		if about == kmsg.OffsetCommit {
			h.lostCommit.Store(true)
		}
		return
	}
	if about == kmsg.Heartbeat {
		// The coordinator counts from the moment it got the heartbeat.
		at = at.Add(-e2e.DurationE2E())
	}
	if about == kmsg.Heartbeat || about == kmsg.JoinGroup || about == kmsg.SyncGroup {
		h.at.Store(&at)
	}
}

// within reports whether it was so lately, by the wall clock as well: the other
// one stands still while a machine is suspended. A wall clock that was set back
// says nothing.
func (h *heard) within(limit time.Duration) bool {
	at := h.at.Load()
	if at == nil {
		return false
	}
	now := time.Now()
	return now.Sub(*at) < limit && now.Round(0).Sub(at.Round(0)) < limit
}
