package ledger

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The states of a ledger.
const (
	stateRestoring = "restoring"
	stateFollowing = "following"
	stateHalted    = "halted"
)

// states lists them.
func states() []string { return []string{stateRestoring, stateFollowing, stateHalted} }

// availability reports whether lookups may be answered: only while the store is
// complete. An incomplete store would answer "never attempted" for missing records.
type availability struct {
	open atomic.Bool

	mu        sync.Mutex
	restoring bool
	why       string // the store is restored; "": it was not read before
	halts     []halt
	since     time.Time
	changed   chan struct{} // closed at the next change
}

// halt is a reason to answer nothing.
type halt struct {
	cause  cause
	reason string
}

// cause is what a halt comes from. That of a policy ends when the policy is
// repaired, that of a stale store when it is read again; the others last until the
// process ends.
type cause uint8

const (
	causeLost cause = iota
	causeUnreadable
	causePolicy
	causePartitions
	causeStale
)

// String returns the word for the cause in metrics.
func (c cause) String() string {
	return [...]string{"missing", "unreadable", "policy", "partitions", "stale"}[c]
}

func newAvailability() *availability {
	return &availability{restoring: true, since: time.Now(), changed: make(chan struct{})}
}

// set changes the availability and wakes the lookups that wait for it.
func (g *availability) set(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	before := g.state()
	change()
	if g.state() != before {
		g.since = time.Now()
	}
	g.open.Store(g.state() == stateFollowing)
	close(g.changed)
	g.changed = make(chan struct{})
}

func (g *availability) state() string {
	switch {
	case len(g.halts) > 0:
		return stateHalted
	case g.restoring:
		return stateRestoring
	}
	return stateFollowing
}

func (g *availability) restore(why string) { g.set(func() { g.restoring, g.why = true, why }) }
func (g *availability) restored()          { g.set(func() { g.restoring, g.why = false, "" }) }

// rebuilding returns why the store is restored, or "".
func (g *availability) rebuilding() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.why
}

// halt makes the ledger unavailable for a cause; the first reason of each cause
// stays. It reports whether the cause is new.
func (g *availability) halt(c cause, reason string) (isNew bool) {
	g.set(func() {
		if !slices.ContainsFunc(g.halts, func(h halt) bool { return h.cause == c }) {
			g.halts, isNew = append(g.halts, halt{c, reason}), true
		}
	})
	return isNew
}

// recovered ends the halt of a cause.
func (g *availability) recovered(c cause) (was bool) {
	g.set(func() {
		n := len(g.halts)
		g.halts = slices.DeleteFunc(g.halts, func(h halt) bool { return h.cause == c })
		was = len(g.halts) < n
	})
	return was
}

// problems returns for each cause whether it halts.
func (g *availability) problems() map[string]bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make(map[string]bool)
	for c := causeLost; c <= causeStale; c++ {
		all[c.String()] = slices.ContainsFunc(g.halts, func(h halt) bool { return h.cause == c })
	}
	return all
}

// current returns the state, why it is halted, and since when.
func (g *availability) current() (state, reason string, since time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.halts) > 0 {
		reason = g.halts[0].reason
	}
	return g.state(), reason, g.since
}

// halted returns why the ledger is halted, or "", and a channel that is closed at the
// next change.
func (g *availability) halted() (reason string, changed <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.halts) > 0 {
		reason = g.halts[0].reason
	}
	return reason, g.changed
}

// await waits until the ledger is available. The error is ctx's.
func (g *availability) await(ctx context.Context) error {
	for !g.open.Load() {
		g.mu.Lock()
		changed, open := g.changed, g.state() == stateFollowing
		g.mu.Unlock()
		if open {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
	return nil
}
