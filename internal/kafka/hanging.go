package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// A broker ends a transaction by a marker in each partition that it touched.
// Kafka 4.3.1 takes a partition that has no leader at that moment for a deleted
// one, writes no marker, and counts the transaction as ended
// (TransactionMarkerChannelManager: "Couldn't find leader endpoint … likely
// deleted already and hence can be skipped"). It happens where all replicas of a
// partition go down at once. A broker that is alone, for example, is killed when
// it has decided on an end, and loses the leadership for a moment when it starts
// again. What was written stays open for good then: no time-out ends it, nobody
// who reads committed records gets past it, and the group's offsets are
// unstable. It is ended here by another transaction of the same producer id that
// touches the same partitions: its markers end both. So must it be: any other one
// that touches some of them ends those with it, as itself, and its first half may
// have been ended the other way.

// HangsAfter is from when on an open transaction is taken for one that hangs:
// twice the time after which the broker aborts one.
const HangsAfter = 2 * TransactionTimeout

// EndHanging ends what a producer id has had open for so long, if it hangs and an
// instance of own's group has the id: mend does it for own, and from another one,
// which had as long again to do it itself, the identity is taken, which fences it.
// The error says why it is not ended, and what to do.
func EndHanging(ctx context.Context, conf Config, own Identity, producer int64, openFor time.Duration, log *slog.Logger, mend func(context.Context) error) error {
	h, err := newHolder(conf, own, log)
	if err != nil {
		return err
	}
	defer h.client.Close()
	const see = "see \"A transaction that hangs\" in docs/operating.md"
	listed, err := h.admin.ListTransactions(ctx, []int64{producer}, nil)
	if err != nil {
		return fmt.Errorf("ask who has producer id %d: %w", producer, err)
	}
	if len(listed) == 0 {
		return fmt.Errorf("it hangs, and no transactional id that may be looked at has producer id %d: %s", producer, see)
	}
	t := listed.Sorted()[0] // a producer id has one
	instance, ofGroup := strings.CutPrefix(t.TxnID, own.Group+"/")
	switch {
	case !slices.Contains([]string{txnEmpty, txnCommitted, txnAborted}, t.State):
		return fmt.Errorf("transactional id %q has not ended it yet (%s): the broker ends it after its time-out", t.TxnID, t.State)
	case t.TxnID == own.TransactionalID:
		return mend(ctx)
	case !ofGroup || strings.Contains(instance, "/"):
		return fmt.Errorf("it hangs, and transactional id %q, which has it, is not of group %q: %s", t.TxnID, own.Group, see)
	case openFor < 2*HangsAfter:
		return fmt.Errorf("it hangs: transactional id %q, which has it, is waited for until it has been open for %s", t.TxnID, 2*HangsAfter)
	}
	other := own
	other.TransactionalID = t.TxnID
	return EndLeftOpen(ctx, conf, other, log)
}

// OpenTransaction is one that has not ended in a partition.
type OpenTransaction struct {
	ProducerID int64
	Start      int64     // its first offset
	Last       time.Time // when something was written in it
}

// OpenTransactions asks the leader for those that begin at an offset or before.
func OpenTransactions(ctx context.Context, admin *kadm.Client, topic string, partition int32, at int64) ([]OpenTransaction, error) {
	producers, err := producersOf(ctx, admin, topic, []int32{partition})
	var open []OpenTransaction
	for _, p := range producers {
		if p.CurrentTxnStartOffset >= 0 && p.CurrentTxnStartOffset <= at {
			open = append(open, OpenTransaction{ProducerID: p.ProducerID, Start: p.CurrentTxnStartOffset, Last: time.UnixMilli(p.LastTimestamp)})
		}
	}
	return open, err
}

// mayNotLook reports whether an error is what one is told who may not see, or
// that the broker cannot show.
func mayNotLook(err error) bool {
	return errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.TransactionalIDAuthorizationFailed) ||
		errors.Is(err, kerr.UnsupportedVersion)
}

// offsetsTopic is where the broker keeps the offsets of groups.
const offsetsTopic = "__consumer_offsets"

// hanging asks the leaders where a producer has something open of which over says
// that the broker will not end it. Topics that may not be looked at are unseen,
// with all of their partitions.
func (h *holder) hanging(ctx context.Context, producer int64, over func(kadm.DescribedProducer) bool) (hung, unseen kadm.TopicsSet, err error) {
	ctx, cancel := context.WithTimeout(ctx, TransactionTimeout)
	defer cancel()
	err = h.insist(ctx, func() error {
		hung, unseen, err = h.lookForHanging(ctx, producer, over)
		return err
	})
	return hung, unseen, err
}

func (h *holder) lookForHanging(ctx context.Context, producer int64, over func(kadm.DescribedProducer) bool) (hung, unseen kadm.TopicsSet, err error) {
	topics, err := h.admin.ListTopicsWithInternal(ctx, append([]string{offsetsTopic}, h.Topics...)...)
	if err != nil {
		return nil, nil, err
	}
	for name, t := range topics {
		partitions := t.Partitions.Numbers()
		if len(partitions) == 0 {
			continue // it is not there, or not shown
		}
		if name == offsetsTopic {
			partitions = []int32{partitionOf(h.Group, len(partitions))}
		}
		producers, err := producersOf(ctx, h.admin, name, partitions)
		switch {
		case mayNotLook(err) && name != offsetsTopic:
			unseen.Add(name, partitions...)
		case mayNotLook(err):
		case err != nil:
			return nil, nil, err
		}
		for _, p := range producers {
			if p.ProducerID == producer && p.CurrentTxnStartOffset >= 0 && over(p) {
				hung.Add(name, p.Partition)
			}
		}
	}
	return hung, unseen, nil
}

// producersOf asks the leaders of a topic's partitions who writes to them.
func producersOf(ctx context.Context, admin *kadm.Client, topic string, partitions []int32) ([]kadm.DescribedProducer, error) {
	var set kadm.TopicsSet
	set.Add(topic, partitions...)
	described, err := admin.DescribeProducers(ctx, set)
	if err != nil {
		return nil, err
	}
	for _, d := range described[topic].Partitions {
		if d.Err != nil {
			return nil, fmt.Errorf("partition %d of topic %q: %w", d.Partition, topic, d.Err)
		}
	}
	return described.SortedProducers(), nil
}

// partitionOf gives the partition of the offsets topic that a group is in: by
// Java's hash of its name (GroupCoordinatorService.partitionFor).
func partitionOf(group string, partitions int) int32 {
	var hash int32
	for _, unit := range utf16.Encode([]rune(group)) {
		hash = 31*hash + int32(unit)
	}
	if hash == -1<<31 { // it has no absolute value
		return 0
	}
	return max(hash, -hash) % int32(partitions) //nolint:gosec // G115: it was an int32
}
