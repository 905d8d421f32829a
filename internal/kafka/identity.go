package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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
	Input           string   // the topic of the offsets
	Topics          []string // that they write to
}

// holder takes an identity, again and again.
type holder struct {
	Identity
	client *kgo.Client // asks
	admin  *kadm.Client
	log    *slog.Logger
	// told: the client was told that the transaction which hangs is committed. It
	// counts where the broker does not say how it was ended.
	told atomic.Bool
}

func newHolder(conf Config, id Identity, log *slog.Logger) (*holder, error) {
	client, err := conf.NewClient()
	if err != nil {
		return nil, err
	}
	return &holder{Identity: id, client: client, admin: kadm.NewClient(client), log: log}, nil
}

// RecoverTransactionalID takes a transactional id for a moment, which makes the broker end
// what an earlier process left open of it, and ends what hangs of it. Another
// process that has the id is fenced.
func RecoverTransactionalID(ctx context.Context, conf Config, id Identity, log *slog.Logger) error {
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
// or aborts, what an earlier holder left open, and what hangs nevertheless is
// ended.
func (h *holder) take(ctx context.Context, newClient func() (*kgo.Client, error)) (*kgo.Client, error) {
	for found := 0; ; found++ {
		var last kadm.DescribedTransaction // the broker forgets how it ended when the id is taken
		if err := h.patiently(ctx, func() (err error) {
			last, err = h.last(ctx)
			return err
		}); err != nil {
			return nil, err
		}
		client, err := newClient()
		if err != nil {
			return nil, err
		}
		hangs, err := h.tidy(ctx, client, last)
		if err == nil && !hangs {
			h.told.Store(false)
			return client, nil
		}
		client.Close() // its epoch is behind after an end that was not its own
		if err != nil {
			return nil, err
		}
		if found == mostHanging {
			return nil, fmt.Errorf("a transaction of transactional id %q hangs, and %d more of its producer id did not end it: %s", h.TransactionalID, mostHanging, seeHanging)
		}
	}
}

// tidy takes the producer id, and ends what hangs of it.
func (h *holder) tidy(ctx context.Context, client *kgo.Client, last kadm.DescribedTransaction) (hangs bool, err error) {
	id, _, err := client.ProducerID(ctx)
	if err != nil {
		return false, fmt.Errorf("take transactional id %q: %w", h.TransactionalID, err)
	}
	f, err := h.lookForHanging(ctx, id)
	if err != nil {
		return false, fmt.Errorf("look for what hangs of transactional id %q: %w", h.TransactionalID, err)
	}
	if len(f.hung) == 0 {
		return false, nil
	}
	offsetsHang := f.hung[offsetsTopic] != nil
	if !offsetsHang && f.unseen[offsetsTopic] != nil {
		if offsetsHang, err = h.unstable(ctx); err != nil {
			return false, fmt.Errorf("ask whether the offsets of group %q hang: %w", h.Group, err)
		}
	}
	commit := decide(last, slices.Max(f.epochs), offsetsHang && !h.told.Load())
	h.log.WarnContext(ctx, "a transaction hangs: the broker counts it as ended, and has not ended it in these partitions; it is ended now",
		slog.String("transactional_id", h.TransactionalID), slog.Any("partitions", f.hung.Sorted()), slog.String("last_state", last.State), slog.Bool("committed", commit))
	f.hung.Merge(f.unseen)
	if err := h.end(ctx, f.hung, commit); err != nil {
		return false, fmt.Errorf("end what hangs of transactional id %q: %w", h.TransactionalID, err)
	}
	return true, nil
}

// decide says whether what hangs is committed. Where it is of the last
// transaction, and the broker still knew how that one ends, it ends so. Else the
// offsets tell: where they do not hang they may be committed, and then so must be
// what belongs to them; if they were not, its events are answered from the ledger
// when they come again. Where the offsets hang too, an abort loses nothing: its
// events come again, and what is said of them has the same ids.
func decide(last kadm.DescribedTransaction, epoch int16, offsetsHang bool) (commit bool) {
	switch last.State {
	case txnPrepareCommit, txnCommitted:
		if isLast := epoch >= last.ProducerEpoch-1; isLast { // an end raises the epoch (KIP-890), or not
			return true
		}
	case txnPrepareAbort, txnFencing, txnAborted:
		if isLast := epoch >= last.ProducerEpoch-1; isLast {
			return false
		}
	case txnOngoing:
		if isLast := epoch >= last.ProducerEpoch; isLast { // it was aborted when the id was taken
			return false
		}
	}
	return !offsetsHang
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
	case errors.Is(err, kerr.TransactionalIDNotFound), h.mayNotLook(ctx, err):
		return kadm.DescribedTransaction{}, nil
	case err != nil:
		return last, fmt.Errorf("look at transactional id %q: %w", h.TransactionalID, err)
	}
	return last, nil
}

// helperTimeout is how long the transaction that ends another one may take. An
// abort of it would abort the other one.
const helperTimeout = time.Minute

// end begins a transaction of partitions and of the group's offsets, writes
// nothing, and ends it. Once begun it is not given up when ctx ends.
func (h *holder) end(ctx context.Context, partitions kadm.TopicsSet, commit bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), helperTimeout/2)
	defer cancel()
	init := kmsg.NewPtrInitProducerIDRequest()
	init.TransactionalID, init.TransactionTimeoutMillis = &h.TransactionalID, int32(helperTimeout/time.Millisecond)
	var id int64
	var epoch int16
	if err := h.insist(ctx, func() error {
		answer, err := init.RequestWith(ctx, h.client)
		if err != nil {
			return err
		}
		id, epoch = answer.ProducerID, answer.ProducerEpoch
		return kerr.ErrorForCode(answer.ErrorCode)
	}); err != nil {
		return err
	}
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
	if err := h.insist(ctx, func() error { return addOffsets(ctx, h.client, h.Identity, id, epoch) }); err != nil {
		return err
	}
	end := kmsg.NewPtrEndTxnRequest()
	end.TransactionalID, end.ProducerID, end.ProducerEpoch, end.Commit = h.TransactionalID, id, epoch, commit
	return h.insist(ctx, func() error {
		answer, err := end.RequestWith(ctx, h.client)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(answer.ErrorCode)
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

// busyPause is the time between two tries of what a broker cannot do yet.
const busyPause = 20 * time.Millisecond

// insist repeats a request while what fails is likely to pass.
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

// lookPatience is how long a look is repeated.
const lookPatience = 5 * time.Second

// patiently repeats a look for a while.
func (h *holder) patiently(ctx context.Context, look func() error) error {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	return h.insist(ctx, look)
}
