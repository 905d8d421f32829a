//go:build synctests

package kafka

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/kafka/txnrecovery"
)

func TestEnsureStartWithoutAStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		did, err := EnsureStart(t.Context(), w.admin, testGroup, testInput, StartAt{}, withoutMetadata)
		if did || !errors.Is(err, ErrNoStart) {
			t.Fatalf("got %v, %v; want ErrNoStart", did, err)
		}
		did, err = EnsureStart(t.Context(), w.admin, testGroup, testInput, StartAt{Time: time.Now().Add(time.Second)}, withoutMetadata)
		if did || !errors.Is(err, ErrFutureStart) {
			t.Fatalf("got %v, %v; want ErrFutureStart", did, err)
		}
	})
}

func TestEnsureStart(t *testing.T) {
	t.Parallel()
	first := time.Date(1999, 11, 23, 10, 0, 0, 0, time.UTC) // before the virtual time
	tests := []struct {
		name string
		at   StartAt
		want [3]int64
	}{
		{"earliest", StartAt{Earliest: true}, [3]int64{1, 0, 0}},
		{"latest", StartAt{Latest: true}, [3]int64{5, 2, 0}},
		{"a time", StartAt{Time: first.Add(1500 * time.Millisecond)}, [3]int64{2, 2, 0}},
		{"a time before all", StartAt{Time: first.Add(-time.Hour)}, [3]int64{1, 0, 0}},
		{"a time after all", StartAt{Time: first.Add(time.Hour)}, [3]int64{5, 2, 0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.produce(0, 5, first)
				w.produce(1, 2, first)
				gone := make(kadm.Offsets)
				gone.AddOffset(testInput, 0, 1, -1)
				if _, err := w.admin.DeleteRecords(t.Context(), gone); err != nil {
					t.Fatal(err)
				}
				check := func() {
					t.Helper()
					for n, want := range tt.want {
						if at, _ := w.committed(int32(n)); at != want {
							t.Errorf("partition %d: committed %d, want %d", n, at, want)
						}
					}
				}
				did, err := EnsureStart(t.Context(), w.admin, testGroup, testInput, tt.at, withoutMetadata)
				if !did || err != nil {
					t.Fatalf("got %v, %v", did, err)
				}
				check()
				commits := w.broker.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Observe: true, Count: -1})
				w.produce(0, 3, first.Add(time.Minute))
				for _, again := range []StartAt{{Latest: true}, tt.at, {}} {
					if did, err := EnsureStart(t.Context(), w.admin, testGroup, testInput, again, withoutMetadata); did || err != nil {
						t.Errorf("again: got %v, %v", did, err)
					}
				}
				check()
				if n := commits.Hits(); n != 0 {
					t.Errorf("%d commits for a group that has offsets", n)
				}
			})
		})
	}
}

// TestEnsureStartKeepsAnOldGroup: offsets of one partition are enough for a
// group to be known; the others were added to the topic.
func TestEnsureStartKeepsAnOldGroup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		one := make(kadm.Offsets)
		one.AddOffset(testInput, 1, 0, -1)
		if _, err := w.admin.CommitOffsets(t.Context(), testGroup, one); err != nil {
			t.Fatal(err)
		}
		if did, err := EnsureStart(t.Context(), w.admin, testGroup, testInput, StartAt{Latest: true}, withoutMetadata); did || err != nil {
			t.Fatalf("got %v, %v", did, err)
		}
		if at, _ := w.committed(0); at != -1 {
			t.Errorf("partition 0 is committed at %d", at)
		}
	})
}

// TestEnsureStartOfAnotherTopic: a group that has offsets of other topics has
// none of this one.
func TestEnsureStartOfAnotherTopic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		other := make(kadm.Offsets)
		other.AddOffset(testOut, 1, 0, -1)
		if _, err := w.admin.CommitOffsets(t.Context(), testGroup, other); err != nil {
			t.Fatal(err)
		}
		if _, err := EnsureStart(t.Context(), w.admin, testGroup, testInput, StartAt{}, withoutMetadata); !errors.Is(err, ErrNoStart) {
			t.Errorf("error %v, want ErrNoStart", err)
		}
		if did, err := EnsureStart(t.Context(), w.admin, testGroup, testInput, StartAt{Earliest: true}, withoutMetadata); !did || err != nil {
			t.Errorf("got %v, %v", did, err)
		}
	})
}

func TestEnsureStartBesideAMember(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		member := w.member()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if did, err := EnsureStart(ctx, w.admin, testGroup, testInput, StartAt{Latest: true}, withoutMetadata); did ||
			!errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, %v; want it to wait for the member's offsets", did, err)
		}
		var committing sync.WaitGroup
		defer committing.Wait() // the answer may come after EnsureStart has seen the offsets
		committing.Go(func() {
			time.Sleep(5 * time.Second)
			id, generation := member.GroupMetadata()
			b := Batch{Member: id, Generation: generation, Offsets: []Offset{{Partition: 1, At: 0, LeaderEpoch: -1}}}
			if err := CommitOffsets(t.Context(), member, CommitterConfig{
				Identity: txnrecovery.Identity{Group: testGroup, Input: testInput},
				TopicID:  w.topicID(),
			}, b); err != nil {
				t.Error(err)
			}
		})
		if did, err := EnsureStart(t.Context(), w.admin, testGroup, testInput, StartAt{Latest: true}, withoutMetadata); did || err != nil {
			t.Fatalf("got %v, %v", did, err)
		}
	})
}

func TestEnsureStartErrors(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]kfake.Fault{
		"fetch":  {Keys: []kmsg.Key{kmsg.OffsetFetch}, Group: testGroup, Err: kerr.GroupAuthorizationFailed, Count: -1},
		"list":   {Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.TopicAuthorizationFailed, Count: -1},
		"commit": {Keys: []kmsg.Key{kmsg.OffsetCommit}, Partitions: []int32{2}, Err: kerr.TopicAuthorizationFailed, Count: -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.broker.Fake.Fault(fault)
				did, err := EnsureStart(t.Context(), w.admin, testGroup, testInput, StartAt{Earliest: true}, withoutMetadata)
				if did || !errors.Is(err, fault.Err) {
					t.Errorf("got %v, %v; want %v", did, err, fault.Err)
				}
			})
		})
	}
}
