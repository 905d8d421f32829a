package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/config"
)

// play sends the orders and waits until each is decided and all offsets are committed.
// It fails if the service ends before that.
func (s *stage) play(ctx context.Context, running *run) (*report, error) {
	orders, err := generate(s.conf.TopicInput, s.opts.Events, s.opts.Seed)
	if err != nil {
		return nil, err
	}
	watcher, err := kgo.NewClient(kgo.SeedBrokers(s.conf.KafkaBrokers...),
		kgo.ConsumeTopics(s.conf.TopicCaptured, s.conf.TopicRejected, s.conf.TopicParked),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return nil, err
	}
	defer watcher.Close()

	ctx, cancel := context.WithCancelCause(ctx)
	var others sync.WaitGroup
	defer others.Wait()
	defer cancel(nil)
	others.Go(func() {
		select {
		case <-running.ended:
			cancel(running.early())
		case <-ctx.Done():
		}
	})
	others.Go(func() {
		if err := s.client.ProduceSync(ctx, orders.records...).FirstErr(); err != nil {
			cancel(fmt.Errorf("send the orders: %w", err))
		}
	})

	r := newReport(orders)
	view := s.newView(r)
	err = s.watch(ctx, watcher, r, view)
	view.stop()
	if err != nil {
		return nil, err
	}
	r.took = time.Since(r.began)
	// Another decision after this would be a duplicate.
	if err := s.waitCommitted(ctx, watcher, r); err != nil {
		return nil, err
	}
	r.charges = s.sim.Charges()
	return r, nil
}

// watch reads decisions until every event has one.
func (s *stage) watch(ctx context.Context, watcher *kgo.Client, r *report, view *view) error {
	stalled := time.NewTimer(patience)
	defer stalled.Stop()
	for r.decided < len(r.expect) {
		pollCtx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		fetches := watcher.PollFetches(pollCtx)
		cancel()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		progressed := false
		var failed error
		fetches.EachRecord(func(rec *kgo.Record) {
			progressed = true
			failed = errors.Join(failed, r.see(s.conf, rec))
		})
		if failed != nil {
			return failed
		}
		view.show(s.sim.Charges().Calls, s.inFlight(ctx))
		if progressed {
			stalled.Reset(patience)
		}
		select {
		case <-stalled.C:
			return fmt.Errorf("no decision for %s; %d of %d events are decided", patience, r.decided, len(r.expect))
		default:
		}
	}
	return nil
}

// waitCommitted waits until the group has committed the end of the input, and reads
// the decisions that still arrive.
func (s *stage) waitCommitted(ctx context.Context, watcher *kgo.Client, r *report) error {
	admin := kadm.NewClient(s.client)
	deadline := time.Now().Add(patience)
	for {
		lags, err := admin.Lag(ctx, s.conf.KafkaGroup)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("fetch committed offsets: %w", err)
		}
		lag := lags[s.conf.KafkaGroup]
		pollCtx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		fetches := watcher.PollFetches(pollCtx)
		cancel()
		var failed error
		fetches.EachRecord(func(rec *kgo.Record) { failed = errors.Join(failed, r.see(s.conf, rec)) })
		if failed != nil {
			return failed
		}
		if lag.Error() == nil && lag.Lag.Total() == 0 {
			r.committed = true
			return nil
		}
		if time.Now().After(deadline) {
			return nil // the table shows that offsets are missing
		}
	}
}

// see adds a record of an outcome topic or of the dead-letter topic.
func (r *report) see(conf config.Config, rec *kgo.Record) error {
	var doc struct {
		ID   string `json:"id"`
		Data struct {
			EventID          string `json:"event_id"`
			Reason           string `json:"reason"`
			ProviderReplayed bool   `json:"provider_replayed"`
		} `json:"data"`
	}
	if err := json.Unmarshal(rec.Value, &doc); err != nil {
		return fmt.Errorf("decode %s/%d@%d: %w", rec.Topic, rec.Partition, rec.Offset, err)
	}
	v := seen{kind: "captured", id: doc.Data.EventID, reason: doc.Data.Reason}
	switch rec.Topic {
	case conf.TopicRejected:
		v.kind = "rejected"
	case conf.TopicParked:
		v.kind, v.id = "parked", doc.ID
		for _, h := range rec.Headers {
			if h.Key == "parked_reason" {
				v.reason = string(h.Value)
			}
		}
	}
	if doc.Data.ProviderReplayed {
		r.providerReplayed++
	}
	if _, ours := r.expect[v.id]; ours && len(r.decisions[v.id]) == 0 {
		r.decided++
	}
	r.decisions[v.id] = append(r.decisions[v.id], v)
	r.counts[v.kind]++
	return nil
}
