// Package txnrecovery completes hanging transactions.
//
// A transaction hangs (KIP-664) if its coordinator counts it as ended while one of its
// partitions has no commit or abort marker. Kafka 4.3.1 leaves one behind if a partition
// has no leader when markers are due: TransactionMarkerChannelManager skips it as
// "likely deleted already". That happens if all replicas restart at once. No timeout
// ends such a transaction: read-committed consumers stop at its first record, and the
// group's offsets stay unstable if it is their marker that is missing.
//
// Another transaction of the same producer id that adds the same partitions and writes
// nothing completes it, because one marker ends both. Any other transaction would decide
// about the hanging one too. So [Recovery.Acquire] completes it before a transactional id
// is used, and [Recovery.Check] looks again before a client uses a new connection, which
// is how it meets a restarted broker.
//
// The completing transaction repeats the coordinator's decision, if that is still known.
// Otherwise it commits if the group's offsets are stable: they may be those of the hanging
// transaction, and if not, the ledger replays the same outcomes. If the offsets hang too,
// it aborts, and the events are consumed again.
package txnrecovery

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/kafka/retry"
)

const (
	// TransactionTimeout is the time after which the broker aborts a transaction
	// that was not ended. It bounds how long a crashed instance delays the readers of
	// its outcomes, and the next owner of its partitions.
	TransactionTimeout = 15 * time.Second

	// HangingAfter is how long a transaction has to be open before it is treated as
	// hanging. The broker aborts any other one earlier.
	HangingAfter = 2 * TransactionTimeout
)

// seeRunbook ends errors that an operator has to act on.
const seeRunbook = `see "Hanging transactions" in docs/runbook.md`

// Errors of [Recovery.Check].
var (
	// ErrHanging: the last transaction of the transactional id hangs.
	ErrHanging = errors.New("the previous transaction hangs")
	// ErrIncomplete: no hanging transaction was found, but some partitions had no
	// leader that could be asked.
	ErrIncomplete = errors.New("partitions without a leader were not checked for hanging transactions")
)

// Identity is a transactional id and what its transactions write to.
type Identity struct {
	TransactionalID string
	Group           string   // the consumer group whose offsets they commit
	Input           string   // the topic of these offsets
	Topics          []string // the topics that they produce to
}

// Config configures a Recovery.
type Config struct {
	Identity
	NewClient func(...kgo.Opt) (*kgo.Client, error) // returns a client of the cluster
	Log       *slog.Logger
}

// Recovery completes the hanging transactions of one transactional id.
type Recovery struct {
	conf   Config
	client *kgo.Client
	admin  *kadm.Client
	// committed: the broker confirmed to the previous producing client that its last
	// transaction is committed. It decides if the coordinator no longer knows.
	committed atomic.Bool
}

// New returns a Recovery that sends its requests with client, which the caller
// closes.
func New(client *kgo.Client, conf Config) *Recovery {
	return &Recovery{conf: conf, client: client, admin: kadm.NewClient(client)}
}

// With returns a Recovery of the same transactional id that sends its requests with
// another client.
func (r *Recovery) With(client *kgo.Client) *Recovery {
	other := New(client, r.conf)
	other.committed.Store(r.committed.Load())
	return other
}

// Recover completes the open and hanging transactions that an earlier process left
// under a transactional id. Another process that uses the id is fenced.
func Recover(ctx context.Context, conf Config) error {
	client, err := conf.NewClient()
	if err != nil {
		return err
	}
	defer client.Close()
	producer, err := New(client, conf).Acquire(ctx)
	if err != nil {
		return err
	}
	producer.Close()
	return nil
}

// Complete completes a hanging transaction of our consumer group that a producer id
// has had open for openFor. If the producer id is our own, recoverOwn does it. If it
// is another instance's, Complete takes over its transactional id, which fences that
// instance, after a grace period in which the instance can do it itself. The error
// says why the transaction was not completed and what to do.
func Complete(ctx context.Context, conf Config, producerID int64, openFor time.Duration, recoverOwn func(context.Context) error) error {
	client, err := conf.NewClient()
	if err != nil {
		return err
	}
	defer client.Close()
	listed, err := kadm.NewClient(client).ListTransactions(ctx, []int64{producerID}, nil)
	if err != nil {
		return fmt.Errorf("find the transactional id of producer id %d: %w", producerID, err)
	}
	if len(listed) == 0 {
		return fmt.Errorf("complete the hanging transaction of producer id %d: no transactional id that we may describe has it; %s",
			producerID, seeRunbook)
	}
	t := listed.Sorted()[0] // a producer id belongs to one transactional id
	instance, ofGroup := strings.CutPrefix(t.TxnID, conf.Group+"/")
	switch {
	case !slices.Contains([]string{stateEmpty, stateCommitted, stateAborted}, t.State):
		return fmt.Errorf("the transaction of %q is in state %s; the broker ends it after its timeout", t.TxnID, t.State)
	case t.TxnID == conf.TransactionalID:
		return recoverOwn(ctx)
	case !ofGroup || strings.Contains(instance, "/"):
		return fmt.Errorf("complete the hanging transaction of %q: the id is not of group %q; %s", t.TxnID, conf.Group, seeRunbook)
	}
	if grace := 2*HangingAfter + jitter(conf.TransactionalID); openFor < grace {
		return fmt.Errorf("complete the hanging transaction of %q: its own instance may do so until it has been open for %s", t.TxnID, grace)
	}
	conf.TransactionalID = t.TxnID
	return Recover(ctx, conf)
}

// jitter returns a different part of HangingAfter for each instance. Without it all
// instances would take over a transactional id at once and fence each other.
func jitter(transactionalID string) time.Duration {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(transactionalID)) // never fails
	return time.Duration(hash.Sum32()) * time.Second % HangingAfter
}

// maxCompletions is how many hanging transactions Acquire completes in a row.
const maxCompletions = 4

// Acquire returns a client that owns the transactional id, made with opts, when no
// transaction of the id is open or hanging any more. An open transaction of the
// previous owner is aborted, and the previous owner is fenced.
func (r *Recovery) Acquire(ctx context.Context, opts ...kgo.Opt) (*kgo.Client, error) {
	opts = append(slices.Clone(opts), kgo.TransactionalID(r.conf.TransactionalID),
		kgo.TransactionTimeout(TransactionTimeout), kgo.RetryTimeout(TransactionTimeout))
	for range maxCompletions {
		last, err := r.Describe(ctx) // now: the coordinator forgets how it ended when the id is initialised
		if err != nil {
			return nil, err
		}
		client, err := r.conf.NewClient(opts...)
		if err != nil {
			return nil, err
		}
		completed, err := r.completeHanging(ctx, client, last)
		if err == nil && !completed {
			r.committed.Store(false)
			return client, nil
		}
		client.Close() // the completing transaction has raised the epoch above its own
		if err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("complete the hanging transaction of %q: it still hangs after %d completions; %s",
		r.conf.TransactionalID, maxCompletions, seeRunbook)
}

// completeHanging initialises the producer id of client, and completes a hanging
// transaction of it. It reports whether there was one.
func (r *Recovery) completeHanging(ctx context.Context, client *kgo.Client, last kadm.DescribedTransaction) (bool, error) {
	id, _, err := client.ProducerID(ctx)
	if err != nil {
		return false, fmt.Errorf("initialise transactional id %q: %w", r.conf.TransactionalID, err)
	}
	found, err := r.findOpen(ctx, id)
	if err != nil {
		return false, fmt.Errorf("find hanging transactions of %q: %w", r.conf.TransactionalID, err)
	}
	if len(found.open) == 0 {
		return false, nil
	}
	offsetsHang := found.open[offsetsTopic] != nil
	if !offsetsHang && found.unseen[offsetsTopic] != nil {
		if offsetsHang, err = r.offsetsUnstable(ctx); err != nil {
			return false, fmt.Errorf("read the offsets of group %q: %w", r.conf.Group, err)
		}
	}
	commit := decide(last, slices.Max(found.epochs), offsetsHang && !r.committed.Load())
	result := "abort"
	if commit {
		result = "commit"
	}
	r.conf.Log.WarnContext(ctx, "completing hanging transaction", slog.String("transactional_id", r.conf.TransactionalID),
		slog.Int64("producer_id", id), slog.Any("partitions", found.open.Sorted()),
		slog.String("last_state", last.State), slog.String("result", result))
	found.open.Merge(found.unseen)
	if err := r.runCompleting(ctx, found.open, commit); err != nil {
		return false, fmt.Errorf("complete the hanging transaction of %q: %w", r.conf.TransactionalID, err)
	}
	return true, nil
}

// Check returns nil if the last transaction of the transactional id has ended in
// every partition; it waits while the broker writes markers. Otherwise the error is
// [ErrHanging] or [ErrIncomplete], or says why Check could not look.
//
// A restarted broker can hold the rest of a transaction that it reported as
// committed: the marker is in the offsets topic, for example, and in no other one.
// The caller must check a client only if all its transactions so far were committed,
// because Acquire commits what Check found if the coordinator no longer knows how it
// ended.
func (r *Recovery) Check(ctx context.Context) error {
	for {
		last, err := r.Describe(ctx)
		if err != nil || last.State == "" {
			return err
		}
		if !slices.Contains([]string{stateEmpty, stateCommitted, stateAborted, stateOngoing}, last.State) {
			select { // its markers are being written
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(busyPause):
			}
			continue
		}
		found, err := r.findOpen(ctx, last.ProducerID)
		if err != nil {
			return err
		}
		// Records of an ongoing transaction have the current epoch.
		if len(found.open) == 0 || last.State == stateOngoing && slices.Min(found.epochs) >= last.ProducerEpoch {
			if found.incomplete {
				return ErrIncomplete
			}
			return nil
		}
		again, err := r.Describe(ctx)
		if err != nil {
			return err
		}
		if again.State == last.State && again.ProducerEpoch == last.ProducerEpoch && again.StartTimestamp == last.StartTimestamp {
			r.committed.Store(true)
			return ErrHanging
		}
		// Another transaction began meanwhile, and may be the one that is open.
	}
}

// readTimeout bounds how long a failing read is repeated.
const readTimeout = 5 * time.Second

// repeatRead is repeat for at most readTimeout.
func repeatRead(ctx context.Context, read func() error) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return repeat(ctx, read)
}

// busyPause is the pause before a request is repeated.
const busyPause = 20 * time.Millisecond

// repeat repeats a request until it succeeds, fails for good, or ctx ends. Brokers
// refuse a new transaction while they write the markers of the one before.
func repeat(ctx context.Context, request func() error) error {
	return retry.Do(ctx, retry.Every(busyPause), request, func(err error) bool {
		return retry.Transient(err) || errors.Is(err, kerr.ConcurrentTransactions)
	})
}
