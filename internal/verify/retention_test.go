package verify_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/verify"
)

// delete deletes the first records of a partition, as retention does.
func (w *world) delete(topic string, partition int32, before int64) {
	w.t.Helper()
	offsets := make(kadm.Offsets)
	offsets.Add(kadm.Offset{Topic: topic, Partition: partition, At: before, LeaderEpoch: -1})
	responses, err := w.admin.DeleteRecords(w.t.Context(), offsets)
	if err == nil {
		err = responses.Error()
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// An outcome whose event was deleted by retention is none without an event; a
// young one is worth a look.
func TestEventsThatWereDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(3)
	old := w.send(order{id: "old"})
	w.process(old, event.TypeCaptured)
	w.send(order{id: "kept", at: noon})
	w.process(w.send(order{id: "kept", at: noon}), event.TypeCaptured)
	young := *old.event
	young.ID, young.OrderID, young.ExternalReference = "young", "order-young", "order-young"
	o := outcomeOf(&young, event.TypeCaptured)
	w.publish(o, func(r *kgo.Record) { r.Timestamp = noon.Add(2 * time.Hour) })
	w.decideAs(&young, o)
	w.commit()
	w.expect(want{verify.OutcomeWithoutEvent, "young"})

	w.delete(input, 0, 2) // clean-0 and old
	_, sum := w.expect(want{verify.EventNotRetained, "young"})
	if sum.Differences() != 0 || sum.Events() != 3 || len(sum.Notes()) != 1 {
		t.Errorf("%d differences, %d events, notes %q", sum.Differences(), sum.Events(), sum.Notes())
	}
}

// An event without an outcome may have had one, if outcomes of its time were
// deleted; not if they were not.
func TestOutcomesThatWereDeleted(t *testing.T) {
	t.Parallel()
	for name, topic := range map[string]string{"outcomes": captured, "parked records": parked} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.clean(3)
			w.send(order{id: "old"})
			w.send(order{id: "old", at: noon.Add(3 * time.Hour)}) // a copy: the first one had the outcome
			w.decideAs(w.send(order{id: "decided"}).event, outcomeOf(w.send(order{id: "decided"}).event, event.TypeCaptured))
			w.send(order{id: "margin", at: noon.Add(90 * time.Minute)}) // clocks differ by less than an hour
			w.send(order{id: "young", at: noon.Add(3 * time.Hour)})
			for range 2 {
				w.produce(&kgo.Record{Topic: topic, Partition: 1, Value: []byte("something"), Timestamp: noon.Add(time.Hour)})
			}
			w.commit()
			w.expect(want{verify.LedgerWithoutOutcome, "decided"}, want{verify.MissingOutcome, "margin"}, want{verify.MissingOutcome, "old"},
				want{verify.MissingOutcome, "young"})

			ends, err := w.admin.ListEndOffsets(t.Context(), topic)
			if err != nil {
				t.Fatal(err)
			}
			last, _ := ends.Lookup(topic, 1)
			w.delete(topic, 1, last.Offset-1)
			_, sum := w.run()
			if sum.Unknown() < 3 || sum.Count(verify.MissingOutcome) != 1 || sum.Count(verify.LedgerWithoutOutcome) != 0 || len(sum.Notes()) != 1 {
				t.Errorf("%d unknown, %d missing, notes %q", sum.Unknown(), sum.Count(verify.MissingOutcome), sum.Notes())
			}
			w.delete(topic, 1, last.Offset) // nothing is left: it may have held anything up to now
			if _, sum = w.run(); sum.Differences() != 0 {
				t.Errorf("with nothing left: %d differences", sum.Differences())
			}
		})
	}
}

// TestOutcomesThatWereDeletedFromSeveralPartitions: the topics hold everything only
// since the latest of their beginnings.
func TestOutcomesThatWereDeletedFromSeveralPartitions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(3)
	for n, at := range map[int32]time.Duration{0: 3 * time.Hour, 2: -3 * time.Hour} {
		r := func() *kgo.Record {
			return &kgo.Record{Topic: captured, Partition: n, Value: []byte("something"), Timestamp: noon.Add(at)}
		}
		last := r()
		w.produce(r())
		w.produce(last)
		w.delete(captured, n, last.Offset)
	}
	w.send(order{id: "e1"})
	w.commit()
	if _, sum := w.run(); sum.Unknown() == 0 || sum.Count(verify.MissingOutcome) != 0 {
		t.Errorf("%d unknown, %d missing", sum.Unknown(), sum.Count(verify.MissingOutcome))
	}
}

// What was parked for a record that was deleted may answer its copy.
func TestParkedRecordOfADeletedCopy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(3)
	p := event.ParkInfo{Reason: event.ParkInvalidEvent, Detail: "d"}
	w.park(w.sendRaw("{}"), p)
	w.decideParked(recordID(), p, noon)
	w.sendRaw("{}")
	w.commit()
	w.expect()
	w.delete(input, 0, 2)
	_, sum := w.expect()
	if sum.Unknown() != 1 {
		t.Errorf("%d unknown", sum.Unknown())
	}
}

// A recreated topic has no records from before.
func TestRecreatedInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(3)
	w.process(w.send(order{id: "before"}), event.TypeCaptured)
	if _, err := w.admin.DeleteTopics(t.Context(), input); err != nil {
		t.Fatal(err)
	}
	if _, err := w.admin.CreateTopics(t.Context(), 3, 1, nil, input); err != nil {
		t.Fatal(err)
	}
	w.client.PurgeTopicsFromClient(input)
	w.process(w.send(order{id: "after", at: noon.Add(time.Hour)}), event.TypeCaptured)
	w.commit()
	w.expect()
}

func TestCompactedOutcomesProveNothingMissing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(3)
	w.send(order{id: "e1"})
	w.commit()
	w.expect(want{verify.MissingOutcome, "e1"})
	compact := "compact"
	if _, err := w.admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "cleanup.policy", Value: &compact}},
		captured); err != nil {
		t.Fatal(err)
	}
	_, sum := w.expect()
	if sum.Unknown() != 1 || len(sum.Notes()) != 1 {
		t.Errorf("%d unknown, notes %q", sum.Unknown(), sum.Notes())
	}
}
