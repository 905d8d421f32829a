package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/kafkatest"
	"payment-capture/internal/ledger/entry"
	"payment-capture/internal/offsetmeta"
	"payment-capture/internal/simulator"
	"payment-capture/internal/verify"
)

// order returns an order of this amount, as a record's value and decoded.
func order(t *testing.T, id, amount string) ([]byte, *event.ReadyToCapture) {
	t.Helper()
	value := fmt.Appendf(nil, `{"specversion":"1.0","id":%q,"source":"/test","type":"order.ready_to_capture","time":%q,"data":{`+
		`"order_id":"order-%s","amount":%q,"currency":"MXN","description":"An order","payer":{"token":"planted-payer-token"}}}`,
		id, time.Now().UTC().Format(time.RFC3339), id, amount)
	e, err := event.Decode(event.Message{Value: value})
	if err != nil {
		t.Fatal(err)
	}
	return value, e
}

// publishOrder publishes an order of 700.50.
func publishOrder(t *testing.T, client *kgo.Client, id string) *event.ReadyToCapture {
	t.Helper()
	value, e := order(t, id, "700.50")
	produce(t, client, "order.ready_to_capture", nil, value)
	return e
}

func produce(t *testing.T, client *kgo.Client, topic string, key, value []byte) {
	t.Helper()
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Key: key, Value: value}).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func capturedOutcome(e *event.ReadyToCapture) *event.Outcome {
	now := time.Now()
	return &event.Outcome{
		Type: event.TypeCaptured, Subject: e.OrderID, Time: now, EventID: e.ID, OrderID: e.OrderID, Amount: e.Amount,
		ExternalReference: e.ExternalReference, PaymentID: "payment-" + e.ID, CapturedAt: now,
	}
}

func publishOutcome(t *testing.T, client *kgo.Client, o *event.Outcome) {
	t.Helper()
	m := o.Encode(nil, event.Structured)
	produce(t, client, "payment.captured", m.Key, m.Value)
}

func publishDecision(t *testing.T, client *kgo.Client, o *event.Outcome) {
	t.Helper()
	value, err := entry.EncodeDecision(&event.Decision{Result: event.Result{Outcome: o}, At: o.Time})
	if err != nil {
		t.Fatal(err)
	}
	produce(t, client, ledgerTopic, entry.DecisionKey(o.EventID), value)
}

// commitAll commits the end of the input for the service's group, as the service
// does.
func commitAll(t *testing.T, client *kgo.Client) {
	t.Helper()
	commitEnds(t, client, offsetmeta.Metadata{}.Encode)
}

// commitEnds commits the end of the input for the service's group; another tool
// commits no metadata.
func commitEnds(t *testing.T, client *kgo.Client, metadata func(offset int64) string) {
	t.Helper()
	admin := kadm.NewClient(client)
	ends, err := admin.ListEndOffsets(t.Context(), "order.ready_to_capture")
	if err == nil {
		offsets := make(kadm.Offsets)
		for _, o := range ends.Offsets().Sorted() {
			o.Metadata = metadata(o.At)
			offsets.Add(o)
		}
		err = admin.CommitAllOffsets(t.Context(), "payment-capture", offsets)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// found reads a file of findings, as "kind event".
func found(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		var f verify.Finding
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, string(f.Kind)+" "+f.EventID)
	}
	return all
}

func TestVerify(t *testing.T) {
	for name, test := range map[string]struct {
		plant func(t *testing.T, client *kgo.Client)
		want  []string
	}{
		"clean": {func(*testing.T, *kgo.Client) {}, nil},
		"a missing outcome": {func(t *testing.T, client *kgo.Client) {
			t.Helper()
			publishOrder(t, client, "e1")
		}, []string{"missing_outcome e1"}},
		"a doubled one": {func(t *testing.T, client *kgo.Client) {
			t.Helper()
			o := capturedOutcome(publishOrder(t, client, "e1"))
			publishOutcome(t, client, o)
			publishOutcome(t, client, o)
			publishDecision(t, client, o)
		}, []string{"doubled_outcome e1"}},
		"a wrong amount": {func(t *testing.T, client *kgo.Client) {
			t.Helper()
			o := capturedOutcome(publishOrder(t, client, "e1"))
			publishDecision(t, client, o)
			_, other := order(t, "e1", "70.05")
			o.Amount = other.Amount
			publishOutcome(t, client, o)
		}, []string{"wrong_amount e1", "ledger_differs e1"}},
		"an outcome without an event": {func(t *testing.T, client *kgo.Client) {
			t.Helper()
			_, e := order(t, "e1", "700.50")
			publishOutcome(t, client, capturedOutcome(e))
		}, []string{"outcome_without_event e1"}},
	} {
		t.Run(name, func(t *testing.T) {
			broker, client := newBroker(t, append(ourTopics(), ledgerTopic)...)
			setEnv(t, "KAFKA_BROKERS="+broker)
			for i := range 3 {
				o := capturedOutcome(publishOrder(t, client, fmt.Sprintf("clean-%d", i)))
				publishOutcome(t, client, o)
				publishDecision(t, client, o)
			}
			test.plant(t, client)
			commitAll(t, client)
			file := filepath.Join(t.TempDir(), "findings.jsonl")
			got := command(t, "verify", "--output", file, "--scratch-dir", t.TempDir())
			wantCode := exitOK
			if len(test.want) > 0 {
				wantCode = exitDiffers
			}
			if got.code != wantCode || !strings.Contains(got.stdout, "differences") {
				t.Errorf("exit code %d, want %d\n%s%s", got.code, wantCode, got.stdout, got.stderr)
			}
			if diff := cmp.Diff(test.want, found(t, file)); diff != "" {
				t.Errorf("the findings are others (-want +got):\n%s", diff)
			}
			for _, want := range test.want {
				kind, id, _ := strings.Cut(want, " ")
				if !strings.Contains(got.stdout, kind) || !strings.Contains(got.stdout, id) {
					t.Errorf("the table does not show %s:\n%s", want, got.stdout)
				}
			}
			if !strings.Contains(got.stderr, `"msg":"progress"`) {
				t.Errorf("the log shows no progress:\n%s", got.stderr)
			}
		})
	}
}

// What the service itself leaves behind is proven, and held against the API.
func TestVerifyWhatTheServiceDid(t *testing.T) {
	sim, err := simulator.New(simulator.Config{AccessToken: accessToken})
	if err != nil {
		t.Fatal(err)
	}
	api := httptest.NewServer(sim)
	t.Cleanup(api.Close)
	broker, client := newBroker(t, ourTopics()...)
	(&kafkatest.Broker{Addresses: []string{broker}}).Compacted(t, ledgerTopic, 1)
	setEnv(t, "KAFKA_BROKERS="+broker, "KAFKA_START_AT=earliest", "ADMIN_ADDR=off", "CURRENCY=MXN", "CLOUDEVENTS_MODE=binary",
		"LEDGER_DIR="+t.TempDir(),
		"MERCADOPAGO_URL="+api.URL, "MERCADOPAGO_ACCESS_TOKEN="+accessToken)
	const orders = 20
	for i := range orders {
		publishOrder(t, client, fmt.Sprintf("e%d", i))
	}
	produce(t, client, "order.ready_to_capture", nil, []byte("{}"))
	var stdout, stderr output
	ended := make(chan int, 1)
	go func() { ended <- run([]string{"run"}, &stdout, &stderr) }()
	for seen := 0; seen < orders; {
		fetches := client.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		seen += fetches.NumRecords()
	}
	terminate(t)
	if code := <-ended; code != exitOK {
		t.Fatalf("exit code %d\n%s", code, stderr.String())
	}
	args := []string{"verify", "--no-ledger", "--api", "--api-search", "--api-rate", "1000", "--scratch-dir", t.TempDir()}
	got := command(t, args...)
	if got.code != exitOK || !strings.Contains(strings.Join(strings.Fields(got.stdout), " "), "│ payments read from the API │ 20 │") {
		t.Errorf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	// The token of another account: nothing is proven by the API.
	t.Setenv("MERCADOPAGO_ACCESS_TOKEN", "planted-other-token")
	if got = command(t, args...); got.code != exitFailed || !strings.Contains(got.stdout, "differences") ||
		!strings.Contains(got.stderr, "token") {
		t.Errorf("with another token: %+v", got)
	}
}

// Without the group's offsets, or with a ledger that holds nothing, nothing is
// proven: that is no success.
func TestVerifyWithoutOffsetsOrDecisions(t *testing.T) {
	broker, client := newBroker(t, append(ourTopics(), ledgerTopic)...)
	setEnv(t, "KAFKA_BROKERS="+broker)
	if got := command(t, "verify"); got.code != exitOK {
		t.Errorf("with no events at all: %+v", got)
	}
	o := capturedOutcome(publishOrder(t, client, "e1"))
	publishOutcome(t, client, o)
	got := command(t, "verify")
	if got.code != exitDiffers || !strings.Contains(got.stdout, "group_without_offsets") ||
		!strings.Contains(got.stdout, "ledger_without_decisions") {
		t.Errorf("without both: %+v", got)
	}
	commitAll(t, client)
	if got = command(t, "verify"); got.code != exitDiffers || strings.Contains(got.stdout, "group_without_offsets") ||
		!strings.Contains(got.stdout, "TOPIC_LEDGER") {
		t.Errorf("without a decision: %+v", got)
	}
	publishDecision(t, client, o)
	if got = command(t, "verify"); got.code != exitOK {
		t.Errorf("with both: %+v", got)
	}
	t.Setenv("KAFKA_GROUP", "another")
	if got = command(t, "verify"); got.code != exitDiffers || !strings.Contains(got.stdout, "KAFKA_GROUP") {
		t.Errorf("with another group: %+v", got)
	}
}

// What an offset of another tool skips is named by partition and range.
func TestVerifyAfterAnotherToolSetTheOffset(t *testing.T) {
	broker, client := newBroker(t, ourTopics()...)
	setEnv(t, "KAFKA_BROKERS="+broker)
	for i := range 3 {
		publishOrder(t, client, fmt.Sprintf("e%d", i))
	}
	commitEnds(t, client, func(int64) string { return "" })
	got := command(t, "verify", "--no-ledger")
	text := strings.Join(strings.Fields(got.stdout), " ")
	if got.code != exitDiffers || !strings.Contains(text, "│ foreign_offset │ 1 │") || !strings.Contains(text, "offsets 0-2") {
		t.Errorf("got %+v", got)
	}
}

func TestVerifyAsJSON(t *testing.T) {
	broker, client := newBroker(t, ourTopics()...)
	setEnv(t, "KAFKA_BROKERS="+broker)
	publishOrder(t, client, "e1")
	produce(t, client, "order.ready_to_capture", nil,
		[]byte(`{"specversion":"1.0","id":"x","source":"/orders","type":"order.shipped","data":{}}`))
	commitAll(t, client)
	got := command(t, "verify", "--no-ledger", "--json")
	var doc struct {
		Events   int
		Findings map[string]int
		Skipped  []struct {
			Reason string
			Names  []struct {
				Name    string
				Records int
			}
		}
	}
	if err := json.Unmarshal([]byte(got.stdout), &doc); err != nil || got.code != exitDiffers {
		t.Fatalf("%v: %+v", err, got)
	}
	if doc.Events != 1 || doc.Findings["missing_outcome"] != 1 || len(doc.Skipped) != 1 || doc.Skipped[0].Reason != "other_type" ||
		len(doc.Skipped[0].Names) != 1 || doc.Skipped[0].Names[0].Name != "order.shipped" || doc.Skipped[0].Names[0].Records != 1 {
		t.Errorf("got %+v", doc)
	}
}

func TestVerifyWritesCSV(t *testing.T) {
	broker, client := newBroker(t, ourTopics()...)
	setEnv(t, "KAFKA_BROKERS="+broker)
	publishOrder(t, client, "e1")
	commitAll(t, client)
	file := filepath.Join(t.TempDir(), "findings.csv")
	args := []string{"verify", "--no-ledger", "--output", file, "--format", "csv", "--max-shown", "0"}
	if got := command(t, args...); got.code != exitDiffers || !strings.Contains(got.stdout, "1 more are not shown") {
		t.Errorf("got %+v", got)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) != 2 || rows[1][1] != "missing_outcome" || rows[1][2] != "e1" {
		t.Errorf("%v, %q", err, rows)
	}
	// Of another time it is nobody's business.
	for _, flag := range []string{"--since=2100-01-01T00:00:00Z", "--until=2020-01-01T00:00:00Z"} {
		if got := command(t, "verify", "--no-ledger", flag); got.code != exitOK {
			t.Errorf("%s: %+v", flag, got)
		}
	}
}

func TestVerifyFails(t *testing.T) {
	broker, _ := newBroker(t, ourTopics()...)
	setEnv(t, "KAFKA_BROKERS="+broker)
	if got := command(t, "verify", "--no-ledger", "--output", "/not/there/x"); got.code != exitUsage ||
		!strings.Contains(got.stderr, "--output") {
		t.Errorf("a file that cannot be made: %+v", got)
	}
	if got := command(t, "verify", "--no-ledger", "--api"); got.code != exitUsage ||
		!strings.Contains(got.stderr, "MERCADOPAGO_ACCESS_TOKEN") {
		t.Errorf("without a token: %+v", got)
	}
}
