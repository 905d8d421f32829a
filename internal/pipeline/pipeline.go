// Package pipeline consumes order.ready_to_capture records from Kafka: it takes each
// to a decision and commits the outcome, the ledger entries and the offset in one
// transaction. One event passes through
//
//	intake.go     poll, decode, prefetch from the ledger, admit
//	dispatch.go   wait for the ordering keys, take a lease, start, complete
//	commit.go     build the flush and handle its result
//	handover.go   assign, revoke, lost and stop of partitions
//
// One goroutine, the owner (owner.go), has all mutable state: partitions, offset
// trackers, ordering keys. Everything else (the consumer's callbacks, the poll loop,
// captures, the flush loop, watches) runs in goroutines of its own and reaches the
// state only by sending the owner a function that it runs. So the state needs no
// locks, and the owner never waits for a call, a poll or a transaction.
//
// See docs/architecture.md.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
	"payment-capture/internal/kafka/txnrecovery"
	"payment-capture/internal/rules"
)

// Config configures a pipeline.
type Config struct {
	Kafka          kafka.Config
	Group          string
	InstanceID     string // forms the transactional id with the group
	Static         bool   // static membership, under InstanceID
	SessionTimeout time.Duration
	StartAt        kafka.StartAt
	// Accepted are foreign committed offsets that are taken over unchecked.
	Accepted    kafka.AcceptedOffsets
	Topics      Topics
	Account     string // events that name another account are skipped
	Decoder     event.Decoder
	Mode        event.Mode
	Rules       rules.Rules
	MaxInFlight int // calls at once; there are up to four times as many captures
	// SuppressReplayed publishes no outcome again for an event that has a decision.
	SuppressReplayed bool
	InvalidRun       int           // hold invalid events from so many in a row on; 0 disables
	InvalidHold      time.Duration // how long they are held; 0 disables
	FlushInterval    time.Duration // the least time between two transactions under load
	ShutdownTimeout  time.Duration // how long a stop may take
	Log              *slog.Logger
	Metrics          *Metrics
	Tracer           trace.Tracer // nil: no traces
}

// Identity returns the identity under which an instance commits.
func (c Config) Identity() txnrecovery.Identity {
	t := c.Topics
	return txnrecovery.Identity{
		TransactionalID: c.Group + "/" + c.InstanceID, Group: c.Group, Input: t.Input,
		Topics: []string{t.Ledger, t.Captured, t.Rejected, t.Parked},
	}
}

// Topics names the topics.
type Topics struct{ Input, Captured, Rejected, Parked, Ledger string }

// StartPatience is how long a start waits for the cluster.
const StartPatience = time.Minute

// Pipeline is one member of the consumer group.
type Pipeline struct {
	conf       Config
	capturer   Capturer
	ledger     Ledger
	consumer   *kgo.Client
	commitConf kafka.CommitterConfig
	committer  atomic.Pointer[kafka.Committer] // while the pipeline runs
	// ledgerMissing is why the ledger is not the one that the group's commits name;
	// "" if it is.
	ledgerMissing  string
	checks         chan struct{} // bounds the checks of foreign offsets under way
	skipped        *skippedRecords
	scout          *scout
	messages       chan message
	flushes        chan flush
	contact        groupContact
	awaitingLedger atomic.Int64  // captures that wait for a decision of this or another instance
	inputs         sync.Map      // the numbers of the owned partitions, for captures
	started        chan struct{} // closed when the owner reads messages
	ended          chan struct{} // closed when the owner reads no more messages
}

// New creates a pipeline; it contacts nothing before Run.
func New(conf Config, capturer Capturer, ledger Ledger) *Pipeline {
	if conf.Kafka.Requests == nil {
		conf.Kafka.Requests = kafka.NewRequestLimit(0)
	}
	p := &Pipeline{
		conf:     conf,
		capturer: capturer,
		ledger:   ledger,
		skipped:  newSkippedRecords(conf.Log, conf.Metrics),
		messages: make(chan message, 64),
		flushes:  make(chan flush, 1),
		checks:   make(chan struct{}, maxOffsetChecks),
		started:  make(chan struct{}),
		ended:    make(chan struct{}),
	}
	p.scout = newScout(p)
	return p
}

// StoppedError is why a pipeline stopped by itself, with its offsets kept.
type StoppedError struct{ Cause error }

func (e *StoppedError) Error() string { return e.Cause.Error() }

func (e *StoppedError) Unwrap() error { return e.Cause }

// Run works until ctx ends, then finishes calls under way within ShutdownTimeout,
// flushes, leaves the group and returns nil. Any other end is an error: a
// [*StoppedError] with the Capturer's error or with [kafka.ErrFenced], or an error of
// the start.
func (p *Pipeline) Run(ctx context.Context) error {
	var committer *kafka.Committer
	err := kafka.AwaitCluster(ctx, StartPatience, p.conf.Log, func(ctx context.Context) error {
		if err := p.prepare(ctx); err != nil {
			return err
		}
		var err error
		committer, err = kafka.NewCommitter(ctx, p.commitConf)
		return err
	})
	if err != nil {
		return err
	}
	defer committer.Close()
	p.committer.Store(committer)
	defer p.committer.Store(nil)
	o := newOwner(p)
	p.consumer, err = p.conf.Kafka.NewClient(p.consumerOptions(o)...)
	if err != nil {
		return err
	}

	work, cancelWork := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelWork()
	o.work = work
	polling, stopPolling := context.WithCancel(work)
	defer stopPolling()

	var running sync.WaitGroup
	running.Go(func() { p.poll(polling) })
	running.Go(func() { p.flushLoop(work, committer) })
	running.Go(func() { p.watchInput(work) })
	running.Go(func() { p.scout.run(polling) })

	close(p.started)
	cause := o.run(ctx, stopPolling)
	if !Restartable(cause) {
		cancelWork()
	}
	// If this process goes on with a new pipeline, the calls under way are finished
	// first: the next ones are for the same orders.
	p.leave(o, cancelWork)
	running.Wait()
	o.background.Wait()
	close(o.idle)
	if cause != nil {
		return &StoppedError{Cause: cause}
	}
	return nil
}

// Reinitialise gets a new producer id, which completes a hanging transaction of this
// instance.
func (p *Pipeline) Reinitialise(ctx context.Context) error {
	c := p.committer.Load()
	if c == nil {
		return errors.New("reinitialise the producer: the pipeline is starting, which reinitialises it")
	}
	return c.Reinitialise(ctx)
}

// Replaceable reports whether other members would take over the partitions of this one
// if it left the group. If the group does not hear from this member, it takes them away
// by itself.
func (p *Pipeline) Replaceable(ctx context.Context) (bool, error) {
	select {
	case <-p.started:
	default:
		return false, nil
	}
	if !p.contact.within(p.conf.SessionTimeout) {
		return false, nil
	}
	groups, err := kadm.NewClient(p.consumer).DescribeGroups(ctx, p.conf.Group)
	if err == nil {
		err = groups[p.conf.Group].Err
	}
	if err != nil {
		return false, fmt.Errorf("describe group %q: %w", p.conf.Group, err)
	}
	return len(groups[p.conf.Group].Members) > 1, nil
}

const (
	// maxBatchBytes bounds what a batch of the input may decompress to.
	maxBatchBytes = 64 << 20
	// RebalanceTimeout is how long a member may take to hand a partition over.
	RebalanceTimeout = 60 * time.Second
)

func (p *Pipeline) consumerOptions(o *owner) []kgo.Opt {
	opts := []kgo.Opt{
		kgo.ConsumerGroup(p.conf.Group),
		kgo.ConsumeTopics(p.conf.Topics.Input),
		kgo.Balancers(groupBalancer{kgo.CooperativeStickyBalancer()}),
		kgo.DisableAutoCommit(),
		// Records of an aborted transaction of a producer were never published.
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// Markers are kept because they tell how far the topic was read.
		kgo.KeepControlRecords(),
		// Out of range is an error, never a jump.
		kgo.ConsumeResetOffset(kgo.NoResetOffset().AtStart()),
		kgo.BlockRebalanceOnPoll(),
		kgo.SessionTimeout(p.conf.SessionTimeout),
		kgo.HeartbeatInterval(min(3*time.Second, p.conf.SessionTimeout/3)),
		kgo.RebalanceTimeout(RebalanceTimeout),
		// A paused partition resumes only after the fetch that waits at the broker.
		kgo.FetchMaxWait(200 * time.Millisecond),
		kgo.FetchMaxPartitionBytes(512 << 10),
		kgo.FetchMaxBytes(8 << 20),
		// A batch that decompresses to more than any topic accepts is an attack; its
		// partition halts.
		kgo.MaxDecompressBatchBytes(maxBatchBytes),
		// How soon added partitions are noticed; the library's default is five minutes.
		kgo.MetadataMaxAge(30 * time.Second),
		kgo.WithHooks(&p.contact),
		p.conf.Kafka.Metrics.Instrument("consumer"),
		kgo.OnPartitionsAssigned(o.onAssigned),
		kgo.OnPartitionsRevoked(o.onRevoked),
		kgo.OnPartitionsLost(o.onLost),
		kgo.OnOffsetsFetched(o.fetched.onOffsetsFetched),
		kgo.AdjustFetchOffsetsFn(o.adjustOffsets),
	}
	if p.conf.Static {
		opts = append(opts, kgo.InstanceID(p.conf.InstanceID))
	}
	return opts
}

// pause waits for a time or until ctx ends, and returns the error of ctx.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
