package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/kafka"
	"payment-capture/internal/ledger/entry"
	"payment-capture/internal/ledger/store"
)

// pollRecords bounds the records that are written into the store at once.
const pollRecords = 20_000

// session is one time of reading, from opening the store until it is damaged or
// the process ends.
type session struct {
	mu     sync.Mutex
	cancel context.CancelCauseFunc
}

// begin begins a session; nil: none goes on.
func (s *session) begin(cancel context.CancelCauseFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel = cancel
}

// end ends the session for a reason; it does not wait.
func (s *session) end(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil {
		s.cancel(why)
	}
}

// startOf returns the offset from which a partition is read. There is no reset: if the
// offset is below the start or above the end, the ledger has lost records.
func startOf(p store.Position) kgo.Offset {
	if p.From < p.Next {
		p.Epoch = -1 // that of the record before is not known
	}
	return kgo.NoResetOffset().At(p.From).WithEpoch(p.Epoch)
}

// haltError ends a session for good.
type haltError struct {
	cause  cause
	reason string
}

func (e *haltError) Error() string { return e.reason }

// errAgain ends a session that is to be begun again as it is.
var errAgain = errors.New("begin again")

// run opens the store and follows the topic until ctx ends. A store that is damaged is read again.
func (l *Ledger) run(ctx context.Context) {
	l.reopen(ctx)
	for wait := retryPause; ctx.Err() == nil; {
		began := time.Now()
		err := l.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if h, ok := errors.AsType[*haltError](err); ok {
			l.halt(h.cause, h.reason)
			<-ctx.Done()
			return
		}
		if errors.Is(err, errAgain) {
			pause(ctx, retryPause)
			continue
		}
		l.rebuild(err)
		l.reopen(ctx)
		if time.Since(began) > 10*rebuildPause {
			wait = retryPause
		}
		pause(ctx, wait)
		wait = min(2*wait, rebuildPause)
	}
}

// rebuildPause is the longest time between two rebuilds: on a disk that cannot be read,
// each would read the whole topic in vain.
const rebuildPause = time.Minute

// rebuild makes the ledger unavailable until the store is read again.
func (l *Ledger) rebuild(why error) {
	l.log.Warn("rebuilding local store from the ledger's topic", slog.Any("reason", why))
	l.availability.restore(why.Error())
}

// retryPause is the time between two tries of something that failed.
const retryPause = 500 * time.Millisecond

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// reopen opens the store, after it removed the damaged one that was open, until
// ctx ends.
func (l *Ledger) reopen(ctx context.Context) {
	defer l.changes.bumpAll()
	l.mu.Lock()
	if l.store != nil {
		if err := l.store.Discard(); err != nil {
			l.log.WarnContext(ctx, "removing local store of the ledger failed", slog.Any("error", err))
		}
		l.store = nil
	}
	l.mu.Unlock()
	for ctx.Err() == nil {
		err := l.open(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		l.fault("the ledger's local store cannot be opened", err)
		pause(ctx, 10*retryPause)
	}
}

// follow reads the topic into the store. The error is why it ended.
func (l *Ledger) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := l.store               // only this goroutine changes it
	read, err := s.Positions() //nolint:contextcheck // local reads, which do not wait
	if err != nil {
		return err
	}
	if err := l.resetClaims(s); err != nil { //nolint:contextcheck // likewise
		return err
	}
	l.watermarks.reset(read)
	from := make(map[int32]kgo.Offset)
	for partition := range l.partitions {
		p, ok := read[partition]
		if !ok {
			p.Epoch = -1
			read[partition] = p
		}
		from[partition] = startOf(p)
	}
	client, err := l.conf.Kafka.NewClient(
		l.conf.Kafka.Metrics.Instrument("ledger_reader"),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{l.conf.Topic: from}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		// Attempts must be seen at once, whatever transactions are open: see applier.
		kgo.FetchIsolationLevel(kgo.ReadUncommitted()),
		kgo.KeepControlRecords(),
		kgo.FetchMinBytes(1),
		kgo.FetchMaxWait(time.Second),
		kgo.FetchMaxBytes(4<<20),
		kgo.FetchMaxPartitionBytes(1<<20),
		kgo.MaxDecompressBatchBytes(64<<20),
	)
	if err != nil {
		return &haltError{causeLost, fmt.Sprintf("the ledger cannot be read: %v", err)}
	}
	defer client.Close()
	l.session.begin(cancel)
	defer l.session.begin(nil)
	var restoring sync.WaitGroup
	defer restoring.Wait()
	defer cancel(nil)
	restoring.Go(func() { l.restore(ctx, read, cancel) })
	return l.applyAll(ctx, newApplier(l, s), client)
}

// resetClaims takes the open attempts from the store.
func (l *Ledger) resetClaims(s *store.Store) error {
	stored, err := s.Attempts()
	if err != nil {
		return err
	}
	open := make([]*openAttempt, len(stored))
	for i, a := range stored {
		attempt, err := entry.DecodeAttempt(a.Value)
		if err != nil {
			return err
		}
		open[i] = &openAttempt{
			id: a.ID, owner: a.Owner, partition: a.Partition, offset: a.Offset, last: a.Offset, written: a.Written, attempt: &attempt,
		}
	}
	l.claims.reset(open)
	return nil
}

// applyAll puts what is fetched into the store, and fetches more meanwhile.
func (l *Ledger) applyAll(ctx context.Context, a *applier, client *kgo.Client) error {
	polled := make(chan kgo.Fetches)
	var polling sync.WaitGroup
	defer polling.Wait()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	polling.Go(func() {
		for ctx.Err() == nil {
			select {
			case polled <- client.PollRecords(ctx, pollRecords):
			case <-ctx.Done():
			}
		}
	})
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case fetches := <-polled:
			if err := a.apply(fetches); err != nil {
				return err
			}
			if err := l.readErrors(ctx, fetches); err != nil {
				return err
			}
		}
	}
}

// readErrors handles fetch errors. Temporary ones are reported in Health; the returned
// error ends the session.
func (l *Ledger) readErrors(ctx context.Context, fetches kgo.Fetches) error {
	for _, e := range fetches.Errors() {
		if e.Err == nil || errors.Is(e.Err, context.Canceled) {
			continue
		}
		if _, ok := errors.AsType[*kgo.ErrDataLoss](e.Err); ok {
			return l.lost(fmt.Sprintf("partition %d lost records (%v)", e.Partition, e.Err))
		}
		if errors.Is(e.Err, kerr.OffsetOutOfRange) {
			return l.outOfRange(ctx, e.Partition)
		}
		l.fault(fmt.Sprintf("partition %d of topic %q cannot be read", e.Partition, l.conf.Topic), kafka.NeedsTopic(e.Err, "Read", l.conf.Topic))
		pause(ctx, retryPause)
	}
	return nil
}

// lost returns the error that halts a ledger that lost records.
func (l *Ledger) lost(what string) error {
	return &haltError{causeLost, fmt.Sprintf("%v: topic %q: %s: events that were charged would be taken for new: "+
		"see ledger_missing in docs/runbook.md", ErrMissing, l.conf.Topic, what)}
}

// outOfRange returns which records are lost if the next offset of a partition cannot be
// read. It waits for the answer of the broker.
func (l *Ledger) outOfRange(ctx context.Context, partition int32) error {
	at := l.watermarks.at()[partition]
	for ctx.Err() == nil {
		start, end, err := l.bounds(ctx, partition)
		switch {
		case err != nil:
			l.fault(fmt.Sprintf("the bounds of topic %q cannot be asked for", l.conf.Topic), err)
			pause(ctx, retryPause)
		case at < start && l.conf.Retention > 0:
			return l.continueAt(partition, start) //nolint:contextcheck // local reads, which do not wait
		case at < start:
			return l.lost(fmt.Sprintf("the records of partition %d from offset %d to %d were deleted", partition, at, start-1))
		case at > end:
			return l.lost(fmt.Sprintf("partition %d ends at offset %d, but had records up to %d", partition, end, at-1))
		default:
			return errAgain
		}
	}
	return context.Cause(ctx)
}
