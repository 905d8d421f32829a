//go:build synctests

package replay

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/rules"
)

// countsOf returns a row in short: records/sent/events and the money.
func countsOf(r Row) string {
	return strings.TrimSpace(fmt.Sprintf("%d/%d/%d %s", r.Records, r.Sent, r.Events, r.MoneyText()))
}

// keys returns the keys of records, those of each partition in their order.
func keys(of map[int32][]*kgo.Record) string {
	var all []string
	for p := range int32(10) {
		for _, r := range of[p] {
			all = append(all, fmt.Sprintf("%d:%s", p, r.Key))
		}
	}
	return strings.Join(all, " ")
}

// asWritten compares what was sent with what it was sent from: all but the
// offset is the same.
func asWritten(t *testing.T, sent, from *kgo.Record) {
	t.Helper()
	if !bytes.Equal(sent.Key, from.Key) || !bytes.Equal(sent.Value, from.Value) ||
		!sent.Timestamp.Equal(from.Timestamp.Truncate(time.Millisecond)) ||
		sent.Partition != from.Partition || (sent.Key == nil) != (from.Key == nil) || (sent.Value == nil) != (from.Value == nil) {
		t.Errorf("%d@%d was sent as %s %s at %s in %d", from.Partition, from.Offset, sent.Key, sent.Value, sent.Timestamp, sent.Partition)
	}
	if diff := cmp.Diff(from.Headers, sent.Headers); diff != "" {
		t.Errorf("%d@%d: other headers (-want +got):\n%s", from.Partition, from.Offset, diff)
	}
}

// TestEachChoice sends what is chosen and nothing else, as it was, in the order
// in which it lay.
func TestEachChoice(t *testing.T) {
	begin := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // of a bubble
	minute := func(n int) time.Time { return begin.Add(time.Duration(n) * time.Minute) }
	for name, test := range map[string]struct {
		selection Selection
		want      string
	}{
		"everything":           {Selection{All: true}, "0:a 0:d 0:e 1:b 1:f 1:g 2:c"},
		"since":                {Selection{Since: minute(4)}, "0:d 0:e 1:f 1:g"},
		"until":                {Selection{Until: minute(4)}, "0:a 1:b 2:c"},
		"between":              {Selection{Since: minute(2), Until: minute(5)}, "0:d 1:b 1:g 2:c"},
		"a partition":          {Selection{Partitions: []int32{1}}, "1:b 1:f 1:g"},
		"two partitions":       {Selection{Partitions: []int32{2, 0}}, "0:a 0:d 0:e 2:c"},
		"offsets":              {Selection{Partitions: []int32{0}, From: new(int64(1)), To: new(int64(2))}, "0:d"},
		"offsets to the end":   {Selection{Partitions: []int32{0}, From: new(int64(1))}, "0:d 0:e"},
		"offsets, and a time":  {Selection{Partitions: []int32{0}, To: new(int64(2)), Since: minute(2)}, "0:d"},
		"an order":             {Selection{Orders: []string{"order-b", "order-e"}}, "0:e 1:b"},
		"an event":             {Selection{Events: []string{"f"}}, "1:f"},
		"an order at a time":   {Selection{Orders: []string{"order-b", "order-e"}, Since: minute(3)}, "0:e"},
		"an event and its own": {Selection{Orders: []string{"order-b"}, Events: []string{"f"}}, ""},
		"what is not there":    {Selection{Events: []string{"x"}}, ""},
		"later than all":       {Selection{Since: minute(60)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				t := w.t
				time.Sleep(time.Hour)
				var rs []*kgo.Record
				for _, r := range []struct {
					id        string
					partition int32
					minute    int
				}{{"a", 0, 1}, {"b", 1, 2}, {"c", 2, 3}, {"d", 0, 4}, {"e", 0, 5}, {"f", 1, 6}, {"g", 1, 4}} {
					rs = append(rs, at(r.partition, minute(r.minute), order{id: r.id, time: minute(r.minute).Format(time.RFC3339)}))
				}
				// Keys are of any kind.
				rs[1].Headers = append(rs[1].Headers, kgo.RecordHeader{Key: "h"}, kgo.RecordHeader{Key: "h", Value: []byte{}})
				w.produce(rs...)
				before := w.all(input)
				plan, result := w.replay(w.config(test.selection))
				sent := w.sent(before)
				if got := keys(sent); got != test.want {
					t.Errorf("sent %q, want %q", got, test.want)
				}
				n := int64(len(strings.Fields(test.want)))
				if plan.Send != n || result.Sent != n {
					t.Errorf("planned %d, sent %d; want %d", plan.Send, result.Sent, n)
				}
				if name == "since" && plan.Scanned != n {
					t.Errorf("%d were read for that", plan.Scanned)
				}
				for p, rs := range sent {
					for _, r := range rs {
						i := slices.IndexFunc(before[p], func(b *kgo.Record) bool { return bytes.Equal(b.Key, r.Key) })
						asWritten(t, r, before[p][i])
					}
				}
			})
		})
	}
}

// TestOnlyOursIsSent: of a topic that others use too, and that has records which
// are no events.
func TestOnlyOursIsSent(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		ours := fresh(0, "ours")
		noKey := fresh(2, "no-key")
		noKey.Key = nil
		w.produce(
			ours, noKey, &kgo.Record{
				Topic: input, Partition: 1,
				Value: []byte(`{"specversion":"1.0","id":"s","source":"/orders","type":"order.shipped"}`),
			},
			at(0, time.Now(), order{id: "theirs", account: "other"}), at(1, time.Now(), order{id: "named", account: "main"}),
			&kgo.Record{Topic: input, Partition: 1, Key: []byte("t")}, &kgo.Record{
				Topic: input, Partition: 2,
				Value: []byte("garbage " + payerToken),
			},
		)
		before := w.all(input)
		plan, _ := w.replay(w.config(Selection{All: true}))
		w.rows(plan, map[Class]string{
			First: "3/3/3 MXN 30.00", OtherType: "1/0/1", OtherAccount: "1/0/1", Tombstone: "1/0/1", ParkInvalid: "1/0/1",
		})
		sent := w.sent(before)
		if got := keys(sent); got != "0:ours 1:named 2:" {
			t.Errorf("sent %q", got)
		}
		asWritten(t, sent[2][0], before[2][0])
		// With an order named, what has none is not chosen.
		plan = w.plan(w.config(Selection{Events: []string{"ours"}}))
		w.rows(plan, map[Class]string{First: "2/2/1 MXN 10.00"})
	})
}

// TestPlanCountsByWhatWouldBe: records, events and money by class; a copy counts
// no money, and of two contents of one id the second is in conflict.
func TestPlanCountsByWhatWouldBe(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		own := time.Now().UTC().Format(time.RFC3339)
		long := time.Now().UTC().Add(-30 * 24 * time.Hour).Format(time.RFC3339)
		orders := []order{
			{id: "captured", amount: "700.50"},
			{id: "captured", amount: "700.50"},
			{id: "rejected", amount: "1.00"},
			{id: "parked", amount: "2.00"},
			{id: "first", amount: "3.25", time: own},
			{id: "first", amount: "3.25", time: own},
			{id: "first", amount: "4.00", time: own},
			{id: "first2", amount: "0.75", time: own},
			{id: "reals", currency: "BRL", amount: "5.00", time: own},
			{id: "old", amount: "6.00", time: long},
			{id: "open", amount: "7.00"},
			{id: "hours", amount: "8.00"},
			{id: "days", amount: "9.00"},
			{id: "captured", amount: "700.51"},
			{id: "first", amount: "4.00", time: own},
		}
		for i, o := range orders {
			w.produce(at(int32(i)%partitions, time.Now().Add(time.Duration(i)*time.Millisecond), o))
		}
		time.Sleep(time.Second)
		w.book.decide(decoded(t, orders[0]), event.TypeCaptured, time.Now().Add(-time.Hour))
		w.book.decide(decoded(t, orders[2]), event.TypeRejected, time.Now().Add(-time.Hour))
		w.book.park("parked", decoded(t, orders[3]).Fingerprint(), event.ParkUndecided, time.Now().Add(-time.Hour), time.Time{})
		for id, ago := range map[string]time.Duration{"open": time.Minute, "hours": 2 * time.Hour, "days": 48 * time.Hour} {
			w.book.known[id] = event.History{Attempt: &event.Attempt{First: time.Now().Add(-ago)}}
		}
		plan := w.plan(w.config(Selection{All: true}))
		w.rows(plan, map[Class]string{
			AnsweredCaptured: "2/2/1 MXN 700.50", AnsweredRejected: "1/1/1 MXN 1.00", StaysParked: "1/1/1 MXN 2.00",
			First: "3/3/2 MXN 4.00", ParkWrongCurrency: "1/1/1 BRL 5.00", ParkTooOld: "1/1/1 MXN 6.00",
			Again: "1/1/1 MXN 7.00", LookUpFirst: "1/1/1 MXN 8.00", LookUpThenPark: "1/1/1 MXN 9.00",
			ParkConflicting: "3/3/2 MXN 704.51",
		})
		if charges := plan.Charges(); countsOf(charges) != "5/5/4 MXN 19.00" {
			t.Errorf("charges %s", countsOf(charges))
		}
		if plan.Scanned != 15 || plan.Send != 15 {
			t.Errorf("scanned %d, send %d", plan.Scanned, plan.Send)
		}
		if got := keys(w.sent(nil)); len(strings.Fields(got)) != 15 {
			t.Errorf("a plan sent: %s", got)
		}
		if err := plan.JSON(io.Discard); err != nil {
			t.Error(err)
		}
	})
}

// TestPlanOfCorrectedEvents: of the contents of one event id those that are parked
// without a call do not bind it. What is called for does.
func TestPlanOfCorrectedEvents(t *testing.T) {
	inWorld(t, func(w *world) {
		own := time.Now().UTC().Format(time.RFC3339)
		long := time.Now().UTC().Add(-30 * 24 * time.Hour).Format(time.RFC3339)
		orders := []order{
			{id: "time", amount: "1.00", time: long},
			{id: "time", amount: "1.00", time: own},
			{id: "amount", amount: "2.00", time: long},
			{id: "amount", amount: "2.50", time: own},
			{id: "amount", amount: "2.75", time: own}, // of another order than what was called for
			{id: "amount", amount: "2.00", time: long},
			{id: "known", amount: "4.00", time: long},
			{id: "known", amount: "4.50", time: own},
			{id: "known", amount: "4.75", time: own},
			{id: "done", amount: "8.00", time: long},
			{id: "done", amount: "8.50", time: own},
		}
		for i, o := range orders {
			w.produce(at(0, time.Now().Add(time.Duration(i)*time.Millisecond), o))
		}
		time.Sleep(time.Second)
		known, done := decoded(w.t, orders[6]), decoded(w.t, orders[9])
		w.book.known["known"] = event.History{Decision: &event.Decision{
			At: time.Now(), Attempt: event.AttemptOf(known), Content: known.Content(),
			Result: event.Result{ParkInfo: &event.ParkInfo{Reason: event.ParkTooOld}},
		}}
		w.book.decide(decoded(w.t, orders[10]), event.TypeCaptured, time.Now())
		w.book.known["done"].Decision.Superseded = []event.Fingerprint{done.Content()}
		w.rows(w.plan(w.config(Selection{All: true})), map[Class]string{
			ParkTooOld: "3/3/2 MXN 3.00", First: "3/3/3 MXN 8.00", ParkConflicting: "2/2/2 MXN 7.50", StaysParked: "1/1/1 MXN 4.00",
			Corrected: "1/1/1 MXN 8.00", AnsweredCaptured: "1/1/1 MXN 8.50",
		})
		if got := keys(w.sent(nil)); len(strings.Fields(got)) != len(orders) {
			w.t.Errorf("a plan sent: %s", got)
		}
	})
}

// TestOncePerReference: another event of the reference that was captured, or
// comes before it, keeps an event from being charged.
func TestOncePerReference(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		own := time.Now().UTC().Format(time.RFC3339)
		orders := []order{
			{id: "a1", order: "a", time: own},
			{id: "a2", order: "a", time: own},
			{id: "b1", order: "b", time: own},
			{id: "b2", order: "b", time: own},
			{id: "b1", order: "b", time: own},
			{id: "c1", order: "c", time: own},
			{id: "c2", order: "c", time: own},
		}
		for i, o := range orders {
			w.produce(at(int32(i)%partitions, time.Now().Add(time.Duration(i)*time.Millisecond), o))
		}
		time.Sleep(time.Second)
		w.book.decide(decoded(t, orders[0]), event.TypeCaptured, time.Now())
		w.book.known["c1"] = event.History{Attempt: &event.Attempt{First: time.Now()}}
		w.book.known["c2"] = event.History{Attempt: &event.Attempt{First: time.Now()}}
		c := w.config(Selection{All: true})
		w.rows(w.plan(c), map[Class]string{AnsweredCaptured: "1/1/1 MXN 10.00", First: "4/4/3 MXN 30.00", Again: "2/2/2 MXN 20.00"})
		c.Rules.Guard = rules.GuardReference
		w.rows(w.plan(c), map[Class]string{
			AnsweredCaptured: "1/1/1 MXN 10.00", First: "2/2/1 MXN 10.00", Again: "1/1/1 MXN 10.00",
			ParkReference: "2/2/2 MXN 20.00", LookUpThenPark: "1/1/1 MXN 10.00",
		})
		c.Rules.Guard, c.Rules.DuplicateWindow = rules.GuardPayment, time.Hour
		w.rows(w.plan(c), map[Class]string{
			AnsweredCaptured: "1/1/1 MXN 10.00", First: "2/2/1 MXN 10.00", Again: "1/1/1 MXN 10.00",
			ParkDuplicate: "2/2/2 MXN 20.00", LookUpThenPark: "1/1/1 MXN 10.00",
		})
	})
}
