//go:build synctests

package prove

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

// overtaken is longer than a call that arrives late is late: the API does not
// forget a key that is not used yet, and a call of the first part is none of one
// that should stand still.
const overtaken = 5 * time.Second

// comeAgain carries out what is done while all are down, and lets the second
// part happen.
func (h *history) comeAgain(ctx context.Context) {
	a := h.plan.again
	h.endFirst()
	a.gone = a.gone && (*gaps || h.committed())
	h.note(nil, "ALL ARE DOWN: "+a.String())
	time.Sleep(a.gap)
	if a.forget || a.gone {
		time.Sleep(overtaken)
	}
	if a.forget {
		h.sim.ForgetKeys()
	}
	h.readLedger(ctx)
	h.second, h.decided = time.Now(), make(map[string]bool)
	for _, e := range h.entries {
		h.decided[e.id] = h.decided[e.id] || e.decision != nil
	}
	h.change(ctx, a)
	h.loseStores(a)
	records := []wave{{records: a.records}}
	if a.resend {
		records = append(records, wave{records: h.parkedAgain(ctx)})
	}
	h.send(ctx, records)
	h.force = make(chan struct{})
	for i, s := range h.slots {
		if s.wake() {
			a.slots[i] = nil // it goes on with its last life
		}
	}
	if a.gone {
		h.standsStill() //nolint:contextcheck // a process has a life of its own
		return
	}
	h.watched(ctx, func() { h.play(ctx, a.slots, nil, a.last) })
}

// committed reports whether there is a commit of an instance for each partition.
// Of one that has none nobody can tell that its ledger is gone: docs/proving.md.
func (h *history) committed() bool {
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

// endFirst ends the instances of the first part, but for one that sleeps.
func (h *history) endFirst() {
	a := h.plan.again
	if a.cut {
		for _, s := range h.slots {
			s.die()
		}
	}
	for i, s := range h.slots {
		if !a.sleeper || i > 0 {
			s.finish()
		}
	}
	if !a.sleeper {
		h.supervisors.Wait()
	}
}

// change changes the topics and the group.
func (h *history) change(ctx context.Context, a *again) {
	admin := kadm.NewClient(h.client)
	must := func(err error) {
		if err != nil {
			panic(err) // nothing cuts this client off
		}
	}
	if n := a.more - h.plan.partitions; n > 0 {
		_, err := admin.CreatePartitions(ctx, int(n), topicInput)
		must(err)
		h.client.ForceMetadataRefresh()
		h.eventually("the new partitions can be written to", func() bool {
			leader, _, err := h.client.PartitionLeader(topicInput, a.more-1)
			return err == nil && leader >= 0
		})
	}
	if n := a.moreLedger - h.plan.ledgerPartitions; n > 0 {
		_, err := admin.CreatePartitions(ctx, int(n), topicLedger)
		must(err)
	}
	if a.gone {
		must(h.cluster.DeleteTopic(topicLedger))
		must(h.cluster.CreateTopic(topicLedger, h.plan.ledgerPartitions, map[string]string{"cleanup.policy": "compact"}))
	}
	if a.newGroup {
		h.group += "-2"
	}
	if a.zero {
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
	if a.zero || a.newGroup {
		for _, s := range h.sent {
			s.again++
		}
	}
}

// loseStores does to the local stores what the plan says.
func (h *history) loseStores(a *again) {
	for i, s := range h.slots {
		switch {
		case a.stores == "kept" || a.sleeper && i == 0:
		case a.stores == "removed":
			s.disk = vfs.NewCrashableMem()
		default: // what was not written through is lost, or some of it
			dice := rand.New(rand.NewPCG(h.plan.seed, uint64(h.plan.index)))
			s.disk = s.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: dice.IntN(101), RNG: dice})
		}
	}
}

// parkedAgain gives the records that were parked so far, marked as ones that a
// person sends again.
func (h *history) parkedAgain(ctx context.Context) (records []*sent) {
	h.readVerdicts(ctx)
	at := make(map[position]*sent)
	for _, s := range h.sent {
		at[position{s.partition, s.offset}] = s
	}
	for _, v := range h.verdicts {
		s := at[v.from]
		if v.kind != topicParked || s == nil {
			continue
		}
		for _, e := range slices.Backward(h.entries) {
			if e.id == s.id && e.decision != nil && e.decision.Parked() {
				// Twice, as by one who is not sure: the second undoes nothing.
				for range 2 {
					records = append(records, &sent{event: s.event, partition: s.partition, key: s.key, resend: e.decision})
				}
				h.resent[s.id]++
				break
			}
		}
	}
	h.verdicts = nil
	return records
}

// standsStill checks that without its ledger the service does nothing.
func (h *history) standsStill() {
	calls := h.sim.Ledger().Calls
	commits := maps.Clone(h.cluster.GroupInfo(h.group).Commits[topicInput])
	for i, s := range h.slots {
		s.reset()
		s.begin(h.plan.again.slots[i][0].instance, i)
	}
	time.Sleep(20 * time.Second)
	if n := h.sim.Ledger().Calls; n != calls {
		h.violate("ledger: it is gone, and %d calls were made", n-calls)
	}
	for partition, c := range h.cluster.GroupInfo(h.group).Commits[topicInput] {
		if c.Offset != commits[partition].Offset {
			h.violate("ledger: it is gone, and partition %d went from offset %d to %d", partition, commits[partition].Offset, c.Offset)
		}
	}
	for _, s := range h.slots {
		s.finish()
	}
	h.halted = true
}

// mark gives a record the key that it has, and the mark of one that a person
// sends again.
func (s *sent) mark(r *kgo.Record) {
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
