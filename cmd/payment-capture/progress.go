package main

import (
	"io"
	"log/slog"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progressEvery is the time between two lines of the log.
const progressEvery = 10 * time.Second

// progress shows how far a command is, phase after phase: a bar with the remaining
// time on a terminal, lines of the log elsewhere. It is not safe for concurrent use.
type progress struct {
	out           io.Writer // nil: not a terminal
	log           *slog.Logger
	bar           *progressbar.ProgressBar // nil: none is drawn now
	phase         string                   // "": none is shown now
	done, total   int64
	began, logged time.Time
}

func newProgress(out io.Writer, log *slog.Logger) *progress {
	if !isTerminal(out) {
		out = nil
	}
	return &progress{out: out, log: log}
}

// show shows how many steps of a phase are done. The first one of another phase
// ends the phase before.
func (p *progress) show(phase string, done, total int64) {
	if p.phase != phase {
		p.end()
		p.phase, p.began, p.logged = phase, time.Now(), time.Now()
	}
	p.done, p.total = done, total
	switch {
	case p.out == nil && time.Since(p.logged) >= progressEvery:
		p.line()
	case p.out != nil && total > 0:
		p.draw()
	}
}

// draw draws the bar. That it cannot be drawn is no reason to stop.
func (p *progress) draw() {
	if p.bar == nil {
		p.bar = progressbar.NewOptions64(p.total, progressbar.OptionSetWriter(p.out), progressbar.OptionSetDescription(p.phase),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("records"),
			progressbar.OptionSetPredictTime(true), progressbar.OptionSetWidth(20), progressbar.OptionThrottle(100*time.Millisecond))
	}
	if p.bar.GetMax64() != p.total {
		p.bar.ChangeMax64(p.total)
	}
	_ = p.bar.Set64(min(p.done, p.total))
}

// end ends the phase: it removes the bar, or logs a last line.
func (p *progress) end() {
	switch {
	case p.bar != nil:
		_ = p.bar.Clear()
		_ = p.bar.Exit()
		p.bar = nil
	case p.out == nil && p.phase != "":
		p.line()
	}
	p.phase = ""
}

func (p *progress) line() {
	p.logged = time.Now()
	took := time.Since(p.began).Seconds()
	attrs := []any{slog.String("phase", p.phase), slog.Int64("done", p.done), slog.Int64("total", p.total), slog.Float64("took_seconds", took)}
	if p.done > 0 && p.done < p.total {
		attrs = append(attrs, slog.Float64("remaining_seconds", took/float64(p.done)*float64(p.total-p.done)))
	}
	p.log.Info("progress", attrs...)
}
