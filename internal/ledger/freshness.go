package ledger

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// An instance learns what others wrote by reading the topic. If it has not read for
// long, it would treat events as never attempted that others captured, when the API
// has forgotten their keys. So it answers nothing until it has read again.

// staleAfter is how long it may not have read all: far less than the API
// remembers a key.
const staleAfter = 10 * time.Minute

// freshness is from when on all is read that was in the topic then; zero: it was
// never.
type freshness struct{ at atomic.Pointer[time.Time] }

// set records that everything was read that was in the topic at a time. It ignores a
// time that is earlier than the recorded one: a slow reader reports late.
func (f *freshness) set(t time.Time) {
	for {
		known := f.at.Load()
		if known != nil && !t.After(*known) {
			return
		}
		if f.at.CompareAndSwap(known, &t) {
			return
		}
	}
}

// age returns the time since then, by the clock that shows more: after a machine was
// suspended, the monotonic clock lags.
func (f *freshness) age() time.Duration {
	t := f.at.Load()
	if t == nil {
		return 0
	}
	now := time.Now()
	return max(now.Sub(*t), now.Round(0).Sub(t.Round(0)))
}

// keepFresh polls the end of the topic, and records when the store reached it, until
// ctx ends.
func (l *Ledger) keepFresh(ctx context.Context) {
	for ctx.Err() == nil {
		asked := time.Now()
		ends, err := l.listEnds(ctx)
		if err == nil {
			err = l.reach(ctx, ends)
		}
		switch {
		case ctx.Err() != nil:
		case err != nil:
			l.log.DebugContext(ctx, "checking the end of the ledger failed", slog.Any("error", err))
		default:
			l.fresh.set(asked)
			l.checkAge(ctx)
		}
		pause(ctx, watchEvery)
	}
}

// checkAge halts while the store is out of date.
func (l *Ledger) checkAge(ctx context.Context) {
	state, _, _ := l.availability.current()
	if age := l.fresh.age(); state != stateRestoring && age > staleAfter {
		l.halt(causeStale, fmt.Sprintf("ledger_stale: topic %q was last read to its end %s ago: what other instances captured since is not "+
			"known here. "+
			"It recovers by itself when the topic can be read: check the brokers, the permission to read the topic, and hanging transactions in it",
			l.conf.Topic, age.Round(time.Second)))
	} else if l.availability.recovered(causeStale) {
		l.log.InfoContext(ctx, "ledger is read to its end again", slog.String("topic", l.conf.Topic))
	}
}
