package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"payment-capture/internal/app"
	"payment-capture/internal/config"
	"payment-capture/internal/kafka"
	"payment-capture/internal/ledger"
)

func newTopics() *cobra.Command {
	var dryRun bool
	var partitions int32
	var replication int16
	cmd := &cobra.Command{
		Use:   "topics",
		Short: "Create missing topics, and show how the others differ",
		Long: "Create missing topics, and show how existing ones differ from what they should be. " +
			"Existing topics are never changed. With a difference the exit code is 1; a setting that the broker does not report is a remark.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.ReadKafka()
			if err != nil {
				return usageError{err}
			}
			if partitions < 0 || replication < 0 {
				return usageError{errors.New("--partitions and --replication-factor: at least 1, or 0 for the default")}
			}
			return ensureTopics(cmd, c, dryRun, partitions, replication)
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only show what would be done")
	cmd.Flags().Int32Var(&partitions, "partitions", 0,
		"partitions of each topic; 0: create 6, and accept any number of existing topics")
	cmd.Flags().Int16Var(&replication, "replication-factor", 0,
		"replicas of each topic; 0: create as many as there are brokers, up to 3, and accept any number of existing topics")
	return cmd
}

// topicSpecs returns the topics as they should be. Outcomes and parked records
// are not compacted: each is an event, not a state.
func topicSpecs(c config.Config, partitions int32, replication int16) []kafka.TopicSpec {
	var specs []kafka.TopicSpec
	seen := make(map[string]bool)
	for _, name := range []string{c.TopicInput, c.TopicCaptured, c.TopicRejected, c.TopicParked, c.TopicLedger} {
		if seen[name] {
			continue
		}
		seen[name] = true
		conf := map[string]string{
			"cleanup.policy": "delete",
			// An acknowledged record outlives one broker, if there are several.
			"min.insync.replicas": strconv.Itoa(max(1, int(replication)-1)),
		}
		switch name {
		case c.TopicParked:
			// A parked record waits for an operator for as long as it takes.
			conf["retention.ms"] = "-1"
			// It carries the input record and the reason beside it.
			conf["max.message.bytes"] = "2097152"
		case c.TopicLedger:
			ledgerSettings(conf, c.LedgerRetention)
		}
		specs = append(specs, kafka.TopicSpec{Name: name, Partitions: partitions, ReplicationFactor: replication, Config: conf})
	}
	return specs
}

// ledgerSettings changes settings to those of the ledger's topic.
func ledgerSettings(conf map[string]string, retention time.Duration) {
	// The newest entry of each key stays, unless LEDGER_RETENTION has passed.
	conf["cleanup.policy"] = "compact"
	if retention > 0 {
		conf["cleanup.policy"] = "compact,delete"
		conf["retention.ms"] = milliseconds(retention + ledger.SweepEvery)
		conf["retention.bytes"] = "-1"
	}
	// An instance that was away for less finds that an attempt was decided or
	// withdrawn. After more its local store keeps the attempt, which is the safe
	// side: a decision beats it, and an event without one is looked up, or
	// parked, instead of called for.
	conf["delete.retention.ms"] = milliseconds(7 * 24 * time.Hour)
	// Only closed segments are compacted, and all that is not is read whenever a
	// local store is lost: two records of three are attempts and their ends.
	conf["segment.bytes"] = strconv.Itoa(100 << 20)
	conf["segment.ms"] = milliseconds(24 * time.Hour)
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// defaultPartitions is the number of partitions of a topic that is created.
const defaultPartitions = 6

func ensureTopics(cmd *cobra.Command, c config.Config, dryRun bool, partitions int32, replication int16) error {
	conf, err := app.KafkaConfig(c, newLogger(c, cmd.ErrOrStderr()), nil)
	if err != nil {
		return usageError{err}
	}
	client, err := conf.NewClient()
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	anyPartitions, anyReplication := partitions == 0, replication == 0
	if anyPartitions {
		partitions = defaultPartitions
	}
	if anyReplication {
		brokers, err := admin.ListBrokers(cmd.Context())
		if err != nil {
			return fmt.Errorf("ask %s for the brokers: %w", strings.Join(c.KafkaBrokers, ","), err)
		}
		replication = int16(min(3, len(brokers)))
	}
	specs := topicSpecs(c, partitions, replication)
	for i := range specs {
		specs[i].AnyPartitions, specs[i].AnyReplication = anyPartitions, anyReplication
	}
	results, err := kafka.EnsureTopics(cmd.Context(), admin, dryRun, specs...)
	if err != nil {
		return err
	}
	out := table.NewWriter()
	out.SetOutputMirror(cmd.OutOrStdout())
	out.AppendHeader(table.Row{"topic", "state"})
	failed := 0
	for _, r := range results {
		switch {
		case r.Err != nil:
			failed++
			out.AppendRow(table.Row{r.Spec.Name, r.Err.Error()})
		case r.Created && dryRun:
			out.AppendRow(table.Row{r.Spec.Name, "missing: would be created"})
		case r.Created:
			out.AppendRow(table.Row{r.Spec.Name, "created"})
		case len(r.Differs) > 0:
			failed++
			for _, d := range r.Differs {
				out.AppendRow(table.Row{r.Spec.Name, "differs: " + d})
			}
		case len(r.Unknown) == 0:
			out.AppendRow(table.Row{r.Spec.Name, "as it should be"})
		}
		for _, remark := range r.Unknown {
			out.AppendRow(table.Row{r.Spec.Name, "unknown: " + remark})
		}
	}
	out.Render()
	if failed > 0 {
		return fmt.Errorf("%d of %d topics are not as they should be", failed, len(results))
	}
	return nil
}
