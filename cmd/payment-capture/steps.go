package main

import (
	"io"
	"log/slog"
	"time"

	"github.com/schollz/progressbar/v3"
)

// steps shows how far a replay is: a bar with the time left on a terminal, and
// lines of the log elsewhere.
type steps struct {
	out   io.Writer // nil: no terminal
	log   *slog.Logger
	bar   *progressbar.ProgressBar
	phase string
	total int64
	began time.Time
	told  time.Time
	done  int64
}

// tellEvery is the time between two lines of the log.
const tellEvery = 10 * time.Second

func newSteps(out io.Writer, log *slog.Logger) *steps {
	if !isTerminal(out) {
		out = nil
	}
	return &steps{out: out, log: log}
}

// Begin implements [replay.Progress].
func (s *steps) Begin(phase string, total int64) {
	s.phase, s.total, s.done = phase, total, 0
	s.began, s.told = time.Now(), time.Now()
	if s.out != nil && total > 0 {
		s.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(s.out), progressbar.OptionSetDescription(phase),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("records"),
			progressbar.OptionSetPredictTime(true), progressbar.OptionSetWidth(20), progressbar.OptionThrottle(100*time.Millisecond))
	}
}

// At implements [replay.Progress]. That it cannot be drawn is no reason to stop.
func (s *steps) At(done int64) {
	s.done = done
	if s.bar != nil {
		_ = s.bar.Set64(min(done, s.total))
		return
	}
	if time.Since(s.told) >= tellEvery {
		s.told = time.Now()
		s.tell("replay goes on")
	}
}

// End implements [replay.Progress].
func (s *steps) End() {
	if s.bar != nil {
		_ = s.bar.Clear()
		_ = s.bar.Exit()
		s.bar = nil
		return
	}
	if s.out == nil {
		s.tell("replay: a phase is over")
	}
}

func (s *steps) tell(what string) {
	took := time.Since(s.began)
	attrs := []any{slog.String("phase", s.phase), slog.Int64("records", s.done), slog.Int64("of", s.total), slog.Duration("took", took.Round(time.Millisecond))}
	if s.done > 0 && s.done < s.total {
		left := time.Duration(float64(took) / float64(s.done) * float64(s.total-s.done))
		attrs = append(attrs, slog.Duration("left", left.Round(time.Second)))
	}
	s.log.Info(what, attrs...) //nolint:sloglint // both texts are fixed
}
