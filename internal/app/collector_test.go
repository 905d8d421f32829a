package app_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// collector is an OTLP receiver in this process.
type collector struct {
	collectorpb.UnimplementedTraceServiceServer

	mu       sync.Mutex // guards what follows
	requests []*collectorpb.ExportTraceServiceRequest
}

// Export implements [collectorpb.TraceServiceServer].
func (c *collector) Export(_ context.Context, r *collectorpb.ExportTraceServiceRequest) (*collectorpb.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests = append(c.requests, r)
	return &collectorpb.ExportTraceServiceResponse{}, nil
}

// ServeHTTP implements [http.Handler].
func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var request collectorpb.ExportTraceServiceRequest
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = proto.Unmarshal(body, &request)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, "not a request of OTLP", http.StatusBadRequest)
		return
	}
	_, _ = c.Export(r.Context(), &request) // has no error
}

// serve starts the collector, and returns its endpoint.
func (c *collector) serve(t *testing.T, protocol string) string {
	t.Helper()
	if protocol != "grpc" {
		server := httptest.NewServer(c)
		t.Cleanup(server.Close)
		return server.URL
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	collectorpb.RegisterTraceServiceServer(server, c)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Errorf("the collector ended with %v", err)
		}
	})
	return "http://" + listener.Addr().String()
}

// spans returns the spans by name, and the text of all that was exported.
func (c *collector) spans() (byName map[string][]*tracepb.Span, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	byName = make(map[string][]*tracepb.Span)
	for _, r := range c.requests {
		text += r.String()
		for _, resource := range r.GetResourceSpans() {
			for _, scope := range resource.GetScopeSpans() {
				for _, s := range scope.GetSpans() {
					byName[s.GetName()] = append(byName[s.GetName()], s)
				}
			}
		}
	}
	return byName, text
}

// attr returns an attribute of a span, as the library prints it; "": it has none.
func attr(s *tracepb.Span, name string) string {
	for _, kv := range s.GetAttributes() {
		if kv.GetKey() == name {
			return valueText(kv.GetValue())
		}
	}
	return ""
}

func valueText(v *commonpb.AnyValue) string {
	if s, ok := v.GetValue().(*commonpb.AnyValue_StringValue); ok {
		return s.StringValue
	}
	return v.String()
}
