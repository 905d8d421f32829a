// Package contact tracks which peers of this instance, such as a broker or the API,
// have stopped answering it. If only this instance gets no answer, the others can do its
// work: see the step-down in package app.
package contact

import (
	"fmt"
	"sync"
	"time"
)

// Peer identifies what answers: the API, or a broker and a kind of request. Kinds of
// requests count apart, because a broker may answer some and not others.
type Peer struct {
	Kind    string // KindAPI or KindBroker
	Broker  int32
	Request string // "" for the API
}

// The kinds of peers.
const (
	KindAPI    = "api"
	KindBroker = "broker"
)

func (p Peer) String() string {
	if p.Kind == KindAPI {
		return "the payment API"
	}
	return fmt.Sprintf("%s requests at broker %d", p.Request, p.Broker)
}

// SilentError reports a peer that answered nothing for a time.
type SilentError struct {
	Peer  Peer
	Since time.Time // the first request without an answer
	Cause error     // of the last one
}

func (e *SilentError) Error() string {
	return fmt.Sprintf("%s unanswered for %s: %v", e.Peer, time.Since(e.Since).Round(time.Second), e.Cause)
}

func (e *SilentError) Unwrap() error { return e.Cause }

// Watch tracks the peers of a process. It is safe for concurrent use; a nil Watch
// tracks nothing.
type Watch struct {
	limit time.Duration

	mu     sync.Mutex
	silent map[Peer]silence // guarded by mu; peers whose last request was not answered
}

type silence struct {
	first, last time.Time
	cause       error
}

// NewWatch returns a Watch that reports a peer as silent if requests to it were
// unanswered over limit.
func NewWatch(limit time.Duration) *Watch {
	return &Watch{limit: limit, silent: make(map[Peer]silence)}
}

// Answered records an answer, whatever it says.
func (w *Watch) Answered(p Peer) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.silent, p)
}

// Unanswered records a request that failed without an answer.
func (w *Watch) Unanswered(p Peer, cause error) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	s := w.silent[p]
	if now.Sub(s.last) > w.limit { // not asked since, so this silence is another one
		s.first = now
	}
	s.last, s.cause = now, cause
	w.silent[p] = s
}

// Silent returns the peer that has been silent longest, if longer than the limit; else
// nil. A peer that is asked no more, such as a broker that is no leader any more, does
// not count.
func (w *Watch) Silent() *SilentError {
	w.mu.Lock()
	defer w.mu.Unlock()
	var longest *SilentError
	now := time.Now()
	for p, s := range w.silent {
		if s.last.Sub(s.first) < w.limit || now.Sub(s.last) > w.limit {
			continue
		}
		if longest == nil || s.first.Before(longest.Since) {
			longest = &SilentError{Peer: p, Since: s.first, Cause: s.cause}
		}
	}
	return longest
}

// Reset forgets all silences, so that each peer has the whole limit again.
func (w *Watch) Reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.silent)
}
