//go:build integration

package acceptance

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"payment-capture/internal/kafkatest"
	"payment-capture/internal/simulator"
)

// TestHangingTransaction blocks the ledger and an outcome topic by a hanging
// transaction, as a broker leaves it that is killed after it has decided the end of a
// transaction and before it has written the markers. The test creates it with a producer
// that writes to partitions that it has not added to a transaction.
func TestHangingTransaction(t *testing.T) {
	broker := kafkatest.Run(t, kafkatest.ContainerOptions{Properties: map[string]string{"transaction.partition.verification.enable": "false"}})
	t.Run("each", func(t *testing.T) {
		for name, test := range map[string]struct {
			last      func(w *world, p producerState) // what happens under the transactional id before
			instance  string                          // whose transactional id hangs; "a" is started afterwards
			running   bool                            // "a" runs all the time
			committed bool                            // the hanging transaction is committed
		}{
			"committed and restarted":                       {instance: "a", last: ended(true), committed: true},
			"aborted and restarted":                         {instance: "a", last: ended(false)},
			"unknown and restarted":                         {instance: "a", last: (*world).takeID, committed: true},
			"committed by an idle instance":                 {instance: "a", last: ended(true), running: true, committed: true},
			"committed by an instance that does not return": {instance: "gone", last: ended(true), running: true, committed: true},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, &broker.Broker, 1, simulator.Config{}, serveReal(t))
				w.patience = 3 * time.Minute // the service takes over another instance's id after 60 to 90 seconds
				first := w.start("a")
				w.send(order{id: "e1"})
				w.awaitDecisions()
				if !test.running {
					first.stop()
				}
				decided := w.readAll(w.topics.captured, w.topics.ledger)
				id := w.group + "/" + w.name + "." + test.instance
				p := w.producer(id, !test.running || test.instance != "a")
				test.last(w, p)
				w.hang(w.producer(id, false), decided)
				if open := w.openPartitions(); open != 2 {
					t.Fatalf("%d partitions have an open transaction, want one of the outcomes and one of the ledger", open)
				}
				if !test.running {
					w.start("a")
				}
				w.eventually("no transaction hangs", func() bool { return w.openPartitions() == 0 })
				want := 1
				if test.committed {
					want = 2
				}
				if got := len(w.readAll(w.topics.captured)); got != want {
					t.Errorf("%d outcomes are visible, want %d", got, want)
				}
				// The instance continues and has stayed in the group.
				w.send(order{id: "e2"})
				w.eventually("the next event is captured", func() bool { return len(w.readAll(w.topics.captured)) == want+1 && w.lag() == 0 })
				if w.log.contains("ended: ") {
					t.Errorf("an instance ended by itself; log:\n%s", w.log.tail())
				}
			})
		}
	})
}

// producerState is the coordinator's state of a transactional id.
type producerState struct {
	id       string
	producer int64
	epoch    int16
}

// producer returns the state of a transactional id; fresh: after initialising it.
func (w *world) producer(id string, fresh bool) producerState {
	w.t.Helper()
	if fresh {
		w.takeID(producerState{id: id})
	}
	described, err := w.admin.DescribeTransactions(w.t.Context(), id)
	if err == nil {
		err = described[id].Err
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return producerState{id: id, producer: described[id].ProducerID, epoch: described[id].ProducerEpoch}
}

func (w *world) takeID(p producerState) {
	w.t.Helper()
	cl := w.newClient(kgo.TransactionalID(p.id))
	if _, _, err := cl.ProducerID(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	cl.Close()
}

// ended returns a function that ends a transaction in another partition by commit or
// abort, so that this is the last transaction of the id.
func ended(commit bool) func(*world, producerState) {
	return func(w *world, p producerState) {
		w.t.Helper()
		add := kmsg.NewPtrAddPartitionsToTxnRequest()
		add.TransactionalID, add.ProducerID, add.ProducerEpoch = p.id, p.producer, p.epoch
		add.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: w.topics.parked, Partitions: []int32{0}}}
		end := kmsg.NewPtrEndTxnRequest()
		end.TransactionalID, end.ProducerID, end.ProducerEpoch, end.Commit = p.id, p.producer, p.epoch, commit
		cl := w.oldClient()
		added, err := add.RequestWith(w.t.Context(), cl)
		if err == nil {
			err = kerr.ErrorForCode(added.Topics[0].Partitions[0].ErrorCode)
		}
		if err != nil {
			w.t.Fatal(err)
		}
		answer, err := end.RequestWith(w.t.Context(), cl)
		if err == nil {
			err = kerr.ErrorForCode(answer.ErrorCode)
		}
		if err != nil {
			w.t.Fatal(err)
		}
		w.eventually("the transaction has ended", func() bool {
			described, err := w.admin.DescribeTransactions(w.t.Context(), p.id)
			return err == nil && (described[p.id].State == "CompleteCommit" || described[p.id].State == "CompleteAbort")
		})
	}
}

// oldClient returns a client for a protocol version in which the producer adds
// partitions to the transaction itself, and may omit that.
func (w *world) oldClient() *kgo.Client {
	w.t.Helper()
	return w.newClient(kgo.MaxVersions(kversion.V3_7_0()))
}

// hang writes copies of records in a transaction that the coordinator does not know.
func (w *world) hang(p producerState, records []*kgo.Record) {
	w.t.Helper()
	req := kmsg.NewPtrProduceRequest()
	req.TransactionID, req.Acks, req.TimeoutMillis = &p.id, -1, 10_000
	for _, r := range records {
		i := len(req.Topics) - 1
		if i < 0 || req.Topics[i].Topic != r.Topic {
			req.Topics = append(req.Topics, kmsg.ProduceRequestTopic{Topic: r.Topic})
			i++
		}
		if n := len(req.Topics[i].Partitions); n > 0 && req.Topics[i].Partitions[n-1].Partition == r.Partition {
			req.Topics[i].Partitions = req.Topics[i].Partitions[:n-1] // the last one is the decision
		}
		part := kmsg.NewProduceRequestTopicPartition()
		part.Partition, part.Records = r.Partition, transactionalBatch(p, w.nextSequence(p, r.Topic, r.Partition), r)
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, part)
	}
	answer, err := req.RequestWith(w.t.Context(), w.oldClient())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, t := range answer.Topics {
		for _, part := range t.Partitions {
			if err := kerr.ErrorForCode(part.ErrorCode); err != nil {
				w.t.Fatalf("partition %d of topic %s: %v", part.Partition, t.Topic, err)
			}
		}
	}
}

// nextSequence returns the sequence number that a partition expects of a producer. It is
// 0 with transactions of version 2, which have an epoch each.
func (w *world) nextSequence(p producerState, topic string, partition int32) int32 {
	w.t.Helper()
	var set kadm.TopicsSet
	set.Add(topic, partition)
	described, err := w.admin.DescribeProducers(w.t.Context(), set)
	if err == nil {
		err = described[topic].Partitions[partition].Err
	}
	if err != nil {
		w.t.Fatal(err)
	}
	last, ok := described[topic].Partitions[partition].ActiveProducers[p.producer]
	if !ok || last.ProducerEpoch != p.epoch {
		return 0
	}
	return last.LastSequence + 1
}

// transactionalBatch returns a record batch with a copy of a record, as part of a
// transaction.
func transactionalBatch(p producerState, sequence int32, r *kgo.Record) []byte {
	record := kmsg.Record{Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		record.Headers = append(record.Headers, kmsg.Header{Key: h.Key, Value: h.Value})
	}
	record.Length = int32(len(record.AppendTo(nil)) - 1) // without itself
	const transactional = 1 << 4
	now := time.Now().UnixMilli()
	batch := kmsg.RecordBatch{
		Magic: 2, Attributes: transactional, FirstTimestamp: now, MaxTimestamp: now, PartitionLeaderEpoch: -1,
		ProducerID: p.producer, ProducerEpoch: p.epoch, FirstSequence: sequence, NumRecords: 1, Records: record.AppendTo(nil),
	}
	raw := batch.AppendTo(nil)
	const length, crc, attributes = 8, 17, 21 // offsets of these fields
	binary.BigEndian.PutUint32(raw[length:], uint32(len(raw)-length-4))
	binary.BigEndian.PutUint32(raw[crc:], crc32.Checksum(raw[attributes:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

// openPartitions counts the partitions of the outcomes and the ledger in which a
// transaction is open.
func (w *world) openPartitions() (open int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	topics := []string{w.topics.captured, w.topics.rejected, w.topics.parked, w.topics.ledger}
	ends, err := w.admin.ListEndOffsets(ctx, topics...)
	stable, err2 := w.admin.ListCommittedOffsets(ctx, topics...)
	if err := errors.Join(err, err2, ends.Error(), stable.Error()); err != nil {
		w.t.Fatal(err)
	}
	ends.Each(func(end kadm.ListedOffset) {
		if s, _ := stable.Lookup(end.Topic, end.Partition); s.Offset < end.Offset {
			open++
		}
	})
	return open
}
