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
)

// pollRecords bounds the records that are written into the store at once.
const pollRecords = 20_000

// session is one time of reading, from opening the store until it is damaged or
// the process ends.
type session struct {
	mu     sync.Mutex
	cancel context.CancelCauseFunc
	client *kgo.Client
	topic  string
	known  map[int32]bool // the partitions that are read
}

// begin begins a session.
func (s *session) begin(cancel context.CancelCauseFunc, client *kgo.Client, topic string, known map[int32]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel, s.client, s.topic, s.known = cancel, client, topic, known
}

// end ends the session for a reason; it does not wait.
func (s *session) end(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil {
		s.cancel(why)
	}
}

// addPartition reads a partition from its start, unless it is read already. It reports
// whether it is new.
func (s *session) addPartition(partition int32) (isNew bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil || s.known[partition] {
		return false
	}
	s.known[partition] = true
	s.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{s.topic: {partition: startOf(position{epoch: -1})}})
	return true
}

// startOf returns the offset from which a partition is read. There is no reset: if the
// offset is below the start or above the end, the ledger has lost records.
func startOf(p position) kgo.Offset { return kgo.NoResetOffset().At(p.next).WithEpoch(p.epoch) }

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
	for ctx.Err() == nil {
		err := l.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if h, ok := errors.AsType[*haltError](err); ok {
			l.halt(h.cause, h.reason)
			<-ctx.Done()
			return
		}
		if !errors.Is(err, errAgain) {
			l.log.WarnContext(ctx, "rebuilding damaged local store from the ledger's topic", slog.Any("error", err))
			l.reopen(ctx)
		}
		pause(ctx, retryPause)
	}
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
	l.availability.restore()
	defer l.changes.bumpAll()
	l.mu.Lock()
	if l.store != nil {
		if err := l.store.discard(); err != nil {
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
	s := l.store // only this goroutine changes it
	read, err := s.positions()
	if err != nil {
		return err
	}
	l.pending.reset(read)
	l.watermarks.reset(read)
	known, from := make(map[int32]bool), make(map[int32]kgo.Offset)
	for partition := range l.partitions {
		read[partition] = at(read, partition)
	}
	for partition, p := range read {
		known[partition], from[partition] = true, startOf(p)
	}
	client, err := l.conf.Kafka.NewClient(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{l.conf.Topic: from}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// Markers count as records here: they show how far the topic was read.
		kgo.KeepControlRecords(),
		// Much is written here, little at a time; what this process wrote it knows
		// before it is read back.
		kgo.FetchMinBytes(512<<10),
		kgo.FetchMaxWait(100*time.Millisecond),
		kgo.FetchMaxBytes(4<<20),
		kgo.FetchMaxPartitionBytes(1<<20),
		kgo.MaxDecompressBatchBytes(64<<20),
	)
	if err != nil {
		return &haltError{causeLost, fmt.Sprintf("the ledger cannot be read: %v", err)}
	}
	defer client.Close()
	l.session.begin(cancel, client, l.conf.Topic, known)
	defer l.session.begin(nil, nil, "", nil)
	var restoring sync.WaitGroup
	defer restoring.Wait()
	defer cancel(nil)
	restoring.Go(func() { l.restore(ctx, read, cancel) })
	return l.applyAll(ctx, s.newWriter(), client)
}

// applyAll puts what is fetched into the store, and fetches more meanwhile.
func (l *Ledger) applyAll(ctx context.Context, w *writer, client *kgo.Client) error {
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
			if err := l.apply(w, fetches); err != nil {
				return err
			}
			if err := l.readErrors(ctx, fetches); err != nil {
				return err
			}
		}
	}
}

func at(read map[int32]position, partition int32) position {
	if p, ok := read[partition]; ok {
		return p
	}
	return position{epoch: -1}
}

// apply puts what was fetched into the store. The error halts, or is the
// store's.
func (l *Ledger) apply(w *writer, fetches kgo.Fetches) error {
	// What this process wrote was in the pendingWrites before it was in the topic.
	ours := l.pending.events.Load() > 0
	read := make(map[int32]position)
	records := 0
	w.begin()
	defer w.drop()
	for it := fetches.RecordIter(); !it.Done(); {
		r := it.Next()
		records++
		read[r.Partition] = position{next: r.Offset + 1, epoch: r.LeaderEpoch}
		if r.Attrs.IsControl() {
			continue
		}
		e := entry{partition: r.Partition, offset: r.Offset, key: r.Key, value: r.Value}
		if err := w.add(e); err != nil {
			if errors.Is(err, ErrUnreadable) {
				return &haltError{causeUnreadable, fmt.Sprintf("ledger_unreadable: offset %d of partition %d of topic %q: %v", r.Offset, r.Partition,
					l.conf.Topic, err)}
			}
			return err
		}
		if ours {
			w.entries = append(w.entries, e)
		}
	}
	if records == 0 {
		return nil
	}
	if err := w.commit(read); err != nil {
		return err
	}
	for _, r := range w.rows {
		l.changes.bumpKey(r.id)
	}
	if err := l.pending.readBack(w.entries, read); err != nil {
		return err
	}
	ends := make(map[int32]int64)
	fetches.EachPartition(func(p kgo.FetchTopicPartition) { ends[p.Partition] = p.HighWatermark })
	l.watermarks.saw(ends)
	l.watermarks.advance(read, records)
	l.conf.Metrics.read(records, l.watermarks.progress().behind)
	return nil
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
		l.fault(fmt.Sprintf("partition %d of topic %q cannot be read", e.Partition, l.conf.Topic), e.Err)
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
