package main

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"testing"
)

// Secrets that no output may show.
const (
	accessToken = "APP_USR-planted-token"
	password    = "planted-password"
)

// setEnv makes the environment that of the test alone, with these variables,
// each as NAME=value.
func setEnv(t *testing.T, variables ...string) {
	t.Helper()
	for _, kv := range os.Environ() {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value) // puts it back after the test
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	for _, kv := range variables {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value)
	}
}

// output keeps what a command writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
	// until is closed once the output contains wanted.
	wanted string
	until  chan struct{}
}

func newOutput(wanted string) *output { return &output{wanted: wanted, until: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Write(p)
	if o.wanted != "" && strings.Contains(o.buf.String(), o.wanted) {
		close(o.until)
		o.wanted = ""
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// result is what came of a command.
type result struct {
	code           int
	stdout, stderr string
}

// command runs a command to its end, and checks that it shows no secret.
func command(t *testing.T, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	r := result{code: run(args, &stdout, &stderr)}
	r.stdout, r.stderr = stdout.String(), stderr.String()
	if strings.Contains(r.stdout+r.stderr, "planted") {
		t.Errorf("%v shows a secret:\n%s%s", args, r.stdout, r.stderr)
	}
	return r
}

// commands runs commands that only read at the same time, and returns their results
// in order.
func commands(t *testing.T, all ...[]string) []result {
	t.Helper()
	results := make([]result, len(all))
	var wg sync.WaitGroup
	for i, args := range all {
		wg.Go(func() { results[i] = command(t, args...) })
	}
	wg.Wait()
	return results
}
