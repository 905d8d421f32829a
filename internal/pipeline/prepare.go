package pipeline

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"

	"payment-capture/internal/kafka"
	"payment-capture/internal/offsetmeta"
)

// prepare looks at the topics and settles where the group begins.
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
	committed, err := p.committed(ctx, admin)
	if err != nil {
		return err
	}
	// No offset is settled above any of them, whatever they are.
	begin := offsetmeta.Metadata{Input: info[topics.Input].ID, Ledger: p.ledger.TopicID()}.Encode(0)
	first, err := kafka.EnsureStart(ctx, admin, p.conf.Group, topics.Input, p.conf.StartAt, begin)
	if err != nil {
		return err
	}
	if first {
		p.conf.Log.InfoContext(ctx, "the group is new: its start offsets are committed",
			slog.String("group", p.conf.Group), slog.String("topic", topics.Input))
	}
	p.groupMissing = p.missingLedger(committed)
	for _, name := range []string{topics.Captured, topics.Rejected, topics.Ledger} {
		if info[name].MaxMessageBytes < leastOutcomeBytes {
			return fmt.Errorf("%w: %q takes no record over %d bytes, outcomes and decisions take up to %d: raise its max.message.bytes",
				kafka.ErrUnfit, name, info[name].MaxMessageBytes, leastOutcomeBytes)
		}
	}
	if have, want := info[topics.Ledger].Partitions, info[topics.Input].Partitions; have < want {
		p.conf.Log.WarnContext(ctx, "the ledger has fewer partitions than the input: two instances that handle copies of one event at once share its note",
			slog.String("topic", topics.Ledger), slog.Int("partitions", have), slog.Int("input_partitions", want))
	}
	limits := make(map[string]int32)
	for name, topic := range info {
		limits[name] = topic.MaxMessageBytes
	}
	p.commits = kafka.CommitterConfig{
		Kafka:         p.conf.Kafka,
		Identity:      p.conf.Identity(),
		TopicID:       info[topics.Input].ID,
		MaxBatchBytes: limits,
		Placed:        topics.Ledger,
		Log:           p.conf.Log,
	}
	if p.conf.Static {
		p.commits.GroupInstanceID = &p.conf.InstanceID
	}
	return nil
}

// committed returns the group's committed offsets. It refuses a start that would
// skip what was published since a group that worked before lost its offsets.
func (p *Pipeline) committed(ctx context.Context, admin *kadm.Client) ([]kadm.Offset, error) {
	committed, err := kafka.CommittedOffsets(ctx, admin, p.conf.Group, p.conf.Topics.Input)
	if err != nil {
		return nil, err
	}
	empty, err := p.ledger.Empty(ctx)
	if err != nil {
		return nil, fmt.Errorf("look whether the ledger %q is empty: %w", p.conf.Topics.Ledger, err)
	}
	if len(committed) == 0 && p.conf.StartAt.Latest && !empty {
		return nil, fmt.Errorf("start group %q on topic %q: %w", p.conf.Group, p.conf.Topics.Input, kafka.ErrUnsafeStart)
	}
	if empty && !slices.ContainsFunc(committed, isOurs) {
		p.beginsAt = make(kafka.AcceptedOffsets)
		for _, c := range committed {
			p.beginsAt[c.Partition] = c.At
		}
	}
	return committed, nil
}

// isOurs reports whether this service committed an offset.
func isOurs(c kadm.Offset) bool {
	_, err := offsetmeta.Decode(c.Metadata, c.At)
	return err == nil
}

// missingLedger returns why the ledger is not the one that the group worked with;
// "": it is, as far as the group knows. Partitions whose own commit does not name
// a ledger go by it.
func (p *Pipeline) missingLedger(committed []kadm.Offset) string {
	for _, c := range committed {
		// What is not ours is reported when its partition starts.
		if m, err := offsetmeta.Decode(c.Metadata, c.At); err == nil {
			if missing := p.missingTo(m); missing != "" {
				return missing
			}
		}
	}
	return ""
}

// missingTo returns why the ledger is not the one that a commit knows. Ids that
// are zero are not known.
func (p *Pipeline) missingTo(m offsetmeta.Metadata) string {
	ledger := p.ledger.TopicID()
	if kafka.SameTopic(m.Ledger, ledger) {
		return ""
	}
	return fmt.Sprintf("ledger_missing: the last commit knows a ledger with the topic id %s, and topic %q has %s: "+
		"it was deleted and made anew, or TOPIC_LEDGER names another one. What it held may have been charged; docs/ledger.md says what to do",
		base64.RawURLEncoding.EncodeToString(m.Ledger[:]), p.conf.Topics.Ledger, base64.RawURLEncoding.EncodeToString(ledger[:]))
}
