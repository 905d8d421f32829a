package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"payment-capture/internal/kafka/retry"
)

// StartAt is where a group without committed offsets begins. The zero value means
// that nobody chose; such a group does not start.
type StartAt struct {
	Earliest, Latest bool
	Time             time.Time
}

// ParseStartAt parses "earliest", "latest", an RFC 3339 time, or "" for none.
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

// ErrNoStart reports that a group has no committed offsets and no [StartAt].
var ErrNoStart = errors.New("the group has no committed offsets, and KAFKA_START_AT is not set: " +
	"set it to earliest, latest or a time")

// ErrFutureStart reports that [StartAt] is a time in the future: the group would start
// at the end of the topic.
var ErrFutureStart = errors.New("KAFKA_START_AT is in the future: set it to earliest, or to a time before the first event to capture")

// ErrUnsafeStart reports that a group has lost its committed offsets, and that
// KAFKA_START_AT would skip the events published since then.
var ErrUnsafeStart = errors.New("the ledger has events of this topic, so the group's committed offsets are lost " +
	"(offsets.retention.minutes, or another KAFKA_GROUP), and KAFKA_START_AT=latest would skip every order published since; " +
	"set it to earliest (decided events are not charged again: their outcomes are replayed from the ledger), " +
	"or to an RFC 3339 time before the last stop")

// IsUnsafeStart reports whether a group did not start because KAFKA_START_AT has to be set
// or corrected.
func IsUnsafeStart(err error) bool {
	return errors.Is(err, ErrNoStart) || errors.Is(err, ErrFutureStart) || errors.Is(err, ErrUnsafeStart)
}

// EnsureStart commits the start offsets of every partition for a group that has
// none, before any member joins, and reports whether it did. It uses one request, so
// all members and every later start begin at the same place. A partition that has no
// offset later was added, and begins at its beginning. Each offset carries the metadata
// that metadata returns for it.
func EnsureStart(ctx context.Context, admin *kadm.Client, group, topic string, at StartAt,
	metadata func(offset int64) string,
) (committed bool, err error) {
	err = retry.Do(ctx, retry.Every(200*time.Millisecond), func() (err error) {
		committed, err = commitStart(ctx, admin, group, topic, at, metadata)
		return err
	}, hasMembers)
	if hasMembers(err) {
		return false, fmt.Errorf("commit the start offsets of group %q: %w; the group has members without committed offsets (%w): "+
			"stop the consumers that are not payment-capture, or set KAFKA_GROUP to a group of its own", group, ctx.Err(), err)
	}
	return committed, err
}

func commitStart(ctx context.Context, admin *kadm.Client, group, topic string, at StartAt,
	metadata func(offset int64) string,
) (bool, error) {
	committed, err := CommittedOffsets(ctx, admin, group, topic)
	if err != nil || len(committed) > 0 {
		return false, err
	}
	if at == (StartAt{}) {
		return false, fmt.Errorf("group %q, topic %q: %w", group, topic, ErrNoStart)
	}
	if at.Time.After(time.Now()) {
		return false, fmt.Errorf("group %q, topic %q, %s: %w", group, topic, at.Time.Format(time.RFC3339), ErrFutureStart)
	}
	offsets, err := startOffsets(ctx, admin, topic, at, metadata)
	if err != nil {
		return false, err
	}
	responses, err := admin.CommitOffsets(ctx, group, offsets)
	if err == nil {
		err = responses.Error()
	}
	if err != nil {
		return false, fmt.Errorf("commit the start offsets of group %q: %w", group, NeedsTopic(err, "Read", topic))
	}
	return true, nil
}

// hasMembers reports whether a commit failed because a member has joined: another
// instance has committed the start offsets meanwhile, or another program consumes with
// this group and has not.
func hasMembers(err error) bool {
	return errors.Is(err, kerr.UnknownMemberID) || errors.Is(err, kerr.RebalanceInProgress) ||
		errors.Is(err, kerr.StaleMemberEpoch) || errors.Is(err, kerr.IllegalGeneration)
}

// CommittedOffsets returns the offsets that a group has committed for a topic.
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

func startOffsets(ctx context.Context, admin *kadm.Client, topic string, at StartAt,
	metadata func(offset int64) string,
) (kadm.Offsets, error) {
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
		offsets.Add(kadm.Offset{Topic: topic, Partition: l.Partition, At: l.Offset, LeaderEpoch: -1, Metadata: metadata(l.Offset)})
	})
	return offsets, nil
}

// AcceptedOffsets are committed offsets, by partition, that an operator accepts
// although they skip records.
type AcceptedOffsets map[int32]int64

// ParseAcceptedOffsets parses "partition:offset,partition:offset"; "" is none.
func ParseAcceptedOffsets(text string) (AcceptedOffsets, error) {
	accepted := make(AcceptedOffsets)
	if strings.TrimSpace(text) == "" {
		return accepted, nil
	}
	for pair := range strings.SplitSeq(text, ",") {
		before, after, _ := strings.Cut(strings.TrimSpace(pair), ":")
		partition, err := strconv.ParseInt(before, 10, 32)
		offset, offsetErr := strconv.ParseInt(after, 10, 64)
		if err != nil || offsetErr != nil || partition < 0 || offset < 0 {
			return nil, fmt.Errorf("%q is not partition:offset, such as 0:1500; separate several by commas", pair)
		}
		if _, twice := accepted[int32(partition)]; twice {
			return nil, fmt.Errorf("partition %d is listed twice", partition)
		}
		accepted[int32(partition)] = offset
	}
	return accepted, nil
}

// Has reports whether exactly this offset of a partition is accepted.
func (a AcceptedOffsets) Has(partition int32, offset int64) bool {
	at, ok := a[partition]
	return ok && at == offset
}
