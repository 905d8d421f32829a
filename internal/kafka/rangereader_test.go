//go:build synctests

package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// readRange reads a range of partition 0 of the input to its end.
func (w *world) readRange(ctx context.Context, from, to int64) (offsets []int64, err error) {
	w.t.Helper()
	r, err := NewRangeReader(w.conf, Range{Topic: testInput, From: from, To: to})
	if err != nil {
		w.t.Fatal(err)
	}
	defer r.Close()
	for {
		records, err := r.Read(ctx)
		if errors.Is(err, io.EOF) {
			if len(records) > 0 || r.Left() != 0 {
				w.t.Errorf("at its end it returns %d records, and %d offsets are left", len(records), r.Left())
			}
			return offsets, nil
		}
		if err != nil {
			return offsets, err
		}
		if len(records) == 0 {
			w.t.Error("a read gave no record and no error")
		}
		for _, rec := range records {
			offsets = append(offsets, rec.Offset)
		}
	}
}

// transact writes records to partition 0 in a transaction, and ends it unless that
// is nil.
func (w *world) transact(n int, end *kgo.TransactionEndTry) *kgo.Client {
	w.t.Helper()
	cl := w.client(kgo.TransactionalID("orders"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := cl.BeginTransaction(); err != nil {
		w.t.Fatal(err)
	}
	for range n {
		if err := cl.ProduceSync(w.t.Context(), &kgo.Record{Topic: testInput, Value: []byte("v")}).FirstErr(); err != nil {
			w.t.Fatal(err)
		}
	}
	if end != nil {
		if err := cl.EndTransaction(w.t.Context(), *end); err != nil {
			w.t.Fatal(err)
		}
	}
	return cl
}

func TestRangeReader(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		from, to int64
		want     []int64
		err      func(error) bool
	}{
		"all":                           {0, 11, []int64{0, 1, 2, 3, 4, 8, 9}, nil},
		"nothing":                       {3, 3, nil, nil},
		"some":                          {1, 3, []int64{1, 2}, nil},
		"up to an aborted record":       {3, 6, []int64{3, 4}, nil},
		"aborted records and a marker":  {5, 8, nil, nil},
		"within aborted records":        {6, 7, nil, nil},
		"markers at the end":            {9, 11, []int64{9}, nil},
		"a marker alone":                {10, 11, nil, nil},
		"the end of the partition":      {11, 11, nil, nil},
		"from beyond the partition":     {12, 13, nil, func(err error) bool { return errors.Is(err, errBeyondEnd) }},
		"the partition does not get so": {9, 12, []int64{9}, func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.produce(0, 5, time.Now())
				w.transact(2, new(kgo.TryAbort))  // 5, 6, and the marker 7
				w.transact(2, new(kgo.TryCommit)) // 8, 9, and the marker 10
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				got, err := w.readRange(ctx, test.from, test.to)
				if !slices.Equal(got, test.want) || (err == nil) != (test.err == nil) || (test.err != nil && !test.err(err)) {
					t.Errorf("got %v, %v; want %v", got, err, test.want)
				}
			})
		})
	}
}

// Ranges of several partitions are read by one reader, each to its end.
func TestRangeReaderOfSeveralPartitions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for partition := range int32(3) {
			w.produce(partition, 5, time.Now())
		}
		w.transact(2, new(kgo.TryAbort)) // of partition 0: 5, 6, and the marker 7
		r, err := NewRangeReader(w.conf,
			Range{Topic: testInput, Partition: 0, From: 3, To: 8}, Range{Topic: testInput, Partition: 1, From: 0, To: 2},
			Range{Topic: testInput, Partition: 2, From: 4, To: 4})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if r.Left() != 7 {
			t.Errorf("%d offsets are left at the start", r.Left())
		}
		got := make(map[int32][]int64)
		for {
			records, err := r.Read(t.Context())
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, rec := range records {
				got[rec.Partition] = append(got[rec.Partition], rec.Offset)
			}
		}
		if want := map[int32][]int64{0: {3, 4}, 1: {0, 1}}; !maps.EqualFunc(got, want, slices.Equal) || r.Left() != 0 {
			t.Errorf("got %v, and %d are left; want %v", got, r.Left(), want)
		}
	})
}

func TestReadRecord(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.produce(0, 3, time.Now())
		w.transact(1, new(kgo.TryAbort)) // 3, and the marker 4
		gone := make(kadm.Offsets)
		gone.AddOffset(testInput, 0, 1, -1)
		if _, err := w.admin.DeleteRecords(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
		client := w.client()
		for offset, want := range map[int64]bool{0: false, 1: true, 2: true, 3: false, 4: false, 5: false, 6: false} {
			got, err := ReadRecord(t.Context(), client, w.conf.Log, testInput, 0, offset)
			if err != nil || (got != nil) != want || (want && got.Offset != offset) {
				t.Errorf("offset %d: got %v, %v; want a record: %t", offset, got, err, want)
			}
		}
	})
}

// A broker that cannot be connected to is waited for, while reading and before.
// An outage of any length is waited out, and never taken for an open transaction.
func TestRangeReaderWaitsForTheBroker(t *testing.T) {
	t.Parallel()
	for _, outage := range []time.Duration{2 * time.Minute, 2 * rangeTransactionLimit} {
		t.Run(outage.String(), func(t *testing.T) {
			t.Parallel()
			readAfterOutage(t, outage)
		})
	}
}

func readAfterOutage(t *testing.T, outage time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.produce(0, 5, time.Now())
		back := time.Now().Add(outage)
		dial := w.conf.Dial
		w.conf.Dial = func(ctx context.Context, network, host string) (net.Conn, error) {
			if time.Now().Before(back) {
				return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
			}
			return dial(ctx, network, host)
		}
		got, err := w.readRange(t.Context(), 0, 5)
		if err != nil || len(got) != 5 {
			t.Fatalf("got %v, %v", got, err)
		}
		back = time.Now().Add(outage)
		if r, err := ReadRecord(t.Context(), w.client(), w.conf.Log, testInput, 0, 2); err != nil || r == nil {
			t.Errorf("got %v, %v", r, err)
		}
	})
}

// A topic that is deleted meanwhile ends the reading.
func TestRangeReaderOfADeletedTopic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.produce(0, 5, time.Now())
		r, err := NewRangeReader(w.conf, Range{Topic: testInput, From: 0, To: 9})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if got, err := r.Read(t.Context()); err != nil || len(got) != 5 {
			t.Fatalf("got %v, %v", got, err)
		}
		if _, err := w.admin.DeleteTopics(t.Context(), testInput); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err = r.Read(t.Context())
		if !errors.Is(err, kerr.UnknownTopicID) && !errors.Is(err, kerr.UnknownTopicOrPartition) {
			t.Errorf("got %v, want that the topic is unknown", err)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("it took %s", took)
		}
	})
}

func TestRangeReaderOfDeletedRecords(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.produce(0, 5, time.Now())
		gone := make(kadm.Offsets)
		gone.AddOffset(testInput, 0, 3, -1)
		if _, err := w.admin.DeleteRecords(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
		_, err := w.readRange(t.Context(), 1, 5)
		deleted, ok := errors.AsType[*DeletedError](err)
		if !ok || *deleted != (DeletedError{Topic: testInput, Offset: 1, Start: 3}) {
			t.Errorf("got %v", err)
		}
	})
}

// A transaction that is open within the range is waited for.
func TestRangeReaderWaitsForATransaction(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		end  kgo.TransactionEndTry
		want []int64
	}{
		"committed": {kgo.TryCommit, []int64{0, 1, 2}},
		"aborted":   {kgo.TryAbort, []int64{0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.produce(0, 1, time.Now())
				open := w.transact(2, nil)
				began := time.Now()
				time.AfterFunc(10*time.Second, func() {
					if err := open.EndTransaction(t.Context(), test.end); err != nil {
						t.Error(err)
					}
				})
				got, err := w.readRange(t.Context(), 0, 3)
				if err != nil || !slices.Equal(got, test.want) {
					t.Errorf("got %v, %v; want %v", got, err, test.want)
				}
				if waited := time.Since(began); waited < 10*time.Second || waited > 15*time.Second {
					t.Errorf("it took %s; the transaction was open for 10s", waited)
				}
			})
		})
	}
}

// Where the last records were compacted away, the leader's answer shows that none
// is left; a consumer would wait for ever.
func TestRangeReaderOfACompactedTail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		fake := w.broker.Fake
		fake.ControlKey(kmsg.Fetch.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
			fake.KeepControl()
			req := r.(*kmsg.FetchRequest)
			resp := req.ResponseKind().(*kmsg.FetchResponse)
			for _, t := range req.Topics {
				rt := kmsg.NewFetchResponseTopic()
				rt.Topic, rt.TopicID = t.Topic, t.TopicID
				for _, p := range t.Partitions {
					rp := kmsg.NewFetchResponseTopicPartition()
					rp.Partition, rp.HighWatermark, rp.LastStableOffset = p.Partition, 10, 10
					rp.RecordBatches = emptyBatch(4, 9)
					rt.Partitions = append(rt.Partitions, rp)
				}
				resp.Topics = append(resp.Topics, rt)
			}
			fake.SleepControl(func() { time.Sleep(100 * time.Millisecond) })
			return resp, nil, true
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if got, err := w.readRange(ctx, 4, 10); err != nil || len(got) > 0 {
			t.Errorf("got %v, %v", got, err)
		}
	})
}

// emptyBatch is a batch as compaction leaves it, without its records.
func emptyBatch(base, last int64) []byte {
	b := make([]byte, 61)
	binary.BigEndian.PutUint64(b, uint64(base))
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	b[16] = 2
	binary.BigEndian.PutUint32(b[23:], uint32(last-base))
	for i := 43; i < 57; i++ {
		b[i] = 0xff // no producer
	}
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func TestEmptyUntil(t *testing.T) {
	t.Parallel()
	batch := func(base, last int64, records byte) []byte {
		b := emptyBatch(base, last)
		b[60] = records
		return b
	}
	for name, test := range map[string]struct {
		batches [][]byte
		want    bool
	}{
		"nothing":                          {nil, false},
		"half a batch":                     {[][]byte{{1, 2, 3}}, false},
		"a record":                         {[][]byte{batch(5, 5, 1)}, false},
		"a batch behind":                   {[][]byte{batch(10, 12, 3)}, true},
		"compacted up to the end":          {[][]byte{batch(5, 9, 0)}, true},
		"compacted, then one behind":       {[][]byte{batch(5, 7, 0), batch(10, 10, 1)}, true},
		"compacted, then a record":         {[][]byte{batch(5, 7, 0), batch(9, 9, 1)}, false},
		"compacted, and the rest not here": {[][]byte{batch(5, 7, 0)}, false},
	} {
		if got := emptyUntil(slices.Concat(test.batches...), 10); got != test.want {
			t.Errorf("%s: %t, want %t", name, got, test.want)
		}
	}
}

// Leaders that move, and connections that break, are waited out.
func TestRangeReaderWhileLeadersMove(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, kfake.NumBrokers(3), kfake.Ports(9092, 9093, 9094))
		w.produce(0, 300, time.Now())
		random := rand.New(rand.NewPCG(1, 2))
		moved := 0
		var mu sync.Mutex // guards random and moved
		w.conf.Dial = w.wire.open
		w.wire.at(func(key int16) interruption {
			mu.Lock()
			defer mu.Unlock()
			if key != kmsg.Fetch.Int16() || random.IntN(3) > 0 {
				return pass
			}
			moved++
			if err := w.broker.Fake.MoveTopicPartition(testInput, 0, int32(random.IntN(3))); err != nil {
				t.Error(err)
			}
			return []interruption{pass, cutBefore, cutAfter}[random.IntN(3)]
		})
		for range 20 {
			got, err := w.readRange(t.Context(), 0, 300)
			if err != nil || len(got) != 300 || got[0] != 0 || got[299] != 299 {
				t.Fatalf("got %d records, %v", len(got), err)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if moved < 5 {
			t.Errorf("the leader moved %d times", moved)
		}
	})
}

// What nobody but an operator can change is an error.
func TestRangeReaderWithoutPermission(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.produce(0, 1, time.Now())
		fake := w.broker.Fake
		fake.ControlKey(kmsg.Fetch.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
			fake.KeepControl()
			req := r.(*kmsg.FetchRequest)
			resp := req.ResponseKind().(*kmsg.FetchResponse)
			for _, t := range req.Topics {
				rt := kmsg.NewFetchResponseTopic()
				rt.Topic, rt.TopicID = t.Topic, t.TopicID
				for _, p := range t.Partitions {
					rp := kmsg.NewFetchResponseTopicPartition()
					rp.Partition, rp.ErrorCode = p.Partition, kerr.TopicAuthorizationFailed.Code
					rt.Partitions = append(rt.Partitions, rp)
				}
				resp.Topics = append(resp.Topics, rt)
			}
			return resp, nil, true
		})
		if _, err := w.readRange(t.Context(), 0, 1); !errors.Is(err, kerr.TopicAuthorizationFailed) {
			t.Errorf("got %v", err)
		}
	})
}
