package verify_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
	"payment-capture/internal/ledger/entry"
	"payment-capture/internal/verify"
)

// The variables of the process whose memory is measured, and, for a
// measurement by hand, how many events there are.
const (
	brokerVariable = "VERIFY_TEST_BROKER"
	prefixVariable = "VERIFY_TEST_TOPICS"
	eventsVariable = "VERIFY_TEST_EVENTS"
)

func topicsOf(prefix string) verify.Topics {
	return verify.Topics{
		Input: prefix + input, Captured: prefix + captured, Rejected: prefix + rejected, Parked: prefix + parked,
		Ledger: prefix + ledgers,
	}
}

// measured is what the process reports.
type measured struct {
	Peak    int64   // of its resident memory, in KiB
	Events  int64   // that were checked
	Seconds float64 // that the run took
	Found   int64
}

// TestVerifyInAProcess is the process whose memory is measured.
func TestVerifyInAProcess(t *testing.T) {
	broker := os.Getenv(brokerVariable)
	if broker == "" {
		return // it is another test's process
	}
	conf := verify.Config{
		Kafka: kafka.Config{Brokers: []string{broker}, ClientID: "test"}, Group: group, Topics: topicsOf(os.Getenv(prefixVariable)),
		ScratchDir: t.TempDir(), Memory: 8 << 20, Log: slog.New(slog.DiscardHandler),
	}
	began := time.Now()
	sum, err := verify.Run(t.Context(), conf, func(verify.Finding) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	sum.Print(os.Stdout)
	line, err := json.Marshal(measured{
		Peak: usage.Maxrss, Events: sum.Events(), Seconds: time.Since(began).Seconds(), Found: sum.Differences(),
	})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("\nmeasured: %s\n", line)
}

func measure(t *testing.T, broker, prefix string) measured {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestVerifyInAProcess$")
	cmd.Env = append(os.Environ(), brokerVariable+"="+broker, prefixVariable+"="+prefix)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, line, ok := strings.Cut(string(out), "measured: ")
	line, _, _ = strings.Cut(line, "\n")
	var m measured
	if err := json.Unmarshal([]byte(line), &m); err != nil || !ok {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s%+v", out, m)
	return m
}

// fill creates the topics of a number of events, each with an outcome and a decision.
func fill(t *testing.T, broker, prefix string, events int) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.MaxBufferedRecords(200_000), kgo.ProducerLinger(5*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	topics := topicsOf(prefix)
	admin := kadm.NewClient(client)
	if _, err := admin.CreateTopics(t.Context(), 6, 1, nil, topics.Input, topics.Captured, topics.Rejected, topics.Parked,
		topics.Ledger); err != nil {
		t.Fatal(err)
	}
	var failed error
	send := func(topic string, key, value []byte) {
		client.Produce(t.Context(), &kgo.Record{Topic: topic, Key: key, Value: value, Timestamp: noon}, func(_ *kgo.Record, err error) {
			if err != nil {
				failed = err
			}
		})
	}
	for i := range events {
		id, order := fmt.Sprintf("%08x-6c7e-4d0e-9a39-%012x", i*2654435761%(1<<32), i), fmt.Sprintf("order-%d", i)
		key := []byte(order)
		send(topics.Input, key, fmt.Appendf(nil, `{"specversion":"1.0","id":%q,"source":"/orders","type":"order.ready_to_capture","time":"2026-11-23T10:00:00Z",`+
			`"data":{"order_id":%q,"amount":"700.50","currency":"MXN","description":"Order %d","payer":{"token":"payer-%d"}}}`, id, order, i, i))
		if i == events/2 {
			continue // one is missing
		}
		o := &event.Outcome{
			Type: event.TypeCaptured, Subject: order, Time: noon, EventID: id, OrderID: order, Amount: mustParse(t, "700.50", "MXN"),
			ExternalReference: order, PaymentID: strconv.Itoa(1_000_000_000 + i), CapturedAt: noon,
			Transactions: []event.Transaction{{
				ID: strconv.Itoa(i), Status: "approved", StatusDetail: "accredited", PaymentMethod: "visa",
				Amount: "700.50",
			}},
		}
		m := o.Encode(key, event.Structured)
		send(topics.Captured, key, m.Value)
		value, err := entry.EncodeDecision(&event.Decision{Result: event.Result{Outcome: o}, At: noon.Add(-2 * time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		send(topics.Ledger, entry.DecisionKey(id), value)
	}
	if err := client.Flush(t.Context()); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	ends, err := admin.ListEndOffsets(t.Context(), topics.Input)
	if err == nil {
		// With metadata, as the service commits: offsets without it would be looked for event by event.
		offsets := make(kadm.Offsets)
		for _, o := range ends.Offsets().Sorted() {
			o.Metadata = metadata([16]byte{}, o.At, 0)
			offsets.Add(o)
		}
		err = admin.CommitAllOffsets(t.Context(), group, offsets)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestMemoryIsBounded checks that five times the events take about as much memory,
// because the entries are on the disk. VERIFY_TEST_EVENTS sets the number of events.
func TestMemoryIsBounded(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("resident memory is measured in the units of Linux")
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	broker := cluster.ListenAddrs()[0]
	few, many := 20_000, 100_000
	if raceDetector {
		few, many = 1_000, 5_000
	}
	if n, err := strconv.Atoi(os.Getenv(eventsVariable)); err == nil {
		few, many = n/5, n
	}
	fill(t, broker, "few.", few)
	fill(t, broker, "many.", many)
	small, large := measure(t, broker, "few."), measure(t, broker, "many.")
	if small.Events != int64(few) || large.Events != int64(many) || small.Found != 1 || large.Found != 1 { // the missing one
		t.Errorf("%d and %d events, %d and %d differences", small.Events, large.Events, small.Found, large.Found)
	}
	// If the entries were kept in memory, they would take a kilobyte of each event between the two.
	const slack = 56 << 10
	if !raceDetector && large.Peak > small.Peak+slack {
		t.Errorf("%d events took %d KiB, %d took %d KiB: over %d KiB more", few, small.Peak, many, large.Peak, slack)
	}
}
