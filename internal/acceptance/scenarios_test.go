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

// scenario is one thing that users do, or that happens to them.
type scenario struct {
	name       string
	partitions int32
	sim        simulator.Config
	run        func(w *world)
}

func scenarios() []scenario {
	slow := simulator.Config{Latency: 20 * time.Millisecond}
	return append([]scenario{
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
		{"a slow capture holds back its own key only", 1, simulator.Config{Script: simulator.Script{Rules: []simulator.Rule{
			{Match: simulator.Match{Key: "slow"}, Action: simulator.ActionUsual, Delay: simulator.Duration(3 * time.Second)},
		}}}, slowCapture},
		{"many orders at once", 3, slow, manyOrders},
		{"faults of the API", 3, faultyAPI(), faults},
		{"undecided events are looked up", 1, simulator.Config{}, undecided},
		{"undecided events that cannot be found are parked", 1, simulator.Config{}, undecidedForGood},
		{"instances join and leave", 3, slow, joinAndLeave},
		{"an instance dies", 3, slow, instanceDies},
		{"a death above a stuck capture", 1, simulator.Config{Script: simulator.Script{Rules: []simulator.Rule{
			{Match: simulator.Match{Key: "stuck", ToTry: 1}, Action: simulator.ActionHang},
		}}}, stuckAndDead},
		{"a stop finishes what is under way", 1, simulator.Config{Latency: 500 * time.Millisecond}, gracefulStop},
		{"old events are not charged", 1, simulator.Config{}, oldEvents},
		{"aborted input is not charged", 1, simulator.Config{}, abortedInput},
		{"a new group needs to be told where to start", 1, simulator.Config{}, startAt},
		{"a refused token halts and its mending heals", 1, simulator.Config{}, refusedToken},
		{"a run of refused payers halts", 3, simulator.Config{}, refusedPayers},
		{"a run of invalid events is held", 1, simulator.Config{}, invalidRun},
		{"a valid event behind any number of invalid ones ends their hold", 1, simulator.Config{}, validBehindManyInvalid},
		{"holds of invalid events outlive restarts", 3, simulator.Config{}, holdsOutliveRestarts},
		{"a hold of invalid events expires", 1, simulator.Config{}, holdExpires},
		{"a wrong CURRENCY parks no topic", 1, simulator.Config{}, wrongCurrency},
		{"orders in another currency are held", 1, simulator.Config{}, otherCurrency},
		{"orders in local time with Z are held", 1, simulator.Config{}, localTimeWithZ},
		{"invalid events that are parked already are not held", 1, simulator.Config{}, runsKnownToTheLedger},
		{"events for another account end no hold of invalid events", 1, simulator.Config{}, invalidAmongOthers},
		{"skipped records are named by type and account", 1, simulator.Config{}, unknownTypesAreNamed},
		{"the status names what waits longest", 1, simulator.Config{}, longestWaiting},
		{"a partition whose records were deleted halts", 2, simulator.Config{}, outOfRange},
		{"verify names the orders that a foreign offset skipped", 3, simulator.Config{}, foreignOffsetSkips},
		{"verify decodes a parked event of unknown age as the service did", 1, simulator.Config{}, agelessEvents},
		{"verify proves nothing without offsets or a ledger", 1, simulator.Config{}, offsetsExpired},
		{"the offsets are reset to zero", 2, simulator.Config{}, offsetsReset},
		{"everything comes again and the API has forgotten", 6, simulator.Config{}, everythingAgain},
		{"replayed outcomes are suppressed", 2, simulator.Config{}, suppressed},
		{"an event id is used for something else", 2, simulator.Config{}, conflicting},
		{"a reference is captured once", 2, simulator.Config{}, oncePerReference},
		{"the ledger is made anew before the first commit of a partition", 2, simulator.Config{}, ledgerAnewBeforeACommit},
		{"the ledger is made anew while stopped", 2, simulator.Config{}, ledgerAnewWhileStopped},
		{"the ledger is made anew while running", 2, simulator.Config{}, ledgerAnewWhileRunning},
		{"a parked event is sent again", 1, simulator.Config{}, resent},
		{"an event parked without a call is captured once it is corrected", 3, simulator.Config{}, corrected},
		{"a conflicting event is parked with both values of what differs", 2, simulator.Config{Script: simulator.Script{
			Payers: []simulator.Payer{{Token: "poor", Balance: "1"}},
		}}, conflictsNamed},
		{"an event slightly ahead waits for its time", 1, simulator.Config{}, slightlyAhead},
		{"an event slightly ahead is parked if none may wait", 1, simulator.Config{}, noneWaits},
		{"a crowd of events that are ahead holds up nobody", 1, simulator.Config{}, crowdOfWaiting},
		{"a crowd behind an event that is ahead holds up nobody", 1, simulator.Config{}, crowdBehindWaiting},
		{"an event that is ahead holds up its order alone", 1, simulator.Config{}, sharedKey},
		{"hostile records are parked", 1, simulator.Config{}, hostileInput},
		{"a rolling restart", 6, restless(), rollingRestartDynamic},
		{"a rolling restart of static members", 6, restless(), rollingRestartStatic},
		{"slow calls under way at a hand-over", 2, slowAnswers(4 * time.Second), slowHandOver},
		{"a zombie whose connections were cut", 2, slowAnswers(20 * time.Second), zombieCut},
		{"a zombie whose packets were lost", 2, slowAnswers(20 * time.Second), zombieSilent},
		{"an outcome topic is missing at the start", 1, slow, outcomeTopicMissing},
		{"an outcome topic is deleted", 1, goneBuyer(), outcomeTopicDeleted},
		{"the input is made anew while stopped", 3, slow, inputAnewWhileStopped},
		{"the input is made anew while running", 3, slow, inputAnewWhileRunning},
		{"a record too large to park", 1, slow, recordTooLargeToPark},
		{"an outcome too large for its topic", 1, slow, outcomeTooLarge},
		{"a transaction times out", 2, slow, transactionTimesOut},
		{"ends of transactions are not answered", 2, slow, endsUnanswered},
		{"ends of transactions are not answered for long", 2, slow, endsUnansweredForLong},
		{"offsets expired and KAFKA_START_AT is latest", 2, simulator.Config{}, expiredOffsets},
		{"offsets moved past events by others are held and reset", 2, simulator.Config{}, skippedAndReset},
		{"offsets moved past events by others are held and accepted", 2, simulator.Config{}, skippedAndAccepted},
		{"offsets moved by others are checked for long", 2, simulator.Config{}, checkTakesLong},
		{"offsets reset to the middle", 1, simulator.Config{}, resetToTheMiddle},
		{"a group begins where an operator says", 2, simulator.Config{}, startedByAnOperator},
		{"a consumer of another program joins the group", 6, slow, strangerJoins},
		{"a consumer of another program is in the group first", 3, slow, strangerIsFirst},
		{"offsets committed without topic ids", 3, slow, zeroTopicIDs},
		{"offsets committed for another topic", 2, slow, otherTopicID},
		{"an instance whose disk is full at the start waits for room", 1, simulator.Config{}, fullDiskAtStart},
		{"a token file that is emptied is logged while the last token stays in use", 1, simulator.Config{}, tokenFileEmptied},
		{"a replay does what its plan says", 1, declining(), planAgrees},
		{"a replay once per reference does what its plan says", 1, declining(), planAgreesOncePerReference},
	}, commitScenarios()...)
}

func runAll(t *testing.T, in func(t *testing.T, s scenario)) {
	t.Helper()
	for _, s := range slices.Concat(scenarios(), mayOrderScenarios(), refusalScenarios()) {
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

func (w *world) want(vs []verdict, kinds map[string]int) {
	w.t.Helper()
	got := make(map[string]int)
	for _, v := range vs {
		got[strings.TrimSpace(v.kind+" "+v.reason)]++
	}
	for k, n := range kinds {
		if got[k] != n {
			w.t.Errorf("%d verdicts are %q, want %d; all: %v", got[k], k, n, got)
		}
		delete(got, k)
	}
	if len(got) > 0 {
		w.t.Errorf("verdicts that were not wanted: %v", got)
	}
}

func captured(w *world) {
	w.start("a")
	w.send(order{id: "e1"}, order{id: "e2", binary: true})
	for _, v := range w.settle() {
		if v.kind != "captured" || v.key != "order-"+v.event || v.data["amount"] != "700.50" {
			w.t.Errorf("got %s", summary([]verdict{v}))
		}
		if v.outcomeID != event.OutcomeID(v.event, event.TypeCaptured).String() {
			w.t.Errorf("outcome id %s of event %s", v.outcomeID, v.event)
		}
	}
}

func rejected(w *world) {
	w.start("a")
	w.send(order{id: "e1", token: "poor"}, order{id: "e2", token: "gone"}, order{id: "e3", token: "declined"}, order{id: "e4"})
	w.want(w.settle(), map[string]int{
		"rejected insufficient_money": 1, "rejected invalid_payer_token": 1, "rejected cc_rejected_other_reason": 1, "captured": 1,
	})
}

// replayedKey has a charge whose answer is lost: the API answers the second try
// from its memory. The event then comes again, and is answered from the ledger.
func replayedKey(w *world) {
	w.start("a")
	at := time.Now()
	w.send(order{id: "e1", time: at}, order{id: "e1", time: at})
	vs := w.settle()
	w.want(vs, map[string]int{"captured": 2})
	for _, v := range vs {
		if v.data["provider_replayed"] != true {
			w.t.Errorf("not marked as answered by the provider from its memory: %v", v.data)
		}
	}
	w.checkReplays(vs, 2)
	if ledger := w.sim.Ledger(); ledger.Calls != 2 || len(ledger.Charges) != 1 {
		w.t.Errorf("%d calls and %d charges, want 2 and 1", ledger.Calls, len(ledger.Charges))
	}
}

func invalidEvents(w *world) {
	w.start("a")
	w.send(
		order{id: "e1", amount: "700.505"}, order{id: "e2", amount: "-1"}, order{id: "e3", currency: "USD"},
		order{id: "e4", currency: "BRL"}, order{id: "e5"},
		order{raw: "this is no JSON", order: "o6"},
	)
	vs := w.settle()
	w.want(vs, map[string]int{"parked invalid_event": 4, "parked wrong_currency": 1, "captured": 1})
	for _, v := range vs {
		if v.kind == "parked" && (headerOf(v.record, "parked_detail") == "" || headerOf(v.record, "parked_topic") != w.topics.input ||
			strings.Contains(headerOf(v.record, "parked_detail"), payerToken)) {
			w.t.Errorf("parked record's headers: %v", v.record.Headers)
		}
	}
	if calls := w.sim.Ledger().Calls; calls != 1 {
		w.t.Errorf("%d API calls, want 1", calls)
	}
}

// skipped has a partition with nothing for us: its offset moves all the same.
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
	if vs := w.settle(); len(vs) != 0 {
		w.t.Errorf("verdicts: %s", summary(vs))
	}
	w.send(order{id: "mine", account: "main"})
	w.want(w.settle(), map[string]int{"captured": 1})
}

func keyOrder(w *world) {
	w.start("a")
	w.send(numbered(120, func(i int, o *order) { o.order = fmt.Sprintf("o%d", i%12) })...)
	w.want(w.settle(), map[string]int{"captured": 120})
	for reference, keys := range w.sim.Ledger().KeysByReference {
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

// slowCapture has one slow capture among many: the others overtake it, and it
// holds back the next of its own order.
func slowCapture(w *world) {
	w.start("a")
	orders := append([]order{{id: "slow", order: "o-slow"}, {id: "after", order: "o-slow"}}, numbered(300, nil)...)
	w.send(orders...)
	w.eventually("the others are captured before the slow one", func() bool { return w.sim.Ledger().Calls >= 301 })
	ledger := w.sim.Ledger()
	if len(ledger.KeysByReference["o-slow"]) != 1 {
		w.t.Errorf("calls of the slow order before it is done: %v", ledger.KeysByReference["o-slow"])
	}
	w.settle()
}

func manyOrders(w *world) {
	w.send(numbered(500, func(i int, o *order) { o.order = fmt.Sprintf("o%d", i%350) })...)
	w.start("a")
	w.settle()
	if most := w.sim.Ledger().MaxConcurrent; most < 32 {
		w.t.Errorf("at most %d captures were under way at once; 64 were allowed", most)
	}
}

// faultyAPI fails in every way, with and without having charged.
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
	w.want(w.settle(), map[string]int{"captured": 19, "parked idempotency_key_used": 1})
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
	vs := w.settle()
	// What was taken is found by searching; what was not is parked.
	w.want(vs, map[string]int{"captured": 3, "parked undecided": 1})
	for _, v := range vs {
		if v.kind == "parked" && !strings.Contains(headerOf(v.record, "parked_detail"), "no payment was found") {
			w.t.Errorf("parked: %s", headerOf(v.record, "parked_detail"))
		}
	}
}

// undecidedForGood is the same where the API's search does not find wallet
// payments: a person has to look.
func undecidedForGood(w *world) {
	if err := w.sim.Apply(simulator.Script{Rules: []simulator.Rule{
		{Match: simulator.Match{Key: "e0"}, Action: simulator.ActionError, Status: 500, Charge: true},
		{Match: simulator.Match{Key: "e1", ToTry: 1}, Action: simulator.ActionDrop, Charge: true},
		{Match: simulator.Match{Key: "e1"}, Action: simulator.ActionInvalidPayerToken},
	}, Switches: simulator.Switches{SearchBy: "none"}}); err != nil {
		w.t.Fatal(err)
	}
	w.start("a", func(c *config.Config) { c.CaptureMaxTries = 4 })
	w.send(numbered(3, nil)...)
	w.want(w.settle(), map[string]int{"parked undecided": 1, "parked error_after_unknown": 1, "captured": 1})
}

func joinAndLeave(w *world) {
	first := w.start("a")
	w.send(numbered(250, nil)...)
	w.eventually("some are captured", func() bool { return w.sim.Ledger().Calls > 50 })
	second := w.start("b")
	w.eventually("the second has partitions", func() bool { return second.service.Partitions(w.t.Context()) > 0 })
	w.send(numbered(250, func(i int, o *order) { o.id, o.order = fmt.Sprintf("f%d", i), fmt.Sprintf("p%d", i) })...)
	w.eventually("more are captured", func() bool { return w.sim.Ledger().Calls > 300 })
	first.stop()
	w.settle()
	for key, calls := range w.sim.Ledger().CallsByKey {
		if calls > 1 {
			w.t.Errorf("event %s was asked for %d times; nothing failed, so once was enough", key, calls)
		}
	}
}

func instanceDies(w *world) {
	first := w.start("a")
	w.start("b")
	w.send(numbered(400, nil)...)
	w.eventually("some are captured", func() bool { return w.sim.Ledger().Calls > 100 })
	first.crash()
	w.settle()
}

// stuckAndDead dies while one capture is stuck under hundreds of settled ones:
// the map in the commit's metadata keeps the next owner from asking for these
// again.
func stuckAndDead(w *world) {
	first := w.start("a", func(c *config.Config) { c.MercadoPagoTimeout = 10 * time.Minute })
	w.send(append([]order{{id: "stuck"}}, numbered(300, nil)...)...)
	w.eventually("all others have a verdict", func() bool { return len(w.verdicts()) == 300 })
	first.crash()
	w.start("a")
	w.want(w.settle(), map[string]int{"captured": 301})
	for key, calls := range w.sim.Ledger().CallsByKey {
		if calls > 1 && key != "stuck" {
			w.t.Errorf("event %s was asked for %d times although it was settled", key, calls)
		}
	}
}

// gracefulStop stops in the middle of captures: each is finished, and none is
// asked for twice by the next instance.
func gracefulStop(w *world) {
	first := w.start("a")
	w.send(numbered(40, nil)...)
	w.eventually("captures are under way", func() bool { return w.sim.Ledger().Calls >= 40 })
	first.stop()
	// The broker may still be writing the markers of the last transaction.
	w.eventually("all have their verdicts after the stop", func() bool { return len(w.verdicts()) == 40 })
	w.start("a")
	w.settle()
	if calls := w.sim.Ledger().Calls; calls != 40 {
		w.t.Errorf("%d API calls, want 40", calls)
	}
}

func oldEvents(w *world) {
	w.send(numbered(30, func(_ int, o *order) { o.time = time.Now().Add(-25 * time.Hour) })...)
	w.send(order{id: "young"}, order{id: "future", time: time.Now().Add(2 * time.Hour)})
	w.start("a")
	w.want(w.settle(), map[string]int{"parked too_old": 30, "parked time_in_future": 1, "captured": 1})
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
	w.want(w.settle(), map[string]int{"captured": 1})
	if calls := w.sim.Ledger().Calls; calls != 1 {
		w.t.Errorf("%d API calls, want 1", calls)
	}
}

func startAt(w *world) {
	w.send(order{id: "before", skipped: true})
	refused := w.start("a", func(c *config.Config) { c.KafkaStartAt = "" })
	if err := refused.wait(); !errors.Is(err, kafka.ErrNoStart) {
		w.t.Fatalf("without a start the service ended with %v", err)
	}
	first := w.start("a", func(c *config.Config) { c.KafkaStartAt = "latest" })
	w.eventually("it has its partition", func() bool { return first.service.Partitions(w.t.Context()) == 1 })
	w.send(order{id: "after"})
	w.want(w.settle(), map[string]int{"captured": 1})
	first.stop()
	w.start("a", func(c *config.Config) { c.KafkaStartAt = "" })
	w.send(order{id: "later"})
	w.want(w.settle(), map[string]int{"captured": 2})
}

// refusedToken: nothing is rejected or parked for a credential of ours, and
// all goes on by itself, without a restart, once the token's file is rewritten.
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
	w.eventually("the service is halted, and says why", func() bool {
		s := status()
		return s.API.State == "halted" && s.API.Cause == "credential" && strings.Contains(s.API.Reason, "MERCADOPAGO_ACCESS_TOKEN")
	})
	// How many calls went out before the first was refused is the poll's doing;
	// once none is under way, only a probe can add one.
	w.eventually("the calls under way are over", func() bool { s := status(); return s.API.State == "halted" && s.API.Calls == 0 })
	before := w.sim.Ledger().Calls
	w.eventually("a probe was refused as well", func() bool { return w.sim.Ledger().Calls > before })
	if vs := w.verdicts(); len(vs) != 0 {
		w.t.Errorf("verdicts: %s", summary(vs))
	}
	write(accessToken)
	w.want(w.settle(), map[string]int{"captured": 20})
	if s := status(); s.API.State != "passing" || s.Pipeline.InFlight != 0 {
		w.t.Errorf("afterwards: %+v", s)
	}
}

// outOfRange deletes records that were not read yet. Their partition halts and
// the other goes on.
func outOfRange(w *world) {
	first := w.start("a")
	w.client = w.newClient(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	w.send(order{id: "e1", partition: 1}, order{id: "e2", partition: 2})
	w.settle()
	first.stop()
	w.send(order{id: "lost1", partition: 1, skipped: true}, order{id: "lost2", partition: 1, skipped: true}, order{id: "kept", partition: 1, skipped: true})
	w.deleteRecords(0, 3)
	second := w.start("a")
	w.eventually("the partition is halted, and its lost range named", func() bool {
		return strings.Contains(second.service.HaltedPartitions(w.t.Context())[0], "offsets 1 to 2 were deleted")
	})
	w.send(order{id: "e3", partition: 2})
	w.eventually("the other partition goes on", func() bool { return len(w.verdicts()) == 3 })
	w.check(w.verdicts())
}

// offsetsReset replays the topic within the API's memory: every outcome is
// produced again, the same, and nobody pays again.
func offsetsReset(w *world) {
	first := w.start("a")
	w.send(numbered(40, nil)...)
	w.settle()
	first.stop()
	w.resetOffsets()
	w.sent = append(w.sent, w.sent...)
	w.start("a")
	w.want(w.settle(), map[string]int{"captured": 80})
	if charges := len(w.sim.Ledger().Charges); charges != 40 {
		w.t.Errorf("%d charges, want 40", charges)
	}
}
