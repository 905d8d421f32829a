package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
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
	Offsets    []Offset // none: the records alone
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
	// ErrFenced: another process uses the same identity, or seems to. Exit.
	ErrFenced = errors.New("this instance was fenced")
	// ErrUnknown: whether it was committed could not be found out before the
	// context ended. It must not be committed again.
	ErrUnknown = errors.New("whether the transaction was committed is not known")
	// ErrRefused: it fails in the same way for as long as somebody does not
	// mend permissions, topics or limits.
	ErrRefused = errors.New("the broker refuses the transaction")
	// ErrReplaced: the input topic is another one than at the start, under the
	// same name. Start anew.
	ErrReplaced = errors.New("the input topic was deleted and made anew: its offsets mean nothing any more")
)

// CommitterConfig fixes a Committer.
type CommitterConfig struct {
	Kafka Config
	Identity
	GroupInstanceID *string  // of a static member
	TopicID         [16]byte // the input topic's
	// MaxBatchBytes is the largest record batch that each topic takes, its
	// max.message.bytes; a topic that is not named has the default.
	MaxBatchBytes map[string]int32
	// Placed is the topic whose records say which partition they belong to;
	// those of the others go by their keys.
	Placed string
	Log    *slog.Logger
}

func (c CommitterConfig) maxBatchBytes(topic string) int32 {
	const least = 512                       // what the library takes
	most := int32(c.Kafka.Requests.Bytes()) //nolint:gosec // G115: it was an int32
	if limit, ok := c.MaxBatchBytes[topic]; ok {
		return min(max(limit, least), most)
	}
	return min(defaultMaxMessageBytes, most)
}

// Committer produces records and commits offsets in one transaction at a time.
// It is for one goroutine, but for Reinitialise.
//
// The consuming client and the producing one are two, and the offsets go by a
// TxnOffsetCommit of our own: what is committed is not the position polled but
// the offset below which all is settled, with the map of what is settled above
// it, which the library's session type cannot carry.
type Committer struct {
	mu     sync.Mutex // one transaction at a time, and no mending meanwhile
	closed bool
	conf   CommitterConfig
	client *kgo.Client     // nil: to be made anew
	known  map[string]bool // topics that the client has committed to
	wires  *wires          // of the client
	holder *holder
	// producer is the producer id and epoch of the transaction under way, and
	// fencedAt when a fencing was survived last.
	producer struct {
		id    int64
		epoch int16
	}
	fencedAt time.Time
}

// NewCommitter makes a Committer and takes the transactional id: an open
// transaction of an earlier process of this identity is ended by the broker.
func NewCommitter(ctx context.Context, conf CommitterConfig) (*Committer, error) {
	if conf.Kafka.Requests == nil {
		conf.Kafka.Requests = NewRequestLimit(0)
	}
	h, err := newHolder(conf.Kafka, conf.Identity, conf.Log)
	if err != nil {
		return nil, err
	}
	c := &Committer{conf: conf, holder: h}
	if err := c.open(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Reinitialise takes the identity anew, and ends what hangs of it.
func (c *Committer) Reinitialise(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClosed
	}
	c.discard()
	return c.open(ctx)
}

var errClosed = errors.New("the committer is closed")

// Close ends the clients; an open transaction is left to the broker.
func (c *Committer) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.discard()
	c.holder.client.Close()
}

func (c *Committer) discard() {
	if c.client != nil {
		c.client.Close()
		c.client = nil
	}
}

// open makes the producing client, as the holder of the identity.
func (c *Committer) open(ctx context.Context) error {
	wires := &wires{}
	client, err := c.holder.take(ctx, func() (*kgo.Client, error) {
		return c.conf.Kafka.NewClient(
			kgo.TransactionalID(c.conf.TransactionalID),
			kgo.TransactionTimeout(TransactionTimeout),
			kgo.RequiredAcks(kgo.AllISRAcks()),
			// Many small records make one batch: it must fit its own topic, not
			// the one that takes most.
			kgo.ProducerBatchMaxBytesFn(c.conf.maxBatchBytes),
			kgo.RecordPartitioner(placing{topic: c.conf.Placed}),
			kgo.ProducerLinger(0),
			// Past this a transaction is not worth waiting for: the broker has
			// aborted it.
			kgo.RecordDeliveryTimeout(TransactionTimeout),
			kgo.RetryTimeout(TransactionTimeout),
			kgo.WithHooks(wires),
		)
	})
	if err != nil {
		return err
	}
	wires.watch(client, c.holder)
	c.client, c.known, c.wires = client, make(map[string]bool), wires
	return nil
}

// placing takes the partitions of one topic from its records, and the library's
// default for the others.
type placing struct{ topic string }

// ForTopic implements [kgo.Partitioner].
func (p placing) ForTopic(topic string) kgo.TopicPartitioner {
	if topic == p.topic {
		return kgo.ManualPartitioner().ForTopic(topic)
	}
	return kgo.UniformBytesPartitioner(64<<10, true, true, nil).ForTopic(topic)
}

// Commit ends with nil, or with an error that is one of the four above.
//
// No step waits for ever: past twice its time-out the broker has aborted the
// transaction, and a producer whose requests may still arrive is replaced by
// one that fences it. So ctx should end only when the process is about to.
func (c *Committer) Commit(ctx context.Context, b Batch) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.replaceIfLost()
	steps, cancelSteps := context.WithTimeout(ctx, 2*TransactionTimeout)
	defer cancelSteps()
	began := time.Now().Round(0) // by the wall clock: a suspended machine's other one stands still
	if c.client == nil {
		if err := c.open(ctx); err != nil {
			return c.sort(ctx, b, began, err)
		}
	}
	if err := c.begin(ctx); err != nil {
		c.discard()
		return fmt.Errorf("%w: begin: %w", ErrNotCommitted, err)
	}
	steps, giveUp := context.WithCancelCause(steps)
	defer giveUp(nil)
	c.wires.cutOffs.watch(sizeOf(b.Records))
	c.wires.during(giveUp)
	defer c.wires.during(nil)
	err := c.produce(steps, b.Records)
	if err == nil && len(b.Offsets) > 0 {
		err = c.sendOffsets(steps, b)
	}
	if err != nil {
		return c.abort(ctx, b, began, err)
	}
	// Past this the broker has ended it one way or the other, and which is
	// found out: the library by itself would go on asking.
	end, cancel := context.WithTimeout(ctx, 2*TransactionTimeout)
	defer cancel()
	if err := c.client.EndTransaction(end, kgo.TryCommit); err != nil {
		if fenced := c.checkFenced(ctx, b.Member, began, err); fenced != nil {
			c.discard()
			return fenced
		}
		return c.findOut(ctx, b, err)
	}
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

// confirm looks whether the first transaction of a client was committed, though
// the library says so. Where all topics of a transaction are new to a client, it
// may take it for one in which nothing was produced, end it by an abort, and
// say nothing: it publishes what it knows of a topic's partitions only after it
// has handed the waiting records over (storePartitionsUpdate of franz-go
// v1.22.3).
func (c *Committer) confirm(ctx context.Context, b Batch) error {
	if slices.ContainsFunc(b.Records, func(r *kgo.Record) bool { return c.known[r.Topic] }) || len(b.Offsets) == 0 {
		c.know(b)
		return nil
	}
	committed, err := c.lookForBatch(ctx, b)
	switch {
	case err != nil:
		return c.findOut(ctx, b, err)
	case !committed:
		c.discard()
		return fmt.Errorf("%w: the broker has none of it, though its end was not refused", ErrNotCommitted)
	}
	c.know(b)
	return nil
}

func (c *Committer) know(b Batch) {
	for _, r := range b.Records {
		c.known[r.Topic] = true
	}
}

// replaceIfLost gives up a producer one of whose requests was not answered: the
// library has made it again, and the first one may still arrive. On brokers
// before transaction.version 2 it would be taken for one of a later transaction.
// The next producer fences it.
func (c *Committer) replaceIfLost() {
	if c.client != nil && c.wires.lost.Load() {
		c.discard()
	}
}

// produce waits for the records as long as ctx lasts. The library waits for an
// answer to a record that was sent for as long as the broker is away; only
// closing the client ends that.
func (c *Committer) produce(ctx context.Context, records []*kgo.Record) error {
	client := c.client
	stop := context.AfterFunc(ctx, client.Close)
	var err error
	for _, r := range client.ProduceSync(ctx, records...) {
		if r.Err != nil {
			err = fmt.Errorf("produce to topic %q: %w", r.Record.Topic, r.Err)
			break
		}
	}
	if !stop() { // it was closed, or is about to be
		c.discard()
		if errors.Is(err, kgo.ErrClientClosed) || errors.Is(err, ctx.Err()) {
			err = nil // of the first topic that comes to hand: it is not the cause
		}
		return errors.Join(fmt.Errorf("produce %d records of %d bytes (KAFKA_MAX_REQUEST_BYTES is %d): %w",
			len(records), sizeOf(records), c.conf.Kafka.Requests.Bytes(), context.Cause(ctx)), err)
	}
	return err
}

func (c *Committer) abort(ctx context.Context, b Batch, began time.Time, cause error) error {
	if c.client == nil { // given up already
		return c.sort(ctx, b, began, cause)
	}
	if isFencing(cause) { // the broker would not take the end, and whose the id is must be asked before it is taken
		c.discard()
		return c.sort(ctx, b, began, cause)
	}
	aborting, cancel := context.WithTimeout(ctx, TransactionTimeout)
	defer cancel()
	stop := context.AfterFunc(aborting, c.client.Close)
	defer stop()
	abortErr := c.client.AbortBufferedRecords(aborting)
	if abortErr == nil {
		abortErr = c.client.EndTransaction(aborting, kgo.TryAbort)
	}
	if abortErr != nil {
		// The broker aborts it when this identity's producer id is taken anew.
		c.conf.Log.WarnContext(ctx, "abort of a transaction was not confirmed; its producer is replaced", slog.Any("error", abortErr))
	}
	// Should it hang, the next transaction would commit what was aborted: who
	// takes the producer id anew looks.
	c.discard()
	return c.sort(ctx, b, began, cause)
}

// sort says which of the errors above a cause is, and gives up a producer that
// the cause has spoilt.
func (c *Committer) sort(ctx context.Context, b Batch, began time.Time, cause error) error {
	if err := c.checkFenced(ctx, b.Member, began, cause); err != nil {
		c.discard()
		return err
	}
	if err := c.shrink(ctx, b, cause); err != nil {
		c.discard()
		return err
	}
	err := classify(cause)
	if isFencing(cause) || errors.Is(err, ErrRefused) {
		c.discard()
	}
	return err
}
