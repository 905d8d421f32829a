package replay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/time/rate"
)

// sending is a run's records on their way into the input topic.
type sending struct {
	run      *Run
	client   *kgo.Client
	records  *merged
	track    *tracker
	planned  int64 // records to be sent
	before   int64 // records that were sent in earlier runs
	pace     *rate.Limiter
	places   chan struct{}      // one is taken by each record on its way
	stop     context.CancelFunc // ends what uses the run's context
	failure  atomic.Pointer[error]
	tooLarge atomic.Int64
}

// maxBatchBytes is less than what the library writes at once.
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

// paceOf gives a limiter for so many records a second; 0: without a limit. A
// twentieth of a second's records may go at once, for timers are not that fine.
func paceOf(perSecond float64) *rate.Limiter {
	if perSecond == 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(rate.Limit(perSecond), max(1, int(math.Min(perSecond/20, 1e6))))
}

// all sends what is left. The error is ctx's, or says what cannot be read.
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

// choose gives the record to send for one of the source; nil: none is.
func (s *sending) choose(ctx context.Context, rec *kgo.Record) (*kgo.Record, error) {
	r := s.run
	j, err := r.judge(ctx, rec)
	if err != nil || j == nil || !j.send {
		return nil, err
	}
	if old, err := r.superseded(j, rec); old || err != nil {
		return nil, err
	}
	// Else it is sent whatever comes of it, and the ledger need not be asked.
	if r.state.Selection.Parked || !r.limits.keep(j.subject.message.Timestamp, time.Now()) {
		if _, err := r.classify(ctx, j); err != nil || !j.send {
			return nil, err
		}
	}
	out, _, _ := r.record(j)
	return out, nil
}

// produce puts a record on its way. It has a place, and gives it back.
func (s *sending) produce(ctx context.Context, source, out *kgo.Record) {
	partition, offset := source.Partition, source.Offset
	end := s.track.begin(partition, offset)
	// A record that was begun is not taken back: it may be written already.
	s.client.Produce(context.WithoutCancel(ctx), out, func(_ *kgo.Record, err error) {
		switch {
		case err == nil:
			end(true)
		case errors.Is(err, kerr.MessageTooLarge):
			s.tooLarge.Add(1)
			s.run.conf.Log.ErrorContext(ctx, "a record is too large to be sent: raise max.message.bytes of the input topic, and send it by its offset",
				slog.String("topic", s.run.source), slog.Int64("partition", int64(partition)), slog.Int64("offset", offset))
			end(false)
		case errors.Is(err, kgo.ErrClientClosed): // it counts as not sent
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

// refused says what the broker has against a record.
func (s *sending) refused(err error) error {
	topic := s.run.conf.Input
	if errors.Is(err, kerr.InvalidTimestamp) {
		return fmt.Errorf("topic %q refuses records of that time (message.timestamp.before.max.ms, message.timestamp.after.max.ms): %w", topic, err)
	}
	return fmt.Errorf("send to topic %q: %w", topic, err)
}

// settle waits until all that is on its way has arrived; once ctx has ended not
// for long. It reports whether all has. The client is closed then.
func (s *sending) settle(ctx context.Context) (complete bool) {
	defer s.client.Close()
	defer s.records.close()
	err := s.client.Flush(ctx)
	if err != nil {
		rest, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushWithin)
		defer cancel()
		if err = s.client.Flush(rest); err != nil {
			s.run.conf.Log.WarnContext(ctx, "the broker does not acknowledge what is on its way; it counts as not sent", slog.Any("error", err))
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

// save writes how far all is done.
func (s *sending) save() error {
	state := &s.run.state
	state.Sent = s.track.apply(state.Spans)
	return state.write(s.run.conf.State)
}

func (s *sending) result() Result {
	return Result{Sent: s.track.acknowledged(), TooLarge: s.tooLarge.Load(), Deleted: s.records.deleted}
}
