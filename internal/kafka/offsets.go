package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/kafka/retry"
)

// sendOffsets adds the offsets of a batch to the open transaction.
func (c *Committer) sendOffsets(ctx context.Context, b Batch) error {
	id, epoch, err := c.client.ProducerID(ctx)
	if err != nil {
		return err
	}
	// Brokers without transaction.version 2 need AddOffsetsToTxn; the others accept it.
	if err := c.addOffsets(ctx, id, epoch); err != nil {
		return fmt.Errorf("AddOffsetsToTxn of group %q: %w", c.conf.Group, err)
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group = c.conf.TransactionalID, c.conf.Group
	req.ProducerID, req.ProducerEpoch = id, epoch
	req.MemberID, req.Generation, req.InstanceID = b.Member, b.Generation, c.conf.GroupInstanceID
	topic := kmsg.NewTxnOffsetCommitRequestTopic()
	// From version 6 on only the id names the topic.
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
	answers := make(map[int32]int16)
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			answers[p.Partition] = p.ErrorCode
		}
	}
	if err := checkAnswers(b.Offsets, answers); err != nil {
		return fmt.Errorf("TxnOffsetCommit of topic %q: %w", c.conf.Input, err)
	}
	return nil
}

// addOffsets adds the group's offsets to the open transaction. The broker refuses it
// while it writes the markers of the transaction before.
func (c *Committer) addOffsets(ctx context.Context, id int64, epoch int16) error {
	req := kmsg.NewPtrAddOffsetsToTxnRequest()
	req.TransactionalID, req.Group = c.conf.TransactionalID, c.conf.Group
	req.ProducerID, req.ProducerEpoch = id, epoch
	return retry.Do(ctx, retry.Every(10*time.Millisecond), func() error {
		resp, err := req.RequestWith(ctx, c.client)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(resp.ErrorCode)
	}, func(err error) bool { return errors.Is(err, kerr.ConcurrentTransactions) })
}

// CommitOffsets commits the offsets of a batch that has no records. It uses no
// transaction, because the library does not end one in which nothing was produced. If
// the request was not answered, it may be repeated.
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
	answers := make(map[int32]int16)
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			answers[p.Partition] = p.ErrorCode
		}
	}
	if err := checkAnswers(b.Offsets, answers); err != nil {
		return classify(fmt.Errorf("OffsetCommit of topic %q: %w", conf.Input, err))
	}
	return nil
}

// checkAnswers returns an error unless the broker accepted each offset. A request
// succeeds as a whole even if the broker refuses or omits partitions.
func checkAnswers(offsets []Offset, answers map[int32]int16) error {
	for _, o := range offsets {
		code, ok := answers[o.Partition]
		if !ok {
			return fmt.Errorf("%d of %d partitions were answered", len(answers), len(offsets))
		}
		if err := kerr.ErrorForCode(code); err != nil {
			return fmt.Errorf("partition %d: %w", o.Partition, err)
		}
	}
	return nil
}
