package mercadopago

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// scope is the instrumentation scope of the spans.
const scope = "payment-capture/internal/mercadopago"

// callSpan is the span of one HTTP call, by OpenTelemetry's conventions for HTTP clients;
// nil: the capture is not traced. It has no headers, no body, and no query, which names
// the reference of the order.
type callSpan struct{ span trace.Span }

// startCall begins the span of a call if the context's span is recorded.
func (c *Client) startCall(ctx context.Context, method, resource string, resends int) *callSpan {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return nil
	}
	where, _, _ := strings.Cut(resource, "?")
	template := templateOf(where)
	_, span := parent.TracerProvider().Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL)).
		Start(ctx, method+" "+template, trace.WithSpanKind(trace.SpanKindClient))
	span.SetAttributes(semconv.HTTPRequestMethodKey.String(method), semconv.URLFull(c.base+where), semconv.URLTemplate(template))
	if u, err := url.Parse(c.base); err == nil { // New has checked it
		port, err := strconv.Atoi(u.Port())
		if err != nil {
			port = map[string]int{"http": 80, "https": 443}[u.Scheme]
		}
		span.SetAttributes(semconv.ServerAddress(u.Hostname()), semconv.ServerPort(port))
	}
	if resends > 0 {
		span.SetAttributes(semconv.HTTPRequestResendCount(resends))
	}
	return &callSpan{span}
}

// templateOf returns a path of ours without the id of a payment.
func templateOf(resource string) string {
	if id, ok := strings.CutPrefix(resource, path+"/"); ok && id != "search" {
		return path + "/{id}"
	}
	return resource
}

// end ends the span with the result of the call: x, or none without a complete answer.
func (s *callSpan) end(x *exchange, none *Answer) {
	if s == nil {
		return
	}
	defer s.span.End()
	status := 0
	if x != nil {
		status = x.status
	} else if none != nil {
		status = none.HTTPStatus
	}
	if status != 0 {
		s.span.SetAttributes(semconv.HTTPResponseStatusCode(status))
	}
	switch {
	case x == nil && none != nil: // its detail may quote the API
		s.span.SetAttributes(semconv.ErrorTypeKey.String(none.Cause.String()))
	case status >= http.StatusBadRequest:
		s.span.SetAttributes(semconv.ErrorTypeKey.String(strconv.Itoa(status)))
	default:
		return
	}
	s.span.SetStatus(codes.Error, "")
}
