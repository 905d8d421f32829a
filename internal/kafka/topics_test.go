//go:build synctests

package kafka

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

func TestEnsureTopics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		specs := []TopicSpec{
			{Name: "new", Partitions: 4, ReplicationFactor: 1, Config: map[string]string{
				"cleanup.policy":    "compact",
				"max.message.bytes": "2000000",
			}},
			{Name: testInput, Partitions: 3, ReplicationFactor: 1},
			{Name: testOut, Partitions: 6, ReplicationFactor: 3, Config: map[string]string{
				"cleanup.policy": "compact", "retention.ms": "1000",
				"delete.retention.ms": "5", "kept.secret": "1",
			}},
		}
		check := func(results []TopicResult, created bool) {
			t.Helper()
			if len(results) != 3 {
				t.Fatalf("%d results", len(results))
			}
			for i, r := range results {
				if r.Err != nil || r.Spec.Name != specs[i].Name || r.Created != (i == 0 && created) {
					t.Errorf("%s: %+v", specs[i].Name, r)
				}
			}
			if len(results[0].Differs) != 0 || len(results[1].Differs) != 0 {
				t.Errorf("differ: %v, %v", results[0].Differs, results[1].Differs)
			}
			for _, want := range []string{
				"3 partitions instead of 6", "replication factor 1 instead of 3", "cleanup.policy=delete instead of compact", "retention.ms=",
				"delete.retention.ms=86400000 instead of 5",
			} {
				if !slices.ContainsFunc(results[2].Differs, func(s string) bool { return strings.HasPrefix(s, want) }) {
					t.Errorf("%q is not in %q", want, results[2].Differs)
				}
			}
		}
		unknown := func(results []TopicResult) {
			t.Helper()
			if got := results[2].Unknown; !slices.Equal(got, []string{"kept.secret is not reported by the broker; it should be 1"}) {
				t.Errorf("unknown: %q", got)
			}
		}
		for range 2 {
			time.Sleep(time.Second)
			results, err := EnsureTopics(t.Context(), w.admin, true, specs...)
			if err != nil {
				t.Fatal(err)
			}
			check(results, true)
			unknown(results)
		}
		if _, err := Inspect(t.Context(), w.admin, "new"); err == nil {
			t.Fatal("a dry run made the topic")
		}
		for _, first := range []bool{true, false} {
			results, err := EnsureTopics(t.Context(), w.admin, false, specs...)
			if err != nil {
				t.Fatal(err)
			}
			check(results, first)
			time.Sleep(time.Second) // a client remembers for a moment what topics there are
		}
		info, err := Inspect(t.Context(), w.admin, "new", testOut)
		if err != nil {
			t.Fatal(err)
		}
		if n := info["new"]; n.Partitions != 4 || n.ReplicationFactor != 1 || n.MaxMessageBytes != 2_000_000 ||
			n.Config["cleanup.policy"] != "compact" || n.ID == [16]byte{} {
			t.Errorf("got %+v", n)
		}
		if o := info[testOut]; o.Partitions != 3 || o.MaxMessageBytes != defaultMaxMessageBytes || o.ID == info["new"].ID {
			t.Errorf("got %+v", o)
		}
	})
}

func TestEnsureTopicsErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.broker.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Topic: "refused", Err: kerr.PolicyViolation, Count: -1})
		results, err := EnsureTopics(t.Context(), w.admin, false,
			TopicSpec{Name: "refused", Partitions: 1, ReplicationFactor: 1}, TopicSpec{Name: "taken", Partitions: 1, ReplicationFactor: 1})
		if err != nil || len(results) != 2 || !errors.Is(results[0].Err, kerr.PolicyViolation) ||
			!strings.Contains(results[0].Err.Error(), `"refused"`) {
			t.Fatalf("got %+v, %v", results, err)
		}
		if results[1].Err != nil || !results[1].Created {
			t.Errorf("one refusal keeps the next from being made: %+v", results[1])
		}
	})
}

// TestEnsureTopicsThatMayNotBeSeen: a topic that may not be described is not missing.
func TestEnsureTopicsThatMayNotBeSeen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.broker.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: testOut, Err: kerr.TopicAuthorizationFailed, Count: -1})
		for _, dryRun := range []bool{true, false} {
			results, err := EnsureTopics(t.Context(), w.admin, dryRun, TopicSpec{Name: testOut, Partitions: 3, ReplicationFactor: 1})
			if err == nil && results[0].Err == nil {
				t.Errorf("dry run %v: got %+v, want an error", dryRun, results[0])
			}
		}
	})
}

func TestInspect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, err := Inspect(t.Context(), w.admin, testInput, "nowhere", "missing")
		if err == nil || !strings.Contains(err.Error(), `"nowhere"`) || !strings.Contains(err.Error(), `"missing"`) ||
			strings.Contains(err.Error(), testInput) {
			t.Errorf("error %v does not name the missing ones alone", err)
		}
		if !errors.Is(err, kerr.UnknownTopicOrPartition) {
			t.Errorf("error %v", err)
		}
		w.broker.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: testOut, Err: kerr.TopicAuthorizationFailed, Count: -1})
		_, err = Inspect(t.Context(), w.admin, testInput, testOut)
		if want := `which Read and Write include, on topic "` + testOut; err == nil || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), testInput) {
			t.Errorf("error %v does not have %q alone", err, want)
		}
		w.broker.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.TopicAuthorizationFailed, Count: -1})
		info, err := Inspect(t.Context(), w.admin, testInput)
		if err != nil || info[testInput].Partitions != 3 || info[testInput].MaxMessageBytes != defaultMaxMessageBytes {
			t.Errorf("without leave to read the configuration: %+v, %v", info, err)
		}
	})
}

// TestCheckTopic: an unknown topic id, of either side, is not another topic's.
func TestCheckTopic(t *testing.T) {
	t.Parallel()
	unknown := [16]byte{}
	ok := func(err error) bool { return err == nil }
	deleted := func(err error) bool { return errors.Is(err, kerr.UnknownTopicOrPartition) }
	recreated := func(err error) bool { return errors.Is(err, ErrRecreated) }
	for name, test := range map[string]struct {
		opts []kfake.Opt
		had  func(w *world) [16]byte
		want func(error) bool
	}{
		"the same":                        {nil, (*world).topicID, ok},
		"another":                         {nil, func(*world) [16]byte { return [16]byte{9} }, recreated},
		"it was unknown":                  {nil, func(*world) [16]byte { return unknown }, ok},
		"the brokers lost topic ids":      {[]kfake.Opt{kfake.MaxVersions(kversion.V2_7_0())}, func(*world) [16]byte { return [16]byte{9} }, ok},
		"the brokers never had topic ids": {[]kfake.Opt{kfake.MaxVersions(kversion.V2_7_0())}, (*world).topicID, ok},
		"it was deleted":                  {nil, func(w *world) [16]byte { w.deleteInput(); return unknown }, deleted},
		"it may not be described": {nil, func(w *world) [16]byte {
			w.broker.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: testInput, Err: kerr.TopicAuthorizationFailed, Count: -1})
			return [16]byte{9}
		}, func(err error) bool { return errors.Is(err, kerr.TopicAuthorizationFailed) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, test.opts...)
				had := test.had(w)
				if err := CheckTopic(t.Context(), w.client(), testInput, had); !test.want(err) {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}

func (w *world) deleteInput() {
	w.t.Helper()
	if _, err := w.admin.DeleteTopics(w.t.Context(), testInput); err != nil {
		w.t.Fatal(err)
	}
}
