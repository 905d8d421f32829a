package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Identity is a transactional id, and what its transactions touch.
type Identity struct {
	TransactionalID string
	Group           string   // whose offsets they commit
	Topics          []string // that they write to
}

// holder takes an identity, again and again.
type holder struct {
	Identity
	client *kgo.Client // asks
	admin  *kadm.Client
	log    *slog.Logger
	// committed is whether the last transaction was to be committed, as the
	// broker said before it forgot: it does when the producer id is taken.
	committed bool
	// told: it was committed, and its client was told so.
	told atomic.Bool
}

func newHolder(conf Config, id Identity, log *slog.Logger) (*holder, error) {
	client, err := conf.NewClient()
	if err != nil {
		return nil, err
	}
	return &holder{Identity: id, client: client, admin: kadm.NewClient(client), log: log}, nil
}

// EndLeftOpen takes a transactional id for a moment, which makes the broker end
// what an earlier process left open of it, and ends what hangs of it. Another
// process that has the id is fenced.
func EndLeftOpen(ctx context.Context, conf Config, id Identity, log *slog.Logger) error {
	h, err := newHolder(conf, id, log)
	if err != nil {
		return err
	}
	defer h.client.Close()
	producer, err := h.take(ctx, func() (*kgo.Client, error) {
		return conf.NewClient(kgo.TransactionalID(id.TransactionalID), kgo.TransactionTimeout(TransactionTimeout), kgo.RetryTimeout(TransactionTimeout))
	})
	if err != nil {
		return err
	}
	producer.Close()
	return nil
}

// mostHanging is how often in a row something may be found to hang.
const mostHanging = 3

// take makes a client that has the producer id of the identity. That waits for,
// or aborts, what an earlier holder left open. What hangs nevertheless is ended
// as the broker had decided, and aborted where that is not known: its events are
// asked for again then, under the same keys.
func (h *holder) take(ctx context.Context, newClient func() (*kgo.Client, error)) (*kgo.Client, error) {
	for found := 0; ; found++ {
		if err := h.lookAtEnd(ctx); err != nil {
			return nil, err
		}
		client, err := newClient()
		if err != nil {
			return nil, err
		}
		hangs, err := h.tidy(ctx, client)
		if err == nil && !hangs {
			h.committed = false
			h.told.Store(false)
			return client, nil
		}
		client.Close() // its epoch is behind after an end that was not its own
		if err != nil {
			return nil, err
		}
		if found == mostHanging {
			return nil, fmt.Errorf("a transaction of transactional id %q hangs, and %d more of its producer id did not end it: see \"A transaction that hangs\" in docs/operating.md",
				h.TransactionalID, mostHanging)
		}
	}
}

// tidy takes the producer id, and ends what hangs of it.
func (h *holder) tidy(ctx context.Context, client *kgo.Client) (hangs bool, err error) {
	id, epoch, err := client.ProducerID(ctx)
	if err != nil {
		return false, fmt.Errorf("take transactional id %q: %w", h.TransactionalID, err)
	}
	hung, unseen, err := h.hanging(ctx, id, func(kadm.DescribedProducer) bool { return true })
	if err != nil {
		return false, fmt.Errorf("look for what hangs of transactional id %q: %w", h.TransactionalID, err)
	}
	if len(hung) == 0 {
		return false, nil
	}
	h.log.WarnContext(ctx, "a transaction hangs: the broker counts it as ended, and has not ended it in these partitions; it is ended now",
		slog.String("transactional_id", h.TransactionalID), slog.Any("partitions", hung.Sorted()), slog.Bool("committed", h.committed))
	hung.Merge(unseen)
	if err := h.end(ctx, id, epoch, hung); err != nil {
		return false, fmt.Errorf("end what hangs of transactional id %q: %w", h.TransactionalID, err)
	}
	return true, nil
}

// lookAtEnd learns how the last transaction ends, if the broker still knows.
func (h *holder) lookAtEnd(ctx context.Context) error {
	if h.told.Load() {
		h.committed = true
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, TransactionTimeout)
	defer cancel()
	var last kadm.DescribedTransaction
	err := h.insist(ctx, func() (err error) {
		last, err = h.last(ctx)
		return err
	})
	if err != nil {
		return err
	}
	switch last.State {
	case txnPrepareCommit, txnCommitted:
		h.committed = true
	case txnOngoing, txnPrepareAbort, txnFencing, txnAborted:
		h.committed = false
	}
	return nil
}

// What a coordinator says of the last transaction of an identity.
const (
	txnEmpty         = "Empty"
	txnOngoing       = "Ongoing"
	txnPrepareCommit = "PrepareCommit"
	txnPrepareAbort  = "PrepareAbort"
	txnFencing       = "PrepareEpochFence"
	txnCommitted     = "CompleteCommit"
	txnAborted       = "CompleteAbort"
)

// last asks the coordinator about the last transaction. There is no state where
// the broker knows of none, or does not tell.
func (h *holder) last(ctx context.Context) (kadm.DescribedTransaction, error) {
	described, err := h.admin.DescribeTransactions(ctx, h.TransactionalID)
	last := described[h.TransactionalID]
	if err == nil {
		err = last.Err
	}
	switch {
	case errors.Is(err, kerr.TransactionalIDNotFound), mayNotLook(err):
		return kadm.DescribedTransaction{}, nil
	case err != nil:
		return last, fmt.Errorf("look at transactional id %q: %w", h.TransactionalID, err)
	}
	return last, nil
}

// clean returns when the broker has ended the last transaction that is over;
// errHangs: it says so, and has not.
func (h *holder) clean(ctx context.Context) error {
	for {
		last, err := h.last(ctx)
		if err != nil {
			return err
		}
		switch last.State {
		case txnEmpty, txnCommitted, txnAborted, txnOngoing:
			hung, _, err := h.hanging(ctx, last.ProducerID, func(p kadm.DescribedProducer) bool {
				// What is under way writes with the present epoch.
				return last.State != txnOngoing || p.ProducerEpoch < last.ProducerEpoch
			})
			if err != nil || len(hung) == 0 {
				return err
			}
			// What is open may have begun since.
			again, err := h.last(ctx)
			if err != nil {
				return err
			}
			if again.State == last.State && again.ProducerEpoch == last.ProducerEpoch && again.StartTimestamp == last.StartTimestamp {
				return errHangs
			}
			continue
		case "":
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(busyPause):
		}
	}
}

// end ends a transaction of partitions and of the group's offsets, in which
// nothing was written.
func (h *holder) end(ctx context.Context, id int64, epoch int16, partitions kadm.TopicsSet) error {
	ctx, cancel := context.WithTimeout(ctx, TransactionTimeout)
	defer cancel()
	add := kmsg.NewPtrAddPartitionsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch = h.TransactionalID, id, epoch
	for _, t := range partitions.Sorted() {
		if t.Topic != offsetsTopic {
			add.Topics = append(add.Topics, kmsg.AddPartitionsToTxnRequestTopic{Topic: t.Topic, Partitions: t.Partitions})
		}
	}
	if len(add.Topics) > 0 {
		if err := h.insist(ctx, func() error { return addPartitions(ctx, h.client, add) }); err != nil {
			return err
		}
	}
	offsets := kmsg.NewPtrAddOffsetsToTxnRequest()
	offsets.TransactionalID, offsets.ProducerID, offsets.ProducerEpoch, offsets.Group = h.TransactionalID, id, epoch, h.Group
	err := h.insist(ctx, func() error {
		answer, err := offsets.RequestWith(ctx, h.client)
		if err == nil {
			err = kerr.ErrorForCode(answer.ErrorCode)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("add the offsets of group %q: %w", h.Group, err)
	}
	end := kmsg.NewPtrEndTxnRequest()
	end.TransactionalID, end.ProducerID, end.ProducerEpoch, end.Commit = h.TransactionalID, id, epoch, h.committed
	return h.insist(ctx, func() error {
		answer, err := end.RequestWith(ctx, h.client)
		if err == nil {
			err = kerr.ErrorForCode(answer.ErrorCode)
		}
		return err
	})
}

func addPartitions(ctx context.Context, client *kgo.Client, req *kmsg.AddPartitionsToTxnRequest) error {
	answer, err := req.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			// Where one is refused, the others were not attempted.
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil && !errors.Is(err, kerr.OperationNotAttempted) {
				return fmt.Errorf("add partition %d of topic %q: %w", p.Partition, t.Topic, err)
			}
		}
	}
	return nil
}

// busyPause is the time between two looks at a broker that is about to end a
// transaction.
const busyPause = 20 * time.Millisecond

// insist repeats a request while what fails is likely to pass: once it has begun,
// only an end is good.
func (h *holder) insist(ctx context.Context, request func() error) error {
	for {
		err := request()
		if err == nil || ctx.Err() != nil || (!passing(err) && !errors.Is(err, kerr.ConcurrentTransactions)) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(busyPause):
		}
	}
}
