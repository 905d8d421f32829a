package verify_test

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/ledger/entry"
	"payment-capture/internal/verify"
)

// What is as it should be, odd as it looks, is no difference.
func TestNoFalseDifferences(t *testing.T) {
	t.Parallel()
	undecided := event.ParkInfo{Reason: event.ParkUndecided, Detail: "d", FirstAttempt: noon, Tries: 3}
	at := noon.Add(time.Second)
	replayed := func(w *world, o *event.Outcome) {
		again := *o
		again.Replayed = true
		w.publish(&again)
	}
	testFaults(t, map[string]fault{
		"replayed copies": {plant: func(w *world) {
			o := w.process(w.send(order{id: "e1"}), event.TypeCaptured)
			w.send(order{id: "e1"})
			w.send(order{id: "e1", partition: 2})
			replayed(w, o)
			replayed(w, o)
		}},
		"replayed by offsets set back": {plant: func(w *world) {
			o := w.process(w.send(order{id: "e1"}), event.TypeRejected)
			replayed(w, o)
			replayed(w, o)
		}},
		"copies whose outcomes are suppressed": {plant: func(w *world) {
			w.process(w.send(order{id: "e1"}), event.TypeCaptured)
			w.send(order{id: "e1"})
		}},
		"binary outcomes": {plant: func(w *world) {
			s := w.send(order{id: "e1"})
			o := outcomeOf(s.event, event.TypeCaptured)
			m := o.Encode([]byte("key"), event.Binary)
			w.publish(o, func(r *kgo.Record) {
				r.Value, r.Headers = m.Value, nil
				for _, h := range m.Headers {
					r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
				}
			})
			w.decideAs(s.event, o)
		}},
		"a discount": {plant: func(w *world) {
			s := w.send(order{id: "e1"})
			o := outcomeOf(s.event, event.TypeCaptured)
			o.Transactions[0].Amount = "600.50"
			w.publish(o)
			w.decideAs(s.event, o)
		}},
		"parked": {plant: func(w *world) {
			s := w.send(order{id: "e1"})
			w.park(s.record, undecided)
			w.decideParked("e1", undecided, at)
			w.send(order{id: "e1"}) // a copy: answered by nothing
		}},
		"parked, sent again, captured": {plant: func(w *world) {
			s := w.send(order{id: "e1"})
			w.park(s.record, undecided)
			w.decideParked("e1", undecided, at)
			s = w.send(order{id: "e1", resend: &event.Resend{ParkedAt: at, FirstAttempt: noon}})
			w.process(s, event.TypeCaptured)
		}},
		"parked, sent again to another partition, captured": {plant: func(w *world) {
			s := w.send(order{id: "e1"})
			w.park(s.record, undecided)
			w.decideParked("e1", undecided, at)
			w.attempt("e1") // its tombstone goes to the partition of the decision
			s = w.send(order{id: "e1", partition: 1, resend: &event.Resend{ParkedAt: at}})
			o := outcomeOf(s.event, event.TypeCaptured)
			w.publish(o)
			w.decide("e1", event.Decision{Result: event.Result{Outcome: o}}, func(r *kgo.Record) { r.Partition = 1 })
		}},
		"parked, sent again, parked again": {plant: func(w *world) {
			s := w.send(order{id: "e1"})
			w.park(s.record, undecided)
			w.decideParked("e1", undecided, at)
			s = w.send(order{id: "e1", resend: &event.Resend{ParkedAt: at}})
			w.park(s.record, undecided)
			w.decideParked("e1", undecided, at.Add(time.Minute))
		}},
		"parked, sent again to another partition, parked again": {plant: func(w *world) {
			s := w.send(order{id: "e1"})
			w.park(s.record, undecided)
			w.decideParked("e1", undecided, at)
			s = w.send(order{id: "e1", partition: 1, resend: &event.Resend{ParkedAt: at}})
			w.park(s.record, undecided)
			again := event.Decision{Result: event.Result{ParkInfo: &undecided}, At: at.Add(time.Minute)}
			w.decide("e1", again, func(r *kgo.Record) { r.Partition = 1 })
		}},
		"an invalid event, parked": {plant: func(w *world) {
			p := event.ParkInfo{Reason: event.ParkInvalidEvent, Detail: "d"}
			w.park(w.sendRaw("{}"), p)
			w.sendRaw("{}") // a copy: answered by nothing
			w.decideParked(recordID(), p, at)
		}},
		"an event too large for the parked topic": {plant: func(w *world) {
			s := w.send(order{id: "e1", payer: string(make512())})
			large := *s.record
			large.Headers = []kgo.RecordHeader{{Key: "padding", Value: make([]byte, 600<<10)}}
			w.produce(&large)
			w.parkAs(&large, event.Digest(event.Message{Value: large.Value}), undecided)
			w.decideParked("e1", undecided, at)
		}},
		"an attempt that was withdrawn": {plant: func(w *world) {
			s := w.send(order{id: "e1"})
			w.attempt("e1")
			w.produce(&kgo.Record{Topic: ledgers, Key: entry.AttemptKey("e1", "owner")})
			w.process(s, event.TypeCaptured)
		}},
		"what is nobody's business here": {plant: func(w *world) {
			w.sendRaw(`{"specversion":"1.0","id":"x","source":"/orders","type":"order.shipped","data":{}}`)
			other := w.send(order{id: "other", account: "another"})
			w.publish(outcomeOf(other.event, event.TypeCaptured))
			w.park(w.send(order{id: "parked", account: "another"}).record, undecided)
			own := w.send(order{id: "own"})
			w.process(own, event.TypeCaptured)
			own.record.Topic = "another.topic"
			w.park(own.record, undecided)
			elsewhere := *other.record
			elsewhere.Topic = "another.topic"
			w.park(&elsewhere, undecided)
			w.produce(&kgo.Record{Topic: captured, Value: []byte(`{"specversion":"1.0","id":"x","source":"/other","type":"payment.captured"}`)})
			w.produce(&kgo.Record{Topic: captured, Value: []byte("\x00avro")})
			w.produce(&kgo.Record{Topic: parked, Value: []byte("no parked record")})
		}},
	})
}

// TestTimelessEventsWhileATimeIsRequired: the service parks them as invalid, under the
// id of their record. With EVENT_TIME_REQUIRED=false they are captured when they are
// published again. verify needs no setting to read both.
func TestTimelessEventsWhileATimeIsRequired(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(3)
	const value = `{"specversion":"1.0","id":"e1","source":"/orders","type":"order.ready_to_capture","data":{"order_id":"o1",` +
		`"amount":"1.00","currency":"MXN","description":"d","payer":{"token":"t"}}}`
	timeless := w.sendRaw(value)
	w.parkUnder(event.RecordID(event.Message{Key: timeless.Key, Value: timeless.Value, Timestamp: noon}), timeless, event.ParkInvalidEvent)
	w.commit()
	if _, sum := w.expect(); sum.Differences() != 0 {
		t.Errorf("%d differences", sum.Differences())
	}
	e, err := event.Decode(event.Message{Value: []byte(value), Timestamp: noon})
	if err != nil {
		t.Fatal(err)
	}
	w.process(sent{e, w.sendRaw(value)}, event.TypeCaptured)
	w.commit()
	if _, sum := w.expect(); sum.Differences() != 0 {
		t.Errorf("published again: %d differences", sum.Differences())
	}
}

func make512() []byte {
	b := make([]byte, 512)
	for i := range b {
		b[i] = 'x'
	}
	return b
}

func TestConflictingEventThatIsParkedIsAWarning(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(3)
	w.process(w.send(order{id: "e1"}), event.TypeCaptured)
	other := w.send(order{id: "e1", amount: "1.00"})
	p := event.ParkInfo{Reason: "conflicting_event", Detail: "d"}
	w.park(other.record, p)
	w.decideParked(event.RecordID(event.Message{Key: other.record.Key, Value: other.record.Value, Timestamp: noon}), p, noon)
	w.commit()
	_, sum := w.expect(want{verify.ConflictingEvent, "e1"})
	if sum.Differences() != 0 || sum.Warnings() != 1 {
		t.Errorf("%d differences, %d warnings", sum.Differences(), sum.Warnings())
	}
}

// Before the ledger's time, and without one, every copy of a record and every
// time that the offsets were set back leads to an outcome that is not marked.
func TestRepetitionsWithoutALedger(t *testing.T) {
	t.Parallel()
	plant := func(w *world) {
		s := w.send(order{id: "copies"})
		w.send(order{id: "copies"})
		o := outcomeOf(s.event, event.TypeCaptured)
		w.publish(o)
		o.Time = o.Time.Add(time.Minute)
		w.publish(o)
		o = outcomeOf(w.send(order{id: "set-back"}).event, event.TypeCaptured)
		w.publish(o)
		for range 3 {
			o.ProviderReplayed = true
			w.publish(o)
		}
		o = outcomeOf(w.send(order{id: "no-payment"}).event, event.TypeRejected)
		o.PaymentID = ""
		w.publish(o)
		w.publish(o)
		o = outcomeOf(w.send(order{id: "doubled"}).event, event.TypeCaptured)
		w.publish(o)
		w.publish(o)
		w.commit()
	}
	w := newWorldOf(t, verify.Topics{Input: input, Captured: captured, Rejected: rejected, Parked: parked})
	plant(w)
	w.expect(want{verify.DoubledOutcome, "doubled"})

	w = newWorld(t)
	plant(w)
	// The ledger has begun: what it has not is older.
	w.decideAs(w.send(order{id: "first", at: noon.Add(time.Hour)}).event, outcomeOf(w.send(order{id: "x"}).event, event.TypeCaptured))
	w.conf.Until = noon.Add(time.Minute)
	w.commit()
	w.expect(want{verify.DoubledOutcome, "doubled"}, want{verify.MissingOutcome, "x"})
}

// metadata is that of a commit: of the topic of this id, without a run, with a bitmap of what is
// completed at and above the committed offset.
func metadata(topic [16]byte, offset int64, bitmap byte) string {
	buf := append([]byte{3}, topic[:]...)
	buf = append(buf, make([]byte, 16)...)
	buf = binary.BigEndian.AppendUint64(buf, uint64(offset))
	buf = binary.BigEndian.AppendUint64(buf, 7)
	return base64.RawStdEncoding.EncodeToString(append(buf, 0, 1, bitmap))
}

func TestWhatIsUnderWayIsNotMissing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 5 {
		w.send(order{id: fmt.Sprintf("e%d", i)})
	}
	w.send(order{id: "elsewhere", partition: 1})
	w.decideAs(w.send(order{id: "done", partition: 2}).event, outcomeOf(w.send(order{id: "done", partition: 2}).event, event.TypeCaptured))
	w.publish(outcomeOf(w.send(order{id: "done", partition: 2}).event, event.TypeCaptured))
	id := w.inputID()
	commit := func(first string) {
		offsets := make(kadm.Offsets)
		offsets.Add(kadm.Offset{Topic: input, Partition: 0, At: 1, LeaderEpoch: -1, Metadata: first})
		for n := range int32(2) {
			offsets.Add(kadm.Offset{Topic: input, Partition: n + 1, At: 0, LeaderEpoch: -1, Metadata: metadata(id, 0, 0)})
		}
		w.commitOffsets(offsets)
	}
	commit(metadata(id, 1, 0))
	_, sum := w.expect(want{verify.MissingOutcome, "e0"})
	if sum.Pending() != 5 {
		t.Errorf("an offset alone: %d under way", sum.Pending())
	}
	commit(metadata(id, 1, 0b0101)) // offsets 1 and 3
	_, sum = w.expect(want{verify.MissingOutcome, "e0"}, want{verify.MissingOutcome, "e1"}, want{verify.MissingOutcome, "e3"})
	if sum.Pending() != 3 {
		t.Errorf("with a map: %d under way", sum.Pending())
	}
	commit(metadata([16]byte{}, 1, 0b0101)) // a broker without topic ids: of which topic it is, is not known
	_, sum = w.expect(want{verify.MissingOutcome, "e0"}, want{verify.MissingOutcome, "e1"}, want{verify.MissingOutcome, "e3"})
	if sum.Pending() != 3 {
		t.Errorf("without a topic id: %d under way", sum.Pending())
	}
	commit("what is this")
	_, sum = w.expect(want{verify.ForeignOffset, ""}, want{verify.MissingOutcome, "e0"})
	if sum.Pending() != 5 || len(sum.Notes()) != 1 {
		t.Errorf("metadata that cannot be read: %d under way, notes %q", sum.Pending(), sum.Notes())
	}
	commit("")
	_, sum = w.expect(want{verify.ForeignOffset, ""}, want{verify.MissingOutcome, "e0"})
	if sum.Pending() != 5 {
		t.Errorf("without metadata: %d under way", sum.Pending())
	}
	commit(metadata([16]byte{1}, 1, 0b0101)) // of a topic that was deleted
	found, sum := w.expect(want{verify.GroupWithoutOffsets, ""})
	if sum.Pending() != 6 || !strings.Contains(found[0].Detail, "orders/0") {
		t.Errorf("of a topic that is no more: %d under way, %+v", sum.Pending(), found)
	}
}

// TestResendUnderWay: a parked event was sent again, and the service did not work
// that record yet.
func TestResendUnderWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(3)
	p, at := event.ParkInfo{Reason: event.ParkUndecided, Detail: "d", FirstAttempt: noon, Tries: 3}, noon.Add(time.Second)
	w.park(w.send(order{id: "e1"}).record, p)
	w.decideParked("e1", p, at)
	w.commit()
	w.send(order{id: "e1", resend: &event.Resend{ParkedAt: at}})
	w.expect()
	w.commit()
	w.expect(want{verify.MissingOutcome, "e1"})
}

// An event that is under way may have an outcome already, which is checked.
func TestOutcomesOfEventsUnderWayAreChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(3)
	w.commit()
	s := w.send(order{id: "e1"})
	o := outcomeOf(s.event, event.TypeCaptured)
	o.Amount = mustParse(t, "1.00", "MXN")
	w.publish(o)
	w.decideAs(s.event, o)
	w.expect(want{verify.WrongAmount, "e1"})
}

func TestTopicsThatAreOne(t *testing.T) {
	t.Parallel()
	for name, topics := range map[string]verify.Topics{
		"one for both outcomes":    {Input: input, Captured: captured, Rejected: captured, Parked: parked, Ledger: ledgers},
		"outcomes in the input":    {Input: input, Captured: input, Rejected: input, Parked: parked, Ledger: ledgers},
		"all decisions in one":     {Input: input, Captured: captured, Rejected: captured, Parked: captured, Ledger: ledgers},
		"captured in the input":    {Input: input, Captured: input, Rejected: rejected, Parked: parked, Ledger: ledgers},
		"all in one, no ledger":    {Input: input, Captured: input, Rejected: input, Parked: parked},
		"each its own, no ledger":  {Input: input, Captured: captured, Rejected: rejected, Parked: parked},
		"parked beside rejections": {Input: input, Captured: captured, Rejected: rejected, Parked: rejected, Ledger: ledgers},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOf(t, topics)
			w.clean(6)
			p := event.ParkInfo{Reason: event.ParkInvalidEvent, Detail: "d"}
			w.park(w.sendRaw("{}"), p)
			if topics.Ledger != "" {
				w.decideParked(recordID(), p, noon)
			}
			w.send(order{id: "e1"})
			w.commit()
			_, sum := w.expect(want{verify.MissingOutcome, "e1"})
			if sum.Events() != 8 {
				t.Errorf("%d events", sum.Events())
			}
		})
	}
}

func TestRange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(3)
	for i := range 4 {
		w.send(order{id: fmt.Sprintf("e%d", i), at: noon.Add(time.Duration(i) * time.Hour)})
	}
	shared := func(id string, at time.Time) {
		s := w.send(order{id: id, at: at})
		o := outcomeOf(s.event, event.TypeCaptured)
		o.PaymentID = "one"
		w.publish(o)
		w.decideAs(s.event, o)
	}
	shared("s1", noon.Add(9*time.Hour))
	shared("s2", noon.Add(10*time.Hour))
	w.commit()
	w.conf.Since, w.conf.Until = noon.Add(time.Hour), noon.Add(3*time.Hour)
	_, sum := w.expect(want{verify.MissingOutcome, "e1"}, want{verify.MissingOutcome, "e2"})
	if sum.Events() != 2 {
		t.Errorf("%d events", sum.Events())
	}
	w.conf.Since, w.conf.Until = noon.Add(10*time.Hour), time.Time{}
	w.expect(want{verify.SharedPayment, "s2"})
	// An outcome without an event is one, whatever the range.
	other := *w.send(order{id: "e9", at: noon.Add(-time.Hour)}).event
	other.ID = "nobody"
	w.publish(outcomeOf(&other, event.TypeCaptured))
	w.commit()
	w.expect(want{verify.OutcomeWithoutEvent, "nobody"}, want{verify.SharedPayment, "s2"})
}
