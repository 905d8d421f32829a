package tracing

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"
)

func TestErrorsAreSampled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := newErrorLog(slog.New(slog.NewTextHandler(&out, nil)))
		long := errors.New("connection refused\n" + strings.Repeat("x", 5000))
		for range 3 {
			l.Handle(long)
		}
		if n := strings.Count(out.String(), "\n"); n != 1 || !strings.Contains(out.String(), "left_out=0") || out.Len() > 800 {
			t.Errorf("three errors at once are logged as\n%s", out.String())
		}
		out.Reset()
		time.Sleep(errorInterval)
		l.Handle(long)
		if !strings.Contains(out.String(), "left_out=2") {
			t.Errorf("the next interval is logged as\n%s", out.String())
		}
	})
}

func TestTraceParent(t *testing.T) {
	t.Parallel()
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	c := Parse(t.Context(), parent)
	if got := Format(trace.ContextWithRemoteSpanContext(t.Context(), c)); got != parent || !c.IsSampled() {
		t.Errorf("%s is read as %q", parent, got)
	}
	for _, text := range []string{"", "x", strings.ToUpper(parent), strings.Replace(parent, "4bf92f3577b34da6a3ce929d0e0e4736", strings.Repeat("0", 32), 1)} {
		if Parse(t.Context(), text).IsValid() {
			t.Errorf("%q is valid", text)
		}
	}
	if got := Format(t.Context()); got != "" {
		t.Errorf("a context without a span has the traceparent %q", got)
	}
}

func TestUnknownProtocol(t *testing.T) {
	t.Parallel()
	_, err := Start(t.Context(), Config{Protocol: "http/json", Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), `"http/json"`) {
		t.Errorf("got %v", err)
	}
}
