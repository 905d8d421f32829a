//go:build synctests

package kafka

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// steps are the requests of a transaction at which a producer may turn out to be
// fenced.
func steps() []kmsg.Key {
	return []kmsg.Key{kmsg.Produce, kmsg.AddOffsetsToTxn, kmsg.TxnOffsetCommit, kmsg.EndTxn}
}

// takeAt makes a client acquire the committer's transactional id at the committer's next
// request of a kind. taken reports whether it has.
func (w *world) takeAt(step kmsg.Key, thief *kgo.Client) (taken *bool) {
	w.t.Helper()
	taken = new(bool)
	w.wire.at(func(key int16) interruption {
		if key == step.Int16() && !*taken {
			*taken = true
			w.take(step, thief)
		}
		return pass
	})
	return taken
}

// take makes a client acquire the transactional id just before a request of a kind. The
// fault is needed because the fake broker refuses EndTxn with an old epoch by another
// error than Kafka.
func (w *world) take(before kmsg.Key, thief *kgo.Client) {
	w.t.Helper()
	if _, _, err := thief.ProducerID(w.t.Context()); err != nil {
		w.t.Error(err)
	}
	if before == kmsg.EndTxn {
		w.broker.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.ProducerFenced, Count: 1, TopLevel: true})
	}
}

// TestCommitFencedOnce: another client acquires the transactional id for a moment, as an
// instance does that completes a hanging transaction. The committer acquires it again
// and fences that client.
func TestCommitFencedOnce(t *testing.T) {
	t.Parallel()
	for _, step := range steps() {
		t.Run(step.Name(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start()
				member, c := w.member(kgo.ClientID("of another instance")), w.committer()
				other := w.client(kgo.TransactionalID(testTxID))
				taken := w.takeAt(step, other)
				err := c.Commit(t.Context(), batch(member, "one", 7))
				if !*taken {
					t.Error("the step was not reached")
				}
				if !errors.Is(err, ErrNotCommitted) || !isFencing(err) {
					t.Errorf("error %v, want ErrNotCommitted by a fencing", err)
				}
				w.expect()
				w.commitsAfter(c, member)
				if err := other.BeginTransaction(); err != nil {
					t.Fatal(err)
				}
				err = other.ProduceSync(t.Context(), &kgo.Record{Topic: testOut}).FirstErr()
				if !isFencing(err) {
					t.Errorf("both go on: %v", err)
				}
			})
		})
	}
}

// TestCommitFencedAgain: a second fencing within a minute ends the process; one
// long after the first does not.
func TestCommitFencedAgain(t *testing.T) {
	t.Parallel()
	for _, step := range steps() {
		t.Run(step.Name(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start()
				member, c := w.member(kgo.ClientID("of another instance")), w.committer()
				for _, after := range []time.Duration{0, 2 * fencedAgain} {
					<-time.After(after)
					w.takeAt(step, w.client(kgo.TransactionalID(testTxID)))
					if err := c.Commit(t.Context(), batch(member, "one", 7)); !errors.Is(err, ErrNotCommitted) {
						t.Fatalf("error %v, want ErrNotCommitted", err)
					}
				}
				<-time.After(fencedAgain / 2)
				w.takeAt(step, w.client(kgo.TransactionalID(testTxID)))
				err := c.Commit(t.Context(), batch(member, "one", 7))
				if !errors.Is(err, ErrFenced) || !strings.Contains(err.Error(), "ago too") {
					t.Errorf("error %v, want ErrFenced that names the first time", err)
				}
				w.expect()
			})
		})
	}
}

// TestCommitFencedByALiveProcess: if another process of the identity is in the
// group, the committer ends at the first fencing and leaves the id to it.
func TestCommitFencedByALiveProcess(t *testing.T) {
	t.Parallel()
	for _, step := range steps() {
		t.Run(step.Name(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start()
				member, c := w.member(), w.committer()
				thief := w.client(kgo.TransactionalID(testTxID))
				b := batch(member, "one", 7)
				taken := false
				w.wire.at(func(key int16) interruption {
					if key == step.Int16() && !taken {
						taken = true
						w.take(step, thief)
						w.member()
					}
					return pass
				})
				err := c.Commit(t.Context(), b)
				if !errors.Is(err, ErrFenced) || !strings.Contains(err.Error(),
					`has this instance's client id "test"; give each process an INSTANCE_ID`) {
					t.Errorf("error %v, want ErrFenced that names the other member", err)
				}
				w.expect()
				// The other one still has the id.
				if err := thief.BeginTransaction(); err != nil {
					t.Fatal(err)
				}
				if err := thief.ProduceSync(t.Context(), &kgo.Record{Topic: testOut}).FirstErr(); err != nil {
					t.Errorf("the other process was fenced: %v", err)
				}
			})
		})
	}
}

// TestCommitFencedWhileAlone: the broker reports a fencing although no other client has
// acquired the id, and the group still has a member of a process that died.
func TestCommitFencedWhileAlone(t *testing.T) {
	t.Parallel()
	for _, answer := range []*kerr.Error{kerr.InvalidProducerEpoch, kerr.ProducerFenced} {
		for _, step := range steps() {
			t.Run(answer.Message+" to "+step.Name(), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					w.start()
					w.member()
					member, conf := w.member(), w.committerConfig()
					var log bytes.Buffer
					conf.Log = slog.New(slog.NewTextHandler(&log, nil))
					c, err := NewCommitter(t.Context(), conf)
					if err != nil {
						t.Fatal(err)
					}
					defer c.Close()
					once := w.broker.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{step}, Err: answer, Count: 1, TopLevel: step == kmsg.AddOffsetsToTxn ||
						step == kmsg.EndTxn})
					err = c.Commit(t.Context(), batch(member, "one", 7))
					if once.Hits() != 1 {
						t.Fatalf("%d faults were met", once.Hits())
					}
					if !errors.Is(err, ErrNotCommitted) {
						t.Errorf("error %v, want ErrNotCommitted", err)
					}
					if !strings.Contains(log.String(), "producer fenced, no other process found") {
						t.Errorf("the log has no word of it: %s", log.String())
					}
					w.expect()
					w.commitsAfter(c, member)
				})
			})
		}
	}
}

// TestCommitFencedByUnknownOwner: if the brokers do not show who owns the id, a first
// fencing does not end the process.
func TestCommitFencedByUnknownOwner(t *testing.T) {
	t.Parallel()
	for _, asked := range []kmsg.Key{kmsg.DescribeTransactions, kmsg.DescribeGroups} {
		t.Run(asked.Name(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start()
				member, c := w.member(kgo.ClientID("of another instance")), w.committer()
				denied := w.broker.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{asked}, Err: kerr.GroupAuthorizationFailed, Count: 1})
				w.takeAt(kmsg.TxnOffsetCommit, w.client(kgo.TransactionalID(testTxID)))
				if err := c.Commit(t.Context(), batch(member, "one", 7)); !errors.Is(err, ErrNotCommitted) {
					t.Errorf("error %v, want ErrNotCommitted", err)
				}
				if denied.Hits() == 0 {
					t.Error("the broker was not asked")
				}
				w.commitsAfter(c, member)
			})
		})
	}
}
