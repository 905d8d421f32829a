//go:build synctests

package kafka

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

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
		h := w.hangs(c, 0)
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
		h := w.hangs(c, 1)
		conf := w.committerConfig()
		mended := 0
		mend := func(ctx context.Context) error {
			mended++
			return c.Reinitialise(ctx)
		}
		if err := EndHanging(t.Context(), conf.Kafka, conf.Identity, h.producer, HangsAfter, conf.Log, mend); err != nil {
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
				if test.busy {
					if err := c.client.BeginTransaction(); err != nil {
						t.Fatal(err)
					}
					if err := c.client.ProduceSync(t.Context(), &kgo.Record{Topic: testOut, Value: []byte("two")}).FirstErr(); err != nil {
						t.Fatal(err)
					}
				}
				h := w.hangs(c, 1)
				if !test.busy && test.id == "" {
					h.state = txnCommitted
				}
				id := h.producer
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
