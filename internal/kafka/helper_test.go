package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"payment-capture/internal/kafka/txnrecovery"
	"payment-capture/internal/kafkatest"
)

const (
	testGroup = "group"
	testInput = "orders"
	testOut   = "captured"
	testTxID  = "group/one"
)

// world is a fake cluster with the topics of the tests, and clients for it.
type world struct {
	t      *testing.T
	broker *kafkatest.Broker
	conf   Config
	admin  *kadm.Client
	wire   *wire
}

func newWorld(t *testing.T, opts ...kfake.Opt) *world {
	t.Helper()
	opts = append([]kfake.Opt{kfake.SeedTopics(3, testInput, testOut), kfake.GroupMinSessionTimeout(time.Millisecond)}, opts...)
	w := &world{t: t, broker: kafkatest.Fake(t, opts...)}
	w.wire = &wire{dial: w.broker.Dial}
	w.conf = Config{Brokers: w.broker.Addresses, ClientID: "test", Dial: w.broker.Dial, Log: slog.New(slog.DiscardHandler)}
	w.admin = kadm.NewClient(w.client())
	return w
}

// client returns a client that is closed with the test.
func (w *world) client(opts ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	cl, err := w.conf.NewClient(opts...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(cl.Close)
	return cl
}

func (w *world) topicID() [16]byte {
	w.t.Helper()
	info, err := Inspect(w.t.Context(), w.admin, testInput)
	if err != nil {
		w.t.Fatal(err)
	}
	return info[testInput].ID
}

func (w *world) committerConfig() CommitterConfig {
	w.t.Helper()
	conf := w.conf
	conf.Dial = w.wire.open
	return CommitterConfig{
		Kafka: conf, Identity: txnrecovery.Identity{TransactionalID: testTxID, Group: testGroup, Input: testInput, Topics: []string{testOut}},
		TopicID: w.topicID(),
		Log:     conf.Log,
	}
}

// committer returns a Committer whose connections go over the world's wire.
func (w *world) committer() *Committer {
	w.t.Helper()
	c, err := NewCommitter(w.t.Context(), w.committerConfig())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

func withoutMetadata(int64) string { return "" }

// start commits the group's start offsets, as the service does first.
func (w *world) start() {
	w.t.Helper()
	if _, err := EnsureStart(w.t.Context(), w.admin, testGroup, testInput, StartAt{Earliest: true}, withoutMetadata); err != nil {
		w.t.Fatal(err)
	}
}

// member returns a client that has joined the group.
func (w *world) member(opts ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	assigned := make(chan struct{}, 64)
	cl := w.client(append([]kgo.Opt{
		kgo.ConsumerGroup(testGroup), kgo.ConsumeTopics(testInput), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) { assigned <- struct{}{} }),
	}, opts...)...)
	<-assigned
	return cl
}

// batch is a batch of one record and offsets for two partitions.
func batch(member *kgo.Client, value string, at int64) Batch {
	b := Batch{
		Generation: -1,
		Records:    []*kgo.Record{{Topic: testOut, Key: []byte("k"), Value: []byte(value)}},
		Offsets: []Offset{
			{Partition: 0, At: at, LeaderEpoch: -1, Metadata: "zero " + value},
			{Partition: 2, At: at + 1, LeaderEpoch: -1, Metadata: "two " + value},
		},
	}
	if member != nil {
		b.Member, b.Generation = member.GroupMetadata()
	}
	return b
}

// outcomes returns the values that a read-committed consumer sees.
func (w *world) outcomes() []string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 3*time.Second)
	defer cancel()
	cl := w.client(kgo.ConsumeTopics(testOut), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	defer cl.Close()
	var values []string
	for ctx.Err() == nil {
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	return values
}

// committed returns the group's committed offset of a partition, and its metadata.
func (w *world) committed(partition int32) (at int64, metadata string) {
	w.t.Helper()
	responses, err := w.admin.FetchOffsetsForTopics(kadm.RequireStable(w.t.Context()), testGroup, testInput)
	if err != nil {
		w.t.Fatal(err)
	}
	o, _ := responses.Lookup(testInput, partition)
	if o.Err != nil {
		w.t.Fatal(o.Err)
	}
	return o.At, o.Metadata
}

// produce writes n records to a partition of the input topic, each a second
// after the one before.
func (w *world) produce(partition int32, n int, first time.Time) {
	w.t.Helper()
	cl := w.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for i := range n {
		r := &kgo.Record{Topic: testInput, Partition: partition, Timestamp: first.Add(time.Duration(i) * time.Second)}
		if err := cl.ProduceSync(w.t.Context(), r).FirstErr(); err != nil {
			w.t.Fatal(err)
		}
	}
}

// wire opens connections that a test can cut at a request.
type wire struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)

	mu   sync.Mutex
	on   func(key int16) interruption
	down bool
	dead string // address of a broker whose connections are closed at once
}

type interruption int

const (
	pass      interruption = iota + 1
	cutBefore              // the request does not reach the broker
	cutAfter               // the broker's answer does not reach the client
)

var errCut = errors.New("the wire is cut")

// at calls f for every request that is written from now on, and does what f returns.
func (w *wire) at(f func(key int16) interruption) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on = f
}

func (w *wire) setDown(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
}

func (w *wire) kill(address string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = address
}

func (w *wire) open(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	down, dead := w.down, address == w.dead
	w.mu.Unlock()
	if dead {
		client, server := net.Pipe()
		return client, server.Close()
	}
	if down {
		return nil, &net.OpError{Op: "dial", Net: network, Err: errCut}
	}
	c, err := w.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &wiredConn{Conn: c, wire: w}, nil
}

type wiredConn struct {
	net.Conn
	wire *wire
	mu   sync.Mutex
	deaf bool // drop the next response and cut the connection
}

func (c *wiredConn) Write(b []byte) (int, error) {
	c.wire.mu.Lock()
	on, down := c.wire.on, c.wire.down
	c.wire.mu.Unlock()
	v := pass
	if down {
		v = cutBefore
	} else if on != nil && len(b) >= 6 {
		v = on(int16(binary.BigEndian.Uint16(b[4:])))
	}
	switch v {
	case cutBefore:
		_ = c.Close()
		return 0, errCut
	case cutAfter:
		c.mu.Lock()
		c.deaf = true
		c.mu.Unlock()
	case pass:
	}
	return c.Conn.Write(b)
}

func (c *wiredConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	deaf := c.deaf
	c.mu.Unlock()
	if deaf {
		_ = c.Close()
		return 0, errCut
	}
	return n, err
}

// oldTransactions is a broker that knows transaction.version 1 only.
func oldTransactions() *kversion.Versions { return kversion.V3_7_0() }
