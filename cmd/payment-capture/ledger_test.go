package main

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/ledger/entry"
	"payment-capture/internal/money"
)

const ledgerTopic = "payment-capture.ledger"

// ledgerWorld is a broker in memory with a ledger's topic, and the variables
// for it.
type ledgerWorld struct {
	t      *testing.T
	client *kgo.Client
	tmp    string // the temporary directory of the commands
}

// newLedgerWorld starts it; further variables are given as NAME=value.
func newLedgerWorld(t *testing.T, variables ...string) *ledgerWorld {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	w := &ledgerWorld{t: t, tmp: t.TempDir()}
	w.client, err = kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.client.Close)
	setEnv(t, append([]string{"KAFKA_BROKERS=" + cluster.ListenAddrs()[0], "TMPDIR=" + w.tmp, "MERCADOPAGO_ACCOUNT=main", "CURRENCY=MXN"},
		variables...)...)
	return w
}

func (w *ledgerWorld) createTopic(policy string) {
	w.t.Helper()
	if _, err := kadm.NewClient(w.client).CreateTopic(w.t.Context(), 2, 1, map[string]*string{"cleanup.policy": &policy},
		ledgerTopic); err != nil {
		w.t.Fatal(err)
	}
}

func (w *ledgerWorld) write(partition int32, key, value []byte) {
	w.t.Helper()
	r := &kgo.Record{Topic: ledgerTopic, Partition: partition, Key: key, Value: value}
	if err := w.client.ProduceSync(w.t.Context(), r).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *ledgerWorld) attempted(partition int32, id string, ago time.Duration) {
	w.t.Helper()
	value := entry.EncodeAttempt(event.Attempt{
		First: time.Now().Add(-ago), Event: event.FingerprintOf([]byte("e")), Body: event.FingerprintOf([]byte("b")), Encoding: 1,
		Account: "main",
	})
	w.write(partition, entry.AttemptKey(id, "owner"), value)
}

func (w *ledgerWorld) decided(partition int32, id string, v event.Result) {
	w.t.Helper()
	value, err := entry.EncodeDecision(&event.Decision{Result: v, At: time.Now(), Attempt: event.Attempt{First: time.Now(), Account: "main"}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(partition, entry.DecisionKey(id), value)
	w.write(partition, entry.AttemptKey(id, "owner"), nil)
}

func outcomeOf(t *testing.T, eventType, id, amount string, currency money.Currency) event.Result {
	t.Helper()
	a, err := money.Parse(amount, currency)
	if err != nil {
		t.Fatal(err)
	}
	o := &event.Outcome{Type: eventType, EventID: id, OrderID: "order-" + id, ExternalReference: "order-" + id, Amount: a, Time: time.Now()}
	if eventType == event.TypeCaptured {
		o.PaymentID, o.CapturedAt = "10458724", time.Now()
	} else {
		o.Reason, o.Category, o.Retry = "cc_rejected_high_risk", event.CategoryFraud, event.RetryNever
	}
	return event.Result{Outcome: o}
}

// fill writes events of every kind, some with entries in both partitions.
func (w *ledgerWorld) fill() {
	w.t.Helper()
	w.createTopic("compact")
	w.attempted(0, "captured", time.Minute)
	w.attempted(1, "captured", 2*time.Minute)
	w.decided(0, "captured", outcomeOf(w.t, event.TypeCaptured, "captured", "700.50", "MXN"))
	w.decided(1, "clp", outcomeOf(w.t, event.TypeCaptured, "clp", "15000", "CLP"))
	w.decided(1, "rejected", outcomeOf(w.t, event.TypeRejected, "rejected", "1", "MXN"))
	w.decided(0, "parked", event.Result{ParkInfo: &event.ParkInfo{Reason: event.ParkUndecided, Detail: "nobody knows", Tries: 5}})
	w.attempted(1, "young", time.Minute)
	w.attempted(0, "aged", 2*time.Hour)
	w.attempted(0, "old", 48*time.Hour)
	w.attempted(0, "withdrawn", time.Minute)
	w.write(0, entry.AttemptKey("withdrawn", "owner"), nil)
}

// leavesNothing checks that the commands removed their stores.
func (w *ledgerWorld) leavesNothing() {
	w.t.Helper()
	left, err := os.ReadDir(w.tmp)
	if err != nil || len(left) > 0 {
		w.t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestLedgerGet(t *testing.T) {
	w := newLedgerWorld(t)
	w.fill()
	wants := map[string][]string{
		"captured": {
			`decision +captured\n`, `amount +700\.50 MXN\n`, `payment +10458724\n`, `order +order-captured\n`, `open attempt +no\n`,
			`payment.captured is published again`,
		},
		"rejected": {
			`decision +rejected\n`, `reason +cc_rejected_high_risk \(category fraud, retry never\)\n`,
			`payment.rejected is published again`,
		},
		"parked": {`decision +parked\n`, `reason +undecided\n`, `detail +nobody knows\n`, `tries +5\n`, `waits for an operator`},
		"young":  {`decision +undecided\n`, `open attempt +yes`, `account +main\n`, `called again under the same key`},
		"aged":   {`decision +undecided\n`, `looked up at the API first, because it was first attempted 2h`},
		"old":    {`decision +undecided\n`, `parked if that does not decide`, `IDEMPOTENCY_KEY_HORIZON \(24h0m0s\)`},
	}
	ids := slices.Sorted(maps.Keys(wants))
	var gets [][]string
	for _, id := range ids {
		gets = append(gets, []string{"ledger", "get", id})
	}
	for i, got := range commands(t, gets...) {
		id := ids[i]
		if got.code != exitOK || got.stderr != "" {
			t.Errorf("%s: got %+v", id, got)
		}
		for _, want := range wants[id] {
			if !regexp.MustCompile(want).MatchString(got.stdout) {
				t.Errorf("%s: no %q in\n%s", id, want, got.stdout)
			}
		}
	}
	w.leavesNothing()
}

func TestLedgerGetInJSON(t *testing.T) {
	w := newLedgerWorld(t, "REPLAYED_OUTCOMES=suppress")
	w.fill()
	got := command(t, "ledger", "get", "--json", "captured")
	var e struct {
		ID       string `json:"event_id"`
		Decision string `json:"decision"`
		Next     struct {
			Action string `json:"action"`
		} `json:"next"`
	}
	if err := json.Unmarshal([]byte(got.stdout), &e); err != nil || got.code != exitOK {
		t.Fatalf("%v: got %+v", err, got)
	}
	if e.ID != "captured" || e.Decision != "captured" || e.Next.Action != "republish" {
		t.Errorf("got %+v", e)
	}
}

func TestLedgerGetOfAnUnknownEvent(t *testing.T) {
	w := newLedgerWorld(t)
	w.fill()
	ids := []string{"nobody's", "withdrawn", "capture"}
	for i, got := range commands(t, []string{"ledger", "get", ids[0]}, []string{"ledger", "get", ids[1]}, []string{"ledger", "get", ids[2]}) {
		id := ids[i]
		if got.code != exitFailed || got.stdout != "" || !strings.Contains(got.stderr, "knows nothing of event") ||
			!strings.Contains(got.stderr, "over 168h ago (CAPTURE_MAX_EVENT_AGE)") {
			t.Errorf("%s: got %+v", id, got)
		}
	}
	got := command(t, "ledger", "get", "--json", "nobody's")
	if got.code != exitFailed || !strings.Contains(got.stdout, `"decision": "unknown"`) || strings.Count(got.stderr, "\n") != 1 {
		t.Errorf("in JSON: got %+v", got)
	}
}

func TestLedgerStats(t *testing.T) {
	w := newLedgerWorld(t)
	w.fill()
	got := command(t, "ledger", "stats")
	if got.code != exitOK || got.stderr != "" {
		t.Errorf("got %+v", got)
	}
	for _, want := range []string{
		`events +\| +7 `, `captured +\| +2 `, `rejected +\| +1 `, `parked +\| +1 `, `undecided +\| +3 `, `parked: undecided +\| +1 `,
		`up to 1h old +\| +1 `, `up to 24h old +\| +1 `, `older +\| +1 `, `captured, MXN +\| +700\.50 `, `captured, CLP +\| +15000 `,
	} {
		if !regexp.MustCompile(want).MatchString(got.stdout) {
			t.Errorf("no %q in\n%s", want, got.stdout)
		}
	}
	got = command(t, "ledger", "stats", "--json")
	var stats struct {
		Events    int64             `json:"events"`
		Decisions map[string]int64  `json:"decisions"`
		Sums      map[string]string `json:"captured_sums"`
	}
	if err := json.Unmarshal([]byte(got.stdout), &stats); err != nil || got.code != exitOK {
		t.Fatalf("%v: got %+v", err, got)
	}
	if stats.Events != 7 || stats.Decisions["undecided"] != 3 || stats.Sums["MXN"] != "700.50" {
		t.Errorf("got %+v", stats)
	}
	w.leavesNothing()
}

// TestLedgerCommandsLeaveLedgerDirAlone: the store of the running service is locked,
// and must not change.
func TestLedgerCommandsLeaveLedgerDirAlone(t *testing.T) {
	dir := t.TempDir()
	w := newLedgerWorld(t, "LEDGER_DIR="+dir)
	w.fill()
	if got := command(t, "ledger", "get", "captured"); got.code != exitOK {
		t.Errorf("got %+v", got)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("LEDGER_DIR holds %v, %v", left, err)
	}
}

// TestMissingLedgerTopic runs all commands that read the ledger at once, because each
// waits some seconds for a topic that might have been created just now.
func TestMissingLedgerTopic(t *testing.T) {
	w := newLedgerWorld(t)
	if _, err := kadm.NewClient(w.client).CreateTopics(t.Context(), 1, 1, nil, ourTopics()...); err != nil {
		t.Fatal(err)
	}
	readers := [][]string{{"ledger", "get", "captured"}, {"ledger", "stats"}, {"verify"}}
	for i, got := range commands(t, readers...) {
		if got.code != exitFailed || got.stdout != "" || !strings.Contains(got.stderr, ledgerTopic) {
			t.Errorf("%v: got %+v", readers[i], got)
		}
		if want := []string{"TOPIC_LEDGER", "TOPIC_LEDGER", "--no-ledger"}[i]; !strings.Contains(got.stderr, want) {
			t.Errorf("%v: no %q in\n%s", readers[i], want, got.stderr)
		}
	}
	w.leavesNothing()
}

func TestLedgerCommandsFail(t *testing.T) {
	for name, test := range map[string]struct {
		make func(*ledgerWorld)
		want []string
	}{
		"a topic that ages": {
			func(w *ledgerWorld) { w.createTopic("delete") },
			[]string{"TOPIC_LEDGER", "ledger_missing", "cleanup.policy=delete"},
		},
		"a foreign record": {func(w *ledgerWorld) {
			w.fill()
			w.write(1, []byte("foreign"), []byte("{}"))
		}, []string{"TOPIC_LEDGER", "ledger_unreadable", "partition 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newLedgerWorld(t)
			test.make(w)
			readers := [][]string{{"ledger", "get", "captured"}, {"ledger", "stats"}}
			for i, got := range commands(t, readers...) {
				args := readers[i]
				if got.code != exitFailed || got.stdout != "" {
					t.Errorf("%v: got %+v", args, got)
				}
				for _, want := range test.want {
					if !strings.Contains(got.stderr, want) {
						t.Errorf("%v: no %q in\n%s", args, want, got.stderr)
					}
				}
			}
			w.leavesNothing()
		})
	}
}

func TestLedgerUsage(t *testing.T) {
	setEnv(t, "KAFKA_BROKERS=localhost:1", "CURRENCY=MXN")
	for name, args := range map[string][]string{
		"no event":           {"ledger", "get"},
		"an empty event":     {"ledger", "get", ""},
		"two events":         {"ledger", "get", "a", "b"},
		"unknown command":    {"ledger", "forget"},
		"unknown flag":       {"ledger", "stats", "--fast"},
		"argument for stats": {"ledger", "stats", "a"},
	} {
		if got := command(t, args...); got.code != exitUsage || got.stdout != "" {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	if got := command(t, "ledger"); got.code != exitOK || !strings.Contains(got.stdout, "get") || !strings.Contains(got.stdout, "stats") {
		t.Errorf("help: got %+v", got)
	}
	setEnv(t, "TOPIC_LEDGER=")
	if got := command(t, "ledger", "stats"); got.code != exitUsage || !strings.Contains(got.stderr, "TOPIC_LEDGER") {
		t.Errorf("no topic named: got %+v", got)
	}
}
