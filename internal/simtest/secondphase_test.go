//go:build synctests

package simtest

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
)

// lateCallLimit is longer than the delay of any late call. It makes sure that the
// API has seen each key before it forgets them, and that no call of the first
// phase counts as one of a halted service.
const lateCallLimit = 5 * time.Second

// runSecondPhase makes the changes while all instances are down, and runs the
// second phase.
func (h *harness) runSecondPhase(ctx context.Context) {
	a := h.plan.second
	h.endFirstPhase()
	a.recreateLedger = a.recreateLedger && h.everyPartitionCommitted()
	h.annotate(nil, "SECOND PHASE: "+a.String())
	time.Sleep(a.down)
	if a.forgetKeys || a.recreateLedger {
		time.Sleep(lateCallLimit)
	}
	if a.forgetKeys {
		h.sim.ForgetKeys()
	}
	h.readLedger(ctx)
	h.secondBegan, h.decided = time.Now(), make(map[string]bool)
	for _, e := range h.entries {
		h.decided[e.id] = h.decided[e.id] || e.decision != nil
	}
	h.changeTopics(ctx, a)
	h.loseStores(a)
	records := []wave{{records: a.records}}
	if a.resend {
		records = append(records, wave{records: h.resendParked(ctx)})
	}
	h.send(ctx, records)
	h.force = make(chan struct{})
	for i, s := range h.slots {
		if s.resume() {
			a.slots[i] = nil // its last process is still running
		}
	}
	if a.recreateLedger {
		h.checkHalted() //nolint:contextcheck // a process outlives the caller
		return
	}
	h.watched(ctx, func() { h.runPhase(ctx, a.slots, nil, a.last) })
}

// everyPartitionCommitted reports whether the service has committed an offset of
// each partition. Without a commit, an instance cannot know that the ledger was
// recreated: docs/testing.md.
func (h *harness) everyPartitionCommitted() bool {
	info := h.cluster.GroupInfo(h.group)
	if info == nil {
		return false
	}
	for _, p := range h.cluster.PartitionInfos(topicInput) {
		if info.Commits[topicInput][p.Partition].Metadata == "" {
			return false
		}
	}
	return true
}

// endFirstPhase ends the instances of the first phase, except a suspended one.
func (h *harness) endFirstPhase() {
	a := h.plan.second
	if a.killAll {
		for _, s := range h.slots {
			s.killProcess()
		}
	}
	for i, s := range h.slots {
		if !a.suspendFirst || i > 0 {
			s.finish()
		}
	}
	if !a.suspendFirst {
		h.supervisors.Wait()
	}
}

// changeTopics changes the topics and the group.
func (h *harness) changeTopics(ctx context.Context, a *secondPhase) {
	admin := kadm.NewClient(h.client)
	must := func(err error) {
		if err != nil {
			panic(err) // no fault concerns this client
		}
	}
	if n := a.partitions - h.plan.partitions; n > 0 {
		_, err := admin.CreatePartitions(ctx, int(n), topicInput)
		must(err)
		h.client.ForceMetadataRefresh()
		h.eventually("the new partitions have leaders", func() bool {
			leader, _, err := h.client.PartitionLeader(topicInput, a.partitions-1)
			return err == nil && leader >= 0
		})
	}
	if n := a.ledgerPartitions - h.plan.ledgerPartitions; n > 0 {
		_, err := admin.CreatePartitions(ctx, int(n), topicLedger)
		must(err)
	}
	if a.recreateLedger {
		must(h.cluster.DeleteTopic(topicLedger))
		must(h.cluster.CreateTopic(topicLedger, h.plan.ledgerPartitions, map[string]string{"cleanup.policy": "compact"}))
	}
	if a.deletes {
		h.cluster.ApplyRetention()
	}
	if a.newGroup {
		h.group += "-2"
	}
	if a.offsetsToZero {
		h.eventually("the group is empty", func() bool {
			info := h.cluster.GroupInfo(h.group)
			return info == nil || info.State == "Empty" || info.State == "Dead"
		})
		var offsets kadm.Offsets
		for _, p := range h.cluster.PartitionInfos(topicInput) {
			offsets.AddOffset(topicInput, p.Partition, 0, -1)
		}
		must(admin.CommitAllOffsets(ctx, h.group, offsets))
	}
	if a.offsetsToZero || a.newGroup {
		for _, s := range h.sent {
			s.rereads++
		}
	}
}

// loseStores keeps, removes or crashes the local stores, as planned.
func (h *harness) loseStores(a *secondPhase) {
	for i, s := range h.slots {
		switch {
		case a.stores == "kept" || a.suspendFirst && i == 0:
		case a.stores == "removed":
			s.disk = vfs.NewCrashableMem()
		default: // some or all writes that were not synced are lost
			dice := rand.New(rand.NewPCG(h.plan.seed, uint64(h.plan.index)))
			s.disk = s.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: dice.IntN(101), RNG: dice})
		}
	}
}

// resendParked returns the records that were parked so far, marked as resent by
// an operator.
func (h *harness) resendParked(ctx context.Context) (records []*sentRecord) {
	h.readDecisions(ctx)
	at := make(map[position]*sentRecord)
	for _, s := range h.sent {
		at[position{s.partition, s.offset}] = s
	}
	for _, v := range h.decisions {
		s := at[v.from]
		if v.kind != topicParked || s == nil {
			continue
		}
		for _, e := range slices.Backward(h.entries) {
			if e.id == s.id && e.decision != nil && e.decision.Parked() {
				// Twice: the second one undoes nothing.
				for range 2 {
					records = append(records, &sentRecord{event: s.event, partition: s.partition, key: s.key, resend: e.decision})
				}
				h.resent[s.id]++
				break
			}
		}
	}
	h.decisions = nil
	return records
}

// checkHalted checks that the service does nothing without its ledger.
func (h *harness) checkHalted() {
	calls := h.sim.Charges().Calls
	commits := maps.Clone(h.cluster.GroupInfo(h.group).Commits[topicInput])
	for i, s := range h.slots {
		s.reset()
		s.begin(h.plan.second.slots[i][0].instance, i)
	}
	time.Sleep(20 * time.Second)
	if n := h.sim.Charges().Calls; n != calls {
		h.violate("ledger: %d calls were made although the topic was recreated", n-calls)
	}
	for partition, c := range h.cluster.GroupInfo(h.group).Commits[topicInput] {
		if c.Offset != commits[partition].Offset {
			h.violate("ledger: partition %d went from offset %d to %d although the topic was recreated",
				partition, commits[partition].Offset, c.Offset)
		}
	}
	for _, s := range h.slots {
		s.finish()
	}
	h.halted = true
}

// mark sets the planned key of a record, and the headers of a resent one.
func (s *sentRecord) mark(r *kgo.Record) {
	if s.key != "" {
		r.Key = []byte(s.key)
	}
	if s.resend == nil {
		return
	}
	mark := event.Resend{ParkedAt: s.resend.At, FirstAttempt: s.resend.Attempt.First}
	for _, header := range mark.Headers() {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: header.Key, Value: header.Value})
	}
}
