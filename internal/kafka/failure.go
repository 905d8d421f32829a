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

// fail returns the error of a transaction that was not committed because of cause. The
// producing client is discarded already.
func (c *Committer) fail(ctx context.Context, b Batch, began time.Time, cause error) error {
	if err := c.checkFenced(ctx, b.Member, began, cause); err != nil {
		return err
	}
	if !errors.Is(cause, errProduceSwallowed) {
		c.swallowed = 0
	} else {
		c.swallowed++
	}
	if err := c.lowerLimit(ctx, b, cause); err != nil {
		return err
	}
	return c.conf.classify(cause)
}

// classify wraps the cause of a failed commit in the error for the caller. Only a static
// member can be fenced by its instance id.
func (c *CommitterConfig) classify(cause error) error {
	cause = Explain(cause)
	switch {
	case c.GroupInstanceID != nil && errors.Is(cause, kerr.FencedInstanceID):
		return fmt.Errorf("%w: %w", ErrFenced, cause)
	case slices.ContainsFunc(permanentErrors(), func(e error) bool { return errors.Is(cause, e) }):
		return fmt.Errorf("%w: %w", ErrRefused, cause)
	}
	return fmt.Errorf("%w: %w", ErrNotCommitted, cause)
}

// permanentErrors returns the errors that last until an operator fixes their cause.
func permanentErrors() []error {
	return []error{
		kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed,
		kerr.ClusterAuthorizationFailed, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.InvalidTopicException,
		kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.OffsetMetadataTooLarge, kerr.PolicyViolation,
		kerr.SaslAuthenticationFailed, kerr.InvalidTransactionTimeout,
	}
}

// isSizeError reports whether a transaction failed because of the size of its requests.
func (c *Committer) isSizeError(err error) bool {
	return errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge) || errors.Is(err, errProduceReset) ||
		c.swallowed >= swallowedFlushes
}

// lowerLimit halves the limit after a transaction that failed because of the size of
// its requests, or perhaps did, so that the next one can pass. It returns nil if the
// size was not the cause, or if a smaller limit does not help.
func (c *Committer) lowerLimit(ctx context.Context, b Batch, cause error) error {
	limit := c.conf.Kafka.Requests
	was, sent := limit.Bytes(), sizeOf(b.Records)
	tooLarge := slices.ContainsFunc(b.Records, func(r *kgo.Record) bool { return sizeOf([]*kgo.Record{r}) > was })
	if !c.isSizeError(cause) || tooLarge || !limit.halve(sent) { // a record is not split
		return nil
	}
	c.conf.Log.WarnContext(ctx, "produce request limit halved", slog.Int("limit_bytes", limit.Bytes()),
		slog.Int("limit_bytes_before", was), slog.Int("flush_bytes", sent), slog.Any("error", cause))
	return fmt.Errorf("%w: %w; the next requests have up to %d bytes, set KAFKA_MAX_REQUEST_BYTES to a size that the brokers accept",
		ErrNotCommitted, cause, limit.Bytes())
}

// fencedAgain is how soon a second fencing ends the process. Two processes of one
// transactional id that each took it back would fence each other for ever.
const fencedAgain = time.Minute

// isFencing reports whether an error means that the producer's epoch is not the latest
// one.
func isFencing(err error) bool {
	return errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch)
}

// checkFenced returns nil if the committer may initialise its transactional id again
// after a step of a transaction failed with cause. Otherwise it returns [ErrFenced]:
// another process owns the id, or the committer was fenced a short time ago too.
//
// One fencing alone proves nothing. The broker raises the epoch itself when it aborts
// a transaction that took too long, another instance acquires the id for a moment to
// complete a hanging transaction, and brokers have answered so to the only producer of
// an id.
//
// The owner is looked up first, because a client that initialises the id becomes the owner.
func (c *Committer) checkFenced(ctx context.Context, member string, began time.Time, cause error) error {
	if !isFencing(cause) || time.Since(began) >= txnrecovery.TransactionTimeout {
		return nil
	}
	owner, err := c.otherOwner(ctx, member)
	now := time.Now().Round(0) // wall clock: the machine may have been suspended meanwhile
	ago := now.Sub(c.fencedAt)
	switch {
	case owner != "":
		return fmt.Errorf("%w: %s; give each process an INSTANCE_ID of its own: %w", ErrFenced, owner, cause)
	case !c.fencedAt.IsZero() && ago < fencedAgain:
		return fmt.Errorf("%w: transactional id %q was fenced %s ago too; look for another process of INSTANCE_ID and KAFKA_GROUP: %w",
			ErrFenced, c.conf.TransactionalID, ago.Round(time.Millisecond), cause)
	}
	c.fencedAt = now
	attrs := []slog.Attr{slog.String("transactional_id", c.conf.TransactionalID), slog.Any("error", cause)}
	if err != nil {
		attrs = append(attrs, slog.String("owner_unknown", err.Error()))
	}
	c.conf.Log.LogAttrs(ctx, slog.LevelWarn, "producer fenced, no other process found", attrs...)
	return nil
}

// ownerTimeout bounds the search for the owner of the transactional id.
const ownerTimeout = 5 * time.Second

// otherOwner returns a description of the process that owns the transactional id
// instead of this one: the coordinator knows a later epoch than the committer's, and
// another member of the group has this instance's client id. It returns "" if there is
// none, with an error if the brokers could not be asked.
//
// Neither condition suffices. An instance that acquires the id for a moment raises the
// epoch too, and a member that died stays in the group for the session timeout.
func (c *Committer) otherOwner(ctx context.Context, member string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, ownerTimeout)
	defer cancel()
	last, err := c.recovery.Describe(ctx)
	if err != nil {
		return "", err
	}
	known := last.State != "" // otherwise the principal may not describe the id, or the broker cannot
	if known && last.ProducerID == c.producer.id && last.ProducerEpoch <= c.producer.epoch {
		return "", nil
	}
	groups, err := c.admin.DescribeGroups(ctx, c.conf.Group)
	group := groups[c.conf.Group]
	if err = errors.Join(err, group.Err); err != nil {
		return "", fmt.Errorf("describe group %q: %w", c.conf.Group, err)
	}
	for _, m := range group.Members {
		if m.MemberID != member && m.ClientID == c.conf.Kafka.ClientID {
			return fmt.Sprintf("member %q of group %q at %s has this instance's client id %q",
				m.MemberID, c.conf.Group, m.ClientHost, m.ClientID), nil
		}
	}
	return "", nil
}

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
	c.conf.Log.WarnContext(ctx, "end of transaction not confirmed", slog.Any("error", cause))
	c.discard()
	var committed bool
	err := retry.Do(ctx, retry.Backoff{First: 100 * time.Millisecond, Max: 5 * time.Second}, func() (err error) {
		committed, err = c.findBatch(ctx, b)
		return err
	}, func(err error) bool {
		c.conf.Log.WarnContext(ctx, "result of transaction not known yet", slog.Any("error", err))
		c.discard() // with what it knows of the brokers
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
