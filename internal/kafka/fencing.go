package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"payment-capture/internal/kafka/txnrecovery"
)

// fencedAgain is how soon a second fencing ends the process. Two processes of one
// transactional id that each took it back would fence each other for ever.
const fencedAgain = time.Minute

// isFencing reports whether an error says that the producer's epoch is not the
// latest one.
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
// The owner is looked up first, because whoever initialises the id becomes the owner.
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
	c.conf.Log.LogAttrs(ctx, slog.LevelWarn, "producer fenced, no other process found; taking the id again", attrs...)
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
			return fmt.Sprintf("member %q of group %q at %s has this instance's client id %q", m.MemberID, c.conf.Group, m.ClientHost, m.ClientID), nil
		}
	}
	return "", nil
}
