package main

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// groupOptions returns the options of all loops with a group. The linger is zero,
// because these loops wait for each produce.
func groupOptions(s spec) []kgo.Opt {
	opts := []kgo.Opt{
		kgo.SeedBrokers(s.Brokers...), kgo.ConsumerGroup(s.Group), kgo.ConsumeTopics(s.Topics.Input),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.DisableAutoCommit(), kgo.ProducerLinger(0),
	}
	if s.Static {
		opts = append(opts, kgo.InstanceID(s.Instance))
	}
	return opts
}

// poll returns the records of one poll, up to a maximum.
func poll(ctx context.Context, poller interface {
	PollRecords(ctx context.Context, most int) kgo.Fetches
}, most int,
) ([]*kgo.Record, error) {
	fetches := poller.PollRecords(ctx, most)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err := fetches.Err(); err != nil {
		return nil, fmt.Errorf("poll: %w", err)
	}
	return fetches.Records(), nil
}

// runOne handles one record at a time: call, produce, commit.
func runOne(ctx context.Context, s spec) (any, error) {
	l := newLoop(s)
	client, err := kgo.NewClient(groupOptions(s)...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	for {
		records, err := poll(ctx, client, s.PollMost)
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			out, err := l.handle(ctx, r)
			if err == nil {
				err = client.ProduceSync(ctx, out).FirstErr()
			}
			if err == nil {
				err = client.CommitRecords(ctx, r)
			}
			if err != nil {
				return nil, err
			}
		}
	}
}

// runBatch handles the records of a poll concurrently, then produces, then commits. A
// poll has as many records as calls are allowed at once.
func runBatch(ctx context.Context, s spec) (any, error) {
	l := newLoop(s)
	client, err := kgo.NewClient(groupOptions(s)...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	for {
		records, err := poll(ctx, client, s.PollMost)
		if err != nil {
			return nil, err
		}
		out, err := l.all(ctx, records)
		if err == nil {
			err = client.ProduceSync(ctx, out...).FirstErr()
		}
		if err == nil {
			err = client.CommitRecords(ctx, records...)
		}
		if err != nil {
			return nil, err
		}
	}
}

// runTransaction is runBatch with the library's transactional session.
func runTransaction(ctx context.Context, s spec) (any, error) {
	l := newLoop(s)
	return nil, inTransactions(ctx, s, func(records []*kgo.Record) ([]*kgo.Record, error) { return l.all(ctx, records) })
}

// runCopy writes a record of an outcome's size for each record, in transactions: no
// decoding, no ledger, no order. It measures what Kafka alone allows.
func runCopy(ctx context.Context, s spec) (any, error) {
	value := make([]byte, outcomeBytes)
	for i := range value {
		value[i] = "0123456789abcdef"[i*7%16]
	}
	header := []kgo.RecordHeader{{Key: "content-type", Value: []byte("application/cloudevents+json; charset=UTF-8")}}
	return nil, inTransactions(ctx, s, func(records []*kgo.Record) ([]*kgo.Record, error) {
		out := make([]*kgo.Record, len(records))
		for i, r := range records {
			out[i] = &kgo.Record{Topic: s.Topics.Captured, Key: r.Key, Value: value, Headers: header}
		}
		return out, nil
	})
}

// outcomeBytes is the size of the service's outcomes.
const outcomeBytes = 750

func inTransactions(ctx context.Context, s spec, do func([]*kgo.Record) ([]*kgo.Record, error)) error {
	session, err := kgo.NewGroupTransactSession(append(groupOptions(s), kgo.TransactionalID(s.Group+"/"+s.Instance))...)
	if err != nil {
		return err
	}
	defer session.Close()
	for {
		records, err := poll(ctx, session, s.PollMost)
		if err != nil {
			return err
		}
		if len(records) == 0 {
			continue
		}
		if err := session.Begin(); err != nil {
			return err
		}
		out, err := do(records)
		if err != nil {
			return err
		}
		if err := session.ProduceSync(ctx, out...).FirstErr(); err != nil {
			return err
		}
		// End the transaction even after ctx ended, or the next owner waits for it.
		committed, err := session.End(context.WithoutCancel(ctx), kgo.TryCommit)
		if err != nil {
			return err
		}
		if !committed {
			return fmt.Errorf("a transaction of %d records was not committed", len(records))
		}
	}
}
