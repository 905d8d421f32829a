//go:build synctests

package main

import (
	"bytes"
	"context"
	"errors"
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

func readAll(ctx context.Context, r *reading, bar progress) error {
	return whileWell(ctx, r, bar, r.CatchUp)
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
		if err := readAll(t.Context(), &reading{began: began}, progress{newBar(&drawn)}); err != nil {
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
		err := readAll(t.Context(), r, progress{})
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
		err := readAll(ctx, &reading{began: began}, progress{})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 3*time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}

// Where nobody looks nothing is drawn.
func TestNoBarIntoAFile(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := newProgress(&out)
	p.show(ledger.Health{Read: 1, Behind: 2})
	p.end()
	if out.Len() != 0 {
		t.Errorf("drew %q", out.String())
	}
}
