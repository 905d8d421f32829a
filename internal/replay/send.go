package replay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// Result is what a run sent.
type Result struct {
	Sent     int64 // records that were acknowledged, in all runs of this state
	TooLarge int64 // records that the input topic did not take for their size, in this run
	Deleted  int64 // offsets that retention took before they were read, in this run
}

// ErrInterrupted says that a run was ended before its end. Its state file is
// there to go on with.
var ErrInterrupted = errors.New("interrupted")

const (
	// saveEvery is how often the state is saved. After a crash so much is sent
	// again at most, and what was on its way.
	saveEvery = time.Second
	// flushWithin is how long an interrupted run waits for what is on its way.
	flushWithin = 10 * time.Second
)

// Send sends what Plan planned, from where the run is. The state file is there
// from before the first record until the last is acknowledged. On an error, which
// is [ErrInterrupted] at the end of ctx, the run can be resumed by it.
func (r *Run) Send(ctx context.Context, plan *Plan) (Result, error) {
	if err := r.state.write(r.conf.State); err != nil {
		return Result{Sent: r.state.Sent}, fmt.Errorf("%w: %w", ErrNotBegun, err)
	}
	working, stop := context.WithCancel(ctx)
	defer stop()
	s, err := r.newSending(stop)
	if err != nil {
		return Result{}, err
	}
	saved := make(chan struct{})
	go func() {
		defer close(saved)
		s.keepSaving(working)
	}()
	s.planned = plan.Send
	err = s.all(working)
	complete := s.settle(working)
	stop()
	<-saved
	failure := s.failure.Load()
	switch {
	case failure != nil: // it ended the rest
		err = *failure
	case err == nil && complete:
		return s.result(), os.Remove(r.conf.State)
	case ctx.Err() != nil:
		err = ErrInterrupted
	}
	return s.result(), errors.Join(err, s.save())
}
