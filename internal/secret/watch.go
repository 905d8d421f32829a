package secret

import (
	"log/slog"
	"sync"
	"time"
)

// warnEvery is how often a Warner logs a file that stays unreadable.
const warnEvery = 10 * time.Minute

// Warner logs when a file that is read repeatedly becomes unreadable, and when it is
// readable again. It logs no content. Its zero value logs nothing.
type Warner struct {
	log   *slog.Logger
	attrs []any

	mu     sync.Mutex
	since  time.Time // when reading failed first, or zero; guarded by mu
	logged time.Time // when this was logged last; guarded by mu
}

// NewWarner returns a Warner for the file whose path an environment variable has.
func NewWarner(log *slog.Logger, variable, path string) *Warner {
	return &Warner{log: log, attrs: []any{slog.String("variable", variable), slog.String("file", path)}}
}

// Read records the result of reading the file.
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
