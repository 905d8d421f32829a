package app_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"payment-capture/internal/app"
	"payment-capture/internal/config"
	"payment-capture/internal/kafkatest"
)

// The context of the producer of the traced order, and its parts.
const (
	producerTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	producerSpan   = "00f067aa0ba902b7"
	producerParent = "00-" + producerTrace + "-" + producerSpan + "-01"
)

// traced configures traces. The SDK reads the endpoint itself.
func traced(t *testing.T, protocol, endpoint string) func(*config.Config) {
	t.Helper()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
	return func(c *config.Config) { c.TracesEndpoint, c.TracesProtocol = endpoint, protocol }
}

// run runs the service until stop is called, which returns how long the stop took.
func run(t *testing.T, service *app.Service) (stop func() time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- service.Run(ctx) }()
	return sync.OnceValue(func() time.Duration {
		began := time.Now()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the service stopped with %v", err)
		}
		return time.Since(began)
	})
}

func tracedBroker(t *testing.T) *kafkatest.Broker {
	t.Helper()
	broker := kafkatest.Fake(t, kfake.SeedTopics(2, "orders", "captured", "rejected", "parked"))
	broker.Compacted(t, "ledger", 2)
	return broker
}

// captureOne sends an order with a trace context and all secrets, and returns its outcome.
func captureOne(t *testing.T, broker *kafkatest.Broker, id string) *kgo.Record {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.Addresses...), kgo.Dialer(broker.Dial), kgo.ConsumeTopics("captured"),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	order := fmt.Sprintf(`{"specversion":"1.0","id":"%s","source":"/test","type":"order.ready_to_capture","time":"%s",`+
		`"traceparent":"%s","data":{"order_id":"%[1]s","amount":"700.50","currency":"MXN","description":"planted-description",`+
		`"device_session_id":"planted-session","payer":{"token":"%[4]s"}}}`, id, time.Now().UTC().Format(time.RFC3339), producerParent, payerToken)
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Value: []byte(order)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	for {
		fetches := client.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		for _, r := range fetches.Records() {
			if strings.Contains(string(r.Value), `"`+id+`"`) {
				return r
			}
		}
	}
}

func headerOf(r *kgo.Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

// TestTraces takes an event, whose first call fails, through a service that exports its
// spans only at the stop.
func TestTraces(t *testing.T) {
	for _, protocol := range []string{"http/protobuf", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
			var c collector
			var log logBuffer
			broker := tracedBroker(t)
			service := newService(t, broker, &log, traced(t, protocol, c.serve(t, protocol)))
			stop := run(t, service)
			outcome := captureOne(t, broker, "traced")
			metrics := awaitExemplar(t, service.Handler(), "payment_capture_decision_seconds_bucket")
			stop()

			spans, text := c.spans()
			process := only(t, spans, "process orders")
			if hex.EncodeToString(process.GetTraceId()) != producerTrace || hex.EncodeToString(process.GetParentSpanId()) != producerSpan ||
				process.GetKind() != tracepb.Span_SPAN_KIND_CONSUMER || attr(process, "cloudevents.event_id") != "traced" ||
				attr(process, "payment_capture.decision") != "captured" || attr(process, "messaging.operation.type") != "process" {
				t.Errorf("the process span is %v", process)
			}
			id := hex.EncodeToString(process.GetSpanId())
			if got, want := headerOf(outcome, "traceparent"), "00-"+producerTrace+"-"+id+"-01"; got != want {
				t.Errorf("the outcome's header is %q, want %q", got, want)
			}
			if !strings.Contains(string(outcome.Value), `"traceparent":"`+producerParent+`"`) {
				t.Errorf("the outcome does not have the event's traceparent: %s", outcome.Value)
			}
			if !strings.Contains(metrics, `span_id="`+id+`"`) || !strings.Contains(metrics, `trace_id="`+producerTrace+`"`) {
				t.Errorf("the exemplar is of another span: %s", metrics)
			}
			checkCalls(t, spans["POST /v1/advanced_payments"], id)
			receive := only(t, spans, "poll orders")
			if len(receive.GetLinks()) != 1 || hex.EncodeToString(receive.GetLinks()[0].GetSpanId()) != producerSpan ||
				len(process.GetLinks()) != 1 || string(process.GetLinks()[0].GetSpanId()) != string(receive.GetSpanId()) {
				t.Errorf("the links of poll are %v, and those of process %v", receive.GetLinks(), process.GetLinks())
			}
			flush := only(t, spans, "flush")
			if len(flush.GetLinks()) != 1 || hex.EncodeToString(flush.GetLinks()[0].GetSpanId()) != id {
				t.Errorf("the flush has the links %v", flush.GetLinks())
			}
			for _, secret := range []string{accessToken, "planted"} {
				if strings.Contains(text, secret) {
					t.Errorf("the spans show a secret, %s: %s", secret, text)
				}
			}
		})
	}
}

// checkCalls checks the spans of a call that failed and of its retry.
func checkCalls(t *testing.T, calls []*tracepb.Span, parent string) {
	t.Helper()
	if len(calls) != 2 {
		t.Fatalf("%d calls have spans, want 2", len(calls))
	}
	for i, want := range []struct{ status, resends, errorType string }{{"500", "", "500"}, {"201", "1", ""}} {
		s := calls[i]
		if hex.EncodeToString(s.GetParentSpanId()) != parent || s.GetKind() != tracepb.Span_SPAN_KIND_CLIENT ||
			!strings.HasSuffix(attr(s, "http.response.status_code"), want.status) || attr(s, "error.type") != want.errorType ||
			(want.resends == "") != (attr(s, "http.request.resend_count") == "") ||
			!strings.HasSuffix(attr(s, "http.request.resend_count"), want.resends) || attr(s, "http.request.method") != "POST" {
			t.Errorf("call %d has the span %v", i, s)
		}
	}
}

func only(t *testing.T, spans map[string][]*tracepb.Span, name string) *tracepb.Span {
	t.Helper()
	if len(spans[name]) != 1 {
		t.Fatalf("%d spans are %q, want 1; all: %v", len(spans[name]), name, spans)
	}
	return spans[name][0]
}

// awaitExemplar waits until a bucket of a histogram has an exemplar, and returns its line.
func awaitExemplar(t *testing.T, h http.Handler, name string) string {
	t.Helper()
	line := regexp.MustCompile(`(?m)^` + name + `.* # \{.*$`)
	for deadline := time.Now().Add(10 * time.Second); ; {
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
		request.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
		recorder := httptest.NewRecorder()
		h.ServeHTTP(recorder, request)
		if found := line.FindString(recorder.Body.String()); found != "" {
			return found
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s has no exemplar:\n%s", name, recorder.Body.String())
		}
	}
}

// A collector that never answers must not delay a capture, nor the stop by more than its
// share of the time.
func TestCollectorDoesNotAnswer(t *testing.T) {
	for _, protocol := range []string{"http/protobuf", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")
			t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
			silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "localhost:0") // nobody accepts
			if err != nil {
				t.Fatal(err)
			}
			defer silent.Close()
			var log logBuffer
			broker := tracedBroker(t)
			stop := run(t, newService(t, broker, &log, traced(t, protocol, "http://"+silent.Addr().String())))
			began := time.Now()
			for i := range 20 {
				captureOne(t, broker, fmt.Sprintf("order-%d", i))
			}
			t.Logf("20 captures took %s", time.Since(began))
			if took := stop(); took > 8*time.Second {
				t.Errorf("the stop took %s", took)
			}
			if n := strings.Count(log.String(), "last traces not exported"); n != 1 {
				t.Errorf("the log has %d lines about the last traces:\n%s", n, log.String())
			}
		})
	}
}

// A collector that cannot be reached is reported, once.
func TestCollectorIsAway(t *testing.T) {
	t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "100")
	var log logBuffer
	broker := tracedBroker(t)
	stop := run(t, newService(t, broker, &log, traced(t, "http/protobuf", "http://localhost:1")))
	for i := range 3 {
		captureOne(t, broker, fmt.Sprintf("order-%d", i))
	}
	stop()
	if n := strings.Count(log.String(), `"msg":"exporting traces failed"`); n != 1 {
		t.Errorf("the log has %d lines about the collector:\n%s", n, log.String())
	}
}

func TestTracesAreOff(t *testing.T) {
	t.Parallel()
	var log logBuffer
	broker := tracedBroker(t)
	stop := run(t, newService(t, broker, &log))
	outcome := captureOne(t, broker, "untraced")
	stop()
	if got := headerOf(outcome, "traceparent"); got != "" {
		t.Errorf("the outcome has the header %s", got)
	}
}
