//go:build synctests || integration

package acceptance

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/config"
	"payment-capture/internal/kafka"
	"payment-capture/internal/kafkatest"
	"payment-capture/internal/pipeline"
	"payment-capture/internal/simulator"
)

// commitScenarios are about failing commits and blocked input.
func commitScenarios() []scenario {
	slow := simulator.Config{Latency: 20 * time.Millisecond}
	return []scenario{
		{"another process takes the transactional id once and then again", 1, slow, transactionalIDTaken},
		{"one of two processes with one identity ends", 2, slow, oneOfTwoEnds},
		{"a proxy cuts off large requests", 2, slow, largeRequestsCutOff},
		{"a proxy swallows large requests", 2, slow, largeRequestsSwallowed},
		{"calls stop while commits fail", 2, slow, callsStopWhileCommitsFail},
		{"calls stop while commits are not answered", 2, slow, callsStopWhileCommitsHang},
		{"an open transaction of a producer is named", 2, slow, openTransactionNamed},
		{"halted partitions are counted by reason", 2, simulator.Config{}, haltedCounted},
	}
}

// transactionalIDTaken initialises the transactional id in another process outside the
// group. The service takes the id back once, and ends if that happens again within a
// minute.
func transactionalIDTaken(w *world) {
	first := w.start("a")
	w.send(numbered(20, nil)...)
	w.awaitDecisions()
	take := func() *kgo.Client {
		thief := w.newClient(kgo.TransactionalID(w.group + "/" + w.name + ".a"))
		if _, _, err := thief.ProducerID(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
		return thief
	}
	thief := take()
	w.send(order{id: "after"})
	w.want(w.awaitDecisions(), map[string]int{"captured": 21})
	w.wantOneCallPerEvent()
	if !w.log.contains("producer fenced, no other process found") {
		w.t.Error("the log does not report the fencing")
	}
	if err := thief.BeginTransaction(); err != nil {
		w.t.Fatal(err)
	}
	if err := thief.ProduceSync(w.t.Context(), &kgo.Record{Topic: w.topics.captured}).FirstErr(); err == nil {
		w.t.Error("the other process still has the transactional id")
	}
	take().Close()
	w.send(order{id: "again"})
	if err := first.wait(); !errors.Is(err, kafka.ErrFenced) {
		w.t.Fatalf("the service ended with: %v", err)
	}
	w.start("a")
	w.want(w.awaitDecisions(), map[string]int{"captured": 22})
}

// oneOfTwoEnds runs a second process with the identity of the first. Both work until one
// of them is fenced; only that one ends, and no event has two outcomes.
func oneOfTwoEnds(w *world) {
	both := []*instance{w.start("a")}
	w.send(numbered(50, nil)...)
	w.eventually("the first instance makes calls", func() bool { return w.sim.Charges().Calls > 0 })
	both = append(both, w.start("b", func(c *config.Config) {
		c.InstanceID = w.name + ".a"
		c.LedgerDir += "-of-another-machine"
	}))
	stop := w.load()
	var ended []error
	w.eventually("one of the processes has ended", func() bool {
		for _, in := range both {
			select {
			case err := <-in.ended:
				in.ended <- err
				ended = append(ended, err)
			default:
			}
		}
		return len(ended) > 0
	})
	calls := w.sim.Charges().Calls
	w.eventually("the other process continues", func() bool { return w.sim.Charges().Calls > calls+100 })
	stop()
	w.awaitDecisions()
	running := 0
	for _, in := range both {
		if in.service.Partitions(w.t.Context()) == 2 {
			running++
		}
	}
	if len(ended) != 1 || !errors.Is(ended[0], kafka.ErrFenced) || running != 1 {
		w.t.Errorf("%d processes ended, with %v; %d own the partitions", len(ended), fmt.Sprint(ended), running)
	}
}

// sizeCut is a proxy that closes a connection when a produce request exceeds a limit in
// bytes.
type sizeCut struct {
	net.Dialer
	dial  func(ctx context.Context, network, address string) (net.Conn, error)
	limit atomic.Int64
	keeps bool // it keeps the connection, and drops the request
}

func (s *sizeCut) open(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := s.dial(ctx, network, address)
	return &sizeCutConn{Conn: conn, cut: s}, err
}

type sizeCutConn struct {
	net.Conn
	cut *sizeCut
}

// Write gets one request at a time and drops those that are too large.
func (c *sizeCutConn) Write(b []byte) (int, error) {
	if len(b) >= 6 && binary.BigEndian.Uint16(b[4:]) == uint16(kmsg.Produce) && int64(len(b)) > c.cut.limit.Load() {
		if c.cut.keeps {
			return len(b), nil
		}
		return len(b), c.Close()
	}
	return c.Conn.Write(b)
}

// startBehind starts an instance behind the proxy.
func (w *world) startBehind(cut *sizeCut, changes ...func(*config.Config)) *instance {
	w.t.Helper()
	direct := w.broker
	cut.dial = direct.Dial
	if cut.dial == nil {
		cut.dial = cut.DialContext
	}
	w.broker = &kafkatest.Broker{Addresses: direct.Addresses, Dial: cut.open, Fake: direct.Fake, Network: direct.Network}
	defer func() { w.broker = direct }()
	return w.start("a", changes...)
}

// allParked turns off the hold of invalid events, so that each is parked.
func allParked(c *config.Config) { c.InvalidEventRun = 0 }

// junk returns n invalid events of the given size, which do not compress.
func junk(n, bytes int) []order {
	random := rand.NewChaCha8([32]byte{byte(n)})
	raw := make([]byte, bytes*3/4)
	orders := make([]order, n)
	for i := range orders {
		_, _ = random.Read(raw)
		orders[i] = order{id: fmt.Sprintf("junk%d-%d", bytes, i), raw: base64.StdEncoding.EncodeToString(raw), skipped: true}
	}
	return orders
}

// status returns the status of the instance.
func (in *instance) status() (s struct{ Pipeline pipeline.Status }) {
	in.w.t.Helper()
	_, body := in.ask(http.MethodGet, "/status")
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		in.w.t.Fatal(err)
	}
	return s
}

// metric returns the value of a metric, which is named with its labels.
func (in *instance) metric(name string) float64 {
	in.w.t.Helper()
	for line := range strings.Lines(in.metrics()) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				in.w.t.Fatal(err)
			}
			return v
		}
	}
	in.w.t.Fatalf("there is no metric %s", name)
	return 0
}

// largeRequestsCutOff commits forty invalid events of 60 kB in one flush, and larger
// ones, through a proxy that accepts requests of at most 300 kB.
func largeRequestsCutOff(w *world) {
	cut := &sizeCut{}
	cut.limit.Store(300_000)
	w.send(junk(40, 60_000)...)
	w.send(junk(2, 400_000)...)
	w.send(numbered(20, nil)...)
	in := w.startBehind(cut, allParked)
	vs := w.awaitDecisions()
	w.want(vs, map[string]int{"parked invalid_event": 42, "captured": 20})
	digests := 0
	for _, v := range vs {
		if v.kind == "parked" && headerOf(v.record, "parked_value_sha256") != "" {
			digests++
			if headerOf(v.record, "parked_value_bytes") != "400000" {
				w.t.Errorf("parked without its value: %v", v.record.Headers)
			}
		}
	}
	if digests != 2 {
		w.t.Errorf("%d records were parked without their values, want the two large ones", digests)
	}
	w.wantOneCallPerEvent()
	// Half of the smallest request that is cut off, or more: how much the first flush has
	// decides which halves there are.
	if got := in.status().Pipeline.RequestBytes; got < 150_000 || got > 300_000 || !w.log.contains("limit halved") {
		w.t.Errorf("requests have up to %d bytes, want 150000 to 300000", got)
	}
	w.eventually("it is ready", func() bool {
		ready, _ := in.readyz()
		return ready
	})
}

// largeRequestsSwallowed commits forty invalid events of 60 kB in one flush through a
// proxy that drops requests of over 300 kB and keeps their connections.
func largeRequestsSwallowed(w *world) {
	if w.broker.Dial == nil { // real time
		return
	}
	cut := &sizeCut{keeps: true}
	cut.limit.Store(300_000)
	w.send(junk(40, 60_000)...)
	w.send(numbered(20, nil)...)
	w.patience = 5 * time.Minute
	in := w.startBehind(cut, allParked)
	w.want(w.awaitDecisions(), map[string]int{"parked invalid_event": 40, "captured": 20})
	w.wantOneCallPerEvent()
	if got := in.status().Pipeline.RequestBytes; got != 250_000 {
		w.t.Errorf("requests have up to %d bytes, want 250000", got)
	}
}

// callsStopWhileCommitsFail has a proxy that drops every request with one of the invalid
// events. Calls stop at a limit of uncommitted orders until the proxy accepts the
// requests.
func callsStopWhileCommitsFail(w *world) {
	cut := &sizeCut{}
	cut.limit.Store(50_000)
	w.send(junk(40, 60_000)...)
	in := w.startBehind(cut, allParked)
	w.eventually("readiness names the size and the variable but no topic", func() bool {
		ready, body := in.readyz()
		reason, _, _ := strings.Cut(body, `"detail"`)
		return !ready && containsAll(reason, "KAFKA_MAX_REQUEST_BYTES is 100000", " bytes ") && !strings.Contains(reason, w.name)
	})
	w.callsStop(in, func() { cut.limit.Store(300_000) })
	w.want(w.awaitDecisions(), map[string]int{"parked invalid_event": 40, "captured": 1000})
	w.wantOneCallPerEvent()
}

// callsStop sends a thousand orders and checks that calls stop at the limit of
// uncommitted decisions and continue when commits succeed again.
func (w *world) callsStop(in *instance, fix func()) {
	w.t.Helper()
	w.send(numbered(1000, nil)...)
	var held pipeline.Status
	w.eventually("the status says that orders wait for commits", func() bool {
		held = in.status().Pipeline
		return held.InFlight == 0 && len(held.Longest) > 0 && containsAll(held.Longest[0].WaitsFor, "decisions are not committed")
	})
	const inFlight = 64 // CAPTURE_MAX_IN_FLIGHT
	if held.Uncommitted < inFlight || held.Uncommitted >= 1000 {
		w.t.Errorf("%d decisions are not committed", held.Uncommitted)
	}
	calls := w.sim.Charges().Calls
	<-time.After(5 * time.Second)
	if now := w.sim.Charges().Calls; now != calls || calls >= 1000 {
		w.t.Errorf("%d calls, and %d five seconds later", calls, now)
	}
	fix()
}

// callsStopWhileCommitsHang delays the offsets of every transaction, so that a commit
// fails only after half a minute.
func callsStopWhileCommitsHang(w *world) {
	var broken atomic.Bool
	recovered := make(chan struct{})
	line := &wire{}
	line.at(func(key int16) effect {
		if key == kmsg.TxnOffsetCommit.Int16() && broken.Load() {
			<-recovered
		}
		return passed
	})
	in := w.startOver(line, func(c *config.Config) { c.CaptureRateLimit = 100 })
	w.send(order{id: "first"})
	w.awaitDecisions()
	broken.Store(true)
	w.callsStop(in, func() {
		broken.Store(false)
		close(recovered)
	})
	w.want(w.awaitDecisions(), map[string]int{"captured": 1001})
	w.wantOneCallPerEvent()
}

// openTransactionNamed leaves a transaction of another producer open in one of two
// partitions. The other partition continues, and the service names the producer that it
// waits for.
func openTransactionNamed(w *world) {
	in := w.start("a")
	w.choosePartitions()
	w.send(order{id: "e1", partition: 1}, order{id: "e2", partition: 2})
	w.awaitDecisions()
	const id = "another producer"
	other := w.newClient(kgo.TransactionalID(w.name+id), kgo.TransactionTimeout(10*time.Minute),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := other.BeginTransaction(); err != nil {
		w.t.Fatal(err)
	}
	if err := other.ProduceSync(w.t.Context(), w.record(order{id: "open", partition: 1})).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
	producer, _, err := other.ProducerID(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	w.send(order{id: "behind", partition: 1}, order{id: "beside", partition: 2})
	const metric = `payment_capture_input_open_transaction_seconds{partition="0"}`
	w.eventually("the status names the transaction", func() bool { return len(in.status().Pipeline.Open) > 0 })
	open := in.status().Pipeline.Open[0]
	if open.Partition != 0 || open.ProducerID != producer || open.TransactionalID != w.name+id ||
		open.HighWatermark != open.LastStable+2 || open.Since.IsZero() {
		w.t.Errorf("the status has %+v, the producer is %d", open, producer)
	}
	if seconds := in.metric(metric); seconds < 10 || seconds > 60 {
		w.t.Errorf("the metric has the value %g", seconds)
	}
	if seconds := in.metric(strings.Replace(metric, "0", "1", 1)); seconds != 0 {
		w.t.Errorf("the metric of the other partition has the value %g", seconds)
	}
	if ready, body := in.readyz(); !ready || !strings.Contains(body, `"open_transactions"`) {
		w.t.Errorf("ready %v: %s", ready, body)
	}
	w.eventually("the other partition continues", func() bool { return hasDecision(w.decisions(), "beside") })
	if err := other.EndTransaction(w.t.Context(), kgo.TryCommit); err != nil {
		w.t.Fatal(err)
	}
	w.want(w.awaitDecisions(), map[string]int{"captured": 5})
	w.eventually("the status no longer has the transaction", func() bool {
		return len(in.status().Pipeline.Open) == 0 &&
			in.metric(metric) == 0
	})
	for _, line := range []string{"input held back by open transaction", "input no longer held back by open transaction"} {
		if n := strings.Count(w.log.String(), `"`+line+`"`); n != 1 {
			w.t.Errorf("the log has %q %d times", line, n)
		}
	}
}

// haltedCounted halts a partition by deleting its records, and then both by recreating
// the ledger.
func haltedCounted(w *world) {
	first := w.start("a")
	w.choosePartitions()
	w.send(order{id: "e1", partition: 1}, order{id: "e2", partition: 2})
	w.awaitDecisions()
	lost, missing := `payment_capture_partitions_halted{reason="records_lost"}`, `payment_capture_partitions_halted{reason="ledger_missing"}`
	if first.metric(lost) != 0 || first.metric(missing) != 0 {
		w.t.Error("partitions are halted")
	}
	first.stop()
	w.send(order{id: "lost", partition: 1, skipped: true}, order{id: "kept", partition: 1, skipped: true})
	w.deleteRecords(0, 2)
	second := w.start("a")
	w.eventually("one partition is halted because records were deleted", func() bool { return second.metric(lost) == 1 })
	if second.metric(missing) != 0 {
		w.t.Error("the metric reports a missing ledger")
	}
	second.stop()
	w.recreateLedger()
	third := w.start("a")
	w.eventually("both partitions are halted because the ledger is missing", func() bool { return third.metric(missing) == 2 })
}
