//go:build synctests

package txnrecovery_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/kafka/txnrecovery"
	"payment-capture/internal/kafkatest"
)

const outTopic = "captured"

// cluster is a fake cluster with the topics of one identity.
type cluster struct {
	t      *testing.T
	broker *kafkatest.Broker
	conf   txnrecovery.Config
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, broker: kafkatest.Fake(t, kfake.SeedTopics(3, "orders", outTopic))}
	c.conf = txnrecovery.Config{
		Identity: txnrecovery.Identity{TransactionalID: "group/one", Group: "group", Input: "orders", Topics: []string{outTopic}},
		NewClient: func(opts ...kgo.Opt) (*kgo.Client, error) {
			return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.broker.Addresses...), kgo.Dialer(c.broker.Dial)}, opts...)...)
		},
		Log: slog.New(slog.DiscardHandler),
	}
	return c
}

// client returns a client that is closed with the test.
func (c *cluster) client(opts ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	client, err := c.conf.NewClient(opts...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(client.Close)
	return client
}

// acquire returns a client that owns the transactional id.
func (c *cluster) acquire() *kgo.Client {
	c.t.Helper()
	producer, err := txnrecovery.New(c.client(), c.conf).Acquire(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(producer.Close)
	return producer
}

// transaction produces a record in a transaction and ends it.
func (c *cluster) transaction(producer *kgo.Client, value string, end kgo.TransactionEndTry) {
	c.t.Helper()
	c.begin(producer, value)
	if err := producer.EndTransaction(c.t.Context(), end); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) begin(producer *kgo.Client, value string) {
	c.t.Helper()
	if err := producer.BeginTransaction(); err != nil {
		c.t.Fatal(err)
	}
	if err := producer.ProduceSync(c.t.Context(), &kgo.Record{Topic: outTopic, Value: []byte(value)}).FirstErr(); err != nil {
		c.t.Fatal(err)
	}
}

// hanging returns a hanging transaction of the producer's epoch, moved back by behind.
func (c *cluster) hanging(producer *kgo.Client, behind int16) *kafkatest.HangingTransaction {
	c.t.Helper()
	id, epoch, err := producer.ProducerID(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return &kafkatest.HangingTransaction{
		TransactionalID: c.conf.TransactionalID, ProducerID: id, ProducerEpoch: epoch - behind, Topic: outTopic, Partition: 1,
	}
}

// wantCompleted fails the test unless one transaction that wrote nothing completed h.
func (c *cluster) wantCompleted(h *kafkatest.HangingTransaction, commit bool) {
	c.t.Helper()
	if commits, writes := h.Completed(); !slices.Equal(commits, []bool{commit}) || writes > 0 {
		c.t.Errorf("completed by %v (true: a commit) after %d writes, want %v and no writes", commits, writes, commit)
	}
}

// wantRecords fails the test unless a read-committed consumer sees exactly these values.
func (c *cluster) wantRecords(values ...string) {
	c.t.Helper()
	consumer := c.client(kgo.ConsumeTopics(outTopic), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(c.t.Context(), 3*time.Second)
	defer cancel()
	var got []string
	for ctx.Err() == nil {
		consumer.PollFetches(ctx).EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	slices.Sort(got)
	if !slices.Equal(got, values) {
		c.t.Errorf("records %q are visible, want %q", got, values)
	}
}

// virtual runs f in virtual time on a cluster of its own.
func virtual(t *testing.T, f func(t *testing.T, c *cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newCluster(t)) })
}

// TestAcquireCompletesHangingTransaction: a hanging transaction ends as the coordinator
// decided, before the new owner writes anything.
func TestAcquireCompletesHangingTransaction(t *testing.T) {
	t.Parallel()
	committed := func(c *cluster, p *kgo.Client) { c.transaction(p, "last", kgo.TryCommit) }
	aborted := func(c *cluster, p *kgo.Client) { c.transaction(p, "last", kgo.TryAbort) }
	for name, test := range map[string]struct {
		last       func(*cluster, *kgo.Client)
		state      string
		epochAhead int16
		busy       int
		commit     bool
		records    []string // the last transaction does not really hang in the fake cluster
	}{
		"committed":                    {last: committed, state: "CompleteCommit", commit: true, records: []string{"last"}},
		"aborted":                      {last: aborted, state: "CompleteAbort"},
		"unknown, with stable offsets": {last: func(*cluster, *kgo.Client) {}, commit: true},
		"older than the last one":      {last: aborted, state: "CompleteAbort", epochAhead: 2, commit: true},
		"busy broker":                  {last: committed, state: "PrepareCommit", busy: 3, commit: true, records: []string{"last"}},
		"broker busy for long":         {last: aborted, state: "PrepareAbort", busy: 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			virtual(t, func(_ *testing.T, c *cluster) {
				before := c.acquire()
				h := c.hanging(before, 0)
				h.State, h.EpochAhead, h.Busy = test.state, test.epochAhead, test.busy
				test.last(c, before)
				c.broker.Hang(h)
				producer := c.acquire()
				c.wantCompleted(h, test.commit)
				c.transaction(producer, "next", kgo.TryCommit)
				c.wantRecords(append(test.records, "next")...)
			})
		})
	}
}

// TestAcquireGivesUp: a transaction that no completion ends is an operator's task.
func TestAcquireGivesUp(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T, c *cluster) {
		h := c.hanging(c.acquire(), 0)
		h.Permanent = true
		c.broker.Hang(h)
		_, err := txnrecovery.New(c.client(), c.conf).Acquire(t.Context())
		if err == nil || !strings.Contains(err.Error(), "docs/runbook.md") {
			t.Errorf("error %v, want one that names the runbook", err)
		}
		if commits, _ := h.Completed(); len(commits) != 4 {
			t.Errorf("%d completions, want 4", len(commits))
		}
	})
}

// TestCheck: Check finds a hanging transaction of a client that goes on.
func TestCheck(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T, c *cluster) {
		recovery := txnrecovery.New(c.client(), c.conf)
		if err := recovery.Check(t.Context()); err != nil {
			t.Errorf("before the first transaction: %v", err)
		}
		producer, err := recovery.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer producer.Close()
		c.transaction(producer, "one", kgo.TryCommit)
		if err := recovery.Check(t.Context()); err != nil {
			t.Errorf("after a commit: %v", err)
		}
		c.begin(producer, "two")
		if err := recovery.Check(t.Context()); err != nil {
			t.Errorf("in a transaction: %v", err)
		}
		if err := producer.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
		h := c.hanging(producer, 1)
		c.broker.Hang(h)
		if err := recovery.Check(t.Context()); !errors.Is(err, txnrecovery.ErrHanging) {
			t.Fatalf("error %v, want ErrHanging", err)
		}
		next, err := recovery.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer next.Close()
		c.wantCompleted(h, true)
		if err := recovery.Check(t.Context()); err != nil {
			t.Errorf("after the completion: %v", err)
		}
	})
}

// TestAcquireDecidesByOffsets: the coordinator does not know how the hanging transaction
// ended, and the principal may not describe the offsets topic. Then the group's offsets
// decide, unless Check has found that the client saw the commit.
func TestAcquireDecidesByOffsets(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		unstable, checked, commit bool
	}{
		"stable offsets":                   {commit: true},
		"unstable offsets":                 {unstable: true},
		"unstable offsets, found by Check": {unstable: true, checked: true, commit: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			virtual(t, func(t *testing.T, c *cluster) {
				producer := c.acquire()
				c.transaction(producer, "one", kgo.TryCommit)
				h := c.hanging(producer, 1)
				c.broker.Hang(h)
				c.broker.Fake.Fault(kfake.Fault{
					Keys: []kmsg.Key{kmsg.Metadata}, Topic: "__consumer_offsets", Err: kerr.TopicAuthorizationFailed, Count: -1,
				})
				if test.unstable {
					c.broker.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Err: kerr.UnstableOffsetCommit, Count: -1})
				}
				recovery := txnrecovery.New(c.client(), c.conf)
				if test.checked {
					if err := recovery.Check(t.Context()); !errors.Is(err, txnrecovery.ErrHanging) {
						t.Fatalf("error %v, want ErrHanging", err)
					}
				}
				next, err := recovery.Acquire(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				next.Close()
				c.wantCompleted(h, test.commit)
			})
		})
	}
}

// TestCheckWithoutLeader: partitions that cannot be checked are neither clean nor an
// obstacle for long.
func TestCheckWithoutLeader(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T, c *cluster) {
		c.transaction(c.acquire(), "one", kgo.TryCommit)
		fault := c.broker.Fake.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.DescribeProducers}, Topic: outTopic, Err: kerr.LeaderNotAvailable,
			Count: -1,
		})
		recovery := txnrecovery.New(c.client(), c.conf)
		began := time.Now()
		if err := recovery.Check(t.Context()); !errors.Is(err, txnrecovery.ErrIncomplete) {
			t.Errorf("error %v, want ErrIncomplete", err)
		}
		if took := time.Since(began); took < time.Second || took > 30*time.Second {
			t.Errorf("the check took %s, want that it waits a few seconds for the leader", took)
		}
		fault.Remove()
		if err := recovery.Check(t.Context()); err != nil {
			t.Errorf("with a leader: %v", err)
		}
	})
}

// TestAcquireWithoutPermission: a principal that may not describe producers, transactions
// or the offsets topic can produce.
func TestAcquireWithoutPermission(t *testing.T) {
	t.Parallel()
	for _, fault := range []kfake.Fault{
		{Keys: []kmsg.Key{kmsg.DescribeProducers}, Topic: outTopic, Err: kerr.TopicAuthorizationFailed, Count: -1},
		{Keys: []kmsg.Key{kmsg.DescribeTransactions}, Err: kerr.TransactionalIDAuthorizationFailed, Count: -1},
		{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "__consumer_offsets", Err: kerr.TopicAuthorizationFailed, Count: -1},
	} {
		t.Run(fault.Keys[0].Name(), func(t *testing.T) {
			t.Parallel()
			virtual(t, func(t *testing.T, c *cluster) {
				faults := c.broker.Fake.Fault(fault)
				c.transaction(c.acquire(), "one", kgo.TryCommit)
				c.wantRecords("one")
				if faults.Hits() == 0 {
					t.Error("the request was not made")
				}
			})
		})
	}
}

// TestCompleteOwn: our own transactional id is recovered at once, by the caller.
func TestCompleteOwn(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T, c *cluster) {
		producer := c.acquire()
		c.transaction(producer, "one", kgo.TryCommit)
		h := c.hanging(producer, 1)
		c.broker.Hang(h)
		recovered := 0
		recoverOwn := func(context.Context) error { recovered++; return nil }
		if err := txnrecovery.Complete(t.Context(), c.conf, h.ProducerID, txnrecovery.HangingAfter, recoverOwn); err != nil || recovered != 1 {
			t.Errorf("recovered %d times, error %v", recovered, err)
		}
	})
}

// TestCompleteOfAnotherInstance: an instance takes over another transactional id of its
// group after a grace period, if no transaction of it is ongoing.
func TestCompleteOfAnotherInstance(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		ownGroup  string // of the instance that completes
		id        string // of the hanging transaction; "": group/one
		ongoing   bool
		unknown   bool   // no transactional id has the producer id
		wantError string // "": the transaction is completed
	}{
		"of the group":           {ownGroup: "group"},
		"of another group":       {ownGroup: "other", wantError: "not of group"},
		"of a group with /":      {ownGroup: "a", id: "a/b/one", wantError: "not of group"},
		"ongoing":                {ownGroup: "group", ongoing: true, wantError: "Ongoing"},
		"of an unknown producer": {ownGroup: "group", unknown: true, wantError: "docs/runbook.md"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			virtual(t, func(t *testing.T, c *cluster) {
				if test.id != "" {
					c.conf.TransactionalID = test.id
				}
				producer := c.acquire()
				c.transaction(producer, "one", kgo.TryCommit)
				h := c.hanging(producer, 1)
				if test.ongoing {
					c.begin(producer, "two")
				}
				c.broker.Hang(h)
				producerID := h.ProducerID
				if test.unknown {
					producerID += 100
				}
				other := c.conf
				other.Group, other.TransactionalID = test.ownGroup, test.ownGroup+"/two"
				recoverOwn := func(context.Context) error {
					t.Error("the transactional id was treated as our own")
					return nil
				}
				if err := txnrecovery.Complete(t.Context(), other, producerID, txnrecovery.HangingAfter, recoverOwn); err == nil {
					t.Error("completed before the grace period has passed")
				}
				err := txnrecovery.Complete(t.Context(), other, producerID, 3*txnrecovery.HangingAfter, recoverOwn)
				if test.wantError == "" {
					if err != nil {
						t.Error(err)
					}
					c.wantCompleted(h, true)
					return
				}
				if err == nil || !strings.Contains(err.Error(), test.wantError) {
					t.Errorf("error %v, want one with %q", err, test.wantError)
				}
				if commits, _ := h.Completed(); len(commits) > 0 {
					t.Errorf("completed by %v", commits)
				}
			})
		})
	}
}

// TestOpenTransactions lists what is open at an offset.
func TestOpenTransactions(t *testing.T) {
	t.Parallel()
	virtual(t, func(t *testing.T, c *cluster) {
		producer := c.client(kgo.TransactionalID("group/one"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		c.transaction(producer, "one", kgo.TryCommit)
		c.begin(producer, "two") // at offset 2: the first transaction's marker is at 1
		id, _, err := producer.ProducerID(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		admin := kadm.NewClient(c.client())
		for at, want := range map[int64]int{1: 0, 2: 1, 3: 1} {
			open, err := txnrecovery.OpenTransactions(t.Context(), admin, outTopic, 0, at)
			if err != nil || len(open) != want {
				t.Errorf("at offset %d: %d transactions, error %v; want %d", at, len(open), err, want)
				continue
			}
			if want > 0 && (open[0].ProducerID != id || open[0].Start != 2 || open[0].Last.IsZero()) {
				t.Errorf("at offset %d: %+v, want producer id %d from offset 2", at, open[0], id)
			}
		}
		if _, err := txnrecovery.OpenTransactions(t.Context(), admin, "nowhere", 0, 1); err == nil {
			t.Error("no error for a topic that does not exist")
		}
	})
}
