package pipeline

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kadm"

	"payment-capture/internal/kafka"
	"payment-capture/internal/offsetmeta"
)

// Start: before the pipeline joins the group, it checks the topics and the group's
// committed offsets, and commits start offsets for a new group. A start that could skip
// or repeat events is refused.

// minOutcomeBytes is more than any outcome takes: an outcome that its topic refuses
// would be a charge that no consumer learns of.
const minOutcomeBytes = 64 << 10

// prepare checks the topics and decides where the group starts.
func (p *Pipeline) prepare(ctx context.Context) error {
	client, err := p.conf.Kafka.NewClient()
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	topics := p.conf.Topics
	info, err := kafka.Inspect(ctx, admin, topics.Input, topics.Captured, topics.Rejected, topics.Parked, topics.Ledger)
	if err != nil {
		return err
	}
	committed, unconfirmed, err := p.committedOffsets(ctx, admin)
	if err != nil {
		return err
	}
	// No record above any start offset is completed.
	begin := offsetmeta.Metadata{Input: info[topics.Input].ID, Ledger: p.ledger.TopicID()}
	first, err := kafka.EnsureStart(ctx, admin, p.conf.Group, topics.Input, p.conf.StartAt, func(offset int64) string {
		if unconfirmed {
			return ""
		}
		return begin.Encode(offset)
	})
	if err != nil {
		return err
	}
	if first {
		p.conf.Log.InfoContext(ctx, "start offsets of a new group committed",
			slog.String("group", p.conf.Group), slog.String("topic", topics.Input))
	}
	p.ledgerMissing = p.missingLedger(committed)
	for _, name := range []string{topics.Captured, topics.Rejected, topics.Ledger} {
		if info[name].MaxMessageBytes < minOutcomeBytes {
			return fmt.Errorf("%w: %q accepts no record over %d bytes, outcomes and decisions take up to %d; raise its max.message.bytes",
				kafka.ErrUnfit, name, info[name].MaxMessageBytes, minOutcomeBytes)
		}
	}
	limits := make(map[string]int32)
	for name, topic := range info {
		limits[name] = topic.MaxMessageBytes
	}
	p.commitConf = kafka.CommitterConfig{
		Kafka:            p.conf.Kafka,
		Identity:         p.conf.Identity(),
		TopicID:          info[topics.Input].ID,
		MaxBatchBytes:    limits,
		PartitionedTopic: topics.Ledger,
		Log:              p.conf.Log,
	}
	if p.conf.Static {
		p.commitConf.GroupInstanceID = &p.conf.InstanceID
	}
	return nil
}

// committedOffsets returns the group's committed offsets. If the group has none and the
// ledger was used, they are lost: a start at the end of the topic would skip events, and
// is refused; offsets by a time might, so they are unconfirmed, which means that they are
// checked as foreign ones.
func (p *Pipeline) committedOffsets(ctx context.Context, admin *kadm.Client) (committed []kadm.Offset, unconfirmed bool, err error) {
	committed, err = kafka.CommittedOffsets(ctx, admin, p.conf.Group, p.conf.Topics.Input)
	if err != nil || len(committed) > 0 || p.conf.StartAt.Earliest {
		return committed, false, err
	}
	empty, err := p.ledger.Empty(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("check whether the ledger %q is empty: %w", p.conf.Topics.Ledger, err)
	}
	if p.conf.StartAt.Latest && !empty {
		return nil, false, fmt.Errorf("start group %q on topic %q: %w", p.conf.Group, p.conf.Topics.Input, kafka.ErrUnsafeStart)
	}
	return nil, !empty, nil
}

// missingLedger returns why the ledger is not the one that the group's commits name; ""
// if it is, or if they name none. It counts for partitions whose own commit names no
// ledger.
func (p *Pipeline) missingLedger(committed []kadm.Offset) string {
	for _, c := range committed {
		// Foreign offsets are reported when their partitions start.
		if m, err := offsetmeta.Decode(c.Metadata, c.At); err == nil {
			if missing := p.otherLedger(m); missing != "" {
				return missing
			}
		}
	}
	return ""
}

// otherLedger returns why the ledger is not the one that a commit names; "" if it is. An
// id that is zero is not known.
func (p *Pipeline) otherLedger(m offsetmeta.Metadata) string {
	ledger := p.ledger.TopicID()
	if kafka.SameTopic(m.Ledger, ledger) {
		return ""
	}
	return fmt.Sprintf("ledger_missing: the last commit names a ledger with the topic id %s, and topic %q has %s: "+
		"it was recreated, or TOPIC_LEDGER names another one. Its events may have been charged; see ledger_missing in docs/runbook.md",
		base64.RawURLEncoding.EncodeToString(m.Ledger[:]), p.conf.Topics.Ledger, base64.RawURLEncoding.EncodeToString(ledger[:]))
}
