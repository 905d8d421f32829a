package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// fencedAgain is how soon a second fencing ends the process: two processes of one
// identity, each of which took it back, would fence each other for ever.
const fencedAgain = time.Minute

// isFencing reports whether an error says that the producer's epoch is not the
// latest one.
func isFencing(err error) bool {
	return errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch)
}

// checkFenced returns nil if the committer may take the transactional id again
// after a step of a transaction failed with cause, and an [ErrFenced] if it may
// not: another process has the id, or the committer was fenced a short time ago
// too. One fencing alone proves nothing. The broker raises the epoch itself when
// it aborts a transaction that took too long, another instance takes the id for a
// moment to complete a hanging transaction, and brokers have answered so to the
// only producer of an id.
//
// It asks the broker before the id is taken, because whoever takes it becomes the
// holder.
func (c *Committer) checkFenced(ctx context.Context, member string, began time.Time, cause error) error {
	if !isFencing(cause) || time.Since(began) >= TransactionTimeout {
		return nil
	}
	holder, err := c.otherHolder(ctx, member)
	now := time.Now().Round(0) // of the wall clock: the machine may have been suspended in between
	ago := now.Sub(c.fencedAt)
	switch {
	case holder != "":
		return fmt.Errorf("%w: %s; give each process an INSTANCE_ID of its own: %w", ErrFenced, holder, cause)
	case !c.fencedAt.IsZero() && ago < fencedAgain:
		return fmt.Errorf("%w: transactional id %q was fenced %s ago too; look for another process of INSTANCE_ID and KAFKA_GROUP: %w",
			ErrFenced, c.conf.TransactionalID, ago.Round(time.Millisecond), cause)
	}
	c.fencedAt = now
	attrs := []slog.Attr{slog.String("transactional_id", c.conf.TransactionalID), slog.Any("error", cause)}
	if err != nil {
		attrs = append(attrs, slog.String("holder_unknown", err.Error()))
	}
	c.conf.Log.LogAttrs(ctx, slog.LevelWarn, "producer fenced, no other process found; taking the id again", attrs...)
	return nil
}

// otherHolder names the process that has the transactional id instead of this
// one: the coordinator knows a later epoch than the committer's, and another member
// of the group has this instance's client id. It returns "" if there is none, with
// an error if that could not be asked.
//
// Neither alone tells. The epoch is also raised by who takes the id for a moment,
// and a member that died stays in the group for the session time-out.
func (c *Committer) otherHolder(ctx context.Context, member string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	last, err := c.holder.last(ctx)
	if err != nil {
		return "", err
	}
	known := last.State != "" // else the principal may not describe the id, or the broker cannot
	if known && last.ProducerID == c.producer.id && last.ProducerEpoch <= c.producer.epoch {
		return "", nil
	}
	groups, err := c.holder.admin.DescribeGroups(ctx, c.conf.Group)
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
