//go:build synctests || integration

package acceptance

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/config"
	"payment-capture/internal/event"
	"payment-capture/internal/pipeline"
)

// bad returns n invalid events for one partition.
func bad(partition int32, from, n int) []order {
	orders := make([]order, n)
	for i := range orders {
		orders[i] = order{id: fmt.Sprintf("bad-%d-%d", partition, from+i), amount: "-1", partition: partition + 1}
	}
	return orders
}

// ask sends a request to the admin address of the instance.
func (in *instance) ask(method, path string) (status int, body string) {
	recorder := httptest.NewRecorder()
	in.service.Handler().ServeHTTP(recorder, httptest.NewRequestWithContext(in.w.t.Context(), method, path, nil))
	return recorder.Code, recorder.Body.String()
}

// holds returns the instance's holds by partition.
func (in *instance) holds() map[int32]pipeline.InvalidHold {
	all := make(map[int32]pipeline.InvalidHold)
	for _, h := range in.service.Status(in.w.t.Context()).Pipeline.InvalidHolds {
		all[h.Partition] = h
	}
	return all
}

// held waits until n partitions are held, each with the given number of records, all
// invalid and either held or parked.
func (in *instance) held(n int, records int) map[int32]pipeline.InvalidHold {
	in.w.t.Helper()
	var holds map[int32]pipeline.InvalidHold
	in.w.eventually(fmt.Sprintf("%d partitions are held, of %d records each", n, records), func() bool {
		holds = in.holds()
		if len(holds) != n {
			return false
		}
		for _, h := range holds {
			if h.Last != int64(records-1) || int(h.Last-h.First)+1 != h.Waiting {
				return false
			}
		}
		return true
	})
	for p, h := range holds {
		if !strings.Contains(h.Reason, "invalid_event: data.amount") || h.ParkedAt.Sub(h.Since) != 15*time.Minute ||
			h.Release != fmt.Sprintf("payment-capture release --partition %d", p) {
			in.w.t.Errorf("hold of partition %d: %+v", p, h)
		}
		in.w.eventually("the records before the hold are parked", func() bool { return in.w.parkedOf(p) == int(h.First) })
		if h.First > 99 {
			in.w.t.Errorf("%d records of partition %d are parked, want the first 99 at most", h.First, p)
		}
	}
	return holds
}

// parkedOf counts the parked records of an input partition.
func (w *world) parkedOf(partition int32) int {
	n := 0
	for _, r := range w.readAll(w.topics.parked) {
		if headerOf(r, "parked_partition") == fmt.Sprint(partition) {
			n++
		}
	}
	return n
}

// invalidRun sends invalid events in a row. They are held, neither committed nor parked,
// by whichever instance owns the partition, until a valid one arrives.
func invalidRun(w *world) {
	in := w.start("a")
	w.send(order{id: "first"})
	w.eventually("the first is captured", func() bool { return len(w.decisions()) == 1 })
	for i := range 10 { // in several polls
		w.send(bad(0, 10*i, 10)...)
		w.eventually("they are admitted", func() bool { return w.parkedOf(0)+in.holds()[0].Waiting == 10*(i+1) })
	}
	w.send(bad(0, 100, 50)...)
	w.eventually("the other records are held", func() bool { return w.parkedOf(0)+in.holds()[0].Waiting == 150 })
	if parked := w.parkedOf(0); parked > 99 {
		w.t.Errorf("%d records are parked, want the first 99 at most", parked)
	}
	before := in.holds()[0]
	in.stop()
	in = w.start("b")
	w.eventually("the next owner holds the same records until the same time", func() bool { return in.holds()[0] == before })
	w.send(order{id: "last"})
	w.want(w.awaitDecisions(), map[string]int{"captured": 2, "parked invalid_event": 150})
	w.wantMetric(in, `payment_capture_invalid_event_holds_total{result="good_event"} 1`)
	w.wantMetric(in, `payment_capture_invalid_events_held{partition="0"} 0`)
}

func (w *world) wantMetric(in *instance, line string) {
	w.t.Helper()
	if _, body := in.ask(http.MethodGet, "/metrics"); !strings.Contains(body, "\n"+line+"\n") {
		w.t.Errorf("the metrics have no line %q", line)
	}
}

// validBehindManyInvalid sends 2,100 invalid events, which is more than the service
// buffers. The valid event behind them still ends the hold.
func validBehindManyInvalid(w *world) {
	in := w.start("a")
	w.send(bad(0, 0, 2100)...)
	in.held(1, 2100)
	if status, body := in.ask(http.MethodGet, "/readyz"); status != http.StatusServiceUnavailable ||
		!containsAll(body, "partition 0", "offsets", "2099", "records wait", "data.amount", "payment-capture release --partition 0") {
		w.t.Errorf("readiness: %d %s", status, body)
	}
	w.send(order{id: "good"})
	w.want(w.awaitDecisions(), map[string]int{"captured": 1, "parked invalid_event": 2100})
	if holds := in.holds(); len(holds) != 0 {
		w.t.Errorf("still held: %+v", holds)
	}
	w.wantMetric(in, `payment_capture_invalid_event_holds_total{result="good_event"} 1`)
	if status, body := in.ask(http.MethodGet, "/readyz"); status != http.StatusOK {
		w.t.Errorf("readiness: %d %s", status, body)
	}
}

// holdsOutliveRestarts restarts an instance three times, which neither parks a held
// record nor extends the hold. Then a valid event, an operator and the configuration
// release one partition each.
func holdsOutliveRestarts(w *world) {
	w.choosePartitions()
	in := w.start("a")
	for p := range int32(3) {
		w.send(bad(p, 0, 1500)...)
	}
	before := in.held(3, 1500)
	for range 3 {
		in.stop()
		in = w.start("a")
		if after := in.held(3, 1500); !maps.Equal(after, before) {
			w.t.Errorf("after a restart: %+v\nbefore: %+v", after, before)
		}
	}
	w.send(order{id: "good", partition: 1})
	w.eventually("partition 0 is parked", func() bool { return w.parkedOf(0) == 1500 })
	if holds := in.holds(); !maps.Equal(holds, map[int32]pipeline.InvalidHold{1: before[1], 2: before[2]}) {
		w.t.Errorf("holds: %+v", holds)
	}
	if status, body := in.ask(http.MethodGet, "/readyz"); status != http.StatusOK || !strings.Contains(body, before[1].Release) {
		w.t.Errorf("readiness while one partition is not held: %d %s", status, body)
	}
	status, body := in.ask(http.MethodPost, "/holds/release?partition=1")
	var answer struct{ Released []pipeline.InvalidHold }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK ||
		!slices.Equal(answer.Released, []pipeline.InvalidHold{before[1]}) {
		w.t.Errorf("released: %d %s", status, body)
	}
	w.eventually("partition 1 is parked", func() bool { return w.parkedOf(1) == 1500 })
	w.wantMetric(in, `payment_capture_invalid_event_holds_total{result="released"} 1`)
	if parked := w.parkedOf(2); parked > 99 {
		w.t.Errorf("%d records of partition 2 are parked", parked)
	}
	in.stop()
	w.start("a", func(c *config.Config) { c.InvalidEventHold = 0 })
	w.want(w.awaitDecisions(), map[string]int{"captured": 1, "parked invalid_event": 4500})
}

// holdExpires lets a hold expire: its records are parked, and the following invalid ones
// without another hold. After a valid event invalid ones are held again.
func holdExpires(w *world) {
	const hold = 15 * time.Second
	in := w.start("a", func(c *config.Config) { c.InvalidEventHold = hold })
	w.send(bad(0, 0, 1300)...)
	began := time.Now()
	w.eventually("the invalid events are held", func() bool { return in.holds()[0].Waiting > 1200 })
	w.eventually("the held events are parked", func() bool { return w.parkedOf(0) == 1300 })
	if took := time.Since(began); took < hold-time.Second || took > 2*hold {
		w.t.Errorf("parked after %s, want some %s", took, hold)
	}
	w.send(bad(0, 1300, 150)...)
	w.eventually("more invalid events are parked at once", func() bool { return w.parkedOf(0) == 1450 })
	in.stop() // the expired hold survives the restart
	in = w.start("a", func(c *config.Config) { c.InvalidEventHold = hold })
	w.send(bad(0, 1450, 150)...)
	w.eventually("invalid events are parked at once after a restart", func() bool { return w.parkedOf(0) == 1600 })
	if n := strings.Count(w.log.String(), `"msg":"invalid events held"`); n != 1 {
		w.t.Errorf("%d holds began, want 1", n)
	}
	w.send(order{id: "good"})
	w.eventually("the valid event is captured", func() bool { return len(w.decisions()) == 1601 })
	w.send(bad(0, 1600, 150)...)
	w.eventually("new invalid events are held", func() bool { return in.holds()[0].Waiting >= 51 })
	w.want(w.awaitDecisions(), map[string]int{"captured": 1, "parked invalid_event": 1750})
	if n := strings.Count(w.log.String(), `"msg":"invalid events parked after hold"`); n != 2 {
		w.t.Errorf("%d alerts about parked records, want 2", n)
	}
	w.wantMetric(in, `payment_capture_invalid_event_holds_total{result="expired"} 1`) // counted since the restart
}

// wrongCurrency sends orders that are all in another currency than CURRENCY. They are
// held, and captured once the variable is correct.
func wrongCurrency(w *world) {
	in := w.start("a", func(c *config.Config) { c.Currency = "BRL" })
	w.send(numbered(150, func(_ int, o *order) { o.partition = 1 })...)
	w.eventually("most are held", func() bool { return w.parkedOf(0)+in.holds()[0].Waiting == 150 })
	parked := w.parkedOf(0)
	if reason := in.holds()[0].Reason; parked > 99 || !containsAll(reason, "wrong_currency", "MXN", "BRL") {
		w.t.Errorf("%d are parked; reason %q", parked, reason)
	}
	in.stop()
	w.start("a")
	w.want(w.awaitDecisions(), map[string]int{"parked wrong_currency": parked, "captured": 150 - parked})
}

// otherCurrency sends orders in another currency in a row. They are held, and parked
// when an order in the right currency arrives.
func otherCurrency(w *world) {
	in := w.start("a")
	w.send(numbered(150, func(_ int, o *order) { o.partition, o.currency = 1, "BRL" })...)
	w.eventually("most are held", func() bool { return w.parkedOf(0)+in.holds()[0].Waiting == 150 && w.parkedOf(0) <= 99 })
	w.send(order{id: "good"})
	w.want(w.awaitDecisions(), map[string]int{"parked wrong_currency": 150, "captured": 1})
}

// localTimeWithZ sends events whose producer writes local time as UTC.
func localTimeWithZ(w *world) {
	in := w.start("a")
	w.send(numbered(120, func(_ int, o *order) { o.partition, o.time = 1, time.Now().Add(2*time.Hour) })...)
	w.eventually("the last invalid events are held", func() bool { return w.parkedOf(0)+in.holds()[0].Waiting == 120 && w.parkedOf(0) <= 99 })
	if reason := in.holds()[0].Reason; !strings.Contains(reason, "time_in_future") {
		w.t.Errorf("reason %q", reason)
	}
	w.send(order{id: "good"})
	w.want(w.awaitDecisions(), map[string]int{"parked time_in_future": 120, "captured": 1})
}

// parkedBefore reads a topic of invalid events again: they are not held, because they
// were parked before.
func parkedBefore(w *world) {
	in := w.start("a", func(c *config.Config) { c.InvalidEventHold = 0 })
	w.send(bad(0, 0, 300)...)
	w.want(w.awaitDecisions(), map[string]int{"parked invalid_event": 300})
	in.stop()
	w.resetOffsets()
	in = w.start("a")
	w.want(w.awaitDecisions(), map[string]int{"parked invalid_event": 300})
	if w.log.contains("invalid events held") || len(in.holds()) != 0 {
		w.t.Errorf("records that are parked already are held: %+v", in.holds())
	}
}

// unknownTypesAreNamed: skipped records are logged once a kind, and the status has
// their counts.
func unknownTypesAreNamed(w *world) {
	in := w.start("a")
	for _, reason := range []string{"other_type", "other_account", "tombstone"} { // the series exist before the first record
		w.wantMetric(in, fmt.Sprintf("payment_capture_records_skipped_total{reason=%q} 0", reason))
	}
	w.send(numbered(60, func(i int, o *order) {
		o.skipped, o.partition, o.kind = true, 1, "order.shipped"
		if i%3 == 0 {
			o.kind, o.account = "", "another"
		}
	})...)
	w.awaitDecisions()
	if n := strings.Count(w.log.String(), `"msg":"first skipped record of this kind"`); n != 2 {
		w.t.Errorf("%d kinds are logged, want 2", n)
	}
	for _, line := range []string{
		fmt.Sprintf(`"reason":"other_account","account":"another","topic":%q,"partition":0,"offset":0`, w.topics.input),
		fmt.Sprintf(`"reason":"other_type","type":"order.shipped","topic":%q,"partition":0,"offset":1`, w.topics.input),
		`"msg":"most records are skipped and none is ours"`,
	} {
		if !w.log.contains(line) {
			w.t.Errorf("the log has no %s", line)
		}
	}
	got := in.service.Status(w.t.Context()).Pipeline.Skipped
	if got == nil || got.Records != 60 || len(got.Kinds) != 2 || got.Kinds[0].Type != "order.shipped" || got.Kinds[0].Records != 40 ||
		got.Kinds[1].Account != "another" || got.Kinds[1].Records != 20 {
		w.t.Errorf("status: %+v", got)
	}
}

// invalidAmongOthers: another account's valid events are neutral, so they neither end
// a hold of invalid events nor keep a run from being held.
func invalidAmongOthers(w *world) {
	in := w.start("a")
	for i := range 150 {
		w.send(order{id: fmt.Sprintf("bad-%d", i), amount: "-1"}, order{id: fmt.Sprintf("other-%d", i), account: "other", skipped: true})
	}
	w.eventually("the last invalid events are held", func() bool { return in.holds()[0].Last == 298 })
	if parked := w.parkedOf(0); parked > 99 {
		w.t.Errorf("%d are parked, want the first 99 at most", parked)
	}
	w.send(order{id: "good"})
	w.want(w.awaitDecisions(), map[string]int{"captured": 1, "parked invalid_event": 150})
}

// capturedReference sends new events for an order that was captured. With one charge per
// reference they would be parked without a call, so they begin a hold and do not end one.
func capturedReference(w *world) {
	in := w.start("a", func(c *config.Config) { c.CaptureOncePer = config.OncePerReference })
	w.send(order{id: "first", order: "o"})
	w.eventually("the first is captured", func() bool { return w.decided("first") })
	w.send(numbered(150, func(_ int, o *order) { o.order = "o" })...)
	w.eventually("they are held", func() bool { return w.parkedOf(0)+in.holds()[0].Waiting == 150 && len(in.holds()) == 1 })
	if hold := in.holds()[0]; hold.Waiting < 51 || !strings.Contains(hold.Reason, "reference_already_captured") {
		w.t.Errorf("hold: %+v", hold)
	}
	w.send(order{id: "other"})
	w.want(w.awaitDecisions(), map[string]int{"captured": 2, "parked reference_already_captured": 150})
}

// behindTombstones has more tombstones before an order than the service buffers.
func behindTombstones(w *world) {
	in := w.start("a")
	tombstones := make([]*kgo.Record, 2100)
	for i := range tombstones {
		tombstones[i] = &kgo.Record{Topic: w.topics.input, Key: fmt.Appendf(nil, "key-%d", i)}
	}
	if err := w.client.ProduceSync(w.t.Context(), tombstones...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
	w.send(order{id: "good"})
	w.within(10*time.Second, "good")
	w.want(w.awaitDecisions(), map[string]int{"captured": 1})
	w.wantMetric(in, `payment_capture_records_skipped_total{reason="tombstone"} 2100`)
	if got := in.service.Status(w.t.Context()).Pipeline.Skipped; got.Records != 2100 || got.Kinds[0].Reason != event.SkipTombstone {
		w.t.Errorf("status: %+v", got)
	}
	if status, body := in.ask(http.MethodGet, "/readyz"); status != http.StatusOK || len(in.holds()) != 0 {
		w.t.Errorf("readiness: %d %s, holds: %+v", status, body, in.holds())
	}
}
