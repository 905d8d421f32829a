// Package pipeline takes order.ready_to_capture records from Kafka to their
// verdicts: it polls, keeps order by key, runs captures at once across keys,
// and commits outcomes and offsets in one transaction. See
// docs/architecture.md for the whole, and docs/commit.md for the commit.
package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
	"payment-capture/internal/rules"
)

// Capturer takes one event to its verdict.
type Capturer interface {
	// Capture calls the API as often as it needs to and returns what was decided.
	// It blocks; it is called from many goroutines at once, for one event id
	// and one order at a time.
	//
	// An error means that there is no verdict. With ctx ended or the hold given
	// up the event is left for its next owner; any other error is a fault of
	// this program, and the pipeline stops with it, offsets kept. When the hold
	// is given up no further call is begun, but the one under way is finished;
	// when ctx ends that one is broken off too.
	Capture(ctx context.Context, e *event.ReadyToCapture, h Lease) (*event.Decision, error)
	// Blocked says why no call can be made now, whatever the event: then no more
	// is read than is needed to find out that one can. "" when calls are made.
	Blocked() string
	// Busy gives how many captures are calling, or wait before they call again: the
	// others are on their way to a call.
	Busy() int
	// Changes gives a channel on which something arrives after Blocked changed, or
	// Busy has grown.
	Changes() <-chan struct{}
}

// Lease is this instance's claim to an event, as a capture sees it.
type Lease interface {
	// GiveUp is closed when no further call shall begin.
	GiveUp() <-chan struct{}
	// Current reports whether the group was heard of recently enough to be sure
	// that the partition is still this instance's.
	Current() bool
	// SetWaiting is told what the event waits for, and after how many calls.
	SetWaiting(waitsFor string, calls int)
	// PriorAttempt returns the earliest attempt that was noted before and not decided;
	// nil: the event was never tried.
	PriorAttempt() *event.Attempt
	// Resent reports whether a person sent the event again, after it was parked.
	Resent() bool
	// Attempt notes durably that the event is about to be tried; Withdraw takes
	// that back.
	Attempt(ctx context.Context, a event.Attempt) error
	Withdraw(ctx context.Context) error
	// UnderReference gives what is known of every event under the event's reference;
	// CatchUp returns when that is all that was noted when it was called.
	UnderReference(ctx context.Context) ([]event.Known, error)
	CatchUp(ctx context.Context) error
}

// Config fixes a pipeline.
type Config struct {
	Kafka          kafka.Config
	Group          string
	InstanceID     string // with the group it makes the transactional id
	Static         bool   // static membership, under InstanceID
	SessionTimeout time.Duration
	StartAt        kafka.StartAt
	// Accepted are committed offsets of others that are taken over unchecked.
	Accepted    kafka.AcceptedOffsets
	Topics      Topics
	Account     string // events that name another account are skipped
	Decoder     event.Decoder
	Mode        event.Mode
	Rules       rules.Rules // what the capturer goes by too; here for what it would park without a call, and what waits
	MaxInFlight int         // calls at once; there are up to four times as many captures
	// SuppressReplayed answers an event that was decided before by nothing, and
	// not by its outcome.
	SuppressReplayed bool
	InvalidRun       int           // from so many records in a row on that would be parked without a call they are held; 0: none are
	InvalidHold      time.Duration // how long; 0: none are held
	FlushInterval    time.Duration // the least time between two transactions under load
	ShutdownTimeout  time.Duration // how long a stop may take
	Log              *slog.Logger
	Metrics          *Metrics
}

// Identity gives the identity under which an instance commits.
func (c Config) Identity() kafka.Identity {
	t := c.Topics
	return kafka.Identity{
		TransactionalID: c.Group + "/" + c.InstanceID, Group: c.Group, Input: t.Input,
		Topics: []string{t.Ledger, t.Captured, t.Rejected, t.Parked},
	}
}

// Topics names the topics.
type Topics struct{ Input, Captured, Rejected, Parked, Ledger string }

// RebalanceTimeout is how long a member may take to hand a partition over.
// Five seconds of it are kept for the last flush.
const RebalanceTimeout = 60 * time.Second

const (
	drainReserve = 5 * time.Second
	// leaveReserve is how long leaving the group may take at the least.
	leaveReserve = 2 * time.Second
	// pollLimit bounds the records of one poll, and so how long a rebalance
	// waits for a poll to be taken over.
	pollLimit = 1000
	// flushBytes bounds what one transaction carries, so that it ends in its
	// time; one partition alone stays below it.
	flushBytes          = 8 << 20
	partitionFlushBytes = 4 << 20
	// partitionBytes bounds the records held of a partition: past it no more
	// are fetched.
	partitionBytes = 8 << 20
	// maxBatchBytes bounds what a batch of the input may unpack to.
	maxBatchBytes = 64 << 20
	// leastOutcomeBytes is more than any outcome takes: one that its topic does
	// not take would be a charge that nobody hears of.
	leastOutcomeBytes = 64 << 10
	// slowFlush is when a commit under way is told of.
	slowFlush = 20 * time.Second
	// leastFlushPause is between two transactions, however short they are.
	leastFlushPause = 5 * time.Millisecond
	// skipFlushInterval paces commits that carry no outcome.
	skipFlushInterval = time.Second
	// StartPatience is how long a start waits for the cluster to be there.
	StartPatience = time.Minute
	// retryFlush is how long a flush waits after one that failed; after one
	// that was refused the wait doubles up to refusedFlush.
	retryFlush   = 250 * time.Millisecond
	refusedFlush = 30 * time.Second
)

// Pipeline is one member of the consumer group.
type Pipeline struct {
	conf      Config
	capturer  Capturer
	ledger    Ledger
	consumer  *kgo.Client
	commits   kafka.CommitterConfig
	committer atomic.Pointer[kafka.Committer] // while it runs
	// groupMissing says why the ledger is not the one that the group's commits
	// know; "" when it is.
	groupMissing string
	// beginsAt are the committed offsets of a group that has never worked: there an
	// operator wants it to begin.
	beginsAt kafka.AcceptedOffsets
	checks   chan struct{} // bounds the checks of committed offsets under way
	skipped  *skippedRecords
	scout    *scout
	messages chan message
	flushes  chan flushJob
	heard    heard
	unread   atomic.Int64  // captures that wait for a decision to be read back
	started  chan struct{} // closed when the owner takes messages
	ended    chan struct{} // closed when the owner takes no more messages
}

// New makes a pipeline; nothing is contacted before Run.
func New(conf Config, capturer Capturer, ledger Ledger) *Pipeline {
	if conf.Kafka.Requests == nil {
		conf.Kafka.Requests = kafka.NewRequestLimit(0)
	}
	p := &Pipeline{
		conf:     conf,
		capturer: capturer,
		ledger:   ledger,
		skipped:  newSkippedRecords(conf.Log),
		messages: make(chan message, 64),
		flushes:  make(chan flushJob, 1),
		checks:   make(chan struct{}, mostChecks),
		started:  make(chan struct{}),
		ended:    make(chan struct{}),
	}
	p.scout = newScout(p)
	return p
}

// StoppedError is why a pipeline stopped by itself, offsets kept.
type StoppedError struct{ Cause error }

func (e *StoppedError) Error() string { return e.Cause.Error() }

func (e *StoppedError) Unwrap() error { return e.Cause }

// Run works until ctx ends, then finishes what is under way within
// ShutdownTimeout, flushes, leaves the group and returns nil. Any other end is
// an error: a [*StoppedError] with the Capturer's error, or with
// [kafka.ErrFenced] or [kafka.ErrRefused], or an error of the start.
func (p *Pipeline) Run(ctx context.Context) error {
	var committer *kafka.Committer
	err := kafka.AwaitCluster(ctx, StartPatience, p.conf.Log, func(ctx context.Context) error {
		if err := p.prepare(ctx); err != nil {
			return err
		}
		var err error
		committer, err = kafka.NewCommitter(ctx, p.commits)
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
	// The callbacks of the leaving find nothing owned. Where this process goes on,
	// its calls are finished first: the next ones are for the same orders.
	p.leave(o, cancelWork)
	running.Wait()
	o.captures.Wait()
	close(o.items)
	if cause != nil {
		return &StoppedError{Cause: cause}
	}
	return nil
}

// Reinitialise ends a transaction of this instance that hangs.
func (p *Pipeline) Reinitialise(ctx context.Context) error {
	c := p.committer.Load()
	if c == nil {
		return errors.New("this instance is about to take its transactional id, and ends it then")
	}
	return c.Reinitialise(ctx)
}

// leave closes the consumer while the owner's messages are still answered:
// closing calls the rebalance callbacks.
//
// A group that cannot be reached is not waited for past the time that a stop may
// take: it finds out by itself that this member is gone.
func (p *Pipeline) leave(o *owner, cancelWork func()) {
	defer cancelWork()
	patience := time.After(max(leaveReserve, p.conf.ShutdownTimeout-time.Since(o.stopFrom)))
	left := make(chan struct{})
	go func() {
		defer close(left)
		o.captures.Wait()
		cancelWork()
		p.consumer.Close()
	}()
	for {
		select {
		case m := <-p.messages:
			m.apply(o)
		case <-left:
			close(p.ended)
			return
		case <-patience:
			p.conf.Log.Warn("the group could not be left in time; it notices after KAFKA_SESSION_TIMEOUT")
			close(p.ended)
			return
		}
	}
}

func (p *Pipeline) consumerOptions(o *owner) []kgo.Opt {
	opts := []kgo.Opt{
		kgo.ConsumerGroup(p.conf.Group),
		kgo.ConsumeTopics(p.conf.Topics.Input),
		kgo.Balancers(groupBalancer{kgo.CooperativeStickyBalancer()}),
		kgo.DisableAutoCommit(),
		// An aborted transaction of the order service was never said.
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// Markers are records to us: they tell how far the topic was read.
		kgo.KeepControlRecords(),
		// Out of range is an error, never a jump.
		kgo.ConsumeResetOffset(kgo.NoResetOffset().AtStart()),
		kgo.BlockRebalanceOnPoll(),
		kgo.SessionTimeout(p.conf.SessionTimeout),
		kgo.HeartbeatInterval(min(3*time.Second, p.conf.SessionTimeout/3)),
		kgo.RebalanceTimeout(RebalanceTimeout),
		// A paused partition resumes no sooner than the fetch parked at the
		// broker ends.
		kgo.FetchMaxWait(200 * time.Millisecond),
		kgo.FetchMaxPartitionBytes(512 << 10),
		kgo.FetchMaxBytes(8 << 20),
		// A batch that unpacks to more than any topic takes is no records but a
		// trap: its partition halts.
		kgo.MaxDecompressBatchBytes(maxBatchBytes),
		// How soon added partitions are noticed; the library's is five minutes.
		kgo.MetadataMaxAge(30 * time.Second),
		kgo.WithHooks(&p.heard),
		kgo.OnPartitionsAssigned(o.onAssigned),
		kgo.OnPartitionsRevoked(o.onRevoked),
		kgo.OnPartitionsLost(o.onLost),
		kgo.OnOffsetsFetched(o.onOffsetsFetched),
		kgo.AdjustFetchOffsetsFn(o.adjustOffsets),
	}
	if p.conf.Static {
		opts = append(opts, kgo.InstanceID(p.conf.InstanceID))
	}
	return opts
}

// send hands a message to the owner; false when the owner has ended.
func (p *Pipeline) send(m message) bool {
	select {
	case p.messages <- m:
		return true
	case <-p.ended:
		return false
	}
}
