package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// sendOffsets adds the offsets to the open transaction.
func (c *Committer) sendOffsets(ctx context.Context, b Batch) error {
	id, epoch, err := c.client.ProducerID(ctx)
	if err != nil {
		return err
	}
	// Needed by brokers without transaction.version 2; the others take it too.
	if err := addOffsets(ctx, c.client, c.conf.Identity, id, epoch); err != nil {
		return err
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group = c.conf.TransactionalID, c.conf.Group
	req.ProducerID, req.ProducerEpoch = id, epoch
	req.MemberID, req.Generation, req.InstanceID = b.Member, b.Generation, c.conf.GroupInstanceID
	topic := kmsg.NewTxnOffsetCommitRequestTopic()
	// Version 6 names the topic by its id only.
	topic.Topic, topic.TopicID = c.conf.Input, c.conf.TopicID
	for _, o := range b.Offsets {
		p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = o.Partition, o.At, o.LeaderEpoch, &o.Metadata
		topic.Partitions = append(topic.Partitions, p)
	}
	req.Topics = append(req.Topics, topic)

	resp, err := req.RequestWith(ctx, c.client)
	if err != nil {
		return fmt.Errorf("TxnOffsetCommit: %w", err)
	}
	answered := 0
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			answered++
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("TxnOffsetCommit of %s/%d: %w", c.conf.Input, p.Partition, err)
			}
		}
	}
	if answered != len(b.Offsets) {
		return fmt.Errorf("TxnOffsetCommit of %s: %d of %d partitions were answered", c.conf.Input, answered, len(b.Offsets))
	}
	return nil
}

// addOffsets adds the group's offsets to the open transaction, when the broker is
// done with the one before.
func addOffsets(ctx context.Context, client *kgo.Client, of Identity, id int64, epoch int16) error {
	for {
		req := kmsg.NewPtrAddOffsetsToTxnRequest()
		req.TransactionalID, req.Group = of.TransactionalID, of.Group
		req.ProducerID, req.ProducerEpoch = id, epoch
		resp, err := req.RequestWith(ctx, client)
		if err != nil {
			return fmt.Errorf("AddOffsetsToTxn: %w", err)
		}
		err = kerr.ErrorForCode(resp.ErrorCode)
		if err == nil {
			return nil
		}
		if !errors.Is(err, kerr.ConcurrentTransactions) {
			return fmt.Errorf("AddOffsetsToTxn of group %q: %w", of.Group, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// CommitOffsets commits offsets alone, for records that have no outcome. It is
// no transaction: the client does not end one in which nothing was produced.
// An unanswered one may be repeated.
func CommitOffsets(ctx context.Context, consumer *kgo.Client, conf CommitterConfig, b Batch) error {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation, req.InstanceID = conf.Group, b.Member, b.Generation, conf.GroupInstanceID
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic, topic.TopicID = conf.Input, conf.TopicID
	for _, o := range b.Offsets {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = o.Partition, o.At, o.LeaderEpoch, &o.Metadata
		topic.Partitions = append(topic.Partitions, p)
	}
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, consumer)
	if err != nil {
		return classify(fmt.Errorf("OffsetCommit: %w", err))
	}
	answered := 0
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			answered++
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return classify(fmt.Errorf("OffsetCommit of %s/%d: %w", conf.Input, p.Partition, err))
			}
		}
	}
	if answered != len(b.Offsets) {
		return fmt.Errorf("%w: OffsetCommit of %s: %d of %d partitions were answered", ErrNotCommitted, conf.Input, answered, len(b.Offsets))
	}
	return nil
}
