package replay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/time/rate"
)

// Result is what a run sent.
type Result struct {
	Sent     int64 // records that were acknowledged, in all runs of this state
	TooLarge int64 // records that are too large for the input topic, in this run
	Deleted  int64 // offsets that were deleted before they were read, in this run
}

// ErrInterrupted reports that a run was interrupted. Its state file is kept to
// resume it.
var ErrInterrupted = errors.New("interrupted")

const (
	// saveEvery is how often the state is saved. After a crash the records of that
	// time, and those not acknowledged, are sent again.
	saveEvery = time.Second
	// flushWithin is how long an interrupted run waits for acknowledgements.
	flushWithin = 10 * time.Second
)

// Send sends what Plan planned, from where the run is. The state file exists from
// before the first record until the last is acknowledged. After an error, which is
// [ErrInterrupted] if ctx ended, the run can be resumed from it.
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
	complete := s.flush(working)
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

// sending sends the records of a run.
type sending struct {
	run      *Run
	client   *kgo.Client
	records  *merged
	track    *tracker
	planned  int64 // records to be sent
	before   int64 // records that were sent in earlier runs
	pace     *rate.Limiter
	places   chan struct{}      // one per record that is not acknowledged
	stop     context.CancelFunc // cancels the run's context
	failure  atomic.Pointer[error]
	tooLarge atomic.Int64
}

// maxBatchBytes is less than what the client writes at once.
const maxBatchBytes = 64 << 20

func (r *Run) newSending(stop context.CancelFunc) (*sending, error) {
	// Idempotent, and acknowledged by all replicas: the library's defaults.
	client, err := r.conf.Kafka.NewClient(
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(min(r.target.MaxMessageBytes, maxBatchBytes)),
		kgo.MaxBufferedRecords(maxUnacked))
	if err != nil {
		return nil, err
	}
	s := &sending{
		run: r, client: client, records: r.merged(r.state.Spans),
		track: newTracker(r.state.Spans, r.state.Sent), before: r.state.Sent,
		places: make(chan struct{}, maxUnacked), stop: stop,
	}
	s.pace = paceOf(r.conf.Rate)
	return s, nil
}

// paceOf returns a limiter of records per second; 0: no limit. The records of a
// twentieth of a second may be sent at once, because timers are not finer.
func paceOf(perSecond float64) *rate.Limiter {
	if perSecond == 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(rate.Limit(perSecond), max(1, int(math.Min(perSecond/20, 1e6))))
}

// all sends the remaining records. The error is the context's, or what cannot be
// read.
func (s *sending) all(ctx context.Context) error {
	for {
		rec, err := s.records.next(ctx)
		if err != nil || rec == nil {
			return err
		}
		out, err := s.choose(ctx, rec)
		if err != nil {
			return err
		}
		if out == nil {
			s.track.leaveOut(rec.Partition, rec.Offset)
			continue
		}
		if delay := s.pace.Reserve().Delay(); delay > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(delay):
			}
		}
		select {
		case s.places <- struct{}{}:
		case <-ctx.Done():
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		s.produce(ctx, rec, out)
		s.progress()
	}
}

// choose returns the record to send for one of the source; nil: none.
func (s *sending) choose(ctx context.Context, rec *kgo.Record) (*kgo.Record, error) {
	r := s.run
	j, err := r.candidate(ctx, rec)
	if err != nil || j == nil || !j.send {
		return nil, err
	}
	if old, err := r.superseded(j, rec); old || err != nil {
		return nil, err
	}
	// Otherwise it is sent whatever its class, and no lookup is needed.
	if r.state.Selection.Parked || !r.limits.keep(j.subject.message.Timestamp, time.Now()) {
		if _, err := r.classify(ctx, j); err != nil || !j.send {
			return nil, err
		}
	}
	out, _, _ := r.record(j)
	return out, nil
}

// produce sends a record, and releases its place when it is acknowledged or failed.
func (s *sending) produce(ctx context.Context, source, out *kgo.Record) {
	partition, offset := source.Partition, source.Offset
	end := s.track.begin(partition, offset)
	// Sending a record is not cancelled: it may be written already.
	s.client.Produce(context.WithoutCancel(ctx), out, func(_ *kgo.Record, err error) {
		switch {
		case err == nil:
			end(true)
		case errors.Is(err, kerr.MessageTooLarge):
			s.tooLarge.Add(1)
			s.run.conf.Log.ErrorContext(ctx, "record too large for the input topic",
				slog.String("remedy", "raise max.message.bytes of the topic, then send the record by its offset"),
				slog.String("topic", s.run.source), slog.Int64("partition", int64(partition)), slog.Int64("offset", offset))
			end(false)
		case errors.Is(err, kgo.ErrClientClosed): // counts as not sent
		default:
			s.fail(s.refused(err))
		}
		<-s.places
	})
}

// progress shows how many records were acknowledged in this run.
func (s *sending) progress() {
	s.run.conf.Progress("sending", s.track.acknowledged()-s.before, s.planned)
}

// fail ends the run for a reason, unless it was ended for another one before.
func (s *sending) fail(err error) {
	s.failure.CompareAndSwap(nil, &err)
	s.stop()
}

// refused returns the error of a record that the broker refused.
func (s *sending) refused(err error) error {
	topic := s.run.conf.Input
	if errors.Is(err, kerr.InvalidTimestamp) {
		return fmt.Errorf("topic %q refuses records of this age (message.timestamp.before.max.ms, message.timestamp.after.max.ms): %w", topic,
			err)
	}
	return fmt.Errorf("send to topic %q: %w", topic, err)
}

// flush waits until all records are acknowledged, not for long once ctx has ended. It
// reports whether all are, and closes the client.
func (s *sending) flush(ctx context.Context) (complete bool) {
	defer s.client.Close()
	defer s.records.close()
	err := s.client.Flush(ctx)
	if err != nil {
		rest, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushWithin)
		defer cancel()
		if err = s.client.Flush(rest); err != nil {
			s.run.conf.Log.WarnContext(ctx, "records not acknowledged count as not sent", slog.Any("error", err))
		}
	}
	s.progress()
	return err == nil && len(s.places) == 0
}

// keepSaving saves the state until ctx ends.
func (s *sending) keepSaving(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := s.save(); err != nil {
				s.fail(err)
				return
			}
		}
	}
}

// save writes the progress to the state file.
func (s *sending) save() error {
	state := &s.run.state
	state.Sent = s.track.apply(state.Spans)
	return state.write(s.run.conf.State)
}

func (s *sending) result() Result {
	return Result{Sent: s.track.acknowledged(), TooLarge: s.tooLarge.Load(), Deleted: s.records.deleted}
}
