package pipeline

import (
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// hold is the claim to one event under which its capture runs.
type hold struct {
	giveUp <-chan struct{} // the partition's
	heard  *heard
	within time.Duration // the session time-out

	saying atomic.Pointer[saying]
}

type saying struct {
	waitsFor string
	calls    int
}

func (h *hold) GiveUp() <-chan struct{} { return h.giveUp }

func (h *hold) Current() bool { return h.heard.within(h.within) }

func (h *hold) Tell(waitsFor string, calls int) { h.saying.Store(&saying{waitsFor, calls}) }

func (h *hold) told() (waitsFor string, calls int) {
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
