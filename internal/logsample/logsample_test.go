package logsample

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRepeatedFault(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(New(slog.NewJSONHandler(&out, nil)))
		for i := range 151 { // at 0 s, 1 s, … 150 s
			log.Warn("fault", slog.String("error", "refused"), slog.Int("try", i))
			log.Info("progress")
			log.Warn("record parked", slog.String("event_id", "one"))
			<-time.After(time.Second)
		}
		var got []string
		for line := range strings.Lines(out.String()) {
			if strings.Contains(line, `"msg":"fault"`) {
				got = append(got, line[strings.Index(line, `"try"`):])
			}
		}
		want := `"try":0}` + "\n" + `"try":60,"left_out":59}` + "\n" + `"try":120,"left_out":59}` + "\n"
		if strings.Join(got, "") != want {
			t.Errorf("got\n%swant\n%s", strings.Join(got, ""), want)
		}
		for _, all := range []string{"progress", "record parked"} {
			if n := strings.Count(out.String(), all); n != 151 {
				t.Errorf("%q: got %d lines, want 151", all, n)
			}
		}
	})
}

func TestDifferentFaults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		h := New(slog.NewJSONHandler(&out, nil))
		log := slog.New(h)
		for range 2 {
			log.Warn("fault", slog.String("error", "a"))
			log.Warn("fault", slog.String("error", "b"))
			log.Error("fault", slog.String("error", "a"))
			log.Warn("fault", slog.String("error", "a"), slog.Int("partition", 1))
			log.With(slog.String("topic", "t")).Warn("fault", slog.String("error", "a"))
			log.WithGroup("g").Warn("fault", slog.String("error", "a"))
		}
		if n := strings.Count(out.String(), "\n"); n != 6 {
			t.Errorf("got %d lines, want 6:\n%s", n, &out)
		}
		// The memory is bounded, and nothing is lost beyond it.
		out.Reset()
		for range 2 {
			for i := range 3 * most {
				log.Warn(fmt.Sprint("fault ", i)) //nolint:sloglint // many different ones
			}
		}
		if n := strings.Count(out.String(), "\n"); len(h.faults.known) != most || n <= 5*most-10 {
			t.Errorf("got %d faults and %d lines", len(h.faults.known), n)
		}
		<-time.After(3 * Interval)
		log.Warn("one more")
		if len(h.faults.known) != 1 {
			t.Errorf("got %d faults after they ended, want 1", len(h.faults.known))
		}
	})
}
