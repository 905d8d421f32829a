package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/kafka/retry"
	"payment-capture/internal/kafka/txnrecovery"
)

// Batch is the content of one transaction.
type Batch struct {
	Records    []*kgo.Record // outcomes, parked records, ledger entries; a record can be produced only once
	Member     string        // of the consumer, read together with what it owns
	Generation int32
	Offsets    []Offset // none: the records alone
}

// Offset is a committed offset of one partition of the input topic.
type Offset struct {
	Partition   int32
	At          int64 // the next offset to read
	LeaderEpoch int32 // of the record before it; -1: unknown
	// Metadata must be different in every batch. It shows afterwards whether a
	// transaction whose end was not confirmed was committed.
	Metadata string
}

// The errors of Commit and CommitOffsets. Without one the batch is committed for
// good.
var (
	// ErrNotCommitted: nothing of the batch is visible, and nothing ever will be.
	// Commit it again, with fresh records, for the partitions that are still owned.
	ErrNotCommitted = errors.New("the transaction was not committed")
	// ErrFenced: another process uses the same transactional id or group instance
	// id, or seems to. Exit.
	ErrFenced = errors.New("this instance was fenced")
	// ErrUnknown: the context ended before the broker could be asked whether the
	// batch was committed. Do not commit it again.
	ErrUnknown = errors.New("whether the transaction was committed is not known")
	// ErrRefused: the commit fails in the same way until an operator fixes
	// permissions, topics or limits.
	ErrRefused = errors.New("the broker refuses the transaction")
)

// CommitterConfig configures a Committer.
type CommitterConfig struct {
	Kafka Config
	txnrecovery.Identity
	GroupInstanceID *string  // of a static member
	TopicID         [16]byte // of the input topic
	// MaxBatchBytes is max.message.bytes of each topic; a topic that is missing here
	// has the broker's default.
	MaxBatchBytes map[string]int32
	// PartitionedTopic is the topic whose records carry their partition. The records
	// of the other topics are partitioned by key.
	PartitionedTopic string
	Log              *slog.Logger
}

func (c CommitterConfig) maxBatchBytes(topic string) int32 {
	const least = 512                       // the library's minimum
	most := int32(c.Kafka.Requests.Bytes()) //nolint:gosec // G115: it was an int32
	if limit, ok := c.MaxBatchBytes[topic]; ok {
		return min(max(limit, least), most)
	}
	return min(defaultMaxMessageBytes, most)
}

// Committer produces records and commits offsets in one transaction at a time.
// Only one goroutine may use it, but any may call Reinitialise.
//
// It has a producing client of its own, and sends TxnOffsetCommit requests itself.
// The library's transaction session commits the polled position; the service commits
// the offset below which all records are completed, and in the metadata which ones
// above it are.
type Committer struct {
	mu        sync.Mutex // held by Commit, Reinitialise and Close; guards what follows
	closed    bool
	conf      CommitterConfig
	requests  *kgo.Client  // for requests outside of transactions
	admin     *kadm.Client // uses requests
	recovery  *txnrecovery.Recovery
	client    *kgo.Client     // produces; nil: to be created before the next transaction
	committed map[string]bool // the topics in which client has committed records
	monitor   *connMonitor    // of client
	// producer is the producer id and epoch of the current transaction.
	producer struct {
		id    int64
		epoch int16
	}
	fencedAt  time.Time // when the last fencing was survived
	swallowed int       // the last flushes in a row of which produce requests were not answered
}

// NewCommitter returns a Committer that owns its transactional id. Transactions that
// an earlier process left open or hanging are completed.
func NewCommitter(ctx context.Context, conf CommitterConfig) (*Committer, error) {
	if conf.Kafka.Requests == nil {
		conf.Kafka.Requests = NewRequestLimit(0)
	}
	c := &Committer{
		conf:     conf,
		recovery: txnrecovery.New(nil, txnrecovery.Config{Identity: conf.Identity, NewClient: conf.Kafka.NewClient, Log: conf.Log}),
	}
	if err := c.open(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Reinitialise replaces the producing client, which completes hanging transactions
// of the transactional id.
func (c *Committer) Reinitialise(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errors.New("the committer is closed")
	}
	c.discard()
	return c.open(ctx)
}

// Close closes the clients. The broker aborts a transaction that is still open.
func (c *Committer) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.discard()
	if c.requests != nil {
		c.requests.Close()
	}
}

// discard closes the producing client. The next one fences it.
func (c *Committer) discard() {
	if c.client != nil {
		c.client.Close()
		c.client = nil
	}
}

// open creates the producing client, and a new one for other requests: the library asks
// a coordinator that it knows for ever, although the broker is dead and another one has
// its groups and transactional ids, if the request is one that it would split over several
// coordinators, as DescribeTransactions and OffsetFetch (handleShardedReq of franz-go v1.22.3).
func (c *Committer) open(ctx context.Context) error {
	requests, err := c.conf.Kafka.NewClient()
	if err != nil {
		return err
	}
	if c.requests != nil {
		c.requests.Close()
	}
	c.requests, c.admin, c.recovery = requests, kadm.NewClient(requests), c.recovery.With(requests)
	monitor := &connMonitor{recovery: c.recovery}
	client, err := c.recovery.Acquire(ctx,
		c.conf.Kafka.Metrics.Instrument("producer"),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		// Many small records make one batch: it must fit its own topic, not the
		// one with the highest limit.
		kgo.ProducerBatchMaxBytesFn(c.conf.maxBatchBytes),
		kgo.RecordPartitioner(partitioner{manual: c.conf.PartitionedTopic}),
		kgo.ProducerLinger(0),
		// Later the broker has aborted the transaction anyway.
		kgo.RecordDeliveryTimeout(txnrecovery.TransactionTimeout),
		kgo.WithHooks(monitor),
	)
	if err != nil {
		return err
	}
	monitor.client.Store(client)
	c.client, c.committed, c.monitor = client, make(map[string]bool), monitor
	return nil
}

// partitioner leaves the partitions of one topic to its records, and uses the
// library's default for the others.
type partitioner struct{ manual string }

// ForTopic implements [kgo.Partitioner].
func (p partitioner) ForTopic(topic string) kgo.TopicPartitioner {
	if topic == p.manual {
		return kgo.ManualPartitioner().ForTopic(topic)
	}
	return kgo.UniformBytesPartitioner(64<<10, true, true, nil).ForTopic(topic)
}

// Commit commits a batch in one transaction. It returns nil or one of the four
// errors above.
//
// Every step ends: after twice its timeout the broker has aborted the transaction,
// and the next producer fences the old one, so that its late requests fail. ctx should
// end only if the process is about to.
func (c *Committer) Commit(ctx context.Context, b Batch) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.discardIfStale()
	began := time.Now().Round(0) // wall clock: the monotonic one stops while the machine is suspended
	if c.client == nil {
		if err := c.open(ctx); err != nil {
			return c.fail(ctx, b, began, err)
		}
	}
	if err := c.begin(ctx); err != nil {
		c.discard()
		return fmt.Errorf("%w: begin: %w", ErrNotCommitted, err)
	}
	steps, cancelSteps := context.WithTimeout(ctx, 2*txnrecovery.TransactionTimeout)
	defer cancelSteps()
	steps, giveUp := context.WithCancelCause(steps)
	defer giveUp(nil)
	c.monitor.begin(sizeOf(b.Records), giveUp)
	err := c.produce(steps, b.Records)
	if err == nil && len(b.Offsets) > 0 {
		err = c.sendOffsets(steps, b)
	}
	if err != nil {
		return c.abort(ctx, b, began, err)
	}
	// Past this time the broker has ended the transaction, and resolveEnd asks how.
	// The library alone would repeat the request for ever.
	end, cancel := context.WithTimeout(ctx, 2*txnrecovery.TransactionTimeout)
	defer cancel()
	if err := c.client.EndTransaction(end, kgo.TryCommit); err != nil {
		if fenced := c.checkFenced(ctx, b.Member, began, err); fenced != nil {
			c.discard()
			return fenced
		}
		return c.resolveEnd(ctx, b, err)
	}
	c.swallowed = 0
	return c.confirm(ctx, b)
}

func (c *Committer) begin(ctx context.Context) error {
	if err := c.client.BeginTransaction(); err != nil {
		return err
	}
	var err error
	c.producer.id, c.producer.epoch, err = c.client.ProducerID(ctx)
	return err
}

// discardIfStale closes a producing client one of whose requests was not answered.
// The library has repeated the request, and the first one may still arrive; before
// transaction.version 2 brokers would add it to a later transaction.
func (c *Committer) discardIfStale() {
	if c.client != nil && c.monitor.stale.Load() {
		c.discard()
	}
}

// produce produces records and waits for their acknowledgements until ctx ends. The
// library waits for the answer to a sent record as long as the broker is away; only
// closing the client stops that.
func (c *Committer) produce(ctx context.Context, records []*kgo.Record) error {
	client := c.client
	stop := context.AfterFunc(ctx, client.Close)
	err := produceError(client.ProduceSync(ctx, records...))
	if stop() {
		return err
	}
	// The client is closed, or about to be.
	c.discard()
	if errors.Is(err, kgo.ErrClientClosed) || errors.Is(err, ctx.Err()) {
		err = nil // names some topic, which is not the cause
	}
	cause := context.Cause(ctx)
	if errors.Is(cause, context.DeadlineExceeded) && c.monitor.resets.swallowed() {
		cause = fmt.Errorf("%w: %w", errProduceSwallowed, cause)
	}
	return errors.Join(fmt.Errorf("produce %d records of %d bytes (KAFKA_MAX_REQUEST_BYTES is %d): %w",
		len(records), sizeOf(records), c.conf.Kafka.Requests.Bytes(), cause), err)
}

// produceError returns the first error of records. Before transaction.version 2 the library
// gives all records of a transaction the error of one of their topics.
func produceError(results kgo.ProduceResults) error {
	first := results.FirstErr()
	if first == nil {
		return nil
	}
	var topics []string
	for _, r := range results {
		if errors.Is(r.Err, first) && !slices.Contains(topics, r.Record.Topic) {
			topics = append(topics, r.Record.Topic)
		}
	}
	return fmt.Errorf("produce to %q: %w", topics, needsOneOf(first, "Write", topics))
}

// abort aborts a transaction that failed because of cause, and discards the client. If
// the transaction hung nevertheless, the next one of this client would commit it; the
// next client looks for that first.
func (c *Committer) abort(ctx context.Context, b Batch, began time.Time, cause error) error {
	if c.client != nil && !isFencing(cause) { // the broker refuses the abort of a fenced producer
		aborting, cancel := context.WithTimeout(ctx, txnrecovery.TransactionTimeout)
		defer cancel()
		stop := context.AfterFunc(aborting, c.client.Close)
		defer stop()
		err := c.client.AbortBufferedRecords(aborting)
		if err == nil {
			err = c.client.EndTransaction(aborting, kgo.TryAbort)
		}
		if err != nil { // the broker aborts it when the next client initialises the producer id
			c.conf.Log.WarnContext(ctx, "abort of transaction not confirmed", slog.Any("error", err))
		}
	}
	c.discard()
	return c.fail(ctx, b, began, cause)
}

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
		return fmt.Errorf("TxnOffsetCommit of topic %q: %w", c.conf.Input, NeedsTopic(err, "Read", c.conf.Input))
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
		return conf.classify(fmt.Errorf("OffsetCommit: %w", err))
	}
	answers := make(map[int32]int16)
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			answers[p.Partition] = p.ErrorCode
		}
	}
	if err := checkAnswers(b.Offsets, answers); err != nil {
		return conf.classify(fmt.Errorf("OffsetCommit of topic %q: %w", conf.Input, NeedsTopic(err, "Read", conf.Input)))
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
