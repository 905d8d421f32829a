package verify_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
	"payment-capture/internal/kafkatest"
	"payment-capture/internal/ledger/entry"
	"payment-capture/internal/money"
	"payment-capture/internal/verify"
)

const (
	input    = "orders"
	captured = "captured"
	rejected = "rejected"
	parked   = "parked"
	ledgers  = "ledger"
	group    = "service"
)

// noon is when the events of the tests are; the ledger is older.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// world is a broker whose topics a test fills as it likes.
type world struct {
	t      *testing.T
	broker *kafkatest.Broker
	client *kgo.Client
	admin  *kadm.Client
	conf   verify.Config
}

func newWorld(t *testing.T, opts ...kfake.Opt) *world {
	t.Helper()
	return newWorldOf(t, verify.Topics{Input: input, Captured: captured, Rejected: rejected, Parked: parked, Ledger: ledgers}, opts...)
}

// newWorldOf makes topics of three partitions; those of one name are one.
func newWorldOf(t *testing.T, topics verify.Topics, opts ...kfake.Opt) *world {
	t.Helper()
	seed := kfake.SeedTopics(3, topics.Input, topics.Captured, topics.Rejected, topics.Parked, topics.Ledger)
	w := &world{t: t, broker: kafkatest.Fake(t, append(opts, seed)...)}
	w.conf = verify.Config{
		Kafka: kafka.Config{Brokers: w.broker.Addresses, ClientID: "test", Dial: w.broker.Dial}, Group: group, Topics: topics,
		ScratchDir: t.TempDir(), Log: slog.New(slog.DiscardHandler),
	}
	var err error
	if w.client, err = w.conf.Kafka.NewClient(kgo.RecordPartitioner(kgo.ManualPartitioner())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.client.Close)
	w.admin = kadm.NewClient(w.client)
	return w
}

// sent is an event as a test made it.
type sent struct {
	event  *event.ReadyToCapture
	record *kgo.Record
}

// order is what an event says; what is left out is the usual.
type order struct {
	id, order, amount, currency, reference, payer, account string
	description                                            string
	partition                                              int32
	at                                                     time.Time
	resend                                                 *event.Resend
}

// value returns the event as a producer writes it.
func (o order) value(t *testing.T) []byte {
	t.Helper()
	for _, d := range []struct {
		into  *string
		value string
	}{
		{&o.order, "order-" + o.id},
		{&o.amount, "700.50"},
		{&o.currency, "MXN"},
		{&o.payer, "planted-payer-token"},
		{&o.description, "An order"},
	} {
		if *d.into == "" {
			*d.into = d.value
		}
	}
	data := map[string]any{
		"order_id": o.order, "amount": o.amount, "currency": o.currency, "description": o.description, "payer": map[string]any{"token": o.payer},
	}
	if o.reference != "" {
		data["external_reference"] = o.reference
	}
	if o.account != "" {
		data["account"] = o.account
	}
	value, err := json.Marshal(map[string]any{
		"specversion": "1.0", "id": o.id, "source": "/test", "type": event.TypeReadyToCapture, "time": noon.Format(time.RFC3339), "data": data,
	})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// send publishes an event.
func (w *world) send(o order) sent {
	w.t.Helper()
	if o.order == "" {
		o.order = "order-" + o.id
	}
	value := o.value(w.t)
	r := &kgo.Record{Topic: w.conf.Topics.Input, Partition: o.partition, Key: []byte(o.order), Value: value, Timestamp: o.at}
	if o.resend != nil {
		for _, h := range o.resend.Headers() {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
	}
	w.produce(r)
	e, err := event.Decode(event.Message{Value: value, Timestamp: r.Timestamp})
	if err != nil {
		w.t.Fatal(err)
	}
	return sent{e, r}
}

// sendRaw publishes a record that is no event.
func (w *world) sendRaw(value string) *kgo.Record {
	w.t.Helper()
	r := &kgo.Record{Topic: w.conf.Topics.Input, Value: []byte(value)}
	w.produce(r)
	return r
}

// produce sends a record; one without a time is of noon.
func (w *world) produce(r *kgo.Record) {
	w.t.Helper()
	if r.Timestamp.IsZero() {
		r.Timestamp = noon
	}
	if err := w.client.ProduceSync(w.t.Context(), r).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

// outcomeOf is the outcome that an event must have.
func outcomeOf(e *event.ReadyToCapture, eventType string) *event.Outcome {
	o := &event.Outcome{
		Type: eventType, Subject: e.OrderID, Time: noon.Add(time.Second), EventID: e.ID, OrderID: e.OrderID, Amount: e.Amount,
		ExternalReference: e.ExternalReference, PaymentID: "payment-" + e.ID,
	}
	if eventType == event.TypeCaptured {
		o.CapturedAt = o.Time
		o.Transactions = []event.Transaction{{
			ID: "1", Status: "approved", StatusDetail: "accredited", PaymentMethod: "visa",
			Amount: e.Amount.String(),
		}}
	} else {
		o.Reason, o.Category, o.Retry = "cc_rejected_high_risk", event.CategoryFraud, event.RetryNever
	}
	return o
}

// publish writes an outcome as the service does.
func (w *world) publish(o *event.Outcome, changes ...func(*kgo.Record)) {
	w.t.Helper()
	m := o.Encode(nil, event.Structured)
	r := &kgo.Record{Topic: w.conf.Topics.Rejected, Key: m.Key, Value: m.Value, Timestamp: noon.Add(2 * time.Second)}
	if o.Type == event.TypeCaptured {
		r.Topic = w.conf.Topics.Captured
	}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	for _, change := range changes {
		change(r)
	}
	w.produce(r)
}

// park writes a parked record for a record of the input.
func (w *world) park(of *kgo.Record, p event.ParkInfo, changes ...func(*kgo.Record)) {
	w.t.Helper()
	m := event.Message{Key: of.Key, Value: of.Value}
	for _, h := range of.Headers {
		m.Headers = append(m.Headers, event.Header{Key: h.Key, Value: h.Value})
	}
	w.parkAs(of, m, p, changes...)
}

// parkedID is the id that the service parks a record under.
func parkedID(of *kgo.Record, p event.ParkInfo) string {
	m := event.Message{Key: of.Key, Value: of.Value}
	if of.Timestamp.UnixMilli() >= 0 {
		m.Timestamp = of.Timestamp
	}
	for _, h := range of.Headers {
		m.Headers = append(m.Headers, event.Header{Key: h.Key, Value: h.Value})
	}
	if e, err := event.Decode(m); err == nil && p.Reason != event.ParkConflicting {
		return e.ID
	}
	return event.RecordID(m)
}

func (w *world) parkAs(of *kgo.Record, m event.Message, p event.ParkInfo, changes ...func(*kgo.Record)) {
	w.t.Helper()
	m = event.EncodeParked(m, event.Position{
		Topic: of.Topic, Partition: of.Partition, Offset: of.Offset, ID: parkedID(of, p),
		OrderID: "order-1", ClaimedEventID: "e1", // which decide nothing
	}, &p)
	r := &kgo.Record{Topic: w.conf.Topics.Parked, Key: m.Key, Value: m.Value, Timestamp: noon.Add(2 * time.Second)}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	for _, change := range changes {
		change(r)
	}
	w.produce(r)
}

// decide writes a decision into the ledger.
func (w *world) decide(id string, d event.Decision, changes ...func(*kgo.Record)) {
	w.t.Helper()
	if d.At.IsZero() {
		d.At = noon.Add(time.Second)
	}
	value, err := entry.EncodeDecision(&d)
	if err != nil {
		w.t.Fatal(err)
	}
	r := &kgo.Record{Topic: w.conf.Topics.Ledger, Key: entry.DecisionKey(id), Value: value}
	for _, change := range changes {
		change(r)
	}
	w.produce(r)
}

// decideAs writes the decision that belongs to an outcome.
func (w *world) decideAs(e *event.ReadyToCapture, o *event.Outcome) {
	w.t.Helper()
	w.decide(e.ID, event.Decision{Result: event.Result{Outcome: o}, Attempt: event.Attempt{First: noon, Event: e.Fingerprint(), Encoding: 1}})
}

// decideParked writes the decision that belongs to a parked record.
func (w *world) decideParked(id string, p event.ParkInfo, at time.Time) {
	w.t.Helper()
	w.decide(id, event.Decision{Result: event.Result{ParkInfo: &p}, At: at})
}

// attempt writes an attempt into the ledger.
func (w *world) attempt(id string) {
	w.t.Helper()
	value := entry.EncodeAttempt(event.Attempt{First: noon, Encoding: 1})
	w.produce(&kgo.Record{Topic: w.conf.Topics.Ledger, Key: entry.AttemptKey(id, "owner"), Value: value})
}

// process publishes the outcome of an event and writes the decision, as the service does.
func (w *world) process(s sent, eventType string) *event.Outcome {
	w.t.Helper()
	o := outcomeOf(s.event, eventType)
	w.publish(o)
	if w.conf.Topics.Ledger != "" {
		w.decideAs(s.event, o)
	}
	return o
}

// clean adds events whose topics are as they should be. The first of them makes
// the ledger old enough to be relied on.
func (w *world) clean(n int) {
	w.t.Helper()
	for i := range n {
		s := w.send(order{id: fmt.Sprintf("clean-%d", i), partition: int32(i % 3), at: noon.Add(-4 * time.Hour)})
		eventType := event.TypeCaptured
		if i%3 == 2 {
			eventType = event.TypeRejected
		}
		o := outcomeOf(s.event, eventType)
		at := func(r *kgo.Record) { r.Timestamp = noon.Add(-4 * time.Hour) }
		w.publish(o, at)
		if w.conf.Topics.Ledger != "" {
			w.decide(s.event.ID, event.Decision{Result: event.Result{Outcome: o}, At: noon.Add(-4 * time.Hour)}, at)
		}
	}
}

// commit commits the ends of the input, as a service that has completed all.
func (w *world) commit() {
	w.t.Helper()
	w.commitEnds(w.inputID())
}

// commitEnds commits the ends of the input as of a topic with this id.
func (w *world) commitEnds(topic [16]byte) {
	w.t.Helper()
	ends, err := w.admin.ListEndOffsets(w.t.Context(), w.conf.Topics.Input)
	if err != nil {
		w.t.Fatal(err)
	}
	offsets := make(kadm.Offsets)
	for _, o := range ends.Offsets().Sorted() {
		o.Metadata = metadata(topic, o.At, 0)
		offsets.Add(o)
	}
	w.commitOffsets(offsets)
}

func (w *world) inputID() [16]byte {
	w.t.Helper()
	details, err := w.admin.ListTopics(w.t.Context(), w.conf.Topics.Input)
	if err != nil {
		w.t.Fatal(err)
	}
	return details[w.conf.Topics.Input].ID
}

func (w *world) commitOffsets(offsets kadm.Offsets) {
	w.t.Helper()
	responses, err := w.admin.CommitOffsets(w.t.Context(), group, offsets)
	if err == nil {
		err = responses.Error()
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// run verifies, and returns the findings in their order.
func (w *world) run() ([]verify.Finding, *verify.Summary) {
	w.t.Helper()
	found, sum, err := w.try()
	if err != nil {
		w.t.Fatal(err)
	}
	return found, sum
}

func (w *world) try() (found []verify.Finding, sum *verify.Summary, err error) {
	w.t.Helper()
	sum, err = verify.Run(w.t.Context(), w.conf, func(f verify.Finding) error {
		found = append(found, f)
		return nil
	})
	return found, sum, err
}

// want is a finding as a test expects it.
type want struct {
	Kind verify.Kind
	ID   string
}

// expect verifies and compares the findings, whatever their order.
func (w *world) expect(wants ...want) ([]verify.Finding, *verify.Summary) {
	w.t.Helper()
	found, sum := w.run()
	var got []want
	for _, f := range found {
		got = append(got, want{f.Kind, f.EventID})
	}
	if diff := cmp.Diff(wants, got); diff != "" {
		w.t.Errorf("the findings are others (-want +got):\n%s\n%+v", diff, found)
	}
	return found, sum
}

func mustParse(t *testing.T, text string, c money.Currency) money.Amount {
	t.Helper()
	a, err := money.Parse(text, c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
