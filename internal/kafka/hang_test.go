//go:build synctests

package kafka

import (
	"slices"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
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

// hangs has the last transaction that a Committer committed hang in a partition.
func (w *world) hangs(c *Committer, partition int32) *hang {
	w.t.Helper()
	id, epoch, err := c.client.ProducerID(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	h := &hang{producer: id, epoch: int32(epoch) - 1, partition: partition}
	w.hang(h)
	return h
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
