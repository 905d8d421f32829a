package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestStepsAreLogged where there is no terminal: now and then, with the time
// that is left, and at the end.
func TestStepsAreLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out, log bytes.Buffer
		s := newSteps(&out, logFrom(slog.LevelInfo, &log))
		s.Begin("sending", 100)
		for i := range int64(25) {
			time.Sleep(time.Second)
			s.At(i + 1)
		}
		s.End()
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 3 || out.Len() != 0 {
			t.Fatalf("%d lines:\n%s\n%s", len(lines), log.String(), out.String())
		}
		for i, want := range []string{`"records":10,"of":100,"took":"10s","left":"1m30s"`, `"records":20`, `"records":25`} {
			if !strings.Contains(lines[i], want) || !strings.Contains(lines[i], `"phase":"sending"`) {
				t.Errorf("line %d is %s, want %s", i, lines[i], want)
			}
		}
	})
}

// TestStepsAreDrawn on a terminal, and nothing is logged there.
func TestStepsAreDrawn(t *testing.T) {
	t.Parallel()
	var out, log bytes.Buffer
	s := newSteps(&out, slog.New(slog.NewJSONHandler(&log, nil)))
	s.out = &out
	s.Begin("sending", 4)
	s.At(4)
	s.At(9) // more than was thought
	s.End()
	if got := out.String(); !strings.Contains(got, "sending") || !strings.Contains(got, "4/4") || log.Len() != 0 {
		t.Errorf("drawn %q, logged %q", got, log.String())
	}
	// Nothing to do is no bar.
	out.Reset()
	s.Begin("sending", 0)
	s.At(1)
	s.End()
	if strings.Contains(out.String(), "sending") || log.Len() != 0 {
		t.Errorf("drawn %q, logged %q", out.String(), log.String())
	}
}
