//go:build synctests

package prove

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/pipeline"
)

// watchGroup expels members that cannot speak from a generation that waits for
// them. A real broker does not count the session time-out of a member that
// waits in JoinGroup or SyncGroup. The fake one does: where all wait for the
// assignment of a leader that is dead, they time out together with it, their
// requests are never answered, and its count of joining members is wrong from
// then on, so that the group never comes to be again.
func (h *history) watchGroup(ctx context.Context, over <-chan struct{}) {
	const tick, tolerance = 100 * time.Millisecond, 300 * time.Millisecond
	var since time.Time
	good := time.Now()
	for {
		select {
		case <-over:
			return
		case <-time.After(tick):
		}
		info := h.cluster.GroupInfo(h.group)
		if info == nil || info.State == "Stable" || info.State == "Empty" {
			good = time.Now()
		}
		if time.Since(good) > hungGroup {
			h.hung.Store(true)
			return
		}
		if info == nil || info.State != "CompletingRebalance" {
			since = time.Time{}
			continue
		}
		if since.IsZero() {
			since = time.Now()
		}
		if time.Since(since) < tolerance {
			continue
		}
		since = time.Time{}
		for _, m := range info.Members {
			if !h.canSpeak(m) {
				h.expel(ctx, m)
				break
			}
		}
	}
}

// watched watches the group while a function lasts.
func (h *history) watched(ctx context.Context, during func()) {
	over := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() { h.watchGroup(ctx, over) })
	during()
	close(over)
	watch.Wait()
}

// hungGroup is longer than a rebalance can last: a member that does not come is
// dropped after its rebalance time-out. A group that is not done by then is one
// that the fake broker will never answer.
const hungGroup = pipeline.RebalanceTimeout + 30*time.Second

// canSpeak reports whether a member is one of a process that is not cut off,
// or that has spoken already: its SyncGroup waits at the broker.
func (h *history) canSpeak(m kfake.GroupMember) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(h.processes, func(p *process) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.members[m.MemberID] && (p.syncing || (!p.dead && p.gate == nil && !p.refused[sideKafka]))
	})
}

func (h *history) expel(ctx context.Context, m kfake.GroupMember) {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = h.group
	member := kmsg.NewLeaveGroupRequestMember()
	member.MemberID, member.InstanceID = m.MemberID, m.InstanceID
	req.Members = append(req.Members, member)
	_, err := req.RequestWith(ctx, h.client)
	h.note(nil, "a member of "+m.ClientID+" that cannot speak is expelled")
	if err != nil {
		h.violate("expelling %s: %v", m.ClientID, err)
	}
}

// joins notes where a process is in the making of a generation.
func (p *process) joins(syncing bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.syncing = syncing
}

// learn notes a member id that a process was given.
func (p *process) learn(version int16, body []byte) {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.SetVersion(version)
	if resp.IsFlexible() && len(body) > 0 {
		body = body[1:] // no tagged fields in the header
	}
	if err := resp.ReadFrom(body); err != nil || resp.MemberID == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.members[resp.MemberID] = true
}
