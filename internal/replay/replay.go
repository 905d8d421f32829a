// Package replay sends records of the input topic, or parked records, into the input
// topic again. What happens to each is decided by the service and
// its ledger; a plan predicts it.
//
// A run reads the records that existed when it began, so it does not read what it
// writes. Its progress is in a state file, from which it can be resumed.
package replay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
	"payment-capture/internal/scratch"
)

// Ledger is what was attempted and decided.
type Ledger interface {
	// Lookup returns the history of an event.
	Lookup(ctx context.Context, id string) (event.History, error)
	// Under returns the history of every event with an attempt or a payment for a charge.
	Under(ctx context.Context, charge event.Charge) ([]event.Known, error)
}

// Partitioner chooses the partition of a record.
type Partitioner string

// The partitioners.
const (
	SamePartition Partitioner = "same" // the one it was in
	ByKey         Partitioner = "key"  // that of its key, as Kafka's clients choose it
)

// Config configures a run.
type Config struct {
	Kafka         kafka.Config
	Input, Parked string // topics
	Rules         Rules
	Selection     Selection
	Partitioner   Partitioner
	Rate          float64 // records a second; 0: no limit
	State         string  // the state file
	Resume        bool
	Ledger        Ledger
	// Scratch is the directory for a temporary store, "": the system's temporary
	// directory; FS is the file system of it, nil: the operating system's.
	Scratch string
	FS      vfs.FS
	// Progress is called with the steps of a phase that are done; nil: not wanted. It
	// is called by one goroutine at a time.
	Progress func(phase string, done, total int64)
	Log      *slog.Logger
}

// ErrSelection reports that a selected partition does not exist.
var ErrSelection = errors.New("selection does not fit the topic")

// maxUnacked bounds the records that are sent and not acknowledged.
const maxUnacked = 1000

// Run is a replay, from its plan to its last record.
type Run struct {
	conf   Config
	client *kgo.Client
	fetch  *fetcher
	seen   seen
	source string
	target kafka.TopicInfo
	limits limits
	state  state
}

// New begins or resumes a run. It sends nothing. Apart from errors of the cluster it
// returns [ErrSelection], [ErrUnfinished], [ErrNoState] and [ErrOther].
func New(ctx context.Context, conf Config) (_ *Run, err error) {
	if conf.Progress == nil {
		conf.Progress = func(string, int64, int64) {}
	}
	r := &Run{conf: conf, source: conf.Input}
	if r.client, err = conf.Kafka.NewClient(); err != nil {
		return nil, err
	}
	r.fetch = newFetcher(r.client, conf.Log)
	defer func() {
		if err != nil {
			r.client.Close()
		}
	}()
	if r.state, err = r.stateOf(ctx); err != nil {
		return nil, err
	}
	r.limits = limitsOf(r.target.Config)
	if r.seen.Store, err = scratch.Open(scratch.Options{Parent: conf.Scratch, FS: conf.FS}); err != nil {
		return nil, err
	}
	return r, nil
}

// stateOf returns the state that the run begins with: a new one, or that of the file.
func (r *Run) stateOf(ctx context.Context) (s state, err error) {
	if r.conf.Resume {
		before, err := readState(r.conf.State)
		if err != nil {
			return s, err
		}
		if r.conf.Selection.empty() {
			r.conf.Selection = before.Selection
		}
		s = *before
	} else if err := absent(r.conf.State); err != nil {
		return s, err
	}
	if r.conf.Selection.Parked {
		r.source = r.conf.Parked
	}
	if r.target, err = r.fetch.topic(ctx, r.conf.Input); err != nil {
		return s, fmt.Errorf("TOPIC_ORDER_READY_TO_CAPTURE: %w", err)
	}
	source, err := r.fetch.topic(ctx, r.source)
	if err != nil {
		return s, fmt.Errorf("TOPIC_PARKED: %w", err)
	}
	from, to := markOf(r.source, source.ID), markOf(r.conf.Input, r.target.ID)
	if r.conf.Resume {
		return s, s.matches(&r.conf, from, to)
	}
	s = state{
		Version: stateVersion, Began: time.Now().Round(0).UTC(), Source: from, Target: to,
		Account: r.conf.Rules.Account, Partitioner: r.conf.Partitioner, Selection: r.conf.Selection,
	}
	s.Spans, err = r.fetch.spans(ctx, r.source, &s.Selection)
	return s, err
}

// merged returns a reader of the run's source.
func (r *Run) merged(spans []span) *merged {
	return newMerged(r.conf.Kafka, r.conf.Log, r.source, spans)
}

// Close ends the run. The state file of an unfinished run is kept.
func (r *Run) Close() error {
	r.client.Close()
	return r.seen.Close()
}

// KeepsTime reports whether the input topic keeps the times of the records that
// are sent: with LogAppendTime it does not.
func (r *Run) KeepsTime() bool { return !r.limits.appendTime }
