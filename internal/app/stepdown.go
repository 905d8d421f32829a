package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"payment-capture/internal/contact"
	"payment-capture/internal/kafka"
)

// Step-down: an instance that the API or a broker has stopped answering, while the group
// still counts it as a member, would keep its partitions for ever without working them.
// If the group has other members, it stops its pipeline as for SIGTERM, so that they get
// the partitions, and joins again after a pause.

const (
	// silenceLimit is how long a peer may be silent: longer than a restart of a broker or
	// an election takes.
	silenceLimit = 2 * time.Minute
	// stepDownPause is how long the instance stays out of the group. It is longer than any
	// call, so that none of the last pipeline is under way when the next one starts, and
	// than the others need for the backlog of the partitions.
	stepDownPause = 2 * time.Minute
	// silenceCheck is the time between two checks.
	silenceCheck = 5 * time.Second
)

// stepDown is what the service needs to step down.
type stepDown struct {
	contact *contact.Watch
	total   *prometheus.CounterVec
	reason  atomic.Pointer[string] // why the instance is out of the group; nil: it is not
}

func newStepDown(reg prometheus.Registerer) *stepDown {
	d := &stepDown{
		contact: contact.NewWatch(silenceLimit),
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "payment_capture_step_downs_total",
			Help: "How often this instance left the group for a pause, by what did not answer it: api, broker.",
		}, []string{"silent"}),
	}
	reg.MustRegister(d.total)
	for _, kind := range []string{contact.KindAPI, contact.KindBroker} {
		d.total.WithLabelValues(kind)
	}
	return d
}

// apiAnswered records whether the API answered a request.
func (d *stepDown) apiAnswered(err error) {
	if peer := (contact.Peer{Kind: contact.KindAPI}); err == nil {
		d.contact.Answered(peer)
	} else {
		d.contact.Unanswered(peer, err)
	}
}

// runPipeline runs the current pipeline until it ends. Its error is a
// [*contact.SilentError] if the instance steps down.
func (s *Service) runPipeline(ctx context.Context) error {
	s.stepDown.contact.Reset()
	run, stop := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { s.watchSilence(run, stop) })
	err := s.pipeline.Load().Run(run)
	stop(nil)
	watching.Wait()
	silent, ok := errors.AsType[*contact.SilentError](context.Cause(run))
	// A flush that a silent broker left without an end is completed or aborted by the
	// producer's next start, or by its timeout; until then no offset is read.
	if ok && (err == nil || errors.Is(err, context.Canceled) || errors.Is(err, kafka.ErrUnknown)) {
		return silent
	}
	return err
}

// watchSilence stops the pipeline if a peer is silent and others would take over.
func (s *Service) watchSilence(ctx context.Context, stop context.CancelCauseFunc) {
	tick := time.NewTicker(silenceCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		silent := s.stepDown.contact.Silent()
		if silent == nil {
			continue
		}
		asking, cancel := context.WithTimeout(ctx, silenceCheck)
		others, err := s.pipeline.Load().Replaceable(asking)
		cancel()
		if err != nil {
			s.opts.Log.WarnContext(ctx, "stepping down postponed", slog.Any("error", err), slog.Any("cause", silent))
		}
		if others {
			stop(silent)
			return
		}
	}
}

// sitOut waits until the instance may join the group again.
func (s *Service) sitOut(ctx context.Context, silent *contact.SilentError) {
	s.stepDown.total.WithLabelValues(silent.Peer.Kind).Inc()
	reason := fmt.Sprintf("stepped down: %v; other instances work its partitions; check the network, firewall and proxy of this instance; "+
		"it joins the group again at %s", silent, time.Now().Add(stepDownPause).UTC().Format(time.RFC3339))
	s.stepDown.reason.Store(&reason)
	defer s.stepDown.reason.Store(nil)
	s.opts.Log.ErrorContext(ctx, "stepped down", slog.String("reason", reason), slog.Float64("pause_seconds", stepDownPause.Seconds()))
	select {
	case <-ctx.Done():
	case <-time.After(stepDownPause):
	}
}
