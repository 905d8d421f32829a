//go:build synctests

package ledger

import (
	"context"
	"net"
	"sync"
	"syscall"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// hideTail lets the brokers say that a partition goes on by n records, and that
// there are none of them any more: a log that was compacted up to its end, which
// the fake never does by itself.
func (w *world) hideTail(partition int32, n int64) {
	w.t.Helper()
	ends, err := w.admin.ListEndOffsets(w.t.Context(), testTopic)
	if err != nil {
		w.t.Fatal(err)
	}
	end := func(p int32) int64 {
		o, _ := ends.Lookup(testTopic, p)
		if p == partition {
			return o.Offset + n
		}
		return o.Offset
	}
	w.broker.Fake.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.broker.Fake.KeepControl()
		asked := req.(*kmsg.ListOffsetsRequest)
		resp := asked.ResponseKind().(*kmsg.ListOffsetsResponse)
		for _, t := range asked.Topics {
			answer := kmsg.NewListOffsetsResponseTopic()
			answer.Topic = t.Topic
			for _, p := range t.Partitions {
				o := kmsg.NewListOffsetsResponseTopicPartition()
				o.Partition, o.Offset = p.Partition, end(p.Partition)
				answer.Partitions = append(answer.Partitions, o)
			}
			resp.Topics = append(resp.Topics, answer)
		}
		return resp, nil, true
	})
	w.broker.Fake.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.broker.Fake.KeepControl()
		asked := req.(*kmsg.FetchRequest)
		if asked.SessionEpoch != -1 || len(asked.Topics) != 1 || asked.Topics[0].Partitions[0].FetchOffset < end(partition)-n {
			return nil, nil, false
		}
		resp := asked.ResponseKind().(*kmsg.FetchResponse)
		answer := kmsg.NewFetchResponseTopic()
		answer.Topic, answer.TopicID = asked.Topics[0].Topic, asked.Topics[0].TopicID
		p := kmsg.NewFetchResponseTopicPartition()
		p.Partition = asked.Topics[0].Partitions[0].Partition
		p.HighWatermark, p.LastStableOffset = end(p.Partition), end(p.Partition)
		answer.Partitions = append(answer.Partitions, p)
		resp.Topics = append(resp.Topics, answer)
		return resp, nil, true
	})
}

// cut takes the brokers away from a ledger, until the function is called.
func (w *world) cut(l *Ledger) (mend func()) {
	w.wires[l].set(true)
	return func() { w.wires[l].set(false) }
}

// wire is the way to the brokers.
type wire struct {
	dial  func(ctx context.Context, network, address string) (net.Conn, error)
	mu    sync.Mutex
	down  bool
	conns []net.Conn
}

func (w *wire) open(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	conn, err := w.dial(ctx, network, address)
	if err == nil {
		w.conns = append(w.conns, conn)
	}
	return conn, err
}

func (w *wire) set(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
	if down {
		for _, c := range w.conns {
			c.Close()
		}
		w.conns = nil
	}
}
