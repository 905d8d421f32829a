package config

import (
	"strings"
	"testing"
)

func TestTraces(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		c        Config
		protocol string
		on       bool
	}{
		"nothing":         {Config{}, "http/protobuf", false},
		"protocol alone":  {Config{TracesProtocol: "grpc"}, "grpc", false},
		"exporter":        {Config{TracesExporter: "otlp"}, "http/protobuf", true},
		"endpoint":        {Config{TracesEndpoint: "http://c:4318"}, "http/protobuf", true},
		"of traces alone": {Config{TracesEndpointOwn: "http://c", TracesProtocolOwn: "grpc", TracesProtocol: "http/protobuf"}, "grpc", true},
		"none":            {Config{TracesExporter: "none", TracesEndpoint: "http://c:4318"}, "http/protobuf", false},
		"disabled":        {Config{TracesExporter: "otlp", OpenTelemetryDisable: true}, "http/protobuf", false},
	} {
		if protocol, on := test.c.Traces(); protocol != test.protocol || on != test.on {
			t.Errorf("%s: got %s, %t", name, protocol, on)
		}
	}
}

func TestWrongTraces(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Config{
		"OTEL_TRACES_EXPORTER":               {TracesExporter: "jaeger"},
		"OTEL_EXPORTER_OTLP_PROTOCOL":        {TracesProtocol: "http/json"},
		"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": {TracesProtocolOwn: "http"},
	} {
		var all []error
		c.checkTraces(collect(&all))
		if len(all) != 1 || !strings.HasPrefix(all[0].Error(), name+": ") {
			t.Errorf("%s: got %v", name, all)
		}
	}
}
