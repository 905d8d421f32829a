package ledger

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// What other instances wrote reaches this one only as long as it reads. One that
// has not for long would say "never attempted" of what another one captured,
// when the API has forgotten it: so it says nothing until it has read again.

// staleAfter is how long it may not have read all: far less than the API
// remembers a key.
const staleAfter = 10 * time.Minute

// freshness is from when on all is read that was in the topic then; zero: it was
// never.
type freshness struct{ at atomic.Pointer[time.Time] }

// set notes that all was read that was in the topic at a time. An earlier one than
// the noted one is passed over: who waited long to have it read tells it late.
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

// age gives how long that is ago, by the clock that shows more: of a machine
// that was suspended one stands still.
func (f *freshness) age() time.Duration {
	t := f.at.Load()
	if t == nil {
		return 0
	}
	now := time.Now()
	return max(now.Sub(*t), now.Round(0).Sub(t.Round(0)))
}

// keepFresh asks again and again how far the topic goes, and notes when that was
// read, until ctx ends.
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
			l.log.DebugContext(ctx, "whether the ledger is read to its end cannot be told", slog.Any("error", err))
		default:
			l.fresh.set(asked)
			l.lookAtAge(ctx)
		}
		pause(ctx, watchEvery)
	}
}

// lookAtAge halts while the store is not what it was lately in the topic.
func (l *Ledger) lookAtAge(ctx context.Context) {
	state, _, _ := l.gate.look()
	if age := l.fresh.age(); state != stateRestoring && age > staleAfter {
		l.halt(causeStale, fmt.Sprintf("ledger_stale: topic %q was last read to its end %s ago: what other instances captured since is not known here. "+
			"It goes on by itself when it can be read: look at the brokers, at the permission to read the topic, and for a transaction that hangs on it",
			l.conf.Topic, age.Round(time.Second)))
	} else if l.gate.mended(causeStale) {
		l.log.InfoContext(ctx, "the ledger is read to its end again", slog.String("topic", l.conf.Topic))
	}
}
