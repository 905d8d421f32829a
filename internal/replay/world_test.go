//go:build synctests

package replay

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
	"payment-capture/internal/kafkatest"
)

const (
	input      = "orders"
	parkedInto = "parked"
	partitions = 3
)

// world is a fake cluster in virtual time, and a ledger of the test's making.
type world struct {
	t      *testing.T
	broker *kafkatest.Broker
	kafka  kafka.Config
	admin  *kadm.Client
	client *kgo.Client
	book   *book
	state  string
	log    *lines
}

// inWorld runs a test in a bubble. No secret may be in the log or the state.
func inWorld(t *testing.T, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, broker: kafkatest.Fake(t), book: newBook(), state: filepath.Join(t.TempDir(), "state.json"), log: &lines{}}
		w.kafka = kafka.Config{Brokers: w.broker.Addresses, ClientID: "test", Dial: w.broker.Dial}
		w.client = w.newClient(kgo.RecordPartitioner(kgo.ManualPartitioner()))
		w.admin = kadm.NewClient(w.client)
		w.create(input, partitions, nil)
		w.create(parkedInto, 2, nil)
		test(w)
		if strings.Contains(w.log.String(), payerToken) {
			t.Errorf("the payer token is in the log:\n%s", w.log)
		}
	})
}

// lines keeps the log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (w *world) newClient(opts ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	cl, err := w.kafka.NewClient(opts...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(cl.Close)
	return cl
}

func (w *world) create(topic string, partitions int32, config map[string]*string) {
	w.t.Helper()
	if _, err := w.admin.CreateTopic(w.t.Context(), partitions, 1, config, topic); err != nil {
		w.t.Fatal(err)
	}
}

// at is a record of an order in a partition of the input, of a time.
func at(partition int32, written time.Time, o order) *kgo.Record {
	return &kgo.Record{
		Topic: input, Partition: partition, Key: []byte(o.id), Value: o.json(), Timestamp: written,
		Headers: []kgo.RecordHeader{{Key: "h", Value: []byte(o.id)}},
	}
}

// fresh is such a record of now, whose event has a time of its own.
func fresh(partition int32, id string) *kgo.Record {
	return at(partition, time.Now(), order{id: id, time: time.Now().UTC().Format(time.RFC3339)})
}

func (w *world) produce(rs ...*kgo.Record) {
	w.t.Helper()
	if err := w.client.ProduceSync(w.t.Context(), rs...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

// parkRecord puts a record of the input, which lies there already, into a
// partition of the parked topic, as the service does, and returns that one.
func (w *world) parkRecord(partition int32, r *kgo.Record, p *event.ParkInfo) *kgo.Record {
	w.t.Helper()
	return w.parkMessage(partition, kafka.MessageOf(r), r, p)
}

func (w *world) parkMessage(partition int32, m event.Message, from *kgo.Record, p *event.ParkInfo) *kgo.Record {
	w.t.Helper()
	out := event.EncodeParked(m, event.Position{Topic: from.Topic, Partition: from.Partition, Offset: from.Offset}, p)
	r := &kgo.Record{Topic: parkedInto, Partition: partition, Key: out.Key, Value: out.Value}
	for _, h := range out.Headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	w.produce(r)
	return r
}

// all returns the committed records of a topic, by partition.
func (w *world) all(topic string) map[int32][]*kgo.Record {
	w.t.Helper()
	f := newFetcher(w.client, slog.New(slog.DiscardHandler))
	spans, err := f.spans(w.t.Context(), topic, &Selection{All: true})
	if err != nil {
		w.t.Fatal(err)
	}
	got := make(map[int32][]*kgo.Record)
	m := newMerged(w.kafka, slog.New(slog.DiscardHandler), topic, spans)
	defer m.close()
	for {
		r, err := m.next(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		if r == nil {
			return got
		}
		got[r.Partition] = append(got[r.Partition], r)
	}
}

// sent returns what came to the input since so many records were in each of its
// partitions.
func (w *world) sent(before map[int32][]*kgo.Record) map[int32][]*kgo.Record {
	w.t.Helper()
	after := w.all(input)
	for p, rs := range before {
		after[p] = after[p][len(rs):]
		if len(after[p]) == 0 {
			delete(after, p)
		}
	}
	return after
}

func (w *world) config(s Selection) Config {
	return Config{
		Kafka: w.kafka, Input: input, Parked: parkedInto, Rules: rulesForTest(), Selection: s, Partitioner: SamePartition,
		State: w.state, Ledger: w.book, Scratch: "scratch", FS: vfs.NewMem(), Log: slog.New(slog.NewTextHandler(w.log, nil)),
	}
}

// plan returns the plan of a run that is not sent.
func (w *world) plan(c Config) *Plan {
	w.t.Helper()
	r := w.open(c)
	defer w.close(r)
	p, err := r.Plan(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	p.Print(io.Discard)
	return p
}

func (w *world) open(c Config) *Run {
	w.t.Helper()
	r, err := New(w.t.Context(), c)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) close(r *Run) {
	w.t.Helper()
	if err := r.Close(); err != nil {
		w.t.Error(err)
	}
}

// replay runs a whole run.
func (w *world) replay(c Config) (*Plan, Result) {
	w.t.Helper()
	plan, result, err := w.try(w.t.Context(), c)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := absent(w.state); err != nil {
		w.t.Errorf("the run is over: %v", err)
	}
	return plan, result
}

// try runs a run, which may fail.
func (w *world) try(ctx context.Context, c Config) (_ *Plan, _ Result, err error) {
	r, err := New(ctx, c)
	if err != nil {
		return nil, Result{}, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	plan, err := r.Plan(ctx)
	if err != nil {
		return nil, Result{}, err
	}
	result, err := r.Send(ctx, plan)
	return plan, result, err
}

// rows checks what a plan counts: records, of them sent, events, money.
func (w *world) rows(p *Plan, want map[Class]string) {
	w.t.Helper()
	got := make(map[Class]string)
	for _, r := range p.Rows {
		got[r.Class] = countsOf(r)
	}
	for c := range got {
		if got[c] != want[c] {
			w.t.Errorf("%s: %s, want %s", string(c), got[c], want[c])
		}
	}
	for c := range want {
		if got[c] == "" {
			w.t.Errorf("%s: none, want %s", string(c), want[c])
		}
	}
}

// offsetsOf names an offset of a partition of the input.
func offsetsOf(partition int32, offset int64) kadm.Offsets {
	var os kadm.Offsets
	os.AddOffset(input, partition, offset, -1)
	return os
}

// setting sets one of a topic's.
func setting(name, value string) []kadm.AlterConfig {
	return []kadm.AlterConfig{{Op: kadm.SetConfig, Name: name, Value: &value}}
}
