//go:build synctests

package kafka

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestCommitWhileTheClusterMoves commits one batch after the other while leaders and
// coordinators move and connections break at any request. A reader must see exactly the
// batches that Commit reported as committed.
func TestCommitWhileTheClusterMoves(t *testing.T) {
	t.Parallel()
	tests := map[string]func(w *world, r *rand.Rand, key int16) interruption{
		"leaders": func(w *world, r *rand.Rand, _ int16) interruption {
			w.moveLeader(r)
			return pass
		},
		"coordinators": func(w *world, r *rand.Rand, _ int16) interruption {
			if r.IntN(4) == 0 {
				w.broker.Fake.RehashCoordinators()
			}
			return pass
		},
		"leaders, coordinators and connections": func(w *world, r *rand.Rand, key int16) interruption {
			switch r.IntN(20) {
			case 0, 1:
				w.moveLeader(r)
			case 2:
				w.broker.Fake.RehashCoordinators()
			case 3:
				return cutBefore
			case 4:
				return cutAfter
			case 5:
				if key == kmsg.EndTxn.Int16() {
					w.broker.Fake.RehashCoordinators()
					return cutAfter
				}
			}
			return pass
		},
	}
	for name, disturb := range tests {
		for seed := range uint64(4) {
			t.Run(fmt.Sprint(name, " ", seed), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { commitDisturbed(t, seed, disturb) })
			})
		}
	}
}

func commitDisturbed(t *testing.T, seed uint64, disturb func(w *world, r *rand.Rand, key int16) interruption) {
	t.Helper()
	w := newWorld(t, kfake.NumBrokers(3), kfake.Ports(9092, 9093, 9094))
	w.start()
	member, c := w.member(), w.committer()
	r := rand.New(rand.NewPCG(seed, 0))
	dice := make(chan struct{}, 1) // requests may be written at once
	w.wire.at(func(key int16) interruption {
		dice <- struct{}{}
		defer func() { <-dice }()
		return disturb(w, r, key)
	})
	var committed []string
	for i := range 25 {
		value := fmt.Sprint("outcome ", i)
		switch err := c.Commit(t.Context(), batch(member, value, int64(i))); {
		case err == nil:
			committed = append(committed, value)
		case !errors.Is(err, ErrNotCommitted):
			t.Errorf("commit %d: %v", i, err)
		}
	}
	w.wire.at(nil)
	if got := w.outcomes(); !slices.Equal(got, committed) {
		t.Errorf("outcomes %q, want %q", got, committed)
	}
	t.Logf("%d of 25 were committed", len(committed))
	if len(committed) == 0 {
		t.Error("nothing was committed")
	}
	w.commitsAfter(c, member, committed...)
}

// moveLeader moves a partition of the outcome topic. The input topic stays, because the
// fake cluster answers a fetch of a moved partition at once, again and again, and
// virtual time would stand still.
func (w *world) moveLeader(r *rand.Rand) {
	if err := w.broker.Fake.MoveTopicPartition(testOut, r.Int32N(3), r.Int32N(3)); err != nil {
		w.t.Error(err)
	}
}

// killCoordinator lets the coordinator of the transactional id be reached no more, and
// moves it, with the leaders of all partitions, to another broker.
func (w *world) killCoordinator() {
	w.t.Helper()
	dead := w.broker.Fake.CoordinatorFor(testTxID)
	w.wire.kill(w.broker.Addresses[dead])
	for w.broker.Fake.CoordinatorFor(testTxID) == dead || w.broker.Fake.CoordinatorFor(testGroup) == dead {
		w.broker.Fake.RehashCoordinators()
	}
	for _, topic := range []string{testInput, testOut} {
		for p := range int32(3) {
			if err := w.broker.Fake.MoveTopicPartition(topic, p, (dead+1)%3); err != nil {
				w.t.Error(err)
			}
		}
	}
}

// TestCommitWhoseCoordinatorDies: the coordinator of the transactional id dies while the
// end of a transaction is not known. What became of it is asked of the next coordinator.
func TestCommitWhoseCoordinatorDies(t *testing.T) {
	t.Parallel()
	for _, cut := range []interruption{cutBefore, cutAfter} {
		t.Run(fmt.Sprint(cut), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, kfake.NumBrokers(3), kfake.Ports(9092, 9093, 9094))
				w.start()
				member, c := w.member(), w.committer()
				w.wire.at(func(key int16) interruption {
					if key != kmsg.EndTxn.Int16() {
						return pass
					}
					w.wire.at(nil)
					w.wire.setDown(true)
					go func() {
						time.Sleep(time.Second) // for the broker to do what it was asked
						w.killCoordinator()
						w.wire.setDown(false)
					}()
					return cut
				})
				w.commitsThrough(c, member, cut)
			})
		})
	}
}
