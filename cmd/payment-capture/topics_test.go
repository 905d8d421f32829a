package main

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// newAdministered starts a broker in memory, and returns its address and a client
// that administers it.
func newAdministered(t *testing.T) (string, *kadm.Client) {
	t.Helper()
	cluster, admin := newAdministeredCluster(t)
	return cluster.ListenAddrs()[0], admin
}

func newAdministeredCluster(t *testing.T) (*kfake.Cluster, *kadm.Client) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return cluster, kadm.NewClient(client)
}

// Redpanda and hosted services do not report every setting. What is unknown is a
// remark, whether it is left out or has no value; a difference beside it still
// fails.
func TestTopicsWithSettingsThatTheBrokerDoesNotReport(t *testing.T) {
	cluster, _ := newAdministeredCluster(t)
	setEnv(t, "KAFKA_BROKERS="+cluster.ListenAddrs()[0])
	if got := command(t, "topics"); got.code != exitOK {
		t.Fatalf("got %+v", got)
	}
	hidden := "min.insync.replicas"
	cluster.ControlKey(int16(kmsg.DescribeConfigs), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		req := r.(*kmsg.DescribeConfigsRequest)
		resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
		for _, asked := range req.Resources {
			resource := kmsg.NewDescribeConfigsResponseResource()
			resource.ResourceType, resource.ResourceName = asked.ResourceType, asked.ResourceName
			values := map[string]string{
				"cleanup.policy": "delete", "min.insync.replicas": "1", "retention.ms": "-1", "max.message.bytes": "2097152",
				"delete.retention.ms": "604800000", "segment.bytes": "104857600", "segment.ms": "86400000",
			}
			if asked.ResourceName == "payment-capture.ledger" {
				values["cleanup.policy"] = "compact"
			}
			for name, value := range values {
				c := kmsg.NewDescribeConfigsResponseResourceConfig()
				c.Name = name
				switch {
				case name != hidden:
					c.Value = &value
				case asked.ResourceName == "payment.captured": // without a value
				default:
					continue
				}
				resource.Configs = append(resource.Configs, c)
			}
			resp.Resources = append(resp.Resources, resource)
		}
		return resp, nil, true
	})
	for _, args := range [][]string{{"topics"}, {"topics", "--dry-run"}} {
		got := command(t, args...)
		if got.code != exitOK || strings.Count(got.stdout, "unknown: min.insync.replicas is not reported by the broker; it should be 1") != 5 {
			t.Errorf("%v: got %+v", args, got)
		}
	}
	hidden = "retention.ms" // of the parked topic alone
	if got := command(t, "topics", "--partitions", "7"); got.code != exitFailed || !strings.Contains(got.stdout, "unknown: retention.ms") ||
		!strings.Contains(got.stderr, "5 of 5 topics") {
		t.Errorf("got %+v", got)
	}
}

// Without flags existing topics may have any number of partitions.
func TestTopicsOfAnyPartitions(t *testing.T) {
	broker, admin := newAdministered(t)
	setEnv(t, "KAFKA_BROKERS="+broker)
	replicated := map[string]*string{"min.insync.replicas": new("1")}
	if _, err := admin.CreateTopic(t.Context(), 12, 1, replicated, "order.ready_to_capture"); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CreateTopic(t.Context(), 2, 1, replicated, "payment.captured"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // creates, and compares
		if got := command(t, "topics"); got.code != exitOK {
			t.Fatalf("got %+v", got)
		}
	}
	topics, err := admin.ListTopics(t.Context(), "payment-capture.ledger", "payment.captured")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"payment-capture.ledger": 6, "payment.captured": 2} {
		if got := len(topics[name].Partitions); got != want {
			t.Errorf("%s has %d partitions, want %d", name, got, want)
		}
	}
	if got := command(t, "topics", "--partitions", "12"); got.code != exitFailed || !strings.Contains(got.stdout, "2 partitions instead of 12") {
		t.Errorf("got %+v", got)
	}
}

// The ledger is a state by event, every other topic a list of events.
func TestTopicsMakesTheLedgerCompacted(t *testing.T) {
	broker, admin := newAdministered(t)
	setEnv(t, "KAFKA_BROKERS="+broker)
	if got := command(t, "topics"); got.code != exitOK {
		t.Fatalf("got %+v", got)
	}
	topics, err := admin.DescribeTopicConfigs(t.Context(), append(ourTopics(), "payment-capture.ledger")...)
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range topics {
		values := make(map[string]string)
		for _, kv := range topic.Configs {
			values[kv.Key] = kv.MaybeValue()
		}
		want := map[string]string{"cleanup.policy": "delete", "min.insync.replicas": "1"}
		if topic.Name == "payment-capture.ledger" {
			want = map[string]string{
				"cleanup.policy": "compact", "min.insync.replicas": "1",
				"delete.retention.ms": "604800000", "segment.bytes": "104857600", "segment.ms": "86400000",
			}
		}
		for key, value := range want {
			if values[key] != value {
				t.Errorf("%s: %s is %q, want %q", topic.Name, key, values[key], value)
			}
		}
	}
}

// With a retention the topic keeps what it covers, and a day more. A topic that keeps less, or
// for ever, is reported.
func TestTopicsWithARetention(t *testing.T) {
	broker, admin := newAdministered(t)
	setEnv(t, "KAFKA_BROKERS="+broker, "LEDGER_RETENTION=720h", "EVENT_TIME_REQUIRED=true")
	for range 2 { // creates, and compares
		if got := command(t, "topics"); got.code != exitOK {
			t.Fatalf("got %+v", got)
		}
	}
	for _, change := range []struct{ key, value, want string }{
		{"retention.ms", "2592000000", "retention.ms=2592000000 instead of 2678400000"},
		{"retention.bytes", "1000000000", "retention.bytes=1000000000 instead of -1"},
		{"cleanup.policy", "compact", "cleanup.policy=compact instead of compact,delete"},
	} {
		alter := []kadm.AlterConfig{{Name: change.key, Value: &change.value}}
		altered, err := admin.AlterTopicConfigs(t.Context(), alter, "payment-capture.ledger")
		if err != nil || altered[0].Err != nil {
			t.Fatal(err, altered)
		}
		if got := command(t, "topics"); got.code != exitFailed || !strings.Contains(got.stdout, "differs: "+change.want) {
			t.Errorf("got %+v", got)
		}
	}
}

// A ledger that deletes forgets what was charged: the check must not pass it.
func TestTopicsReportsALedgerThatDeletes(t *testing.T) {
	for _, policy := range []string{"delete", "compact,delete"} {
		t.Run(policy, func(t *testing.T) {
			broker, admin := newAdministered(t)
			setEnv(t, "KAFKA_BROKERS="+broker, "TOPIC_LEDGER=our-ledger")
			if got := command(t, "topics"); got.code != exitOK {
				t.Fatalf("got %+v", got)
			}
			altered, err := admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "cleanup.policy", Value: &policy}}, "our-ledger")
			if err != nil || altered[0].Err != nil {
				t.Fatal(err, altered)
			}
			for _, args := range [][]string{{"topics"}, {"topics", "--dry-run"}} {
				got := command(t, args...)
				if got.code != exitFailed || !strings.Contains(got.stdout, "differs: cleanup.policy="+policy+" instead of compact") ||
					!strings.Contains(got.stderr, "1 of 5 topics") {
					t.Errorf("%v: got %+v", args, got)
				}
			}
		})
	}
}
