//go:build synctests || integration

package acceptance

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/app"
	"payment-capture/internal/config"
	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
	"payment-capture/internal/secret"
	"payment-capture/internal/simulator"
)

// scenario is one situation that the service must handle.
type scenario struct {
	name       string
	partitions int32
	sim        simulator.Config
	run        func(w *world)
}

// scenarios are those about events, the API and the machine.
func scenarios() []scenario {
	slow := simulator.Config{Latency: 20 * time.Millisecond}
	return slices.Concat([]scenario{
		{"captured in both modes", 1, simulator.Config{}, captured},
		{"rejected", 1, simulator.Config{Script: simulator.Script{Payers: []simulator.Payer{
			{Token: "poor", Balance: "1"}, {Token: "gone", State: "cancelled"}, {Token: "declined", Decline: "cc_rejected_other_reason"},
		}}}, rejected},
		{"replayed key", 1, simulator.Config{Script: simulator.Script{Rules: []simulator.Rule{
			{Match: simulator.Match{Key: "e1", ToTry: 1}, Action: simulator.ActionDrop, Charge: true},
		}}}, replayedKey},
		{"invalid events are parked", 1, simulator.Config{}, invalidEvents},
		{"other types and accounts are skipped", 2, simulator.Config{}, skipped},
		{"two events of one order stay in order", 3, simulator.Config{Latency: 50 * time.Millisecond}, keyOrder},
		{"a slow capture delays only its own order", 1, simulator.Config{Script: simulator.Script{Rules: []simulator.Rule{
			{Match: simulator.Match{Key: "slow"}, Action: simulator.ActionUsual, Delay: simulator.Duration(3 * time.Second)},
		}}}, slowCapture},
		{"many orders at once", 3, slow, manyOrders},
		{"faults of the API", 3, faultyAPI(), faults},
		{"undecided events are looked up", 1, simulator.Config{}, undecided},
		{"undecided events that cannot be found are parked", 1, simulator.Config{}, undecidedNotFound},
		{"old events are not charged", 1, simulator.Config{}, oldEvents},
		{"a refused token halts the service until the token is replaced", 1, simulator.Config{}, refusedToken},
		{"refused payers in a row halt the service", 3, simulator.Config{}, refusedPayers},
		{"invalid events in a row are held", 1, simulator.Config{}, invalidRun},
		{"a valid event after any number of invalid ones ends the hold", 1, simulator.Config{}, validBehindManyInvalid},
		{"holds of invalid events survive restarts", 3, simulator.Config{}, holdsOutliveRestarts},
		{"a hold of invalid events expires", 1, simulator.Config{}, holdExpires},
		{"a wrong CURRENCY holds the orders", 1, simulator.Config{}, wrongCurrency},
		{"orders in another currency are held", 1, simulator.Config{}, otherCurrency},
		{"orders with a reference that was captured are held", 1, simulator.Config{}, capturedReference},
		{"orders in local time with Z are held", 1, simulator.Config{}, localTimeWithZ},
		{"invalid events that were parked before are not held", 1, simulator.Config{}, parkedBefore},
		{"events for another account do not end a hold of invalid events", 1, simulator.Config{}, invalidAmongOthers},
		{"skipped records are counted by type and account", 1, simulator.Config{}, unknownTypesAreNamed},
		{"the status names the event that has waited longest", 1, simulator.Config{}, longestWaiting},
		{"the metrics show what is left to do", 1, simulator.Config{}, workIsMeasured},
		{"verify decodes a parked event of unknown age as the service did", 1, simulator.Config{}, agelessEvents},
		{"replayed outcomes are suppressed", 2, simulator.Config{}, suppressed},
		{"two different events have one id", 2, simulator.Config{}, conflicting},
		{"a reference is captured once", 2, simulator.Config{}, oncePerReference},
		{"an order that is published under a second id is parked and released", 2, simulator.Config{}, republished},
		{"a reference is charged again for another payment", 2, declining(), repetitions},
		{"a parked event is resent", 1, simulator.Config{}, resent},
		{"an event parked without a call is captured once it is corrected", 3, simulator.Config{}, corrected},
		{"a conflicting event is parked with both values of each difference", 2, simulator.Config{Script: simulator.Script{
			Payers: []simulator.Payer{{Token: "poor", Balance: "1"}},
		}}, conflictsNamed},
		{"an event slightly ahead waits for its time", 1, simulator.Config{}, slightlyAhead},
		{"an event slightly ahead is parked if events may not wait", 1, simulator.Config{}, noWaiting},
		{"many events ahead of their time do not delay others", 1, simulator.Config{}, manyWaiting},
		{"events of a producer whose clock is an hour ahead wait", 1, simulator.Config{}, hourAhead},
		{"more events ahead of their time than may wait are held", 1, simulator.Config{}, crowdedIsHeld},
		{"a correction replaces an event that waits for its time", 1, simulator.Config{}, correctedWhileWaiting},
		{"many events behind one that is ahead do not delay others", 1, simulator.Config{}, manyBehindWaiting},
		{"an event that is ahead delays only its own order", 1, simulator.Config{}, sharedKey},
		{"hostile records are parked", 1, simulator.Config{}, hostileInput},
		{"an instance whose disk cannot be written at the start waits", 1, simulator.Config{}, badDiskAtStart},
		{"two processes with one identity and directory", 1, simulator.Config{}, sharedDirectory},
		{"an emptied token file is logged and the last token stays in use", 1, simulator.Config{}, tokenFileUnreadable(emptied)},
		{"a removed token file is logged and the last token stays in use", 1, simulator.Config{}, tokenFileUnreadable(os.Remove)},
		{"a directory in place of the token file is logged", 1, simulator.Config{}, tokenFileUnreadable(replacedByDirectory)},
		{"a disk that fills while the service runs", 1, simulator.Config{}, fullDiskWhileRunning},
		{"a replay does what its plan says", 1, declining(), planAgrees},
		{"a replay once per reference does what its plan says", 1, declining(), planAgreesOncePerReference},
		{"a replay once per payment does what its plan says", 1, declining(), planAgreesOncePerPayment},
	}, possibleOrderScenarios(), refusalScenarios())
}

func runAll(t *testing.T, scenarios []scenario, in func(t *testing.T, s scenario)) {
	t.Helper()
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) { in(t, s) })
	}
}

func numbered(n int, change func(i int, o *order)) []order {
	orders := make([]order, n)
	for i := range orders {
		orders[i] = order{id: fmt.Sprintf("e%d", i), order: fmt.Sprintf("o%d", i)}
		if change != nil {
			change(i, &orders[i])
		}
	}
	return orders
}

func (w *world) want(vs []decision, kinds map[string]int) {
	w.t.Helper()
	got := make(map[string]int)
	for _, v := range vs {
		got[strings.TrimSpace(v.kind+" "+v.reason)]++
	}
	for k, n := range kinds {
		if got[k] != n {
			w.t.Errorf("%d decisions are %q, want %d; all: %v", got[k], k, n, got)
		}
		delete(got, k)
	}
	if len(got) > 0 {
		w.t.Errorf("unexpected decisions: %v", got)
	}
}

func captured(w *world) {
	w.start("a")
	w.send(order{id: "e1"}, order{id: "e2", binary: true})
	for _, v := range w.awaitDecisions() {
		if v.kind != "captured" || v.key != "order-"+v.event || v.data["amount"] != "700.50" {
			w.t.Errorf("got %s", summary([]decision{v}))
		}
		if v.outcomeID != event.OutcomeID(v.event, event.TypeCaptured).String() {
			w.t.Errorf("outcome id %s of event %s", v.outcomeID, v.event)
		}
	}
}

func rejected(w *world) {
	w.start("a")
	w.send(order{id: "e1", token: "poor"}, order{id: "e2", token: "gone"}, order{id: "e3", token: "declined"}, order{id: "e4"})
	w.want(w.awaitDecisions(), map[string]int{
		"rejected insufficient_money": 1, "rejected invalid_payer_token": 1, "rejected cc_rejected_other_reason": 1, "captured": 1,
	})
}

// replayedKey loses the answer to a charge: the API replays it for the second call. A
// copy of the event is replayed from the ledger.
func replayedKey(w *world) {
	w.start("a")
	at := time.Now()
	w.send(order{id: "e1", time: at}, order{id: "e1", time: at})
	vs := w.awaitDecisions()
	w.want(vs, map[string]int{"captured": 2})
	for _, v := range vs {
		if v.data["provider_replayed"] != true {
			w.t.Errorf("not marked as replayed by the provider: %v", v.data)
		}
	}
	w.checkReplays(vs, 2)
	if charges := w.sim.Charges(); charges.Calls != 2 || len(charges.List) != 1 {
		w.t.Errorf("%d calls and %d charges, want 2 and 1", charges.Calls, len(charges.List))
	}
}

func invalidEvents(w *world) {
	w.start("a")
	w.send(
		order{id: "e1", amount: "700.505"}, order{id: "e2", amount: "-1"}, order{id: "e3", currency: "USD"},
		order{id: "e4", currency: "BRL"}, order{id: "e5"},
		order{raw: "this is no JSON", order: "o6"},
	)
	vs := w.awaitDecisions()
	w.want(vs, map[string]int{"parked invalid_event": 4, "parked wrong_currency": 1, "captured": 1})
	for _, v := range vs {
		if v.kind == "parked" && (headerOf(v.record, "parked_detail") == "" || headerOf(v.record, "parked_topic") != w.topics.input ||
			strings.Contains(headerOf(v.record, "parked_detail"), payerToken)) {
			w.t.Errorf("parked record's headers: %v", v.record.Headers)
		}
	}
	if calls := w.sim.Charges().Calls; calls != 1 {
		w.t.Errorf("%d API calls, want 1", calls)
	}
}

// skipped sends only records that the service skips. Their offsets are committed too.
func skipped(w *world) {
	w.start("a")
	w.send(numbered(50, func(i int, o *order) {
		o.skipped = true
		if i%2 == 0 {
			o.kind = "order.shipped"
		} else {
			o.account = "another"
		}
	})...)
	if vs := w.awaitDecisions(); len(vs) != 0 {
		w.t.Errorf("decisions: %s", summary(vs))
	}
	w.send(order{id: "mine", account: "main"})
	w.want(w.awaitDecisions(), map[string]int{"captured": 1})
}

func keyOrder(w *world) {
	w.start("a", oncePerEvent)
	w.send(numbered(120, func(i int, o *order) { o.order = fmt.Sprintf("o%d", i%12) })...)
	w.want(w.awaitDecisions(), map[string]int{"captured": 120})
	for reference, keys := range w.sim.Charges().KeysByReference {
		last := -1
		for _, key := range keys {
			var n int
			if _, err := fmt.Sscanf(key, "e%d", &n); err != nil {
				w.t.Fatal(err)
			}
			if n <= last {
				w.t.Errorf("order %s was captured in the order %v", reference, keys)
				break
			}
			last = n
		}
	}
}

// slowCapture has one slow capture among many. The others overtake it; the next one of
// its order waits.
func slowCapture(w *world) {
	w.start("a")
	orders := append([]order{{id: "slow", order: "o-slow"}, {id: "after", order: "o-slow"}}, numbered(300, nil)...)
	w.send(orders...)
	w.eventually("the others are captured before the slow one", func() bool { return w.sim.Charges().Calls >= 301 })
	charges := w.sim.Charges()
	if len(charges.KeysByReference["o-slow"]) != 1 {
		w.t.Errorf("calls of the slow order before it is done: %v", charges.KeysByReference["o-slow"])
	}
	w.awaitDecisions()
}

func manyOrders(w *world) {
	w.send(numbered(500, func(i int, o *order) { o.order = fmt.Sprintf("o%d", i%350) })...)
	w.start("a")
	w.awaitDecisions()
	if most := w.sim.Charges().MaxConcurrent; most < 32 {
		w.t.Errorf("at most %d captures were in flight; 64 were allowed", most)
	}
}

// faultyAPI fails in every way, with and without a charge.
func faultyAPI() simulator.Config {
	rule := func(key string, r simulator.Rule) simulator.Rule {
		r.Match = simulator.Match{Key: key, ToTry: 1}
		return r
	}
	return simulator.Config{Latency: 5 * time.Millisecond, Script: simulator.Script{Rules: []simulator.Rule{
		rule("e0", simulator.Rule{Action: simulator.ActionDrop, Charge: true}),
		rule("e1", simulator.Rule{Action: simulator.ActionDrop}),
		rule("e2", simulator.Rule{Action: simulator.ActionHang, Charge: true}),
		rule("e3", simulator.Rule{Action: simulator.ActionHang}),
		rule("e4", simulator.Rule{Action: simulator.ActionError, Status: 500, Charge: true}),
		rule("e5", simulator.Rule{Action: simulator.ActionError, Status: 503}),
		rule("e6", simulator.Rule{Action: simulator.ActionTruncated}),
		rule("e7", simulator.Rule{Action: simulator.ActionHTML, Charge: true}),
		rule("e8", simulator.Rule{Action: simulator.ActionTooManyRequests, RetryAfter: new(2)}),
		rule("e9", simulator.Rule{Action: simulator.ActionBusy, Charge: true}),
		rule("e10", simulator.Rule{Action: simulator.ActionLocked}),
		rule("e11", simulator.Rule{Action: simulator.ActionSlowBody, Delay: simulator.Duration(time.Second)}),
		rule("e12", simulator.Rule{Action: simulator.ActionKeyUsed}),
	}}}
}

func faults(w *world) {
	w.start("a")
	w.send(numbered(20, nil)...)
	w.want(w.awaitDecisions(), map[string]int{"captured": 19, "parked idempotency_key_used": 1})
}

func undecided(w *world) {
	if err := w.sim.Apply(simulator.Script{Rules: []simulator.Rule{
		{Match: simulator.Match{Key: "e0"}, Action: simulator.ActionError, Status: 500, Charge: true},
		{Match: simulator.Match{Key: "e1"}, Action: simulator.ActionError, Status: 503},
		{Match: simulator.Match{Key: "e2", ToTry: 1}, Action: simulator.ActionDrop, Charge: true},
		{Match: simulator.Match{Key: "e2"}, Action: simulator.ActionInvalidPayerToken},
	}}); err != nil {
		w.t.Fatal(err)
	}
	w.start("a", func(c *config.Config) { c.CaptureMaxTries = 4 })
	w.send(numbered(4, nil)...)
	vs := w.awaitDecisions()
	// A lookup finds the charged events; the others are parked.
	w.want(vs, map[string]int{"captured": 3, "parked undecided": 1})
	for _, v := range vs {
		if v.kind == "parked" && !strings.Contains(headerOf(v.record, "parked_detail"), "no payment was found") {
			w.t.Errorf("parked: %s", headerOf(v.record, "parked_detail"))
		}
	}
}

// undecidedNotFound has an API whose search does not find wallet payments, so that
// undecided events are parked.
func undecidedNotFound(w *world) {
	if err := w.sim.Apply(simulator.Script{Rules: []simulator.Rule{
		{Match: simulator.Match{Key: "e0"}, Action: simulator.ActionError, Status: 500, Charge: true},
		{Match: simulator.Match{Key: "e1", ToTry: 1}, Action: simulator.ActionDrop, Charge: true},
		{Match: simulator.Match{Key: "e1"}, Action: simulator.ActionInvalidPayerToken},
	}, Switches: simulator.Switches{SearchBy: "none"}}); err != nil {
		w.t.Fatal(err)
	}
	w.start("a", func(c *config.Config) { c.CaptureMaxTries = 4 })
	w.send(numbered(3, nil)...)
	w.want(w.awaitDecisions(), map[string]int{"parked undecided": 1, "parked error_after_unknown": 1, "captured": 1})
}

func joinAndLeave(w *world) {
	first := w.start("a")
	w.send(numbered(250, nil)...)
	w.eventually("some are captured", func() bool { return w.sim.Charges().Calls > 50 })
	second := w.start("b")
	w.eventually("the second instance has partitions", func() bool { return second.service.Partitions(w.t.Context()) > 0 })
	w.send(numbered(250, func(i int, o *order) { o.id, o.order = fmt.Sprintf("f%d", i), fmt.Sprintf("p%d", i) })...)
	w.eventually("more are captured", func() bool { return w.sim.Charges().Calls > 300 })
	first.stop()
	w.awaitDecisions()
	for key, calls := range w.sim.Charges().CallsByKey {
		if calls > 1 {
			w.t.Errorf("%[2]d calls for event %[1]s, want 1", key, calls)
		}
	}
}

func instanceDies(w *world) {
	first := w.start("a")
	w.start("b")
	w.send(numbered(400, nil)...)
	w.eventually("some are captured", func() bool { return w.sim.Charges().Calls > 100 })
	first.crash()
	w.awaitDecisions()
}

// deathDuringStuckCapture crashes an instance while one capture is stuck and hundreds
// behind it are completed. The map of completed offsets in the commit metadata keeps the
// next owner from repeating them.
func deathDuringStuckCapture(w *world) {
	first := w.start("a", func(c *config.Config) { c.MercadoPagoTimeout = 10 * time.Minute })
	w.send(append([]order{{id: "stuck"}}, numbered(300, nil)...)...)
	w.eventually("all other events are decided", func() bool { return len(w.decisions()) == 300 })
	first.crash()
	w.start("a")
	w.want(w.awaitDecisions(), map[string]int{"captured": 301})
	for key, calls := range w.sim.Charges().CallsByKey {
		if calls > 1 && key != "stuck" {
			w.t.Errorf("%[2]d calls for event %[1]s although it was completed", key, calls)
		}
	}
}

// gracefulStop stops an instance during captures. It finishes them, and the next
// instance repeats none.
func gracefulStop(w *world) {
	first := w.start("a")
	w.send(numbered(40, nil)...)
	w.eventually("the captures are in flight", func() bool { return w.sim.Charges().Calls >= 40 })
	first.stop()
	// The broker may still be writing the markers of the last transaction.
	w.eventually("all events are decided after the stop", func() bool { return len(w.decisions()) == 40 })
	w.start("a")
	w.awaitDecisions()
	if calls := w.sim.Charges().Calls; calls != 40 {
		w.t.Errorf("%d API calls, want 40", calls)
	}
}

func oldEvents(w *world) {
	w.send(numbered(30, func(_ int, o *order) { o.time = time.Now().Add(-25 * time.Hour) })...)
	w.send(order{id: "young"}, order{id: "future", time: time.Now().Add(2 * time.Hour)})
	w.start("a")
	w.want(w.awaitDecisions(), map[string]int{"parked too_old": 30, "parked time_in_future": 1, "captured": 1})
}

func abortedInput(w *world) {
	producer := w.newClient(kgo.TransactionalID(w.name + ".orders"))
	produce := func(end kgo.TransactionEndTry, orders ...order) {
		if err := producer.BeginTransaction(); err != nil {
			w.t.Fatal(err)
		}
		var records []*kgo.Record
		for _, o := range orders {
			records = append(records, w.record(o))
		}
		if err := producer.ProduceSync(w.t.Context(), records...).FirstErr(); err != nil {
			w.t.Fatal(err)
		}
		if err := producer.EndTransaction(w.t.Context(), end); err != nil {
			w.t.Fatal(err)
		}
	}
	w.start("a")
	produce(kgo.TryCommit, order{id: "said"})
	produce(kgo.TryAbort, order{id: "unsaid1", skipped: true}, order{id: "unsaid2", skipped: true})
	w.want(w.awaitDecisions(), map[string]int{"captured": 1})
	if calls := w.sim.Charges().Calls; calls != 1 {
		w.t.Errorf("%d API calls, want 1", calls)
	}
}

func startAt(w *world) {
	w.send(order{id: "before", skipped: true})
	refused := w.start("a", func(c *config.Config) { c.KafkaStartAt = "" })
	if err := refused.wait(); !errors.Is(err, kafka.ErrNoStart) {
		w.t.Fatalf("without KAFKA_START_AT the service ended with %v", err)
	}
	first := w.start("a", func(c *config.Config) { c.KafkaStartAt = "latest" })
	w.eventually("the partition is assigned", func() bool { return first.service.Partitions(w.t.Context()) == 1 })
	w.send(order{id: "after"})
	w.want(w.awaitDecisions(), map[string]int{"captured": 1})
	first.stop()
	w.start("a", func(c *config.Config) { c.KafkaStartAt = "" })
	w.send(order{id: "later"})
	w.want(w.awaitDecisions(), map[string]int{"captured": 2})
}

// refusedToken starts with an expired access token. Nothing is rejected or parked
// because of it, and the service recovers without a restart once the token file is
// rewritten.
func refusedToken(w *world) {
	file := filepath.Join(w.t.TempDir(), "token")
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	write("an-expired-token")
	in := w.start("a", func(c *config.Config) {
		c.MercadoPagoAccessToken, c.MercadoPagoAccessTokenFile = secret.Text{}, file
	})
	w.send(numbered(20, nil)...)
	status := func() app.Status { return in.service.Status(w.t.Context()) }
	w.eventually("the service is halted because of the credential", func() bool {
		s := status()
		return s.API.State == "halted" && s.API.Cause == "credential" && strings.Contains(s.API.Reason, "MERCADOPAGO_ACCESS_TOKEN")
	})
	// The number of calls before the first refusal varies. Once none is in flight, only
	// a probe can add one.
	w.eventually("the calls in flight are over", func() bool { s := status(); return s.API.State == "halted" && s.API.Calls == 0 })
	before := w.sim.Charges().Calls
	w.eventually("a probe was refused too", func() bool { return w.sim.Charges().Calls > before })
	if vs := w.decisions(); len(vs) != 0 {
		w.t.Errorf("decisions: %s", summary(vs))
	}
	write(accessToken)
	w.want(w.awaitDecisions(), map[string]int{"captured": 20})
	if s := status(); s.API.State != "passing" || s.Pipeline.InFlight != 0 {
		w.t.Errorf("afterwards: %+v", s)
	}
}

// outOfRange deletes unread records. Their partition halts, and the other one continues.
func outOfRange(w *world) {
	first := w.start("a")
	w.choosePartitions()
	w.send(order{id: "e1", partition: 1}, order{id: "e2", partition: 2})
	w.awaitDecisions()
	first.stop()
	w.send(order{id: "lost1", partition: 1, skipped: true}, order{id: "lost2", partition: 1, skipped: true},
		order{id: "kept", partition: 1, skipped: true})
	w.deleteRecords(0, 3)
	second := w.start("a")
	w.eventually("the partition is halted and the lost range is named", func() bool {
		return strings.Contains(second.service.HaltedPartitions(w.t.Context())[0], "offsets 1 to 2 were deleted")
	})
	w.send(order{id: "e3", partition: 2})
	w.eventually("the other partition continues", func() bool { return len(w.decisions()) == 3 })
	w.check(w.decisions())
}

// offsetsReset replays the topic within the key retention: every outcome is published
// again, and no order is charged again.
func offsetsReset(w *world) {
	first := w.start("a")
	w.send(numbered(40, nil)...)
	w.awaitDecisions()
	first.stop()
	w.resetOffsets()
	w.sent = append(w.sent, w.sent...)
	w.start("a")
	w.want(w.awaitDecisions(), map[string]int{"captured": 80})
	if charges := len(w.sim.Charges().List); charges != 40 {
		w.t.Errorf("%d charges, want 40", charges)
	}
}
