// Package verify proves from the topics, and optionally from the payment API, that
// every event has exactly one outcome with the right amount. It reads the topics
// once, sorts what it read by event in a store on the disk, and checks event by
// event, so its memory does not grow with the topics.
//
// Only committed records are read. Two rules prevent false findings while the
// service runs: the group's committed offsets are
// read before the ends of the topics, so that the outcomes of what they complete lie
// below those ends; and a missing record is reported only if its cause was in the
// topics before the ends were listed.
package verify

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"payment-capture/internal/kafka"
	"payment-capture/internal/rules"
	"payment-capture/internal/scratch"
)

// Config configures a run.
type Config struct {
	Kafka  kafka.Config
	Group  string // its committed offsets tell which records are completed
	Topics Topics
	// Account is that of the service: events of another one are not checked.
	Account string
	// Since and Until bound the events that are checked, by the times of their
	// records in the input topic; zero: no bound. Until is not within.
	Since, Until time.Time
	// Guard and DuplicateWindow are those of the service. A reference that is captured
	// twice is a difference if the guard should have prevented it, else a warning.
	Guard           rules.Guard
	DuplicateWindow time.Duration
	// ScratchDir is the directory for a temporary store; "": the system's temporary
	// directory.
	ScratchDir string
	// Memory bounds the memory of the store, in bytes; 0: 64 MiB. Fetched records
	// come on top.
	Memory int64
	// API reads the payments of the events; nil: they are not read.
	API *APIConfig
	Log *slog.Logger
	// Progress is called with the steps of a phase that are done; nil: not wanted. It
	// is called by one goroutine at a time.
	Progress func(phase string, done, total int64)
}

// Topics names the topics. Ledger is "" if there is none; the others may be
// the same, except parked and input.
type Topics struct{ Input, Captured, Rejected, Parked, Ledger string }

// The phases of a run, in their order.
const (
	phaseRead  = "reading the topics"
	phaseCheck = "checking the events"
	phaseAPI   = "reading the payments"
)

// ErrNotAsked reports that payments could not be read from the API, so it proves
// nothing.
var ErrNotAsked = errors.New("not every payment could be read from the API")

// Run verifies the topics and calls report with each finding, ordered by event id.
// An error means that nothing is proven, neither a fault nor its absence; findings
// are reported nevertheless if the topics could be read.
func Run(ctx context.Context, conf Config, report func(Finding) error) (*Summary, error) {
	if conf.Progress == nil {
		conf.Progress = func(string, int64, int64) {}
	}
	v := &verifier{conf: conf, sum: newSummary(conf)}
	client, err := conf.Kafka.NewClient()
	if err != nil {
		return nil, err
	}
	v.snap, err = newSnapshot(ctx, client, conf)
	client.Close()
	if err != nil {
		return nil, err
	}
	v.store, err = scratch.Open(scratch.Options{Parent: conf.ScratchDir, Memory: conf.Memory})
	if err != nil {
		return nil, err
	}
	v.events = make([]atomic.Int64, len(v.snap.input.partitions))
	err = v.run(ctx, report)
	return v.sum, errors.Join(err, v.store.Close())
}

// verifier is a run.
type verifier struct {
	conf  Config
	snap  *snapshot
	store *scratch.Store
	sum   *Summary
	// What the topics still have; set after reading.
	input, results, ledger kept
	events                 []atomic.Int64 // of the input, by partition
	anyLost                bool           // spaceLost is not empty
}

func (v *verifier) run(ctx context.Context, report func(Finding) error) error {
	began := time.Now()
	if err := v.readTopics(ctx); err != nil {
		return err
	}
	v.input, v.results, v.ledger = v.snap.kept(roleInput), v.snap.kept(roleResult), v.snap.kept(roleLedger)
	v.sum.noteReading(v, time.Since(began))
	if err := v.matchParked(ctx); err != nil {
		return err
	}
	if err := v.checkEvents(ctx); err != nil {
		return err
	}
	if err := v.checkOffsets(); err != nil {
		return err
	}
	var unread error
	if v.conf.API != nil {
		if unread = v.askAll(ctx); ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return errors.Join(v.reportAll(report), unread)
}

// reportAll reports the findings, ordered by event.
func (v *verifier) reportAll(report func(Finding) error) error {
	return v.each(spaceFinding, func(_ []byte, value scratch.Value) error {
		f, err := decode[Finding](value)
		if err != nil {
			return err
		}
		v.sum.count(f)
		return report(f)
	})
}
