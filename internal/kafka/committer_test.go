//go:build synctests

package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/kafka/txnrecovery"
)

// expect checks that exactly these outcomes are visible, and that the offsets of the
// last one are committed.
func (w *world) expect(outcomes ...string) {
	w.t.Helper()
	if got := w.outcomes(); !slices.Equal(got, outcomes) {
		w.t.Errorf("outcomes %q, want %q", got, outcomes)
	}
	at, metadata := w.committed(0)
	_, other := w.committed(2)
	if len(outcomes) == 0 {
		if at > 0 || metadata != "" || other != "" {
			w.t.Errorf("offset %d with %q and %q is committed", at, metadata, other)
		}
		return
	}
	last := outcomes[len(outcomes)-1]
	if metadata != "zero "+last || other != "two "+last {
		w.t.Errorf("metadata %q and %q, want those of %q", metadata, other, last)
	}
}

// commitsAfter checks that the committer still works.
func (w *world) commitsAfter(c *Committer, member *kgo.Client, before ...string) {
	w.t.Helper()
	if err := c.Commit(w.t.Context(), batch(member, "next", 90)); err != nil {
		w.t.Fatalf("the next commit: %v", err)
	}
	w.expect(append(before, "next")...)
}

// commitsThrough commits a batch whose end is cut, and then the next one: it is committed
// if the broker had the end, and otherwise not.
func (w *world) commitsThrough(c *Committer, member *kgo.Client, cut interruption) {
	w.t.Helper()
	err := c.Commit(w.t.Context(), batch(member, "one", 7))
	if cut == cutAfter {
		if err != nil {
			w.t.Fatal(err)
		}
		w.commitsAfter(c, member, "one")
		return
	}
	if !errors.Is(err, ErrNotCommitted) {
		w.t.Fatalf("error %v, want ErrNotCommitted", err)
	}
	w.commitsAfter(c, member)
}

func TestCommit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		member, c := w.member(), w.committer()
		w.expect()
		var all []string
		for i := range 5 {
			value := fmt.Sprint("outcome ", i)
			all = append(all, value)
			if err := c.Commit(t.Context(), batch(member, value, int64(i)*10)); err != nil {
				t.Fatal(err)
			}
			w.expect(all...)
			if at, _ := w.committed(2); at != int64(i)*10+1 {
				t.Errorf("partition 2 is committed at %d", at)
			}
			if at, _ := w.committed(1); at != 0 {
				t.Errorf("partition 1 is committed at %d", at)
			}
		}
	})
}

// TestCommitIsAtomic reads the outcomes just before the end of the transaction.
func TestCommitIsAtomic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		member, c := w.member(), w.committer()
		reached := false
		w.wire.at(func(key int16) interruption {
			if key == kmsg.EndTxn.Int16() && !reached {
				reached = true
				if got := w.outcomes(); len(got) != 0 {
					t.Errorf("outcomes %q before the end", got)
				}
			}
			return pass
		})
		if err := c.Commit(t.Context(), batch(member, "one", 7)); err != nil {
			t.Fatal(err)
		}
		if !reached {
			t.Error("no EndTxn was seen")
		}
		w.expect("one")
	})
}

func TestCommitOfAStaleGeneration(t *testing.T) {
	t.Parallel()
	change := map[string]func(*Batch){
		"older generation": func(b *Batch) { b.Generation-- },
		"newer generation": func(b *Batch) { b.Generation++ },
		"unknown member":   func(b *Batch) { b.Member = "nobody" },
	}
	for name, f := range change {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start()
				member, c := w.member(), w.committer()
				b := batch(member, "stale", 7)
				f(&b)
				if err := c.Commit(t.Context(), b); !errors.Is(err, ErrNotCommitted) {
					t.Fatalf("error %v, want ErrNotCommitted", err)
				}
				w.expect()
				w.commitsAfter(c, member)
			})
		})
	}
}

func TestCommitOfAFencedMember(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		first := w.member(kgo.InstanceID("static"))
		conf := w.committerConfig()
		conf.GroupInstanceID = new("static")
		c, err := NewCommitter(t.Context(), conf)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Commit(t.Context(), batch(first, "one", 7)); err != nil {
			t.Fatal(err)
		}
		b := batch(first, "two", 8)
		w.member(kgo.InstanceID("static"))
		if err := c.Commit(t.Context(), b); !errors.Is(err, ErrFenced) {
			t.Errorf("error %v, want ErrFenced", err)
		}
		w.expect("one")
	})
}

// TestCommitAfterASuspension: the broker aborts a transaction that exceeds its timeout,
// and raises the epoch. However often that happens, no other process caused it.
func TestCommitAfterASuspension(t *testing.T) {
	t.Parallel()
	for _, step := range []kmsg.Key{kmsg.AddOffsetsToTxn, kmsg.TxnOffsetCommit, kmsg.EndTxn} {
		t.Run(step.Name(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start()
				member, c := w.member(), w.committer()
				slept := false
				w.wire.at(func(key int16) interruption {
					if key == step.Int16() && !slept {
						slept = true
						// Longer than the transaction may take, shorter than the committer waits.
						<-time.After(txnrecovery.TransactionTimeout + txnrecovery.TransactionTimeout/3)
					}
					return pass
				})
				for range 2 { // within a minute
					slept = false
					err := c.Commit(t.Context(), batch(member, "one", 7))
					if !errors.Is(err, ErrNotCommitted) || errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("error %v, want ErrNotCommitted, and not by the time that the committer waits", err)
					}
					if step != kmsg.EndTxn && !isFencing(err) {
						t.Errorf("error %v: the raised epoch was not met", err)
					}
				}
				w.expect()
				slept = true
				w.commitsAfter(c, member)
			})
		})
	}
}

func TestCommitIsRefused(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		fault kfake.Fault
		want  error
	}{
		"produce authorization": {kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: testOut, Err: kerr.TopicAuthorizationFailed}, ErrRefused},
		"produce too large":     {kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: testOut, Err: kerr.MessageTooLarge}, ErrRefused},
		"add offsets":           {kfake.Fault{Keys: []kmsg.Key{kmsg.AddOffsetsToTxn}, Err: kerr.GroupAuthorizationFailed}, ErrRefused},
		"one partition's metadata": {kfake.Fault{
			Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Partitions: []int32{2},
			Err: kerr.OffsetMetadataTooLarge,
		}, ErrRefused},
		"one partition's topic": {
			kfake.Fault{Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Partitions: []int32{2}, Err: kerr.UnknownTopicID},
			ErrRefused,
		},
		"one partition, passing": {
			kfake.Fault{Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Partitions: []int32{2}, Err: kerr.UnknownServerError},
			ErrNotCommitted,
		},
		"rebalance": {
			kfake.Fault{Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Partitions: []int32{0}, Err: kerr.RebalanceInProgress},
			ErrNotCommitted,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start()
				member, c := w.member(), w.committer()
				tt.fault.Count = -1
				faults := w.broker.Fake.Fault(tt.fault)
				for range 2 {
					if err := c.Commit(t.Context(), batch(member, "one", 7)); !errors.Is(err, tt.want) || !errors.Is(err, tt.fault.Err) {
						t.Fatalf("error %v, want %v", err, tt.want)
					}
				}
				w.expect()
				faults.Remove()
				w.commitsAfter(c, member)
			})
		})
	}
}

func TestCommitToAnUnknownTopic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		member, c := w.member(), w.committer()
		b := batch(member, "one", 7)
		b.Records = append(b.Records, &kgo.Record{Topic: "nowhere", Value: []byte("x")})
		if err := c.Commit(t.Context(), b); !errors.Is(err, ErrRefused) || !errors.Is(err, kerr.UnknownTopicOrPartition) {
			t.Errorf("error %v, want ErrRefused", err)
		}
		w.expect()
		w.commitsAfter(c, member)
	})
}

func TestCommitOfARecordThatIsTooLarge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		member, c := w.member(), w.committer()
		b := batch(member, "one", 7)
		b.Records = append(b.Records, &kgo.Record{Topic: testOut, Value: make([]byte, 2<<20)})
		if err := c.Commit(t.Context(), b); !errors.Is(err, ErrRefused) {
			t.Errorf("error %v, want ErrRefused", err)
		}
		w.expect()
		w.commitsAfter(c, member)
	})
}

// TestCommitWhoseEndIsNotAnswered: the client gets no response to EndTxn, which was
// applied or not, for one request or for all.
func TestCommitWhoseEndIsNotAnswered(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		cut   interruption
		times int32
	}{
		{"not applied, once", cutBefore, 1},
		{"applied, once", cutAfter, 1},
		{"not applied, ever", cutBefore, 1 << 30},
		{"applied, ever", cutAfter, 1 << 30},
	}
	for _, tt := range tests {
		for _, version := range []string{"transaction.version 2", "transaction.version 1"} {
			t.Run(tt.name+", "+version, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					var opts []kfake.Opt
					if version == "transaction.version 1" {
						opts = append(opts, kfake.MaxVersions(oldTransactions()))
					}
					w := newWorld(t, opts...)
					w.start()
					member, c := w.member(), w.committer()
					var cuts atomic.Int32
					w.wire.at(func(key int16) interruption {
						if key == kmsg.EndTxn.Int16() && cuts.Add(1) <= tt.times {
							return tt.cut
						}
						return pass
					})
					err := c.Commit(t.Context(), batch(member, "one", 7))
					w.wire.at(nil)
					if cuts.Load() == 0 {
						t.Fatal("no EndTxn was cut")
					}
					seen := slices.Contains(w.outcomes(), "one")
					t.Logf("%d ends were cut, seen: %v, error: %v", cuts.Load(), seen, err)
					if seen != (err == nil) {
						t.Errorf("seen: %v, error: %v", seen, err)
					}
					if err != nil && !errors.Is(err, ErrNotCommitted) {
						t.Errorf("error %v, want ErrNotCommitted", err)
					}
					if tt.times > 1 && seen != (tt.cut == cutAfter) {
						t.Errorf("seen: %v", seen)
					}
					if seen {
						w.expect("one")
						w.commitsAfter(c, member, "one")
						return
					}
					w.expect()
					w.commitsAfter(c, member)
				})
			})
		}
	}
}

// TestCommitWhoseEndIsAnsweredByAnError: the broker refuses EndTxn once, or longer than
// the client retries.
func TestCommitWhoseEndIsAnsweredByAnError(t *testing.T) {
	t.Parallel()
	for _, e := range []*kerr.Error{
		kerr.UnknownServerError, kerr.InvalidTxnState, kerr.RequestTimedOut, kerr.NotCoordinator, kerr.CoordinatorNotAvailable,
		kerr.CoordinatorLoadInProgress, kerr.ConcurrentTransactions,
	} {
		for _, count := range []int{1, 50} {
			t.Run(fmt.Sprint(e.Message, " ", count), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					w.start()
					member, c := w.member(), w.committer()
					faults := w.broker.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, TopLevel: true, Err: e, Count: count})
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
					defer cancel()
					err := c.Commit(ctx, batch(member, "one", 7))
					if faults.Hits() == 0 {
						t.Fatal("no EndTxn failed")
					}
					faults.Remove()
					seen := slices.Contains(w.outcomes(), "one")
					t.Logf("%d failed, seen: %v, error: %v", faults.Hits(), seen, err)
					if seen != (err == nil) || (err != nil && !errors.Is(err, ErrNotCommitted)) {
						t.Errorf("seen: %v, error: %v", seen, err)
					}
					if seen {
						w.commitsAfter(c, member, "one")
					} else {
						w.commitsAfter(c, member)
					}
				})
			})
		}
	}
}

// TestCommitOfANewGroupWhoseEndIsNotAnswered: the group has no committed offsets that
// could show how the transaction ended.
func TestCommitOfANewGroupWhoseEndIsNotAnswered(t *testing.T) {
	t.Parallel()
	for _, cut := range []interruption{cutBefore, cutAfter} {
		t.Run(fmt.Sprint(cut), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				c := w.committer()
				w.wire.at(func(key int16) interruption {
					if key == kmsg.EndTxn.Int16() {
						return cut
					}
					return pass
				})
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				err := c.Commit(ctx, batch(nil, "one", 7))
				if cut == cutAfter && err != nil || cut == cutBefore && !errors.Is(err, ErrNotCommitted) {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}

func TestCommitWhoseEndStaysUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		member, c := w.member(), w.committer()
		w.wire.at(func(key int16) interruption {
			if key == kmsg.EndTxn.Int16() {
				w.wire.setDown(true)
				return cutAfter
			}
			return pass
		})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		began := time.Now()
		if err := c.Commit(ctx, batch(member, "one", 7)); !errors.Is(err, ErrUnknown) {
			t.Errorf("error %v, want ErrUnknown", err)
		}
		if took := time.Since(began); took < time.Minute || took > 3*time.Minute {
			t.Errorf("it took %v to give up, the context ends after two minutes", took)
		}
	})
}

// TestCommitThroughAnOutageAtItsEnd: the outage begins at EndTxn and is longer than the
// transaction timeout.
func TestCommitThroughAnOutageAtItsEnd(t *testing.T) {
	t.Parallel()
	for _, cut := range []interruption{cutBefore, cutAfter} {
		t.Run(fmt.Sprint(cut), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start()
				member, c := w.member(), w.committer()
				w.wire.at(func(key int16) interruption {
					if key == kmsg.EndTxn.Int16() {
						w.wire.at(nil)
						w.wire.setDown(true)
						time.AfterFunc(3*time.Minute, func() { w.wire.setDown(false) })
						return cut
					}
					return pass
				})
				w.commitsThrough(c, member, cut)
			})
		})
	}
}

// TestNewCommitterAbortsOpenTransaction: readers do not wait for the timeout of a
// transaction that a crashed process left open.
func TestNewCommitterAbortsOpenTransaction(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		member := w.member()
		crashed := w.committer()
		if err := crashed.client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		b := batch(member, "left", 7)
		if err := crashed.client.ProduceSync(t.Context(), b.Records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := crashed.sendOffsets(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		w.commitsAfter(w.committer(), member)
		if took := time.Since(began); took > 5*time.Second { // 3 of it to read the outcomes
			t.Errorf("it took %v", took)
		}
	})
}

func TestNewCommitterFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		conf := w.committerConfig()
		w.broker.Fake.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.TransactionalIDAuthorizationFailed, TopLevel: true,
			Count: -1,
		})
		if _, err := NewCommitter(t.Context(), conf); !errors.Is(err, kerr.TransactionalIDAuthorizationFailed) {
			t.Errorf("error %v", err)
		}
	})
}

func TestCommitOffsets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		member, conf := w.member(), w.committerConfig()
		b := batch(member, "skipped", 7)
		b.Records = nil
		if err := CommitOffsets(t.Context(), member, conf, b); err != nil {
			t.Fatal(err)
		}
		for partition, want := range map[int32]string{0: "zero skipped", 1: "", 2: "two skipped"} {
			if _, got := w.committed(partition); got != want {
				t.Errorf("partition %d: metadata %q, want %q", partition, got, want)
			}
		}
		for name, change := range map[string]func(*Batch){
			"older generation": func(b *Batch) { b.Generation-- },
			"unknown member":   func(b *Batch) { b.Member = "nobody" },
		} {
			stale := batch(member, "stale", 9)
			change(&stale)
			if err := CommitOffsets(t.Context(), member, conf, stale); !errors.Is(err, ErrNotCommitted) {
				t.Errorf("%s: error %v, want ErrNotCommitted", name, err)
			}
		}
		if _, got := w.committed(0); got != "zero skipped" {
			t.Errorf("metadata %q", got)
		}
	})
}

// TestCommitOfManyRecords produces more to one partition of an outcome topic than one of
// its batches may hold, while another topic allows larger ones.
func TestCommitOfManyRecords(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		member, conf := w.member(), w.committerConfig()
		results, err := EnsureTopics(t.Context(), w.admin, false, TopicSpec{
			Name: "parked", Partitions: 1, ReplicationFactor: 1, Config: map[string]string{"max.message.bytes": "4194304"},
		})
		if err != nil || results[0].Err != nil {
			t.Fatal(err, results)
		}
		conf.MaxBatchBytes = map[string]int32{"parked": 4 << 20}
		c, err := NewCommitter(t.Context(), conf)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		b := batch(member, "one", 7)
		random := rand.NewChaCha8([32]byte{})
		for range 1000 {
			value := make([]byte, 3000)
			_, _ = random.Read(value)
			b.Records = append(b.Records, &kgo.Record{Topic: testOut, Key: []byte("k"), Value: value})
		}
		if err := c.Commit(t.Context(), b); err != nil {
			t.Errorf("%d records of 3 kB: %v", len(b.Records), err)
		}
	})
}
