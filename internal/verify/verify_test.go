package verify_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/ledger/entry"
	"payment-capture/internal/rules"
	"payment-capture/internal/verify"
)

func TestCleanTopicsAreProven(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clean(9)
	w.commit()
	_, sum := w.expect()
	if sum.Differences() != 0 || sum.Warnings() != 0 || sum.Events() != 9 || sum.Pending() != 0 || len(sum.Notes()) != 0 {
		t.Errorf("%d differences, %d warnings, %d events, %d under way, notes %q",
			sum.Differences(), sum.Warnings(), sum.Events(), sum.Pending(), sum.Notes())
	}
}

func TestNothingAtAllIsProven(t *testing.T) {
	t.Parallel()
	_, sum := newWorld(t).expect()
	if sum.Events() != 0 || len(sum.Notes()) != 0 {
		t.Errorf("%d events, notes %q", sum.Events(), sum.Notes())
	}
}

// fault is something planted beside clean events, and what must be found.
type fault struct {
	plant func(*world)
	want  []want
	// in is what the detail of each finding must say.
	in []string
}

// testFaults runs each fault in a world of its own, with all records processed.
func testFaults(t *testing.T, faults map[string]fault) {
	t.Helper()
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.clean(3)
			f.plant(w)
			w.commit()
			found, _ := w.expect(f.want...)
			if len(f.in) != len(f.want) || slices.Contains(f.in, "") {
				t.Fatalf("the test states %d details for %d findings: %q", len(f.in), len(f.want), f.in)
			}
			for i, in := range f.in[:min(len(f.in), len(found))] {
				if !strings.Contains(found[i].Detail, in) {
					t.Errorf("the detail of %s is %q, which does not say %q", found[i].Kind, found[i].Detail, in)
				}
			}
			for _, f := range found {
				if strings.Contains(string(mustJSON(t, f)), "planted") {
					t.Errorf("it shows the payer token: %+v", f)
				}
			}
		})
	}
}

func TestFaultsOfOutcomes(t *testing.T) {
	t.Parallel()
	outcome := func(change func(*world, *event.Outcome)) func(*world) {
		return func(w *world) {
			s := w.send(order{id: "e1"})
			o := outcomeOf(s.event, event.TypeCaptured)
			w.decideAs(s.event, o)
			published := *o
			change(w, &published)
			w.publish(&published)
		}
	}
	testFaults(t, map[string]fault{
		"missing": {
			func(w *world) { w.send(order{id: "e1"}) },
			[]want{{verify.MissingOutcome, "e1"}},
			[]string{"neither captured, rejected nor parked"},
		},
		"doubled": {func(w *world) {
			w.publish(w.process(w.send(order{id: "e1"}), event.TypeCaptured))
		}, []want{{verify.DoubledOutcome, "e1"}}, []string{"2 outcomes"}},
		"doubled, and a copy of the record in its partition": {func(w *world) {
			s := w.send(order{id: "e1"})
			w.send(order{id: "e1"})
			w.publish(w.process(s, event.TypeCaptured))
		}, []want{{verify.DoubledOutcome, "e1"}}, []string{"2 outcomes"}},
		"doubled, and a copy of the record in another partition": {func(w *world) {
			s := w.send(order{id: "e1"})
			w.send(order{id: "e1", partition: 1})
			w.publish(w.process(s, event.TypeCaptured))
		}, []want{{verify.DoubledOutcome, "e1"}}, []string{"2 outcomes"}},
		"doubled rejection": {func(w *world) {
			w.publish(w.process(w.send(order{id: "e1"}), event.TypeRejected))
		}, []want{{verify.DoubledOutcome, "e1"}}, []string{"2 outcomes"}},
		"wrong amount": {
			outcome(func(w *world, o *event.Outcome) { o.Amount = mustParse(w.t, "700.51", "MXN") }),
			[]want{{verify.WrongAmount, "e1"}, {verify.LedgerDiffers, "e1"}},
			[]string{"its amount is 700.51, the event's is 700.50", "the outcome is not what the ledger has"},
		},
		"wrong currency": {
			outcome(func(w *world, o *event.Outcome) { o.Amount = mustParse(w.t, "700.50", "BRL") }),
			[]want{{verify.WrongCurrency, "e1"}, {verify.LedgerDiffers, "e1"}},
			[]string{"its currency is BRL, the event's is MXN", "the outcome is not what the ledger has"},
		},
		"wrong order": {
			outcome(func(_ *world, o *event.Outcome) { o.OrderID, o.Subject = "another", "another" }),
			[]want{{verify.WrongOrder, "e1"}, {verify.LedgerDiffers, "e1"}},
			[]string{"order-e1", "the outcome is not what the ledger has"},
		},
		"wrong reference": {
			outcome(func(_ *world, o *event.Outcome) { o.ExternalReference = "another" }),
			[]want{{verify.WrongReference, "e1"}, {verify.LedgerDiffers, "e1"}},
			[]string{"order-e1", "the outcome is not what the ledger has"},
		},
		"paid too much": {
			outcome(func(_ *world, o *event.Outcome) {
				o.Transactions = append(o.Transactions, event.Transaction{Status: "approved", Amount: "0.01"})
			}),
			[]want{{verify.WrongAmount, "e1"}, {verify.LedgerDiffers, "e1"}},
			[]string{"sum up to more", "the outcome is not what the ledger has"},
		},
		"without an event": {
			func(w *world) {
				s := w.send(order{id: "e1"})
				w.process(s, event.TypeCaptured)
				other := *s.event
				other.ID = "e2"
				w.publish(outcomeOf(&other, event.TypeCaptured))
			},
			[]want{{verify.SharedReference, "e1"}, {verify.OutcomeWithoutEvent, "e2"}},
			[]string{"e1, e2", "there is an outcome, and no record of the event"},
		},
		"wrong id": {func(w *world) {
			s := w.send(order{id: "e1"})
			o := outcomeOf(s.event, event.TypeCaptured)
			w.decideAs(s.event, o)
			w.publish(o, func(r *kgo.Record) {
				right := event.OutcomeID("e1", event.TypeCaptured).String()
				r.Value = []byte(strings.Replace(string(r.Value), right, event.OutcomeID("e2", event.TypeCaptured).String(), 1))
			})
		}, []want{{verify.WrongID, "e1"}}, []string{"its id does not follow from the event"}},
		"wrong topic": {func(w *world) {
			s := w.send(order{id: "e1"})
			o := outcomeOf(s.event, event.TypeCaptured)
			w.decideAs(s.event, o)
			w.publish(o, func(r *kgo.Record) { r.Topic = rejected })
		}, []want{{verify.WrongTopic, "e1"}}, []string{"topic of the other outcome"}},
		"captured and rejected": {func(w *world) {
			s := w.send(order{id: "e1"})
			w.process(s, event.TypeCaptured)
			w.publish(outcomeOf(s.event, event.TypeRejected))
		}, []want{{verify.ContradictoryOutcome, "e1"}}, []string{"captured and rejected"}},
		"invalid": {func(w *world) {
			w.process(w.send(order{id: "e1"}), event.TypeCaptured)
			w.produce(&kgo.Record{Topic: captured, Value: []byte(`{"type":"payment.captured","source":"/payment-capture","specversion":"1.0"}`)})
		}, []want{{verify.InvalidOutcome, ""}}, []string{"id is missing"}},
		"a repetition that says something else": {
			outcome(func(w *world, o *event.Outcome) {
				again := *o
				again.Replayed, again.PaymentID = true, "another"
				w.publish(&again)
			}),
			[]want{{verify.ContentsDiffer, "e1"}, {verify.LedgerDiffers, "e1"}},
			[]string{"its outcomes differ", "the outcome is not what the ledger has"},
		},
		"a repetition of another time": {
			outcome(func(w *world, o *event.Outcome) {
				again := *o
				again.Replayed, again.Time = true, again.Time.Add(time.Second)
				w.publish(&again)
			}),
			[]want{{verify.ContentsDiffer, "e1"}, {verify.LedgerDiffers, "e1"}},
			[]string{"differ in time", "the outcome is not what the ledger has"},
		},
		"the first one is gone": {func(w *world) {
			s := w.send(order{id: "e1"})
			o := outcomeOf(s.event, event.TypeCaptured)
			w.decideAs(s.event, o)
			o.Replayed = true
			w.publish(o)
		}, []want{{verify.OnlyReplayed, "e1"}}, []string{"marked as replayed, and not the first one"}},
	})
}

func TestFaultsOfParkedRecords(t *testing.T) {
	t.Parallel()
	undecided := event.ParkInfo{Reason: event.ParkUndecided, Detail: "d", FirstAttempt: noon, Tries: 3}
	at := noon.Add(time.Second)
	testFaults(t, map[string]fault{
		"beside an outcome": {func(w *world) {
			s := w.send(order{id: "e1"})
			w.process(s, event.TypeCaptured)
			w.park(s.record, undecided)
		}, []want{{verify.ParkedBesideOutcome, "e1"}}, []string{"undecided"}},
		"twice": {func(w *world) {
			s := w.send(order{id: "e1"})
			w.decideParked("e1", undecided, at)
			w.park(s.record, undecided)
			w.park(s.record, undecided)
		}, []want{{verify.ParkedTwice, "e1"}}, []string{"2 times"}},
		"an invalid event that is not": {
			func(w *world) { w.sendRaw("{}") },
			[]want{{verify.MissingOutcome, recordID()}},
			[]string{"type is missing"},
		},
		"for nothing": {func(w *world) {
			r := *w.sendRaw("{}")
			w.park(&r, event.ParkInfo{Reason: event.ParkInvalidEvent})
			w.decideParked(recordID(), event.ParkInfo{Reason: event.ParkInvalidEvent}, at)
			r.Offset += 40
			w.park(&r, event.ParkInfo{Reason: event.ParkInvalidEvent})
		}, []want{{verify.OutcomeWithoutEvent, ""}}, []string{"orders/0@"}},
		"for a record of another partition at its offset": {func(w *world) {
			w.send(order{id: "e1", partition: 1})
			w.process(w.send(order{id: "e1", partition: 1}), event.TypeCaptured)
			r := *w.sendRaw("{}")
			w.parkAndDecide(&r, event.ParkInvalidEvent)
			r.Partition = 1
			w.park(&r, event.ParkInfo{Reason: event.ParkInvalidEvent})
		}, []want{{verify.OutcomeWithoutEvent, ""}}, []string{"orders/1@1"}},
		"for another record at its place": {func(w *world) {
			at := w.sendRaw("[]")
			r := *w.sendRaw("{}")
			r.Offset = at.Offset
			w.park(&r, event.ParkInfo{Reason: event.ParkInvalidEvent})
		}, []want{{verify.OutcomeWithoutEvent, ""}, {
			verify.MissingOutcome,
			event.RecordID(event.Message{Value: []byte("[]"), Timestamp: noon}),
		}}, []string{
			"where there is no such record", "completed, and not parked",
		}},
		"a conflicting event that is not": {func(w *world) {
			w.process(w.send(order{id: "e1"}), event.TypeCaptured)
			w.send(order{id: "e1", amount: "1.00"})
		}, []want{{verify.MissingOutcome, "e1"}}, []string{"1.00 MXN"}},
		"sent again, and nothing came": {func(w *world) {
			s := w.send(order{id: "e1"})
			w.park(s.record, undecided)
			w.decideParked("e1", undecided, at)
			w.send(order{id: "e1", resend: &event.Resend{ParkedAt: at}})
		}, []want{{verify.MissingOutcome, "e1"}}, []string{"sent again"}},
	})
}

// recordID is that of the record {}.
func recordID() string {
	return event.RecordID(event.Message{Value: []byte("{}"), Timestamp: noon})
}

func TestFaultsOfTheLedger(t *testing.T) {
	t.Parallel()
	testFaults(t, map[string]fault{
		"another amount": {func(w *world) {
			s := w.send(order{id: "e1"})
			o := outcomeOf(s.event, event.TypeCaptured)
			w.publish(o)
			o.Amount = mustParse(w.t, "1.00", "MXN")
			w.decideAs(s.event, o)
		}, []want{{verify.LedgerDiffers, "e1"}}, []string{"not what the ledger has"}},
		"another outcome": {func(w *world) {
			s := w.send(order{id: "e1"})
			w.publish(outcomeOf(s.event, event.TypeCaptured))
			w.decideAs(s.event, outcomeOf(s.event, event.TypeRejected))
		}, []want{{verify.LedgerDiffers, "e1"}}, []string{"has it as rejected"}},
		"parked, and there is an outcome": {func(w *world) {
			s := w.send(order{id: "e1"})
			w.publish(outcomeOf(s.event, event.TypeCaptured))
			w.decideParked("e1", event.ParkInfo{Reason: event.ParkUndecided}, noon)
		}, []want{{verify.LedgerDiffers, "e1"}}, []string{"has it as parked (undecided)"}},
		"on another event": {func(w *world) {
			s := w.send(order{id: "e1"})
			o := outcomeOf(s.event, event.TypeCaptured)
			w.publish(o)
			w.decide("e1", event.Decision{Result: event.Result{Outcome: o}, Attempt: event.Attempt{Payer: event.FingerprintOf([]byte("x"))}})
		}, []want{{verify.LedgerDiffers, "e1"}}, []string{"than any record"}},
		"two decisions": {func(w *world) {
			s := w.send(order{id: "e1"})
			o := w.process(s, event.TypeCaptured)
			o.PaymentID = "another"
			w.decide("e1", event.Decision{Result: event.Result{Outcome: o}}, func(r *kgo.Record) { r.Partition = 2 })
		}, []want{{verify.LedgerDiffers, "e1"}}, []string{"two partitions"}},
		"a decision without an outcome": {func(w *world) {
			s := w.send(order{id: "e1"})
			w.decideAs(s.event, outcomeOf(s.event, event.TypeCaptured))
		}, []want{{verify.LedgerWithoutOutcome, "e1"}}, []string{"an outcome that is not in the topics"}},
		"a parking without a record": {func(w *world) {
			w.send(order{id: "e1"})
			w.decideParked("e1", event.ParkInfo{Reason: event.ParkTooOld}, noon)
		}, []want{{verify.LedgerWithoutOutcome, "e1"}}, []string{"too_old"}},
		"an outcome, and only a parking": {func(w *world) {
			s := w.send(order{id: "e1"})
			w.park(s.record, event.ParkInfo{Reason: event.ParkUndecided})
			w.decideAs(s.event, outcomeOf(s.event, event.TypeCaptured))
		}, []want{{verify.LedgerWithoutOutcome, "e1"}}, []string{"only a parked record"}},
		"an outcome that it does not know": {func(w *world) {
			w.publish(outcomeOf(w.send(order{id: "e1"}).event, event.TypeCaptured))
		}, []want{{verify.OutcomeNotInLedger, "e1"}}, []string{"captured again"}},
		"a parking that it does not know": {func(w *world) {
			w.park(w.send(order{id: "e1"}).record, event.ParkInfo{Reason: event.ParkUndecided})
		}, []want{{verify.OutcomeNotInLedger, "e1"}}, []string{"undecided"}},
		"an attempt and no more": {func(w *world) {
			w.send(order{id: "e1"})
			w.attempt("e1")
		}, []want{{verify.UndecidedAttempt, "e1"}}, []string{"2026-11-23T12:00:00Z"}},
		"an attempt, and one in another partition that was withdrawn": {func(w *world) {
			w.send(order{id: "e1"})
			w.attempt("e1")
			w.produce(&kgo.Record{Topic: ledgers, Partition: 1, Key: entry.AttemptKey("e1", "other")})
		}, []want{{verify.UndecidedAttempt, "e1"}}, []string{"2026-11-23T12:00:00Z"}},
		"two attempts": {func(w *world) {
			w.send(order{id: "e1"})
			w.attempt("e1")
			earlier := entry.EncodeAttempt(event.Attempt{First: noon.Add(-time.Hour), Encoding: 1})
			w.produce(&kgo.Record{Topic: ledgers, Partition: 1, Key: entry.AttemptKey("e1", "owner"), Value: earlier})
		}, []want{{verify.UndecidedAttempt, "e1"}}, []string{"attempted at 2026-11-23T11:00:00Z"}},
		"a decision without an event": {func(w *world) {
			other := *w.send(order{id: "e1"}).event
			w.process(sent{event: &other}, event.TypeCaptured)
			other.ID = "e2"
			w.decideAs(&other, outcomeOf(&other, event.TypeCaptured))
		}, []want{{verify.LedgerWithoutEvent, "e2"}}, []string{"has it as captured"}},
		"an attempt without an event": {
			func(w *world) { w.attempt("e2") },
			[]want{{verify.LedgerWithoutEvent, "e2"}},
			[]string{"money may have moved"},
		},
		"what cannot be read": {
			func(w *world) {
				w.produce(&kgo.Record{Topic: ledgers, Key: []byte("x/e1"), Value: []byte("?")})
				w.produce(&kgo.Record{Topic: ledgers, Key: []byte("d/e2"), Value: []byte("?")})
				w.produce(&kgo.Record{Topic: ledgers, Key: []byte("d/e3")})
			},
			[]want{{verify.InvalidLedgerRecord, ""}, {verify.InvalidLedgerRecord, "e2"}, {verify.InvalidLedgerRecord, "e3"}},
			[]string{"key", "ledger", "a decision is deleted from the ledger"},
		},
	})
}

func TestFaultsOfSeveralEvents(t *testing.T) {
	t.Parallel()
	same := func(w *world, change func(*event.Outcome), orders ...order) {
		for _, o := range orders {
			s := w.send(o)
			out := outcomeOf(s.event, event.TypeCaptured)
			change(out)
			w.publish(out)
			w.decideAs(s.event, out)
		}
	}
	payment := func(o *event.Outcome) { o.PaymentID = "one" }
	nothing := func(*event.Outcome) {}
	testFaults(t, map[string]fault{
		"one payment": {
			func(w *world) { same(w, payment, order{id: "e1"}, order{id: "e2"}, order{id: "e3"}) },
			[]want{{verify.SharedPayment, "e1"}},
			[]string{"payment one is the payment of 3 events: e1, e2, e3"},
		},
		"one reference": {func(w *world) {
			w.conf.Guard = rules.GuardReference // a difference then
			same(w, nothing, order{id: "e1", reference: "r"}, order{id: "e2", reference: "r"})
		}, []want{{verify.SharedReference, "e1"}}, []string{"external_reference r is captured for 2 events: e1, e2"}},
		"one reference, of one order twice": {
			func(w *world) { same(w, nothing, order{id: "e1", reference: "r"}, order{id: "e2", reference: "r"}) },
			[]want{{verify.SharedReference, "e1"}},
			[]string{"events: e1, e2; the amount is the same (700.50 MXN), and the payer is the same"},
		},
		"one reference, other amounts": {func(w *world) {
			same(w, nothing, order{id: "e1", reference: "r"}, order{id: "e2", reference: "r", amount: "1.00"}, order{id: "e3", reference: "r"})
		}, []want{{verify.SharedReference, "e1"}}, []string{"events: e1, e2, e3; the amounts differ (1.00 MXN, 700.50 MXN), and the payer is " +
			"the same"}},
		"one reference, other payers": {func(w *world) {
			same(w, nothing, order{id: "e1", reference: "r"}, order{id: "e2", reference: "r", payer: "planted-other-token"})
		}, []want{{verify.SharedReference, "e1"}}, []string{"the amount is the same (700.50 MXN), and the payers differ"}},
		"one reference of many events, and the last one differs": {
			func(w *world) {
				var orders []order
				for i := range 12 {
					orders = append(orders, order{id: fmt.Sprintf("e%02d", i), reference: "r"})
				}
				orders[11].amount, orders[11].payer = "1.00", "planted-other-token"
				same(w, nothing, orders...)
			},
			[]want{{verify.SharedReference, "e00"}},
			[]string{"for 12 events: e00, e01, e02, e03, e04, e05, e06, e07, e08, e09, ...; the amounts differ (1.00 MXN, 700.50 MXN), " +
				"and the payers differ"},
		},
		"one reference, and a conflicting event of the first": {
			func(w *world) {
				same(w, nothing, order{id: "e1", reference: "r"}, order{id: "e2", reference: "r"})
				w.parkAndDecide(w.send(order{id: "e1", reference: "r", amount: "2.00", payer: "planted-other-token"}).record, event.ParkConflicting)
			},
			[]want{{verify.SharedReference, "e1"}, {verify.ConflictingEvent, "e1"}},
			[]string{"the amount is the same (700.50 MXN), and the payer is the same", "2.00 MXN"},
		},
		"one reference, of an event that is not there": {func(w *world) {
			same(w, nothing, order{id: "e1", reference: "r"})
			other := *w.send(order{id: "e1", reference: "r"}).event
			other.ID, other.OrderID, other.Amount = "e2", "order-e2", mustParse(w.t, "1.00", "MXN")
			w.publish(outcomeOf(&other, event.TypeCaptured))
		}, []want{{verify.SharedReference, "e1"}, {verify.OutcomeWithoutEvent, "e2"}}, []string{
			"the amounts differ (1.00 MXN, 700.50 MXN), and whether the payer is the same is not known: the input does not have e2",
			"no record of the event",
		}},
		"one reference, and events whose ids begin the same": {func(w *world) {
			same(w, nothing, order{id: "e1", reference: "r"}, order{id: "e10", amount: "1.00", payer: "planted-other-token"})
			same(w, nothing, order{id: "e2", reference: "r"}, order{id: "e20", amount: "2.00", payer: "planted-other-token"})
		}, []want{{verify.SharedReference, "e1"}}, []string{"events: e1, e2; the amount is the same (700.50 MXN), and the payer is the same"}},
		"one reference, rejected first": {func(w *world) {
			w.process(w.send(order{id: "e1", reference: "r"}), event.TypeRejected)
			w.process(w.send(order{id: "e2", reference: "r"}), event.TypeCaptured)
		}, nil, nil},
	})
}

func TestSharedReferenceIsAWarningOrADifference(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		guard  rules.Guard
		second order
		later  time.Duration
		parked event.ParkReason // before the second was captured
		want   int64            // differences
	}{
		"once per event": {guard: rules.GuardEvent},
		"once per reference": {
			guard: rules.GuardReference, second: order{amount: "1.00"}, later: 1000 * time.Hour, want: 1,
		},
		"once per payment":                            {guard: rules.GuardPayment, later: time.Hour, want: 1},
		"once per payment, after the window":          {guard: rules.GuardPayment, later: time.Hour + time.Second},
		"once per payment, another amount":            {guard: rules.GuardPayment, second: order{amount: "1.00"}},
		"once per payment, another payer":             {guard: rules.GuardPayment, second: order{payer: "planted-other-token"}},
		"once per payment, released by an operator":   {guard: rules.GuardPayment, parked: event.ParkPossibleDuplicate},
		"once per payment, parked for another reason": {guard: rules.GuardPayment, parked: event.ParkTooOld, want: 1},
	} {
		w := newWorld(t)
		w.process(w.send(order{id: "e1", reference: "r"}), event.TypeCaptured)
		test.second.id, test.second.reference = "e2", "r"
		if test.parked != "" {
			p, at := event.ParkInfo{Reason: test.parked, Detail: "d"}, noon.Add(time.Second)
			w.park(w.send(test.second).record, p)
			w.decideParked("e2", p, at)
			test.second.resend = &event.Resend{ParkedAt: at}
		}
		s := w.send(test.second)
		o := outcomeOf(s.event, event.TypeCaptured)
		o.CapturedAt = o.CapturedAt.Add(test.later)
		w.publish(o)
		w.decideAs(s.event, o)
		w.commit()
		w.conf.Guard, w.conf.DuplicateWindow = test.guard, time.Hour
		_, sum := w.run()
		if sum.Differences() != test.want || sum.Warnings() != 1-test.want {
			t.Errorf("%s: %d differences, %d warnings, want %d differences", name, sum.Differences(), sum.Warnings(), test.want)
		}
	}
}
