package txnrecovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"
	"unicode/utf16"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// OpenTransaction is a transaction that has not ended in a partition.
type OpenTransaction struct {
	ProducerID int64
	Start      int64     // its first offset
	Last       time.Time // when its last record was written
}

// OpenTransactions returns the open transactions of a partition that begin at or
// below an offset, as the partition's leader knows them.
func OpenTransactions(ctx context.Context, admin *kadm.Client, topic string, partition int32, at int64) ([]OpenTransaction, error) {
	producers, err := describeProducers(ctx, admin, topic, []int32{partition})
	var open []OpenTransaction
	for _, p := range producers {
		if p.CurrentTxnStartOffset >= 0 && p.CurrentTxnStartOffset <= at {
			open = append(open, OpenTransaction{ProducerID: p.ProducerID, Start: p.CurrentTxnStartOffset, Last: time.UnixMilli(p.LastTimestamp)})
		}
	}
	return open, err
}

// describeProducers returns the producers that the leaders of a topic's partitions
// know.
func describeProducers(ctx context.Context, admin *kadm.Client, topic string, partitions []int32) ([]kadm.DescribedProducer, error) {
	var set kadm.TopicsSet
	set.Add(topic, partitions...)
	described, err := admin.DescribeProducers(ctx, set)
	if err != nil {
		return nil, err
	}
	for _, d := range described[topic].Partitions {
		if d.Err != nil {
			return nil, fmt.Errorf("describe the producers of %s/%d: %w", topic, d.Partition, d.Err)
		}
	}
	return described.SortedProducers(), nil
}

// Describe returns the last transaction of the transactional id as its coordinator
// knows it. State is "" if the coordinator knows none, or if the principal or the
// broker's version does not permit the question.
func (r *Recovery) Describe(ctx context.Context) (last kadm.DescribedTransaction, err error) {
	err = repeatRead(ctx, func() error {
		described, err := r.admin.DescribeTransactions(ctx, r.conf.TransactionalID)
		last = described[r.conf.TransactionalID]
		if err == nil {
			err = last.Err
		}
		if errors.Is(err, kerr.TransactionalIDNotFound) || r.isHidden(ctx, err) {
			last, err = kadm.DescribedTransaction{}, nil
		}
		return err
	})
	if err != nil {
		return last, fmt.Errorf("describe the last transaction of %q: %w", r.conf.TransactionalID, err)
	}
	return last, nil
}

// isHidden reports whether a description failed because the principal lacks the
// permission, or because the brokers are older than Kafka 3.0 and have no
// DescribeProducers and DescribeTransactions.
func (r *Recovery) isHidden(ctx context.Context, err error) bool {
	if errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.TransactionalIDAuthorizationFailed) {
		return true
	}
	if _, answered := errors.AsType[*kerr.Error](err); err == nil || answered && !errors.Is(err, kerr.UnsupportedVersion) {
		return false
	}
	versions, err := r.admin.ApiVersions(ctx)
	old := false
	versions.Each(func(v kadm.BrokerApiVersions) {
		_, producers := v.KeyMaxVersion(kmsg.DescribeProducers.Int16())
		_, transactions := v.KeyMaxVersion(kmsg.DescribeTransactions.Int16())
		old = old || v.Err == nil && (!producers || !transactions)
	})
	return err == nil && old
}

// offsetsTopic holds the committed offsets of consumer groups.
const offsetsTopic = "__consumer_offsets"

// openPartitions is where a producer id has open transactions.
type openPartitions struct {
	open       kadm.TopicsSet
	epochs     []int16        // the producer epochs of these transactions
	unseen     kadm.TopicsSet // partitions that could not be checked
	incomplete bool           // some of unseen had no leader, so a later check may see them
}

// findOpen returns where a producer id has open transactions, among the partitions
// that transactions of the identity write to. It waits a while for a partition that
// has no leader.
func (r *Recovery) findOpen(ctx context.Context, producerID int64) (found openPartitions, err error) {
	topics, err := r.admin.ListTopicsWithInternal(ctx, r.conf.Topics...)
	if err != nil {
		return found, err
	}
	// Asked for alone, because one topic that may not be described fails the whole call.
	offsets, err := r.admin.ListTopicsWithInternal(ctx, offsetsTopic)
	switch {
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		found.unseen.Add(offsetsTopic)
	case err != nil:
		return found, err
	}
	maps.Copy(topics, offsets)
	for name, t := range topics {
		partitions := t.Partitions.Numbers()
		if len(partitions) == 0 { // the topic is missing
			continue
		}
		if name == offsetsTopic {
			partitions = []int32{groupPartition(r.conf.Group, len(partitions))}
		}
		var producers []kadm.DescribedProducer
		err := repeatRead(ctx, func() (err error) {
			producers, err = describeProducers(ctx, r.admin, name, partitions)
			if r.isHidden(ctx, err) {
				found.unseen.Add(name, partitions...)
				err = nil
			}
			return err
		})
		_, answered := errors.AsType[*kerr.Error](err)
		switch {
		case ctx.Err() != nil:
			return found, ctx.Err()
		case err != nil && !answered:
			return found, err
		case err != nil: // other topics can be written to, so the service must go on
			r.conf.Log.WarnContext(ctx, "hanging transactions not checked without leader", slog.String("topic", name), slog.Any("error", err))
			found.unseen.Add(name, partitions...)
			found.incomplete = true
			continue
		}
		for _, p := range producers {
			if p.ProducerID == producerID && p.CurrentTxnStartOffset >= 0 {
				found.open.Add(name, p.Partition)
				found.epochs = append(found.epochs, p.ProducerEpoch)
			}
		}
	}
	return found, nil
}

// groupPartition returns the partition of the offsets topic that holds a group: the
// Java hash of its name decides (GroupCoordinatorService.partitionFor).
func groupPartition(group string, partitions int) int32 {
	var hash int32
	for _, unit := range utf16.Encode([]rune(group)) {
		hash = 31*hash + int32(unit)
	}
	if hash == -1<<31 { // it has no absolute value
		return 0
	}
	return max(hash, -hash) % int32(partitions) //nolint:gosec // G115: it was an int32
}

// offsetsUnstable reports whether an open transaction keeps the group's committed
// offsets unstable, and is not about to end.
func (r *Recovery) offsetsUnstable(ctx context.Context) (bool, error) {
	err := repeatRead(ctx, func() error {
		committed, err := r.admin.FetchOffsetsForTopics(kadm.RequireStable(ctx), r.conf.Group, r.conf.Input)
		if err == nil {
			err = committed.Error()
		}
		return err
	})
	switch {
	case errors.Is(err, kerr.UnstableOffsetCommit):
		return true, nil
	case errors.Is(err, kerr.GroupIDNotFound): // the group has committed nothing
		return false, nil
	}
	return false, err
}
