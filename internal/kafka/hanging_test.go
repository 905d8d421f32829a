//go:build synctests

package kafka

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// hang has the fake cluster say that a producer has something open, until a
// transaction of its partitions ends.
type hang struct {
	producer  int64
	epoch     int32
	partition int32 // of testOut
	// state is what the coordinator says of the last transaction; "": as the fake
	// one does, which does not know how one ended.
	state string
	later int16 // how much its epoch is ahead

	mu     sync.Mutex
	open   bool
	added  bool   // the partition was added to a transaction
	ends   []bool // the ends that were asked for since: commit?
	writes int    // before the end
	fail   int    // so many AddPartitionsToTxn fail before one succeeds
	stays  bool   // it hangs whatever is done
}

func (w *world) hang(h *hang) {
	h.open = true
	control := func(key kmsg.Key, f func(req kmsg.Request) (kmsg.Response, bool)) {
		w.broker.Fake.ControlKey(key.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
			w.broker.Fake.KeepControl()
			h.mu.Lock()
			defer h.mu.Unlock()
			resp, handled := f(req)
			return resp, nil, handled
		})
	}
	control(kmsg.DescribeProducers, func(kreq kmsg.Request) (kmsg.Response, bool) {
		req := kreq.(*kmsg.DescribeProducersRequest)
		if !h.open || req.Topics[0].Topic != testOut || !slices.Contains(req.Topics[0].Partitions, h.partition) {
			return nil, false
		}
		resp := req.ResponseKind().(*kmsg.DescribeProducersResponse)
		t := kmsg.NewDescribeProducersResponseTopic()
		t.Topic = testOut
		for _, partition := range req.Topics[0].Partitions {
			p := kmsg.NewDescribeProducersResponseTopicPartition()
			p.Partition = partition
			if partition == h.partition {
				a := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
				a.ProducerID, a.ProducerEpoch, a.CurrentTxnStartOffset = h.producer, h.epoch, 0
				p.ActiveProducers = append(p.ActiveProducers, a)
			}
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
		return resp, true
	})
	control(kmsg.DescribeTransactions, func(kreq kmsg.Request) (kmsg.Response, bool) {
		req := kreq.(*kmsg.DescribeTransactionsRequest)
		if !h.open || h.state == "" || h.added {
			return nil, false
		}
		resp := req.ResponseKind().(*kmsg.DescribeTransactionsResponse)
		s := kmsg.NewDescribeTransactionsResponseTransactionState()
		s.TransactionalID, s.State, s.ProducerID, s.ProducerEpoch = testTxID, h.state, h.producer, int16(h.epoch)+h.later
		resp.TransactionStates = append(resp.TransactionStates, s)
		return resp, true
	})
	control(kmsg.AddPartitionsToTxn, func(kreq kmsg.Request) (kmsg.Response, bool) {
		req := kreq.(*kmsg.AddPartitionsToTxnRequest)
		for _, t := range req.Topics {
			if !h.open || t.Topic != testOut || !slices.Contains(t.Partitions, h.partition) {
				continue
			}
			if h.fail > 0 {
				h.fail--
				resp := req.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
				resp.Topics = []kmsg.AddPartitionsToTxnResponseTopic{{
					Topic: testOut, Partitions: []kmsg.AddPartitionsToTxnResponseTopicPartition{{Partition: h.partition, ErrorCode: kerr.ConcurrentTransactions.Code}},
				}}
				return resp, true
			}
			h.added = true
		}
		return nil, false
	})
	control(kmsg.Produce, func(kmsg.Request) (kmsg.Response, bool) {
		if h.open {
			h.writes++
		}
		return nil, false
	})
	control(kmsg.EndTxn, func(kreq kmsg.Request) (kmsg.Response, bool) {
		if h.open && h.added {
			h.ends = append(h.ends, kreq.(*kmsg.EndTxnRequest).Commit)
			h.open = h.stays
		}
		return nil, false
	})
}

// endedBy fails unless one transaction ended it, in this way.
func (h *hang) endedBy(t *testing.T, commit bool) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Equal(h.ends, []bool{commit}) || h.writes > 0 {
		t.Errorf("it was ended by %v (true: a commit) after %d writes, want %v and no writes", h.ends, h.writes, []bool{commit})
	}
}

// TestNewCommitterEndsWhatHangs: what hangs of an identity ends as the broker had
// decided, before anything else is written under it.
func TestNewCommitterEndsWhatHangs(t *testing.T) {
	t.Parallel()
	end := func(how kgo.TransactionEndTry) func(*testing.T, *Committer) {
		return func(t *testing.T, c *Committer) {
			t.Helper()
			if err := c.client.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			if err := c.client.ProduceSync(t.Context(), &kgo.Record{Topic: testOut, Value: []byte("last")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
			if err := c.client.EndTransaction(t.Context(), how); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, test := range map[string]struct {
		last   func(*testing.T, *Committer)
		state  string
		later  int16 // how much the coordinator's epoch is ahead
		fail   int
		commit bool
		seen   []string // of the last transaction, which did not hang in the fake cluster
	}{
		"committed":             {last: end(kgo.TryCommit), state: txnCommitted, commit: true, seen: []string{"last"}},
		"aborted":               {last: end(kgo.TryAbort), state: txnAborted},
		"nothing known":         {last: func(*testing.T, *Committer) {}, commit: true}, // the offsets do not hang
		"older than the last":   {last: end(kgo.TryAbort), state: txnAborted, later: 2, commit: true},
		"the broker is busy":    {last: end(kgo.TryCommit), state: txnPrepareCommit, fail: 3, commit: true, seen: []string{"last"}},
		"it does not come soon": {last: end(kgo.TryAbort), state: txnPrepareAbort, fail: 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start()
				member, before := w.member(), w.committer()
				id, epoch, err := before.client.ProducerID(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				test.last(t, before)
				h := &hang{producer: id, epoch: int32(epoch), partition: 1, state: test.state, later: test.later, fail: test.fail}
				w.hang(h)
				c := w.committer()
				h.endedBy(t, test.commit)
				w.commitsAfter(c, member, test.seen...)
			})
		})
	}
}

// TestNewCommitterTellsWhatDoesNotEnd: an end that changes nothing is not tried
// for ever.
func TestNewCommitterTellsWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		id, epoch, err := w.committer().client.ProducerID(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.hang(&hang{producer: id, epoch: int32(epoch), partition: 2, stays: true})
		if _, err := NewCommitter(t.Context(), w.committerConfig()); err == nil || !strings.Contains(err.Error(), "docs/operating.md") {
			t.Errorf("error %v", err)
		}
	})
}

// TestCommitWhileTheOneBeforeHangs: a broker that starts again has left the
// transaction before in part. What is begun then must not reach it before that
// one is ended as its client was told: an abort would take what is committed with
// it.
func TestCommitWhileTheOneBeforeHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		member, c := w.member(), w.committer()
		if err := c.Commit(t.Context(), batch(member, "one", 1)); err != nil {
			t.Fatal(err)
		}
		id, epoch, err := c.client.ProducerID(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		h := &hang{producer: id, epoch: int32(epoch) - 1, partition: 0}
		w.hang(h)
		var once sync.Once
		w.wire.at(func(key int16) verdict {
			v := pass
			if key == kmsg.Produce.Int16() {
				once.Do(func() { v = cutBefore })
			}
			return v
		})
		if err := c.Commit(t.Context(), batch(member, "two", 2)); !errors.Is(err, ErrNotCommitted) || !errors.Is(err, errHangs) {
			t.Fatalf("error %v, want ErrNotCommitted because of what hangs", err)
		}
		w.commitsAfter(c, member, "one")
		h.endedBy(t, true)
	})
}

// TestMend: an instance that idles ends what hangs of it, and goes on.
func TestMend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		member, c := w.member(), w.committer()
		if err := c.Commit(t.Context(), batch(member, "one", 1)); err != nil {
			t.Fatal(err)
		}
		id, epoch, err := c.client.ProducerID(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		h := &hang{producer: id, epoch: int32(epoch) - 1, partition: 1}
		w.hang(h)
		conf := w.committerConfig()
		mended := 0
		mend := func(ctx context.Context) error {
			mended++
			return c.Mend(ctx)
		}
		if err := EndHanging(t.Context(), conf.Kafka, conf.Identity, id, HangsAfter, conf.Log, mend); err != nil {
			t.Fatal(err)
		}
		if mended != 1 {
			t.Errorf("mended %d times", mended)
		}
		h.endedBy(t, true)
		w.commitsAfter(c, member, "one")
	})
}

// TestEndHangingOfAnother: the identity of an instance that does not end it
// itself is taken, if it is one of the group, and has nothing under way.
func TestEndHangingOfAnother(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		own   string // the transactional id of who looks
		group string
		busy  bool
		ended bool
		other bool // of a producer that nobody has
		id    string
	}{
		"of the group":       {own: "group/two", group: testGroup, ended: true},
		"of another group":   {own: "other/two", group: "other"},
		"of a group below":   {own: "a/two", group: "a", id: "a/b/one"},
		"with one under way": {own: "group/two", group: testGroup, busy: true},
		"of nobody":          {own: "group/two", group: testGroup, other: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start()
				conf := w.committerConfig()
				if test.id != "" {
					conf.TransactionalID = test.id
				}
				c, err := NewCommitter(t.Context(), conf)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if err := c.Commit(t.Context(), batch(w.member(), "one", 1)); err != nil {
					t.Fatal(err)
				}
				id, epoch, err := c.client.ProducerID(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if test.busy {
					if err := c.client.BeginTransaction(); err != nil {
						t.Fatal(err)
					}
					if err := c.client.ProduceSync(t.Context(), &kgo.Record{Topic: testOut, Value: []byte("two")}).FirstErr(); err != nil {
						t.Fatal(err)
					}
				}
				h := &hang{producer: id, epoch: int32(epoch) - 1, partition: 1}
				if !test.busy && test.id == "" {
					h.state = txnCommitted
				}
				w.hang(h)
				if test.other {
					id += 100
				}
				own := Identity{TransactionalID: test.own, Group: test.group, Input: testInput, Topics: []string{testOut}}
				mend := func(context.Context) error {
					t.Error("it is taken for its own")
					return nil
				}
				if err := EndHanging(t.Context(), conf.Kafka, own, id, HangsAfter, conf.Log, mend); err == nil {
					t.Error("it is taken before the instance had time to end it itself")
				}
				err = EndHanging(t.Context(), conf.Kafka, own, id, 3*HangsAfter, conf.Log, mend)
				if (err == nil) != test.ended {
					t.Errorf("error %v, want one: %v", err, !test.ended)
				}
				if test.ended {
					h.endedBy(t, true)
				} else if len(h.ends) > 0 {
					t.Errorf("it was ended: %v", h.ends)
				}
			})
		})
	}
}

// TestDecide goes through what is known of a transaction that hangs.
func TestDecide(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		state       string
		behind      int16 // how much older what hangs is than the coordinator's epoch
		offsetsHang bool
		commit      bool
	}{
		// Of the last transaction, with the epoch raised by its end or not.
		{txnCommitted, 1, true, true},
		{txnCommitted, 1, false, true},
		{txnPrepareCommit, 0, true, true},
		{txnAborted, 1, true, false},
		{txnAborted, 1, false, false},
		{txnPrepareAbort, 0, false, false},
		{txnFencing, 0, true, false},
		{txnOngoing, 0, false, false},
		// Of an earlier one, or nothing is known.
		{txnCommitted, 2, false, true},
		{txnCommitted, 2, true, false},
		{txnAborted, 2, false, true},
		{txnOngoing, 1, false, true},
		{txnOngoing, 1, true, false},
		{txnEmpty, 1, false, true},
		{txnEmpty, 1, true, false},
		{"", 0, false, true},
		{"", 0, true, false},
	} {
		last := kadm.DescribedTransaction{State: test.state, ProducerEpoch: 7}
		if got := decide(last, 7-test.behind, test.offsetsHang); got != test.commit {
			t.Errorf("%+v: commit %v", test, got)
		}
	}
}

// TestPartitionOf compares with what brokers say: kafka-dump-log shows the
// offsets of these groups in these of 50 partitions.
func TestPartitionOf(t *testing.T) {
	t.Parallel()
	for group, want := range map[string]int32{"TestChaos.group": 25} {
		if got := partitionOf(group, 50); got != want {
			t.Errorf("group %q is in partition %d, want %d", group, got, want)
		}
	}
	if got := partitionOf("polygenelubricants", 50); got != 0 { // its hash is the least there is
		t.Errorf("partition %d", got)
	}
}
