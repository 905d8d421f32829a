package verify_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/verify"
)

// noTime is the timestamp of a record that has none.
func noTime() time.Time { return time.UnixMilli(-1) }

// timeless is an event without a time of its own; its age is its record's.
func timeless(t *testing.T, id string) string {
	t.Helper()
	value, err := json.Marshal(map[string]any{
		"specversion": "1.0", "id": id, "source": "/test", "type": event.TypeReadyToCapture,
		"data": map[string]any{
			"order_id": "order-" + id, "amount": "700.50", "currency": "MXN", "description": "d",
			"payer": map[string]any{"token": "planted"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(value)
}

// binaryTimeless is the same event in binary mode.
func (w *world) binaryTimeless(id string, at time.Time) *kgo.Record {
	w.t.Helper()
	var doc struct{ Data json.RawMessage }
	if err := json.Unmarshal([]byte(timeless(w.t, id)), &doc); err != nil {
		w.t.Fatal(err)
	}
	r := &kgo.Record{Topic: w.conf.Topics.Input, Value: doc.Data, Timestamp: at}
	for key, value := range map[string]string{
		"ce_specversion": "1.0", "ce_id": id, "ce_source": "/test",
		"ce_type": event.TypeReadyToCapture,
	} {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
	}
	w.produce(r)
	return r
}

// rawAt publishes a record of a time.
func (w *world) rawAt(value string, at time.Time) *kgo.Record {
	w.t.Helper()
	r := &kgo.Record{Topic: w.conf.Topics.Input, Value: []byte(value), Timestamp: at}
	w.produce(r)
	return r
}

// parkAndDecide parks a record and decides, under the id that the service takes.
func (w *world) parkAndDecide(of *kgo.Record, reason event.ParkReason) {
	w.t.Helper()
	p := event.ParkInfo{Reason: reason, Detail: "d"}
	w.park(of, p)
	w.decideParked(parkedID(of, p), p, noon.Add(time.Second))
}

// TestParkedAsTheServiceDecodedIt: the parked record has a timestamp, so an event
// without a time is valid there. Its parked_event_id shows how the service decoded it.
func TestParkedAsTheServiceDecodedIt(t *testing.T) {
	t.Parallel()
	testFaults(t, map[string]fault{
		"no time, no timestamp": {plant: func(w *world) {
			w.parkAndDecide(w.rawAt(timeless(w.t, "e1"), noTime()), event.ParkInvalidEvent)
		}},
		"no time, no timestamp, binary": {plant: func(w *world) {
			w.parkAndDecide(w.binaryTimeless("e1", noTime()), event.ParkInvalidEvent)
		}},
		"no time, no timestamp, a copy": {plant: func(w *world) {
			w.parkAndDecide(w.rawAt(timeless(w.t, "e1"), noTime()), event.ParkInvalidEvent)
			w.rawAt(timeless(w.t, "e1"), noTime())
		}},
		"beside a copy with a timestamp that is captured": {plant: func(w *world) {
			w.parkAndDecide(w.rawAt(timeless(w.t, "e1"), noTime()), event.ParkInvalidEvent)
			r := w.rawAt(timeless(w.t, "e1"), noon)
			e, err := event.Decode(event.Message{Value: r.Value, Timestamp: noon})
			if err != nil {
				w.t.Fatal(err)
			}
			w.process(sent{e, r}, event.TypeCaptured)
		}},
		"no time, and a timestamp": {plant: func(w *world) {
			w.parkAndDecide(w.rawAt(timeless(w.t, "e1"), noon), event.ParkUndecided)
		}},
		"a time, and no timestamp": {plant: func(w *world) {
			r := w.send(order{id: "e1", at: noTime()}).record
			w.parkAndDecide(r, event.ParkWrongCurrency)
		}},
		"no timestamp, and a conflict": {
			plant: func(w *world) {
				w.process(w.send(order{id: "e1"}), event.TypeCaptured)
				w.parkAndDecide(w.send(order{id: "e1", amount: "1.00", at: noTime()}).record, event.ParkConflicting)
			},
			want: []want{{verify.ConflictingEvent, "e1"}}, in: []string{"1.00 MXN"},
		},
		"valid to this version, invalid to the one that parked it": {plant: func(w *world) {
			r := w.rawAt(timeless(w.t, "e1"), noon)
			w.parkUnder(event.RecordID(event.Message{Value: r.Value, Timestamp: noon}), r, event.ParkInvalidEvent)
		}},
		"invalid to this version, valid to the one that parked it": {plant: func(w *world) {
			w.parkUnder("e1", w.sendRaw(`{"id":"e1"}`), event.ParkUndecided)
		}},
		"parked under an event's id, and captured by the ledger": {
			plant: func(w *world) {
				w.parkUnder("e1", w.sendRaw(`{"id":"e1"}`), event.ParkUndecided)
				e, err := event.Decode(event.Message{Value: order{id: "e1", order: "order-e1"}.value(w.t)})
				if err != nil {
					w.t.Fatal(err)
				}
				w.decideAs(e, outcomeOf(e, event.TypeCaptured))
			},
			want: []want{{verify.LedgerWithoutEvent, "e1"}}, in: []string{"the ledger has it as captured"},
		},
		"parked by a version that did not skip its type": {plant: func(w *world) {
			r := w.sendRaw(`{"specversion":"1.0","id":"x","source":"/orders","type":"order.shipped"}`)
			w.parkUnder(event.RecordID(event.Message{Value: r.Value, Timestamp: noon}), r, event.ParkInvalidEvent)
		}},
		"corrected under its id, and captured": {
			plant: func(w *world) {
				w.parkAndDecide(w.send(order{id: "e1", currency: "BRL"}).record, event.ParkWrongCurrency)
				w.process(w.send(order{id: "e1"}), event.TypeCaptured)
			},
			want: []want{{verify.ConflictingEvent, "e1"}}, in: []string{"700.50 BRL"},
		},
		"not parked at all": {
			plant: func(w *world) { w.rawAt(timeless(w.t, "e1"), noTime()) },
			want:  []want{{verify.MissingOutcome, event.RecordID(event.Message{Value: []byte(timeless(t, "e1"))})}}, in: []string{"time is missing"},
		},
		"decided, and not parked": {
			plant: func(w *world) {
				r := w.rawAt(timeless(w.t, "e1"), noTime())
				p := event.ParkInfo{Reason: event.ParkInvalidEvent, Detail: "d"}
				w.decideParked(parkedID(r, p), p, noon.Add(time.Second))
			},
			want: []want{{verify.LedgerWithoutOutcome, event.RecordID(event.Message{Value: []byte(timeless(t, "e1"))})}},
			in:   []string{"no parked record"},
		},
		"parked under its id, and not decided": {
			plant: func(w *world) {
				w.park(w.rawAt(timeless(w.t, "e1"), noTime()), event.ParkInfo{Reason: event.ParkInvalidEvent})
			},
			want: []want{{verify.OutcomeNotInLedger, event.RecordID(event.Message{Value: []byte(timeless(t, "e1"))})}},
			in:   []string{"parked (invalid_event)"},
		},
		"of no record": {
			plant: func(w *world) {
				r := &kgo.Record{Topic: input, Value: []byte(timeless(w.t, "e1")), Timestamp: noTime(), Offset: 40}
				w.park(r, event.ParkInfo{Reason: event.ParkInvalidEvent})
			},
			want: []want{{verify.OutcomeWithoutEvent, "e1"}}, in: []string{"it is parked (invalid_event), and there is no record of the event"},
		},
	})
}

// parkUnder parks a record and decides under an id, as a version that decodes it
// otherwise.
func (w *world) parkUnder(id string, of *kgo.Record, reason event.ParkReason) {
	w.t.Helper()
	p := event.ParkInfo{Reason: reason, Detail: "d"}
	m := event.EncodeParked(event.Message{Key: of.Key, Value: of.Value}, event.Position{
		Topic: of.Topic, Partition: of.Partition,
		Offset: of.Offset, ID: id,
	}, &p)
	r := &kgo.Record{Topic: w.conf.Topics.Parked, Value: m.Value, Timestamp: noon.Add(2 * time.Second)}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	w.produce(r)
	if id != "" {
		w.decideParked(id, p, noon.Add(time.Second))
	}
}

// TestParkedWithoutAnEventID is a record that an earlier version parked: it names
// the event by what it contains, or by the place of the event's record.
func TestParkedWithoutAnEventID(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(3)
	for id, r := range map[string]*kgo.Record{"e1": w.send(order{id: "e1"}).record, recordID(): w.sendRaw("{}")} {
		p := event.ParkInfo{Reason: event.ParkInvalidEvent, Detail: "d"}
		w.parkUnder("", r, p.Reason)
		w.decideParked(id, p, noon.Add(time.Second))
	}
	w.commit()
	w.expect()
}

// TestCopiesOfDeletedRecords: the parked record of a deleted record may answer its
// copy. The digests of so many records end in every byte.
func TestCopiesOfDeletedRecords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(3)
	const copies = 600 // one digest in 256 ends in 0xff
	var records []*kgo.Record
	for i := range copies {
		r := &kgo.Record{Topic: input, Value: []byte(timeless(t, fmt.Sprintf("e%03d", i))), Timestamp: noTime()}
		if i%2 == 0 {
			r.Value = fmt.Appendf(nil, "{%d", i)
		}
		records = append(records, r)
	}
	if err := w.client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	var parkings []*kgo.Record
	for _, r := range records {
		p := event.ParkInfo{Reason: event.ParkInvalidEvent}
		m := event.EncodeParked(event.Message{Value: r.Value}, event.Position{Topic: input, Offset: r.Offset, ID: parkedID(r, p)}, &p)
		out := &kgo.Record{Topic: parked, Value: m.Value, Timestamp: noon}
		for _, h := range m.Headers {
			out.Headers = append(out.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		parkings = append(parkings, out)
	}
	var again []*kgo.Record
	for _, r := range records {
		again = append(again, &kgo.Record{Topic: input, Value: r.Value, Timestamp: noTime()})
	}
	if err := w.client.ProduceSync(t.Context(), append(parkings, again...)...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	w.commit()
	w.delete(input, 0, 1+copies)
	w.conf.Topics.Ledger = ""
	_, sum := w.run()
	if sum.Unknown() != copies || sum.Differences() != 0 {
		t.Errorf("%d unknown and %d differences, want %d and none", sum.Unknown(), sum.Differences(), copies)
	}
	w.conf.Topics.Parked = "another"
	if _, err := w.admin.CreateTopics(t.Context(), 1, 1, nil, "another"); err != nil {
		t.Fatal(err)
	}
	if _, sum = w.run(); sum.Count(verify.MissingOutcome) != copies {
		t.Errorf("without the parked records %d are missing, want %d", sum.Count(verify.MissingOutcome), copies)
	}
}

// A record that names a park reason and no position is not a parked record: nothing
// is concluded from it, and it is counted.
func TestParkedRecordWithoutAPosition(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(3)
	w.produce(&kgo.Record{Topic: parked, Value: order{id: "e1"}.value(t), Headers: []kgo.RecordHeader{
		{Key: "parked_reason", Value: []byte("undecided")}, {Key: "parked_topic", Value: []byte(input)},
	}})
	w.commit()
	_, sum := w.expect()
	var table bytes.Buffer
	sum.Print(&table)
	// The label is wrapped.
	if text := strings.Join(strings.Fields(table.String()), " "); !strings.Contains(text,
		"records in the parked topic that are not parked records │ 1 │") {
		t.Errorf("it is not counted:\n%s", table.String())
	}
}
