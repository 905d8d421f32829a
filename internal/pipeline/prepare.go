package pipeline

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kadm"

	"payment-capture/internal/kafka"
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
	// No offset is settled above any of them, whatever they are.
	begin := metadata{topic: info[topics.Input].ID, ledger: p.ledger.TopicID()}.encode(0)
	first, err := kafka.EnsureStart(ctx, admin, p.conf.Group, topics.Input, p.conf.StartAt, begin)
	if err != nil {
		return err
	}
	if first {
		p.conf.Log.InfoContext(ctx, "the group is new: its start offsets are committed",
			slog.String("group", p.conf.Group), slog.String("topic", topics.Input))
	}
	if p.groupMissing, err = p.missingLedger(ctx, admin); err != nil {
		return err
	}
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

// missingLedger says why the ledger is not the one that the group worked with;
// "": it is, as far as the group knows. It is for the partitions that have no commit
// of their own to tell.
func (p *Pipeline) missingLedger(ctx context.Context, admin *kadm.Client) (string, error) {
	all, err := kafka.CommittedMetadata(ctx, admin, p.conf.Group, p.conf.Topics.Input)
	if err != nil {
		return "", err
	}
	for _, text := range all {
		// What cannot be read is told of when its partition starts.
		if m, err := decodeMetadata(text, 0); err == nil {
			if missing := p.missingTo(m); missing != "" {
				return missing, nil
			}
		}
	}
	return "", nil
}

// missingTo says why the ledger is not the one that a commit knows.
func (p *Pipeline) missingTo(m metadata) string {
	ledger := p.ledger.TopicID()
	if m.ledger == (topicID{}) || m.ledger == ledger {
		return ""
	}
	return fmt.Sprintf("ledger_missing: the last commit knows a ledger with the topic id %s, and topic %q has %s: "+
		"it was deleted and made anew, or TOPIC_LEDGER names another one. What it held may have been charged; docs/ledger.md says what to do",
		base64.RawURLEncoding.EncodeToString(m.ledger[:]), p.conf.Topics.Ledger, base64.RawURLEncoding.EncodeToString(ledger[:]))
}
