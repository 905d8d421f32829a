//go:build synctests

package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"payment-capture/internal/ledger"
)

// reading is a ledger of a thousand records that are read in ten seconds, of
// which a moment halts it, or nothing does.
type reading struct {
	began time.Time
	halts time.Duration // 0: never
	ended error         // how CatchUp ended
}

const readIn = 10 * time.Second

func (r *reading) CatchUp(ctx context.Context) error {
	wait := readIn
	if r.halts > 0 {
		wait = time.Hour // as a ledger that halts does: until ctx ends
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		r.ended = ctx.Err()
	}
	return r.ended
}

func (r *reading) Health() ledger.Health {
	gone := time.Since(r.began)
	if r.halts > 0 && gone >= r.halts {
		return ledger.Health{State: "halted", Reason: "ledger_missing: another topic"}
	}
	n := int64(min(gone, readIn) * 1000 / readIn)
	return ledger.Health{State: "restoring", Read: n, Behind: 1000 - n}
}

func readAll(ctx context.Context, r *reading, bar *progress) error {
	defer bar.end()
	return whileWell(ctx, r, func(h ledger.Health) {
		if h.Behind > 0 {
			bar.show("reading the ledger", h.Read, h.Read+h.Behind)
		}
	}, r.CatchUp)
}

// screen keeps what a bar draws.
type screen struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func TestLedgerShowsHowFarItIs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var drawn screen
		began := time.Now()
		if err := readAll(t.Context(), &reading{began: began}, &progress{out: &drawn}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != readIn {
			t.Errorf("it took %s", took)
		}
		got := drawn.buf.String()
		for _, want := range []string{"reading the ledger", " 50% ", "(500/1000", "[5s:"} {
			if !strings.Contains(got, want) {
				t.Errorf("no %q in\n%q", want, got)
			}
		}
		if !strings.HasSuffix(got, "\r") {
			t.Errorf("the bar is left on the screen: %q", got[max(0, len(got)-100):])
		}
	})
}

func TestLedgerCommandEndsWhereTheLedgerHalts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		r := &reading{began: began, halts: 3 * time.Second}
		err := readAll(t.Context(), r, &progress{log: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), "ledger_missing") || time.Since(began) > 4*time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		if !errors.Is(r.ended, context.Canceled) {
			t.Errorf("CatchUp ended with %v", r.ended)
		}
	})
}

func TestLedgerCommandIsInterrupted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		err := readAll(ctx, &reading{began: began}, &progress{log: slog.New(slog.DiscardHandler)})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 3*time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}

// Without a terminal the progress is logged: now and then, with the remaining time,
// and at the end of a phase.
func TestProgressIsLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out, log bytes.Buffer
		p := newProgress(&out, logFrom(slog.LevelInfo, "json", &log))
		for i := range int64(25) {
			p.show("sending", i, 100)
			time.Sleep(time.Second)
		}
		p.show("sending", 25, 100)
		p.show("checking", 3, 3)
		p.end()
		p.end()
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		wants := []string{
			`"phase":"sending","done":10,"total":100,"took_seconds":10,"remaining_seconds":90}`, `"phase":"sending","done":20,`,
			`"phase":"sending","done":25,`, `"phase":"checking","done":3,"total":3,"took_seconds":0}`,
		}
		if len(lines) != len(wants) || out.Len() != 0 {
			t.Fatalf("%d lines:\n%s\n%s", len(lines), log.String(), out.String())
		}
		for i, want := range wants {
			if !strings.Contains(lines[i], want) {
				t.Errorf("line %d is %s, want %s", i, lines[i], want)
			}
		}
	})
}

// On a terminal a bar is drawn, and nothing is logged.
func TestProgressIsDrawn(t *testing.T) {
	t.Parallel()
	var out, log bytes.Buffer
	p := newProgress(&out, slog.New(slog.NewJSONHandler(&log, nil)))
	p.out = &out
	p.show("sending", 0, 4)
	p.show("sending", 4, 4)
	p.show("sending", 9, 4) // more than was expected
	p.end()
	if got := out.String(); !strings.Contains(got, "sending") || !strings.Contains(got, "4/4") || log.Len() != 0 {
		t.Errorf("drawn %q, logged %q", got, log.String())
	}
	// Nothing to do is no bar.
	out.Reset()
	p.show("sending", 1, 0)
	p.end()
	if strings.Contains(out.String(), "sending") || log.Len() != 0 {
		t.Errorf("drawn %q, logged %q", out.String(), log.String())
	}
}
