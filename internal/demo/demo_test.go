package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// options are those of a small demo with a fixed seed.
func options(out *bytes.Buffer) Options {
	return Options{Events: 150, Seed: 4, Version: "test", Out: out, Log: slog.New(slog.DiscardHandler)}
}

func TestRunProves(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := Run(t.Context(), options(&out)); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	orders, err := generate("orders", 150, 4)
	if err != nil {
		t.Fatal(err)
	}
	kinds := make(map[string]int)
	for _, want := range orders.expect {
		kinds[want.kind]++
	}
	for label, want := range map[string]int{
		"events": 150, "captured": kinds["captured"],
		"records of other types, skipped": orders.other, "real charges": kinds["captured"], "double charges": 0,
		"events with exactly one decision, the right one": 150, "lost": 0, "doubled": 0, "wrong": 0,
		"charges that do not match the decision": 0,
	} {
		wantRow(t, out.String(), label, fmt.Sprint(want))
	}
	// On a slow machine an event may be parked instead of rejected.
	if got, want := row(t, out.String(), "rejected")+row(t, out.String(), "parked"), kinds["rejected"]+kinds["parked"]; got != want {
		t.Errorf("%d events are rejected or parked, want %d in\n%s", got, want, out.String())
	}
	wantRow(t, out.String(), "committed offsets at the end of the topic", "yes")
	if kinds["rejected"] == 0 || kinds["parked"] == 0 {
		t.Errorf("no order is rejected or none is parked: %v", kinds)
	}
}

// row returns the number in a row of the table.
func row(t *testing.T, table, label string) int {
	t.Helper()
	found := regexp.MustCompile(`│ +` + regexp.QuoteMeta(label) + ` +│ +(\d+) +│`).FindStringSubmatch(table)
	if found == nil {
		t.Fatalf("no row %q in\n%s", label, table)
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// wantRow checks a row of the table.
func wantRow(t *testing.T, table, label, value string) {
	t.Helper()
	row := regexp.MustCompile(`│ +` + regexp.QuoteMeta(label) + ` +│ +` + value + ` +│`)
	if !row.MatchString(table) {
		t.Errorf("no row %q with %s in\n%s", label, value, table)
	}
}

// TestRunLive checks that progress bars end with the demo.
func TestRunLive(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	opts := options(&out)
	opts.Events, opts.Live = 20, true
	if err := Run(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "decisions") || !strings.Contains(out.String(), "real charges") {
		t.Errorf("the output is\n%s", out.String())
	}
}

// TestRunIsInterrupted ends the demo as Ctrl-C does.
func TestRunIsInterrupted(t *testing.T) {
	t.Parallel()
	errInterrupt := errors.New("interrupt")
	ctx, cancel := context.WithCancelCause(t.Context())
	opts := options(nil)
	opts.Events, opts.Live = 20_000, true
	// The first progress is written long before the last decision.
	opts.Out = writerFunc(func([]byte) { cancel(errInterrupt) })
	if err := Run(ctx, opts); !errors.Is(err, errInterrupt) {
		t.Errorf("got %v", err)
	}
}

// writerFunc is called for every write.
type writerFunc func(p []byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

func TestKeepRunningEndsWithTheContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	opts := options(nil)
	invited := false
	opts.Events, opts.KeepRunning = 5, true
	opts.Out = writerFunc(func(p []byte) {
		if strings.Contains(string(p), "until Ctrl-C") {
			invited = true
			cancel()
		}
	})
	if err := Run(ctx, opts); err != nil || !invited {
		t.Errorf("got %v, invited: %t", err, invited)
	}
}

func TestRunNeedsItsPort(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	opts := options(&bytes.Buffer{})
	opts.BrokerPort = uint16(listener.Addr().(*net.TCPAddr).Port)
	if err := Run(t.Context(), opts); err == nil || errors.Is(err, ErrNotProven) {
		t.Errorf("got %v", err)
	}
	opts.Events = 0
	if err := Run(t.Context(), opts); err == nil {
		t.Error("no events: no error")
	}
}

// TestServiceEndsEarly checks that the demo ends with the error of the service.
func TestServiceEndsEarly(t *testing.T) {
	t.Parallel()
	errHalted := errors.New("halted")
	for name, want := range map[string]error{"with an error": errHalted, "without": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			opts := options(&out)
			s, err := setUp(t.Context(), opts)
			if err != nil {
				t.Fatal(err)
			}
			defer s.tearDown()
			_, err = s.perform(t.Context(), begin(func() error { return want }))
			if err == nil || !strings.HasPrefix(err.Error(), "the service ended") || (want != nil && !errors.Is(err, want)) {
				t.Errorf("got %v", err)
			}
		})
	}
}
