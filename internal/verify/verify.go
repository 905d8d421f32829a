// Package verify proves from the topics, and if wanted from the payment API,
// that every event has exactly one outcome with the right amount. It reads all
// of them once, sorts what it read by event in a store on the disk, and judges
// event by event, so its memory does not grow with the topics.
//
// What is read is what was committed. Two things keep it from seeing faults
// where there are none while the service runs: the group's committed offsets are
// read before the ends of the topics, so that whatever is settled by them lies
// below those ends; and that something is missing is said only where what calls
// for it was in the topics before the ends were asked for.
package verify

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
	"payment-capture/internal/scratch"
)

// Config fixes a run.
type Config struct {
	Kafka  kafka.Config
	Group  string // whose committed offsets say what is settled
	Topics Topics
	// Account is that of the service: events that name another one are not
	// looked at.
	Account string
	Decoder event.Decoder // that of the service
	// Since and Until bound the events that are judged, by the times of their
	// records in the input topic; zero: no bound. Until is not within.
	Since, Until time.Time
	// OncePerReference says that one external reference must not be captured
	// twice; otherwise that is a warning.
	OncePerReference bool
	// ScratchDir is where the store lies while it runs; "": the system's
	// directory for temporary files.
	ScratchDir string
	// Memory is how much of it the store takes, in bytes; 0: 64 MiB. What is
	// fetched comes on top.
	Memory int64
	// API reads the payments of the events; nil: they are not read.
	API *APIConfig
	Log *slog.Logger
	// Progress is called with the steps of a phase that are done; nil: not wanted. It
	// is called by one goroutine at a time.
	Progress func(phase string, done, total int64)
}

// Topics names the topics. Ledger is "" where there is none; the others may be
// the same, but for parked and input.
type Topics struct{ Input, Captured, Rejected, Parked, Ledger string }

// The phases of a run, in their order.
const (
	phaseRead  = "reading the topics"
	phaseCheck = "checking the events"
	phaseAPI   = "reading the payments"
)

// ErrNotAsked says that payments could not be read from the API, so nothing is
// proven by it.
var ErrNotAsked = errors.New("not every payment could be read from the API")

// Run verifies. Each finding is given to report, in the order of the events'
// ids. An error says that there is no proof, neither of a fault nor of its
// absence; findings are given nevertheless where the topics could be read.
func Run(ctx context.Context, conf Config, report func(Finding) error) (*Summary, error) {
	if conf.Progress == nil {
		conf.Progress = func(string, int64, int64) {}
	}
	v := &verifier{conf: conf, sum: newSummary(conf)}
	client, err := conf.Kafka.NewClient()
	if err != nil {
		return nil, err
	}
	v.snap, err = takeSnapshot(ctx, client, conf)
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

// verifier is a run under way.
type verifier struct {
	conf  Config
	snap  *snapshot
	store *scratch.Store
	sum   *Summary
	// What the topics still hold, once they have been read.
	input, verdicts, ledger held
	events                  []atomic.Int64 // of the input, by partition
	anyLost                 bool           // spaceLost is not empty
}

func (v *verifier) run(ctx context.Context, report func(Finding) error) error {
	began := time.Now()
	if err := v.readTopics(ctx); err != nil {
		return err
	}
	v.input, v.verdicts, v.ledger = v.snap.held(roleInput), v.snap.held(roleVerdict), v.snap.held(roleLedger)
	v.sum.noteReading(v, time.Since(began))
	if err := v.placeParked(ctx); err != nil {
		return err
	}
	if err := v.judgeAll(ctx); err != nil {
		return err
	}
	if err := v.judgeOffsets(); err != nil {
		return err
	}
	var unasked error
	if v.conf.API != nil {
		if unasked = v.askAll(ctx); ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return errors.Join(v.reportAll(report), unasked)
}

// reportAll gives the findings in the order of the events.
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
