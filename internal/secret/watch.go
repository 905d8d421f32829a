package secret

import (
	"log/slog"
	"sync"
	"time"
)

// warnEvery is how often a file that stays unreadable is logged.
const warnEvery = 10 * time.Minute

// Warner logs when a file that is read again and again cannot be read, and when
// it can be read again. It logs no content. Its zero value logs nothing.
type Warner struct {
	log   *slog.Logger
	attrs []any

	mu     sync.Mutex
	since  time.Time // when reading failed first; zero: it did not; guarded by mu
	logged time.Time // when this was logged last; guarded by mu
}

// NewWarner returns a Warner for the file that a variable names.
func NewWarner(log *slog.Logger, variable, path string) *Warner {
	return &Warner{log: log, attrs: []any{slog.String("variable", variable), slog.String("file", path)}}
}

// Read notes how reading the file ended.
func (w *Warner) Read(err error) {
	if w == nil || w.log == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	switch {
	case err == nil && w.since.IsZero():
	case err == nil:
		w.log.Info("file can be read again", append([]any{slog.Float64("failed_seconds", now.Sub(w.since).Seconds())}, w.attrs...)...)
		w.since = time.Time{}
	case w.since.IsZero() || now.Sub(w.logged) >= warnEvery:
		if w.since.IsZero() {
			w.since = now
		}
		w.logged = now
		w.log.Warn("file cannot be read; its last good content stays in use", append([]any{slog.Any("error", err)}, w.attrs...)...)
	}
}
