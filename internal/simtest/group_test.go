//go:build synctests

package simtest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/pipeline"
)

// watchGroup removes members that cannot send requests from a generation that waits
// for them. A real broker does not apply the session time-out to members that wait
// in JoinGroup or SyncGroup, but the fake one does: if all wait for the assignment
// of a killed leader, they time out together with it, the fake broker never answers
// their requests, and its count of joining members stays wrong, so that the group
// never becomes stable again.
func (h *harness) watchGroup(ctx context.Context, over <-chan struct{}) {
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
		if time.Since(good) > stuckAfter {
			h.groupStuck.Store(true)
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
			if !h.canRequest(m) {
				h.removeMember(ctx, m)
				break
			}
		}
	}
}

// watched calls during and watches the group meanwhile.
func (h *harness) watched(ctx context.Context, during func()) {
	over := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() { h.watchGroup(ctx, over) })
	during()
	close(over)
	watch.Wait()
}

// stuckAfter is longer than a rebalance can last, because the broker drops a member
// that does not rejoin within the rebalance time-out. The fake broker never answers
// a group that is not stable by then.
const stuckAfter = pipeline.RebalanceTimeout + 30*time.Second

// canRequest reports whether the process of a member is not cut off, or has already
// sent its SyncGroup request.
func (h *harness) canRequest(m kfake.GroupMember) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(h.processes, func(p *process) bool {
		muted := p.muted()
		unreachable := muted != nil && muted.what != silentTransactions && muted.what != silentAPI
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.members[m.MemberID] && (p.syncing || (!unreachable && !p.dead && p.blocked == nil && !p.refused[sideKafka]))
	})
}

func (h *harness) removeMember(ctx context.Context, m kfake.GroupMember) {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = h.group
	member := kmsg.NewLeaveGroupRequestMember()
	member.MemberID, member.InstanceID = m.MemberID, m.InstanceID
	req.Members = append(req.Members, member)
	_, err := req.RequestWith(ctx, h.client)
	h.annotate(nil, "a member of "+m.ClientID+" that cannot send requests is removed from the group")
	if err != nil {
		h.violate("remove %s from the group: %v", m.ClientID, err)
	}
}

// setSyncing records whether a SyncGroup request of the process is unanswered.
func (p *process) setSyncing(syncing bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.syncing = syncing
}

// addMember records the member id that a process got.
func (p *process) addMember(version int16, body []byte) {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.SetVersion(version)
	if resp.IsFlexible() && len(body) > 0 {
		body = body[1:] // the header has no tagged fields
	}
	if err := resp.ReadFrom(body); err != nil || resp.MemberID == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.members[resp.MemberID] = true
}
