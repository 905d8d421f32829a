// Package logsample thins out repeated faults in a log.
package logsample

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// Interval is the time between two lines of one fault.
const Interval = time.Minute

// most bounds how many faults are remembered. Further ones are logged in full.
const most = 1000

// Handler passes the first record of a fault on, and then one per Interval, with the
// number of those left out between. A fault is a level from warn on, a message and its
// texts and errors; numbers and times may differ. Records about one event are never left
// out.
type Handler struct {
	slog.Handler

	prefix string // the attributes and groups of WithAttrs and WithGroup
	event  bool   // prefix has an event
	faults *faults
}

// New returns a handler in front of another one.
func New(next slog.Handler) *Handler {
	return &Handler{Handler: next, faults: &faults{known: make(map[string]*fault)}}
}

type faults struct {
	mu    sync.Mutex
	known map[string]*fault // guarded by mu
}

type fault struct {
	logged  time.Time
	leftOut int
}

// Handle implements [slog.Handler].
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn || h.event {
		return h.Handler.Handle(ctx, r)
	}
	var key strings.Builder
	key.WriteString(h.prefix + r.Level.String() + "\x00" + r.Message)
	event := false
	r.Attrs(func(a slog.Attr) bool {
		event = event || addTo(&key, a)
		return !event
	})
	if event {
		return h.Handler.Handle(ctx, r)
	}
	leftOut, pass := h.faults.pass(key.String(), time.Now())
	if !pass {
		return nil
	}
	if leftOut > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("left_out", leftOut))
	}
	return h.Handler.Handle(ctx, r)
}

// addTo adds an attribute to a key, unless it is a number or a time, and reports whether
// it names an event.
func addTo(key *strings.Builder, a slog.Attr) (event bool) {
	value := a.Value.Resolve()
	switch value.Kind() {
	case slog.KindString, slog.KindAny, slog.KindBool, slog.KindGroup:
		key.WriteString("\x00" + a.Key + "=" + value.String())
	case slog.KindDuration, slog.KindFloat64, slog.KindInt64, slog.KindTime, slog.KindUint64, slog.KindLogValuer:
		if a.Key == "partition" {
			key.WriteString("\x00" + value.String())
		}
	}
	return a.Key == "event_id"
}

// pass reports whether a record of a fault is logged, and how many were left out before.
func (f *faults) pass(key string, now time.Time) (leftOut int, pass bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.known[key]
	if known != nil && now.Sub(known.logged) < Interval {
		known.leftOut++
		return 0, false
	}
	if known == nil && len(f.known) >= most {
		for other, one := range f.known {
			if now.Sub(one.logged) >= 2*Interval { // it has ended, or the next line of it is a first one again
				delete(f.known, other)
			}
		}
		if len(f.known) >= most {
			return 0, true
		}
	}
	if known != nil {
		leftOut = known.leftOut
	}
	f.known[key] = &fault{logged: now}
	return leftOut, true
}

// WithAttrs implements [slog.Handler].
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	more := *h
	more.Handler = h.Handler.WithAttrs(attrs)
	var key strings.Builder
	key.WriteString(h.prefix)
	for _, a := range attrs {
		more.event = addTo(&key, a) || more.event
	}
	more.prefix = key.String()
	return &more
}

// WithGroup implements [slog.Handler].
func (h *Handler) WithGroup(name string) slog.Handler {
	more := *h
	more.Handler, more.prefix = h.Handler.WithGroup(name), h.prefix+"\x00"+name
	return &more
}
