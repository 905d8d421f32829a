//go:build integration

package acceptance

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"payment-capture/internal/kafkatest"
	"payment-capture/internal/simulator"
)

// buildBinary builds the command.
func buildBinary(t *testing.T, flags ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "payment-capture")
	args := append(append([]string{"build", "-o", path}, flags...), "payment-capture/cmd/payment-capture")
	out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// environ returns the environment of a process of this world.
func (w *world) environ(instance string) []string {
	c := w.config(instance)
	return append(os.Environ(),
		"KAFKA_BROKERS="+strings.Join(c.KafkaBrokers, ","), "KAFKA_GROUP="+c.KafkaGroup, "KAFKA_START_AT=earliest",
		"KAFKA_SESSION_TIMEOUT=6s", "INSTANCE_ID="+c.InstanceID, "TOPIC_ORDER_READY_TO_CAPTURE="+c.TopicInput,
		"TOPIC_PAYMENT_CAPTURED="+c.TopicCaptured, "TOPIC_PAYMENT_REJECTED="+c.TopicRejected, "TOPIC_PARKED="+c.TopicParked,
		"TOPIC_LEDGER="+c.TopicLedger, "LEDGER_DIR="+c.LedgerDir,
		"MERCADOPAGO_URL="+c.MercadoPagoURL, "MERCADOPAGO_ACCESS_TOKEN="+accessToken, "CURRENCY=MXN", "ADMIN_ADDR=off",
	)
}

// TestBinary runs the built command on a real broker.
func TestBinary(t *testing.T) {
	binary := buildBinary(t)
	broker := kafkatest.Run(t, kafkatest.ContainerOptions{})

	t.Run("killed in the middle of 2000 events", func(t *testing.T) {
		w := newWorld(t, &broker.Broker, 3, simulator.Config{Latency: 30 * time.Millisecond}, serveReal(t))
		w.send(numbered(2000, nil)...)
		for i, enough := range []int{300, 900, 1500} {
			process := w.process(binary, "run")
			w.eventually(fmt.Sprintf("%d calls before kill %d", enough, i+1), func() bool { return w.sim.Charges().Calls > enough })
			if err := process.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = process.Wait() // killed: an error says no more
		}
		process := w.process(binary, "run")
		w.want(w.awaitDecisions(), map[string]int{"captured": 2000})
		if err := process.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if err := process.Wait(); err != nil {
			t.Errorf("SIGINT: %v", err)
		}
		calls := w.sim.Charges().Calls
		t.Logf("2000 events, 3 kills: %d calls, %d repeated", calls, calls-2000)
	})

	t.Run("kcat sends and reads", func(t *testing.T) {
		if _, err := exec.LookPath("kcat"); err != nil {
			t.Skip("kcat is not installed")
		}
		w := newWorld(t, &broker.Broker, 3, simulator.Config{}, serveReal(t))
		w.process(binary, "run")
		now := time.Now().UTC().Format(time.RFC3339)
		data := `{"order_id":"%[1]s","amount":"700.50","currency":"MXN","description":"By kcat","payer":{"token":"` + payerToken + `"}}`
		structured := fmt.Sprintf(`{"specversion":"1.0","id":"k1","source":"/kcat","type":"order.ready_to_capture","time":"%[2]s","data":`+data+`}`, "order-1", now)
		w.kcat(structured+"\n", "-P", "-X", "partitioner=murmur2_random", "-t", w.topics.input, "-k", "order-1")
		w.kcat(fmt.Sprintf(data, "order-2")+"\n", "-P", "-t", w.topics.input, "-k", "order-2",
			"-H", "ce_specversion=1.0", "-H", "ce_id=k2", "-H", "ce_source=/kcat", "-H", "ce_type=order.ready_to_capture", "-H", "ce_time="+now,
			"-H", "content-type=application/json")
		w.sent = append(w.sent, sentEvent{id: "k1", order: "order-1"}, sentEvent{id: "k2", order: "order-2"})
		w.awaitDecisions()
		out := w.kcat("", "-C", "-t", w.topics.captured, "-e", "-q", "-X", "isolation.level=read_committed", "-f", "%k %s\n")
		for _, want := range []string{`order-1 `, `order-2 `, `"causationid":"k1"`, `"causationid":"k2"`} {
			if !strings.Contains(out, want) {
				t.Errorf("kcat does not show %q:\n%s", want, out)
			}
		}
	})
}

// process starts the command; its output goes to the world's log. The end of the test
// kills it.
func (w *world) process(binary string, args ...string) *exec.Cmd {
	w.t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = w.environ("binary"), w.log, w.log
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return cmd
}

func (w *world) kcat(input string, args ...string) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "kcat", append([]string{"-b", w.broker.Addresses[0]}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("kcat %v: %v\n%s", args, err, out)
	}
	return string(out)
}
