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
)

// findOut learns whether a transaction whose end was not answered was
// committed. Taking the producer id anew makes the broker finish it one way or
// the other; then the metadata of the committed offsets tells which. Asking the
// library to abort instead would say nil for a committed one.
func (c *Committer) findOut(ctx context.Context, b Batch, cause error) error {
	c.conf.Log.WarnContext(ctx, "the end of a transaction was not confirmed; asking the broker what became of it", slog.Any("error", cause))
	c.discard()
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		committed, err := c.lookForBatch(ctx, b)
		switch {
		case err == nil && committed:
			return nil
		case err == nil:
			return fmt.Errorf("%w: %w", ErrNotCommitted, cause)
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", ErrUnknown, cause)
		}
		c.conf.Log.WarnContext(ctx, "what became of a transaction is not known yet", slog.Any("error", err))
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrUnknown, cause)
		case <-time.After(wait):
		}
	}
}

func (c *Committer) lookForBatch(ctx context.Context, b Batch) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*TransactionTimeout)
	defer cancel()
	if c.client == nil {
		if err := c.open(ctx); err != nil {
			return false, err
		}
	}
	for {
		found, stable, err := c.readBatch(ctx, b)
		if err != nil || stable {
			return found, err
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// readBatch looks for the batch in the committed offsets. They are not stable
// while a transaction over them is being finished.
func (c *Committer) readBatch(ctx context.Context, b Batch) (found, stable bool, err error) {
	responses, err := c.holder.admin.FetchOffsetsForTopics(kadm.RequireStable(ctx), c.conf.Group, c.conf.Input)
	if err != nil {
		switch {
		case errors.Is(err, kerr.UnstableOffsetCommit):
			return false, false, nil
		case errors.Is(err, kerr.GroupIDNotFound):
			return false, true, nil // the group's first commit did not come to be
		}
		return false, false, err
	}
	for _, o := range b.Offsets {
		r, ok := responses.Lookup(c.conf.Input, o.Partition)
		if !ok {
			continue
		}
		if errors.Is(r.Err, kerr.UnstableOffsetCommit) {
			return false, false, nil
		}
		if r.Err != nil {
			return false, false, r.Err
		}
		if r.At == o.At && r.Metadata == o.Metadata {
			return true, true, nil
		}
	}
	return false, true, nil
}

// classify says whether a cause is another process's doing, lasts, or passes.
func classify(cause error) error {
	switch {
	case errors.Is(cause, kerr.FencedInstanceID):
		return fmt.Errorf("%w: %w", ErrFenced, cause)
	case slices.ContainsFunc(lasting(), func(e error) bool { return errors.Is(cause, e) }):
		return fmt.Errorf("%w: %w", ErrRefused, cause)
	}
	return fmt.Errorf("%w: %w", ErrNotCommitted, cause)
}

// lasting lists the errors that go on until somebody mends their cause.
func lasting() []error {
	return []error{
		kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed,
		kerr.ClusterAuthorizationFailed, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.InvalidTopicException,
		kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.OffsetMetadataTooLarge, kerr.PolicyViolation,
		kerr.SaslAuthenticationFailed, kerr.InvalidTransactionTimeout,
	}
}
