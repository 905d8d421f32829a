package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/kafka/retry"
	"payment-capture/internal/kafka/txnrecovery"
)

// confirm checks whether the first transaction of a client was committed, although
// the library reported so. If the client has produced to none of a transaction's
// topics before, the library may treat the transaction as empty, abort it, and report
// success: it publishes the partitions of a new topic only after it has buffered the
// waiting records (storePartitionsUpdate of franz-go v1.22.3).
func (c *Committer) confirm(ctx context.Context, b Batch) error {
	isKnown := func(r *kgo.Record) bool { return c.committed[r.Topic] }
	if !slices.ContainsFunc(b.Records, isKnown) && len(b.Offsets) > 0 {
		committed, err := c.findBatch(ctx, b)
		switch {
		case err != nil:
			return c.resolveEnd(ctx, b, err)
		case !committed:
			c.discard()
			return fmt.Errorf("%w: its offsets are not committed, although its end was confirmed", ErrNotCommitted)
		}
	}
	for _, r := range b.Records {
		c.committed[r.Topic] = true
	}
	return nil
}

// resolveEnd finds out whether a transaction whose end was not confirmed was
// committed. A new client makes the broker finish it one way or the other, and then
// the metadata of the committed offsets shows which. The library's abort cannot tell:
// it succeeds for a committed transaction too.
func (c *Committer) resolveEnd(ctx context.Context, b Batch, cause error) error {
	c.conf.Log.WarnContext(ctx, "end of transaction not confirmed; reading its offsets", slog.Any("error", cause))
	c.discard()
	var committed bool
	err := retry.Do(ctx, retry.Backoff{First: 100 * time.Millisecond, Max: 5 * time.Second}, func() (err error) {
		committed, err = c.findBatch(ctx, b)
		return err
	}, func(err error) bool {
		c.conf.Log.WarnContext(ctx, "result of transaction not known yet", slog.Any("error", err))
		return true
	})
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnknown, cause)
	case !committed:
		return fmt.Errorf("%w: %w", ErrNotCommitted, cause)
	}
	return nil
}

// findBatch reports whether the offsets of a batch are the committed ones. It waits
// while a transaction over them is being finished.
func (c *Committer) findBatch(ctx context.Context, b Batch) (found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*txnrecovery.TransactionTimeout)
	defer cancel()
	if c.client == nil {
		if err := c.open(ctx); err != nil {
			return false, err
		}
	}
	err = retry.Do(ctx, retry.Every(50*time.Millisecond), func() (err error) {
		found, err = c.readBatch(ctx, b)
		return err
	}, func(err error) bool { return errors.Is(err, kerr.UnstableOffsetCommit) })
	return found, err
}

func (c *Committer) readBatch(ctx context.Context, b Batch) (bool, error) {
	responses, err := c.admin.FetchOffsetsForTopics(kadm.RequireStable(ctx), c.conf.Group, c.conf.Input)
	if errors.Is(err, kerr.GroupIDNotFound) { // the group's first commit
		return false, nil
	}
	if err != nil {
		return false, err
	}
	// Only the partitions of the batch count: other instances commit the others.
	for _, o := range b.Offsets {
		r, ok := responses.Lookup(c.conf.Input, o.Partition)
		switch {
		case ok && r.Err != nil:
			return false, r.Err
		case ok && r.At == o.At && r.Metadata == o.Metadata:
			return true, nil
		}
	}
	return false, nil
}
