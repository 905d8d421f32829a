package kafka

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
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

// seeHanging ends an error that is for a person to mend.
const seeHanging = "see \"A transaction that hangs\" in docs/operating.md"

// HangsAfter is from when on an open transaction is taken for one that hangs:
// twice the time after which the broker aborts one.
const HangsAfter = 2 * TransactionTimeout

// EndHanging ends what a producer id has had open for so long, if it hangs and an
// instance of own's group has the id: mend does it for own, and from another one,
// which had at least as long again to do it itself, the identity is taken, which
// fences it. The error says why it is not ended, and what to do.
func EndHanging(ctx context.Context, conf Config, own Identity, producer int64, openFor time.Duration, log *slog.Logger, mend func(context.Context) error) error {
	h, err := newHolder(conf, own, log)
	if err != nil {
		return err
	}
	defer h.client.Close()
	listed, err := h.admin.ListTransactions(ctx, []int64{producer}, nil)
	if err != nil {
		return fmt.Errorf("ask who has producer id %d: %w", producer, err)
	}
	if len(listed) == 0 {
		return fmt.Errorf("it hangs, and no transactional id that may be looked at has producer id %d: %s", producer, seeHanging)
	}
	t := listed.Sorted()[0] // a producer id has one
	instance, ofGroup := strings.CutPrefix(t.TxnID, own.Group+"/")
	switch {
	case !slices.Contains([]string{txnEmpty, txnCommitted, txnAborted}, t.State):
		return fmt.Errorf("transactional id %q has not ended it yet (%s): the broker ends it after its time-out", t.TxnID, t.State)
	case t.TxnID == own.TransactionalID:
		return mend(ctx)
	case !ofGroup || strings.Contains(instance, "/"):
		return fmt.Errorf("it hangs, and transactional id %q, which has it, is not of group %q: %s", t.TxnID, own.Group, seeHanging)
	}
	if patience := 2*HangsAfter + spread(own.TransactionalID); openFor < patience {
		return fmt.Errorf("it hangs: transactional id %q, which has it, is waited for until it has been open for %s", t.TxnID, patience)
	}
	other := own
	other.TransactionalID = t.TxnID
	return RecoverTransactionalID(ctx, conf, other, log)
}

// spread keeps instances from taking an identity at once, each fencing the others.
func spread(id string) time.Duration {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(id)) // it does not fail
	return time.Duration(hash.Sum32()) * time.Second % HangsAfter
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
// whether the brokers cannot show: DescribeProducers and DescribeTransactions came
// with Kafka 3.0.
func (h *holder) mayNotLook(ctx context.Context, err error) bool {
	if err == nil {
		return false
	}
	if errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.TransactionalIDAuthorizationFailed) {
		return true
	}
	versions, err := h.admin.ApiVersions(ctx)
	old := false
	versions.Each(func(v kadm.BrokerApiVersions) {
		_, producers := v.KeyMaxVersion(kmsg.DescribeProducers.Int16())
		_, transactions := v.KeyMaxVersion(kmsg.DescribeTransactions.Int16())
		old = old || v.Err == nil && (!producers || !transactions)
	})
	return err == nil && old
}

// offsetsTopic is where the broker keeps the offsets of groups.
const offsetsTopic = "__consumer_offsets"

// found is what a look at the leaders found.
type found struct {
	hung   kadm.TopicsSet // what a producer has open
	epochs []int16        // with which it was written
	unseen kadm.TopicsSet // what may not be looked at, or cannot just now
	unsure bool           // some of it cannot just now
}

// lookForHanging asks the leaders where a producer has something open, when
// nothing of it is under way. A partition without a leader is waited for a while.
func (h *holder) lookForHanging(ctx context.Context, producer int64) (f found, err error) {
	topics, err := h.admin.ListTopicsWithInternal(ctx, append([]string{offsetsTopic}, h.Topics...)...)
	if err != nil {
		return f, err
	}
	for name, t := range topics {
		partitions := t.Partitions.Numbers()
		if name == offsetsTopic && len(partitions) > 0 {
			partitions = []int32{partitionOf(h.Group, len(partitions))}
		}
		if len(partitions) == 0 { // it is not there, or not shown
			if name == offsetsTopic && errors.Is(t.Err, kerr.TopicAuthorizationFailed) {
				f.unseen.Add(name)
			}
			continue
		}
		var producers []kadm.DescribedProducer
		err := h.patiently(ctx, func() (err error) {
			producers, err = producersOf(ctx, h.admin, name, partitions)
			if h.mayNotLook(ctx, err) {
				f.unseen.Add(name, partitions...)
				err = nil
			}
			return err
		})
		if ctx.Err() != nil {
			return f, ctx.Err()
		}
		if _, answered := errors.AsType[*kerr.Error](err); err != nil && !answered {
			return f, err
		}
		if err != nil { // others can be written to meanwhile
			h.log.WarnContext(ctx, "whether a transaction hangs here cannot be seen: a partition has no leader", slog.String("topic", name), slog.Any("error", err))
			f.unseen.Add(name, partitions...)
			f.unsure = true
			continue
		}
		for _, p := range producers {
			if p.ProducerID == producer && p.CurrentTxnStartOffset >= 0 {
				f.hung.Add(name, p.Partition)
				f.epochs = append(f.epochs, p.ProducerEpoch)
			}
		}
	}
	return f, nil
}

// unstable reports whether the group's offsets are kept by a transaction: one
// that is not about to end.
func (h *holder) unstable(ctx context.Context) (bool, error) {
	err := h.patiently(ctx, func() error {
		committed, err := h.admin.FetchOffsetsForTopics(kadm.RequireStable(ctx), h.Group, h.Input)
		if err == nil {
			err = committed.Error()
		}
		return err
	})
	switch {
	case errors.Is(err, kerr.UnstableOffsetCommit):
		return true, nil
	case errors.Is(err, kerr.GroupIDNotFound): // it has committed nothing
		return false, nil
	}
	return false, err
}

// clean returns when the broker has ended the last transaction that is over;
// errHangs: it says so, and has not. It is unsure where a partition has no leader.
func (h *holder) clean(ctx context.Context) (unsure bool, err error) {
	for {
		last, err := h.last(ctx)
		if err != nil {
			return false, err
		}
		switch last.State {
		case "":
			return false, nil
		case txnEmpty, txnCommitted, txnAborted, txnOngoing:
			f, err := h.lookForHanging(ctx, last.ProducerID)
			if err != nil || len(f.hung) == 0 {
				return f.unsure, err
			}
			if last.State == txnOngoing && slices.Min(f.epochs) >= last.ProducerEpoch {
				return f.unsure, nil // it is of what is under way, which writes with the present epoch
			}
			// What is open may have begun since.
			again, err := h.last(ctx)
			if err != nil {
				return false, err
			}
			if again.State == last.State && again.ProducerEpoch == last.ProducerEpoch && again.StartTimestamp == last.StartTimestamp {
				return false, errHangs
			}
			continue
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(busyPause):
		}
	}
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
