package config

import (
	"cmp"
	"slices"

	"payment-capture/internal/tracing"
)

// Traces reports whether traces are exported, and by which protocol.
func (c Config) Traces() (protocol string, on bool) {
	exporter := c.TracesExporter
	if exporter == "" && cmp.Or(c.TracesEndpointOwn, c.TracesEndpoint) != "" {
		exporter = exporterOTLP
	}
	return cmp.Or(c.TracesProtocolOwn, c.TracesProtocol, tracing.ProtocolHTTP), exporter == exporterOTLP && !c.OpenTelemetryDisable
}

// exporterOTLP as OTEL_TRACES_EXPORTER exports traces.
const exporterOTLP = "otlp"

func (c Config) checkTraces(wrong report) {
	if !slices.Contains([]string{"", exporterOTLP, "none"}, c.TracesExporter) {
		wrong("OTEL_TRACES_EXPORTER", "%q is neither %s nor none", c.TracesExporter, exporterOTLP)
	}
	for name, protocol := range map[string]string{
		"OTEL_EXPORTER_OTLP_PROTOCOL": c.TracesProtocol, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": c.TracesProtocolOwn,
	} {
		if !slices.Contains([]string{"", tracing.ProtocolHTTP, tracing.ProtocolGRPC}, protocol) {
			wrong(name, "%q is neither %s nor %s", protocol, tracing.ProtocolHTTP, tracing.ProtocolGRPC)
		}
	}
}
