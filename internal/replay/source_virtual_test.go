//go:build synctests

package replay

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
)

// transaction writes records in a transaction and ends it; without an end it
// stays open.
func (w *world) transaction(id string, end *kgo.TransactionEndTry, rs ...*kgo.Record) {
	w.t.Helper()
	cl := w.newClient(kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionTimeout(10*time.Minute))
	if err := cl.BeginTransaction(); err != nil {
		w.t.Fatal(err)
	}
	if err := cl.ProduceSync(w.t.Context(), rs...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
	if end != nil {
		if err := cl.EndTransaction(w.t.Context(), *end); err != nil {
			w.t.Fatal(err)
		}
	}
}

// TestHolesInTheSource: markers, aborted transactions and what was compacted
// away, at the start, in the middle and at the end, neither stop a run nor are
// sent.
func TestHolesInTheSource(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		commit, abort := kgo.TryCommit, kgo.TryAbort
		w.transaction("a", &abort, fresh(0, "never1"), fresh(0, "never2"), fresh(1, "never3"))
		w.transaction("b", &commit, fresh(0, "a"), fresh(0, "b"))
		w.produce(fresh(0, "c"))
		w.transaction("c", &abort, fresh(0, "never4"))
		w.transaction("d", &commit, fresh(2, "d"))
		w.transaction("e", &abort, fresh(2, "never5"))
		before := w.all(input)
		if got := keys(before); got != "0:a 0:b 0:c 2:d" {
			t.Fatalf("the input has %q", got)
		}
		plan, _ := w.replay(w.config(Selection{All: true}))
		if plan.Scanned != 4 {
			t.Errorf("%d read", plan.Scanned)
		}
		if got := keys(w.sent(before)); got != "0:a 0:b 0:c 2:d" {
			t.Errorf("sent %q", got)
		}
	})
}

// TestOpenTransaction: what is not committed when the run begins is not of the
// run, nor is what lies behind it; it does not wait for it.
func TestOpenTransaction(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.produce(fresh(0, "a"))
		w.transaction("open", nil, fresh(0, "open"))
		w.produce(fresh(0, "behind"), fresh(1, "b"))
		began := time.Now()
		plan := w.plan(w.config(Selection{All: true}))
		if plan.Send != 2 || time.Since(began) > time.Second {
			t.Errorf("%d would be sent, after %s", plan.Send, time.Since(began))
		}
	})
}

func TestCompactedSource(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		config := map[string]*string{
			"cleanup.policy": new("compact"), "segment.bytes": new("1000"), "min.cleanable.dirty.ratio": new("0"),
			"max.compaction.lag.ms": new("1"),
		}
		w.create("compacted", 1, config)
		for i := range 50 {
			r := fresh(0, fmt.Sprintf("e%d", i))
			r.Topic, r.Key = "compacted", fmt.Appendf(nil, "k%d", i%5)
			w.produce(r)
			time.Sleep(time.Second)
		}
		w.broker.Fake.Compact()
		c := w.config(Selection{All: true})
		c.Input = "compacted"
		left := len(w.all("compacted")[0])
		if left >= 50 || left == 0 {
			t.Fatalf("%d records are left: nothing was compacted", left)
		}
		if _, result := w.replay(c); result.Sent != int64(left) {
			t.Errorf("sent %d of %d", result.Sent, left)
		}
	})
}

// TestDeletedWhileItRuns: records that retention deletes meanwhile are counted, and the rest
// goes on.
func TestDeletedWhileItRuns(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.many(30)
		before := w.all(input)
		c := w.config(Selection{Partitions: []int32{0}})
		r := w.open(c)
		plan, err := r.Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.admin.DeleteRecords(t.Context(), offsetsOf(0, 4)); err != nil {
			t.Fatal(err)
		}
		result, err := r.Send(t.Context(), plan)
		if err != nil || result.Deleted != 4 || result.Sent != 6 {
			t.Errorf("%+v, %v", result, err)
		}
		w.close(r)
		if !strings.Contains(w.log.String(), "deleted before they were read") {
			t.Errorf("the log says\n%s", w.log)
		}
		// All that was there before is left out of what is there now.
		if after := w.all(input)[0]; string(after[len(after)-1].Key) != string(before[0][9].Key) {
			t.Errorf("the last one sent is %s", after[len(after)-1].Key)
		}
	})
}

// TestOtherPartitions: into the partition of the key where one asks for it, or
// the record's own is not there.
func TestOtherPartitions(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		hashed := w.newClient() // Kafka's choice
		want := make(map[string]int32)
		var rs []*kgo.Record
		w.create("probe", partitions, nil)
		for i := range 20 {
			r := fresh(int32(i)%partitions, fmt.Sprintf("e%d", i))
			rs = append(rs, r)
			probe := &kgo.Record{Topic: "probe", Key: r.Key}
			if err := hashed.ProduceSync(t.Context(), probe).FirstErr(); err != nil {
				t.Fatal(err)
			}
			want[string(r.Key)] = probe.Partition
		}
		want[""] = 1
		for i := range 10 {
			noKey := fresh(1, fmt.Sprintf("no-key%d", i))
			noKey.Key = nil
			rs = append(rs, noKey)
		}
		w.produce(rs...)
		before := w.all(input)
		c := w.config(Selection{All: true})
		c.Partitioner = ByKey
		plan, _ := w.replay(c)
		check := func() {
			for p, rs := range w.sent(before) {
				for _, r := range rs {
					if want[string(r.Key)] != p {
						t.Errorf("%s went to %d, want %d", r.Key, p, want[string(r.Key)])
					}
				}
			}
		}
		check()
		if plan.Elsewhere != 0 || plan.Send != 30 {
			t.Errorf("plan %+v", plan)
		}

		// They were parked when the topic had more partitions.
		for _, r := range rs {
			from := *r
			from.Partition += partitions // of which one is the first that is not there
			w.parkMessage(0, kafka.MessageOf(r), &from, &event.ParkInfo{Reason: event.ParkTooOld})
		}
		before = w.all(input)
		plan, _ = w.replay(w.config(Selection{All: true, Parked: true}))
		check()
		if plan.Elsewhere != 30 {
			t.Errorf("%d go elsewhere, want 30", plan.Elsewhere)
		}
	})
}

// TestLogAppendTime: if the topic replaces the time of records, those of which
// it matters are not sent: a younger copy of an old event would be charged.
func TestLogAppendTime(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		long, own := time.Now().Add(-30*24*time.Hour), time.Now().UTC().Format(time.RFC3339)
		w.produce(
			at(0, long, order{id: "old"}), at(0, long, order{id: "decided"}), at(1, long, order{id: "own", time: own}),
			at(1, long, order{id: "young"}), at(2, long, order{id: "decided", amount: "11.00", time: own}), at(2, long, order{id: "tried"}),
		)
		w.book.decide(decoded(t, order{id: "decided"}), event.TypeCaptured, time.Now())
		w.book.known["tried"] = event.History{Attempt: &event.Attempt{First: time.Now()}}
		before := w.all(input)
		if _, err := w.admin.AlterTopicConfigs(t.Context(), setting("message.timestamp.type", "LogAppendTime"), input); err != nil {
			t.Fatal(err)
		}
		c := w.config(Selection{All: true})
		c.Rules.MaxEventAge = 0
		plan, _ := w.replay(c)
		w.rows(plan, map[Class]string{
			Timeless: "3/0/3 MXN 31.00", AnsweredCaptured: "1/1/1 MXN 10.00", First: "1/1/1 MXN 10.00", Again: "1/1/1 MXN 10.00",
		})
		sent := w.sent(before)
		if got := keys(sent); got != "0:decided 1:own 2:tried" || plan.Restamped != 3 {
			t.Errorf("sent %q, %d with another time", got, plan.Restamped)
		}
		if sent[0][0].Timestamp.Before(long.Add(time.Hour)) {
			t.Errorf("it is of %s", sent[0][0].Timestamp)
		}
	})
}

// TestNearTheEndOfRetention: a copy that keeps its time would be deleted with
// it, maybe before it is read.
func TestNearTheEndOfRetention(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		if _, err := w.admin.AlterTopicConfigs(t.Context(), setting("retention.ms", "604800000"), input); err != nil {
			t.Fatal(err)
		}
		old, young := time.Now().Add(-6*24*time.Hour-time.Minute), time.Now().Add(-6*24*time.Hour+time.Minute)
		own := time.Now().UTC().Format(time.RFC3339)
		w.produce(at(0, old, order{id: "old", time: own}), at(1, young, order{id: "young", time: own}), at(2, old, order{id: "timeless"}))
		before := w.all(input)
		plan, _ := w.replay(w.config(Selection{All: true}))
		w.rows(plan, map[Class]string{First: "2/2/2 MXN 20.00", Timeless: "1/0/1 MXN 10.00"})
		sent := w.sent(before)
		if got := keys(sent); got != "0:old 1:young" || plan.Restamped != 1 {
			t.Fatalf("sent %q, %d with another time", got, plan.Restamped)
		}
		if age := time.Since(sent[0][0].Timestamp); age > time.Minute {
			t.Errorf("the old one is %s old", age)
		}
		if !sent[1][0].Timestamp.Equal(ms(young)) {
			t.Errorf("the young one is of %s", sent[1][0].Timestamp)
		}
	})
}
