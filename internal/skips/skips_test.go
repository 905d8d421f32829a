package skips_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"payment-capture/internal/event"
	"payment-capture/internal/skips"
)

func TestCounts(t *testing.T) {
	t.Parallel()
	var c skips.Counter
	if diff := cmp.Diff([]skips.Count{}, c.Counts()); diff != "" {
		t.Errorf("nothing skipped (-want +got):\n%s", diff)
	}
	c.Add(event.SkipOtherAccount, "north")
	c.Add(event.SkipTombstone, "")
	c.Add(event.SkipTombstone, "")
	for _, name := range []string{"order.shipped", "b", "order.shipped", "a"} {
		c.Add(event.SkipOtherType, name)
	}
	c.Add("other_reason", "")
	want := []skips.Count{
		{Reason: event.SkipOtherType, Records: 4, Names: []skips.Name{{"order.shipped", 2}, {"a", 1}, {"b", 1}}},
		{Reason: event.SkipTombstone, Records: 2, Names: []skips.Name{}},
		{Reason: event.SkipOtherAccount, Records: 1, Names: []skips.Name{{"north", 1}}},
		{Reason: "other_reason", Records: 1, Names: []skips.Name{}},
	}
	if diff := cmp.Diff(want, c.Counts()); diff != "" {
		t.Errorf("the counts are others (-want +got):\n%s", diff)
	}
	wantLines := []skips.Line{
		{"skipped: records of other types", 4},
		{"  order.shipped", 2},
		{"  a", 1},
		{"  b", 1},
		{"skipped: records without a value (tombstones)", 2},
		{"skipped: records of other accounts", 1},
		{"  north", 1},
		{"skipped: other_reason", 1},
	}
	if diff := cmp.Diff(wantLines, skips.Lines(c.Counts())); diff != "" {
		t.Errorf("the lines are others (-want +got):\n%s", diff)
	}
}

// TestTheMostFrequentNamesAreListed has more types than are listed, and than are
// kept. The sum is exact in any case.
func TestTheMostFrequentNamesAreListed(t *testing.T) {
	t.Parallel()
	var c skips.Counter
	total := int64(0)
	add := func(name string, times int) {
		for range times {
			c.Add(event.SkipOtherType, name)
			total++
		}
	}
	add("early", 60)
	for i := range 5000 {
		add(fmt.Sprintf("once.%d", i), 1)
	}
	add("late", 50)
	for i := range skips.Listed {
		add(fmt.Sprintf("often.%02d", i), 40)
	}
	got := c.Counts()[0]
	if got.Records != total || len(got.Names) != skips.Listed {
		t.Fatalf("%d records and %d names, want %d and %d", got.Records, len(got.Names), total, skips.Listed)
	}
	if got.Names[0] != (skips.Name{"early", 60}) || got.Names[1] != (skips.Name{"late", 50}) || got.Names[2] != (skips.Name{"often.00", 40}) {
		t.Errorf("the first names are %v", got.Names[:3])
	}
	if want := total - 60 - 50 - 18*40; got.Rest != want {
		t.Errorf("%d records have no name, want %d", got.Rest, want)
	}
	lines := skips.Lines([]skips.Count{got})
	if last := lines[len(lines)-1]; last != (skips.Line{"  further types", got.Rest}) {
		t.Errorf("the last line is %+v", last)
	}
}

// TestNamesAreBoundedAndPrintable because producers choose them.
func TestNamesAreBoundedAndPrintable(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"order.shipped":                 "order.shipped",
		"\x1b[2Jorder\n\x00":            "?[2Jorder??",
		"Zahlung.bestätigt":             "Zahlung.best?tigt",
		"\xff\xfe":                      "??",
		strings.Repeat("a", 64):         strings.Repeat("a", 64),
		strings.Repeat("a", 65):         strings.Repeat("a", 64) + "...",
		strings.Repeat("x", 64<<10):     strings.Repeat("x", 64) + "...",
		strings.Repeat("a", 63) + "ä..": strings.Repeat("a", 63) + "?...",
	} {
		var c skips.Counter
		c.Add(event.SkipOtherType, name)
		if got := c.Counts()[0].Names[0].Name; got != want {
			t.Errorf("%q is listed as %q, want %q", name[:min(len(name), 80)], got, want)
		}
	}
}

func TestCountedByManyGoroutines(t *testing.T) {
	t.Parallel()
	var c skips.Counter
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 3000 {
				c.Add(event.SkipOtherType, fmt.Sprint(i, n))
				c.Add(event.SkipTombstone, "")
			}
		})
	}
	wg.Wait()
	counts := c.Counts()
	if counts[0].Records != 24_000 || counts[1].Records != 24_000 {
		t.Errorf("counted %+v", counts)
	}
}
