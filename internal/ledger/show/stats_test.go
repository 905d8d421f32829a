package show_test

import (
	"bytes"
	"encoding/json"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"payment-capture/internal/event"
	"payment-capture/internal/ledger/show"
)

func statsForTest(t *testing.T) *show.Stats {
	t.Helper()
	stats := show.NewStats(book(), now)
	resent := parked(event.ParkUndecided, now.Add(-48*time.Hour))
	resent.Attempt = attempt(2 * time.Hour)
	for _, h := range []event.History{
		captured(t, "700.50", "MXN"), captured(t, "0.10", "MXN"), captured(t, "15000", "CLP"), rejected(t),
		parked(event.ParkTooOld, now.Add(-time.Hour)), parked(event.ParkTooOld, now.Add(-2*time.Hour)), resent,
		{Attempt: attempt(time.Minute)},
		{Attempt: attempt(25 * time.Hour)},
		{Attempt: attempt(-time.Hour)},
		{},
	} {
		stats.Add(h)
	}
	return stats
}

func TestStatsInJSON(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := show.JSON(&out, statsForTest(t)); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"events":          10.0,
		"decisions":       map[string]any{"captured": 3.0, "rejected": 1.0, "parked": 3.0, "undecided": 3.0},
		"parked":          map[string]any{"too_old": 2.0, "undecided": 1.0},
		"open_attempts":   map[string]any{"young": 1.0, "aged": 1.0, "past_horizon": 1.0, "future": 1.0},
		"captured_sums":   map[string]any{"MXN": "700.60", "CLP": "15000"},
		"oldest_decision": "2026-11-22T12:00:00Z",
		"newest_decision": "2026-11-24T12:00:00Z",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestStatsAsATable(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	statsForTest(t).Print(&out)
	for _, want := range []string{
		`events +\| +10 `, `captured +\| +3 `, `rejected +\| +1 `, `parked +\| +3 `, `undecided +\| +3 `, `parked: too_old +\| +2 `,
		`parked: undecided +\| +1 `,
		`open attempts, up to 1h old +\| +1 `, `open attempts, up to 24h old +\| +1 `, `open attempts, older +\| +1 `,
		`open attempts, from the future +\| +1 `,
		`captured, MXN +\| +700\.60 `, `captured, CLP +\| +15000 `, `oldest decision +\| +2026-11-22T12:00:00\.000Z`,
		`newest decision +\| +2026-11-24T12:00:00\.000Z`,
	} {
		if !regexp.MustCompile(want).Match(out.Bytes()) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestStatsOfAnEmptyLedger(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	show.NewStats(book(), now).Print(&out)
	if !regexp.MustCompile(`decisions +\| +none`).Match(out.Bytes()) || regexp.MustCompile("0001|parked:").Match(out.Bytes()) {
		t.Errorf("got\n%s", out.String())
	}
}

// A sum is not bounded as an amount is: 200,000 of the largest.
func TestSumsDoNotOverflow(t *testing.T) {
	t.Parallel()
	stats := show.NewStats(book(), now)
	h := captured(t, "999999999999.99", "MXN")
	for range 200_000 {
		stats.Add(h)
	}
	if got, want := stats.Sums["MXN"].String(), "199999999999998000.00"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
