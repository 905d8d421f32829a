//go:build synctests

package replay

import (
	"bytes"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
)

// markOn returns the mark of a record that was sent; nil: it has none.
func markOn(r *kgo.Record) *event.Resend { return event.ResendOf(kafka.MessageOf(r)) }

// onlyMarked compares a record that was sent with the one that was parked: it is
// the same but for its mark.
func onlyMarked(t *testing.T, sent, from *kgo.Record, want event.Resend) {
	t.Helper()
	got := markOn(sent)
	if got == nil || !got.ParkedAt.Equal(want.ParkedAt) || !got.FirstAttempt.Equal(want.FirstAttempt) {
		t.Errorf("%s is marked %+v, want %+v", sent.Key, got, want)
	}
	if !sameRecord(withoutMarks(kafka.MessageOf(sent)), withoutMarks(kafka.MessageOf(from))) || sent.Partition != from.Partition {
		t.Errorf("%s was sent as %s %v in %d", from.Key, sent.Value, sent.Headers, sent.Partition)
	}
}

// ms is a time as the ledger keeps it.
func ms(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// TestParkedIsMarked by the ledger's decision, and by the parked record where
// the ledger has none; what was decided since is not sent.
func TestParkedIsMarked(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		rs, lies := make(map[string]*kgo.Record), make(map[string]time.Time) // and when they were parked
		first := ms(time.Now().Add(-30 * time.Minute))
		parkedAt := ms(time.Now())
		for i, id := range []string{"never", "tried", "before", "before-tried", "captured", "again", "resent"} {
			rs[id] = fresh(int32(i)%partitions, id)
		}
		rs["resent"].Headers = append(rs["resent"].Headers, kgo.RecordHeader{
			Key:   (event.Resend{ParkedAt: first}).Headers()[0].Key,
			Value: []byte(first.Format(time.RFC3339Nano)),
		})
		for id, r := range rs {
			w.produce(r)
			p := &event.ParkInfo{Reason: event.ParkUndecided}
			if id == "tried" || id == "before-tried" {
				p.FirstAttempt = first
			}
			lies[id] = ms(w.parkRecord(r.Partition%2, r, p).Timestamp)
		}
		e := func(id string) *event.ReadyToCapture { return decoded(t, order{value: string(rs[id].Value)}) }
		w.book.park("never", e("never").Fingerprint(), event.ParkTooOld, parkedAt.Add(-time.Minute), time.Time{})
		w.book.park("tried", e("tried").Fingerprint(), event.ParkUndecided, parkedAt.Add(-time.Minute), first)
		w.book.park("resent", e("resent").Fingerprint(), event.ParkUndecided, parkedAt.Add(-time.Minute), time.Time{})
		w.book.decide(e("captured"), event.TypeCaptured, parkedAt)
		w.book.park("again", e("again").Fingerprint(), event.ParkUndecided, parkedAt.Add(time.Hour), time.Time{})
		before := w.all(input)
		time.Sleep(time.Second)
		plan, _ := w.replay(w.config(Selection{All: true, Parked: true}))
		w.rows(plan, map[Class]string{First: "3/3/3 MXN 30.00", Again: "2/2/2 MXN 20.00", DecidedSince: "2/0/2 MXN 20.00"})
		sent := make(map[string]*kgo.Record)
		for _, of := range w.sent(before) {
			for _, r := range of {
				sent[string(r.Key)] = r
			}
		}
		for id, want := range map[string]event.Resend{
			"never": {ParkedAt: parkedAt.Add(-time.Minute)}, "tried": {ParkedAt: parkedAt.Add(-time.Minute), FirstAttempt: first},
			"before": {ParkedAt: lies["before"]}, "before-tried": {ParkedAt: lies["before-tried"], FirstAttempt: first},
			"resent": {ParkedAt: parkedAt.Add(-time.Minute)},
		} {
			if sent[id] == nil {
				t.Errorf("%s was not sent", id)
				continue
			}
			onlyMarked(t, sent[id], rs[id], want)
			delete(sent, id)
		}
		if len(sent) > 0 {
			t.Errorf("sent too: %v", sent)
		}
	})
}

// TestParkedIsChosen by reason, by order, by event and by time: the reason is
// that of the parking that stands.
func TestParkedIsChosen(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		parkedSince := time.Now()
		for i, id := range []string{"a", "b", "c"} {
			r := fresh(int32(i), id)
			w.produce(r)
			w.parkRecord(int32(i)%2, r, &event.ParkInfo{Reason: event.ParkTooOld})
			if id == "b" {
				w.book.park(id, decoded(t, order{value: string(r.Value)}).Fingerprint(), event.ParkUndecided, time.Now(), time.Time{})
			}
			time.Sleep(time.Minute)
		}
		for name, test := range map[string]struct {
			selection Selection
			want      int64
		}{
			"too old":       {Selection{Reasons: []string{"too_old"}}, 2},
			"undecided":     {Selection{Reasons: []string{"undecided"}}, 1},
			"both":          {Selection{Reasons: []string{"undecided", "too_old"}}, 3},
			"an order":      {Selection{Orders: []string{"order-c"}}, 1},
			"an event":      {Selection{Events: []string{"a"}}, 1},
			"a time":        {Selection{Since: parkedSince.Add(time.Minute)}, 2},
			"a partition":   {Selection{Partitions: []int32{1}}, 1},
			"an offset":     {Selection{Partitions: []int32{0}, From: new(int64(1))}, 1},
			"no such event": {Selection{Events: []string{"z"}}, 0},
		} {
			test.selection.Parked = true
			if got := w.plan(w.config(test.selection)).Send; got != test.want {
				t.Errorf("%s: %d, want %d", name, got, test.want)
			}
		}
	})
}

// TestParkedTwiceIsSentOnce from where it was parked last, wherever that is, also
// when the run is resumed in between.
func TestParkedTwiceIsSentOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		twice, once := fresh(1, "twice"), fresh(1, "once")
		w.produce(twice, once)
		w.parkRecord(1, twice, &event.ParkInfo{Reason: event.ParkTooOld})
		w.parkRecord(1, once, &event.ParkInfo{Reason: event.ParkTooOld})
		time.Sleep(time.Minute)
		last := ms(w.parkRecord(0, twice, &event.ParkInfo{Reason: event.ParkUndecided}).Timestamp)
		before := w.all(input)
		c := w.config(Selection{All: true, Parked: true})
		plan, _ := w.replay(c)
		w.rows(plan, map[Class]string{First: "2/2/2 MXN 20.00", Superseded: "1/0/0"})
		sent := w.sent(before)
		if got := keys(sent); got != "1:once 1:twice" {
			t.Fatalf("sent %q", got)
		}
		onlyMarked(t, sent[1][1], twice, event.Resend{ParkedAt: last})

		// A run that has sent it from its last place already, and has not looked at
		// the first one yet.
		r := w.open(c)
		for i := range r.state.Spans {
			if s := &r.state.Spans[i]; s.Partition == 0 {
				s.Next = s.End
			}
		}
		if err := r.state.write(w.state); err != nil {
			t.Fatal(err)
		}
		w.close(r)
		c.Resume = true
		plan, _ = w.replay(c)
		w.rows(plan, map[Class]string{First: "1/1/1 MXN 10.00", Superseded: "1/0/0"})
	})
}

// TestCorrectedIsNotSent: of an event that was parked without a call and corrected
// since only the corrected one is sent, even if that is parked as well.
func TestCorrectedIsNotSent(t *testing.T) {
	inWorld(t, func(w *world) {
		wrong, right := at(0, time.Now(), order{id: "e", amount: "1.00"}), at(0, time.Now(), order{id: "e", amount: "2.00"})
		w.produce(wrong, right)
		w.parkRecord(0, wrong, &event.ParkInfo{Reason: event.ParkTooOld})
		w.parkRecord(0, right, &event.ParkInfo{Reason: event.ParkTooOld})
		first, second := decoded(w.t, order{id: "e", amount: "1.00"}), decoded(w.t, order{id: "e", amount: "2.00"})
		parkedAt := ms(time.Now())
		w.book.known["e"] = event.History{Decision: &event.Decision{
			At: parkedAt, Attempt: event.AttemptOf(second), Content: second.Content(), Superseded: []event.Fingerprint{first.Content()},
			Result: event.Result{ParkInfo: &event.ParkInfo{Reason: event.ParkTooOld}},
		}}
		time.Sleep(time.Second)
		before := w.all(input)
		plan, _ := w.replay(w.config(Selection{All: true, Parked: true}))
		w.rows(plan, map[Class]string{First: "1/1/1 MXN 2.00", Corrected: "1/0/1 MXN 1.00"})
		sent := w.sent(before)
		if got := keys(sent); got != "0:e" {
			w.t.Fatalf("sent %q", got)
		}
		onlyMarked(w.t, sent[0][0], right, event.Resend{ParkedAt: parkedAt})
	})
}

// TestParkedAgainDuringTheRunIsLeft: a run that is resumed does not try twice
// what it sent itself.
func TestParkedAgainDuringTheRunIsLeft(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		r := fresh(1, "e")
		w.produce(r)
		w.parkRecord(0, r, &event.ParkInfo{Reason: event.ParkUndecided})
		mark := decoded(t, order{value: string(r.Value)}).Fingerprint()
		w.book.park("e", mark, event.ParkUndecided, time.Now(), time.Time{})
		time.Sleep(time.Second)
		c := w.config(Selection{All: true, Parked: true})
		run := w.open(c)
		if err := run.state.write(w.state); err != nil {
			t.Fatal(err)
		}
		w.close(run)
		time.Sleep(time.Second)
		w.book.park("e", mark, event.ParkUndecided, time.Now(), time.Time{})
		c.Resume = true
		plan, _ := w.replay(c)
		w.rows(plan, map[Class]string{DecidedSince: "1/0/1 MXN 10.00"})
	})
}

// TestDigestIsFetched from where the record was, if it is still there and the
// same.
func TestDigestIsFetched(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		rs := []*kgo.Record{fresh(0, "gone"), fresh(0, "there"), fresh(1, "other"), fresh(2, "no-topic"), fresh(2, "beyond")}
		for i, r := range rs {
			w.produce(r)
			m := kafka.MessageOf(r)
			if i == 2 {
				m.Value = bytes.ToUpper(m.Value)
			}
			from := *r
			switch string(r.Key) {
			case "no-topic":
				from.Topic = "nowhere"
			case "beyond":
				from.Offset = 99
			}
			w.parkMessage(0, event.Digest(m), &from, &event.ParkInfo{Reason: event.ParkTooOld})
		}
		// The first one falls to retention.
		if _, err := w.admin.DeleteRecords(t.Context(), offsetsOf(0, 1)); err != nil {
			t.Fatal(err)
		}
		before := w.all(input)
		time.Sleep(time.Minute)
		plan, _ := w.replay(w.config(Selection{All: true, Parked: true}))
		w.rows(plan, map[Class]string{First: "1/1/1 MXN 10.00", DigestGone: "3/0/3", DigestDiffers: "1/0/1"})
		sent := w.sent(before)
		if got := keys(sent); got != "0:there" {
			t.Fatalf("sent %q", got)
		}
		if !sent[0][0].Timestamp.Equal(ms(rs[1].Timestamp)) {
			t.Errorf("it is of %s, the record was of %s", sent[0][0].Timestamp, rs[1].Timestamp)
		}
	})
}

// TestRecordsThatWouldBeParkedAgain: they are sent only with
// ParkedAgain. A record that has become a valid event since is sent.
func TestRecordsThatWouldBeParkedAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		invalid := &kgo.Record{Topic: input, Partition: 0, Key: []byte("invalid"), Value: []byte("{}"), Timestamp: time.Now().Add(-time.Hour)}
		formerly := fresh(1, "formerly")
		conflicting := fresh(2, "conflicting")
		euros := at(2, time.Now(), order{id: "reals", currency: "BRL", time: time.Now().UTC().Format(time.RFC3339)})
		parkedAt := ms(time.Now())
		w.produce(invalid, formerly, conflicting, euros)
		for r, reason := range map[*kgo.Record]event.ParkReason{
			invalid: event.ParkInvalidEvent, formerly: event.ParkInvalidEvent, conflicting: event.ParkConflicting, euros: event.ParkWrongCurrency,
		} {
			w.parkRecord(0, r, &event.ParkInfo{Reason: reason})
			if r != euros {
				w.book.park(event.RecordID(kafka.MessageOf(r)), event.Fingerprint{}, reason, parkedAt, time.Time{})
			}
		}
		w.book.decide(decoded(t, order{id: "conflicting", amount: "11.00"}), event.TypeCaptured, time.Now())
		before := w.all(input)
		time.Sleep(time.Minute)
		c := w.config(Selection{All: true, Parked: true})
		plan, _ := w.replay(c)
		w.rows(plan, map[Class]string{
			First: "1/1/1 MXN 10.00", ParkInvalid: "1/0/1", ParkConflicting: "1/0/1 MXN 10.00",
			ParkWrongCurrency: "1/0/1 BRL 10.00",
		})
		sent := w.sent(before)
		if got := keys(sent); got != "1:formerly" {
			t.Fatalf("sent %q", got)
		}
		// Its mark undoes the parking of the record, for its event was never decided.
		onlyMarked(t, sent[1][0], formerly, event.Resend{ParkedAt: parkedAt})

		c.Selection.ParkedAgain = true
		plan = w.plan(c)
		if plan.Send != 4 {
			t.Errorf("%d would be sent, want 4", plan.Send)
		}
		before = w.all(input)
		c.Selection.Reasons, c.Selection.All = []string{"invalid_event", "conflicting_event"}, false
		w.replay(c)
		for _, r := range w.sent(before)[0] {
			// It is the same record to the ledger, so the mark undoes its parking.
			if got := event.RecordID(kafka.MessageOf(r)); got != event.RecordID(kafka.MessageOf(invalid)) || !r.Timestamp.Equal(ms(invalid.Timestamp)) {
				t.Errorf("it is %s of %s, and was %s of %s", got, r.Timestamp, event.RecordID(kafka.MessageOf(invalid)), invalid.Timestamp)
			}
			onlyMarked(t, r, invalid, event.Resend{ParkedAt: parkedAt})
		}
	})
}

// TestNotParkedInTheParkedTopic: records of another writer are counted.
func TestNotParkedInTheParkedTopic(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		r := fresh(0, "e")
		r.Topic = parkedInto
		theirs := at(1, time.Now(), order{id: "theirs", account: "other"})
		w.produce(r, theirs)
		w.parkRecord(0, theirs, &event.ParkInfo{Reason: event.ParkTooOld})
		plan, result := w.replay(w.config(Selection{All: true, Parked: true}))
		w.rows(plan, map[Class]string{NotParked: "1/0/1", OtherAccount: "1/0/1"})
		if result.Sent != 0 {
			t.Errorf("sent %d", result.Sent)
		}
	})
}

// TestTimeOfAParkedRecordThatIsGone: an event that does not say when it happened
// is as old as its first attempt at least, and is sent all the same.
func TestTimeOfAParkedRecordThatIsGone(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		written, first := ms(time.Now().Add(-2*time.Hour)), ms(time.Now().Add(-time.Hour))
		there, gone := at(0, written, order{id: "there"}), at(0, written, order{id: "gone"})
		w.produce(gone, there)
		w.parkRecord(0, there, &event.ParkInfo{Reason: event.ParkUndecided})
		w.parkRecord(0, gone, &event.ParkInfo{Reason: event.ParkUndecided, FirstAttempt: first})
		if _, err := w.admin.DeleteRecords(t.Context(), offsetsOf(0, 1)); err != nil {
			t.Fatal(err)
		}
		before := w.all(input)
		w.replay(w.config(Selection{All: true, Parked: true}))
		got := w.sent(before)[0]
		if len(got) != 2 || !got[0].Timestamp.Equal(written) || !got[1].Timestamp.Equal(first) {
			t.Errorf("got %v", got)
		}
	})
}
