package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
)

// ErrMissing reports that the ledger is not what it was: another topic under its
// name, records gone, or a policy that deletes. It must not be read as "never
// attempted".
var ErrMissing = errors.New("ledger_missing")

// Config configures a Ledger.
type Config struct {
	Kafka kafka.Config
	Topic string
	// Dir is the parent of the local store's directory; it is created if it is
	// missing. The ledger may remove everything in the store's directory.
	Dir string
	// FS is the file system of Dir; nil: the operating system's.
	FS      vfs.FS
	Log     *slog.Logger
	Metrics *Metrics // nil: none
	// EndHanging completes a hanging transaction of a producer id that was open for a
	// duration. The error names why it is still open, and the remedy. nil: the
	// ledger completes none.
	EndHanging func(ctx context.Context, producer int64, openFor time.Duration) error
}

// storeDir is the store's directory in Config.Dir.
const storeDir = "store"

// Ledger is the ledger as one instance sees it: the topic, the local store that
// follows all of its partitions, and what this process wrote and has not read
// back. It is safe for concurrent use.
type Ledger struct {
	conf         Config
	log          *slog.Logger
	availability *availability
	watermarks   *watermarks
	pending      *pendingWrites
	changes      *changes // the pendingWrites's
	writes       *attemptWriter
	faults       faults
	disk         *diskState
	memTable     uint64     // bytes of the store's tables in memory; 0: the default
	ending       sync.Mutex // a transaction that hangs
	fresh        freshness

	// Set by Start.
	client     *kgo.Client // for metadata requests
	admin      *kadm.Client
	tags       tags
	partitions int32
	stop       context.CancelFunc
	work       sync.WaitGroup

	session session

	mu    sync.RWMutex // held for reading while the store is used
	store *store       // nil: not open
	ended bool         // it is closed for good
}

// New returns a Ledger. It contacts and opens nothing before Start.
func New(conf Config) *Ledger {
	if conf.FS == nil {
		conf.FS = vfs.Default
	}
	if conf.Log == nil {
		conf.Log = slog.New(slog.DiscardHandler)
	}
	l := &Ledger{
		conf: conf, log: conf.Log, availability: newAvailability(), watermarks: newWatermarks(), pending: newPendingWrites(),
		disk: newDiskState(conf.Log),
	}
	l.changes, l.writes = l.pending.changes, newAttemptWriter(l)
	return l
}

// Start checks the topic and begins to open the local store and to follow. After
// an error it can be called again. The error is that of [kafka.Inspect] if the topic
// does not exist, or [ErrMissing] if its policy deletes records.
func (l *Ledger) Start(ctx context.Context) (err error) {
	if l.client, err = l.conf.Kafka.NewClient(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			l.client.Close()
		}
	}()
	l.admin = kadm.NewClient(l.client)
	info, err := kafka.Inspect(ctx, l.admin, l.conf.Topic)
	if err != nil {
		if errors.Is(err, kerr.UnknownTopicOrPartition) {
			return fmt.Errorf("the ledger: if it was there before, do not recreate it: see ledger_missing in docs/runbook.md: %w", err)
		}
		return fmt.Errorf("the ledger: %w", err)
	}
	t := info[l.conf.Topic]
	if reason := unfitPolicy(l.conf.Topic, t.Config); reason != "" {
		return fmt.Errorf("%w: %w: %s", ErrMissing, kafka.ErrUnfit, reason)
	}
	meta, err := l.admin.BrokerMetadata(ctx)
	if err != nil {
		return fmt.Errorf("ask for the cluster's id: %w", err)
	}
	l.tags = tags{clusterID: meta.Cluster, topicID: t.ID}
	l.partitions = int32(t.Partitions) //nolint:gosec // G115: it was an int32
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	l.work.Go(func() { l.run(work) })
	l.work.Go(func() { l.watch(work) })
	l.work.Go(func() { l.keepFresh(work) })
	return nil
}

// open opens the store.
func (l *Ledger) open(ctx context.Context) error {
	s, err := openStore(ctx, storeConfig{
		fs: l.conf.FS, dir: l.conf.FS.PathJoin(l.conf.Dir, storeDir), tags: l.tags, log: l.log, damaged: l.session.end, disk: l.disk,
		memTable: l.memTable,
		failed: func(err error) {
			if l.disk.reason() == "" { // else it was logged already
				l.fault("the local store of the ledger fails", err)
			}
		},
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.store = s
	return nil
}

// Close stops following, waits briefly for writes to be acknowledged, and
// closes the store.
func (l *Ledger) Close() error {
	if l.stop == nil {
		return nil // it was never started
	}
	l.stop()
	l.work.Wait()
	l.writes.close()
	l.client.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if l.store == nil {
		return nil
	}
	err := l.store.close()
	l.store = nil
	return err
}

// TopicID is the topic's id at Start.
func (l *Ledger) TopicID() [16]byte { return l.tags.topicID }

// Partition returns the ledger's partition for the events of a partition of the
// input: its number modulo the ledger's count at Start.
func (l *Ledger) Partition(input int32) int32 { return input % l.partitions }

// errClosed is the error of a ledger that is closed, or was not started.
var errClosed = errors.New("the ledger is closed")

// Lookup returns the history of an event: from the store, and from the pending writes
// of this process. It waits while the store is being read again, and while the
// ledger is halted.
func (l *Ledger) Lookup(ctx context.Context, id string) (event.History, error) {
	return withStore(ctx, l, func(s *store) (event.History, error) { return l.lookup(s, id) })
}

func (l *Ledger) lookup(s *store, id string) (event.History, error) {
	var k historyBuilder
	withdrawn := l.pending.addTo(id, &k) // before the store: see pendingWrites
	if err := s.get(id, k.addExcept(withdrawn)); err != nil {
		return event.History{}, err
	}
	return k.history(id)
}

// All calls a function with every event in the store, in the order of their ids,
// until the function returns an error. Pending writes are not included.
func (l *Ledger) All(ctx context.Context, use func(id string, h event.History) error) error {
	if err := l.availability.await(ctx); err != nil {
		return err
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.store == nil {
		return errClosed
	}
	return errors.Join(l.store.all(ctx, use), l.store.usable())
}

// replacing is the polling interval while the store is being replaced.
const replacing = 10 * time.Millisecond

// withStore waits until the store is complete, and calls question with it. If the
// store turns out to be damaged, it is rebuilt from the topic, and question is called
// again.
func withStore[T any](ctx context.Context, l *Ledger, question func(*store) (T, error)) (T, error) {
	for {
		var answer T
		if err := l.availability.await(ctx); err != nil {
			return answer, err
		}
		l.mu.RLock()
		s, ended, err := l.store, l.ended, errClosed
		if s != nil {
			if answer, err = question(s); err == nil {
				err = s.usable()
			}
		}
		l.mu.RUnlock()
		switch {
		case s == nil && !ended: // it is being replaced, so the ledger is not available, or soon will not be
			pause(ctx, replacing)
			if ctx.Err() != nil {
				return answer, ctx.Err()
			}
		case err == nil, errors.Is(err, errClosed):
			return answer, err
		case errors.Is(err, ErrUnreadable):
			l.halt(causeUnreadable, fmt.Sprintf("ledger_unreadable: %v", err))
		default:
			l.availability.restore()
			l.session.end(err)
		}
	}
}

// Health is the state of the ledger.
type Health struct {
	State  string    `json:"state"`            // restoring, following or halted
	Reason string    `json:"reason,omitempty"` // why it does not follow, or cannot be written, and what to do
	Since  time.Time `json:"since,omitzero"`
	// DiskFailing is true while the local store cannot be written, for
	// example because its disk is full.
	DiskFailing bool    `json:"disk_failing,omitempty"`
	Read        int64   `json:"read"`     // records read since the start
	Behind      int64   `json:"behind"`   // records of the topic that are not read yet
	Restore     float64 `json:"restored"` // how much of what there was to read at the start is read, 0 to 1
}

// Health returns the state.
func (l *Ledger) Health() Health {
	p := l.watermarks.progress()
	h := Health{Read: p.records, Behind: p.behind, Restore: p.part}
	h.State, h.Reason, h.Since = l.availability.current()
	disk := l.disk.reason()
	h.DiskFailing = disk != ""
	if h.Reason == "" {
		h.Reason = disk
	}
	for _, reason := range []func() string{l.writes.problem, l.faults.reason} {
		if h.Reason == "" {
			h.Reason = reason()
		}
	}
	return h
}
