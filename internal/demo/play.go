package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/config"
)

// play sends the orders and watches until each has a verdict and all offsets
// are committed.
func (s *stage) play(ctx context.Context, serviceEnded <-chan error) (*report, error) {
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
	defer cancel(nil)
	go func() {
		select {
		case err := <-serviceEnded:
			cancel(fmt.Errorf("the service ended: %w", err))
		case <-ctx.Done():
		}
	}()
	sent := make(chan error, 1)
	go func() { sent <- s.client.ProduceSync(ctx, orders.records...).FirstErr() }()

	r := &report{expect: orders.expect, other: orders.other, began: time.Now(), verdicts: make(map[string][]seen)}
	view := s.newView(r)
	err = s.watch(ctx, watcher, r, view)
	view.stop()
	if err != nil {
		return nil, err
	}
	if err := <-sent; err != nil {
		return nil, fmt.Errorf("send the orders: %w", err)
	}
	r.took = time.Since(r.began)
	// What comes now would be one verdict too many.
	if err := s.waitCommitted(ctx, watcher, r); err != nil {
		return nil, err
	}
	r.ledger = s.sim.Ledger()
	return r, nil
}

// watch takes verdicts until every event has one.
func (s *stage) watch(ctx context.Context, watcher *kgo.Client, r *report, view *view) error {
	stalled := time.NewTimer(patience)
	defer stalled.Stop()
	for r.decided() < len(r.expect) {
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
		view.show(s.sim.Ledger().Calls)
		if progressed {
			stalled.Reset(patience)
		}
		select {
		case <-stalled.C:
			return fmt.Errorf("no verdict came for %s; %d of %d events have one", patience, r.decided(), len(r.expect))
		default:
		}
	}
	return nil
}

// waitCommitted waits until the group has committed the end of the input, and
// takes what verdicts still come.
func (s *stage) waitCommitted(ctx context.Context, watcher *kgo.Client, r *report) error {
	admin := kadm.NewClient(s.client)
	deadline := time.Now().Add(patience)
	for {
		lags, err := admin.Lag(ctx, s.conf.KafkaGroup)
		if err != nil {
			return err
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
			return nil // the table says that offsets are not at the end
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// see takes a record of an outcome topic or the parked topic.
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
		return fmt.Errorf("%s/%d@%d: %w", rec.Topic, rec.Partition, rec.Offset, err)
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
	r.verdicts[v.id] = append(r.verdicts[v.id], v)
	r.counts[v.kind]++
	return nil
}
