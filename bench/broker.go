package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/kafkatest"
)

// broker is Kafka in a container, with the default settings that a single broker
// allows.
type broker struct {
	address   string
	container *testcontainers.DockerContainer
	client    *kgo.Client
	admin     *kadm.Client
}

// jvm has the options of Kafka's own start script. They override those of an image,
// which may be tuned for a quick start.
const jvm = "-Xms1g -Xmx1g -XX:TieredStopAtLevel=4 -XX:-UseSerialGC -XX:+UseG1GC -XX:MaxGCPauseMillis=20 " +
	"-XX:InitiatingHeapOccupancyPercent=35"

func startBroker(ctx context.Context, more map[string]string) (*broker, error) {
	ports, err := freeAddresses(ctx, 3)
	if err != nil {
		return nil, err
	}
	outside, own, controller := ports[0], ports[1], ports[2]
	properties := map[string]string{
		"process.roles": "broker,controller", "node.id": "1", "controller.quorum.voters": "1@" + controller.String(),
		"listeners":                      "MAIN://" + inside(outside) + ",SELF://" + own.String() + ",CONTROLLER://" + controller.String(),
		"advertised.listeners":           "MAIN://" + outside.String() + ",SELF://" + own.String(),
		"listener.security.protocol.map": "MAIN:PLAINTEXT,SELF:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"inter.broker.listener.name":     "SELF", "controller.listener.names": "CONTROLLER",
		"log.dirs": "/tmp/kafka-logs", "auto.create.topics.enable": "false",
		"offsets.topic.replication.factor": "1", "transaction.state.log.replication.factor": "1",
		"transaction.state.log.min.isr": "1", "share.coordinator.state.topic.replication.factor": "1",
		"share.coordinator.state.topic.min.isr": "1",
		// The broker does not delay the first outcome by waiting
		// for more members.
		"group.initial.rebalance.delay.ms": "0",
	}
	maps.Copy(properties, more)
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(properties)) {
		fmt.Fprintf(&text, "%s=%s\n", key, properties[key])
	}
	b := &broker{address: outside.String()}
	b.container, err = testcontainers.Run(ctx, kafkatest.Image(),
		testcontainers.WithFiles(testcontainers.ContainerFile{
			Reader: strings.NewReader(text.String()), ContainerFilePath: "/mnt/shared/config/server.properties", FileMode: 0o644,
		}),
		testcontainers.WithEnv(map[string]string{"_JAVA_OPTIONS": jvm}),
		network(outside),
		testcontainers.WithWaitStrategyAndDeadline(2*time.Minute, wait.ForLog("Kafka Server started")),
	)
	if err == nil {
		b.client, err = kgo.NewClient(kgo.SeedBrokers(b.address), kgo.ProducerLinger(0), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", kafkatest.Image(), err), b.close())
	}
	b.admin = kadm.NewClient(b.client)
	if err := b.warmUp(ctx); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

// warmUp makes the broker create its internal topics, so that the first workload does
// not wait for them.
func (b *broker) warmUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	const topic = "warm-up"
	if err := b.create(ctx, topic, 1, nil); err != nil {
		return err
	}
	producer, err := kgo.NewClient(kgo.SeedBrokers(b.address), kgo.TransactionalID(topic))
	if err != nil {
		return err
	}
	defer producer.Close()
	if err := producer.BeginTransaction(); err != nil {
		return err
	}
	if err := producer.ProduceSync(ctx, &kgo.Record{Topic: topic}).FirstErr(); err != nil {
		return err
	}
	if err := producer.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return err
	}
	for {
		err := b.admin.CommitAllOffsets(ctx, topic, kadm.OffsetsFromRecords(kgo.Record{Topic: topic}))
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
}

// cpu returns the CPU time of the broker's container since it was started.
func (b *broker) cpu(ctx context.Context) (time.Duration, error) {
	docker, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err != nil {
		return 0, err
	}
	defer docker.Close() //nolint:errcheck // nothing is lost by it
	res, err := docker.ContainerStats(ctx, b.container.GetContainerID(), client.ContainerStatsOptions{})
	if err != nil {
		return 0, err
	}
	defer res.Body.Close() //nolint:errcheck // it is read
	var stats container.StatsResponse
	if err := json.NewDecoder(res.Body).Decode(&stats); err != nil {
		return 0, fmt.Errorf("the broker's statistics: %w", err)
	}
	return time.Duration(stats.CPUStats.CPUUsage.TotalUsage), nil //nolint:gosec // G115: some hundred years
}

func (b *broker) close() error {
	if b.client != nil {
		b.client.Close()
	}
	return testcontainers.TerminateContainer(b.container, testcontainers.StopTimeout(0))
}

// create creates a topic with one replica.
func (b *broker) create(ctx context.Context, name string, partitions int32, conf map[string]string) error {
	configs := make(map[string]*string, len(conf))
	for k, v := range conf {
		configs[k] = &v
	}
	if _, err := b.admin.CreateTopic(ctx, partitions, 1, configs, name); err != nil {
		return fmt.Errorf("create topic %s: %w", name, err)
	}
	for { // until it has leaders
		ends, err := b.admin.ListEndOffsets(ctx, name)
		if err == nil && ends.Error() == nil && len(ends[name]) == int(partitions) {
			return nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// drop deletes topics, so that finished measurements do not fill the disk.
func (b *broker) drop(ctx context.Context, names ...string) error {
	resp, err := b.admin.DeleteTopics(ctx, names...)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		return fmt.Errorf("delete topics: %w", err)
	}
	return nil
}

// visible returns how many offsets of a topic a read-committed reader can see.
func (b *broker) visible(ctx context.Context, topic string) (int64, error) {
	ends, err := b.admin.ListCommittedOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return 0, err
	}
	var sum int64
	ends.Each(func(o kadm.ListedOffset) { sum += o.Offset })
	return sum, nil
}

// readAll calls a function with all records of a topic that a read-committed reader
// can see now, in order within a partition.
func (b *broker) readAll(ctx context.Context, topic string, see func(*kgo.Record)) error {
	ends, err := b.admin.ListCommittedOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return err
	}
	left := make(map[int32]int64)
	from := make(map[int32]kgo.Offset)
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition], from[o.Partition] = o.Offset, kgo.NewOffset().At(0)
		}
	})
	if len(left) == 0 {
		return nil
	}
	reader, err := kgo.NewClient(kgo.SeedBrokers(b.address), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		return err
	}
	defer reader.Close()
	for len(left) > 0 {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read %s: %w", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			end, wanted := left[r.Partition]
			if !wanted {
				return
			}
			if !r.Attrs.IsControl() && r.Offset < end {
				see(r)
			}
			if r.Offset >= end-1 {
				delete(left, r.Partition)
			}
		})
	}
	return nil
}
