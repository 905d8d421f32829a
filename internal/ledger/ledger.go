// Package ledger keeps attempts and decisions by event id: a compacted topic, and on
// each instance a local store that follows it. With it the service recognises an event
// that comes again after the payment API has forgotten its key, and several instances
// agree on who may call the API for an event or an order: see claims.go.
//
// An attempt is written before the first call, a decision in the transaction that
// carries the outcome. All entries of one external reference lie in one partition of
// the topic. The keys of attempts name the process that wrote them, so that nobody
// erases the attempt of another one.
package ledger

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
	"payment-capture/internal/ledger/entry"
	"payment-capture/internal/ledger/store"
)

// ErrMissing reports that the ledger is not what it was: another topic under its
// name, records gone, or a policy that deletes. It must not be read as "never
// attempted".
var ErrMissing = errors.New("ledger_missing")

// Config configures a Ledger.
type Config struct {
	Kafka kafka.Config
	Topic string
	// Retention is how long attempts and decisions are kept (LEDGER_RETENTION); 0: for ever.
	Retention time.Duration
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

// Ledger is the ledger as one instance sees it: the topic, the local store that
// follows all of its partitions, and the claims and pending decisions of this process.
// It is safe for concurrent use.
type Ledger struct {
	conf         Config
	log          *slog.Logger
	owner        string // of this process's attempts
	availability *availability
	watermarks   *watermarks
	changes      *changes
	pending      *pendingDecisions
	claims       *claims
	writer       *writer
	faults       faults
	disk         *store.DiskState
	memTable     uint64     // bytes of the store's tables in memory; 0: the default
	ending       sync.Mutex // a transaction that hangs
	fresh        freshness
	openSeen     atomic.Int64 // when an open transaction last held back the end of the topic for long, in Unix seconds
	parked       atomic.Pointer[Parked]

	// Set by Start.
	client     *kgo.Client // for metadata requests
	admin      *kadm.Client
	clusterID  string
	topicID    [16]byte
	partitions int32
	stop       context.CancelFunc
	work       sync.WaitGroup

	session session

	mu    sync.RWMutex // held for reading while the store is used
	store *store.Store // nil: not open
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
		conf: conf, log: conf.Log, owner: rand.Text(), availability: newAvailability(), watermarks: newWatermarks(),
		changes: newChanges(), disk: store.NewDiskState(conf.Log),
	}
	l.pending = newPendingDecisions(l.changes)
	l.claims = newClaims(l.owner, l.pending, l.changes)
	l.writer = newWriter(l)
	return l
}

// Start checks the topic and begins to open the local store and to follow. After
// an error it can be called again. The error is that of [kafka.Inspect] if the topic
// does not exist, or [ErrMissing] if its policy deletes records too early.
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
	if reason := l.unfitPolicy(t.Config); reason != "" {
		return fmt.Errorf("%w: %w: %s", ErrMissing, kafka.ErrUnfit, reason)
	}
	meta, err := l.admin.BrokerMetadata(ctx)
	if err != nil {
		return fmt.Errorf("ask for the cluster's id: %w", err)
	}
	l.clusterID, l.topicID = meta.Cluster, t.ID
	l.partitions = int32(t.Partitions) //nolint:gosec // G115: it was an int32
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	l.work.Go(func() { l.run(work) })
	l.work.Go(func() { l.watch(work) })
	l.work.Go(func() { l.keepFresh(work) })
	l.work.Go(func() { l.measure(work) })
	l.work.Go(func() { l.countParked(work) })
	if l.conf.Retention > 0 {
		l.work.Go(func() { l.sweep(work) })
	}
	return nil
}

// storeDir returns the store's directory.
func (l *Ledger) storeDir() string { return l.conf.FS.PathJoin(l.conf.Dir, "store") }

// open opens the store, and takes the open attempts from it.
func (l *Ledger) open(ctx context.Context) error {
	s, err := store.Open(ctx, store.Config{
		FS: l.conf.FS, Dir: l.storeDir(), Tags: fmt.Sprintf("cluster %s, topic %x", l.clusterID, l.topicID),
		Log: l.log, Replacing: l.rebuild, Damaged: l.session.end, Disk: l.disk, MemTable: l.memTable,
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
	l.writer.close()
	l.client.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if l.store == nil {
		return nil
	}
	err := l.store.Close()
	l.store = nil
	return err
}

// TopicID is the topic's id at Start.
func (l *Ledger) TopicID() [16]byte { return l.topicID }

// partition returns the partition of the entries of an event under a reference; "":
// none. It depends on the count at Start, which must not change while instances run.
func (l *Ledger) partition(reference, id string) int32 {
	return entry.Partition(reference, id, l.partitions)
}

// errClosed is the error of a ledger that is closed, or was not started.
var errClosed = errors.New("the ledger is closed")

// replacing is the polling interval while the store is being replaced.
const replacing = 10 * time.Millisecond

// withStore waits until the store is complete, and calls question with it. If the
// store turns out to be damaged, it is rebuilt from the topic, and question is called
// again.
func withStore[T any](ctx context.Context, l *Ledger, question func(*store.Store) (T, error)) (T, error) {
	for {
		var answer T
		if err := l.availability.await(ctx); err != nil {
			return answer, err
		}
		l.mu.RLock()
		s, ended, err := l.store, l.ended, errClosed
		if s != nil {
			if answer, err = question(s); err == nil {
				err = s.Usable()
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
		case errors.Is(err, entry.ErrUnreadable):
			l.halt(causeUnreadable, fmt.Sprintf("ledger_unreadable: %v", err))
		default:
			l.availability.restore(err.Error())
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

// Following reports whether the store holds what it must.
func (h Health) Following() bool { return h.State == stateFollowing }

// Health returns the state.
func (l *Ledger) Health() Health {
	p := l.watermarks.progress()
	h := Health{Read: p.records, Behind: p.behind, Restore: p.part}
	var halted string
	h.State, halted, h.Since = l.availability.current()
	disk := l.disk.Reason()
	h.DiskFailing = disk != ""
	// A disk that is full for long is what makes the ledger stale.
	h.Reason = cmp.Or(disk, halted, l.writer.problem(), l.faults.reason(), l.availability.rebuilding())
	return h
}

// Records returns the records that a decision adds to its flush: the decision, and
// tombstones for the attempts on the event that it ends.
func (l *Ledger) Records(id string, d *event.Decision) ([]*kgo.Record, error) {
	value, err := entry.EncodeDecision(d)
	if err != nil {
		return nil, err
	}
	reference := d.Attempt.Reference
	if d.Outcome != nil {
		reference = d.Outcome.ExternalReference
	}
	at := l.partition(reference, id)
	records := []*kgo.Record{{Topic: l.conf.Topic, Partition: at, Key: entry.DecisionKey(id), Value: value}}
	for _, a := range l.claims.of(id) {
		// One in another partition was written when the topic had fewer.
		records = append(records, &kgo.Record{Topic: l.conf.Topic, Partition: a.partition, Key: entry.AttemptKey(id, a.owner)})
	}
	return records, nil
}
