//go:build synctests || integration

package acceptance

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/kafka"
	"payment-capture/internal/kafka/txnrecovery"
	"payment-capture/internal/simulator"
)

// readyz reports whether the instance is ready, and the body of the answer.
func (in *instance) readyz() (ready bool, body string) {
	status, body := in.ask(http.MethodGet, "/readyz")
	return status == http.StatusOK, body
}

func containsAll(text string, parts ...string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}

func (w *world) deleteTopic(topic string) {
	w.t.Helper()
	resp, err := w.admin.DeleteTopics(w.t.Context(), topic)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.eventually("topic "+topic+" is deleted", func() bool {
		topics, err := w.admin.ListTopics(w.t.Context(), topic)
		return err == nil && errors.Is(topics[topic].Err, kerr.UnknownTopicOrPartition)
	})
}

func (w *world) createTopic(topic string, partitions int32, config map[string]string) {
	w.t.Helper()
	w.eventually("topic "+topic+" can be created", func() bool {
		results, err := kafka.EnsureTopics(w.t.Context(), w.admin, false,
			kafka.TopicSpec{Name: topic, Partitions: partitions, ReplicationFactor: 1, Config: config})
		return err == nil && results[0].Err == nil
	})
	w.eventually("topic "+topic+" exists", func() bool {
		topics, err := w.admin.ListTopics(w.t.Context(), topic)
		return err == nil && topics[topic].Err == nil && len(topics[topic].Partitions) == int(partitions)
	})
}

// createLedger creates the ledger topic as newWorld does.
func (w *world) createLedger() {
	w.t.Helper()
	w.createTopic(w.topics.ledger, 3, map[string]string{"cleanup.policy": "compact"})
}

func (w *world) recreateLedger() {
	w.t.Helper()
	w.deleteTopic(w.topics.ledger)
	w.createLedger()
}

// addPartitions adds partitions to the input topic and waits until they exist.
func (w *world) addPartitions(total int) {
	w.t.Helper()
	added, err := w.admin.UpdatePartitions(w.t.Context(), total, w.topics.input)
	if err == nil {
		err = added.Error()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.eventually("the new partitions exist", func() bool {
		topics, err := w.admin.ListTopics(w.t.Context(), w.topics.input)
		return err == nil && len(topics[w.topics.input].Partitions) == total
	})
}

// outcomeTopicMissing starts the service without an outcome topic. It ends with an error
// that names the topic.
func outcomeTopicMissing(w *world) {
	w.deleteTopic(w.topics.rejected)
	w.send(order{id: "e1"})
	first := w.start("a")
	err := first.wait()
	if !errors.Is(err, kerr.UnknownTopicOrPartition) || !strings.Contains(err.Error(), w.topics.rejected) ||
		strings.Contains(err.Error(), w.topics.captured) {
		w.t.Fatalf("the service ended with: %v", err)
	}
	if calls := w.sim.Charges().Calls; calls != 0 {
		w.t.Errorf("%d API calls, want none", calls)
	}
	w.createTopic(w.topics.rejected, 3, nil)
	w.start("a")
	w.want(w.awaitDecisions(), map[string]int{"captured": 1})
}

// outcomeTopicDeleted deletes an outcome topic while the service runs, and recreates it.
func outcomeTopicDeleted(w *world) {
	first := w.start("a")
	w.send(order{id: "e1", token: "gone"})
	w.want(w.awaitDecisions(), map[string]int{"rejected invalid_payer_token": 1})
	w.deleteTopic(w.topics.captured)
	w.send(order{id: "e2"}, order{id: "e3"})
	w.surviveRefusal(first, func() { w.createTopic(w.topics.captured, 3, nil) }, kerr.UnknownTopicOrPartition, w.topics.captured)
	w.want(w.awaitDecisions(), map[string]int{"captured": 2, "rejected invalid_payer_token": 1})
}

// inputRecreatedWhileStopped recreates the input topic while no instance runs. The new
// topic is read from its beginning.
func inputRecreatedWhileStopped(w *world) {
	first := w.start("a")
	w.send(numbered(30, nil)...)
	w.awaitDecisions()
	first.stop()
	w.deleteTopic(w.topics.input)
	w.createTopic(w.topics.input, 3, nil)
	w.client = w.newClient() // the old client has the id of the deleted topic
	w.send(numbered(10, func(_ int, o *order) { o.id, o.order = "new-"+o.id, "new-"+o.order })...)
	w.start("a")
	w.want(w.awaitDecisions(), map[string]int{"captured": 40})
	w.wantOneCallPerEvent()
}

// recordTooLargeToPark sends a record that is too large for the parked topic. It is
// parked without its value.
func recordTooLargeToPark(w *world) {
	w.deleteTopic(w.topics.parked)
	w.createTopic(w.topics.parked, 1, map[string]string{"max.message.bytes": "20000"})
	w.start("a")
	w.send(order{id: "large", raw: strings.Repeat("no event ", 5000), skipped: true}, order{id: "e1"}, order{id: "small", amount: "-1"})
	vs := w.awaitDecisions()
	w.want(vs, map[string]int{"parked invalid_event": 2, "captured": 1})
	digests := 0
	for _, v := range vs {
		if v.kind == "parked" && headerOf(v.record, "parked_value_sha256") != "" {
			digests++
			if len(v.record.Value) != 0 || headerOf(v.record, "parked_offset") == "" || headerOf(v.record, "parked_topic") != w.topics.input {
				w.t.Errorf("parked as %v with %d bytes", v.record.Headers, len(v.record.Value))
			}
		}
	}
	if digests != 1 {
		w.t.Errorf("%d records were parked without their values, want 1", digests)
	}
}

// outcomeTooLarge has an outcome topic whose size limit is too low for any outcome. The
// service refuses to start, before any charge.
func outcomeTooLarge(w *world) {
	w.deleteTopic(w.topics.captured)
	w.createTopic(w.topics.captured, 1, map[string]string{"max.message.bytes": "600"})
	w.send(order{id: "e1"})
	err := w.start("a").wait()
	if !errors.Is(err, kafka.ErrUnfit) || !containsAll(err.Error(), w.topics.captured, "max.message.bytes") {
		w.t.Errorf("the service ended with: %v", err)
	}
	if calls := w.sim.Charges().Calls; calls != 0 {
		w.t.Errorf("%d API calls, want none", calls)
	}
	w.deleteTopic(w.topics.captured)
	w.createTopic(w.topics.captured, 1, nil)
	w.start("a")
	w.want(w.awaitDecisions(), map[string]int{"captured": 1})
}

// transactionTimesOut delays the end of a transaction until the broker has aborted it.
// The service does not take this for another process and commits again.
func transactionTimesOut(w *world) {
	var held atomic.Bool
	line := &wire{}
	line.at(func(key int16) effect {
		if key == kmsg.EndTxn.Int16() && held.CompareAndSwap(false, true) {
			time.Sleep(txnrecovery.TransactionTimeout + 15*time.Second) // the broker checks every 10 s
		}
		return passed
	})
	w.startOver(line)
	w.send(numbered(20, nil)...)
	w.want(w.awaitDecisions(), map[string]int{"captured": 20})
	if !held.Load() {
		w.t.Error("no end of a transaction was delayed")
	}
	w.wantOneCallPerEvent()
}

// endsUnanswered closes the connection at every second end of a transaction, alternately
// before the request reaches the broker and before the answer arrives.
func endsUnanswered(w *world) {
	var ends, cut atomic.Int32
	line := &wire{}
	line.at(func(key int16) effect {
		if key != kmsg.EndTxn.Int16() {
			return passed
		}
		switch ends.Add(1) % 4 {
		case 1:
			cut.Add(1)
			return unanswered
		case 3:
			cut.Add(1)
			return unsent
		}
		return passed
	})
	w.startOver(line)
	events := 0
	// On a busy machine a transaction has more events, so there are fewer ends.
	for n := 0; n < 40 || cut.Load() < 10 && n < 400; n++ {
		w.send(numbered(5, func(i int, o *order) { o.id, o.order = id(n, i), "o-"+id(n, i) })...)
		events += 5
		w.eventually("the events are called for", func() bool { return w.sim.Charges().Calls >= events })
	}
	w.want(w.awaitDecisions(), map[string]int{"captured": events})
	if n := cut.Load(); n < 10 {
		w.t.Errorf("only %d ends were cut", n)
	}
	w.wantOneCallPerEvent()
}

// endsUnansweredForLong loses every answer to the end of a transaction, or every such
// request, for longer than the library retries.
func endsUnansweredForLong(w *world) {
	var bad atomic.Int32
	line := &wire{}
	line.at(func(key int16) effect {
		if key == kmsg.EndTxn.Int16() {
			return max(effect(bad.Load()), passed)
		}
		return passed
	})
	w.startOver(line)
	for n, f := range []effect{unanswered, unsent, unanswered, unsent} {
		bad.Store(int32(f))
		w.send(numbered(20, func(i int, o *order) { o.id, o.order = id(n, i), "o-"+id(n, i) })...)
		w.eventually("the end is looked up", func() bool {
			return strings.Count(w.log.String(), "end of transaction not confirmed") > n
		})
		bad.Store(0)
		w.want(w.awaitDecisions(), map[string]int{"captured": 20 * (n + 1)})
	}
	w.wantOneCallPerEvent()
}

func id(n, i int) string {
	return "e" + string(rune('a'+n/26)) + string(rune('a'+n%26)) + string(rune('a'+i))
}

func goneBuyer() simulator.Config {
	return simulator.Config{Script: simulator.Script{Payers: []simulator.Payer{{Token: "gone", State: "cancelled"}}}}
}
