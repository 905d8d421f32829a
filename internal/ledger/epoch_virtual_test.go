//go:build synctests

package ledger

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/ledger/store"
)

// epochs answers in the place of the leaders where an epoch ended, and keeps what
// was asked.
type epochs struct {
	mu    sync.Mutex
	asked map[int32]int32 // the epoch that was asked for, by partition
	end   func(partition, epoch int32) (int32, int64)
}

// answerEpochs has the leaders answer by end.
func (w *world) answerEpochs(end func(partition, epoch int32) (int32, int64)) *epochs {
	e := &epochs{asked: make(map[int32]int32), end: end}
	fake := w.broker.Fake
	fake.ControlKey(int16(kmsg.OffsetForLeaderEpoch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		e.mu.Lock()
		defer e.mu.Unlock()
		req := r.(*kmsg.OffsetForLeaderEpochRequest)
		resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
		for _, t := range req.Topics {
			rt := kmsg.NewOffsetForLeaderEpochResponseTopic()
			rt.Topic = t.Topic
			for _, p := range t.Partitions {
				rp := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
				rp.Partition = p.Partition
				// The library compares too, before it fetches, and says what epoch it
				// takes the leader to be of. The client gets no error, so that
				// nothing but our own comparison halts.
				rp.LeaderEpoch, rp.EndOffset = p.LeaderEpoch, 1<<40
				if p.CurrentLeaderEpoch < 0 {
					e.asked[p.Partition] = p.LeaderEpoch
					rp.LeaderEpoch, rp.EndOffset = e.end(p.Partition, p.LeaderEpoch)
				}
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
	return e
}

// inEpochs writes events under several leaders, and closes a ledger that has read
// them. It returns the epoch of each partition's last record.
func (w *world) inEpochs() map[int32]int32 {
	t := w.t
	t.Helper()
	for partition := range int32(testPartitions) {
		for range partition + 1 { // so that each has another epoch
			if err := w.broker.Fake.MoveTopicPartition(testTopic, partition, w.broker.Fake.LeaderFor(testTopic, partition)); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.events(9)
	l := w.started("a")
	last := make(map[int32]int32)
	for partition, p := range positionsOf(t, l.store) {
		last[partition] = p.Epoch
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return last
}

func positionsOf(t *testing.T, s *store.Store) map[int32]store.Position {
	t.Helper()
	read, err := s.Positions()
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// The epoch of the last record that was read is kept, over restarts, and the
// leaders are asked about it before anything is answered.
func TestEpochsAreKeptAndCompared(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		last := w.inEpochs()
		records := w.epochsInTheTopic()
		for partition, epoch := range records {
			if last[partition] != epoch || epoch < 1 {
				t.Errorf("partition %d: the store has epoch %d, its last record is of %d", partition, last[partition], epoch)
			}
		}
		if records[0] == records[1] || records[1] == records[2] {
			t.Fatalf("the epochs %v do not differ", records)
		}
		e := w.answerEpochs(func(partition, epoch int32) (int32, int64) { return epoch, w.end(partition) })
		for range 2 { // the second one has read nothing itself
			l := w.ledger("a")
			if err := l.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.caughtUp(l)
			if read := l.Health().Read; read != 0 {
				t.Errorf("%d records were read again", read)
			}
			e.mu.Lock()
			for partition, epoch := range records {
				if got, ok := e.asked[partition]; !ok || got != epoch {
					t.Errorf("partition %d: asked for epoch %d (%t), want %d", partition, got, ok, epoch)
				}
			}
			clear(e.asked)
			e.mu.Unlock()
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// epochsInTheTopic reads the epoch of the last record of each partition.
func (w *world) epochsInTheTopic() map[int32]int32 {
	w.t.Helper()
	from := make(map[int32]kgo.Offset)
	for partition := range int32(testPartitions) {
		from[partition] = kgo.NewOffset().AtStart()
	}
	client := w.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{testTopic: from}), kgo.KeepControlRecords())
	defer client.Close()
	last, left := make(map[int32]int32), int64(0)
	for partition := range int32(testPartitions) {
		left += w.end(partition)
	}
	for left > 0 {
		client.PollFetches(w.t.Context()).EachRecord(func(r *kgo.Record) { last[r.Partition] = r.LeaderEpoch; left-- })
	}
	return last
}

func (w *world) end(partition int32) int64 {
	info := w.broker.Fake.PartitionInfo(testTopic, partition)
	if info == nil {
		w.t.Fatalf("there is no partition %d", partition)
	}
	return info.HighWatermark
}

// A store that has read what the leaders do not have never answers: its records
// are not those of the topic, although offsets and ids fit.
func TestDivergedStoreHalts(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(end int64, epoch int32) (int32, int64)
		says string
	}{
		"another leader had fewer records": {
			func(end int64, epoch int32) (int32, int64) { return epoch, end - 1 },
			"partition 1 was read up to offset ",
		},
		"the epoch is older in the topic": {
			func(_ int64, epoch int32) (int32, int64) { return epoch - 1, 0 },
			"partition 1 was read up to offset ",
		},
		"the leader does not know the epoch": {
			func(int64, int32) (int32, int64) { return -1, -1 },
			"in leader epoch 2, which its leader does not know",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				t := w.t
				last := w.inEpochs()
				if last[1] != 2 {
					t.Fatalf("epochs %v", last)
				}
				end := w.end(1)
				w.answerEpochs(func(partition, epoch int32) (int32, int64) {
					if partition != 1 {
						return epoch, w.endOf(partition)
					}
					return c.end(end, epoch)
				})
				l := w.ledger("a")
				if err := l.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				if reason := w.waits(l); !strings.HasPrefix(reason, "ledger_missing: topic \"ledger\": ") || !strings.Contains(reason, c.says) {
					t.Errorf("it says %q, want %q", reason, c.says)
				}
			})
		})
	}
}

// endOf is more than any partition has: nothing is missing.
func (w *world) endOf(int32) int64 { return 1 << 40 }

// A leader that was replaced and has not noticed it does not know the newest epoch.
// That passes, and is waited for.
func TestLeaderThatDoesNotKnowTheEpochYet(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.inEpochs()
		knows := time.Now().Add(30 * time.Second)
		w.answerEpochs(func(_, epoch int32) (int32, int64) {
			if time.Now().Before(knows) {
				return -1, -1
			}
			return epoch, 1 << 40
		})
		l := w.ledger("a")
		if err := l.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		time.Sleep(20 * time.Second)
		if h := l.Health(); h.State != stateRestoring || !strings.Contains(h.Reason, "which its leader does not know") {
			t.Errorf("health %+v", h)
		}
		w.caughtUp(l)
		w.knows(l, "e1", known{decided: "captured"})
	})
}

// A restart that the leaders do not answer about waits, and does not answer
// meanwhile.
func TestEpochsThatCannotBeAsked(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.inEpochs()
		w.broker.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetForLeaderEpoch}, Err: kerr.NotLeaderForPartition, Count: 20})
		l := w.ledger("a")
		if err := l.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		time.Sleep(time.Second)
		if h := l.Health(); h.State != stateRestoring {
			t.Errorf("health %+v", h)
		}
		w.caughtUp(l)
		w.knows(l, "e1", known{decided: "captured"})
	})
}
