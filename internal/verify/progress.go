package verify

import (
	"io"
	"log/slog"
	"time"

	"github.com/schollz/progressbar/v3"
)

// Bar gives a [Config.Progress] that draws a bar a stage on a terminal, with the
// time that is left.
func Bar(w io.Writer) func(Stage, int64, int64) {
	var bar *progressbar.ProgressBar
	var of Stage
	return func(stage Stage, done, total int64) {
		if bar == nil || of != stage {
			of = stage
			bar = progressbar.NewOptions64(max(total, 1), progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(string(stage)),
				progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetPredictTime(true),
				progressbar.OptionSetWidth(20), progressbar.OptionThrottle(100*time.Millisecond),
				progressbar.OptionOnCompletion(func() { _, _ = io.WriteString(w, "\n") }))
		}
		_ = bar.Set64(done) // that it cannot be drawn is no reason to stop
	}
}

// lineEvery is how often the log has a line about the progress.
const lineEvery = 10 * time.Second

// Lines gives a [Config.Progress] that writes a line into the log every ten
// seconds, and one at the end of a stage.
func Lines(log *slog.Logger) func(Stage, int64, int64) {
	last, ended := time.Now(), Stage("")
	began := make(map[Stage]time.Time)
	return func(stage Stage, done, total int64) {
		now := time.Now()
		if began[stage].IsZero() {
			began[stage] = now
		}
		if ended == stage || (done < total && now.Sub(last) < lineEvery) {
			return
		}
		last = now
		attrs := []any{slog.String("stage", string(stage)), slog.Int64("done", done), slog.Int64("total", total)}
		if spent := now.Sub(began[stage]); done > 0 && done < total {
			attrs = append(attrs, slog.Duration("left", time.Duration(float64(spent)*float64(total-done)/float64(done)).Round(time.Second)))
		}
		if done >= total {
			ended = stage
		}
		log.Info("progress", attrs...)
	}
}
