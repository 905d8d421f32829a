package kafkatest

import (
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// HangingTransaction is a hanging transaction of a fake cluster. The fake reports it
// as open in one partition until a transaction that has added the partition ends.
type HangingTransaction struct {
	TransactionalID string
	ProducerID      int64
	ProducerEpoch   int16
	Topic           string
	Partition       int32
	// State is what the coordinator reports about the last transaction. If it is "",
	// the fake reports what it knows, which is not how a transaction ended.
	State string
	// EpochAhead is how far the coordinator's epoch is ahead of ProducerEpoch.
	EpochAhead int16
	// Busy is how many requests to add the partition fail with CONCURRENT_TRANSACTIONS.
	Busy int
	// Permanent: no end of a transaction completes it.
	Permanent bool

	mu      sync.Mutex // guards what follows, and Busy
	open    bool
	added   bool
	commits []bool
	writes  int
}

// Completed returns the ends of the transactions that had added the partition, true for
// a commit, and how many produce requests came before the last one of them.
func (h *HangingTransaction) Completed() (commits []bool, writes int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.commits), h.writes
}

// Hang makes the fake cluster report a hanging transaction.
func (b *Broker) Hang(h *HangingTransaction) {
	h.open = true
	for key, handle := range map[kmsg.Key]func(kmsg.Request) kmsg.Response{
		kmsg.DescribeProducers:    h.describeProducers,
		kmsg.DescribeTransactions: h.describeTransaction,
		kmsg.AddPartitionsToTxn:   h.addPartitions,
		kmsg.Produce:              h.produce,
		kmsg.EndTxn:               h.end,
	} {
		b.Fake.ControlKey(key.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
			b.Fake.KeepControl()
			h.mu.Lock()
			defer h.mu.Unlock()
			if !h.open {
				return nil, nil, false
			}
			resp := handle(req)
			return resp, nil, resp != nil
		})
	}
}

// The handlers below return nil if the fake cluster answers the request itself.

func (h *HangingTransaction) describeProducers(r kmsg.Request) kmsg.Response {
	req := r.(*kmsg.DescribeProducersRequest)
	if req.Topics[0].Topic != h.Topic || !slices.Contains(req.Topics[0].Partitions, h.Partition) {
		return nil
	}
	t := kmsg.NewDescribeProducersResponseTopic()
	t.Topic = h.Topic
	for _, partition := range req.Topics[0].Partitions {
		p := kmsg.NewDescribeProducersResponseTopicPartition()
		p.Partition = partition
		if partition == h.Partition {
			active := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
			active.ProducerID, active.ProducerEpoch, active.CurrentTxnStartOffset = h.ProducerID, int32(h.ProducerEpoch), 0
			p.ActiveProducers = append(p.ActiveProducers, active)
		}
		t.Partitions = append(t.Partitions, p)
	}
	resp := req.ResponseKind().(*kmsg.DescribeProducersResponse)
	resp.Topics = append(resp.Topics, t)
	return resp
}

func (h *HangingTransaction) describeTransaction(req kmsg.Request) kmsg.Response {
	if h.State == "" || h.added {
		return nil
	}
	s := kmsg.NewDescribeTransactionsResponseTransactionState()
	s.TransactionalID, s.State, s.ProducerID, s.ProducerEpoch = h.TransactionalID, h.State, h.ProducerID, h.ProducerEpoch+h.EpochAhead
	resp := req.ResponseKind().(*kmsg.DescribeTransactionsResponse)
	resp.TransactionStates = append(resp.TransactionStates, s)
	return resp
}

func (h *HangingTransaction) addPartitions(r kmsg.Request) kmsg.Response {
	req := r.(*kmsg.AddPartitionsToTxnRequest)
	for _, t := range req.Topics {
		if t.Topic != h.Topic || !slices.Contains(t.Partitions, h.Partition) {
			continue
		}
		if h.Busy > 0 {
			h.Busy--
			resp := req.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
			resp.Topics = []kmsg.AddPartitionsToTxnResponseTopic{{
				Topic:      h.Topic,
				Partitions: []kmsg.AddPartitionsToTxnResponseTopicPartition{{Partition: h.Partition, ErrorCode: kerr.ConcurrentTransactions.Code}},
			}}
			return resp
		}
		h.added = true
	}
	return nil
}

func (h *HangingTransaction) produce(kmsg.Request) kmsg.Response {
	h.writes++
	return nil
}

func (h *HangingTransaction) end(r kmsg.Request) kmsg.Response {
	if h.added {
		h.commits = append(h.commits, r.(*kmsg.EndTxnRequest).Commit)
		h.open = h.Permanent
	}
	return nil
}
