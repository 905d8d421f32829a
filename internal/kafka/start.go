package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// StartAt says where a group without committed offsets begins. Its zero value
// says nothing, which is refused when it is needed.
type StartAt struct {
	Earliest, Latest bool
	Time             time.Time
}

// ParseStartAt reads "earliest", "latest", an RFC 3339 time, or "" for none.
func ParseStartAt(text string) (StartAt, error) {
	switch text {
	case "":
		return StartAt{}, nil
	case "earliest":
		return StartAt{Earliest: true}, nil
	case "latest":
		return StartAt{Latest: true}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return StartAt{}, errors.New("must be earliest, latest or a time such as 2026-11-23T10:00:00Z")
	}
	return StartAt{Time: t}, nil
}

// ErrNoStart says that a group has no committed offsets and nobody said where
// to begin.
var ErrNoStart = errors.New("the group has no committed offsets, and KAFKA_START_AT is not set: " +
	"set it to earliest, latest or a time; it is used only this once")

// ErrUnsafeStart says that a group has lost its committed offsets, and that
// KAFKA_START_AT would skip what was published meanwhile.
var ErrUnsafeStart = errors.New("the ledger shows that this topic was worked before, so the group's committed offsets are lost " +
	"(offsets.retention.minutes, or another KAFKA_GROUP), and KAFKA_START_AT=latest would skip every order published since; " +
	"set it to earliest (decided events are answered from the ledger, not charged again), or to an RFC 3339 time before the last stop")

// EnsureStart commits the start offsets of every partition for a group that
// has none, before any member joins, in one request. So all members, and
// every later start, begin at the same place; a partition that has no offset
// later is one that was added, and begins at its beginning. The metadata goes
// with each offset. It reports whether it committed anything.
func EnsureStart(ctx context.Context, admin *kadm.Client, group, topic string, at StartAt, metadata string) (bool, error) {
	for {
		committed, err := CommittedOffsets(ctx, admin, group, topic)
		if err != nil || len(committed) > 0 {
			return false, err
		}
		if at == (StartAt{}) {
			return false, fmt.Errorf("group %q, topic %q: %w", group, topic, ErrNoStart)
		}
		offsets, err := startOffsets(ctx, admin, topic, at, metadata)
		if err != nil {
			return false, err
		}
		responses, err := admin.CommitOffsets(ctx, group, offsets)
		if err == nil {
			err = responses.Error()
		}
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.RebalanceInProgress), errors.Is(err, kerr.StaleMemberEpoch),
			errors.Is(err, kerr.IllegalGeneration):
			// A member has joined meanwhile: another instance did this, or a
			// consumer of another program did not.
		default:
			return false, fmt.Errorf("commit the start offsets of group %q: %w", group, err)
		}
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("commit the start offsets of group %q: %w; the group has members without committed offsets (%w): "+
				"stop the consumers that are not payment-capture, or set KAFKA_GROUP to a group of its own", group, ctx.Err(), err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// ErrUnfit says that a topic is not as the service needs it.
var ErrUnfit = errors.New("the topic is unfit")

// AwaitCluster repeats a start until it succeeds, as long as what fails is likely
// to pass: a broker that is not there yet, a coordinator that moves.
func AwaitCluster(ctx context.Context, patience time.Duration, log *slog.Logger, start func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("the cluster was waited for %s", patience))
	defer cancel()
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := start(ctx)
		if err == nil || !passing(err) {
			return err
		}
		log.WarnContext(ctx, "the cluster is not ready; it is asked again", slog.Any("error", err))
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(wait):
		}
	}
}

// passing reports whether an error is likely to pass by itself.
func passing(err error) bool {
	if errors.Is(err, ErrNoStart) || errors.Is(err, ErrUnsafeStart) || errors.Is(err, errNotThere) || errors.Is(err, ErrUnfit) {
		return false
	}
	if broker, ok := errors.AsType[*kerr.Error](err); ok {
		// Retriable, says the protocol; but a topic that is unknown or a
		// permission that lacks is for somebody to mend.
		return broker.Retriable && broker.Code != kerr.UnknownTopicOrPartition.Code
	}
	// What is no answer of a broker is the network's doing, but for a
	// certificate that is not trusted.
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	return !untrusted
}

// CommittedOffsets returns a group's committed offsets of a topic, of those
// partitions that have one.
func CommittedOffsets(ctx context.Context, admin *kadm.Client, group, topic string) ([]kadm.Offset, error) {
	responses, err := admin.FetchOffsetsForTopics(ctx, group, topic)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the committed offsets of group %q: %w", group, err)
	}
	var committed []kadm.Offset
	responses.Each(func(r kadm.OffsetResponse) {
		if r.Err != nil {
			err = fmt.Errorf("read the committed offset of %s/%d: %w", r.Topic, r.Partition, r.Err)
		}
		if r.At >= 0 {
			committed = append(committed, r.Offset)
		}
	})
	return committed, err
}

func startOffsets(ctx context.Context, admin *kadm.Client, topic string, at StartAt, metadata string) (kadm.Offsets, error) {
	var listed kadm.ListedOffsets
	var err error
	switch {
	case at.Earliest:
		listed, err = admin.ListStartOffsets(ctx, topic)
	case at.Latest:
		listed, err = admin.ListEndOffsets(ctx, topic)
	default:
		listed, err = admin.ListOffsetsAfterMilli(ctx, at.Time.UnixMilli(), topic)
	}
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list the offsets of topic %q: %w", topic, err)
	}
	offsets := make(kadm.Offsets)
	listed.Each(func(l kadm.ListedOffset) {
		offsets.Add(kadm.Offset{Topic: topic, Partition: l.Partition, At: l.Offset, LeaderEpoch: -1, Metadata: metadata})
	})
	return offsets, nil
}
