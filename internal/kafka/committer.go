package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TransactionTimeout is after what time the broker aborts a transaction that
// nobody ends. It bounds how long a crashed instance keeps others, and readers
// of the outcomes, waiting.
const TransactionTimeout = 15 * time.Second

// Batch is what one transaction carries.
type Batch struct {
	Records    []*kgo.Record // outcomes and parked records; a record can be produced only once
	Member     string        // the consumer's, taken in one step with what it owns
	Generation int32
	Offsets    []Offset
}

// Offset is what is committed for one partition of the input topic.
type Offset struct {
	Partition   int32
	At          int64 // the next offset to read
	LeaderEpoch int32 // of the record before it; -1: not known
	// Metadata must be different in every batch: it is what tells afterwards
	// whether a transaction was committed whose end was not answered.
	Metadata string
}

// The ends that a commit can have, besides nil: it is there for good.
var (
	// ErrNotCommitted: nothing of it can be seen, and nothing ever will be.
	// Commit it again, with fresh records, for what is still owned.
	ErrNotCommitted = errors.New("the transaction was not committed")
	// ErrFenced: another process uses the same identity. Exit.
	ErrFenced = errors.New("another process uses this instance's transactional id")
	// ErrUnknown: whether it was committed could not be found out before the
	// context ended. It must not be committed again.
	ErrUnknown = errors.New("whether the transaction was committed is not known")
	// ErrRefused: it fails in the same way for as long as somebody does not
	// mend permissions, topics or limits.
	ErrRefused = errors.New("the broker refuses the transaction")
)

// CommitterConfig fixes a Committer.
type CommitterConfig struct {
	Kafka           Config
	TransactionalID string
	Group           string
	GroupInstanceID *string // of a static member
	Topic           string  // the input topic
	TopicID         [16]byte
	// MaxBatchBytes is the largest record batch that each topic takes, its
	// max.message.bytes; a topic that is not named has the default.
	MaxBatchBytes map[string]int32
	Log           *slog.Logger
}

func (c CommitterConfig) maxBatchBytes(topic string) int32 {
	const least, most = 512, 1 << 30 // what the library takes
	if limit, ok := c.MaxBatchBytes[topic]; ok {
		return min(max(limit, least), most)
	}
	return defaultMaxMessageBytes
}

// Committer produces records and commits offsets in one transaction at a time.
// It is used by one goroutine at a time.
//
// The consuming client and the producing one are two, and the offsets go by a
// TxnOffsetCommit of our own: what is committed is not the position polled but
// the offset below which all is settled, with the map of what is settled above
// it, which the library's session type cannot carry.
type Committer struct {
	conf   CommitterConfig
	client *kgo.Client // nil: to be made anew
	admin  *kadm.Client
}

// NewCommitter makes a Committer and takes the transactional id: an open
// transaction of an earlier process of this identity is ended by the broker.
func NewCommitter(ctx context.Context, conf CommitterConfig) (*Committer, error) {
	plain, err := conf.Kafka.NewClient()
	if err != nil {
		return nil, err
	}
	c := &Committer{conf: conf, admin: kadm.NewClient(plain)}
	if err := c.open(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Close ends the clients; an open transaction is left to the broker.
func (c *Committer) Close() {
	c.discard()
	c.admin.Close()
}

func (c *Committer) discard() {
	if c.client != nil {
		c.client.Close()
		c.client = nil
	}
}

// open makes the producing client and takes the producer id, which waits for,
// or aborts, what an earlier holder of the transactional id left open.
func (c *Committer) open(ctx context.Context) error {
	client, err := c.conf.Kafka.NewClient(
		kgo.TransactionalID(c.conf.TransactionalID),
		kgo.TransactionTimeout(TransactionTimeout),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		// Many small records make one batch: it must fit its own topic, not
		// the one that takes most.
		kgo.ProducerBatchMaxBytesFn(c.conf.maxBatchBytes),
		kgo.ProducerLinger(0),
		// Past this a transaction is not worth waiting for: the broker has
		// aborted it.
		kgo.RecordDeliveryTimeout(TransactionTimeout),
		kgo.RetryTimeout(TransactionTimeout),
	)
	if err != nil {
		return err
	}
	if _, _, err := client.ProducerID(ctx); err != nil {
		client.Close()
		return fmt.Errorf("take transactional id %q: %w", c.conf.TransactionalID, err)
	}
	c.client = client
	return nil
}

// Commit ends with nil, or with an error that is one of the four above.
//
// The context ends only the waiting for an answer to the question whether it
// was committed: the transaction itself is never given up half-way, since a
// request that is cancelled may still arrive.
func (c *Committer) Commit(ctx context.Context, b Batch) error {
	steps := context.WithoutCancel(ctx)
	began := time.Now()
	if c.client == nil {
		if err := c.open(ctx); err != nil {
			return c.sort(began, err)
		}
	}
	if err := c.client.BeginTransaction(); err != nil {
		c.discard()
		return fmt.Errorf("%w: begin: %w", ErrNotCommitted, err)
	}
	err := c.client.ProduceSync(steps, b.Records...).FirstErr()
	if err == nil {
		err = c.sendOffsets(steps, b)
	}
	if err != nil {
		return c.abort(steps, began, err)
	}
	// Past this the broker has ended it one way or the other, and which is
	// found out: the library by itself would go on asking.
	end, cancel := context.WithTimeout(steps, 2*TransactionTimeout)
	defer cancel()
	if err := c.client.EndTransaction(end, kgo.TryCommit); err != nil {
		return c.findOut(ctx, b, err)
	}
	return nil
}

func (c *Committer) abort(ctx context.Context, began time.Time, cause error) error {
	abortErr := c.client.AbortBufferedRecords(ctx)
	if abortErr == nil {
		abortErr = c.client.EndTransaction(ctx, kgo.TryAbort)
	}
	if abortErr != nil {
		// The broker aborts it when this identity's producer id is taken anew.
		c.conf.Log.WarnContext(ctx, "abort of a transaction was not confirmed; its producer is replaced", slog.Any("error", abortErr))
		c.discard()
	}
	return c.sort(began, cause)
}

// sort says which of the errors above a cause is, and gives up a producer that
// the cause has spoilt.
func (c *Committer) sort(began time.Time, cause error) error {
	fenced := errors.Is(cause, kerr.ProducerFenced) || errors.Is(cause, kerr.InvalidProducerEpoch)
	// The broker raises the epoch too when it aborts a transaction that took
	// too long, after a suspension of this process, say. Sooner than that, it
	// can only be another process.
	if fenced && time.Since(began) < TransactionTimeout {
		c.discard()
		return fmt.Errorf("%w: %w", ErrFenced, cause)
	}
	err := classify(cause)
	if fenced || errors.Is(err, ErrRefused) {
		c.discard()
	}
	return err
}

// classify says whether a cause is another process's doing, lasts, or passes.
func classify(cause error) error {
	switch {
	case errors.Is(cause, kerr.FencedInstanceID):
		return fmt.Errorf("%w: %w", ErrFenced, cause)
	case slices.ContainsFunc(lasting(), func(e error) bool { return errors.Is(cause, e) }):
		return fmt.Errorf("%w: %w", ErrRefused, cause)
	}
	return fmt.Errorf("%w: %w", ErrNotCommitted, cause)
}

// lasting lists the errors that go on until somebody mends their cause.
func lasting() []error {
	return []error{
		kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed,
		kerr.ClusterAuthorizationFailed, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.InvalidTopicException,
		kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.OffsetMetadataTooLarge, kerr.PolicyViolation,
		kerr.SaslAuthenticationFailed, kerr.InvalidTransactionTimeout,
	}
}

// findOut learns whether a transaction whose end was not answered was
// committed. Taking the producer id anew makes the broker finish it one way or
// the other; then the metadata of the committed offsets tells which. Asking the
// library to abort instead would say nil for a committed one.
func (c *Committer) findOut(ctx context.Context, b Batch, cause error) error {
	c.conf.Log.WarnContext(ctx, "the end of a transaction was not confirmed; asking the broker what became of it", slog.Any("error", cause))
	c.discard()
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		committed, err := c.lookForBatch(ctx, b)
		switch {
		case err == nil && committed:
			return nil
		case err == nil:
			return fmt.Errorf("%w: %w", ErrNotCommitted, cause)
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", ErrUnknown, cause)
		}
		c.conf.Log.WarnContext(ctx, "what became of a transaction is not known yet", slog.Any("error", err))
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrUnknown, cause)
		case <-time.After(wait):
		}
	}
}

func (c *Committer) lookForBatch(ctx context.Context, b Batch) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*TransactionTimeout)
	defer cancel()
	if c.client == nil {
		if err := c.open(ctx); err != nil {
			return false, err
		}
	}
	for {
		found, stable, err := c.readBatch(ctx, b)
		if err != nil || stable {
			return found, err
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// readBatch looks for the batch in the committed offsets. They are not stable
// while a transaction over them is being finished.
func (c *Committer) readBatch(ctx context.Context, b Batch) (found, stable bool, err error) {
	responses, err := c.admin.FetchOffsetsForTopics(kadm.RequireStable(ctx), c.conf.Group, c.conf.Topic)
	if err != nil {
		switch {
		case errors.Is(err, kerr.UnstableOffsetCommit):
			return false, false, nil
		case errors.Is(err, kerr.GroupIDNotFound):
			return false, true, nil // the group's first commit did not come to be
		}
		return false, false, err
	}
	for _, o := range b.Offsets {
		r, ok := responses.Lookup(c.conf.Topic, o.Partition)
		if !ok {
			continue
		}
		if errors.Is(r.Err, kerr.UnstableOffsetCommit) {
			return false, false, nil
		}
		if r.Err != nil {
			return false, false, r.Err
		}
		if r.At == o.At && r.Metadata == o.Metadata {
			return true, true, nil
		}
	}
	return false, true, nil
}

// sendOffsets adds the offsets to the open transaction.
func (c *Committer) sendOffsets(ctx context.Context, b Batch) error {
	id, epoch, err := c.client.ProducerID(ctx)
	if err != nil {
		return err
	}
	// Needed by brokers without transaction.version 2; the others take it too.
	if err := c.addOffsets(ctx, id, epoch); err != nil {
		return err
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group = c.conf.TransactionalID, c.conf.Group
	req.ProducerID, req.ProducerEpoch = id, epoch
	req.MemberID, req.Generation, req.InstanceID = b.Member, b.Generation, c.conf.GroupInstanceID
	topic := kmsg.NewTxnOffsetCommitRequestTopic()
	// Version 6 names the topic by its id only.
	topic.Topic, topic.TopicID = c.conf.Topic, c.conf.TopicID
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
				return fmt.Errorf("TxnOffsetCommit of %s/%d: %w", c.conf.Topic, p.Partition, err)
			}
		}
	}
	if answered != len(b.Offsets) {
		return fmt.Errorf("TxnOffsetCommit of %s: %d of %d partitions were answered", c.conf.Topic, answered, len(b.Offsets))
	}
	return nil
}

func (c *Committer) addOffsets(ctx context.Context, id int64, epoch int16) error {
	for {
		req := kmsg.NewPtrAddOffsetsToTxnRequest()
		req.TransactionalID, req.Group = c.conf.TransactionalID, c.conf.Group
		req.ProducerID, req.ProducerEpoch = id, epoch
		resp, err := req.RequestWith(ctx, c.client)
		if err != nil {
			return fmt.Errorf("AddOffsetsToTxn: %w", err)
		}
		err = kerr.ErrorForCode(resp.ErrorCode)
		if err == nil {
			return nil
		}
		if !errors.Is(err, kerr.ConcurrentTransactions) {
			return fmt.Errorf("AddOffsetsToTxn: %w", err)
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
	topic.Topic, topic.TopicID = conf.Topic, conf.TopicID
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
				return classify(fmt.Errorf("OffsetCommit of %s/%d: %w", conf.Topic, p.Partition, err))
			}
		}
	}
	if answered != len(b.Offsets) {
		return fmt.Errorf("%w: OffsetCommit of %s: %d of %d partitions were answered", ErrNotCommitted, conf.Topic, answered, len(b.Offsets))
	}
	return nil
}
