package txnrecovery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The states of a transaction, as its coordinator names them.
const (
	stateEmpty         = "Empty"
	stateOngoing       = "Ongoing"
	statePrepareCommit = "PrepareCommit"
	statePrepareAbort  = "PrepareAbort"
	stateFencing       = "PrepareEpochFence"
	stateCommitted     = "CompleteCommit"
	stateAborted       = "CompleteAbort"
)

// decide reports whether a hanging transaction is committed. last is what the
// coordinator knew before the producer id was initialised, epoch is that of the
// hanging transaction, and offsetsHang reports whether its offsets have no marker
// either. The package comment has the reasons.
func decide(last kadm.DescribedTransaction, epoch int16, offsetsHang bool) (commit bool) {
	isLast := epoch >= last.ProducerEpoch-1 // the end of a transaction raises the epoch since KIP-890
	switch state := last.State; {
	case isLast && (state == statePrepareCommit || state == stateCommitted):
		return true
	case isLast && (state == statePrepareAbort || state == stateFencing || state == stateAborted):
		return false
	case state == stateOngoing && epoch >= last.ProducerEpoch: // initialising the producer id aborted it
		return false
	}
	return !offsetsHang
}

// completingTimeout is the timeout of the transaction that completes a hanging one.
// It is long, because its abort would abort the hanging one.
const completingTimeout = time.Minute

// runCompleting runs a transaction of partitions and of the group's offsets that
// writes nothing. It goes on if ctx ends, because a transaction that was begun has
// to be ended as decided.
func (r *Recovery) runCompleting(ctx context.Context, partitions kadm.TopicsSet, commit bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), completingTimeout/2)
	defer cancel()
	txnID := r.conf.TransactionalID
	init := kmsg.NewPtrInitProducerIDRequest()
	init.TransactionalID, init.TransactionTimeoutMillis = &txnID, int32(completingTimeout/time.Millisecond)
	resp, err := r.send(ctx, init)
	if err != nil {
		return err
	}
	initialised := resp.(*kmsg.InitProducerIDResponse) //nolint:forcetypeassert // the response to this request
	id, epoch := initialised.ProducerID, initialised.ProducerEpoch
	add := kmsg.NewPtrAddPartitionsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch = txnID, id, epoch
	for _, t := range partitions.Sorted() {
		if t.Topic != offsetsTopic { // AddOffsetsToTxn adds it
			add.Topics = append(add.Topics, kmsg.AddPartitionsToTxnRequestTopic{Topic: t.Topic, Partitions: t.Partitions})
		}
	}
	if len(add.Topics) > 0 {
		if _, err := r.send(ctx, add); err != nil {
			return err
		}
	}
	offsets := kmsg.NewPtrAddOffsetsToTxnRequest()
	offsets.TransactionalID, offsets.ProducerID, offsets.ProducerEpoch, offsets.Group = txnID, id, epoch, r.conf.Group
	if _, err := r.send(ctx, offsets); err != nil {
		return err
	}
	end := kmsg.NewPtrEndTxnRequest()
	end.TransactionalID, end.ProducerID, end.ProducerEpoch, end.Commit = txnID, id, epoch, commit
	_, err = r.send(ctx, end)
	return err
}

// send repeats a request of a transaction until it succeeds or fails for good.
func (r *Recovery) send(ctx context.Context, req kmsg.Request) (resp kmsg.Response, err error) {
	err = repeat(ctx, func() error {
		if resp, err = r.client.Request(ctx, req); err != nil {
			return err
		}
		return responseError(resp)
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kmsg.NameForKey(req.Key()), err)
	}
	return resp, nil
}

func responseError(resp kmsg.Response) error {
	switch resp := resp.(type) {
	case *kmsg.InitProducerIDResponse:
		return kerr.ErrorForCode(resp.ErrorCode)
	case *kmsg.AddOffsetsToTxnResponse:
		return kerr.ErrorForCode(resp.ErrorCode)
	case *kmsg.EndTxnResponse:
		return kerr.ErrorForCode(resp.ErrorCode)
	case *kmsg.AddPartitionsToTxnResponse:
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				// If the broker refuses one partition, it does not attempt the others.
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil && !errors.Is(err, kerr.OperationNotAttempted) {
					return fmt.Errorf("%s/%d: %w", t.Topic, p.Partition, err)
				}
			}
		}
		return nil
	}
	return fmt.Errorf("unexpected response %T", resp)
}
