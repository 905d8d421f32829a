package main

import (
	"io"
	"time"

	"github.com/schollz/progressbar/v3"

	"payment-capture/internal/ledger"
)

// progress shows on a terminal how far the ledger has been read. Elsewhere it
// shows nothing.
type progress struct{ bar *progressbar.ProgressBar }

func newProgress(w io.Writer) progress {
	if !isTerminal(w) {
		return progress{}
	}
	return progress{newBar(w)}
}

func newBar(w io.Writer) *progressbar.ProgressBar {
	return progressbar.NewOptions64(1, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription("reading the ledger"),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("records"),
		progressbar.OptionSetPredictTime(true), progressbar.OptionSetWidth(20), progressbar.OptionThrottle(100*time.Millisecond))
}

// show draws the bar. That it cannot be drawn is no reason to stop.
func (p progress) show(h ledger.Health) {
	// A full bar is finished for good; the end of the topic may move on.
	if p.bar == nil || h.Behind <= 0 {
		return
	}
	description := "reading the ledger"
	if h.Reason != "" {
		description += " (" + h.Reason + ")"
	}
	p.bar.Describe(description)
	p.bar.ChangeMax64(h.Read + h.Behind)
	_ = p.bar.Set64(h.Read)
}

// end takes the bar away.
func (p progress) end() {
	if p.bar != nil {
		_ = p.bar.Clear()
		_ = p.bar.Exit()
	}
}
