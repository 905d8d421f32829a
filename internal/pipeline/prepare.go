package pipeline

import (
	"context"
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
	first, err := kafka.EnsureStart(ctx, admin, p.conf.Group, topics.Input, p.conf.StartAt)
	if err != nil {
		return err
	}
	if first {
		p.conf.Log.InfoContext(ctx, "the group is new: its start offsets are committed",
			slog.String("group", p.conf.Group), slog.String("topic", topics.Input))
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
		Kafka:           p.conf.Kafka,
		TransactionalID: p.conf.TransactionalID(),
		Group:           p.conf.Group,
		Topic:           topics.Input,
		TopicID:         info[topics.Input].ID,
		MaxBatchBytes:   limits,
		Placed:          topics.Ledger,
		Log:             p.conf.Log,
	}
	if p.conf.Static {
		p.commits.GroupInstanceID = &p.conf.InstanceID
	}
	return nil
}
