package app_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/app"
	"payment-capture/internal/config"
	"payment-capture/internal/kafkatest"
	"payment-capture/internal/secret"
	"payment-capture/internal/simulator"
)

// Planted secrets; the service must not show any of them.
const (
	accessToken = "APP_USR-planted-access-token"
	payerToken  = "planted-payer-token"
	password    = "planted-password"
)

// good returns a valid configuration for the given addresses.
func good(brokers []string, apiURL string) config.Config {
	return config.Config{
		KafkaBrokers: brokers, KafkaGroup: "group", KafkaStartAt: "earliest", KafkaSessionTimeout: 10 * time.Second, InstanceID: "test",
		TopicInput: "orders", TopicCaptured: "captured", TopicRejected: "rejected", TopicParked: "parked", TopicLedger: "ledger",
		CloudEventsMode: "structured",
		CaptureOncePer:  config.OncePerPayment, DuplicateWindow: 7 * 24 * time.Hour, ReplayedOutcomes: config.ReplayedEmit,
		MercadoPagoURL: apiURL, MercadoPagoAccessToken: secret.New(accessToken), MercadoPagoTimeout: 5 * time.Second, Currency: "MXN",
		MaxInFlight: 16, CaptureDeadline: time.Minute, CaptureMaxTries: 10,
		CaptureMaxEventAge: 24 * time.Hour, IdempotencyKeyHorizon: 24 * time.Hour,
		FlushInterval: 10 * time.Millisecond, ShutdownTimeout: 10 * time.Second, AdminAddr: config.AdminOff,
	}
}

func TestNewNamesTheVariable(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	for name, test := range map[string]struct {
		change func(*config.Config)
		want   string
	}{
		"token file":  {func(c *config.Config) { c.MercadoPagoAccessTokenFile = missing }, "MERCADOPAGO_ACCESS_TOKEN_FILE: "},
		"API address": {func(c *config.Config) { c.MercadoPagoURL = "https://u:" + password + "@host" }, "MERCADOPAGO_*: "},
		"CA file":     {func(c *config.Config) { c.KafkaTLS, c.KafkaTLSCA = true, missing }, "KAFKA_TLS_*: "},
		"key alone":   {func(c *config.Config) { c.KafkaTLS, c.KafkaTLSKey = true, missing }, "KAFKA_TLS_*: "},
		"password file": {
			func(c *config.Config) { c.KafkaSASLMechanism, c.KafkaSASLPasswordFile = "PLAIN", missing },
			"KAFKA_SASL_PASSWORD_FILE: ",
		},
		"mechanism": {
			func(c *config.Config) { c.KafkaSASLMechanism, c.KafkaSASLPassword = "GSSAPI", secret.New(password) },
			"KAFKA_SASL_MECHANISM: ",
		},
		"API authority": {func(c *config.Config) { c.MercadoPagoCA = missing }, "MERCADOPAGO_CA_FILE: "},
		"admin key":     {func(c *config.Config) { c.AdminTLSCert, c.AdminTLSKey = missing, missing }, "ADMIN_TLS_*: "},
		"admin tokens":  {func(c *config.Config) { c.AdminTokensFile = missing }, "ADMIN_TOKENS_FILE: "},
		"start":         {func(c *config.Config) { c.KafkaStartAt = "yesterday" }, "KAFKA_START_AT: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := good([]string{"localhost:1"}, "http://localhost:1")
			test.change(&c)
			_, err := app.New(app.Options{Config: c, Version: "test", Log: slog.New(slog.DiscardHandler)})
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Fatalf("got %v, want it to begin with %q", err, test.want)
			}
			if strings.Contains(err.Error(), "planted") {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
}

func TestSecretsFromFiles(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := good([]string{"localhost:1"}, "http://localhost:1")
	c.MercadoPagoAccessToken, c.MercadoPagoAccessTokenFile = secret.Text{}, file
	c.KafkaSASLMechanism, c.KafkaSASLUser, c.KafkaSASLPasswordFile = "SCRAM-SHA-256", "user", file
	if _, err := app.New(app.Options{Config: c, Version: "test", Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Error(err)
	}
}

// Only one process can listen on the admin address.
func TestAdminAddressIsTaken(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	c := good([]string{"localhost:1"}, "http://localhost:1")
	c.AdminAddr = listener.Addr().String()
	service, err := app.New(app.Options{Config: c, Version: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := service.Run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "ADMIN_ADDR: ") {
		t.Errorf("got %v", err)
	}
}

// logBuffer keeps the log.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// page returns the response of an admin route.
func page(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return recorder.Code, recorder.Body.String()
}

// TestSecretsNeverShow takes valid, declined and invalid events through the whole
// service, and searches everything that it shows.
func TestSecretsNeverShow(t *testing.T) {
	t.Parallel()
	broker := kafkatest.Fake(t, kfake.SeedTopics(2, "orders", "captured", "rejected", "parked"))
	broker.Compacted(t, "ledger", 2)
	var log logBuffer
	service := newService(t, broker, &log)
	h := service.Handler()
	if status, body := page(t, h, "/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, `"reason":"`) {
		t.Errorf("before the start: /readyz answers %d %s", status, body)
	}

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- service.Run(ctx) }()
	awaitOutcomes(t, broker)
	status, ready := page(t, h, "/readyz")
	if status != http.StatusOK || service.Partitions(t.Context()) != 2 || len(service.HaltedPartitions(t.Context())) != 0 {
		t.Errorf("at work: /readyz answers %d %s", status, ready)
	}
	_, shown := page(t, h, "/status")
	if !strings.Contains(shown, `"state":"passing"`) || !strings.Contains(shown, `"partitions":2`) {
		t.Errorf("at work: /status answers %s", shown)
	}
	_, metrics := page(t, h, "/metrics")
	for _, want := range []string{
		`payment_capture_api_calls_total{meaning="captured",status="201"} 1`, `payment_capture_api_calls_total{meaning="retry",status="500"}`,
		`payment_capture_api_state{state="passing"} 1`, `payment_capture_halted{cause="credential"} 0`, "payment_capture_api_call_limit 16",
		"payment_capture_api_call_seconds_count", "payment_capture_partitions_owned 2", "payment_capture_flushes_total", "go_goroutines",
		"process_",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in /metrics:\n%s", want, metrics)
		}
	}

	stop()
	if err := <-ended; err != nil {
		t.Errorf("the service stopped with %v", err)
	}
	if status, body := page(t, h, "/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, `"reason":"stopping"`) {
		t.Errorf("after the end: /readyz answers %d %s", status, body)
	}
	for name, text := range map[string]string{"log": log.String(), "readyz": ready, "status": shown, "metrics": metrics} {
		if strings.Contains(text, accessToken) || strings.Contains(text, payerToken) {
			t.Errorf("the %s shows a secret:\n%s", name, text)
		}
	}
	if !strings.Contains(log.String(), `"msg":"event decided"`) || !strings.Contains(log.String(), `"msg":"stopped"`) {
		t.Errorf("the log is\n%s", log.String())
	}
}

// newService returns a service on the broker, with an API that fails once for each event
// and the log at level debug.
func newService(t *testing.T, broker *kafkatest.Broker, log *logBuffer, changes ...func(*config.Config)) *app.Service {
	t.Helper()
	sim, err := simulator.New(simulator.Config{AccessToken: accessToken, Script: simulator.Script{
		Payers: []simulator.Payer{{Token: payerToken + "-poor", Balance: "1.00"}},
		Rules:  []simulator.Rule{{Name: "broken once", Match: simulator.Match{ToTry: 1}, Action: simulator.ActionError, Status: 500}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	api := httptest.NewServer(sim)
	t.Cleanup(api.Close)
	c := good(broker.Addresses, api.URL)
	for _, change := range changes {
		change(&c)
	}
	service, err := app.New(app.Options{
		Config: c, Version: "test", DialKafka: broker.Dial, LedgerFS: vfs.NewMem(),
		Log: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return service
}

// awaitOutcomes sends the orders and waits until each has its outcome.
func awaitOutcomes(t *testing.T, broker *kafkatest.Broker) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.Addresses...), kgo.Dialer(broker.Dial),
		kgo.ConsumeTopics("captured", "rejected", "parked"), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	sendOrders(t, client)
	outcomes := map[string]int{}
	for len(outcomes) < 3 {
		fetches := client.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { outcomes[r.Topic]++ })
	}
}

// sendOrders sends one to capture, one to decline and one to park.
func sendOrders(t *testing.T, client *kgo.Client) {
	t.Helper()
	const order = `{"specversion":"1.0","id":"%s","source":"/test","type":"order.ready_to_capture","time":"%s","data":{` +
		`"order_id":"%[1]s","amount":%[3]s,"currency":"MXN","description":"An order","payer":{"token":"%[4]s"}}}`
	now := time.Now().UTC().Format(time.RFC3339)
	for _, value := range []string{
		fmt.Sprintf(order, "good", now, `"700.50"`, payerToken),
		fmt.Sprintf(order, "poor", now, `"700.50"`, payerToken+"-poor"),
		fmt.Sprintf(order, "broken", now, `{"`+payerToken+`":1}`, payerToken),
	} {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}
