//go:build integration

package acceptance

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/network"
	"github.com/testcontainers/testcontainers-go/wait"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/kafkatest"
)

// TestImage starts only the image and Kafka, as the test suite of a platform does: it
// runs the service with the simulated API, scripts a decline and reads the rejection.
// PAYMENT_CAPTURE_IMAGE names the image.
func TestImage(t *testing.T) {
	image := os.Getenv("PAYMENT_CAPTURE_IMAGE")
	if image == "" {
		t.Skip("PAYMENT_CAPTURE_IMAGE is not set: build one with `make image`, and name it")
	}
	net, err := network.New(t.Context())
	testcontainers.CleanupNetwork(t, net)
	if err != nil {
		t.Fatal(err)
	}
	kafka := kafkatest.Run(t, kafkatest.ContainerOptions{Network: net.Name})
	client, err := kgo.NewClient(kgo.SeedBrokers(kafka.Addresses...),
		kgo.ConsumeTopics("payment.rejected"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	created, err := kadm.NewClient(client).CreateTopics(t.Context(), 3, 1, nil,
		"order.ready_to_capture", "payment.captured", "payment.rejected", "payment-capture.parked")
	if err == nil {
		err = created.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	kafka.Compacted(t, "payment-capture.ledger", 3)

	// snippet: begin
	const script = `{"payers": [{"token": "declined-payer", "decline": "cc_rejected_call_for_authorize"}]}`
	service, err := testcontainers.Run(t.Context(), image,
		network.WithNetwork([]string{"payment-capture"}, net),
		testcontainers.WithCmd("run", "--simulator", "--simulator-listen", "localhost:8081", "--simulator-script", "/script.json"),
		testcontainers.WithEnv(map[string]string{
			"KAFKA_BROKERS": "kafka:19092", "KAFKA_START_AT": "earliest", "INSTANCE_ID": "test-1", "CURRENCY": "MXN",
		}),
		testcontainers.WithFiles(testcontainers.ContainerFile{
			Reader: strings.NewReader(script), ContainerFilePath: "/script.json", FileMode: 0o444,
		}),
		testcontainers.WithExposedPorts("8080/tcp"),
		testcontainers.WithWaitStrategyAndDeadline(time.Minute, wait.ForHTTP("/readyz").WithPort("8080/tcp")),
	)
	testcontainers.CleanupContainer(t, service)
	if err != nil {
		t.Fatal(err)
	}
	order := fmt.Sprintf(`{"specversion":"1.0","id":"event-1","source":"/orders","type":"order.ready_to_capture","time":%q,
		"data":{"order_id":"order-1","amount":"700.50","currency":"MXN","description":"Order 1","payer":{"token":"declined-payer"}}}`,
		time.Now().UTC().Format(time.RFC3339))
	record := &kgo.Record{Topic: "order.ready_to_capture", Key: []byte("order-1"), Value: []byte(order)}
	if err := client.ProduceSync(t.Context(), record).FirstErr(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	fetches := client.PollFetches(ctx)
	if err := fetches.Err(); err != nil {
		t.Fatal(err)
	}
	outcome := string(fetches.Records()[0].Value)
	// snippet: end

	for _, want := range []string{
		`"type":"payment.rejected"`, `"causationid":"event-1"`, `"reason":"cc_rejected_call_for_authorize"`,
		`"retry":"buyer_action"`,
	} {
		if !strings.Contains(outcome, want) {
			t.Errorf("the outcome has no %s: %s", want, outcome)
		}
	}
}
