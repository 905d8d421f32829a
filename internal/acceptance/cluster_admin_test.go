//go:build integration

package acceptance

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"

	"payment-capture/internal/kafkatest"
)

// inputPartitions describes the partitions of the input topic, or returns nil if the
// cluster does not answer.
func (w *world) inputPartitions() kadm.PartitionDetails {
	details, err := w.admin.ListTopics(w.t.Context(), w.topics.input)
	if err != nil || details.Error() != nil {
		return nil
	}
	return details[w.topics.input].Partitions
}

// leaders returns the leader of each partition of the input topic.
func (w *world) leaders() map[int32]int32 {
	leaders := make(map[int32]int32)
	for n, p := range w.inputPartitions() {
		leaders[n] = p.Leader
	}
	return leaders
}

// ledBy returns the partitions of the input topic that a broker leads.
func (w *world) ledBy(id int32) []int32 {
	var led []int32
	leaders := w.leaders()
	if len(leaders) == 0 {
		return []int32{-1} // not known
	}
	for n, leader := range leaders {
		if leader == id {
			led = append(led, n)
		}
	}
	slices.Sort(led)
	return led
}

// allInSync reports whether every broker is in sync for the topics of this world and the
// internal ones.
func (w *world) allInSync() bool {
	topics := []string{w.topics.input, w.topics.captured, w.topics.rejected, w.topics.parked, "__consumer_offsets", "__transaction_state"}
	details, err := w.admin.ListTopicsWithInternal(w.t.Context(), topics...)
	if err != nil || details.Error() != nil || len(details) != len(topics) {
		return false
	}
	for _, topic := range details {
		for _, p := range topic.Partitions {
			if len(p.ISR) < kafkatest.Nodes {
				return false
			}
		}
	}
	return true
}

// coordinator returns the coordinator of a group or transactional id, which find looks
// up.
func (w *world) coordinator(find func(context.Context, ...string) kadm.FindCoordinatorResponses, name string) int32 {
	w.t.Helper()
	id := int32(-1)
	w.eventually("the coordinator of "+name+" is known", func() bool {
		found := find(w.t.Context(), name)
		id = found[name].NodeID
		return found.Ok()
	})
	return id
}

// turnLeaders moves the leadership of every input partition to another replica.
func (w *world) turnLeaders() {
	w.t.Helper()
	var wanted kadm.AlterPartitionAssignmentsReq
	before := w.inputPartitions()
	for n, p := range before {
		after := slices.Index(p.Replicas, p.Leader) + 1 // its leader becomes the last
		wanted.Assign(w.topics.input, n, slices.Concat(p.Replicas[after:], p.Replicas[:after]))
	}
	altered, err := w.admin.AlterPartitionAssignments(w.t.Context(), wanted)
	if err == nil {
		err = altered.Error()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.eventually("every partition has another leader", func() bool {
		if _, err := w.admin.ElectLeaders(w.t.Context(), kadm.ElectPreferredReplica, nil); err != nil {
			return false
		}
		now := w.leaders()
		for n, p := range before {
			if leader, ok := now[n]; !ok || leader < 1 || leader == p.Leader {
				return false
			}
		}
		return true
	})
}
