//go:build synctests || integration

package acceptance

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// sentEvent is an event that was sent to the input topic.
type sentEvent struct {
	id, order string
	// skipped: no decision is expected.
	skipped bool
}

// order is an event to send; zero fields get default values.
type order struct {
	id, order, amount, currency, account string
	kind                                 string // CloudEvents type
	token                                string
	time                                 time.Time
	raw                                  string // the value of the record, instead of the other fields
	key                                  string // default: the order id
	binary                               bool
	partition                            int32 // one more than the partition; 0: by key
	skipped                              bool  // no decision is expected
}

// record returns the Kafka record of an order.
func (w *world) record(o order) *kgo.Record {
	def := func(v *string, d string) {
		if *v == "" {
			*v = d
		}
	}
	def(&o.order, "order-"+o.id)
	def(&o.amount, "700.50")
	def(&o.currency, "MXN")
	def(&o.kind, "order.ready_to_capture")
	def(&o.token, payerToken)
	def(&o.key, o.order)
	if o.time.IsZero() {
		o.time = time.Now()
	}
	data := map[string]any{
		"order_id": o.order, "amount": o.amount, "currency": o.currency, "description": "Order " + o.order,
		"payer": map[string]string{"token": o.token},
	}
	if o.account != "" {
		data["account"] = o.account
	}
	attributes := map[string]any{
		"specversion": "1.0", "id": o.id, "source": "/orders", "type": o.kind, "time": o.time.UTC().Format(time.RFC3339Nano),
	}
	r := &kgo.Record{Topic: w.topics.input, Key: []byte(o.key)}
	switch {
	case o.raw != "":
		r.Value = []byte(o.raw)
	case o.binary:
		for k, v := range attributes {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: "ce_" + k, Value: []byte(v.(string))})
		}
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: "content-type", Value: []byte("application/json")})
		r.Value = w.json(data)
	default:
		attributes["data"] = data
		r.Value = w.json(attributes)
	}
	if o.partition > 0 {
		r.Partition = o.partition - 1
	}
	w.sent = append(w.sent, sentEvent{id: o.id, order: o.order, skipped: o.skipped})
	return r
}

func (w *world) json(v any) []byte {
	w.t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		w.t.Fatal(err)
	}
	return raw
}

// send produces orders to the input topic.
func (w *world) send(orders ...order) {
	w.t.Helper()
	var records []*kgo.Record
	for _, o := range orders {
		records = append(records, w.record(o))
	}
	if err := w.client.ProduceSync(w.t.Context(), records...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

// decision is a record of an outcome topic or of the dead-letter topic.
type decision struct {
	kind      string // captured, rejected, parked
	outcomeID string
	event     string
	key       string
	reason    string
	partition int32
	data      map[string]any
	record    *kgo.Record
}

// decisions reads all committed outcomes and parked records.
func (w *world) decisions() []decision {
	w.t.Helper()
	var all []decision
	for _, r := range w.readAll(w.topics.captured, w.topics.rejected, w.topics.parked) {
		all = append(all, w.parse(r))
	}
	return all
}

func (w *world) parse(r *kgo.Record) decision {
	w.t.Helper()
	v := decision{key: string(r.Key), partition: r.Partition, record: r}
	if r.Topic == w.topics.parked {
		v.kind = "parked"
		for _, h := range r.Headers {
			if h.Key == "parked_reason" {
				v.reason = string(h.Value)
			}
		}
		claimed := claimedIDs(r)
		for _, s := range w.sent {
			if s.id != "" && slices.Contains(claimed, s.id) {
				v.event = s.id
			}
		}
		return v
	}
	v.kind = strings.TrimPrefix(r.Topic, w.name+".")
	var doc struct {
		ID   string         `json:"id"`
		Data map[string]any `json:"data"`
	}
	if err := json.Unmarshal(r.Value, &doc); err != nil {
		w.t.Fatalf("outcome %q: %v", r.Value, err)
	}
	v.outcomeID, v.data = doc.ID, doc.Data
	v.event, _ = doc.Data["event_id"].(string)
	v.reason, _ = doc.Data["reason"].(string)
	return v
}

// claimedIDs returns the ids that a parked event may have.
func claimedIDs(r *kgo.Record) []string {
	ids := []string{headerOf(r, "ce_id")}
	for _, after := range strings.Split(string(r.Value), `"id":"`)[1:] {
		id, _, _ := strings.Cut(after, `"`)
		ids = append(ids, id)
	}
	return ids
}

func headerOf(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// readAll reads topics up to their last stable offsets, as a read-committed
// consumer.
func (w *world) readAll(topics ...string) []*kgo.Record {
	w.t.Helper()
	var ends kadm.ListedOffsets
	w.eventually("the end offsets of the topics are known", func() bool {
		var err error
		ends, err = w.admin.ListCommittedOffsets(w.t.Context(), topics...)
		return err == nil && ends.Error() == nil
	})
	left := make(map[string]map[int32]int64)
	from := make(map[string]map[int32]kgo.Offset)
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset == 0 {
			return
		}
		if left[o.Topic] == nil {
			left[o.Topic], from[o.Topic] = make(map[int32]int64), make(map[int32]kgo.Offset)
		}
		left[o.Topic][o.Partition] = o.Offset
		from[o.Topic][o.Partition] = kgo.NewOffset().AtStart()
	})
	if len(from) == 0 {
		return nil
	}
	cl, err := w.kafkaConfig().NewClient(kgo.ConsumePartitions(from), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		w.t.Fatal(err)
	}
	defer cl.Close()
	var records []*kgo.Record
	deadline := time.Now().Add(w.patience)
	for len(left) > 0 {
		if time.Now().After(deadline) {
			w.t.Fatalf("read %v: not at the end after %s", topics, w.patience)
		}
		fetches := cl.PollFetches(w.t.Context())
		if err := fetches.Err0(); err != nil {
			w.t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				records = append(records, r)
			}
			if r.Offset >= left[r.Topic][r.Partition]-1 {
				delete(left[r.Topic], r.Partition)
				if len(left[r.Topic]) == 0 {
					delete(left, r.Topic)
				}
			}
		})
	}
	return records
}

// awaitDecisions waits until the group has committed the end of the input topic, and then checks
// the promises: each event has one decision, no key is charged twice, no secret is
// logged.
func (w *world) awaitDecisions() []decision {
	w.t.Helper()
	w.eventually("committed offsets are at the end of the input topic", func() bool { return w.lag() == 0 })
	// A crashed instance may leave a transaction open, which hides later records until
	// the broker aborts it.
	w.eventually("no transaction is open over the outcome topics", func() bool {
		topics := []string{w.topics.captured, w.topics.rejected, w.topics.parked}
		ends, err := w.admin.ListEndOffsets(w.t.Context(), topics...)
		if err != nil || ends.Error() != nil {
			return false
		}
		stable, err := w.admin.ListCommittedOffsets(w.t.Context(), topics...)
		return err == nil && stable.Error() == nil && maps.EqualFunc(ends, stable, func(a, b map[int32]kadm.ListedOffset) bool {
			return maps.EqualFunc(a, b, func(a, b kadm.ListedOffset) bool { return a.Offset == b.Offset })
		})
	})
	decisions := w.decisions()
	w.check(decisions)
	return decisions
}

// lag returns how many offsets of the input topic are not committed.
func (w *world) lag() int64 {
	w.t.Helper()
	ends, err := w.admin.ListEndOffsets(w.t.Context(), w.topics.input)
	if err != nil || ends.Error() != nil {
		return -1 // the broker is down
	}
	committed, err := w.admin.FetchOffsetsForTopics(kadm.RequireStable(w.t.Context()), w.group, w.topics.input)
	if err != nil {
		return -1
	}
	var lag int64
	ends.Each(func(e kadm.ListedOffset) {
		c, ok := committed.Lookup(e.Topic, e.Partition)
		switch {
		case !ok || c.Err != nil || c.At < 0:
			lag += e.Offset + 1
		default:
			lag += e.Offset - c.At
		}
	})
	return lag
}

func (w *world) check(decisions []decision) {
	w.t.Helper()
	byEvent := make(map[string][]decision)
	for _, v := range decisions {
		byEvent[v.event] = append(byEvent[v.event], v)
	}
	sent := make(map[string]int)
	for _, s := range w.sent {
		if !s.skipped {
			sent[s.id]++
		} else if n := len(byEvent[s.id]); n != 0 {
			w.t.Errorf("event %q must be skipped and has %d decisions", s.id, n)
		}
	}
	for id, times := range sent {
		got := byEvent[id]
		if len(got) > 0 && got[0].kind == "parked" && id != "" {
			times = 1 // a copy of a parked event gets no decision
		}
		if unmarked := w.unmarked(got); unmarked != 1 && !w.zombies && len(got) > 0 && id != "" {
			w.t.Errorf("event %q has %d outcomes that are not marked as replayed: %s", id, unmarked, summary(got))
		}
		if len(got) != times {
			w.t.Errorf("event %q was sent %d times and has %d decisions: %s; log:\n%s", id, times, len(got), summary(got), w.log.tail())
		}
		for _, v := range got {
			if v.kind != got[0].kind || v.outcomeID != got[0].outcomeID {
				w.t.Errorf("event %q has different decisions: %s", id, summary(got))
			}
		}
	}
	charges := w.sim.Charges()
	if double := charges.DoubleCharges(); len(double) > 0 {
		w.t.Errorf("keys charged more than once: %v", double)
	}
	for id, got := range byEvent {
		charged := charges.ByKey[id].Count
		for _, v := range got {
			if (v.kind == "captured") != (charged == 1) && v.kind != "parked" {
				w.t.Errorf("event %q is %s, but was charged %d times", id, v.kind, charged)
			}
		}
	}
	if charges.MaxOverlapPerReference > 1 && !w.zombies {
		w.t.Errorf("%d calls for one order at once", charges.MaxOverlapPerReference)
	}
	for _, planted := range []string{accessToken, payerToken} {
		if strings.Contains(w.log.String(), planted) {
			w.t.Errorf("the log contains %q", planted)
		}
	}
}

// unmarked counts the decisions that are not marked as replayed.
func (w *world) unmarked(vs []decision) int {
	n := 0
	for _, v := range vs {
		if replayed, _ := v.data["replayed"].(bool); !replayed {
			n++
		}
	}
	return n
}

func summary(vs []decision) string {
	var out []string
	for _, v := range vs {
		out = append(out, fmt.Sprintf("%s %s %s at %s/%d@%d", v.kind, v.outcomeID, v.reason, v.record.Topic, v.record.Partition, v.record.Offset))
	}
	return strings.Join(out, "; ")
}
